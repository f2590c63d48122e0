// Property: nodes that edited the same twins, documents, tags and counters, for 30 days without each other, come to one
// state once they meet, byte for byte, whatever links, disks and clocks did before; no acknowledged change is missing;
// and nobody says that states differ.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <optional>

#include "tests/sim/state_swarm.h"

namespace landfall::sim {
namespace {

std::optional<std::uint64_t> number_from(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? std::optional(std::strtoull(text, nullptr, 10)) : std::nullopt;
}

void add(StateOutcome& sum, const StateOutcome& one) {
  sum.world.crashes += one.world.crashes;
  sum.disk.crashes_inside_commit += one.disk.crashes_inside_commit;
  sum.disk.lost_commits += one.disk.lost_commits;
  sum.disk.unreported_commits += one.disk.unreported_commits;
  sum.medium.lost += one.medium.lost;
  sum.medium.doubled += one.medium.doubled;
  sum.medium.overtaken += one.medium.overtaken;
  sum.medium.partitions += one.medium.partitions;
  sum.edits += one.edits;
  sum.acknowledged += one.acknowledged;
  sum.deletes += one.deletes;
  sum.resets += one.resets;
  sum.conflicts += one.conflicts;
  sum.entries += one.entries;
  sum.overruled += one.overruled;
  sum.reports += one.reports;
  sum.voids += one.voids;
  sum.pending_met += one.pending_met;
  sum.gaps_met += one.gaps_met;
  sum.flaps += one.flaps;
  sum.compared += one.compared;
  sum.simulated += one.simulated;
}

// LANDFALL_SEEDS runs that many, from LANDFALL_SEED_FIRST on, of LANDFALL_EDITS each; LANDFALL_SEED replays one.
TEST(StateSim, NodesApartFor30DaysComeToOneState) {
  const auto only = number_from("LANDFALL_SEED");
  const std::uint64_t first = only.value_or(number_from("LANDFALL_SEED_FIRST").value_or(1));
  const std::uint64_t count = only ? 1 : number_from("LANDFALL_SEEDS").value_or(30);
  const std::uint64_t edits = number_from("LANDFALL_EDITS").value_or(2000);
  StateOutcome met;
  for (std::uint64_t seed = first; seed < first + count && !HasFailure(); ++seed) {
    const StateOutcome outcome = run_state_swarm(seed, edits);
    add(met, outcome);
    for (const std::string& violation : outcome.violations)
      ADD_FAILURE() << "LANDFALL_SEED=" << seed << " LANDFALL_EDITS=" << edits << ": " << violation;
    EXPECT_GE(outcome.edits, edits) << "LANDFALL_SEED=" << seed;
    EXPECT_GT(outcome.compared, 0u) << "LANDFALL_SEED=" << seed;
  }
  std::cout << count << " seeds from " << first << ", "
            << std::chrono::duration<double>(met.simulated).count() / 31557600.0 << " simulated years, " << met.edits
            << " edits in " << met.acknowledged << " acknowledged events, " << met.deletes << " deletes, " << met.resets
            << " resets, " << met.entries << " live writes, " << met.conflicts << " concurrent, " << met.overruled
            << " desired values overruled, " << met.reports << " reports, " << met.voids
            << " of them voids ashore\nmet: " << met.world.crashes << " crashes, " << met.disk.crashes_inside_commit
            << " inside commits, " << met.disk.lost_commits << " commits lost, " << met.disk.unreported_commits
            << " durable but unreported, " << met.medium.lost << " frames lost, " << met.medium.doubled << " doubled, "
            << met.medium.overtaken << " overtaken, " << met.medium.partitions << " partitions, " << met.flaps
            << " flaps, " << met.gaps_met << " looks at gaps, " << met.pending_met << " at pending writes, "
            << met.compared << " comparisons\n";
  if (HasFailure() || count < 20) return;
  // The runs must have met what they claim to survive.
  EXPECT_GE(std::chrono::duration<double>(met.simulated).count(), 30.0 * 86400 * static_cast<double>(count));
  EXPECT_GT(met.world.crashes, count);
  EXPECT_GT(met.disk.crashes_inside_commit, count / 8);
  EXPECT_GT(met.disk.lost_commits, count / 16);
  EXPECT_GT(met.disk.unreported_commits, count / 16);
  EXPECT_GT(met.medium.lost, 10 * count);
  EXPECT_GT(met.medium.doubled, count);
  EXPECT_GT(met.medium.overtaken, 5 * count);
  EXPECT_GE(met.medium.partitions, 2 * count);
  EXPECT_GT(met.flaps, count);
  EXPECT_GT(met.deletes, count);
  EXPECT_GT(met.resets, count);
  EXPECT_GT(met.conflicts, 10 * count);
  EXPECT_GT(met.overruled, 10 * count);
  EXPECT_GT(met.voids, 10 * count);
  EXPECT_GT(met.gaps_met, count / 4);
  EXPECT_GT(met.pending_met, count / 8);
}

TEST(StateSim, SameSeedSameRun) {
  EXPECT_EQ(run_state_swarm(7, 1000).fingerprint, run_state_swarm(7, 1000).fingerprint);
  EXPECT_NE(run_state_swarm(7, 1000).fingerprint, run_state_swarm(8, 1000).fingerprint);
}

}  // namespace
}  // namespace landfall::sim
