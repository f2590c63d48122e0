#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>

#include "eventlog/log.h"
#include "schemas/event.h"

namespace landfall {

// Counts a log's events by stream for status: since the process started, and held altogether. A folded run's own
// entries are gone from the received context; its last seqs stand in the first event of its successor.
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
  Held held();

 private:
  void learn(const RunId& run);

  Log& log_;
  Log::Subscription subscription_;
  ByStream appended_{}, received_{};
  std::set<RunId> learned_;                             // runs whose first event was read
  std::map<RunId, std::vector<RunStart::Head>> heads_;  // by the parent that they belong to
};

}  // namespace landfall
