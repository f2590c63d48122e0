// What is published aboard and acknowledged stands in both logs, in order and provably, whatever was held, stopped or
// killed in between.

#include <gtest/gtest.h>

#include <fstream>

#include "tests/cli/fleet.h"

namespace landfall::cli {
namespace {

struct Voyage : ::testing::Test {
  Fleet fleet;
  Running edge{"edge", fleet.folder / "ship"};
  std::uint16_t mqtt_port = free_port();
  int lines = 0;

  void SetUp() override {
    fleet.hub.start();
    fleet.hub.await_ready();
    fleet.init_edge("ship", fleet.invite("ship"), {"--mqtt-port", std::to_string(mqtt_port), "--websocket-port", "0"});
    edge.start();
    edge.await("enrolment and a broker", [](const Json& s) {
      return s["enrolled"].get<bool>() && committed(s) && s["mqtt"]["broker_attached"].get<int>() == 1;
    });
  }

  // Publishes `more` new lines at QoS 1 and returns once all are acknowledged.
  void publish(int more) {
    const auto file = fleet.folder / ("lines-" + std::to_string(lines));
    std::ofstream out(file);
    for (int i = 0; i < more; ++i) out << "$IIMWV," << lines++ << "\n";
    out.close();
    const auto done = landfall(
        {"voyage", "--file", file.string(), "--port", std::to_string(mqtt_port), "--alarms-every", "0", "--json"});
    EXPECT_EQ(done.exit_code, 0) << done.err;
  }

  // Payloads of the telemetry in a log, in its order.
  std::vector<std::string> telemetry(const std::string& name) const {
    std::vector<std::string> payloads;
    const auto shown =
        landfall({"log", "show", "--dir", fleet.dir(name), "--stream", "telemetry", "--limit", "0", "--json"});
    EXPECT_EQ(shown.exit_code, 0) << shown.err;
    std::istringstream in(shown.out);
    for (std::string line; std::getline(in, line);) payloads.push_back(Json::parse(line)["payload"].get<std::string>());
    return payloads;
  }

  std::vector<std::string> expected() const {
    std::vector<std::string> payloads;
    for (int i = 0; i < lines; ++i) payloads.push_back("$IIMWV," + std::to_string(i));
    return payloads;
  }
};

TEST_F(Voyage, LandsThroughHoldAndRelease) {
  publish(50);
  // An acknowledged message may still be in the ring.
  edge.await("the first leg committed",
             [](const Json& s) { return count(s, "telemetry", "own") == 50 && committed(s); });
  ASSERT_EQ(landfall({"link", "hold", "--dir", fleet.dir("ship")}).exit_code, 0);
  edge.await("no link",
             [](const Json& s) { return s["link"]["held"].get<bool>() && !s["link"]["connected"].get<bool>(); });
  publish(50);
  const auto alarm = landfall(
      {"log", "append", "--dir", fleet.dir("ship"), "--stream", "alarm", "--subject", "bilge", "--payload", "high"});
  EXPECT_EQ(alarm.exit_code, 0) << alarm.err;
  const auto held = edge.await("a backlog", [](const Json& s) { return count(s, "telemetry", "backlog") == 50; });
  EXPECT_EQ(count(held, "alarm", "backlog"), 1u);
  EXPECT_EQ(count(fleet.hub.status(), "telemetry", "foreign"), 50u);

  ASSERT_EQ(landfall({"link", "release", "--dir", fleet.dir("ship")}).exit_code, 0);
  edge.await("everything committed", committed);
  EXPECT_EQ(telemetry("hub"), expected());
  EXPECT_EQ(telemetry("ship"), expected());
  EXPECT_EQ(count(fleet.hub.status(), "alarm", "foreign"), 1u);

  EXPECT_EQ(edge.stop(), 0) << edge.said();
  EXPECT_EQ(fleet.hub.stop(), 0) << fleet.hub.said();
  for (const char* name : {"hub", "ship"}) {
    const auto verified = landfall({"log", "verify", "--dir", fleet.dir(name), "--json"});
    EXPECT_EQ(verified.exit_code, 0) << verified.err;
    EXPECT_EQ(verified.json()["events_by_stream"]["telemetry"], 100);
    EXPECT_EQ(telemetry(name), expected());
  }
}

TEST_F(Voyage, SurvivesKillsOfEdgeAndHub) {
  ASSERT_EQ(landfall({"link", "hold", "--dir", fleet.dir("ship")}).exit_code, 0);
  publish(40);
  edge.kill9();
  publish(40);  // into the ring: the broker outlives the edge
  edge.start();
  const auto again =
      edge.await("the ring taken over", [](const Json& s) { return count(s, "telemetry", "own") == 80; });
  EXPECT_TRUE(again["link"]["held"].get<bool>()) << "a hold outlives the process";
  fleet.hub.kill9();
  ASSERT_EQ(landfall({"link", "release", "--dir", fleet.dir("ship")}).exit_code, 0);
  publish(20);
  fleet.hub.start();
  edge.await("everything committed", [](const Json& s) { return count(s, "telemetry", "own") == 100 && committed(s); });
  fleet.hub.kill9();
  fleet.hub.start();
  const auto hub = fleet.hub.await("the hub again", [](const Json& s) { return s["link"]["connected"].get<bool>(); });
  EXPECT_EQ(count(hub, "telemetry", "foreign"), 100u);
  EXPECT_EQ(telemetry("hub"), expected());
  EXPECT_EQ(landfall({"log", "verify", "--dir", fleet.dir("hub")}).exit_code, 0);
  EXPECT_EQ(landfall({"log", "verify", "--dir", fleet.dir("ship")}).exit_code, 0);
}

TEST_F(Voyage, CheckFindsNothingWrong) {
  for (const char* name : {"hub", "ship"}) {
    const auto checked = landfall({"check", "--dir", fleet.dir(name), "--json"});
    EXPECT_EQ(checked.exit_code, 0) << checked.out;
    EXPECT_TRUE(checked.json()["ok"].get<bool>());
  }
}

}  // namespace
}  // namespace landfall::cli
