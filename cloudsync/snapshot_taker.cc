#include "cloudsync/snapshot_taker.h"

#include <algorithm>

#include "schemas/limits.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr Duration ask_wait_first = 10s, ask_wait_max = 60s;
// Pieces that come together are acknowledged together.
constexpr Duration got_wait = 10ms;

std::vector<SnapshotWant::Row> rows_of(const std::set<std::uint32_t>& parts) {
  std::vector<SnapshotWant::Row> rows;
  for (const std::uint32_t part : parts) {
    if (!rows.empty() && rows.back().last + 1 == part) {
      rows.back().last = part;
    } else {
      rows.push_back({part, part});
    }
  }
  return rows;
}

}  // namespace

void Pieces::begin(std::size_t total) {
  bytes_.assign(total, '\0');
  ranges_.clear();
}

void Pieces::add(std::uint32_t offset, std::string_view bytes) {
  LANDFALL_CHECK(offset <= bytes_.size() && bytes.size() <= bytes_.size() - offset);
  if (bytes.empty()) return;
  std::ranges::copy(bytes, bytes_.begin() + offset);
  std::uint32_t first = offset, end = offset + static_cast<std::uint32_t>(bytes.size());
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin() && std::prev(it)->second >= first) --it;
  while (it != ranges_.end() && it->first <= end) {
    first = std::min(first, it->first);
    end = std::max(end, it->second);
    it = ranges_.erase(it);
  }
  ranges_.emplace(first, end);
}

std::string Pieces::take() {
  ranges_.clear();
  return std::exchange(bytes_, {});
}

void SnapshotTaker::begin_session() {
  keep_.clear();
  totals_ = {};
  std::erase_if(takings_, [](const auto& entry) { return entry.second.phase == Phase::joined; });
  for (auto& [stream, taking] : takings_) {
    if (taking.phase == Phase::joining) taking.phase = Phase::parts;
    taking.met = taking.told = taking.answer = false;
    taking.keeping.clear();
    taking.got.clear();
    taking.told_last.clear();
    taking.ask_at.reset();
    taking.join_at.reset();
  }
}

// The peer does not know what is here of it from before: the first answer says all.
void SnapshotTaker::meet(Taking& taking, Instant now) {
  if (taking.met) return;
  taking.met = true;
  if (taking.phase == Phase::parts) return look_for_parts(taking, now);
  tell_assembled(taking, snapshot_manifest_part);
}

void SnapshotTaker::tell(Taking& taking, std::uint32_t part, std::uint32_t offset, std::uint32_t bytes, bool ready) {
  taking.got.push_back({{part, offset, bytes}, ready});
}

void SnapshotTaker::tell_assembled(Taking& taking, std::uint32_t part) {
  for (const auto& [first, end] : taking.pieces.ranges()) tell(taking, part, first, end - first);
}

void SnapshotTaker::ask(Taking& taking, Instant at) {
  taking.ask_at = at;
  taking.ask_wait = ask_wait_first;
}

void SnapshotTaker::look_for_parts(Taking& taking, Instant now) {
  const auto missing = log_.missing_parts(taking.manifest);
  taking.missing = {missing.begin(), missing.end()};
  for (const std::uint32_t part : taking.keeping) taking.missing.erase(part);
  if (taking.assembling && !taking.missing.contains(*taking.assembling)) taking.assembling.reset();
  ask(taking, now);
  if (here(taking.manifest)) end(taking);  // came some other way
}

void SnapshotTaker::end(Taking& taking) {
  taking.phase = Phase::joined;
  taking.answer = true;
  taking.ask_at.reset();
  taking.manifest.parts = {};
}

Status SnapshotTaker::take(const SnapshotOffer& offer, Instant now) {
  Taking& taking = takings_[offer.stream];
  if (taking.id != offer.id || taking.total == 0) {
    taking = {};
    taking.id = offer.id;
    taking.total = offer.total;
    taking.pieces.begin(offer.total);
  }
  if (offer.total != taking.total || offer.total == 0)
    return Error{Code::corrupt, "snapshot offer: one manifest of two lengths"};
  totals_.bytes += offer.bytes.size();
  meet(taking, now);
  const auto size = static_cast<std::uint32_t>(offer.bytes.size());
  if (size != 0) tell(taking, snapshot_manifest_part, offer.offset, size);
  switch (taking.phase) {
    case Phase::manifest: {
      taking.pieces.add(offer.offset, offer.bytes);
      if (taking.pieces.complete()) return read_manifest(offer.stream, taking, now);
      if (size == 0) tell_assembled(taking, snapshot_manifest_part);  // it asks what is here
      return ok();
    }
    case Phase::parts:
      if (size == 0) ask(taking, now);
      return ok();
    case Phase::joining: return ok();
    case Phase::joined: taking.answer = true; return ok();
  }
  return ok();
}

