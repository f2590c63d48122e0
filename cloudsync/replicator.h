#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cloudsync/network.h"
#include "cloudsync/session.h"
#include "eventlog/log.h"

namespace landfall {

struct ReplicatorOptions {
  enum class Role { edge, hub } role = Role::edge;
  SessionOptions session;
  // Hub: whether A2 is decided elsewhere (Kafka). Unset: what is A1 in the log is A2.
  std::function<const ReceivedContext&()> committed;
};

// A node's side of replication: the Log, the links, one Session per link. The same code aboard, ashore and in
// sim::World. Remembers in the log what each peer has committed, so that a new session can push at once.
// Loop thread only; what it is given must outlive it.
class Replicator : public LinkUser {
 public:
  static std::unique_ptr<Replicator> create(Loop& loop, Log& log, Network& network, ReplicatorOptions options);

  virtual void start() = 0;
  // A2 advanced in one (run, stream): to be called where options.committed is set.
  virtual void committed_advanced(const RunStream& of) = 0;
  // Frames of a peer whose role is `invite` go here instead of into a session: enrolment.
  using OnInvite = std::function<void(Link&, FrameView)>;
  virtual void on_invite(OnInvite handler) = 0;

  // A2 of our own runs at the hub (edge role): the ack mark.
  virtual const ReceivedContext& committed_by_peers() const = 0;
  struct PeerStatus {
    Peer peer;
    bool connected = false, in_sync = false;
    Instant since;
    Session::Totals totals;
  };
  virtual std::vector<PeerStatus> peers() const = 0;
  // Own events by stream that no hub has committed yet.
  virtual std::array<std::uint64_t, stream_count> backlog() const = 0;
};

}  // namespace landfall
