#pragma once

#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "eventlog/loop.h"
#include "schemas/check.h"

namespace landfall::test {

// A Loop of real threads, for what stands below the seams: the thread that calls run_until() is the loop thread.
class TestLoop : public Loop {
 public:
  TestLoop() {
    for (int i = 0; i < 2; ++i) workers_.emplace_back([this] { serve(); });
  }
  ~TestLoop() override {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_workers_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  Instant now() const override { return {std::chrono::steady_clock::now().time_since_epoch()}; }
  std::int64_t unix_ms() const override { return wall_ms; }
  std::uint64_t random() override { return random_(); }
  Timer after(Duration delay, Task task) override {
    timers_.emplace(now() + delay, std::pair(++last_timer_, std::move(task)));
    return last_timer_;
  }
  void cancel(Timer timer) override {
    std::erase_if(timers_, [timer](const auto& t) { return t.second.first == timer; });
  }
  void post(Task task) override {
    {
      std::lock_guard lock(mutex_);
      posted_.push_back(std::move(task));
    }
    wake_loop_.notify_one();
  }
  void work(Lane lane, Task job, Task done) override {
    {
      std::lock_guard lock(mutex_);
      auto [queue, fresh] = lanes_.try_emplace(lane);
      queue->second.push_back({std::move(job), std::move(done)});
      if (fresh) ready_.push_back(lane);
    }
    wake_workers_.notify_one();
  }

  // Runs tasks until `done()` holds.
  void run_until(const std::function<bool()>& done) {
    while (!done()) {
      std::vector<Task> tasks;
      {
        std::unique_lock lock(mutex_);
        auto due = [this] { return !posted_.empty(); };
        if (timers_.empty())
          wake_loop_.wait(lock, due);
        else
          wake_loop_.wait_until(lock, std::chrono::steady_clock::time_point(timers_.begin()->first.since_start), due);
        tasks.swap(posted_);
      }
      for (auto& task : tasks) task();
      while (!timers_.empty() && timers_.begin()->first <= now()) {
        Task task = std::move(timers_.begin()->second.second);
        timers_.erase(timers_.begin());
        task();
      }
    }
  }

  // Runs what was posted so far.
  void run_turn() {
    bool reached = false;
    post([&reached] { reached = true; });
    run_until([&reached] { return reached; });
  }

  std::int64_t wall_ms = 1'700'000'000'000;

 private:
  struct Job {
    Task job, done;
  };
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_workers_.wait(lock, [this] { return ending_ || !ready_.empty(); });
      if (ending_) return;
      Lane lane = ready_.front();
      ready_.pop_front();
      Job job = std::move(lanes_.at(lane).front());
      lanes_.at(lane).pop_front();
      lock.unlock();
      job.job();
      post(std::move(job.done));
      lock.lock();
      if (lanes_.at(lane).empty()) {
        lanes_.erase(lane);
      } else {
        ready_.push_back(lane);
        wake_workers_.notify_one();
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_loop_, wake_workers_;
  std::vector<Task> posted_;
  std::map<Lane, std::deque<Job>> lanes_;
  std::deque<Lane> ready_;
  bool ending_ = false;
  std::vector<std::thread> workers_;
  std::multimap<Instant, std::pair<Timer, Task>> timers_;
  Timer last_timer_ = 0;
  // Nonces of runs must differ from loop to loop, and between processes.
  static std::uint64_t next_seed() {
    static std::uint64_t loops = 0;
    return static_cast<std::uint64_t>(::getpid()) << 32 | ++loops;
  }
  std::mt19937_64 random_{next_seed()};
};

}  // namespace landfall::test
