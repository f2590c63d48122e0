#include "tests/sim/faults.h"

namespace landfall::sim {

using namespace std::chrono_literals;

Faults::Faults(Rng& rng) {
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

World::Options Faults::options(std::size_t edges) const {
  return {.edges = edges,
          .heartbeat = heartbeat,
          .credit_bytes = credit,
          .link_bytes_per_second = believed_rate,
          .broker_most = broker_most};
}

void Faults::begin(World& world) const {
  world.medium().faults = link;
  for (auto& node : world.nodes()) {
    node->disk.set_commit_time(100us, commit_most);
    if (crash_in_commit > 0) node->crash_in_commit = crash_in_commit;
  }
}

Duration disturb(World& world, const Faults& faults) {
  Rng& rng = world.rng();
  auto& nodes = world.nodes();
  if (rng.chance(faults.crash)) world.crash(*nodes[rng.below(nodes.size())], rng.spread(10ms, 24h));
  if (!rng.chance(faults.cut)) return {};
  const Duration length = rng.spread(100ms, 24h * 28);
  world.medium().cut(world.edge(rng.below(nodes.size() - 1)).network, world.hub().network, length, rng.chance(0.3));
  return length;
}

}  // namespace landfall::sim
