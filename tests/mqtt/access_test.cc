// Who may do what at a real broker, and that rules, devices and passwords change while it runs.

#include <gtest/gtest.h>

#include <fstream>

#include "edgeruntime/mqtt/access.h"
#include "tests/mqtt/client.h"
#include "tests/mqtt/edge_process.h"

namespace landfall::test {
namespace {

using Login = std::pair<std::string, std::string>;
const Login pump{"pump", "pump's word"}, tank{"plant/tank", "tank's word"}, mapper{"modbus", "mapper's word"};
const std::string closed =
    "access\tclosed\tpump\tpump's word\tdevice\tonvif/#\tplant/tank\ttank's word\tdevice\t-\tmodbus\tmapper's "
    "word\tmapper\t-";

TEST(Access, ClosedLetsInOnlyWhoHasAPassword) {
  Edge edge;
  MqttClient before(edge.port, Version::v311, "before");
  ASSERT_TRUE(before.connected());
  ASSERT_TRUE(edge.set(closed));
  EXPECT_FALSE(before.publish_and_wait({"landfall/pump/telemetry/x", "1"})) << "thrown out when the mode changed";
  EXPECT_FALSE(MqttClient(edge.port, Version::v311, "a").connected());
  EXPECT_FALSE(MqttClient(edge.port, Version::v311, "a", Login{"pump", "wrong"}).connected());
  EXPECT_FALSE(MqttClient(edge.port, Version::v311, "a", Login{"nobody", "pump's word"}).connected());
  for (const auto& login : {pump, tank, mapper}) {
    EXPECT_TRUE(MqttClient(edge.port, Version::v311, "a", login).connected()) << login.first;
  }
  EXPECT_TRUE(edge.wait([](auto& m) { return m["refused_access"] == 3 && m["connected"] == 1; }));
}

TEST(Access, ADeviceHasItsOwnTopicsAndAMapperAll) {
  Edge edge;
  ASSERT_TRUE(edge.set(closed));
  const auto may_publish = [&](const Login& login, const std::string& topic) {
    MqttClient client(edge.port, Version::v311, "p", login);
    EXPECT_TRUE(client.connected());
    return client.publish_and_wait({topic, "x"});
  };
  const auto may_subscribe = [&](const Login& login, const std::string& filter) {
    MqttClient client(edge.port, Version::v311, "s", login);
    return client.ask_for(filter) == 0;
  };
  for (const char* topic :
       {"landfall/pump/telemetry/x", "$hw/events/device/pump/twin/update", "$hw/events/device/default/pump/twin/get",
        "$ke/events/device/pump/data/update", "$hw/events/upload/x", "plant/user/x", "onvif/a"}) {
    EXPECT_TRUE(may_publish(pump, topic)) << topic;
    EXPECT_TRUE(may_publish(mapper, topic)) << topic;
  }
  for (const char* topic : {"landfall/plant%2Ftank/alarm/x", "$hw/events/device/plant/tank/twin/update"}) {
    EXPECT_TRUE(may_publish(tank, topic)) << topic;
    EXPECT_FALSE(may_publish(pump, topic)) << topic;
    EXPECT_TRUE(may_publish(mapper, topic)) << topic;
  }
  // The cloud's writes and other people's topics.
  for (const char* topic : {"$hw/events/device/pump/twin/cloud_updated", "landfall/tank/telemetry/x", "anything",
                            "$hw/events/node/edge/membership/get"}) {
    EXPECT_FALSE(may_publish(pump, topic)) << topic;
    EXPECT_TRUE(may_publish(mapper, topic)) << topic;
  }
  for (const char* filter : {"landfall/pump/#", "$hw/events/device/pump/twin/update/delta", "landfall/pump/twin/+"}) {
    EXPECT_TRUE(may_subscribe(pump, filter)) << filter;
    EXPECT_TRUE(may_subscribe(mapper, filter)) << filter;
  }
  for (const char* filter : {"landfall/+/twin/#", "landfall/#", "#", "$hw/events/device/+/twin/update/delta",
                             "$share/g/landfall/tank/#", "$hw/events/device/#"}) {
    EXPECT_FALSE(may_subscribe(pump, filter)) << filter;
    EXPECT_TRUE(may_subscribe(mapper, filter)) << filter;
  }
}

// An MQTT 3.1.1 client takes any PUBACK for success.
TEST(Access, ARefusedPublishIsNeverAcknowledgedAsIfItHadWorked) {
  Edge edge;
  ASSERT_TRUE(edge.set(closed));
  MqttClient old(edge.port, Version::v311, "old", pump);
  EXPECT_FALSE(old.publish_and_wait({"landfall/tank/telemetry/x", "x"}));
  MqttClient modern(edge.port, Version::v5, "modern", pump);
  EXPECT_EQ(modern.publish_and_read_reason({"landfall/tank/telemetry/x", "x"}), 0x87);
  EXPECT_EQ(modern.publish_and_read_reason({"landfall/pump/telemetry/x", "x"}), 0x10)
      << "it stays connected: no subscriber is no failure";
  int refusals = 0;
  for (; refusals < 2;) {
    const auto words = edge.words("notice");
    ASSERT_FALSE(words.empty());
    if (words[0] != "6") continue;
    EXPECT_EQ(words[2], "pump");
    EXPECT_EQ(words[4], "landfall/tank/telemetry/x");
    ++refusals;
  }
  EXPECT_EQ(edge.events().size(), 1u);
}

TEST(Access, APasswordChangesWhileTheBrokerRuns) {
  Edge edge;
  ASSERT_TRUE(edge.set(closed));
  MqttClient of_pump(edge.port, Version::v311, "p", pump), of_tank(edge.port, Version::v311, "t", tank);
  ASSERT_TRUE(edge.set("access\tclosed\tpump\tanother\tdevice\t-\tplant/tank\ttank's word\tdevice\t-"));
  // Its hash is made anew each time and the salt is the same, so the tank's is what it was.
  EXPECT_TRUE(of_tank.publish_and_wait({"landfall/plant%2Ftank/telemetry/x", "x"})) << "who stays is not disturbed";
  EXPECT_FALSE(of_pump.answer().has_value()) << "who has lost his password is thrown out";
  EXPECT_FALSE(MqttClient(edge.port, Version::v311, "p", pump).connected());
  EXPECT_FALSE(MqttClient(edge.port, Version::v311, "m", mapper).connected());
  EXPECT_TRUE(MqttClient(edge.port, Version::v311, "p", Login{"pump", "another"}).connected());
  auto now = edge.metrics();
  EXPECT_EQ(now["broker_pid"], static_cast<std::uint64_t>(edge.broker_pid));
  EXPECT_EQ(now["restarts"], 0u);
}

TEST(Access, RulesChangeWhileTheBrokerRuns) {
  Edge edge;
  MqttClient client(edge.port, Version::v311, "c");
  ASSERT_TRUE(client.publish_and_wait({"extra/x", "before"}));
  ASSERT_TRUE(edge.set("rules\textra/#"));
  ASSERT_TRUE(client.publish_and_wait({"extra/x", "after"})) << "over the same connection";
  const int broker = edge.broker_pid;
  edge.kill();
  edge.start();  // with the rules that it always starts with
  EXPECT_EQ(edge.broker_pid, broker) << "other rules are no reason to replace a broker";
  EXPECT_EQ(edge.metrics()["taken_over"], 1u);
  ASSERT_TRUE(edge.wait([](auto& m) { return m["control"] == 1; }));
  ASSERT_TRUE(client.publish_and_wait({"extra/x", "no more"}));
  const auto events = edge.events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].payload, "after");
}

