#include <algorithm>

#include "cloudsync/outbox.h"
#include "schemas/frame.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr Duration probe_wait_first = 10s, probe_wait_max = 60s;
constexpr std::size_t piece_head_bytes = 128;  // of a frame, beside the piece, at most

std::uint8_t bit(std::size_t stream) { return static_cast<std::uint8_t>(1u << stream); }

}  // namespace

std::string_view Outbox::Feed::bytes_of(std::uint32_t part) const {
  return part == snapshot_manifest_part ? manifest : snapshot->part(part);
}

bool Outbox::Feed::holds(std::uint32_t part) const {
  return part == snapshot_manifest_part || part < snapshot->manifest().parts.size();
}

void Outbox::Feed::done(std::uint32_t part, std::uint32_t first, std::uint32_t end) {
  auto it = todo.upper_bound({part, first});
  if (it != todo.begin() && std::prev(it)->first.first == part) --it;
  while (it != todo.end() && it->first.first == part && it->first.second < end) {
    const std::uint32_t from = it->first.second;
    const Todo rest = it->second;
    if (rest.end <= first) {
      ++it;
      continue;
    }
    it = todo.erase(it);
    if (from < first) todo[{part, from}] = {first, rest.again};
    if (rest.end > end) todo[{part, end}] = rest;
  }
}

bool Outbox::lost_any(const RunStream& of, std::uint64_t upto) const {
  const auto kept = lost_.missing(of, 1, upto);
  return upto != 0 && !(kept.size() == 1 && kept.front().first == 1 && kept.front().last == upto);
}

// Of its own runs the peer has all that it does not ask for.
bool Outbox::is_short_of(const RunStream& of, std::uint64_t upto) const {
  return upto != 0 && !peer_have_.contains(of, 1, upto) && (of.run.node != peer_ || lost_any(of, upto));
}

std::uint8_t Outbox::short_of(std::uint8_t streams) const {
  std::uint8_t starving = 0;
  if (streams == 0) return starving;
  for (const RunStream& of : log_.received().streams()) {
    const auto stream = static_cast<std::size_t>(of.stream);
    if ((streams & bit(stream)) == 0 || feeds_[stream]) continue;
    if (is_short_of(of, log_.floor(of))) starving |= bit(stream);
  }
  return starving;
}

void Outbox::set_feedable(std::uint8_t streams) {
  feedable_ = streams;
  starving_ = short_of(streams);
}

void Outbox::go_without(Stream stream) {
  feedable_ &= static_cast<std::uint8_t>(~bit(static_cast<std::size_t>(stream)));
  starving_ &= feedable_;
}

bool Outbox::feed(Stream stream, std::shared_ptr<const Snapshot> snapshot, Instant now) {
  const auto s = static_cast<std::size_t>(stream);
  auto feed = std::make_unique<Feed>();
  SnapshotManifest manifest = snapshot->manifest();
  std::erase_if(manifest.chains, [&](const auto& entry) {
    const RunStream of{entry.first, stream};
    const bool lacks = is_short_of(of, manifest.received.max(of));
    if (lacks) feed->lacked.push_back(of);
    return !lacks;
  });
  feed->manifest = encode(manifest);
  if (feed->lacked.empty() || feed->manifest.size() > frame_bytes_max) return false;
  feed->id = part_id(feed->manifest);
  feed->snapshot = std::move(snapshot);
  feed->todo[{snapshot_manifest_part, 0}] = {static_cast<std::uint32_t>(feed->manifest.size()), false};
  feed->probe_wait = probe_wait_first;
  feed->probe_at = now + feed->probe_wait;
  drop_feed(s);
  if (!lane_with_more(s)) waiting_since_[s] = now;
  feeds_[s] = std::move(feed);
  starving_ &= static_cast<std::uint8_t>(~bit(s));
  ++totals_.snapshots;
  return true;
}

void Outbox::drop_feed(std::size_t stream) {
  if (!feeds_[stream]) return;
  for (const SentPiece& piece : feeds_[stream]->sent) flight_bytes_ -= piece.sent.bytes;
  feeds_[stream].reset();
}

// What the peer lacked it has: the chunks that came meanwhile go on from there.
void Outbox::end_feeds() {
  for (std::size_t s = 0; s < stream_count; ++s) {
    if (!feeds_[s]) continue;
    const ReceivedContext& brought = feeds_[s]->snapshot->manifest().received;
    if (!std::ranges::all_of(feeds_[s]->lacked,
                             [&](const RunStream& of) { return peer_have_.contains(of, 1, brought.max(of)); }))
      continue;
    drop_feed(s);
    ++totals_.snapshots_joined;
    starving_ |= short_of(feedable_ & bit(s));  // pruned since it was made
  }
}

