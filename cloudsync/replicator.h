#pragma once

#include <array>
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
  // wants 0 stands for what the role needs: a hub takes every stream of each edge's own runs; an edge control and alarm of
  // the hub's own, desired and document of all runs that the hub has. What the hub relays and gives back is by role too.
  SessionOptions session;
  // Hub: whether A2 is decided elsewhere (Kafka). Unset: what is A1 in the log is A2.
  std::function<const ReceivedContext&()> committed;
};

// A node's side of replication: the Log, the links, one Session per peer. The same code aboard, ashore and in
// sim::World. A second link of the same node replaces the first. Remembers in the log ("x/peer/<node>") what each peer
// has committed, so that a new session can push at once.
//
// Loop thread only; what it is given must outlive it. Destroying it drops the sessions without a word: stop() first.
class Replicator : public LinkUser {
 public:
  static std::unique_ptr<Replicator> create(Loop& loop, Log& log, Network& network, ReplicatorOptions options);

  virtual void start() = 0;
  // Says bye on every link and closes it. Links that open later are closed at once.
  virtual void stop() = 0;
  // A2 advanced in one (run, stream): to be called where options.committed is set.
  virtual void committed_advanced(const RunStream& of) = 0;

  // A2 of our own runs at the hub (edge role): the ack mark, as every peer last said it, links up or not.
  virtual const ReceivedContext& committed_by_peers() const = 0;
  struct PeerStatus {
    Peer peer;
    bool connected = false, in_sync = false;
    Instant since;                            // of the present link, or of the end of the last one
    Session::Totals totals;                   // of the present session, or of the last one
    std::uint64_t sessions = 0, refused = 0;  // opened; ended by a fault of the peer
    // States compared after both had received the same, and how often they differed: a defect at one of the ends, which
    // the audit (control) names. `diverged` has a bit for each stream that differed when last compared.
    std::uint64_t compared = 0, divergences = 0;
    std::uint8_t diverged = 0;
    std::string last_error;  // why the last session ended
  };
  virtual std::vector<PeerStatus> peers() const = 0;  // known ones, ordered by node
  // Own events by stream that no peer has committed yet.
  virtual std::array<std::uint64_t, stream_count> backlog() const = 0;
};

}  // namespace landfall
