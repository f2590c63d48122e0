#include "tests/sim/swarm.h"

#include "tests/sim/faults.h"
#include "tests/sim/ledger.h"

namespace landfall::sim {
namespace {

using namespace std::chrono_literals;

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
  World world(seed, faults.options(4));
  Ledger ledger(world);
  faults.begin(world);
  // Safety: everything fails, and nothing acknowledged may be forgotten.
  for (int i = 0; i < 250 && ledger.violations().empty(); ++i) {
    auto& node = *world.nodes()[world.rng().below(world.nodes().size())];
    const auto stream = static_cast<Stream>(world.rng().below(stream_count));
    if (node.up()) ledger.append(node, stream, 1 + world.rng().below(6), faults.pad);
    if (disturb(world, faults) > 24h * 7) ++outcome.cut_for_weeks;
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
