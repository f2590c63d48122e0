// A real Mosquitto with the plugin, and a real edge process with its log: what is acknowledged is in the log once,
// whatever was killed; what cannot be kept is never acknowledged.

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <set>
#include <thread>

#include "schemas/limits.h"
#include "tests/mqtt/client.h"
#include "tests/mqtt/edge_process.h"
#include "tools/landfall/voyage.h"

namespace landfall::test {
namespace {

std::map<std::string, int> times_by_id(const std::vector<StoredEvent>& events) {
  std::map<std::string, int> times;
  for (const auto& event : events) ++times[event.id];
  return times;
}

TEST(Broker, CapturesEveryQosOfBothVersions) {
  Edge edge;
  for (const auto version : {Version::v311, Version::v5}) {
    MqttClient client(edge.port, version, "c");
    ASSERT_TRUE(client.connected());
    for (int qos = 0; qos <= 2; ++qos) {
      const std::string name = std::to_string(static_cast<int>(version)) + std::to_string(qos);
      EXPECT_TRUE(client.publish_and_wait(
          {"landfall/pump/telemetry/" + name, R"({"v":1})", qos, false, cloud_event("//pump", name)}))
          << name;
    }
    EXPECT_TRUE(client.publish_and_wait({"landfall/pump/alarm/hot", "too hot", 1, false, {}, "text/x-alarm"}));
    EXPECT_TRUE(client.publish_and_wait({"plant/line1", std::string("\xff\x00\x01", 3)}));
    EXPECT_TRUE(client.publish_and_wait({"not/captured", "x"}));
  }
  ASSERT_TRUE(edge.wait([](auto& m) { return m["captured"] == 10; }));
  const auto events = edge.events();
  ASSERT_EQ(events.size(), 10u);
  std::multiset<std::string> subjects;
  for (const auto& e : events) {
    subjects.insert(e.subject);
    if (e.stream == "alarm") {
      EXPECT_EQ(e.kind, "17");
      EXPECT_EQ(e.device, "pump");
      EXPECT_EQ(e.payload, "too hot");
    } else if (e.subject == "plant/line1") {
      EXPECT_EQ(e.kind + e.device + e.content_type, "18");
    } else {
      EXPECT_EQ(e.kind, "16");
      EXPECT_EQ(e.content_type, "application/json");
      EXPECT_EQ(e.device, "pump");
    }
    if (e.subject.ends_with("51")) {
      EXPECT_EQ(e.source + e.id, "//pump51");
    }
  }
  for (const char* name : {"40", "41", "42", "50", "51", "52"}) {
    EXPECT_EQ(subjects.count(std::string("landfall/pump/telemetry/") + name), 1u) << name;
  }
}

TEST(Broker, AnsweredAlarmIsInTheLogAtOnce) {
  Edge edge;
  MqttClient client(edge.port, Version::v311, "c");
  ASSERT_TRUE(client.publish_and_wait({"landfall/pump/alarm/hot", "1"}));
  edge.kill();
  ::kill(edge.broker_pid, SIGKILL);
  std::filesystem::remove(edge.dir.path() / "ring");  // the log alone must have it
  EXPECT_EQ(edge.events().size(), 1u);
}

TEST(Broker, OversizedIsNeverAcknowledged) {
  Edge edge;
  for (const auto version : {Version::v311, Version::v5}) {
    for (const std::size_t size :
         {mqtt_payload_bytes_max + 1, 2 * mqtt_payload_bytes_max, 17 * mqtt_payload_bytes_max}) {
      MqttClient client(edge.port, version, "c");
      ASSERT_TRUE(client.connected());
      EXPECT_FALSE(client.publish_and_wait({"landfall/pump/telemetry/x", std::string(size, 'x')})) << size;
    }
    MqttClient client(edge.port, version, "c");
    EXPECT_TRUE(client.publish_and_wait({"landfall/pump/telemetry/x", std::string(mqtt_payload_bytes_max, 'x')}));
  }
  EXPECT_TRUE(edge.wait([](auto& m) { return m["refused_size"] == 4 && m["captured"] == 2; }));
}

TEST(Broker, WhatCannotBeAnEventIsNeverAcknowledged) {
  Edge edge;
  MqttClient long_topic(edge.port, Version::v311, "c");
  EXPECT_FALSE(long_topic.publish_and_wait({"landfall/pump/telemetry/" + std::string(2000, 't'), "x"}));
  MqttClient long_id(edge.port, Version::v5, "c");
  EXPECT_FALSE(long_id.publish_and_wait(
      {"landfall/pump/telemetry/x", "x", 1, false, cloud_event("//s", std::string(5000, 'i'))}));
  MqttClient not_text(edge.port, Version::v311, "c");
  EXPECT_FALSE(not_text.publish_and_wait({"landfall/pump/telemetry/\x80\x81", "x"}));
  EXPECT_TRUE(edge.wait([](auto& m) { return m["refused_invalid"] == 2; }));
  EXPECT_EQ(edge.events().size(), 0u);
}

TEST(Broker, WebSocketListenerAnswers) {
  Edge edge;
  Connection browser(edge.websocket_port);
  ASSERT_TRUE(browser.open());
  browser.send(
      "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: "
      "13\r\n\r\n");
  while (browser.buffer.find("\r\n\r\n") == std::string::npos && browser.receive()) {}
  EXPECT_TRUE(browser.buffer.starts_with("HTTP/1.1 101")) << browser.buffer;
}

TEST(Broker, RetainedSurvivesAKilledBrokerAndIsOneEvent) {
  Edge edge;
  {
    MqttClient client(edge.port, Version::v311, "c");
    ASSERT_TRUE(client.publish_and_wait({"landfall/pump/telemetry/state", "retained-state", 1, true}));
  }
  const auto saved = edge.dir.path() / "mqtt" / "retained.db";
  ASSERT_TRUE(edge.wait([&](auto&) {
    std::ifstream in(saved, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    return bytes.find("retained-state") != std::string::npos;
  }));
  edge.kill_broker();
  MqttClient subscriber(edge.port, Version::v311, "s");
  const auto got = subscriber.subscribe("landfall/pump/telemetry/state");
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(got->body.ends_with("retained-state"));
  EXPECT_EQ(got->flags & 1, 1);
  const auto events = edge.events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].retained, "1");
}

TEST(Broker, NamedMessageIsStoredOnceOverEveryKill) {
  Edge edge;
  const auto resend = [&](const char* id) {
    MqttClient client(edge.port, Version::v5, "c");
    return client.publish_and_wait({"landfall/pump/telemetry/x", id, 1, false, cloud_event("//pump", id)}) &&
           client.publish_and_wait(
               {"landfall/pump/alarm/x", id, 2, false, cloud_event("//pump", std::string("a") + id)});
  };
  ASSERT_TRUE(resend("1"));
  ASSERT_TRUE(resend("1"));
  edge.kill_broker();
  ASSERT_TRUE(resend("1"));
  const int broker = edge.broker_pid;
  edge.kill();
  edge.start();
  EXPECT_EQ(edge.broker_pid, broker) << "the running broker is taken over";
  EXPECT_EQ(edge.metrics()["taken_over"], 1u);
  ASSERT_TRUE(resend("1"));
  EXPECT_EQ(edge.stop(), 0);
  edge.start();
  EXPECT_NE(edge.broker_pid, broker);
  ASSERT_TRUE(resend("1"));
  ASSERT_TRUE(resend("2"));
  EXPECT_TRUE(edge.wait([](auto& m) { return m["duplicates"] == 2 && m["captured"] == 2; }));
  const auto times = times_by_id(edge.events());
  EXPECT_EQ(times, (std::map<std::string, int>{{"1", 1}, {"a1", 1}, {"2", 1}, {"a2", 1}}));
}

TEST(Broker, ThatWritesToARemovedRingIsReplaced) {
  Edge edge;
  const int broker = edge.broker_pid;
  edge.kill();
  std::filesystem::remove(edge.dir.path() / "ring");
  edge.start();
  EXPECT_NE(edge.broker_pid, broker);
  MqttClient client(edge.port, Version::v311, "c");
  EXPECT_TRUE(client.publish_and_wait({"landfall/pump/telemetry/x", "kept"}));
  EXPECT_EQ(edge.events().size(), 1u);
}

TEST(Broker, CapturesWhileTheEdgeIsDeadUntilTheRingIsFull) {
  Edge edge(128 << 10);
  edge.kill();
  std::uint64_t acknowledged = 0;
  {
    MqttClient client(edge.port, Version::v311, "c");
    ASSERT_TRUE(client.connected());
    while (
        client.publish_and_wait({"landfall/pump/telemetry/x", std::to_string(acknowledged) + std::string(1000, '.')}))
      ++acknowledged;
    EXPECT_GT(acknowledged, 50u);
    EXPECT_LT(acknowledged, 200u);
  }
  MqttClient alarm(edge.port, Version::v311, "c");
  EXPECT_FALSE(alarm.publish_and_wait({"landfall/pump/alarm/x", "not without the log"}));
  edge.start();
  EXPECT_GT(edge.metrics()["refused_full"], 0u);
  MqttClient client(edge.port, Version::v311, "c");
  EXPECT_TRUE(client.publish_and_wait({"landfall/pump/telemetry/x", "room again"}));
  EXPECT_EQ(edge.events().size(), acknowledged + 1);
}

class Voyages : public ::testing::TestWithParam<bool> {};

// Publishes without pause while broker and edge are killed in turn.
TEST_P(Voyages, LoseNothingWhateverIsKilled) {
  const bool named = GetParam();
  constexpr std::uint64_t lines = 6000, window = 50;
  Edge edge;
  const auto file = edge.dir.path() / "lines";
  {
    std::ofstream out(file);
    for (std::uint64_t i = 1; i <= lines; ++i) out << i << '\n';
  }
  VoyageOptions options;
  options.file = file;
  options.port = edge.port;
  options.alarms_every = 500;
  options.rate = 3000;
  options.window = window;
  options.plain = !named;
  options.source = "//voyage";
  std::atomic<std::uint64_t> acknowledged = 0;
  std::atomic<bool> ended = false;
  std::optional<Result<VoyageSummary>> summary;
  std::thread voyage([&] {
    summary = run_voyage(options, [&](std::uint64_t so_far) { acknowledged = so_far; });
    ended = true;
  });
  int kills = 0;
  for (std::uint64_t at = 400; at < lines; at += 900) {
    while (acknowledged < at && !ended) ::poll(nullptr, 0, 1);
    if (ended) break;
    if (kills++ % 2 == 0) {
      edge.kill_broker();
    } else {
      edge.kill();
      edge.start();
    }
  }
  voyage.join();
  ASSERT_TRUE(summary->ok()) << summary->error().detail;
  const auto& s = **summary;
  EXPECT_GE(kills, 5);
  EXPECT_EQ(s.telemetry, lines);
  EXPECT_EQ(s.alarm, lines / 500);
  EXPECT_EQ(s.refused, 0u);
  const auto events = edge.events();
  std::map<std::string, int> times;
  std::uint64_t newest = 0;
  for (const auto& e : events) {
    if (e.stream != "telemetry") continue;
    ++times[e.payload];
    if (named) {
      ASSERT_EQ(std::stoull(e.payload), ++newest) << "in order, each once";
    }
  }
  ASSERT_EQ(times.size(), lines) << "none is missing";
  if (named) {
    EXPECT_EQ(events.size(), lines + lines / 500);
  } else {
    EXPECT_LE(events.size(), lines + lines / 500 + s.resent);
    EXPECT_LE(s.resent, static_cast<std::uint64_t>(kills) * window);
  }
}
INSTANTIATE_TEST_SUITE_P(NamedAndPlain, Voyages, ::testing::Bool());

}  // namespace
}  // namespace landfall::test
