#pragma once

#include <functional>
#include <optional>

#include "cloudsync/network.h"
#include "edgeruntime/identity.h"
#include "eventlog/loop.h"

namespace landfall {

// The edge's side of renewal: stands between its network and the one who uses its links, and keeps the frames of
// enrolment to itself. While a link to the hub is open and a third of the certificate's life has passed, it sends
// `enrol` with a request for the same key; a good `enrolled` becomes the identity. The open link stays as it is.
//
// Asks at the opening of a link and then daily, and never twice in a day: a hub that does not know of renewal closes
// the link over it. Loop thread only. What it is given must outlive it.
class Renewal : public Network, private LinkUser {
 public:
  // Makes the new identity last and used; an error keeps the old one, and the next day asks again.
  using Renewed = std::function<Status(const Identity&)>;
  Renewal(Loop& loop, Network& network, Identity identity, Renewed renewed)
      : loop_(loop), network_(network), identity_(std::move(identity)), renewed_(std::move(renewed)) {}
  ~Renewal() override { loop_.cancel(timer_); }

  void start(LinkUser& user) override;
  void hold(bool held) override { network_.hold(held); }
  bool held() const override { return network_.held(); }
  Totals totals() const override { return network_.totals(); }

 private:
  void on_open(Link& link) override;
  void on_frame(Link& link, FrameView frame) override;
  void on_drained(Link& link) override { user_->on_drained(link); }
  void on_closed(Link& link, const Error& why) override;

  void look();
  bool is_due() const;
  void ask();
  void take(std::string_view body);

  Loop& loop_;
  Network& network_;
  Identity identity_;
  Renewed renewed_;
  LinkUser* user_ = nullptr;
  Link* link_ = nullptr;  // to the hub, the latest
  bool waiting_ = false;  // asked over `link_`, not answered
  std::optional<Instant> asked_;
  Loop::Timer timer_ = 0;
};

}  // namespace landfall
