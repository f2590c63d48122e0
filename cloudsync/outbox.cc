#include "cloudsync/outbox.h"

#include <algorithm>

#include "schemas/frame.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t first_bulk_stream = 3;
// Of one byte in share, against stream 3.
constexpr std::array<std::uint64_t, stream_count> share_cost = {0, 0, 0, 1, 2, 4, 8};

std::size_t index_of(Stream stream) { return static_cast<std::size_t>(stream); }
double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

Outbox::Outbox(const Log& log, const NodeId& peer, std::uint64_t link_bytes_per_second, ReceivedContext peer_had)
    : log_(log),
      self_(log.run().node),
      peer_(peer),
      rate_(link_bytes_per_second),
      peer_have_(std::move(peer_had)),
      credit_(outbox_bytes_before_hello),
      window_(rate_ != 0 ? std::max<std::size_t>(2 * rate_, link_chunk_bytes_min) : link_window_bytes_first) {}

bool Outbox::offered(const RunStream& of) const {
  if (of.run.node == peer_) return false;
  return ((of.run.node == self_ ? own_ : others_) >> index_of(of.stream) & 1) != 0;
}

void Outbox::offer(std::uint8_t own, std::uint8_t others, Instant now) {
  own_ = own;
  others_ = others;
  for (std::size_t s = 0; s < stream_count; ++s) {
    std::erase_if(lanes_[s], [&](const auto& entry) {
      if (offered({entry.first, static_cast<Stream>(s)})) return false;
      forget_flight(s, entry.second);
      return true;
    });
  }
  rescan(now);
}

// Runs of before this process included: what the peer lacks of them is owed as well.
void Outbox::rescan(Instant now) {
  for (const RunStream& of : log_.received().streams()) {
    const std::size_t stream = index_of(of.stream);
    if (!offered(of) || lanes_[stream].contains(of.run)) continue;
    const std::uint64_t end = log_.received().max(of);
    const auto owed = first_owed(of, 1, end);
    if (!owed) continue;
    if (!lane_with_more(stream)) waiting_since_[stream] = now;
    Lane& lane = lanes_[stream][of.run];
    lane.next = *owed;
    lane.end = end;
  }
}

std::optional<std::uint64_t> Outbox::first_owed(const RunStream& of, std::uint64_t from, std::uint64_t end) const {
  from = std::max(from, peer_have_.base(of) + 1);
  if (from > end) return std::nullopt;
  const ReceivedContext& here = log_.received();
  const Dot next{of.run, of.stream, from};
  if (!peer_have_.contains(next) && here.contains(next)) return from;
  for (const auto& lacking : peer_have_.missing(of, from, end)) {
    const auto gaps = here.missing(of, lacking.first, lacking.last);
    if (gaps.empty() || gaps.front().first > lacking.first) return lacking.first;
    if (gaps.front().last < lacking.last) return gaps.front().last + 1;
  }
  return std::nullopt;
}

void Outbox::set_voids(std::uint8_t streams, MayVoid may_void) {
  voids_ = may_void ? streams : 0;
  may_void_ = std::move(may_void);
}

void Outbox::appended(const Log::Range& range, Instant now) {
  const std::size_t stream = index_of(range.of.stream);
  if (!offered(range.of) || peer_have_.contains(range.of, range.first, range.last)) return;
  if (!lane_with_more(stream)) waiting_since_[stream] = now;
  Lane& lane = lanes_[stream][range.of.run];
  // A gap of another node's run was filled behind what has been read.
  if (range.first < lane.next) lane.again.push_back({range.of, range.first, std::min(range.last, lane.next - 1)});
  lane.end = std::max(lane.end, range.last);
}

