#include "edgeruntime/uv_loop.h"

#include <signal.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "schemas/check.h"

namespace landfall {
namespace {

constexpr int worker_count = 2;

Duration read_clock(clockid_t clock) {
  timespec t;
  LANDFALL_CHECK(clock_gettime(clock, &t) == 0);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

// Two threads and the jobs that wait for them. A lane is in `ready` at most once and leaves it while one of its jobs
// runs: that is what keeps a lane's jobs apart.
class Workers {
 public:
  explicit Workers(std::function<void(Loop::Task)> post) : post_(std::move(post)) {}

  ~Workers() {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  void submit(Loop::Lane lane, Loop::Task job, Loop::Task done) {
    // A process that never submits work (a command of the CLI) pays for no threads.
    if (threads_.empty()) {
      for (int i = 0; i < worker_count; ++i) threads_.emplace_back([this] { serve(); });
    }
    {
      std::lock_guard lock(mutex_);
      auto [entry, fresh] = lanes_.try_emplace(lane);
      entry->second.push_back({std::move(job), std::move(done)});
      if (!fresh) return;
      ready_.push_back(lane);
    }
    wake_.notify_one();
  }

 private:
  struct Job {
    Loop::Task job, done;
  };

  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return ending_ || !ready_.empty(); });
      if (ending_) return;
      auto lane = ready_.front();
      ready_.pop_front();
      auto& jobs = lanes_.at(lane);  // stays: only its one runner erases it, and the map does not move values
      Job current = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      current.job();
      current.job = nullptr;
      post_(std::move(current.done));
      lock.lock();
      if (jobs.empty()) {
        lanes_.erase(lane);
      } else {
        ready_.push_back(lane);
        if (ready_.size() > 1) wake_.notify_one();
      }
    }
  }

  std::function<void(Loop::Task)> post_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::unordered_map<Loop::Lane, std::deque<Job>> lanes_;  // with a job waiting or running
  std::deque<Loop::Lane> ready_;                           // with a job waiting and none running
  bool ending_ = false;
  std::vector<std::thread> threads_;  // loop thread only
};

void close_now(uv_handle_t* handle) {
  if (!uv_is_closing(handle)) uv_close(handle, nullptr);
}

}  // namespace

struct UvLoop::State {
  struct Signal {
    UvLoop* owner;
    Task task;
    uv_signal_t handle;
  };
  struct Pending {
    Timer timer;
    Task task;
  };

  uv_loop_t loop;
  uv_async_t posted_handle;
  uv_prepare_t before_poll;
  uv_poll_t timer_handle;
  int timer_fd = -1;
  std::map<int, std::unique_ptr<Signal>> signals;

  // By due time; equal times in the order set.
  std::multimap<Instant, Pending> timers;
  std::unordered_map<Timer, std::multimap<Instant, Pending>::iterator> timer_index;
  Timer last_timer = 0;
  Instant armed{Duration::max()};  // what timer_fd is set to

  std::mutex posted_mutex;
  std::vector<Task> posted;   // guarded by posted_mutex
  std::vector<Task> running;  // loop thread only

  mutable Instant now;
  mutable bool now_known = false;
  bool stopping = false;

  std::array<std::uint64_t, 64> random_pool;
  std::size_t random_left = 0;

  std::unique_ptr<Workers> workers;

  void run_posted() {
    {
      std::lock_guard lock(posted_mutex);
      running.swap(posted);
    }
    for (auto& task : running) {
      now_known = false;
      task();
      task = nullptr;
    }
    running.clear();
  }

  Instant time() const {
    if (!now_known) {
      now = {read_clock(CLOCK_BOOTTIME)};
      now_known = true;
    }
    return now;
  }

  // One system call per change of the earliest timer and turn, however many were set and cancelled in it.
  void arm() {
    auto due = timers.empty() ? Instant{Duration::max()} : timers.begin()->first;
    if (due == armed) return;
    armed = due;
    itimerspec spec{};
    if (!timers.empty()) {
      auto ns = std::max<std::int64_t>(due.since_start.count(), 1);
      spec.it_value = {ns / 1'000'000'000, ns % 1'000'000'000};
    }
    LANDFALL_CHECK(timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, nullptr) == 0);
  }

  void run_due() {
    std::uint64_t expirations;
    [[maybe_unused]] auto n = ::read(timer_fd, &expirations, sizeof expirations);
    armed = {Duration::max()};
    now_known = false;
    // Timers set by these tasks run in a later turn, also where their delay is 0: `until` and `newest` bound the turn.
    auto until = time();
    auto newest = last_timer;
    auto next = timers.begin();
    while (next != timers.end() && next->first <= until) {
      if (next->second.timer > newest) {
        ++next;
        continue;
      }
      auto task = std::move(next->second.task);
      timer_index.erase(next->second.timer);
      timers.erase(next);
      now_known = false;
      task();
      next = timers.begin();  // the task may have cancelled any
    }
  }
};

