#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cloudsync/network.h"
#include "edgeruntime/identity.h"
#include "eventlog/log.h"
#include "eventlog/loop.h"

namespace landfall {

// The hub's door: stands between a network and the one who uses its links, and keeps links of invites to itself. An
// invite's holder sends a certificate request (`enrol`) and is answered with its SVID (`enrolled`), once the hub's log
// says so: an audit event in stream control and the fact that the invite is spent are one batch, A1 before the answer.
// A second request with the same invite and the same key is answered again, as its sender may not have had the answer;
// one with another key is refused.
//
// It also renews: a proven node that sends `enrol` for its own key is answered with a new SVID, once an audit event in
// stream control is A1. Asked again within an hour it does not answer; for another key it refuses. None of these frames
// reaches the user.
//
// Loop thread only. What it is given must outlive it.
class EnrolmentDoor : public Network, private LinkUser {
 public:
  EnrolmentDoor(Loop& loop, Log& log, Network& network, TrustRoot root)
      : loop_(loop), log_(log), network_(network), root_(std::move(root)) {}

  void start(LinkUser& user) override;
  // After the log was read back from elsewhere: which invites are spent follows from its audit events. `done` on the loop.
  void recall(std::function<void(Status)> done);
  void hold(bool held) override { network_.hold(held); }
  bool held() const override { return network_.held(); }
  Totals totals() const override { return network_.totals(); }

 private:
  void on_open(Link& link) override;
  void on_frame(Link& link, FrameView frame) override;
  void on_drained(Link& link) override;
  void on_closed(Link& link, const Error& why) override;

  void enrol(Link& link, std::string_view body);
  void renew(Link& link, std::string_view body);
  void append_audit(const NodeId& node, const std::string& payload, std::vector<Log::Meta> meta, Log::OnAppended done);
  void record(Link& link, const NodeId& node, const std::string& csr_pem, const std::string& asked_name);
  void answer(Link& link, const std::string& csr_pem);
  void refuse(Link& link, const Error& why);

  Loop& loop_;
  Log& log_;
  Network& network_;
  TrustRoot root_;
  LinkUser* user_ = nullptr;
  std::map<Link*, std::uint64_t> invited_;  // open links of invites; the number tells a reused address apart
  std::uint64_t links_ = 0;
  std::set<NodeId> recording_;               // invites whose audit event is on its way
  std::map<Link*, std::uint64_t> renewing_;  // open links of nodes whose audit event is on its way
  std::map<NodeId, Instant> renewed_;        // in the last hour; older ones go when one comes
};

// The identity of `own` with the chain out of the `enrolled` frame `body`. It comes over a link to a hub that the bundle
// proved; it must still be for our key and under the same root, or the next start would fail with nothing to mend it.
// Errors: `corrupt`, `denied`.
Result<Identity> accept_svid(const Identity& own, std::string_view body, std::int64_t unix_ms);

// The edge's first contact: over links made with the invite it asks for its SVID, until it has one.
//
// Loop thread only. `enrolled` runs once, after the whole identity is on disk; it may destroy this object in a later turn.
class FirstContact : public LinkUser {
 public:
  using Enrolled = std::function<void(Identity)>;
  FirstContact(Loop& loop, Invite invite, std::string key_pem, Enrolled enrolled)
      : loop_(loop), invite_(std::move(invite)), key_pem_(std::move(key_pem)), enrolled_(std::move(enrolled)) {}

  // Why the hub refused last; empty where it has not.
  const std::string& refusal() const { return refusal_; }

 private:
  void on_open(Link& link) override;
  void on_frame(Link& link, FrameView frame) override;
  void on_drained(Link&) override {}
  void on_closed(Link&, const Error&) override {}

  Loop& loop_;
  Invite invite_;
  std::string key_pem_;
  Enrolled enrolled_;
  std::string refusal_;
  bool done_ = false;
};

}  // namespace landfall