TEST(Access, UsersOfThePasswordFileMayDoEverythingAndNobodyElseAnything) {
  Edge edge([](const std::filesystem::path& dir) {
    std::ofstream(dir / "passwords") << "# people\noperator:" << make_password_hash("open sesame", "twelve bytes")
                                     << "\n";
  });
  EXPECT_FALSE(MqttClient(edge.port, Version::v311, "a").connected());
  EXPECT_FALSE(MqttClient(edge.port, Version::v311, "a", Login{"operator", "guess"}).connected());
  MqttClient client(edge.port, Version::v311, "a", Login{"operator", "open sesame"});
  ASSERT_TRUE(client.connected());
  EXPECT_TRUE(client.publish_and_wait({"landfall/pump/telemetry/x", "x"}));
  EXPECT_EQ(client.ask_for("#"), 0);
}

// A storm of refusals must not fill the log: some are told, with how many were not.
TEST(Access, RefusalsAreToldAtABoundedRate) {
  Edge edge;
  ASSERT_TRUE(edge.set(closed));
  constexpr std::uint64_t refusals = 200;
  for (std::uint64_t i = 0; i < refusals; ++i) {
    EXPECT_FALSE(MqttClient(edge.port, Version::v311, "a").connected());
  }
  EXPECT_TRUE(edge.wait([](auto& m) { return m["refused_access"] == refusals; }));
  MqttClient last(edge.port, Version::v311, "last", pump);  // its end is told after all of them
  ASSERT_EQ(last.ask_for("landfall/pump/#"), 0);
  std::uint64_t told = 0;
  for (;;) {
    const auto words = edge.words("notice");
    ASSERT_FALSE(words.empty());
    if (words[0] == "2") break;
    told += words[0] == "5";
  }
  EXPECT_GT(told, 0u);
  EXPECT_LT(told, refusals);
}

}  // namespace
}  // namespace landfall::test
