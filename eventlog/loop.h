#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace landfall {

using Duration = std::chrono::nanoseconds;
// Monotonic time since some fixed point of this process, suspend included. Never wall clock.
struct Instant {
  Duration since_start{};
  friend auto operator<=>(const Instant&, const Instant&) = default;
  friend Instant operator+(Instant t, Duration d) { return {t.since_start + d}; }
  friend Duration operator-(Instant a, Instant b) { return a.since_start - b.since_start; }
};

// The node's time, turns and workers: the seam through which clocks, timers, randomness and threads enter. One loop
// thread owns every object of ours; UvLoop is the real one, sim::Loop replays a seed.
//
// Loop thread only, except post().
class Loop {
 public:
  using Task = std::function<void()>;
  using Timer = std::uint64_t;  // 0 is never a timer
  virtual ~Loop() = default;

  virtual Instant now() const = 0;           // constant during one callback
  virtual std::int64_t unix_ms() const = 0;  // wall clock: may jump either way
  virtual std::uint64_t random() = 0;

  // Runs `task` once, not before `delay` has passed and never inside this call.
  virtual Timer after(Duration delay, Task task) = 0;
  virtual void cancel(Timer timer) = 0;  // unknown or past timers are ignored

  // Runs `task` on the loop in a later turn, in the order posted. Any thread.
  virtual void post(Task task) = 0;

  // Heavy pure work: `job` runs on a worker and touches only what it was given; `done` then runs on the loop. Jobs of
  // one lane run one after the other in submission order, so a lane may carry state from job to job; lanes overlap.
  using Lane = std::uint64_t;
  virtual void work(Lane lane, Task job, Task done) = 0;
};

}  // namespace landfall
