#include "tests/conformance/store_suite.h"
#include "tests/sim/disk.h"
#include "tests/sim/loop.h"

namespace landfall {
namespace {

class SimMachine {
 public:
  Store& store() { return disk_; }
  void run_until(const std::function<bool()>& reached) {
    while (!reached()) ASSERT_TRUE(schedule_.step(schedule_.now() + std::chrono::hours(1))) << "nothing left to run";
  }
  void reopen() {
    run_until([this] { return disk_.commits_waiting() == 0; });
    disk_.boot(loop_);
  }
  void crash() {
    disk_.crash(schedule_.rng);
    loop_.crash();
    disk_.boot(loop_);
  }

 private:
  sim::Schedule schedule_{7};
  sim::Loop loop_{schedule_};
  sim::Disk disk_{loop_};
};

INSTANTIATE_TYPED_TEST_SUITE_P(Sim, StoreSuite, SimMachine);

}  // namespace
}  // namespace landfall
