#include "cloudsync/session.h"

#include <algorithm>

#include "cloudsync/outbox.h"
#include "cloudsync/snapshot_taker.h"
#include "schemas/sync_messages.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr Duration hello_wait_first = 10s, hello_wait_max = 60s;
constexpr Duration ask_wait_first = 10s, ask_wait_max = 10min;
// An ack costs about a hundred bytes and a wake-up at both ends.
constexpr Duration ack_wait_quiet = 2ms, ack_wait_min = 10ms, ack_wait_max = 1s;
constexpr std::size_t ack_bytes_min = 64 << 10;
// More than this is told in another ack: a peer must not find out which gaps make one too long for a frame.
constexpr std::size_t ack_context_bytes = received_context_bytes_max / 2, entry_head_bytes = 32;
constexpr std::size_t ingesting_bytes_max = 4 << 20;
constexpr Duration log_full_wait = 20ms;

std::string name(const Log::Range& range) {
  return to_string(Dot{range.of.run, range.of.stream, range.first}) + ".." + std::to_string(range.last);
}

// A hello must fit a frame before hello. Of a node with more runs or gaps than that, the entries that stand for most
// events are told, and the rest is sent to us again: wasteful, never wrong.
std::string bounded(const ReceivedContext& context, std::size_t bytes_max) {
  std::string whole = context.encode();
  if (whole.size() <= bytes_max) return whole;
  constexpr std::size_t head_bytes = 16, node_head_bytes = 24, run_head_bytes = 10;  // at most
  std::vector<std::pair<std::uint64_t, RunStream>> longest_first;
  for (const RunStream& of : context.streams()) longest_first.emplace_back(context.max(of), of);
  std::ranges::sort(longest_first, std::greater());
  ReceivedContext part;
  std::set<NodeId> nodes;
  std::size_t bytes = head_bytes;
  for (const auto& [last, of] : longest_first) {
    const std::size_t more =
        (nodes.contains(of.run.node) ? 0 : node_head_bytes) + run_head_bytes + context.encode_entry(of).size();
    if (bytes + more > bytes_max) continue;
    bytes += more;
    nodes.insert(of.run.node);
    part.join(context.of_stream(of));
  }
  return part.encode();
}

}  // namespace

Session::Session(const Log& log, Peer peer, SessionOptions options, std::function<const ReceivedContext&()> committed,
                 ReceivedContext peer_had)
    : log_(log),
      peer_(std::move(peer)),
      options_(std::move(options)),
      committed_(std::move(committed)),
      outbox_(std::make_unique<Outbox>(log, peer_.node, options_.link_bytes_per_second, peer_had)),
      peer_committed_(std::move(peer_had)),
      taker_(options_.taker ? options_.taker : std::make_shared<SnapshotTaker>(log)) {
  taker_->begin_session();
}

Session::~Session() = default;

Session::Effects Session::on_open(Instant now, HybridTime time, ClockClass clock) {
  Effects effects;
  hello_time_ = time;
  clock_ = clock;
  opened_ = last_heard_ = now;
  last_ack_ = now + (-ack_wait_min);
  hello_ = hello_body(time);
  hello_wait_ = hello_wait_first;
  hello_again_ = now + hello_wait_;
  send(FrameType::hello, hello_, now, effects);
  // The optimistic push: alarms ride with the first flight. Of what a snapshot will cover nothing.
  const std::uint8_t starving = options_.snapshot ? outbox_->short_of(options_.relay_offers) : 0;
  outbox_->offer(static_cast<std::uint8_t>(options_.offers & options_.peer_wanted & 0x07 & ~starving), 0, now);
  return std::move(settle(now, effects));
}

