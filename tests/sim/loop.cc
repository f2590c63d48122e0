#include "tests/sim/loop.h"

#include <algorithm>
#include <cmath>

#include "schemas/check.h"

namespace landfall::sim {

std::uint64_t Rng::next() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

Duration Rng::spread(Duration least, Duration most) {
  const double low = std::log(static_cast<double>(least.count())), high = std::log(static_cast<double>(most.count()));
  return Duration(static_cast<std::int64_t>(std::exp(low + (high - low) * unit())));
}

Schedule::Ticket Schedule::at(Instant when, std::function<void()> task) {
  const Ticket ticket = ++tickets_;
  queue_.push({std::max(when, now_), ticket});
  tasks_.emplace(ticket, std::move(task));
  return ticket;
}

bool Schedule::step(Instant until) {
  while (!queue_.empty()) {
    const Due due = queue_.top();
    const auto it = tasks_.find(due.ticket);
    if (it == tasks_.end()) {
      queue_.pop();  // cancelled
      continue;
    }
    if (due.when > until) return false;
    queue_.pop();
    auto task = std::move(it->second);
    tasks_.erase(it);
    now_ = due.when;
    ++run_;
    task();
    return true;
  }
  return false;
}

void Schedule::run_for(Duration duration) {
  const Instant until = now_ + duration;
  while (step(until)) {}
  now_ = until;
}

std::int64_t Loop::unix_ms() const {
  return 1'790'000'000'000 + skew_ms_ +
         std::chrono::duration_cast<std::chrono::milliseconds>(now().since_start).count();
}

Loop::Timer Loop::after(Duration delay, Task task) {
  return schedule_.at(now() + std::max(delay, Duration{}), [this, life = life_, task = std::move(task)] {
    if (life == life_) task();
  });
}

void Loop::work(Lane lane, Task job, Task done) {
  job();
  Instant& at = lane_done_[lane];
  at = std::max(at, now() + schedule_.rng.spread(std::chrono::microseconds(5), std::chrono::milliseconds(5)));
  after(at - now(), std::move(done));
}

void Loop::crash() {
  ++life_;
  lane_done_.clear();
}

}  // namespace landfall::sim
