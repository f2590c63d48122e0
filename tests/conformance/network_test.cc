// Property: the network that nodes use in production keeps the promises of cloudsync/network.h.

#include "tests/conformance/network_suite.h"

#include "edgeruntime/uv_network.h"
#include "tests/edgeruntime/fleet.h"

namespace landfall {
namespace {

class UvPair {
 public:
  UvPair() : fleet_(loop_.unix_ms()), hub_identity_(fleet_.hub()), edge_identity_(fleet_.node()) {
    hub_ = *UvNetwork::create(loop_, {.identity = hub_identity_, .listen = "127.0.0.1:0"});
    auto address = "127.0.0.1:" + std::to_string(hub_->listening_port());
    edge_ = *UvNetwork::create(
        loop_, {.identity = edge_identity_, .dial = {address}, .dial_backoff_min = std::chrono::milliseconds(2)});
  }
  Network& hub() { return *hub_; }
  Network& edge() { return *edge_; }
  NodeId hub_node() const { return *node_of_key(hub_identity_.key_pem); }
  NodeId edge_node() const { return *node_of_key(edge_identity_.key_pem); }
  void run_until(std::function<bool()> reached) { landfall::run_until(loop_, std::move(reached)); }

 private:
  UvLoop loop_;
  Fleet fleet_;
  Identity hub_identity_, edge_identity_;
  std::unique_ptr<UvNetwork> hub_, edge_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Uv, NetworkSuite, UvPair);

}  // namespace
}  // namespace landfall
