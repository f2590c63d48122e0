#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "eventlog/loop.h"
#include "schemas/limits.h"

namespace landfall {

// What is due at a wall time, by name: `due` is called once the wall clock has reached it, and again every second until
// somebody sets or erases it. Looks at the wall clock at least every wall_time_look_max, because it may jump. Private to
// this folder.
class Deadlines {
 public:
  Deadlines(Loop& loop, std::function<void(const std::string& name)> due) : loop_(loop), due_(std::move(due)) {}
  ~Deadlines() { loop_.cancel(timer_); }
  Deadlines(const Deadlines&) = delete;
  Deadlines& operator=(const Deadlines&) = delete;

  void set(const std::string& name, std::int64_t unix_ms) {
    erase(name);
    by_name_[name] = unix_ms;
    by_time_.insert({unix_ms, name});
    if (by_time_.begin()->second == name) arm({});
  }
  void erase(const std::string& name) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return;
    by_time_.erase({found->second, name});
    by_name_.erase(found);
  }
  void clear() {
    by_name_.clear();
    by_time_.clear();
  }

 private:
  void arm(Duration least) {
    loop_.cancel(timer_);
    timer_ = 0;
    if (by_time_.empty()) return;
    const std::chrono::milliseconds until(
        std::clamp<std::int64_t>(by_time_.begin()->first - loop_.unix_ms(), 0, wall_time_look_max.count()));
    timer_ = loop_.after(std::max<Duration>(least, until), [this] { look(); });
  }
  void look() {
    timer_ = 0;
    std::vector<std::string> due;
    for (const auto& [at, name] : by_time_) {
      if (at > loop_.unix_ms()) break;
      due.push_back(name);
    }
    for (const auto& name : due) due_(name);
    arm(due.empty() ? Duration{} : std::chrono::seconds(1));
  }

  Loop& loop_;
  std::function<void(const std::string&)> due_;
  std::map<std::string, std::int64_t> by_name_;
  std::set<std::pair<std::int64_t, std::string>> by_time_;
  Loop::Timer timer_ = 0;
};

}  // namespace landfall