std::string Session::hello_body(HybridTime time) const {
  Hello hello;
  hello.node = log_.run().node;
  hello.run = log_.run();
  hello.time = time;
  hello.clock = clock_;
  hello.wants = options_.wants;
  hello.credit_bytes = static_cast<std::uint32_t>(options_.credit_bytes);
  hello.relays = options_.relays;
  hello.understands_digest = options_.digests != nullptr;
  hello.understands_snapshot = options_.relays != 0;
  hello.understands_voids = true;
  hello.have = bounded(subscribed_of(log_.received()), hello_context_bytes_max);
  hello.committed = bounded(subscribed_of(committed_()), hello_context_bytes_max);
  if (hello.committed == hello.have) hello.committed.clear();
  hello.software = options_.software;
  return encode(hello);
}

// Whether the peer, being what it is, may send events of this (run, stream) at all.
bool Session::may_come(const RunStream& of) const {
  if (of.run.node == peer_.node) return true;
  if (peer_.role != Peer::Role::hub) return false;
  if (of.run.node == log_.run().node) return of.run != log_.run();
  return (options_.relays >> static_cast<int>(of.stream) & 1) != 0;
}

bool Session::subscribed(const RunStream& of) const {
  if (of.run.node != peer_.node) return true;
  return ((options_.wants | options_.relays) >> static_cast<int>(of.stream) & 1) != 0;
}

// What a hello says of a context: the peer's runs, and all but our own in relayed streams.
ReceivedContext Session::subscribed_of(const ReceivedContext& context) const {
  ReceivedContext part = context.of_node(peer_.node);
  if (options_.relays == 0) return part;
  for (const RunStream& of : context.streams()) {
    const bool relayed = (options_.relays >> static_cast<int>(of.stream) & 1) != 0;
    if (relayed && of.run.node != peer_.node && of.run.node != log_.run().node) part.join(context.of_stream(of));
  }
  return part;
}

// What the peer has of our ended runs and we do not: the disk came from a backup, or lost its tail.
ReceivedContext Session::lost() const {
  ReceivedContext lost;
  for (const RunStream& of : peer_has_.streams()) {
    for (const auto& gap : log_.received().missing(of, 1, peer_has_.max(of))) {
      std::uint64_t next = gap.first;
      for (const auto& neither : peer_has_.missing(of, gap.first, gap.last)) {
        if (neither.first > next) (void)lost.add(of, next, neither.first - 1);
        next = neither.last + 1;
      }
      if (next <= gap.last) (void)lost.add(of, next, gap.last);
    }
  }
  return lost;
}

Session::Effects Session::on_frame(FrameView frame, Instant now) {
  Effects effects;
  if (over_) return effects;
  last_heard_ = now;
  switch (frame.type) {
    case FrameType::hello: take_hello(frame.body, now, effects); break;
    case FrameType::chunk: take_chunk(frame.body, now, effects); break;
    case FrameType::ack: take_ack(frame.body, now, effects); break;
    case FrameType::digest: take_digest(frame.body, effects); break;
    case FrameType::snapshot_offer: take_offer(frame.body, now, effects); break;
    case FrameType::snapshot_part: take_part(frame.body, now, effects); break;
    case FrameType::snapshot_want: take_want(frame.body, now, effects); break;
    case FrameType::heartbeat: {
      if (auto heartbeat = decode_heartbeat(frame.body); !heartbeat.ok())
        fail(std::move(heartbeat).error().in("heartbeat"), effects);
      break;
    }
    case FrameType::bye: {
      auto bye = decode_bye(frame.body);
      over_ = true;
      effects.close = bye.ok() ? Error{bye->code, "peer said: " + bye->detail} : std::move(bye).error().in("bye");
      break;
    }
    default:
      fail({Code::out_of_range, "frame type " + std::to_string(static_cast<int>(frame.type)) + " in a session"},
           effects);
  }
  return std::move(settle(now, effects));
}