void Outbox::give_back(const ReceivedContext& lost, Instant now) {
  for (const RunStream& of : lost.streams()) {
    const std::uint64_t end = std::min(lost.max(of), log_.received().max(of));
    if (of.run.node != peer_ || end == 0) continue;
    const std::size_t stream = index_of(of.stream);
    if (!lane_with_more(stream)) waiting_since_[stream] = now;
    Lane& lane = lanes_[stream][of.run];
    lane.ready.clear();
    lane.again.clear();
    ReceivedContext not_asked;  // or on its way
    for (const auto& range : lost.missing(of, 1, end)) (void)not_asked.add(of, range.first, range.last);
    for (const Sent& sent : lane.sent) (void)not_asked.add(of, sent.first, sent.last);
    for (const auto& range : not_asked.missing(of, 1, end)) lane.again.push_back({of, range.first, range.last});
  }
  lost_ = lost;
  starving_ |= short_of(feedable_);
  // A snapshot that is on its way without their chains cannot be joined.
  for (std::size_t s = 0; s < stream_count; ++s) {
    if (!feeds_[s]) continue;
    const bool lacks = std::ranges::any_of(lost.streams(), [&](const RunStream& of) {
      return index_of(of.stream) == s && lost_any(of, feeds_[s]->snapshot->manifest().received.max(of)) &&
             std::ranges::find(feeds_[s]->lacked, of) == feeds_[s]->lacked.end();
    });
    if (lacks) feed(static_cast<Stream>(s), feeds_[s]->snapshot, now);
  }
}

void Outbox::peer_holds(ReceivedContext have, Instant now) {
  peer_have_ = std::move(have);
  // The peer may hold less than we thought (its disk came from a backup), so cursors start again from what it says.
  // What is in flight stays there.
  for (std::size_t s = 0; s < stream_count; ++s) {
    for (auto& [run, lane] : lanes_[s]) {
      const RunStream of{run, static_cast<Stream>(s)};
      std::vector<std::pair<std::uint64_t, std::uint64_t>> flight;
      for (const Sent& sent : lane.sent) flight.emplace_back(sent.first, sent.last);
      std::ranges::sort(flight);
      lane.ready.clear();
      lane.again.clear();
      lane.next = peer_have_.base(of) + 1;
      for (const auto& [first, last] : flight) {
        if (first > lane.next) lane.again.push_back({of, lane.next, first - 1});
        lane.next = std::max(lane.next, last + 1);
      }
    }
  }
  rescan(now);
  release(now);
}

void Outbox::acked(const ReceivedContext& more, Instant now) {
  // A peer may name what is not: only what is here can be owed.
  for (const RunStream& of : more.streams()) {
    if (log_.received().max(of) != 0) peer_have_.join(more.of_stream(of));
  }
  end_feeds();
  release(now);
}

void Outbox::release(Instant now) {
  std::size_t bytes = 0;
  std::optional<Sent> newest;
  for (std::size_t s = 0; s < stream_count; ++s) {
    for (auto it = lanes_[s].begin(); it != lanes_[s].end();) {
      const RunStream of{it->first, static_cast<Stream>(s)};
      Lane& lane = it->second;
      std::erase_if(lane.sent, [&](const Sent& sent) {
        if (!peer_have_.contains(of, sent.first, sent.last)) return false;
        lane.acked_order = std::max(lane.acked_order, sent.order);
        if (!newest || sent.order > newest->order) newest = sent;
        bytes += sent.bytes;
        flight_bytes_ -= sent.bytes;
        if (s < first_bulk_stream) urgent_bytes_ -= sent.bytes;
        return true;
      });
      const bool finished = lane.sent.empty() && !lane.has_more() && of.run != log_.run();
      it = finished ? lanes_[s].erase(it) : std::next(it);
    }
  }
  if (newest) progressed(*newest, bytes, now);
}

void Outbox::progressed(const Sent& newest, std::size_t bytes, Instant now) {
  silent_rounds_ = 0;
  flight_since_ = now;
  if (!newest.again) measure(newest, bytes, now);
}

// The window follows the time that acks take. While they take little more than on an idle link, more may be in flight;
// once they take over a second longer, what was in flight and the time it took say what the link carries.
void Outbox::measure(const Sent& newest, std::size_t bytes, Instant now) {
  const Duration latency = std::max(now - newest.at, Duration(1));
  latency_min_ = latency_min_ ? std::min(*latency_min_, latency) : latency;
  latency_ = latency_ ? (*latency_ * 7 + latency) / 8 : latency;
  const double base = 1.0 + seconds(base_latency());
  const auto carried = static_cast<std::uint64_t>(static_cast<double>(newest.flight_after) / seconds(latency));
  if (rate_ != 0) {
    window_ = std::max(static_cast<std::size_t>(static_cast<double>(rate_) * base), link_chunk_bytes_min);
  } else if (latency > base_latency() + 1250ms) {
    carried_ = carried;
    window_ = std::clamp(static_cast<std::size_t>(static_cast<double>(carried) * base), link_chunk_bytes_min, window_);
  } else {
    carried_ = std::max(carried_, carried);
    if (latency > base_latency() + 500ms || newest.flight_after < window_ / 2) return;
    // Where acks come within 50 ms, four times too much costs an alarm a fifth of a second, once.
    window_ = std::min(window_ + (latency < 50ms ? 3 * bytes : bytes), session_credit_bytes);
  }
}

