#include "tests/sim/network.h"

#include <algorithm>

#include "schemas/check.h"
#include "schemas/limits.h"

namespace landfall::sim {

using namespace std::chrono_literals;

// One end of one link. It outlives its node: tasks on their way find `closed`.
class Medium::End final : public Link {
 public:
  End(Medium& medium, Network& owner, const Peer& peer) : medium_(medium), owner_(owner), peer_(peer) {}
  const Peer& peer() const override { return peer_; }
  void send(std::string frame) override { medium_.send(*this, std::move(frame)); }
  std::size_t unsent_bytes() const override { return unsent_; }
  void close(const Error& why) override { medium_.close(*this, why); }

  Medium& medium_;
  Network& owner_;
  Peer peer_;
  End* other_ = nullptr;
  bool opened_ = false, closing_ = false, closed_ = false, dead_ = false;  // dead: frames go nowhere
  std::size_t unsent_ = 0, unsent_most_ = 0;
  Instant free_at_, last_arrival_;
};

struct Medium::Pair {
  Network* dialler;
  Network* listener;
  End* link = nullptr;  // the dialler's end
  Instant cut_until;
  Schedule::Ticket dialling = 0;
};

Medium::Medium(Schedule& schedule) : schedule_(schedule) {}
Medium::~Medium() = default;

void Medium::join(Network& dialler, Network& listener) {
  pairs_.push_back(std::make_unique<Pair>(Pair{&dialler, &listener, nullptr, {}, 0}));
  dial_later(*pairs_.back());
}

Medium::Pair* Medium::pair_of(const Network& a, const Network& b) {
  for (auto& pair : pairs_) {
    if ((pair->dialler == &a && pair->listener == &b) || (pair->dialler == &b && pair->listener == &a))
      return pair.get();
  }
  return nullptr;
}

void Medium::up_or_down(Network& node) {
  for (auto& pair : pairs_) {
    if (pair->dialler == &node || pair->listener == &node) dial_later(*pair);
  }
}

void Medium::dial_later(Pair& pair) {
  if (pair.dialling != 0) return;
  const Instant clear = std::max(schedule_.now(), pair.cut_until);
  pair.dialling = schedule_.at(clear + schedule_.rng.spread(10ms, 5s), [this, &pair] {
    pair.dialling = 0;
    dial(pair);
  });
}

void Medium::dial(Pair& pair) {
  if (pair.link && !pair.link->closed_) return;
  if (!pair.dialler->up() || !pair.listener->up()) return;  // whoever comes up calls
  if (schedule_.now() < pair.cut_until) return dial_later(pair);
  ++stats_.opened;
  ends_.push_back(std::make_unique<End>(*this, *pair.dialler, pair.listener->self()));
  End* near = ends_.back().get();
  ends_.push_back(std::make_unique<End>(*this, *pair.listener, pair.dialler->self()));
  End* far = ends_.back().get();
  near->other_ = far;
  far->other_ = near;
  pair.link = near;
  for (End* end : {near, far}) {
    end->owner_.loop_.after(schedule_.rng.spread(100us, 50ms), [end] {
      if (end->closed_) return;
      end->opened_ = true;
      ++end->owner_.totals_.links_opened;
      end->owner_.user_->on_open(*end);
    });
  }
}

void Medium::send(End& from, std::string frame) {
  if (from.closing_ || from.closed_) return;
  ++stats_.frames;
  stats_.bytes += frame.size();
  ++from.owner_.totals_.frames_out;
  from.owner_.totals_.bytes_out += frame.size();
  Duration queued{};
  if (faults.bytes_per_second != 0) {
    const Duration takes = std::chrono::nanoseconds(frame.size() * 1'000'000'000 / faults.bytes_per_second);
    from.free_at_ = std::max(from.free_at_, schedule_.now()) + takes;
    queued = from.free_at_ - schedule_.now();
    from.unsent_ += frame.size();
    from.unsent_most_ = std::max(from.unsent_most_, from.unsent_);
    from.owner_.loop_.after(queued, [&from, bytes = frame.size()] {
      from.unsent_ -= bytes;
      if (from.unsent_ > from.unsent_most_ / 4 || from.closed_) return;
      from.unsent_most_ = from.unsent_;
      from.owner_.user_->on_drained(from);
    });
  }
  const Pair* pair = pair_of(from.owner_, from.other_->owner_);
  if (from.dead_ || schedule_.now() < pair->cut_until || schedule_.rng.chance(faults.loss)) {
    ++stats_.lost;
    return;
  }
  const int copies = schedule_.rng.chance(faults.duplicate) ? 2 : 1;
  stats_.doubled += static_cast<std::uint64_t>(copies - 1);
  for (int i = 0; i < copies; ++i) {
    deliver(*from.other_, i + 1 < copies ? frame : std::move(frame),
            queued + schedule_.rng.spread(faults.delay_min, faults.delay_max));
  }
}

void Medium::deliver(End& to, std::string frame, Duration delay) {
  Instant at = schedule_.now() + delay;
  if (faults.in_order) at = std::max(at, to.last_arrival_);
  if (at < to.last_arrival_) ++stats_.overtaken;
  to.last_arrival_ = std::max(to.last_arrival_, at);
  auto arrive = [this, &to, bytes = std::move(frame)]() mutable {
    if (to.closed_ || to.dead_) return;
    if (!to.opened_) return deliver(to, std::move(bytes), 20ms);  // its handshake is not over
    FrameReader reader(frame_bytes_max);
    std::string_view input = bytes;
    const auto view = reader.next(input);
    LANDFALL_CHECK(view.ok());
    ++to.owner_.totals_.frames_in;
    to.owner_.totals_.bytes_in += bytes.size();
    to.owner_.user_->on_frame(to, *view);
  };
  to.owner_.loop_.after(at - schedule_.now(), std::move(arrive));
}

// The one who closes hears of it in a later turn; the other end when the news arrives, if it does.
void Medium::close(End& end, const Error& why) {
  if (end.closing_) return;
  end.closing_ = true;
  tell_closed(end, why, 1us);
  if (end.dead_) return;
  const Instant news = std::max(schedule_.now() + faults.delay_max, end.other_->last_arrival_);
  tell_closed(*end.other_, {Code::unavailable, "peer closed the link"},
              news - schedule_.now() + schedule_.rng.spread(1us, 100ms));
}

void Medium::tell_closed(End& end, const Error& why, Duration delay) {
  end.owner_.loop_.after(delay, [this, &end, why] {
    if (end.closed_) return;
    end.closed_ = true;
    if (end.opened_ && end.owner_.user_) end.owner_.user_->on_closed(end, why);
    dial_later(*pair_of(end.owner_, end.other_->owner_));
  });
}

void Medium::cut(Network& a, Network& b, Duration length, bool link_survives) {
  Pair* pair = pair_of(a, b);
  ++stats_.partitions;
  pair->cut_until = std::max(pair->cut_until, schedule_.now() + length);
  if (link_survives || !pair->link || pair->link->closed_) return;
  for (End* end : {pair->link, pair->link->other_}) {
    end->dead_ = true;
    // Sometimes the system says so, sometimes only silence does.
    if (schedule_.rng.chance(0.5)) tell_closed(*end, {Code::unavailable, "link lost"}, schedule_.rng.spread(10ms, 60s));
  }
}

void Medium::heal() {
  faults = LinkFaults{};
  for (auto& pair : pairs_) {
    pair->cut_until = schedule_.now();
    if (pair->link && pair->link->dead_) tell_closed(*pair->link, {Code::unavailable, "link lost"}, 1s);
    schedule_.cancel(pair->dialling);
    pair->dialling = 0;
    dial_later(*pair);
  }
}

void Medium::drop(Network& node) {
  for (auto& pair : pairs_) {
    if ((pair->dialler != &node && pair->listener != &node) || !pair->link) continue;
    End* own = pair->dialler == &node ? pair->link : pair->link->other_;
    const bool was_closed = own->closed_;
    own->closed_ = own->dead_ = own->other_->dead_ = true;
    pair->link->closed_ |= pair->dialler == &node;
    if (!was_closed && schedule_.rng.chance(0.7))
      tell_closed(*own->other_, {Code::unavailable, "connection reset"}, schedule_.rng.spread(1ms, 30s));
  }
}

void Network::start(LinkUser& user) {
  user_ = &user;
  medium_.up_or_down(*this);
}

void Network::hold(bool held) {
  held_ = held;
  for (auto& pair : medium_.pairs_) {
    if (!held || !pair->link || (pair->dialler != this && pair->listener != this)) continue;
    medium_.close(pair->dialler == this ? *pair->link : *pair->link->other_,
                  {Code::unavailable, "held by the operator"});
  }
  medium_.up_or_down(*this);
}

void Network::crash() {
  user_ = nullptr;
  medium_.drop(*this);
}

}  // namespace landfall::sim
