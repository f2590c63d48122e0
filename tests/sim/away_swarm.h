#pragma once

#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace landfall::sim {

struct AwayOptions {
  double loss = 0, duplicate = 0;
  bool kills = false;  // of either end while the link works
  bool flaps = false;  // the link falls every few seconds
};

// What one run met and found.
struct AwayOutcome {
  std::vector<std::string> violations;  // empty is the point of it all
  World::Stats world;
  std::uint64_t unsent = 0, edits = 0;                 // events of the one that was away; ops by all
  std::uint64_t prunes = 0, chunks_pruned = 0;         // at the hub
  std::uint64_t joined = 0, kills = 0, flaps = 0;      // while it came back
  std::uint64_t gone = 0, entries = 0;                 // objects it held that were deleted meanwhile; live at the end
  std::uint64_t snapshot_bytes = 0, unsent_bytes = 0;  // what had to travel
  std::uint64_t link_bytes = 0, part_bytes = 0;        // what did; of snapshots
  Duration took{};
};

// Scenario 5 of the design: an edge without a link for half a year, that writes 10,000 events of its own, while the hub and
// two other edges set, override, tag and delete, and the hub prunes whatever it can; then a link of 16 KB/s and 0.3 s each
// way. The oracle is a replay of every event, read at the hub before it was pruned.
AwayOutcome run_away(std::uint64_t seed, const AwayOptions& options);

}  // namespace landfall::sim