void Session::take_hello(std::string_view body, Instant now, Effects& effects) {
  auto hello = decode_hello(body);
  if (!hello.ok()) return fail(std::move(hello).error().in("hello"), effects);
  if (hello->protocol != 1)
    return fail({Code::out_of_range, "hello: protocol " + std::to_string(hello->protocol) + ", we speak 1"}, effects);
  if (hello->node != peer_.node)
    return fail({Code::denied,
                 "hello: says node " + to_string(hello->node) + ", the certificate says " + to_string(peer_.node)},
                effects);
  if (peer_wants_) {
    // A copy of the first changes nothing. A later one says that our hello was lost.
    if (hello->time > peer_hello_time_) {
      peer_hello_time_ = hello->time;
      send(FrameType::hello, hello_, now, effects);
    }
    return;
  }
  auto have = ReceivedContext::decode(hello->have);
  if (!have.ok()) return fail(std::move(have).error().in("hello: have"), effects);
  auto committed = hello->committed.empty() ? have : ReceivedContext::decode(hello->committed);
  if (!committed.ok()) return fail(std::move(committed).error().in("hello: committed"), effects);
  const NodeId self = log_.run().node;
  peer_committed_ = committed->of_node(self);
  peer_committed_.join(acked_here_);
  if (peer_.role == Peer::Role::hub) {
    for (const RunStream& of : have->of_node(self).streams()) {
      if (of.run != log_.run()) peer_has_.join(have->of_stream(of));
    }
    ask_lost_ = now;
    ask_wait_ = ask_wait_first;
  }
  ReceivedContext holds = std::move(*have);
  holds.join(peer_committed_);
  peer_hello_time_ = hello->time;
  peer_wants_ = hello->wants | hello->relays;
  outbox_->set_credit(hello->credit_bytes);
  if (hello->understands_voids) outbox_->set_voids(options_.voids, options_.may_void);
  outbox_->peer_holds(std::move(holds), now);
  const std::uint8_t relayed = options_.relay_offers & hello->relays;
  if (options_.snapshot && hello->understands_snapshot) {
    feedable_ = relayed & options_.offers;
    outbox_->set_feedable(feedable_);
  }
  outbox_->offer(options_.offers & *peer_wants_, relayed, now);
  if (options_.digests && hello->understands_digest) {
    comparable_ = digest_due_ = (relayed & options_.wants) | (options_.relays & options_.offers & *peer_wants_);
    next_digest_ = now;
  }
}

void Session::take_digest(std::string_view body, Effects& effects) {
  auto digests = decode_digests(body);
  if (!digests.ok()) return fail(std::move(digests).error().in("digest"), effects);
  for (const Digests::OfStream& theirs : digests->streams) {
    if ((comparable_ >> static_cast<int>(theirs.stream) & 1) == 0) continue;
    auto ours = options_.digests(theirs.stream);
    if (!ours.ok()) return fail(std::move(ours).error().in("digest of our state"), effects);
    // While events are on their way the contexts differ, and the states say nothing. A state may also be read while a
    // commit is half done, so that only what differs the same way twice is believed to differ.
    if (ours->context != theirs.context) continue;
    const Comparison comparison{theirs.stream, ours->state, theirs.state};
    Suspicion& suspicion = suspicions_[static_cast<std::size_t>(theirs.stream)];
    if (suspicion.context != ours->context || suspicion.ours != ours->state || suspicion.theirs != theirs.state)
      suspicion = {ours->context, ours->state, theirs.state};
    suspicion.seen = std::min(suspicion.seen + 1, 3);
    if (comparison.equal() || suspicion.seen >= 2) effects.compared.push_back(comparison);
    // The other end wants to see it twice as well, and may have missed one.
    if (!comparison.equal() && suspicion.seen <= 2) digest_due_ |= 1u << static_cast<int>(theirs.stream);
  }
}

