// As mutant_kill.cc, by the simulation of states.
#include <gtest/gtest.h>

#include <iostream>

#include "tests/sim/state_swarm.h"

namespace landfall::sim {

TEST(Mutant, IsKilled) {
#ifdef LANDFALL_MUTANT_VOID_DROPS_SUPERSEDES
  const std::uint64_t seeds = 10, edits = 2000;  // fewer leave nothing superseded for long enough
#else
  const std::uint64_t seeds = 20, edits = 500;
#endif
  std::uint64_t killed = 0;
  std::string first;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const StateOutcome outcome = run_state_swarm(seed, edits);
    killed += outcome.violations.empty() ? 0 : 1;
    if (first.empty() && !outcome.violations.empty())
      first = "seed " + std::to_string(seed) + ": " + outcome.violations.front();
  }
  std::cout << "killed by " << killed << " of " << seeds << " seeds; " << first << "\n";
  EXPECT_GE(killed, 2u);
}

}  // namespace landfall::sim