// The shortest ack time seen stands for the round trip. Until a small chunk has gone alone it holds transfer time as
// well, so it is not believed beyond two seconds: no link we know has a longer round trip.
Duration Outbox::base_latency() const { return std::min<Duration>(latency_min_.value_or(1s), 2s); }

std::size_t Outbox::chunk_bytes_max() const {
  const std::size_t second =
      rate_ != 0 ? rate_ : static_cast<std::size_t>(static_cast<double>(window_) / (1.0 + seconds(base_latency())));
  return std::clamp(second, link_chunk_bytes_min, frame_bytes_max);
}

Duration Outbox::reorder_wait() const { return std::clamp<Duration>(latency_.value_or(1s) / 2, 20ms, 5s); }

Duration Outbox::transfer_time(std::size_t bytes) const {
  const std::uint64_t rate = rate_ != 0 ? rate_ : std::max(carried_, link_bytes_per_second_min);
  return std::chrono::milliseconds(bytes * 1000 / rate);
}

// On a link that loses nothing this must never pass: four times the usual ack time, and twice what the flight takes. The
// peer answers a chunk that it has already, so this also finds out whether it is still there.
Duration Outbox::resend_wait(const Sent& oldest) const {
  const Duration usual = std::clamp<Duration>(4 * latency_.value_or(0s), 10s, 100s);
  const Duration backed_off = std::max(usual, std::min<Duration>(usual * (1 << std::min(silent_rounds_, 6)), 60s));
  return backed_off + 2 * transfer_time(oldest.flight_after);
}

void Outbox::expire(Instant now) {
  bool silent = false;
  for (std::size_t s = 0; s < stream_count; ++s) {
    silent |= expire_pieces(s, now);
    for (auto& [run, lane] : lanes_[s]) {
      if (lane.sent.empty()) continue;
      const Sent& front = lane.sent.front();
      const bool oldest_is_late = now - std::max(front.at, silent_at_) >= resend_wait(front);
      const std::uint64_t oldest = lane.sent.front().order;
      std::erase_if(lane.sent, [&, of = RunStream{run, static_cast<Stream>(s)}](const Sent& sent) {
        const bool skipped = sent.order < lane.acked_order && now - sent.at >= reorder_wait();
        const bool late = oldest_is_late && sent.order == oldest;
        if (!skipped && !late) return false;
        silent |= !skipped;
        lane.again.push_back({of, sent.first, sent.last});
        ++totals_.resent;
        flight_bytes_ -= sent.bytes;
        if (s < first_bulk_stream) urgent_bytes_ -= sent.bytes;
        return true;
      });
    }
  }
  if (!silent) return;
  ++silent_rounds_;
  silent_at_ = now;
}

std::optional<Instant> Outbox::deadline() const {
  std::optional<Instant> earliest = feed_deadline();
  if (flight_bytes_ == 0) return earliest;
  for (const Lanes& lanes : lanes_) {
    for (const auto& [run, lane] : lanes) {
      if (lane.sent.empty()) continue;
      const Instant at = late_at(lane.sent.front(), lane.acked_order);
      if (!earliest || at < *earliest) earliest = at;
    }
  }
  return earliest;
}

Instant Outbox::late_at(const Sent& oldest, std::uint64_t acked_order) const {
  return oldest.order < acked_order ? oldest.at + reorder_wait()
                                    : std::max(oldest.at, silent_at_) + resend_wait(oldest);
}

bool Outbox::nothing_to_send() const {
  return flight_bytes_ == 0 && std::ranges::none_of(feeds_, [](const auto& feed) { return feed != nullptr; }) &&
         std::ranges::none_of(lanes_, [](const Lanes& lanes) {
           return std::ranges::any_of(lanes, [](const auto& entry) { return entry.second.has_more(); });
         });
}