Status SnapshotTaker::read_manifest(Stream stream, Taking& taking, Instant now) {
  const std::string bytes = taking.pieces.take();
  if (part_id(bytes) != taking.id) return Error{Code::corrupt, "snapshot offer: not the manifest that it names"};
  auto manifest = decode_snapshot_manifest(bytes);
  if (!manifest.ok()) return std::move(manifest).error().in("snapshot offer");
  if (manifest->stream != stream) return Error{Code::corrupt, "snapshot offer: manifest of another stream"};
  taking.manifest = std::move(*manifest);
  taking.phase = Phase::parts;
  look_for_parts(taking, now);
  return ok();
}

Status SnapshotTaker::take(const SnapshotPart& part, Instant now) {
  const auto found = takings_.find(part.stream);
  if (found == takings_.end() || found->second.id != part.id) return ok();
  Taking& taking = found->second;
  if (taking.phase == Phase::manifest) return ok();
  const auto size = static_cast<std::uint32_t>(part.bytes.size());
  totals_.bytes += size;
  if (taking.phase == Phase::joined) {
    taking.answer = true;
    return ok();
  }
  const auto& parts = taking.manifest.parts;
  if (part.part >= parts.size() || part.offset > parts[part.part].bytes || size > parts[part.part].bytes - part.offset)
    return Error{Code::out_of_range, "snapshot part " + std::to_string(part.part) + ": beyond the manifest"};
  meet(taking, now);
  const std::uint32_t whole = parts[part.part].bytes;
  if (taking.phase == Phase::joining || taking.keeping.contains(part.part)) return ok();  // told once it is durable
  if (!taking.missing.contains(part.part)) {
    tell(taking, part.part, 0, whole);
    return ok();
  }
  taking.ask_at = now + ask_wait_first;
  taking.ask_wait = ask_wait_first;
  if (size == whole) return complete(part.stream, taking, part.part, part.bytes);
  // One at a time: what is not acknowledged comes again.
  if (taking.assembling.value_or(part.part) != part.part) return ok();
  if (!taking.assembling) {
    taking.assembling = part.part;
    taking.pieces.begin(whole);
  }
  taking.pieces.add(part.offset, part.bytes);
  if (taking.pieces.complete()) return complete(part.stream, taking, part.part, taking.pieces.take());
  tell(taking, part.part, part.offset, size);
  return ok();
}

Status SnapshotTaker::complete(Stream stream, Taking& taking, std::uint32_t part, std::string bytes) {
  if (taking.assembling == part) taking.assembling.reset();
  if (part_id(bytes) != taking.manifest.parts[part].id)
    return Error{Code::corrupt, "snapshot part " + std::to_string(part) + ": not what the manifest names"};
  taking.missing.erase(part);
  taking.keeping.insert(part);
  tell(taking, part, 0, taking.manifest.parts[part].bytes, false);
  keep_.push_back({stream, taking.id, part, std::move(bytes)});
  return ok();
}

Status SnapshotTaker::kept(Stream stream, const SnapshotId& id, std::uint32_t part, const Status& status, Instant now) {
  const auto found = takings_.find(stream);
  if (found == takings_.end() || found->second.id != id) return ok();
  Taking& taking = found->second;
  taking.keeping.erase(part);
  const auto told =
      std::ranges::find_if(taking.got, [&](const Got& got) { return !got.ready && got.piece.part == part; });
  if (status.ok()) {
    ++totals_.parts;
    if (told != taking.got.end()) told->ready = true;
    return ok();
  }
  if (told != taking.got.end()) taking.got.erase(told);
  if (status.error().code != Code::unavailable)
    return Error(status.error()).in("snapshot part " + std::to_string(part));
  taking.missing.insert(part);
  taking.ask_at = now + ask_wait_first;
  return ok();
}

Status SnapshotTaker::joined(Stream stream, const SnapshotId& id, const Status& status, Instant now) {
  const auto found = takings_.find(stream);
  if (found == takings_.end() || found->second.id != id) return ok();
  Taking& taking = found->second;
  if (status.ok()) {
    ++totals_.joined;
    end(taking);
    return ok();
  }
  if (status.error().code != Code::unavailable) {
    takings_.erase(found);
    return Error(status.error()).in("snapshot of " + std::string(to_string(stream)));
  }
  taking.phase = Phase::parts;
  taking.join_at = now + ask_wait_first;
  return ok();
}

