#pragma once

#include <functional>
#include <map>
#include <queue>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "eventlog/loop.h"

namespace landfall::sim {

// splitmix64 (Steele, Lea, Flood, 2014): the one source of chance in a simulated world.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }  // bound > 0; the bias does not matter here
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  bool chance(double p) { return unit() < p; }
  // Even on a logarithmic scale, so that microseconds and weeks both happen.
  Duration spread(Duration least, Duration most);

 private:
  std::uint64_t state_;
};

// Simulated time: tasks by instant, then in the order scheduled.
class Schedule {
 public:
  using Ticket = std::uint64_t;  // 0 is never one
  explicit Schedule(std::uint64_t seed) : rng(seed) {}
  Rng rng;

  Instant now() const { return now_; }
  Ticket at(Instant when, std::function<void()> task);
  void cancel(Ticket ticket) { tasks_.erase(ticket); }
  bool step(Instant until);  // runs the next task if it is due by then
  void run_for(Duration duration);
  std::uint64_t tasks_run() const { return run_; }

 private:
  struct Due {
    Instant when;
    Ticket ticket;
    friend bool operator>(const Due& a, const Due& b) {
      return std::tie(a.when, a.ticket) > std::tie(b.when, b.ticket);
    }
  };
  Instant now_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> queue_;
  std::unordered_map<Ticket, std::function<void()>> tasks_;  // never iterated
  Ticket tickets_ = 0;
  std::uint64_t run_ = 0;
};

// One node's view of a Schedule, with a wall clock of its own. Work runs in line and completes after a delay from the
// seed, in order per lane.
class Loop final : public landfall::Loop {
 public:
  explicit Loop(Schedule& schedule) : schedule_(schedule) {}

  Instant now() const override { return schedule_.now(); }
  std::int64_t unix_ms() const override;
  std::uint64_t random() override { return schedule_.rng.next(); }
  Timer after(Duration delay, Task task) override;
  void cancel(Timer timer) override { schedule_.cancel(timer); }
  void post(Task task) override { after({}, std::move(task)); }
  void work(Lane lane, Task job, Task done) override;

  // The machine dies: nothing given to this loop so far will run.
  void crash();
  void set_wall_skew_ms(std::int64_t ms) { skew_ms_ = ms; }
  Schedule& schedule() { return schedule_; }

 private:
  Schedule& schedule_;
  std::uint64_t life_ = 0;
  std::int64_t skew_ms_ = 0;
  std::map<Lane, Instant> lane_done_;
};

}  // namespace landfall::sim
