// Property: what a node knows of a peer's state is in its status and in its metrics.
#include "edgeruntime/metrics.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace landfall {
namespace {

NodeStatus with_peers(std::uint8_t diverged) {
  NodeStatus status;
  for (const char* name : {"a", "b"}) {
    NodeStatus::PeerLine peer;
    peer.name = name;
    peer.compared = 10;
    peer.divergences = diverged != 0 ? 3 : 0;
    peer.diverged = diverged;
    peer.snapshots_joined = 2;
    peer.snapshot_bytes_received = 500;
    status.peers.push_back(peer);
  }
  status.peers[1].diverged = 0;
  return status;
}

TEST(NodeStatus, ShowsWhichStreamsOfAPeerDiffer) {
  const NodeStatus status =
      with_peers(1u << static_cast<int>(Stream::desired) | 1u << static_cast<int>(Stream::document));
  const auto json = nlohmann::json::parse(status_json(status));
  EXPECT_EQ(json["peers"][0]["diverged"], (std::vector<std::string>{"desired", "document"}));
  EXPECT_EQ(json["peers"][0]["divergences"], 3);
  EXPECT_EQ(json["peers"][0]["states_compared"], 10);
  EXPECT_EQ(json["peers"][0]["snapshots_joined"], 2);
  EXPECT_EQ(json["peers"][0]["snapshot_bytes_received"], 500);
  EXPECT_TRUE(json["peers"][1]["diverged"].empty());
}

TEST(NodeStatus, AWarningIsSaidAndMakesNobodyIll) {
  NodeStatus status;
  status.warnings = {"document plan grew"};
  const auto health = nlohmann::json::parse(health_json(status)), all = nlohmann::json::parse(status_json(status));
  EXPECT_EQ(health["status"], "ok");
  EXPECT_EQ(health["warnings"], status.warnings);
  EXPECT_EQ(all["warnings"], status.warnings);
  EXPECT_EQ(all["healthy"], true);
}

TEST(NodeStatus, CountsDivergencesInMetrics) {
  const std::string text = metrics_text(with_peers(1));
  for (const char* line : {"\nlandfall_peers_diverged 1\n", "\nlandfall_state_divergences_total 6\n",
                           "\nlandfall_states_compared_total 20\n", "\nlandfall_session_snapshots_joined 4\n"})
    EXPECT_NE(text.find(line), text.npos) << line << text;
  EXPECT_NE(metrics_text(with_peers(0)).find("\nlandfall_peers_diverged 0\n"), std::string::npos);
}

}  // namespace
}  // namespace landfall