bool SnapshotTaker::here(const SnapshotManifest& manifest) const {
  return std::ranges::all_of(manifest.received.streams(), [&](const RunStream& of) {
    return log_.received().contains(of, 1, manifest.received.max(of));
  });
}

// The peer believes that events of our own runs are here, unless we asked for them; then it offers anew, with their chains.
bool SnapshotTaker::joinable(const SnapshotManifest& manifest) const {
  return std::ranges::all_of(manifest.received.streams(), [&](const RunStream& of) {
    return manifest.chains.contains(of.run) || log_.received().contains(of, 1, manifest.received.max(of));
  });
}

void SnapshotTaker::settle(Instant now, Out& out) {
  out.keep = std::exchange(keep_, {});
  for (auto& [stream, taking] : takings_) {
    if (!taking.met) continue;
    settle_join(stream, taking, now, out);
    settle_want(stream, taking, now, out);
  }
}

void SnapshotTaker::settle_join(Stream stream, Taking& taking, Instant now, Out& out) {
  if (taking.phase == Phase::manifest) return;
  if (!std::exchange(taking.told, true)) out.offered.push_back(taking.manifest);
  if (taking.answer) {
    taking.answer = false;
    for (const auto& [run, chain] : taking.manifest.chains) out.here.insert({run, stream});
  }
#ifdef LANDFALL_MUTANT_CONTEXT_AT_FIRST_PART
  if (taking.phase == Phase::parts && taking.missing.size() + taking.keeping.size() < taking.manifest.parts.size()) {
    for (std::size_t i = taking.manifest.parts.size(); i-- > 0;) {
      const auto part = static_cast<std::uint32_t>(i);
      if (taking.missing.contains(part) || taking.keeping.contains(part))
        taking.manifest.parts.erase(taking.manifest.parts.begin() + static_cast<std::ptrdiff_t>(i));
    }
    taking.missing.clear();
    taking.keeping.clear();
  }
#endif
  if (taking.phase != Phase::parts || !taking.missing.empty() || !taking.keeping.empty()) return;
  if (taking.join_at && now < *taking.join_at) {
    out.wake = out.wake ? std::min(*out.wake, *taking.join_at) : *taking.join_at;
    return;
  }
  look_for_parts(taking, now);  // those kept longest may have gone
  if (taking.phase == Phase::joined) return settle_join(stream, taking, now, out);
  if (!taking.missing.empty() || !joinable(taking.manifest)) {
    if (taking.missing.empty()) taking.join_at = now + ask_wait_first;
    return;
  }
  taking.ask_at.reset();
  taking.phase = Phase::joining;
  out.join.push_back({taking.id, taking.manifest});
}

void SnapshotTaker::settle_want(Stream stream, Taking& taking, Instant now, Out& out) {
  const auto wake = [&](Instant at) { out.wake = out.wake ? std::min(*out.wake, at) : at; };
  const bool asks = taking.ask_at && now >= *taking.ask_at;
  const auto ready = [&] { return !taking.got.empty() && taking.got.front().ready; };
  if (!asks && !ready()) {
    if (taking.ask_at) wake(*taking.ask_at);
    return;
  }
  if (!asks && now < taking.said + got_wait) return wake(taking.said + got_wait);
  if (asks && taking.phase == Phase::parts && taking.assembling) tell_assembled(taking, *taking.assembling);
  SnapshotWant want;
  want.stream = stream;
  want.id = taking.id;
  if (asks) {
    want.asks = true;
    want.missing = rows_of(taking.missing);
    taking.ask_wait = std::max(taking.ask_wait, ask_wait_first);
    taking.ask_at = now + taking.ask_wait;
    taking.ask_wait = std::min(2 * taking.ask_wait, ask_wait_max);
  }
  do {
    // What was told last is told again: the frame that did may be lost.
    want.got = std::exchange(taking.told_last, {});
    for (; ready() && taking.told_last.size() < snapshot_got_max / 2; taking.got.pop_front())
      taking.told_last.push_back(taking.got.front().piece);
    want.got.insert(want.got.end(), taking.told_last.begin(), taking.told_last.end());
    out.wants.push_back(want);
    want.asks = false;
    want.missing.clear();
  } while (ready());
  taking.said = now;
  if (taking.missing.empty()) taking.ask_at.reset();
  if (taking.ask_at) wake(*taking.ask_at);
}

std::size_t SnapshotTaker::keeping_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [stream, taking] : takings_) {
    for (const std::uint32_t part : taking.keeping) bytes += taking.manifest.parts[part].bytes;
  }
  return bytes;
}

bool SnapshotTaker::taking() const {
  return std::ranges::any_of(takings_,
                             [](const auto& entry) { return entry.second.met && entry.second.phase != Phase::joined; });
}

}  // namespace landfall
