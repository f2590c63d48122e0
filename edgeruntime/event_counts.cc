#include "edgeruntime/event_counts.h"

namespace landfall {

EventCounts::EventCounts(Log& log) : log_(log) {
  subscription_ = log_.subscribe((1u << stream_count) - 1, [this](const Log::Range& range) {
    auto& counts = range.of.run.node == log_.run().node ? appended_ : received_;
    counts[static_cast<std::size_t>(range.of.stream)] += range.last - range.first + 1;
  });
}

EventCounts::~EventCounts() { log_.unsubscribe(subscription_); }

EventCounts::Held EventCounts::held() const {
  Held held;
  const auto& received = log_.received();
  const auto& self = log_.run().node;
  for (const auto& of : received.streams()) {
    (of.run.node == self ? held.own : held.foreign)[static_cast<std::size_t>(of.stream)] += received.max(of);
  }
  return held;
}

}  // namespace landfall
