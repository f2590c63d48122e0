// As mutant_kill.cc, by the simulation of who comes back after half a year.
#include <gtest/gtest.h>

#include <iostream>

#include "tests/sim/away_swarm.h"

namespace landfall::sim {

TEST(Mutant, IsKilled) {
  const AwayOutcome outcome = run_away(1, {});
  std::cout << (outcome.violations.empty() ? "lives" : outcome.violations.front()) << "\n";
  EXPECT_FALSE(outcome.violations.empty());
}

}  // namespace landfall::sim
