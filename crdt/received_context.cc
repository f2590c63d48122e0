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
    return Error{Code::out_of_range, "received context: no seqs: " + std::to_string(first) + ".." + std::to_string(last)};
  }
  auto at = entries_.lower_bound(of);
  if (at != entries_.end() && at->first == of) {
    LANDFALL_TRY(add_to(at->second, first, last));
  } else {
    if (folded(of.run)) return ok();
    Entry entry;
    LANDFALL_TRY(add_to(entry, first, last));
    entries_.emplace_hint(at, of, std::move(entry));
  }
  if (!seals_.empty() && seals_.contains(of.run)) fold_ready(of.run);
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
  if (entry == nullptr) return folded(of.run);
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
    if (first <= last && !folded(of.run)) ranges.push_back({first, last});
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

bool ReceivedContext::folded(const RunId& run) const {
  const auto names = folded_.find(run.node);
  if (names == folded_.end()) return false;
  return std::binary_search(names->second.begin(), names->second.end(), Name{run.counter, run.nonce});
}

bool ReceivedContext::seal(const RunId& run, const RunId& parent, const std::array<std::uint64_t, stream_count>& finals) {
  if (run.is_none()) return false;
  if (folded(run)) return true;
  Seal& seal = seals_.try_emplace(run, Seal{parent, {}}).first->second;
  // Forks may name different ends: the run is complete where it has all of them.
  for (std::size_t i = 0; i < stream_count; ++i) seal.finals[i] = std::max(seal.finals[i], finals[i]);
  seal.parent = std::max(seal.parent, parent);
  fold_ready(run);
  return folded(run);
}

// Looks at bases alone: they only grow, so replicas that join in any order fold the same runs.
bool ReceivedContext::complete(const RunId& run, const Seal& seal) const {
  if (!seal.parent.is_none() && !folded(seal.parent)) return false;
  for (std::size_t i = 0; i < stream_count; ++i) {
    const Entry* entry = find({run, static_cast<Stream>(i)});
    if ((entry == nullptr ? 0 : entry->base) < seal.finals[i]) return false;
  }
  return true;
}

void ReceivedContext::fold(const RunId& run) {
  entries_.erase(entries_.lower_bound({run, Stream{}}), entries_.upper_bound({run, static_cast<Stream>(stream_count - 1)}));
  seals_.erase(run);
  std::vector<Name>& names = folded_[run.node];
  const Name name{run.counter, run.nonce};
  const auto at = std::lower_bound(names.begin(), names.end(), name);
  if (at == names.end() || *at != name) names.insert(at, name);
}

// Folds `run` if it can, and then whatever waited for it. Folding adds to no entry, so only children can follow.
void ReceivedContext::fold_ready(RunId run) {
  std::vector<RunId> ready{run};
  while (!ready.empty()) {
    run = ready.back();
    ready.pop_back();
    const auto seal = seals_.find(run);
    if (seal == seals_.end() || !complete(run, seal->second)) continue;
    fold(run);
    for (const auto& [child, waiting] : seals_) {
      if (waiting.parent == run) ready.push_back(child);
    }
  }
}

void ReceivedContext::fold_all_ready() {
  std::vector<RunId> sealed;
  for (const auto& [run, seal] : seals_) sealed.push_back(run);
  for (const RunId& run : sealed) fold_ready(run);
}

void ReceivedContext::join_entry(const RunStream& of, const Entry& entry) {
  if (folded(of.run)) return;
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
  for (const auto& [node, names] : other.folded_) {
    for (const Name& name : names) fold({node, name.counter, name.nonce});
  }
  for (const auto& [of, entry] : other.entries_) join_entry(of, entry);
  for (const auto& [run, seal] : other.seals_) this->seal(run, seal.parent, seal.finals);
  fold_all_ready();
}

ReceivedContext ReceivedContext::of_node(const NodeId& node) const {
  ReceivedContext part;
  for (auto at = entries_.lower_bound({{node, 0, 0}, Stream{}}); at != entries_.end() && at->first.run.node == node; ++at) {
    part.entries_.insert(part.entries_.end(), *at);
  }
  for (auto at = seals_.lower_bound({node, 0, 0}); at != seals_.end() && at->first.node == node; ++at) part.seals_.insert(*at);
  if (const auto names = folded_.find(node); names != folded_.end()) part.folded_.insert(*names);
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

bool ReceivedContext::empty() const { return entries_.empty() && folded_.empty(); }

bool operator==(const ReceivedContext& a, const ReceivedContext& b) {
  return a.entries_ == b.entries_ && a.folded_ == b.folded_;
}

}  // namespace landfall
