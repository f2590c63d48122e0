// Built with a bug planted in the state (LANDFALL_MUTANT_...): the laws must find it. A suite that lets a mutant live proves
// nothing about the state without it.
#include <gtest/gtest.h>

#include <iostream>

#include "tests/crdt/laws.h"

namespace landfall::crdt_test {

TEST(Mutant, IsKilled) {
  const std::uint64_t seeds = 1000;
  LawOptions options;
  options.split_edges = true;
  std::uint64_t killed = 0;
  std::string first;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::string broken = broken_law(seed, options);
    killed += broken.empty() ? 0 : 1;
    if (first.empty() && !broken.empty()) first = "seed " + std::to_string(seed) + ": " + broken;
  }
  std::cout << "killed by " << killed << " of " << seeds << " histories; " << first << "\n";
  EXPECT_GE(killed, seeds / 4);
}

}  // namespace landfall::crdt_test
