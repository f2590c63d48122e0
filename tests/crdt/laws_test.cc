// Property: the state of a set of events is a function of the set, and joins like it: over every type's mutators, with
// gaps, doubles, any order, snapshots, backups, guesses and compaction, against an oracle that shares no code with it.

#include "tests/crdt/laws.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>

namespace landfall::crdt_test {
namespace {

// With sanitizers a tenth of the seeds. LANDFALL_SEED=n replays one, LANDFALL_SEEDS=n runs that many.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t histories = 10'000;
#else
constexpr std::uint64_t histories = 100'000;
#endif

void expect_laws(const LawOptions& options, std::uint64_t seeds) {
  const char* one = std::getenv("LANDFALL_SEED");
  const char* many = std::getenv("LANDFALL_SEEDS");
  if (many != nullptr) seeds = std::stoull(many);
  const std::uint64_t first = one == nullptr ? 1 : std::stoull(one), last = one == nullptr ? seeds : first;
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    ASSERT_EQ(broken_law(seed, options), "") << "seed " << seed;
  }
}

TEST(Laws, HoldOnEveryHistory) { expect_laws({}, histories); }

TEST(Laws, HoldWhereWritesAndTheirSuccessorsArriveApart) {
  LawOptions options;
  options.split_edges = true;
  expect_laws(options, histories / 10);
}

// A suite that cannot tell these from the real thing proves nothing. Bugs in the state itself are planted in mutants/.
std::uint64_t broken_of(const LawOptions& options, std::uint64_t seeds) {
  std::uint64_t broken = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) broken += broken_law(seed, options).empty() ? 0 : 1;
  return broken;
}

TEST(Laws, NoticeAVoidThatDropsWhatItsEventSuperseded) {
  LawOptions options;
  options.drop_edges = true;
  options.history.steps = 80;  // it takes three writes in a row
  const auto broken = broken_of(options, 500);
  std::cout << "noticed in " << broken << " of 500 histories\n";
  EXPECT_GE(broken, 100u);
}

TEST(Laws, NoticeABackupThatGoesOnUnderItsOldName) {
  LawOptions options;
  options.history.reuse_run = true;
  const auto broken = broken_of(options, 500);
  std::cout << "noticed in " << broken << " of 500 histories\n";
  EXPECT_GE(broken, 100u);
}

}  // namespace
}  // namespace landfall::crdt_test
