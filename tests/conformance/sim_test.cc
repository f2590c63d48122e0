// Property: the simulated disk and network keep the promises of the real ones, so that what the simulation proves
// about a node holds for a real one.

#include "tests/conformance/network_suite.h"
#include "tests/conformance/store_suite.h"
#include "tests/sim/disk.h"
#include "tests/sim/network.h"

namespace landfall {
namespace {

void run(sim::Schedule& schedule, const std::function<bool()>& reached) {
  const Instant limit = schedule.now() + std::chrono::hours(1);
  while (!reached()) {
    if (schedule.step(limit)) continue;
    ADD_FAILURE() << "not reached within an hour of simulated time";
    return;
  }
}

class SimMachine {
 public:
  Store& store() { return disk_; }
  void run_until(const std::function<bool()>& reached) { run(schedule_, reached); }
  void reopen() { disk_.boot(loop_); }
  void crash() {
    loop_.crash();
    disk_.crash(schedule_.rng);
    disk_.boot(loop_);
  }

 private:
  sim::Schedule schedule_{1};
  sim::Loop loop_{schedule_};
  sim::Disk disk_{loop_};
};

INSTANTIATE_TYPED_TEST_SUITE_P(Sim, StoreSuite, SimMachine);

Peer peer(std::uint8_t id, Peer::Role role) {
  Peer peer;
  peer.node.bytes.fill(id);
  peer.role = role;
  return peer;
}

class SimPair {
 public:
  SimPair() {
    medium_.faults.in_order = true;
    medium_.faults.bytes_per_second = 100'000'000;
    medium_.join(edge_, hub_);
  }
  Network& hub() { return hub_; }
  Network& edge() { return edge_; }
  NodeId hub_node() const { return hub_.self().node; }
  NodeId edge_node() const { return edge_.self().node; }
  void run_until(const std::function<bool()>& reached) { run(schedule_, reached); }

 private:
  sim::Schedule schedule_{1};
  sim::Medium medium_{schedule_};
  sim::Loop hub_loop_{schedule_}, edge_loop_{schedule_};
  sim::Network hub_{medium_, hub_loop_, peer(1, Peer::Role::hub)},
      edge_{medium_, edge_loop_, peer(2, Peer::Role::node)};
};

INSTANTIATE_TYPED_TEST_SUITE_P(Sim, NetworkSuite, SimPair);

}  // namespace
}  // namespace landfall
