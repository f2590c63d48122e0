#pragma once

#include "tests/sim/world.h"

namespace landfall::sim {

// Which faults a run has and how wild: most runs have most, some have none of one kind.
struct Faults {
  explicit Faults(Rng& rng);
  World::Options options(std::size_t edges) const;
  void begin(World& world) const;  // of links, disks and machines

  LinkFaults link;
  std::uint64_t believed_rate;
  double crash, crash_in_commit, cut;
  Duration commit_most, heartbeat, broker_most;
  std::size_t credit, pad;
};

// Perhaps kills a node, perhaps cuts one edge off: for how long.
Duration disturb(World& world, const Faults& faults);

}  // namespace landfall::sim
