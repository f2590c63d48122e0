// The edge's own client of a real broker: what it publishes arrives, is captured by nobody, and survives the broker.

#include <gtest/gtest.h>

#include <set>

#include "tests/mqtt/client.h"
#include "tests/mqtt/edge_process.h"

namespace landfall::test {
namespace {

using Words = std::vector<std::string>;

bool is_connected(std::map<std::string, std::uint64_t>& m) { return m["connected"] == 1; }

TEST(Outbound, ArrivesAndIsNotCaptured) {
  Edge edge;
  MqttClient subscriber(edge.port, Version::v5, "s");
  ASSERT_EQ(subscriber.ask_for("landfall/#"), 0);
  ASSERT_TRUE(edge.wait(is_connected));
  edge.say("publish\t1\t0\tlandfall/pump/telemetry/x\tone");
  edge.say("publish\t0\t0\tlandfall/pump/twin/desired\ttwo");
  EXPECT_EQ(subscriber.message(), "landfall/pump/telemetry/x=one");
  EXPECT_EQ(subscriber.message(), "landfall/pump/twin/desired=two");
  std::set<Words> done{edge.words("done"), edge.words("done")};
  EXPECT_EQ(done, (std::set<Words>{{"one"}, {"two"}}));
  MqttClient device(edge.port, Version::v311, "d");
  ASSERT_TRUE(device.publish_and_wait({"landfall/pump/telemetry/x", "of a device"}));
  const auto events = edge.events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].payload, "of a device");
}

TEST(Outbound, WhatWaitsForTheBrokerComesInOrderAndOfRetainedTheNewest) {
  Edge edge;
  ASSERT_TRUE(edge.wait(is_connected));
  ::kill(edge.broker_pid, SIGKILL);
  ASSERT_TRUE(edge.wait([](auto& m) { return m["connected"] == 0; }));
  for (const char* payload : {"r1", "r2", "r3"}) edge.say(std::string("publish\t1\t1\tlandfall/state\t") + payload);
  edge.say("publish\t1\t0\tlandfall/news\tn1");
  EXPECT_TRUE(edge.wait([](auto& m) { return m["broker_running"] == 1 && m["connected"] == 1 && m["waiting"] == 0; }));
  edge.broker_pid = static_cast<int>(edge.metrics()["broker_pid"]);
  // Each has its answer, replaced or not.
  std::map<std::string, bool> answered;
  for (int i = 0; i < 4; ++i) {
    const auto words = edge.words("done");
    ASSERT_FALSE(words.empty());
    answered[words[0]] = words.size() == 1;
  }
  EXPECT_EQ(answered.size(), 4u);
  EXPECT_TRUE(answered["r3"] && answered["n1"]);
  MqttClient subscriber(edge.port, Version::v311, "s");
  const auto got = subscriber.subscribe("landfall/state");
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(got->body.ends_with("r3"));
}

TEST(Outbound, ALargeBacklogIsSentWhole) {
  Edge edge;
  MqttClient subscriber(edge.port, Version::v311, "s");
  ASSERT_EQ(subscriber.ask_for("landfall/news"), 0);
  ASSERT_TRUE(edge.wait(is_connected));
  constexpr int messages = 900;
  const std::string filling(2000, 'x');
  for (int i = 0; i < messages; ++i) edge.say("publish\t1\t0\tlandfall/news\t" + std::to_string(i) + " " + filling);
  for (int i = 0; i < messages; ++i) {
    ASSERT_EQ(subscriber.message(), "landfall/news=" + std::to_string(i) + " " + filling);
  }
  EXPECT_TRUE(edge.wait([](auto& m) { return m["published"] == messages && m["dropped"] == 0; }));
}

// The broker counts what it frees off its memory_limit: what it never counted on made it read from nobody after a hundred.
TEST(Outbound, AThousandToOneClientLeaveTheBrokerWithItsMemory) {
  Edge edge;
  MqttClient deaf(edge.port, Version::v311, "deaf");
  ASSERT_TRUE(edge.wait(is_connected));
  constexpr int messages = 1000;
  const std::string filling(2000, 'x');
  for (int i = 0; i < messages; ++i) {
    edge.say("to\tdeaf\t$hw/events/device/d/twin/update/delta\t" + std::to_string(i) + " " + filling);
    ASSERT_EQ(deaf.message(), "$hw/events/device/d/twin/update/delta=" + std::to_string(i) + " " + filling);
  }
  MqttClient device(edge.port, Version::v311, "d");
  EXPECT_TRUE(device.publish_and_wait({"landfall/pump/telemetry/x", filling}));
  EXPECT_TRUE(edge.wait([](auto& m) { return m["connected"] == 1 && m["connects"] == 1; }));
}

TEST(Outbound, NobodyTakesTheEdgesPlace) {
  Edge edge;
  ASSERT_TRUE(edge.wait(is_connected));
  const std::pair<std::string, std::string> wrong{"landfall-edge", "guess"};
  EXPECT_FALSE(MqttClient(edge.port, Version::v311, "landfall-edge").connected());
  EXPECT_FALSE(MqttClient(edge.port, Version::v311, "landfall-edge", wrong).connected());
  EXPECT_FALSE(MqttClient(edge.port, Version::v5, "x", wrong).connected());
  EXPECT_TRUE(edge.wait([](auto& m) { return m["refused_access"] == 3; }));
  for (;;) {
    const auto words = edge.words("notice");
    ASSERT_FALSE(words.empty());
    if (words[0] != "5") continue;
    EXPECT_EQ(words, (Words{"5", "landfall-edge", "", "0", "", "takes the edge's own name"}));
    break;
  }
  MqttClient client(edge.port, Version::v311, "c");
  EXPECT_EQ(client.ask_for("$landfall/#"), 0x80);
  EXPECT_EQ(client.ask_for("$share/g/$landfall/to"), 0x80);
  EXPECT_FALSE(client.publish_and_wait({"$landfall/to", "x"}));
  auto now = edge.metrics();
  EXPECT_EQ(now["connects"], 1u) << "it was never thrown out";
}

}  // namespace
}  // namespace landfall::test
