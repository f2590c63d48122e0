// Requests and notices: what asks the node reaches its handler once, in order, with who asked; what the plugin tells of
// clients; mappers that a restarted broker has made deaf.

#include <gtest/gtest.h>

#include <set>

#include "tests/mqtt/client.h"
#include "tests/mqtt/edge_process.h"

namespace landfall::test {
namespace {

using Words = std::vector<std::string>;

TEST(Requests, ReachTheHandlerAtEveryQosWithWhoAsked) {
  Edge edge;
  MqttClient client(edge.port, Version::v311, "mapper-1");
  for (int qos = 0; qos <= 2; ++qos) {
    const auto text = std::to_string(qos);
    ASSERT_TRUE(client.publish_and_wait({"$hw/events/device/default/pump/twin/update", text, qos}));
    EXPECT_EQ(edge.words("request"),
              (Words{"1", "mapper-1", "", "0", "$hw/events/device/default/pump/twin/update", text}));
  }
  EXPECT_EQ(client.ask_for("$hw/events/device/+/twin/update/delta"), 0);
  for (const char* topic : {"$hw/events/device/pump/twin/get", "$hw/events/device/pump/twin/cloud_updated",
                            "$hw/events/device/plant/pump/state/update", "$hw/events/node/edge/membership/get",
                            "landfall/pump/twin/desired", "landfall/plant%2Fpump/twin/reported",
                            "landfall/pump/twin/get", "landfall/pump/command/c1/result"}) {
    ASSERT_TRUE(client.publish_and_wait({topic, "x"}));
    EXPECT_EQ(edge.words("request"), (Words{"1", "mapper-1", "", "1", topic, "x"}));
  }
}

TEST(Requests, OtherTopicsOfTheSameSpacePassUntouched) {
  Edge edge;
  MqttClient other(edge.port, Version::v311, "other");
  ASSERT_EQ(other.ask_for("$hw/events/#"), 0);
  MqttClient client(edge.port, Version::v311, "c");
  for (const char* topic : {"$hw/events/onvif/resource/get", "$hw/events/device/pump/twin/update/document"}) {
    ASSERT_TRUE(client.publish_and_wait({topic, "x"}));
    EXPECT_EQ(other.message(), std::string(topic) + "=x");
  }
  EXPECT_EQ(edge.metrics()["requests"], 0u);
  EXPECT_EQ(edge.events().size(), 0u);
}

TEST(Requests, UploadsAndTimeSeriesOfKubeEdgeBecomeMessages) {
  Edge edge;
  MqttClient client(edge.port, Version::v311, "c");
  const std::map<std::string, std::string> device_of = {
      {"$hw/events/upload/a/b", ""},
      {"SYS/dis/upload_records", ""},
      {"plant/user/a", ""},
      {"$ke/events/device/pump/data/update", "pump"},
      {"$ke/events/device/plant/pump/data/update", "plant/pump"},
      {"landfall/plant%2Fpump/telemetry/x", "plant/pump"},
  };
  for (const auto& [topic, device] : device_of) ASSERT_TRUE(client.publish_and_wait({topic, "x"}));
  const auto events = edge.events();
  EXPECT_EQ(events.size(), device_of.size());
  for (const auto& e : events) {
    EXPECT_EQ(e.stream, "telemetry");
    EXPECT_EQ(e.kind, e.subject.starts_with("landfall/") ? "16" : "18") << e.subject;
    EXPECT_EQ(e.device, device_of.at(e.subject)) << e.subject;
  }
}

// The edge is killed again and again while requests come: the broker answers them all, and each is applied once.
TEST(Requests, AreAppliedOnceWheneverTheEdgeIsKilled) {
  Edge edge;
  MqttClient client(edge.port, Version::v311, "c");
  constexpr int rounds = 6, each = 120;
  int sent = 0;
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < each; ++i) {
      // Telemetry between them is appended by the same drains.
      if (i % 3 == 0) {
        ASSERT_TRUE(client.publish_and_wait({"landfall/pump/telemetry/x", "t" + std::to_string(sent)}));
      }
      ASSERT_TRUE(client.publish_and_wait({"landfall/pump/twin/desired", std::to_string(sent++)}));
    }
    edge.kill();
    edge.start();
  }
  std::map<std::string, int> times;
  int telemetry = 0;
  for (const auto& e : edge.events()) {
    if (e.source == "request")
      ++times[e.id];
    else
      ++telemetry;
  }
  EXPECT_EQ(times.size(), static_cast<std::size_t>(sent));
  for (const auto& [id, count] : times) EXPECT_EQ(count, 1) << id;
  EXPECT_EQ(telemetry, rounds * each / 3);
}

