// Property: an event that a node acknowledged to its application survives any crash of that node and reaches the hub
// exactly once and in order, whatever links, disks and clocks did before; the hub never calls committed what it can
// lose; what it wrote itself reaches every edge that subscribed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <optional>

#include "tests/sim/swarm.h"

namespace landfall::sim {
namespace {

std::optional<std::uint64_t> number_from(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? std::optional(std::strtoull(text, nullptr, 10)) : std::nullopt;
}

void add(Outcome& sum, const Outcome& one) {
  sum.world.crashes += one.world.crashes;
  sum.disk.crashes_inside_commit += one.disk.crashes_inside_commit;
  sum.disk.lost_commits += one.disk.lost_commits;
  sum.disk.unreported_commits += one.disk.unreported_commits;
  sum.medium.frames += one.medium.frames;
  sum.medium.lost += one.medium.lost;
  sum.medium.doubled += one.medium.doubled;
  sum.medium.overtaken += one.medium.overtaken;
  sum.medium.partitions += one.medium.partitions;
  sum.cut_for_weeks += one.cut_for_weeks;
  sum.acknowledged += one.acknowledged;
  sum.tasks += one.tasks;
  sum.simulated += one.simulated;
}

// LANDFALL_SEEDS runs that many; LANDFALL_SEED replays one.
TEST(SyncSim, AcknowledgedEventsSurviveAndReachTheHubOnce) {
  const auto only = number_from("LANDFALL_SEED");
  const std::uint64_t first = only.value_or(1), count = only ? 1 : number_from("LANDFALL_SEEDS").value_or(60);
  Outcome met;
  for (std::uint64_t seed = first; seed < first + count && !HasFailure(); ++seed) {
    const Outcome outcome = run_swarm(seed);
    add(met, outcome);
    for (const std::string& violation : outcome.violations)
      ADD_FAILURE() << "LANDFALL_SEED=" << seed << ": " << violation;
  }
  std::cout << count << " seeds, " << std::chrono::duration<double>(met.simulated).count() / 31557600.0
            << " simulated years, " << met.acknowledged << " events acknowledged, " << met.tasks
            << " tasks\nmet: " << met.world.crashes << " crashes, " << met.disk.crashes_inside_commit
            << " inside commits, " << met.disk.lost_commits << " commits lost, " << met.disk.unreported_commits
            << " durable but unreported, " << met.medium.frames << " frames, " << met.medium.lost << " lost, "
            << met.medium.doubled << " doubled, " << met.medium.overtaken << " overtaken, " << met.medium.partitions
            << " partitions, " << met.cut_for_weeks << " longer than a week\n";
  if (HasFailure() || count < 20) return;
  // The runs must have met what they claim to survive.
  EXPECT_GT(met.acknowledged, 200 * count);
  EXPECT_GT(met.world.crashes, count);
  EXPECT_GT(met.disk.crashes_inside_commit, count / 4);
  EXPECT_GT(met.disk.lost_commits, count / 8);
  EXPECT_GT(met.disk.unreported_commits, count / 8);
  EXPECT_GT(met.medium.lost, 100 * count);
  EXPECT_GT(met.medium.doubled, 20 * count);
  EXPECT_GT(met.medium.overtaken, 100 * count);
  EXPECT_GT(met.medium.partitions, count);
  EXPECT_GT(met.cut_for_weeks, count / 10);
}

TEST(SyncSim, SameSeedSameRun) {
  for (std::uint64_t seed : {7, 8}) EXPECT_EQ(run_swarm(seed).fingerprint, run_swarm(seed).fingerprint);
  EXPECT_NE(run_swarm(7).fingerprint, run_swarm(8).fingerprint);
}

}  // namespace
}  // namespace landfall::sim