UvLoop::UvLoop() : state_(std::make_unique<State>()) {
  ::signal(SIGPIPE, SIG_IGN);
  auto& s = *state_;
  LANDFALL_CHECK(uv_loop_init(&s.loop) == 0);
  LANDFALL_CHECK(
      uv_async_init(&s.loop, &s.posted_handle, [](uv_async_t* h) { static_cast<State*>(h->data)->run_posted(); }) == 0);
  LANDFALL_CHECK(uv_prepare_init(&s.loop, &s.before_poll) == 0);
  s.timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  LANDFALL_CHECK(s.timer_fd >= 0);
  LANDFALL_CHECK(uv_poll_init(&s.loop, &s.timer_handle, s.timer_fd) == 0);
  s.posted_handle.data = s.before_poll.data = s.timer_handle.data = state_.get();
  uv_prepare_start(&s.before_poll, [](uv_prepare_t* h) {
    auto& state = *static_cast<State*>(h->data);
    state.now_known = false;
    state.arm();
  });
  uv_poll_start(&s.timer_handle, UV_READABLE, [](uv_poll_t* h, int, int) { static_cast<State*>(h->data)->run_due(); });
  s.workers = std::make_unique<Workers>([this](Task task) { post(std::move(task)); });
}

UvLoop::~UvLoop() {
  auto& s = *state_;
  s.workers.reset();
  close_now(reinterpret_cast<uv_handle_t*>(&s.posted_handle));
  close_now(reinterpret_cast<uv_handle_t*>(&s.before_poll));
  close_now(reinterpret_cast<uv_handle_t*>(&s.timer_handle));
  for (auto& [number, signal] : s.signals) close_now(reinterpret_cast<uv_handle_t*>(&signal->handle));
  uv_run(&s.loop, UV_RUN_DEFAULT);
  // Busy means that a handle of somebody else outlives the loop it lives on.
  LANDFALL_CHECK(uv_loop_close(&s.loop) == 0);
  ::close(s.timer_fd);
}

Instant UvLoop::now() const { return state_->time(); }

std::int64_t UvLoop::unix_ms() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(read_clock(CLOCK_REALTIME)).count();
}

std::uint64_t UvLoop::random() {
  auto& s = *state_;
  if (s.random_left == 0) {
    auto wanted = static_cast<ssize_t>(sizeof s.random_pool);
    LANDFALL_CHECK(getrandom(s.random_pool.data(), sizeof s.random_pool, 0) == wanted);
    s.random_left = s.random_pool.size();
  }
  return std::exchange(s.random_pool[--s.random_left], 0);
}

Loop::Timer UvLoop::after(Duration delay, Task task) {
  auto& s = *state_;
  auto timer = ++s.last_timer;
  auto due = now() + std::max(delay, Duration::zero());
  s.timer_index[timer] = s.timers.emplace(due, State::Pending{timer, std::move(task)});
  return timer;
}

void UvLoop::cancel(Timer timer) {
  auto& s = *state_;
  auto found = s.timer_index.find(timer);
  if (found == s.timer_index.end()) return;
  s.timers.erase(found->second);
  s.timer_index.erase(found);
}

void UvLoop::post(Task task) {
  auto& s = *state_;
  bool first;
  {
    std::lock_guard lock(s.posted_mutex);
    first = s.posted.empty();
    s.posted.push_back(std::move(task));
  }
  if (first) uv_async_send(&s.posted_handle);
}

void UvLoop::work(Lane lane, Task job, Task done) { state_->workers->submit(lane, std::move(job), std::move(done)); }

void UvLoop::run() {
  auto& s = *state_;
  while (!s.stopping) uv_run(&s.loop, UV_RUN_ONCE);
  s.stopping = false;
}

void UvLoop::stop() { state_->stopping = true; }

void UvLoop::on_signal(int signal_number, Task task) {
  auto& s = *state_;
  auto& signal = s.signals[signal_number];
  if (signal == nullptr) {
    signal = std::make_unique<State::Signal>();
    LANDFALL_CHECK(uv_signal_init(&s.loop, &signal->handle) == 0);
    signal->handle.data = signal.get();
    signal->owner = this;
    auto started = uv_signal_start(
        &signal->handle,
        [](uv_signal_t* h, int) {
          auto& self = *static_cast<State::Signal*>(h->data);
          self.owner->new_turn();
          self.task();
        },
        signal_number);
    LANDFALL_CHECK(started == 0);
  }
  signal->task = std::move(task);
}

uv_loop_s* UvLoop::handle() { return &state_->loop; }
void UvLoop::new_turn() { state_->now_known = false; }

}  // namespace landfall
