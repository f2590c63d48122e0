#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace landfall::sim {

// The oracle: what was acknowledged to the world outside, kept apart from the nodes and their names for things. Every
// body is unique, so that a dot used twice does not hide a loss.
class Ledger {
 public:
  explicit Ledger(World& world) : world_(world) {}

  // Appends `count` events to a stream of the node and books them when the log says A1.
  void append(World::Node& node, Stream stream, std::size_t count, std::size_t pad_bytes);

  // What the edges call committed by the hub, it has: now and after any crash.
  void check_ack_marks();
  // After healing: every booked event is at the hub exactly once, in order, and aboard; edges have what they asked for;
  // chains verify.
  void check_converged();

  std::size_t acknowledged() const { return by_dot_.size(); }
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  void book(const Dot& dot, const std::string& body);
  void check_contents(World::Node& holder);
  void check_stream(World::Node& holder, const RunStream& of, std::set<std::string>& bodies_seen);
  void complain(std::string what);

  World& world_;
  std::map<NodeId, std::uint64_t> counters_;
  std::map<Dot, std::string> by_dot_;
  std::set<std::string> bodies_;
  ReceivedContext committed_ever_;
  std::vector<std::string> violations_;  // the first 20
};

}  // namespace landfall::sim
