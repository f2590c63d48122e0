#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "schemas/op.h"
#include "tests/sim/world.h"

namespace landfall::sim {

// Users at all nodes of a world, who see what their node sees and change it: desired values and overrides, tags,
// counters, documents; and devices at the edges, which report.
class Editor {
 public:
  explicit Editor(World& world) : world_(world) {}

  // Up to about `ops` changes by somebody at `node`; none while his last ones are not yet A1.
  void edit(World::Node& node, std::size_t ops);

  std::uint64_t edits() const { return edits_; }      // by users
  std::uint64_t reports() const { return reports_; }  // by devices
  std::uint64_t acknowledged() const { return events_acknowledged_; }
  std::uint64_t deletes() const { return deletes_; }
  std::uint64_t resets() const { return resets_; }
  std::uint64_t counted() const { return counted_; }         // the sum of all that counters were raised by
  const ReceivedContext& booked() const { return booked_; }  // events that became A1 where they were made
  const std::vector<std::string>& violations() const { return violations_; }

  // At the hub: property x<i> of every device has policy i; of the first latest_properties only the last report matters.
  void define_properties(World::Node& hub);

  static constexpr std::size_t devices = 60, properties = 6, latest_properties = 4, documents = 20, counters = 8,
                               reporting = 16;  // the first of the devices
  static std::string device(std::uint64_t i) { return "pump-" + std::to_string(i); }
  // Devices report at edge 0 and 1 in turn.
  static std::size_t edge_of(std::uint64_t device) { return device % 2; }
  // Whether each value that this change of a twin puts is one of those.
  static bool is_latest(const std::vector<Op>& ops);
  static std::string counter_object(std::uint64_t i) { return "doc/counters-" + std::to_string(i); }

 private:
  struct Change {
    std::string object;
    std::vector<Op> ops;
  };
  using ByPath = std::map<std::string, Op>;

  void append(World::Node& node, Stream stream, std::vector<Change> changes);
  void report(World::Node& node, std::size_t events);
  ByPath twin_ops(const Entries& seen, bool hub);
  ByPath device_ops(const Entries& seen);
  ByPath document_ops(const Entries& seen);
  ByPath counter_ops(const Entries& seen, const RunId& own);
  ByPath erase_all(const Entries& seen);
  std::string number();
  void complain(std::string what);

  World& world_;
  std::map<NodeId, std::pair<RunId, int>> waiting_;  // appends under way, of a run
  ReceivedContext booked_;
  std::uint64_t edits_ = 0, reports_ = 0, events_acknowledged_ = 0, deletes_ = 0, resets_ = 0, counted_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace landfall::sim