void Outbox::forget_flight(std::size_t stream, const Lane& lane) {
  for (const Sent& sent : lane.sent) {
    flight_bytes_ -= sent.bytes;
    if (stream < first_bulk_stream) urgent_bytes_ -= sent.bytes;
  }
}

std::pair<const RunId, Outbox::Lane>* Outbox::lane_with_more(std::size_t stream) {
  std::pair<const RunId, Lane>* another = nullptr;
  for (auto& entry : lanes_[stream]) {
    if (!entry.second.has_more()) continue;
    if (entry.first.node == self_) return &entry;
    if (!another) another = &entry;
  }
  return another;
}

bool Outbox::has_more(std::size_t stream) {
  if (feeds_[stream]) return !feeds_[stream]->todo.empty();
  return (starving_ >> stream & 1) == 0 && lane_with_more(stream) != nullptr;
}

// Urgent streams have a window of their own, so that bulk in flight does not hold them back, and bulk leaves them an
// eighth of the peer's credit. A snapshot is bulk, whatever its stream.
bool Outbox::room(std::size_t stream) const {
  if (flight_bytes_ == 0) return true;
  if (stream < first_bulk_stream && !feeds_[stream]) return urgent_bytes_ < window_ && flight_bytes_ < credit_;
  return flight_bytes_ < window_ && flight_bytes_ < credit_ - credit_ / 8;
}

std::optional<std::size_t> Outbox::choose(Instant now) {
  std::optional<std::size_t> best;
  for (std::size_t s = first_bulk_stream; s < stream_count; ++s) {
    if (!room(s) || !has_more(s)) continue;
    if (now - waiting_since_[s] > 60s) return s;
    if (!best || std::max(share_[s], share_now_) < std::max(share_[*best], share_now_)) best = s;
  }
  for (std::size_t s = 0; s < first_bulk_stream; ++s) {
    if (room(s) && has_more(s)) return s;
  }
  return best;
}

Status Outbox::pump(Instant now, std::vector<std::string>& frames) {
  probe(now, frames);
  if (credit_ == 0) return ok();
  while (const auto stream = choose(now)) {
    if (feeds_[*stream]) {
      if (!send_piece(*stream, *feeds_[*stream], now, frames)) return ok();
      continue;
    }
    auto& [run, lane] = *lane_with_more(*stream);
    const auto filled = fill({run, static_cast<Stream>(*stream)}, lane);
    if (!filled.ok()) return filled.error();
    if (!*filled) continue;  // it had nothing after all: choose again
    LANDFALL_TRY(shape(lane, std::min(chunk_bytes_max(), credit_)));
    if (flight_bytes_ != 0 && flight_bytes_ + lane.ready.front().chunk.size() > credit_) return ok();
    send(*stream, lane, now, frames);
  }
  return ok();
}

Result<bool> Outbox::fill(const RunStream& of, Lane& lane) {
  while (lane.ready.empty()) {
    if (!lane.again.empty()) {
      LANDFALL_TRY(fill_again(of, lane));
      continue;
    }
    const auto owed = first_owed(of, lane.next, lane.end);
    lane.next = owed.value_or(std::max(lane.next, lane.end + 1));
    if (!owed) return false;
    if ((feedable_ >> index_of(of.stream) & 1) != 0 && lane.next <= log_.floor(of)) {  // pruned since it was looked at
      starving_ |= static_cast<std::uint8_t>(1u << index_of(of.stream));
      return false;
    }
    auto chunks = read(of, lane.next, std::clamp<std::size_t>(window_, 64 << 10, 512 << 10));
    if (!chunks.ok()) return std::move(chunks).error();
    if (chunks->empty()) {
      lane.end = lane.next - 1;
      return false;
    }
    for (auto& chunk : *chunks) {
      if (chunk.header.last < lane.next) continue;
      const std::uint64_t last = chunk.header.last;
      add_missing(of, lane, chunk, std::max(lane.next, chunk.header.first), last);
      lane.next = last + 1;
    }
  }
  return true;
}

