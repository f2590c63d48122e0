// Property: an event that a node acknowledged to its application survives any crash of that node and reaches the hub
// exactly once and in order, whatever links, disks and clocks did before; the hub never calls committed what it can
// lose; what it wrote itself reaches every edge that subscribed.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/sim/ledger.h"

namespace landfall::sim {
namespace {

using namespace std::chrono_literals;

struct Met {  // faults, summed over runs
  World::Stats world;
  Disk::Stats disk;
  Medium::Stats medium;
  std::uint64_t acknowledged = 0, tasks = 0, weeks_cut = 0;
  Duration simulated{};
};

// Which faults a run has and how wild: most runs have most, some have none of one kind.
struct Swarm {
  explicit Swarm(Rng& rng) {
    const auto one_of = [&](std::initializer_list<double> values) { return *(values.begin() + rng.below(values.size())); };
    faults.loss = one_of({0, 0.01, 0.1, 0.3});
    faults.duplicate = one_of({0, 0.02, 0.2});
    faults.delay_max = std::chrono::milliseconds(static_cast<int>(one_of({5, 50, 700, 4000})));
    faults.bytes_per_second = static_cast<std::uint64_t>(one_of({0, 0, 2000, 50000}));
    believed_rate = rng.chance(0.5) ? faults.bytes_per_second : 0;
    crash = one_of({0, 0.01, 0.05});
    crash_in_commit = one_of({0, 0.002, 0.02});
    cut = one_of({0, 0.02, 0.1});
    commit_most = std::chrono::milliseconds(static_cast<int>(one_of({2, 20, 2000})));
    heartbeat = rng.chance(0.2) ? Duration(5min) : Duration(1h);
    credit = static_cast<std::size_t>(one_of({2e3, 1e5, 8e6}));
    pad = static_cast<std::size_t>(one_of({10, 100, 2000}));
  }
  LinkFaults faults;
  std::uint64_t believed_rate;
  double crash, crash_in_commit, cut;
  Duration commit_most, heartbeat;
  std::size_t credit, pad;
};

Stream any_stream(Rng& rng) { return static_cast<Stream>(rng.below(stream_count)); }

void disturb(World& world, const Swarm& swarm, Met& met) {
  Rng& rng = world.rng();
  auto& nodes = world.nodes();
  if (rng.chance(swarm.crash)) world.crash(*nodes[rng.below(nodes.size())], rng.spread(10ms, 24h));
  if (!rng.chance(swarm.cut)) return;
  const Duration length = rng.spread(100ms, 24h * 28);
  if (length > 24h * 7) ++met.weeks_cut;
  world.medium().cut(world.edge(rng.below(nodes.size() - 1)).network, world.hub().network, length, rng.chance(0.3));
}

Duration pause(Rng& rng) {
  const double dice = rng.unit();
  if (dice < 0.80) return rng.spread(100us, 2s);
  if (dice < 0.97) return rng.spread(1s, 1min);
  if (dice < 0.995) return rng.spread(1min, 2h);
  return rng.spread(2h, 24h * 7);
}

std::uint64_t check_convergence(std::uint64_t seed, Met& met) {
  Rng dice(~seed);
  const Swarm swarm(dice);
  World world(seed, {.edges = 4, .heartbeat = swarm.heartbeat, .credit_bytes = swarm.credit, .link_bytes_per_second = swarm.believed_rate});
  Ledger ledger(world);
  world.medium().faults = swarm.faults;
  for (auto& node : world.nodes()) {
    node->disk.set_commit_time(100us, swarm.commit_most);
    if (swarm.crash_in_commit > 0) node->crash_in_commit = swarm.crash_in_commit;
  }
  // Safety: everything fails, and nothing acknowledged may be forgotten.
  for (int i = 0; i < 250; ++i) {
    auto& node = *world.nodes()[world.rng().below(world.nodes().size())];
    if (node.up()) ledger.append(node, any_stream(world.rng()), 1 + world.rng().below(6), swarm.pad);
    disturb(world, swarm, met);
    world.run_for(pause(world.rng()));
    ledger.check_ack_marks();
    if (!ledger.violations().empty()) break;
  }
  // Liveness: faults stop, and everybody must agree within half an hour.
  world.heal();
  for (int i = 0; i < 360 && !world.in_sync(); ++i) world.run_for(5s);
  ledger.check_converged();
  for (const std::string& violation : ledger.violations()) ADD_FAILURE() << violation;

  const Disk::Stats disk = world.disk_stats();
  met.world.crashes += world.stats().crashes;
  met.disk.crashes_inside_commit += disk.crashes_inside_commit;
  met.disk.lost_commits += disk.lost_commits;
  met.disk.unreported_commits += disk.unreported_commits;
  met.medium.frames += world.medium().stats().frames;
  met.medium.lost += world.medium().stats().lost;
  met.medium.doubled += world.medium().stats().doubled;
  met.medium.overtaken += world.medium().stats().overtaken;
  met.medium.partitions += world.medium().stats().partitions;
  met.acknowledged += ledger.acknowledged();
  met.tasks += world.tasks_run();
  met.simulated += world.now().since_start;
  return world.fingerprint();
}

std::optional<std::uint64_t> number_from(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? std::optional(std::strtoull(text, nullptr, 10)) : std::nullopt;
}

TEST(SyncSim, AcknowledgedEventsSurviveAndReachTheHubOnce) {
  const auto only = number_from("LANDFALL_SEED");
  const std::uint64_t first = only.value_or(1), count = only ? 1 : number_from("LANDFALL_SEEDS").value_or(60);
  Met met;
  std::vector<std::uint64_t> failed;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("replay with LANDFALL_SEED=" + std::to_string(seed));
    check_convergence(seed, met);
    if (HasFailure()) break;
  }
  std::printf("%llu seeds, %.1f simulated years, %llu events acknowledged, %llu tasks\n"
              "met: %llu crashes, %llu inside commits, %llu commits lost, %llu durable but unreported,\n"
              "%llu frames, %llu lost, %llu doubled, %llu overtaken, %llu partitions, %llu longer than a week\n",
              static_cast<unsigned long long>(count), std::chrono::duration<double>(met.simulated).count() / 31557600.0,
              static_cast<unsigned long long>(met.acknowledged), static_cast<unsigned long long>(met.tasks),
              static_cast<unsigned long long>(met.world.crashes), static_cast<unsigned long long>(met.disk.crashes_inside_commit),
              static_cast<unsigned long long>(met.disk.lost_commits), static_cast<unsigned long long>(met.disk.unreported_commits),
              static_cast<unsigned long long>(met.medium.frames), static_cast<unsigned long long>(met.medium.lost),
              static_cast<unsigned long long>(met.medium.doubled), static_cast<unsigned long long>(met.medium.overtaken),
              static_cast<unsigned long long>(met.medium.partitions), static_cast<unsigned long long>(met.weeks_cut));
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
  EXPECT_GT(met.weeks_cut, count / 10);
}

TEST(SyncSim, SameSeedSameRun) {
  Met met;
  EXPECT_EQ(check_convergence(7, met), check_convergence(7, met));
}

}  // namespace
}  // namespace landfall::sim