void Session::take_chunk(std::string_view body, Instant now, Effects& effects) {
  auto header = read_chunk_header(body);
  if (!header.ok()) return fail(std::move(header).error().in("chunk"), effects);
  const Log::Range range{header->of, header->first, header->last};
  if (!may_come(range.of))
    return fail({Code::denied, "chunk " + name(range) + ": not for " + to_string(peer_.node) + " to send"}, effects);
  if (!peer_wants_) {
    bytes_before_hello_ += body.size();
    if (bytes_before_hello_ > 2 * outbox_bytes_before_hello) return;  // its hello was lost: what we drop comes again
  }
  ++totals_.chunks_received;
  totals_.chunk_bytes_received += body.size();
  if (!subscribed(range.of)) return;  // pushed before it heard what we want
  if (log_.received().contains(range.of, range.first, range.last)) {
    ++totals_.duplicates;
    ack_due_.insert(range.of);  // the ack that said so may have been lost
    return;
  }
  if (arriving(*header)) {
    ++totals_.duplicates;
    return;
  }
  if (held_bytes_ + ingesting_bytes_ > 2 * options_.credit_bytes + frame_bytes_max) {
    return fail({Code::out_of_range,
                 "chunk " + name(range) + ": beyond the credit of " + std::to_string(options_.credit_bytes) + " bytes"},
                effects);
  }
  if (ask_lost_ && range.of.run.node == log_.run().node) ask_lost_ = now + ask_wait_;
  auto& highest = highest_arrived_[range.of];
  highest = std::max(highest, range.last);
  totals_.events_received += header->count();
  held_bytes_ += body.size();
  held_.push_back({range, std::string(body)});
}

// Whether the chunk is already here but not yet A1. Rarely more than one comparison: seqs mostly rise.
bool Session::arriving(const ChunkHeader& header) const {
  const auto highest = highest_arrived_.find(header.of);
  if (highest == highest_arrived_.end() || header.first > highest->second) return false;
  const auto covers = [&](std::uint64_t first, std::uint64_t last) {
    return first <= header.first && header.last <= last;
  };
  if (const auto it = ingesting_.find(header.of); it != ingesting_.end()) {
    for (const Ingesting& one : it->second) {
      if (covers(one.first, one.last)) return true;
    }
  }
  return std::ranges::any_of(
      held_, [&](const Ingest& one) { return one.range.of == header.of && covers(one.range.first, one.range.last); });
}

void Session::feed_log(Effects& effects) {
  while (!held_.empty() && ingesting_bytes_ < ingesting_bytes_max && log_.pending_bytes() < log_pending_bytes_max / 2) {
    Ingest next = std::move(held_.front());
    held_.pop_front();
    held_bytes_ -= next.chunk.size();
    ingesting_bytes_ += next.chunk.size();
    ingesting_[next.range.of].push_back({next.range.first, next.range.last, next.chunk.size()});
    effects.ingest.push_back(std::move(next));
  }
}

Session::Effects Session::on_ingested(const Log::Range& range, const Status& status, Instant now) {
  Effects effects;
  if (over_) return effects;
  const auto lane = ingesting_.find(range.of);
  LANDFALL_CHECK(lane != ingesting_.end());
  const auto one = std::ranges::find_if(
      lane->second, [&](const Ingesting& i) { return i.first == range.first && i.last == range.last; });
  LANDFALL_CHECK(one != lane->second.end());
  const std::size_t bytes = one->bytes;
  ingesting_bytes_ -= bytes;
  lane->second.erase(one);
  if (lane->second.empty()) ingesting_.erase(lane);
  if (status.ok()) {
    digest_due_ |= comparable_ & 1u << static_cast<int>(range.of.stream);
    if (committed_().contains(range.of, range.first, range.last)) {
      ack_due_.insert(range.of);
      bytes_since_ack_ += bytes;
    }
  } else if (status.error().code != Code::unavailable) {  // then the log is full: the peer sends it again
    fail(Error(status.error()).in("chunk " + name(range)), effects);
  }
  return std::move(settle(now, effects));
}

Session::Effects Session::on_committed(const RunStream& of, Instant now) {
  Effects effects;
  if (over_ || of.run.node != peer_.node) return effects;
  ack_due_.insert(of);
  return std::move(settle(now, effects));
}

Session::Effects Session::on_appended(const Log::Range& range, Instant now) {
  Effects effects;
  if (over_) return effects;
  outbox_->appended(range, now);
  moved_ |= without_ & static_cast<std::uint8_t>(1u << static_cast<int>(range.of.stream));
  digest_due_ |= comparable_ & 1u << static_cast<int>(range.of.stream);
  return std::move(settle(now, effects));
}

