#include <algorithm>

#include "cloudsync/outbox.h"
#include "cloudsync/session.h"
#include "cloudsync/snapshot_taker.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr Duration snapshot_wait = 2s;

bool has(std::uint8_t streams, Stream stream) { return (streams >> static_cast<int>(stream) & 1) != 0; }

}  // namespace

void Session::take_offer(std::string_view body, Instant now, Effects& effects) {
  const auto offer = decode_snapshot_offer(body);
  if (!offer.ok()) return fail(offer.error(), effects);
  if (peer_.role != Peer::Role::hub || !has(options_.relays, offer->stream))
    return fail({Code::denied, "snapshot offer: not for " + to_string(peer_.node) + " to make"}, effects);
  if (auto taken = taker_->take(*offer, now); !taken.ok()) fail(std::move(taken).error(), effects);
}

void Session::take_part(std::string_view body, Instant now, Effects& effects) {
  const auto part = decode_snapshot_part(body);
  if (!part.ok()) return fail(part.error(), effects);
  if (peer_.role != Peer::Role::hub || !has(options_.relays, part->stream))
    return fail({Code::denied, "snapshot part: not for " + to_string(peer_.node) + " to send"}, effects);
  if (taker_->keeping_bytes() + held_bytes_ + ingesting_bytes_ > 2 * options_.credit_bytes + frame_bytes_max) {
    return fail(
        {Code::out_of_range, "snapshot part: beyond the credit of " + std::to_string(options_.credit_bytes) + " bytes"},
        effects);
  }
  if (auto taken = taker_->take(*part, now); !taken.ok()) fail(std::move(taken).error(), effects);
}

void Session::take_want(std::string_view body, Instant now, Effects& effects) {
  const auto want = decode_snapshot_want(body);
  if (!want.ok()) return fail(want.error(), effects);
  if (!has(offered_, want->stream))
    return fail({Code::denied, "snapshot want: " + to_string(peer_.node) + " was offered none"}, effects);
  if (auto wanted = outbox_->wanted(*want, now); !wanted.ok()) fail(std::move(wanted).error(), effects);
}

Session::Effects Session::on_kept(Stream stream, const SnapshotId& id, std::uint32_t part, const Status& status,
                                  Instant now) {
  Effects effects;
  if (over_) return effects;
  if (auto kept = taker_->kept(stream, id, part, status, now); !kept.ok()) fail(std::move(kept).error(), effects);
  return std::move(settle(now, effects));
}

Session::Effects Session::on_joined(Stream stream, const SnapshotId& id, const Status& status, Instant now) {
  Effects effects;
  if (over_) return effects;
  if (auto joined = taker_->joined(stream, id, status, now); !joined.ok()) fail(std::move(joined).error(), effects);
  digest_due_ |= comparable_ & 1u << static_cast<int>(stream);
  return std::move(settle(now, effects));
}

void Session::settle_taker(Instant now, Effects& effects) {
  SnapshotTaker::Out out;
  taker_->settle(now, out);
  std::ranges::move(out.keep, std::back_inserter(effects.keep));
  std::ranges::move(out.join, std::back_inserter(effects.join));
  ack_due_.insert(out.here.begin(), out.here.end());
  for (const SnapshotWant& want : out.wants) send(FrameType::snapshot_want, encode(want), now, effects);
  if (out.wake) effects.wake = effects.wake ? std::min(*effects.wake, *out.wake) : *out.wake;
  // It may name more of our ended runs than the hello had room for.
  for (const SnapshotManifest& offered : out.offered) {
    const ReceivedContext ours = offered.received.of_node(log_.run().node);
    for (const RunStream& of : ours.streams()) {
      if (of.run == log_.run()) continue;
      peer_has_.join(ours.of_stream(of));
      if (!offered.chains.contains(of.run) && !log_.received().contains(of, 1, ours.max(of))) ask_lost_ = now;
    }
  }
}

// Offers a snapshot of each stream that chunks cannot bring, or decides that the peer does without.
void Session::settle_starving(Instant now, Effects& effects) {
  for (std::size_t s = 0; s < stream_count; ++s) {
    if ((moved_ >> s & 1) == 0) continue;
    if (now < next_snapshot_[s]) {
      effects.wake = effects.wake ? std::min(*effects.wake, next_snapshot_[s]) : next_snapshot_[s];
      continue;
    }
    const auto others = static_cast<std::uint8_t>(~(1u << s));
    moved_ &= others;
    without_ &= others;
    outbox_->set_feedable(feedable_ & static_cast<std::uint8_t>(~without_));
  }
  for (std::size_t s = 0; s < stream_count; ++s) {
    if ((outbox_->starving() >> s & 1) == 0) continue;
    const auto stream = static_cast<Stream>(s);
    auto made = options_.snapshot(stream);
    if (made.ok() && outbox_->feed(stream, *made, now)) {
      offered_ |= static_cast<std::uint8_t>(1u << s);
      continue;
    }
    if (!made.ok() && made.error().code != Code::unavailable && made.error().code != Code::out_of_range)
      return fail(std::move(made).error().in("snapshot for peer"), effects);
    outbox_->go_without(stream);
    without_ |= static_cast<std::uint8_t>(1u << s);
    next_snapshot_[s] = now + snapshot_wait;
  }
}

}  // namespace landfall