Result<std::vector<Log::StoredChunk>> Outbox::read(const RunStream& of, std::uint64_t from, std::size_t bytes_max) {
  const bool voids = of.run.node == self_ && (voids_ >> index_of(of.stream) & 1) != 0;
  auto chunks = log_.read(of, from, voids ? std::max(bytes_max, void_read_bytes) : bytes_max);
  if (!voids || !chunks || chunks->empty()) return chunks;
  std::vector<Log::StoredChunk> out;
  for (std::size_t i = 0, bytes = 0; i < chunks->size() && bytes < bytes_max; bytes += out.back().bytes.size()) {
    auto made = make_voids(std::span(*chunks).subspan(i), may_void_, hasher_);
    if (!made) return std::move(made).error();
    if (*made) totals_.voids += (*made)->voids;
    out.push_back(*made ? std::move((*made)->chunk) : std::move((*chunks)[i]));
    i += *made ? (*made)->taken : 1;
  }
  return out;
}

// Takes the next chunk of the first range to be sent again.
Status Outbox::fill_again(const RunStream& of, Lane& lane) {
  const Log::Range range = lane.again.front();
  lane.again.pop_front();
  auto chunks = read(of, range.first, 1);
  if (!chunks.ok()) return std::move(chunks).error();
  if (chunks->empty()) return ok();
  auto& chunk = chunks->front();
  const std::uint64_t first = std::max(range.first, chunk.header.first), last = std::min(range.last, chunk.header.last);
  if (last < range.last) lane.again.push_front({of, last + 1, range.last});
  if (first <= last) add_missing(of, lane, chunk, first, last);
  return ok();
}

void Outbox::add_missing(const RunStream& of, Lane& lane, Log::StoredChunk& chunk, std::uint64_t first,
                         std::uint64_t last) {
  const auto ranges = peer_have_.missing(of, first, last);
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const bool is_last = i + 1 == ranges.size();
    lane.ready.push_back({ranges[i].first, ranges[i].last, chunk.header.first, chunk.header.last,
                          is_last ? std::move(chunk.bytes) : chunk.bytes});
  }
}

Status Outbox::shape(Lane& lane, std::size_t bytes_max) {
  Piece& piece = lane.ready.front();
  std::uint64_t last = piece.last;
  const auto whole = [&] { return piece.first == piece.chunk_first && last == piece.chunk_last; };
  if (piece.chunk.size() > bytes_max) {
    const std::uint64_t count = piece.chunk_last - piece.chunk_first + 1;
    last = std::min(last, piece.first + std::max<std::uint64_t>(count * bytes_max / piece.chunk.size(), 1) - 1);
  }
  while (!whole()) {
    auto cut = cut_chunk(piece.chunk, piece.first, last, hasher_);
    if (!cut.ok()) return std::move(cut).error();
    if (cut->size() > bytes_max + bytes_max / 2 && last > piece.first) {  // rows differ in length: take fewer
      last = piece.first + (last - piece.first) / 2;
      continue;
    }
    const Piece front{piece.first, last, piece.first, last, std::move(*cut)};
    if (last == piece.last) {
      piece = front;
    } else {
      piece.first = last + 1;
      lane.ready.push_front(front);
    }
    break;
  }
  return ok();
}

void Outbox::charge(std::size_t stream, std::size_t bytes) {
  if (stream < first_bulk_stream) return;
  share_now_ = std::max(share_[stream], share_now_);
  share_[stream] = share_now_ + bytes * share_cost[stream];
}

void Outbox::send(std::size_t stream, Lane& lane, Instant now, std::vector<std::string>& frames) {
  const Piece piece = std::move(lane.ready.front());
  lane.ready.pop_front();
  frames.push_back(encode_frame(FrameType::chunk, piece.chunk));
  const std::size_t bytes = piece.chunk.size();
  const bool again = piece.first <= lane.highest_sent;
  if (flight_bytes_ == 0 && !again) flight_since_ = now;
  flight_bytes_ += bytes;
  if (stream < first_bulk_stream) urgent_bytes_ += bytes;
  charge(stream, bytes);
  waiting_since_[stream] = now;
  lane.highest_sent = std::max(lane.highest_sent, piece.last);
  lane.sent.push_back({piece.first, piece.last, ++order_, bytes, flight_bytes_, now, again});
  ++totals_.chunks;
  totals_.events += piece.last - piece.first + 1;
  totals_.bytes += bytes;
}

}  // namespace landfall