Session::Effects Session::on_tick(Instant now) {
  Effects effects;
  if (over_) return effects;
  return std::move(settle(now, effects));
}

Session::Effects Session::on_drained(std::size_t, Instant now) { return on_tick(now); }

Session::Effects Session::on_stop(Error why) {
  Effects effects;
  if (!over_) fail(std::move(why), effects);
  return effects;
}

void Session::take_ack(std::string_view body, Instant now, Effects& effects) {
  auto ack = decode_ack(body);
  if (!ack.ok()) return fail(std::move(ack).error().in("ack"), effects);
  auto decoded = ReceivedContext::decode(ack->committed);
  if (!decoded.ok()) return fail(std::move(decoded).error().in("ack"), effects);
  auto lost = ReceivedContext::decode(ack->lost);
  if (!lost.ok()) return fail(std::move(lost).error().in("ack: lost"), effects);
  // A2 of our own runs is the peer's to say; what it has of others' is only not to be sent again.
  const ReceivedContext more = decoded->of_node(log_.run().node);
  peer_committed_.join(more);
  if (!peer_wants_) acked_here_.join(more);
  if (peer_wants_) outbox_->set_credit(ack->credit_bytes);
  outbox_->acked(*decoded, now);
  if (options_.gives_back) outbox_->give_back(*lost, now);
}

void Session::send(FrameType type, std::string_view body, Instant now, Effects& effects) {
  effects.frames.push_back(encode_frame(type, body));
  last_sent_ = now;
}

void Session::fail(Error why, Effects& effects) {
  if (over_) return;
  over_ = true;
  effects.frames.push_back(encode_frame(FrameType::bye, encode(Bye{why.code, why.detail})));
  effects.close = std::move(why);
}

void Session::send_ack(Instant now, Effects& effects) {
  const ReceivedContext& committed = committed_();
  Ack ack;
  ReceivedContext entries;
  std::size_t bytes = 0;
  while (!ack_due_.empty() && bytes < ack_context_bytes) {
    const auto of = ack_due_.extract(ack_due_.begin()).value();
    bytes += entry_head_bytes + committed.encode_entry(of).size();
    entries.join(committed.of_stream(of));
  }
  ack.committed = entries.encode();
  ack.credit_bytes = static_cast<std::uint32_t>(options_.credit_bytes);
  send(FrameType::ack, encode(ack), now, effects);
  bytes_since_ack_ = 0;
  last_ack_ = now;
}

Session::Effects& Session::settle(Instant now, Effects& effects) {
  if (over_) return effects;
  feed_log(effects);
  const auto wake = [&](Instant at) { effects.wake = effects.wake ? std::min(*effects.wake, at) : at; };
  if (!held_.empty() && ingesting_bytes_ == 0) wake(now + log_full_wait);
  settle_taker(now, effects);
  settle_ack(now, effects);
  settle_lost(now, effects);
  outbox_->expire(now);
  const std::size_t before = effects.frames.size();
  do {
    settle_starving(now, effects);
    if (over_) return effects;
    if (auto pumped = outbox_->pump(now, effects.frames); !pumped.ok()) {
      fail(std::move(pumped).error().in("read for peer"), effects);
      return effects;
    }
  } while (outbox_->starving() != 0);
  if (effects.frames.size() != before) last_sent_ = now;
  if (const auto at = outbox_->deadline()) wake(*at);
  settle_digest(now, effects);
  settle_liveness(now, effects);
  return effects;
}

void Session::settle_ack(Instant now, Effects& effects) {
  if (ack_due_.empty()) return;
  const bool quiet = held_.empty() && ingesting_.empty();
  const bool enough = bytes_since_ack_ >= ack_bytes_min;
  const Instant at = last_ack_ + (quiet ? ack_wait_quiet : enough ? ack_wait_min : ack_wait_max);
  if (now >= at) {
    while (!ack_due_.empty()) send_ack(now, effects);
  } else {
    effects.wake = effects.wake ? std::min(*effects.wake, at) : at;
  }
}

