#pragma once

#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace landfall::sim {

// What one run met and found.
struct StateOutcome {
  std::vector<std::string> violations;  // empty is the point of it all
  std::uint64_t fingerprint = 0;
  World::Stats world;
  Disk::Stats disk;
  Medium::Stats medium;
  std::uint64_t edits = 0, acknowledged = 0;    // ops made; events that became A1 where they were made
  std::uint64_t deletes = 0, resets = 0;        // of whole objects; of counters
  std::uint64_t conflicts = 0;                  // paths with more than one live write, at the end
  std::uint64_t entries = 0;                    // live at the end
  std::uint64_t reports = 0, voids = 0;         // events made by devices; of them, those that the hub has as voids
  std::uint64_t overruled = 0;                  // desired values that a policy put behind another
  std::uint64_t pending_met = 0, gaps_met = 0;  // looks at a node that found writes superseded before they came, gaps
  std::uint64_t flaps = 0, compared = 0, tasks = 0;
  Duration simulated{};
};

// Devices report meanwhile at either edge, mostly what goes as voids once it is superseded.
// A hub and two edges that edit the same twins, documents, tag sets and counters, connected at first, then for 30 days
// apart, through faults of the seed's choosing; then calm, in which they must come to one state. About `edits` ops.
StateOutcome run_state_swarm(std::uint64_t seed, std::uint64_t edits);

}  // namespace landfall::sim
