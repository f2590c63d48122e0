// Property: an edge that comes back after half a year to a hub that pruned everything meanwhile delivers all it wrote, comes
// to the state that all others have, in which nothing deleted reappears, and costs its link what that state and its own
// events are long.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <optional>

#include "tests/sim/away_swarm.h"

namespace landfall::sim {
namespace {

std::optional<std::uint64_t> number_from(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? std::optional(std::strtoull(text, nullptr, 10)) : std::nullopt;
}

void tell(const char* what, std::uint64_t seed, const AwayOutcome& one) {
  std::cout << what << " seed " << seed << ": " << one.unsent << " events unsent in " << one.unsent_bytes
            << " bytes, snapshots of " << one.snapshot_bytes << "; over the link " << one.link_bytes << " in "
            << std::chrono::duration_cast<std::chrono::seconds>(one.took).count() << " s, " << one.part_bytes
            << " of snapshots, " << one.joined << " joined, " << one.kills << " kills, " << one.flaps << " flaps; "
            << one.prunes << " prunes, " << one.gone << " objects deleted meanwhile, " << one.entries
            << " live writes, " << one.edits << " edits\n";
}

void expect_met(std::uint64_t seed, const AwayOutcome& one) {
  for (const std::string& violation : one.violations) ADD_FAILURE() << "LANDFALL_SEED=" << seed << ": " << violation;
  EXPECT_GE(one.unsent, 10'000u) << "LANDFALL_SEED=" << seed;
  EXPECT_GE(one.joined, 1u) << "LANDFALL_SEED=" << seed;
  EXPECT_GE(one.prunes, 25u) << "LANDFALL_SEED=" << seed;
  EXPECT_GT(one.chunks_pruned, 100u) << "LANDFALL_SEED=" << seed;
  EXPECT_GT(one.gone, 100u) << "LANDFALL_SEED=" << seed;
  EXPECT_GT(one.entries, 1000u) << "LANDFALL_SEED=" << seed;
}

// LANDFALL_SEEDS runs that many, LANDFALL_SEED replays one.
template <class Check>
void each_seed(std::uint64_t usual, const Check& check) {
  const auto only = number_from("LANDFALL_SEED");
  const std::uint64_t first = only.value_or(1);
  const std::uint64_t count = only ? 1 : number_from("LANDFALL_SEEDS").value_or(usual);
  for (std::uint64_t seed = first; seed < first + count && !testing::Test::HasFailure(); ++seed) check(seed);
}

TEST(Scenario05, HalfAYearAwayCostsTheStateAndWhatIsUnsent) {
  each_seed(2, [](std::uint64_t seed) {
    const AwayOutcome one = run_away(seed, {});
    tell("calm", seed, one);
    expect_met(seed, one);
    EXPECT_EQ(one.joined, 2u);
    EXPECT_LE(static_cast<double>(one.link_bytes), 1.05 * static_cast<double>(one.snapshot_bytes + one.unsent_bytes))
        << "LANDFALL_SEED=" << seed;
  });
}

// Frames overtake each other by up to 0.4 s: a tenth is lost, and about as many are taken for lost.
TEST(Scenario05, ALossyLinkCostsHalfAsMuchAgain) {
  each_seed(2, [](std::uint64_t seed) {
    const AwayOutcome one = run_away(seed, {.loss = 0.1, .duplicate = 0.02});
    tell("lossy", seed, one);
    expect_met(seed, one);
    EXPECT_LE(static_cast<double>(one.link_bytes), 1.5 * static_cast<double>(one.snapshot_bytes + one.unsent_bytes))
        << "LANDFALL_SEED=" << seed;
  });
}

TEST(Scenario05, KillsAndFlapsWhileItComesBackChangeNothing) {
  std::uint64_t kills = 0, flaps = 0;
  each_seed(4, [&](std::uint64_t seed) {
    const AwayOutcome one = run_away(seed, {.loss = 0.05, .duplicate = 0.02, .kills = true, .flaps = seed % 2 == 0});
    tell("killed", seed, one);
    expect_met(seed, one);
    kills += one.kills;
    flaps += one.flaps;
  });
  if (number_from("LANDFALL_SEED")) return;
  EXPECT_GE(kills, 4u);
  EXPECT_GE(flaps, 4u);
}

}  // namespace
}  // namespace landfall::sim
