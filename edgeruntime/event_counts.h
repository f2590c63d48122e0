#pragma once

#include <array>
#include <cstdint>

#include "eventlog/log.h"

namespace landfall {

// Counts a log's events by stream for status: since the process started, and held altogether.
//
// Loop thread only. The Log must outlive it.
class EventCounts {
 public:
  explicit EventCounts(Log& log);
  ~EventCounts();
  EventCounts(const EventCounts&) = delete;
  EventCounts& operator=(const EventCounts&) = delete;

  using ByStream = std::array<std::uint64_t, stream_count>;
  const ByStream& appended() const { return appended_; }  // own
  const ByStream& received() const { return received_; }  // of others
  struct Held {
    ByStream own{}, foreign{};
  };
  Held held() const;

 private:
  Log& log_;
  Log::Subscription subscription_;
  ByStream appended_{}, received_{};
};

}  // namespace landfall
