#include "crdt/received_context.h"

#include <algorithm>

#include "schemas/limits.h"

namespace landfall {

void ReceivedContext::Entry::advance() {
  if (above.empty()) return;
  above.visit(base + 1, seq_max, [&](SeqSet::Interval interval) {
    if (interval.first == base + 1) base = interval.last;
    return false;
  });
  above.remove_to(base);
}

Status ReceivedContext::add_to(Entry& entry, std::uint64_t first, std::uint64_t last) {
  if (last <= entry.base) return ok();
#ifdef LANDFALL_MUTANT_CONTEXT_FORGETS_GAPS  // tests/sim must notice
  first = 1;
#endif
  if (first <= entry.base + 1) {
    entry.base = last;
    if (!entry.above.empty()) {
      entry.above.remove_to(last);
      entry.advance();
    }
    return ok();
  }
  const auto over = [&] {
    return Error{Code::out_of_range, "received context: more than " + std::to_string(received_context_above_max) +
                                         " events above a gap after seq " + std::to_string(entry.base)};
  };
  const std::uint64_t length = last - first + 1, room = received_context_above_max - entry.above.count();
  // Only near the limit is it worth counting what is there already.
  if (length > received_context_above_max) return over();
  if (length > room && length - entry.above.count_in(first, last) > room) return over();
  entry.above.add(first, last);
  return ok();
}

Status ReceivedContext::add(const RunStream& of, std::uint64_t first, std::uint64_t last) {
  if (first == 0 || first > last || last > seq_max || of.run.is_none()) {
    return Error{Code::out_of_range,
                 "received context: no seqs: " + std::to_string(first) + ".." + std::to_string(last)};
  }
  auto at = entries_.lower_bound(of);
  if (at != entries_.end() && at->first == of) {
    LANDFALL_TRY(add_to(at->second, first, last));
  } else {
    Entry entry;
    LANDFALL_TRY(add_to(entry, first, last));
    entries_.emplace_hint(at, of, std::move(entry));
  }
  return ok();
}

const ReceivedContext::Entry* ReceivedContext::find(const RunStream& of) const {
  const auto found = entries_.find(of);
  return found == entries_.end() ? nullptr : &found->second;
}

bool ReceivedContext::contains(const Dot& dot) const { return contains({dot.run, dot.stream}, dot.seq, dot.seq); }

bool ReceivedContext::contains(const RunStream& of, std::uint64_t first, std::uint64_t last) const {
  if (first == 0 || first > last) return false;
  const Entry* entry = find(of);
  if (entry == nullptr) return false;
  if (last <= entry->base) return true;
  return first > entry->base + 1 && entry->above.contains_all(first, last);
}

std::uint64_t ReceivedContext::base(const RunStream& of) const {
  const Entry* entry = find(of);
  return entry == nullptr ? 0 : entry->base;
}

std::uint64_t ReceivedContext::max(const RunStream& of) const {
  const Entry* entry = find(of);
  return entry == nullptr ? 0 : entry->max();
}

std::vector<ReceivedContext::Range> ReceivedContext::missing(const RunStream& of, std::uint64_t first,
                                                             std::uint64_t last) const {
  std::vector<Range> ranges;
  first = std::max<std::uint64_t>(first, 1);
  const Entry* entry = find(of);
  if (entry == nullptr) {
    if (first <= last) ranges.push_back({first, last});
    return ranges;
  }
  std::uint64_t next = std::max(first, entry->base + 1);
  if (next > last) return ranges;
  entry->above.visit(next, last, [&](SeqSet::Interval here) {
    if (here.first > next) ranges.push_back({next, here.first - 1});
    next = here.last + 1;
    return true;
  });
  if (next <= last) ranges.push_back({next, last});
  return ranges;
}

void ReceivedContext::join_entry(const RunStream& of, const Entry& entry) {
  Entry& mine = entries_[of];
  if (mine.base < entry.base) {
    mine.base = entry.base;
    mine.above.remove_to(mine.base);
  }
  if (!entry.above.empty()) {
    SeqSet above = mine.above;
    above.add(entry.above);
    above.remove_to(mine.base);
    if (above.count() <= received_context_above_max) mine.above = std::move(above);
  }
  mine.advance();
}

void ReceivedContext::join(const ReceivedContext& other) {
  if (&other == this) return;
  for (const auto& [of, entry] : other.entries_) join_entry(of, entry);
}

ReceivedContext ReceivedContext::of_node(const NodeId& node) const {
  ReceivedContext part;
  for (auto at = entries_.lower_bound({{node, 0, 0}, Stream{}}); at != entries_.end() && at->first.run.node == node;
       ++at) {
    part.entries_.insert(part.entries_.end(), *at);
  }
  return part;
}

ReceivedContext ReceivedContext::of_stream(const RunStream& of) const {
  ReceivedContext part;
  if (const Entry* entry = find(of)) part.entries_.emplace(of, *entry);
  return part;
}

std::vector<RunStream> ReceivedContext::streams() const {
  std::vector<RunStream> streams;
  streams.reserve(entries_.size());
  for (const auto& [of, entry] : entries_) streams.push_back(of);
  return streams;
}

bool ReceivedContext::empty() const { return entries_.empty(); }

}  // namespace landfall