// Alarms that the node deals with itself stand between alarms that are events of their own: each has its own mark.
TEST(Requests, OfEventsAreAppliedOnceWheneverTheEdgeIsKilled) {
  Edge edge;
  MqttClient client(edge.port, Version::v311, "c");
  constexpr int rounds = 4, each = 20;
  int sent = 0;
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < each; ++i) {
      ASSERT_TRUE(client.publish_and_wait({"landfall/pump/alarm/hot", "request " + std::to_string(sent)}));
      ASSERT_TRUE(client.publish_and_wait({"landfall/pump/alarm/hot", "plain " + std::to_string(sent++)}));
    }
    edge.kill();
    edge.start();
  }
  std::map<std::string, int> applied, plain;
  for (const auto& e : edge.events()) ++(e.source == "request" ? applied : plain)[e.payload];
  EXPECT_EQ(applied.size(), static_cast<std::size_t>(sent));
  EXPECT_EQ(plain.size(), static_cast<std::size_t>(sent));
  for (const auto* all : {&applied, &plain}) {
    for (const auto& [payload, count] : *all) EXPECT_EQ(count, 1) << payload;
  }
}

TEST(Requests, OfEventsThatAreNamedAreAppliedOnceEach) {
  Edge edge;
  MqttClient client(edge.port, Version::v5, "c");
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.publish_and_wait(
        {"landfall/pump/alarm/hot", "request", 1, false, cloud_event("sensor", "7"), "text/plain"}));
  }
  EXPECT_EQ(edge.metrics()["duplicates"], 2u);
  EXPECT_EQ(edge.events().size(), 1u);
}

TEST(Requests, WithPowerDurabilityAreAnsweredOnceTheyAreDone) {
  Edge edge;
  MqttClient client(edge.port, Version::v311, "c");
  ASSERT_TRUE(client.publish_and_wait({"landfall/pump/command/c1/result", "done"}));
  edge.kill();
  ::kill(edge.broker_pid, SIGKILL);
  std::filesystem::remove(edge.dir.path() / "ring");  // the log alone must have it
  EXPECT_EQ(edge.events().size(), 1u);
}

TEST(Notices, TellOfSubscriptionsAndEnds) {
  Edge edge;
  {
    MqttClient client(edge.port, Version::v311, "counter");
    ASSERT_EQ(client.ask_for("$hw/events/device/counter/twin/update/document"), 0);
    for (;;) {
      const auto words = edge.words("notice");
      ASSERT_FALSE(words.empty());
      if (words[1] != "counter") continue;  // the broker's start comes first
      EXPECT_EQ(words, (Words{"2", "counter", "", "0", "$hw/events/device/counter/twin/update/document"}));
      break;
    }
  }
  EXPECT_EQ(edge.words("notice")[0], "4");
}

TEST(Notices, ABrokerSaysThatItIsNew) {
  Edge edge;
  EXPECT_EQ(edge.words("notice"), (Words{"8", "", "", "0", ""}));
  edge.kill_broker();
  EXPECT_EQ(edge.words("notice"), (Words{"8", "", "", "0", ""}));
}

// As the Go mappers do (they come back under another id, with a clean session, and never subscribe again).
TEST(DeafClients, AreReachedAfterTheBrokerWasKilled) {
  Edge edge;
  {
    MqttClient mapper(edge.port, Version::v311, "auto-1");
    ASSERT_EQ(mapper.ask_for("$hw/events/device/pump/twin/update/delta"), 0);
    ASSERT_TRUE(mapper.publish_and_wait({"$hw/events/device/pump/state/update", "{}"}));
    ASSERT_EQ(edge.metrics()["deaf"], 0u);
    edge.kill_broker();
  }
  MqttClient mapper(edge.port, Version::v311, "auto-2");
  MqttClient bystander(edge.port, Version::v311, "bystander");
  ASSERT_TRUE(edge.wait([](auto& m) { return m["connected"] == 1; }));
  ASSERT_TRUE(mapper.publish_and_wait({"$hw/events/device/pump/state/update", "{}"}));
  ASSERT_TRUE(edge.wait([](auto& m) { return m["deaf"] == 1; }));
  edge.say("deaf\tpump");
  ASSERT_EQ(edge.words("deaf"), (Words{"auto-2"}));
  ASSERT_EQ(bystander.ask_for("landfall/news"), 0);
  edge.say("to\tauto-2\t$hw/events/device/pump/twin/update/delta\tturn");
  EXPECT_EQ(mapper.message(), "$hw/events/device/pump/twin/update/delta=turn");
  EXPECT_EQ(edge.words("done"), (Words{"turn"}));
  // Nobody else had it: the next message of the bystander is one that he asked for.
  edge.say("publish\t1\t0\tlandfall/news\tn");
  EXPECT_EQ(bystander.message(), "landfall/news=n");

  ASSERT_EQ(mapper.ask_for("$hw/events/device/pump/twin/update/delta"), 0);
  EXPECT_TRUE(edge.wait([](auto& m) { return m["deaf"] == 0; }));
}

}  // namespace
}  // namespace landfall::test