Status Outbox::wanted(const SnapshotWant& want, Instant now) {
  const auto s = static_cast<std::size_t>(want.stream);
  if (!feeds_[s] || feeds_[s]->id != want.id) return ok();  // of an older offer
  Feed& feed = *feeds_[s];
  const Error beyond{Code::out_of_range, "snapshot want: no such part"};
  if (!want.missing.empty() && !feed.holds(want.missing.back().last)) return beyond;
  for (const auto& got : want.got) {
    if (!feed.holds(got.part) || got.offset + got.bytes > feed.bytes_of(got.part).size()) return beyond;
  }
  std::optional<Sent> newest;
  std::size_t bytes = 0;
  const auto take_off = [&](const auto& has) {
    std::erase_if(feed.sent, [&](const SentPiece& piece) {
      if (!has(piece)) return false;
      feed.acked_order = std::max(feed.acked_order, piece.sent.order);
      if (!newest || piece.sent.order > newest->order) newest = piece.sent;
      bytes += piece.sent.bytes;
      flight_bytes_ -= piece.sent.bytes;
      return true;
    });
  };
  for (const auto& got : want.got) {
    feed.done(got.part, got.offset, got.offset + got.bytes);
    take_off([&](const SentPiece& piece) {
      return piece.part == got.part && piece.sent.first >= got.offset && piece.sent.last <= got.offset + got.bytes;
    });
  }
  if (want.asks) {
    std::vector<bool> missing(feed.snapshot->manifest().parts.size());
    feed.todo.clear();
    for (const auto& [first, last] : want.missing) {
      for (std::uint32_t part = first; part <= last; ++part) {
        missing[part] = true;
        feed.todo[{part, 0}] = {static_cast<std::uint32_t>(feed.bytes_of(part).size()), false};
      }
    }
    take_off([&](const SentPiece& piece) { return piece.part == snapshot_manifest_part || !missing[piece.part]; });
    for (const auto& got : want.got) feed.done(got.part, got.offset, got.offset + got.bytes);
    for (const SentPiece& piece : feed.sent)
      feed.done(piece.part, static_cast<std::uint32_t>(piece.sent.first), static_cast<std::uint32_t>(piece.sent.last));
  }
  feed.probe_wait = probe_wait_first;
  feed.probe_at = now + feed.probe_wait;
  if (newest) progressed(*newest, bytes, now);
  return ok();
}

bool Outbox::send_piece(std::size_t stream, Feed& feed, Instant now, std::vector<std::string>& frames) {
  const auto [part, first] = feed.todo.begin()->first;
  const Todo todo = feed.todo.begin()->second;
  const std::string_view whole = feed.bytes_of(part);
  // In even pieces, so that none is only a frame's head.
  const std::size_t most =
      std::min({chunk_bytes_max(), std::max<std::size_t>(credit_, 1), frame_bytes_max - piece_head_bytes});
  const std::size_t pieces = (todo.end - first + most - 1) / most;
  const auto size = static_cast<std::uint32_t>((todo.end - first + pieces - 1) / pieces);
  if (flight_bytes_ != 0 && flight_bytes_ + size > credit_) return false;
  const std::string bytes(whole.substr(first, size));
  feed.todo.erase(feed.todo.begin());
  if (first + size < todo.end) feed.todo[{part, first + size}] = todo;
  const auto at = static_cast<Stream>(stream);
  if (part == snapshot_manifest_part) {
    const auto total = static_cast<std::uint32_t>(whole.size());
    frames.push_back(encode_frame(FrameType::snapshot_offer, encode(SnapshotOffer{at, feed.id, total, first, bytes})));
  } else {
    frames.push_back(encode_frame(FrameType::snapshot_part, encode(SnapshotPart{at, feed.id, part, first, bytes})));
    totals_.parts += first + size == whole.size() ? 1 : 0;
  }
  if (flight_bytes_ == 0 && !todo.again) flight_since_ = now;
  flight_bytes_ += size;
  charge(stream, size);
  waiting_since_[stream] = now;
  feed.sent.push_back({part, {first, first + size, ++order_, size, flight_bytes_, now, todo.again}});
  totals_.snapshot_bytes += size;
  return true;
}

// Everything was sent and acknowledged, and the peer has still not said that it has what this brings.
void Outbox::probe(Instant now, std::vector<std::string>& frames) {
  for (std::size_t s = 0; s < stream_count; ++s) {
    if (!feeds_[s] || !feeds_[s]->todo.empty() || !feeds_[s]->sent.empty() || now < feeds_[s]->probe_at) continue;
    Feed& feed = *feeds_[s];
    const auto total = static_cast<std::uint32_t>(feed.manifest.size());
    frames.push_back(
        encode_frame(FrameType::snapshot_offer, encode(SnapshotOffer{static_cast<Stream>(s), feed.id, total, 0, {}})));
    feed.probe_wait = std::min(2 * feed.probe_wait, probe_wait_max);
    feed.probe_at = now + feed.probe_wait;
  }
}

// As for chunks (expire): what later acknowledgements skipped, and the oldest once it is late.
bool Outbox::expire_pieces(std::size_t stream, Instant now) {
  if (!feeds_[stream] || feeds_[stream]->sent.empty()) return false;
  Feed& feed = *feeds_[stream];
  const std::uint64_t oldest = feed.sent.front().sent.order;
  const bool oldest_is_late =
      now - std::max(feed.sent.front().sent.at, silent_at_) >= resend_wait(feed.sent.front().sent);
  bool silent = false;
  std::erase_if(feed.sent, [&](const SentPiece& piece) {
    const bool skipped = piece.sent.order < feed.acked_order && now - piece.sent.at >= reorder_wait();
    const bool late = oldest_is_late && piece.sent.order == oldest;
    if (!skipped && !late) return false;
    silent |= !skipped;
    feed.todo[{piece.part, static_cast<std::uint32_t>(piece.sent.first)}] = {
        static_cast<std::uint32_t>(piece.sent.last), true};
    ++totals_.resent;
    flight_bytes_ -= piece.sent.bytes;
    return true;
  });
  return silent;
}

std::optional<Instant> Outbox::feed_deadline() const {
  std::optional<Instant> earliest;
  for (const auto& feed : feeds_) {
    if (!feed || (feed->sent.empty() && !feed->todo.empty())) continue;
    const Instant at = feed->sent.empty() ? feed->probe_at : late_at(feed->sent.front().sent, feed->acked_order);
    if (!earliest || at < *earliest) earliest = at;
  }
  return earliest;
}

}  // namespace landfall