// Asks until it came, or until nothing is left to ask for: the peer may not know how, or have dropped it since.
void Session::settle_lost(Instant now, Effects& effects) {
  if (!ask_lost_) return;
  if (now >= *ask_lost_) {
    const ReceivedContext missed = lost();
    if (missed.empty()) return ask_lost_.reset();
    Ack ack;
    ack.credit_bytes = static_cast<std::uint32_t>(options_.credit_bytes);
    ack.lost = bounded(missed, hello_context_bytes_max);
    send(FrameType::ack, encode(ack), now, effects);
    ask_lost_ = now + ask_wait_;
    ask_wait_ = std::min(2 * ask_wait_, ask_wait_max);
  }
  effects.wake = effects.wake ? std::min(*effects.wake, *ask_lost_) : *ask_lost_;
}

void Session::settle_digest(Instant now, Effects& effects) {
  if (digest_due_ == 0 || !in_sync()) return;
  if (now < next_digest_) {
    effects.wake = effects.wake ? std::min(*effects.wake, next_digest_) : next_digest_;
    return;
  }
  Digests digests;
  for (std::size_t s = 0; s < stream_count; ++s) {
    if ((digest_due_ >> s & 1) == 0) continue;
    const auto ours = options_.digests(static_cast<Stream>(s));
    if (!ours.ok()) return fail(Error(ours.error()).in("digest of our state"), effects);
    digests.streams.push_back({static_cast<Stream>(s), ours->context, ours->state});
  }
  send(FrameType::digest, encode(digests), now, effects);
  digest_due_ = 0;
  next_digest_ = now + digest_interval;
}

void Session::settle_liveness(Instant now, Effects& effects) {
  const auto wake = [&](Instant at) { effects.wake = effects.wake ? std::min(*effects.wake, at) : at; };
  if (!peer_wants_) {
    if (now >= hello_again_) {
      // A later time tells the peer that this is no copy.
      ++hello_time_.value;
      send(FrameType::hello, hello_body(hello_time_), now, effects);
      hello_wait_ = std::min(2 * hello_wait_, hello_wait_max);
      hello_again_ = now + hello_wait_;
    }
    wake(hello_again_);
  }
  if (now >= last_sent_ + options_.heartbeat) {
    const auto open_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - opened_).count();
    send(FrameType::heartbeat, encode(Heartbeat{HybridTime::from_unix_ms(hello_time_.unix_ms() + open_ms)}), now,
         effects);
  }
  wake(last_sent_ + options_.heartbeat);
  // While nothing is due the peer still owes a heartbeat.
  const bool due = !peer_wants_ || outbox_->flight_bytes() != 0;
  const Instant silent_since =
      outbox_->flight_bytes() != 0 ? std::max(last_heard_, outbox_->flight_since()) : last_heard_;
  // One large event may keep a slow link busy for longer than any fixed time.
  const Duration patience = options_.dead_after + outbox_->flight_time() + (due ? Duration{} : options_.heartbeat);
  const Instant dead = silent_since + patience;
  if (now >= dead) return fail({Code::unavailable, "nothing heard from the peer"}, effects);
  wake(dead);
}

bool Session::in_sync() const {
  return peer_wants_ && !over_ && outbox_->nothing_to_send() && held_.empty() && ingesting_.empty() &&
         ack_due_.empty() && !taker_->taking();
}

const Session::Totals& Session::totals() const {
  const Outbox::Totals& sent = outbox_->totals();
  totals_.chunks_sent = sent.chunks;
  totals_.events_sent = sent.events;
  totals_.chunk_bytes_sent = sent.bytes;
  totals_.resent = sent.resent;
  totals_.voids_sent = sent.voids;
  totals_.snapshots_offered = sent.snapshots;
  totals_.parts_sent = sent.parts;
  totals_.snapshot_bytes_sent = sent.snapshot_bytes;
  const SnapshotTaker::Totals& taken = taker_->totals();
  totals_.snapshots_joined = sent.snapshots_joined + taken.joined;
  totals_.parts_received = taken.parts;
  totals_.snapshot_bytes_received = taken.bytes;
  return totals_;
}

}  // namespace landfall
