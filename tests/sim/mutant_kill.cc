// Built with a bug planted in the log (LANDFALL_MUTANT_...): the simulation must find it, and by its oracle, not by a
// crash. A suite that lets a mutant live proves nothing about the log without it.
#include <gtest/gtest.h>

#include <iostream>

#include "tests/sim/swarm.h"

namespace landfall::sim {

TEST(Mutant, IsKilled) {
  const std::uint64_t seeds = 40;
  std::uint64_t killed = 0;
  std::string first;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const Outcome outcome = run_swarm(seed);
    killed += outcome.violations.empty() ? 0 : 1;
    if (first.empty() && !outcome.violations.empty())
      first = "seed " + std::to_string(seed) + ": " + outcome.violations.front();
  }
  std::cout << "killed by " << killed << " of " << seeds << " seeds; " << first << "\n";
  EXPECT_GE(killed, seeds / 10);
}

}  // namespace landfall::sim
