#include "tests/sim/swarm.h"

#include "tests/sim/ledger.h"

namespace landfall::sim {
namespace {

using namespace std::chrono_literals;

// Which faults a run has and how wild: most runs have most, some have none of one kind.
struct Faults {
  explicit Faults(Rng& rng) {
    const auto one_of = [&](std::initializer_list<double> values) {
      return *(values.begin() + rng.below(values.size()));
    };
    link.loss = one_of({0, 0.01, 0.1, 0.3});
    link.duplicate = one_of({0, 0.02, 0.2});
    link.delay_max = std::chrono::milliseconds(static_cast<int>(one_of({5, 50, 700, 4000})));
    link.bytes_per_second = static_cast<std::uint64_t>(one_of({0, 0, 2000, 50000}));
    believed_rate = rng.chance(0.5) ? link.bytes_per_second : 0;
    crash = one_of({0, 0.01, 0.05});
    crash_in_commit = one_of({0, 0.002, 0.02});
    cut = one_of({0, 0.02, 0.1});
    commit_most = std::chrono::milliseconds(static_cast<int>(one_of({2, 20, 2000})));
    heartbeat = rng.chance(0.2) ? Duration(5min) : Duration(1h);
    credit = static_cast<std::size_t>(one_of({2e3, 1e5, 8e6}));
    pad = static_cast<std::size_t>(one_of({10, 100, 2000}));
    broker_most = std::chrono::seconds(static_cast<int>(one_of({0, 0, 1, 60})));
  }
  LinkFaults link;
  std::uint64_t believed_rate;
  double crash, crash_in_commit, cut;
  Duration commit_most, heartbeat, broker_most;
  std::size_t credit, pad;
};

void disturb(World& world, const Faults& faults, Outcome& outcome) {
  Rng& rng = world.rng();
  auto& nodes = world.nodes();
  if (rng.chance(faults.crash)) world.crash(*nodes[rng.below(nodes.size())], rng.spread(10ms, 24h));
  if (!rng.chance(faults.cut)) return;
  const Duration length = rng.spread(100ms, 24h * 28);
  if (length > 24h * 7) ++outcome.cut_for_weeks;
  world.medium().cut(world.edge(rng.below(nodes.size() - 1)).network, world.hub().network, length, rng.chance(0.3));
}

Duration pause(Rng& rng) {
  const double dice = rng.unit();
  if (dice < 0.80) return rng.spread(100us, 2s);
  if (dice < 0.97) return rng.spread(1s, 1min);
  if (dice < 0.995) return rng.spread(1min, 2h);
  return rng.spread(2h, 24h * 7);
}

}  // namespace

Outcome run_swarm(std::uint64_t seed) {
  Rng dice(~seed);
  const Faults faults(dice);
  Outcome outcome;
  World world(seed, {.edges = 4,
                     .heartbeat = faults.heartbeat,
                     .credit_bytes = faults.credit,
                     .link_bytes_per_second = faults.believed_rate,
                     .broker_most = faults.broker_most});
  Ledger ledger(world);
  world.medium().faults = faults.link;
  for (auto& node : world.nodes()) {
    node->disk.set_commit_time(100us, faults.commit_most);
    if (faults.crash_in_commit > 0) node->crash_in_commit = faults.crash_in_commit;
  }
  // Safety: everything fails, and nothing acknowledged may be forgotten.
  for (int i = 0; i < 250 && ledger.violations().empty(); ++i) {
    auto& node = *world.nodes()[world.rng().below(world.nodes().size())];
    const auto stream = static_cast<Stream>(world.rng().below(stream_count));
    if (node.up()) ledger.append(node, stream, 1 + world.rng().below(6), faults.pad);
    disturb(world, faults, outcome);
    world.run_for(pause(world.rng()));
    ledger.check_ack_marks();
  }
  // Liveness: faults stop, and everybody must agree within half an hour.
  world.heal();
  for (int i = 0; i < 360 && !world.in_sync(); ++i) world.run_for(5s);
  ledger.check_converged();

  outcome.violations = ledger.violations();
  outcome.fingerprint = world.fingerprint();
  outcome.world = world.stats();
  outcome.disk = world.disk_stats();
  outcome.medium = world.medium().stats();
  outcome.acknowledged = ledger.acknowledged();
  outcome.tasks = world.tasks_run();
  outcome.simulated = world.now().since_start;
  return outcome;
}

}  // namespace landfall::sim
