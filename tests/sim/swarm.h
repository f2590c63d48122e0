#pragma once

#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace landfall::sim {

// What one run met and found.
struct Outcome {
  std::vector<std::string> violations;  // of what a node promises; empty is the point of it all
  std::uint64_t fingerprint = 0;
  World::Stats world;
  Disk::Stats disk;
  Medium::Stats medium;
  std::uint64_t acknowledged = 0, tasks = 0, cut_for_weeks = 0;
  Duration simulated{};
};

// One hub and four edges through faults whose kinds and strength the seed decides, then through calm.
Outcome run_swarm(std::uint64_t seed);

}  // namespace landfall::sim
