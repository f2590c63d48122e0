#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloudsync/replicator.h"
#include "eventlog/log.h"
#include "tests/sim/disk.h"
#include "tests/sim/network.h"

namespace landfall::sim {

// One hub and its edges, each the real Log and Replicator over simulated seams, all of one seed.
class World {
 public:
  struct Options {
    std::size_t edges = 4;
    Duration heartbeat = session_heartbeat;
    std::size_t credit_bytes = session_credit_bytes;
    std::uint64_t link_bytes_per_second = 0;           // what the nodes believe; what the link does is medium().faults
    std::function<MayVoid(Log&)> reported_voids = {};  // edges: what of stream reported may go as voids; unset: nothing
    Duration broker_most{};  // A2 comes from a broker that takes up to this long; none: from the hub's log
  };
  // A machine with its disk; its log and replicator die and come back.
  struct Node {
    Node(World& world, Peer self);
    bool up() const { return replicator != nullptr; }
    Peer self;
    Loop loop;
    Disk disk;
    Network network;
    std::unique_ptr<Log> log;
    std::unique_ptr<Replicator> replicator;
    Schedule::Ticket restart = 0;
    std::optional<double> crash_in_commit;  // chance per commit
    bool crash_coming = false;
  };
  struct Stats {
    std::uint64_t crashes = 0, restarts = 0;
  };

  World(std::uint64_t seed, Options options);
  ~World();

  Rng& rng() { return schedule_.rng; }
  Instant now() const { return schedule_.now(); }
  Medium& medium() { return medium_; }
  Node& hub() { return *nodes_[0]; }
  Node& edge(std::size_t i) { return *nodes_[i + 1]; }
  std::vector<std::unique_ptr<Node>>& nodes() { return nodes_; }

  void run_for(Duration duration) { schedule_.run_for(duration); }
  // Kills the node now (never from inside one of its own calls) and restarts it after `down`.
  void crash(Node& node, Duration down);
  void start(Node& node);
  // Ends every fault: links, partitions, crashes to come; starts who is down.
  void heal();
  // No edge has anything that its hub lacks, and back.
  bool in_sync();

  const Stats& stats() const { return stats_; }
  Disk::Stats disk_stats() const;
  // What the hub may call A2: what it has stored, or what its broker has.
  const ReceivedContext& committed_ashore() {
    return options_.broker_most > Duration{} ? broker_ : hub().log->received();
  }
  std::uint64_t tasks_run() const { return schedule_.tasks_run(); }
  // What a node could not be restarted from, and what its log says: for the oracle.
  const std::vector<std::string>& faults_found() const { return faults_found_; }
  // The generator's next number and all that is durable: equal runs end alike.
  std::uint64_t fingerprint();

 private:
  friend struct Node;
  void on_commit(Node& node);
  void feed_broker();
  void give_broker(const Log::Range& range);

  Schedule schedule_;
  Options options_;
  Medium medium_;
  std::vector<std::unique_ptr<Node>> nodes_;
  Stats stats_;
  std::vector<std::string> faults_found_;
  ReceivedContext broker_;  // committed there: no crash of ours takes it back
};

}  // namespace landfall::sim
