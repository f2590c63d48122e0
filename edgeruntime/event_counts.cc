#include "edgeruntime/event_counts.h"

namespace landfall {

EventCounts::EventCounts(Log& log) : log_(log) {
  subscription_ = log_.subscribe((1u << stream_count) - 1, [this](const Log::Range& range) {
    auto& counts = range.of.run.node == log_.run().node ? appended_ : received_;
    counts[static_cast<std::size_t>(range.of.stream)] += range.last - range.first + 1;
  });
}

EventCounts::~EventCounts() { log_.unsubscribe(subscription_); }

void EventCounts::learn(const RunId& run) {
  if (learned_.contains(run) || !log_.received().contains({run, Stream::control, 1})) return;
  const auto chunks = log_.read({run, Stream::control}, 1, 1);
  if (!chunks || chunks->empty() || chunks->front().header.first != 1) return;
  learned_.insert(run);
  const auto chunk = decode_chunk(chunks->front().bytes);
  if (!chunk) return;
  const auto event = decode_row(RowReader(chunk->rows).next());
  if (!event || event->kind != Kind::run_start) return;
  auto start = decode_run_start(event->payload);
  if (start && !start->parent.is_none()) heads_[start->parent] = std::move(start->parent_heads);
}

EventCounts::Held EventCounts::held() {
  Held held;
  const auto& received = log_.received();
  const auto& self = log_.run().node;
  for (const auto& of : received.streams()) {
    (of.run.node == self ? held.own : held.foreign)[static_cast<std::size_t>(of.stream)] += received.max(of);
  }
  for (const auto& run : log_.runs()) learn(run);
  for (const auto& [run, heads] : heads_) {
    if (!received.folded(run)) continue;
    for (const auto& head : heads)
      (run.node == self ? held.own : held.foreign)[static_cast<std::size_t>(head.stream)] += head.last;
  }
  return held;
}

}  // namespace landfall
