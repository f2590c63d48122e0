// Property: our own MQTT topics say what twins, alarms and commands say, take what they can take, and name what is wrong
// with the rest without writing anything.
#include "devicetwin/device_topics.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "devicetwin/device_requests.h"
#include "devicetwin/devices.h"
#include "schemas/limits.h"
#include "tests/devicetwin/state_node.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using test::StateNode;

class DeviceTopicsTest : public ::testing::Test {
 protected:
  DeviceTopicsTest() {
    commands = std::make_unique<Commands>(
        node.loop, *node.objects,
        Commands::Options{[](const std::string&) { return true; },
                          [this](const CommandView& command) { topics->send_command(command); }});
    begin();
    commands->start();
    add("pump", "speed", "int");
    sent.clear();
  }
  void begin() {
    topics.reset();
    topics = std::make_unique<DeviceTopics>(
        twins, *commands,
        DeviceTopics::Options{[this](DeviceMessage message) {
                                if (message.retain) retained[message.topic] = message.payload;
                                sent.push_back(std::move(message));
                              },
                              [this](const std::string& device) { return device != elsewhere; }, &alarms});
  }
  void add(const std::string& device, const std::string& property, const std::string& type) {
    PropertyDefinition definition;
    definition.type = type;
    DeviceRecord record;
    record.device = device;
    ASSERT_TRUE(node.wait([&](OnWritten done) {
                      devices.put(record, {{property, definition}}, "me", {}, std::move(done));
                    })
                    .ok());
  }
  // Publishes and gives what was sent because of it.
  std::vector<DeviceMessage> publish(std::string topic, std::string payload, std::string client = "mapper") {
    sent.clear();
    int answered = 0;
    topics->on_message(topic, client, payload, {{"x/position", std::to_string(++position)}}, [&] { ++answered; });
    node.run_for(1s);
    EXPECT_EQ(answered, 1) << topic;
    return sent;
  }
  // The one error that came of it; the log must be as it was.
  json error_of(std::string topic, std::string payload) {
    node.run_for(1s);
    const auto before = node.log->received();
    const auto answers = publish(topic, payload);
    EXPECT_EQ(node.log->received(), before) << topic << " " << payload;
    EXPECT_EQ(answers.size(), 1u) << topic << " " << payload;
    if (answers.size() != 1) return {};
    EXPECT_TRUE(answers[0].topic.ends_with("/twin/error")) << answers[0].topic;
    EXPECT_FALSE(answers[0].retain);
    const json problem = json::parse(answers[0].payload);
    EXPECT_EQ(problem["instance"], topic);
    EXPECT_FALSE(problem["detail"].get<std::string>().empty());
    return problem;
  }

  sim::Schedule schedule{7};
  StateNode node{schedule, 1};
  Twins twins{*node.objects, Layer::edge};
  Devices devices{*node.objects};
  Alarms alarms{*node.objects};
  std::unique_ptr<Commands> commands;
  std::unique_ptr<DeviceTopics> topics;
  std::vector<DeviceMessage> sent;
  std::map<std::string, std::string> retained;
  int position = 0;
  std::string elsewhere = "elsewhere";
};
using Topics = DeviceTopicsTest;

TEST_F(Topics, DesiredIsWrittenShownAndAnsweredByTheDevice) {
  publish("landfall/pump/twin/desired", R"( {"speed" : 30} )");
  EXPECT_EQ(retained["landfall/pump/twin/desired"], R"({"speed":30})");
  EXPECT_EQ(retained["landfall/pump/twin/delta"], R"({"speed":30})");
  EXPECT_EQ(twins.view("pump")->properties.at("speed").desired->actor, "mapper");
  EXPECT_EQ(node.log->get_meta("x/position").value(), "1");
  // Reported as it is wanted: nothing is left to do. An empty retained message is none.
  publish("landfall/pump/twin/reported", R"({"speed":30})");
  EXPECT_EQ(retained["landfall/pump/twin/delta"], "");
  EXPECT_EQ(retained["landfall/pump/twin/desired"], R"({"speed":30})");
  EXPECT_EQ(twins.view("pump")->properties.at("speed").reported->value, "30");
  publish("landfall/pump/twin/desired", R"({"speed":null})");
  EXPECT_EQ(retained["landfall/pump/twin/desired"], "");
}

TEST_F(Topics, DeltaIsRepeatedOnlyWhenItChanges) {
  EXPECT_EQ(publish("landfall/pump/twin/desired", R"({"speed":30})").size(), 2u);
  EXPECT_TRUE(publish("landfall/pump/twin/desired", R"({"speed":30})").empty());
  EXPECT_TRUE(publish("landfall/pump/twin/reported", R"({"speed":10})").empty()) << "it still is to be 30";
  const auto changed = publish("landfall/pump/twin/desired", R"({"speed":40})");
  ASSERT_EQ(changed.size(), 2u);
  EXPECT_TRUE(changed[0].retain && changed[1].retain);
  EXPECT_EQ(publish("landfall/pump/twin/reported", R"({"speed":40})").size(), 1u) << "the delta alone";
}

TEST_F(Topics, ReportsSayMoreInTheLongForm) {
  publish("landfall/pump/twin/desired", R"({"speed":30})");
  publish("landfall/pump/twin/reported",
          R"({"speed":{"value":30,"status":"rejected","error":"too hot","time":1700000000000}})");
  const auto reported = twins.view("pump")->properties.at("speed").reported;
  ASSERT_TRUE(reported);
  EXPECT_EQ(reported->status, "rejected");
  EXPECT_EQ(reported->error, "too hot");
  EXPECT_EQ(reported->device_time_ms, 1'700'000'000'000);
  publish("landfall/pump/twin/reported", R"({"speed":null})");
  EXPECT_FALSE(twins.view("pump")->properties.at("speed").reported);
}

TEST_F(Topics, GetAnswersWithTheWholeTwin) {
  const auto answers = publish("landfall/pump/twin/get", "whatever");
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].topic, "landfall/pump/twin/state");
  EXPECT_EQ(answers[0].payload, twin_json(*twins.view("pump")));
  EXPECT_FALSE(answers[0].retain);
  EXPECT_EQ(error_of("landfall/nobody/twin/get", "")["status"], 404);
}

TEST_F(Topics, NameDevicesOfOtherNamespacesInOneLevel) {
  add("deck/pump#2", "speed", "int");
  publish("landfall/deck%2Fpump%232/twin/desired", R"({"speed":1})");
  EXPECT_EQ(retained["landfall/deck%2Fpump%232/twin/desired"], R"({"speed":1})");
  publish("landfall/default%2fpump/twin/desired", R"({"speed":2})");
  EXPECT_EQ(retained["landfall/pump/twin/desired"], R"({"speed":2})");
  EXPECT_EQ(error_of("landfall/a%2Fb%2Fc/twin/get", "")["status"], 400);
  EXPECT_EQ(error_of("landfall/a%zz/twin/get", "")["status"], 400);
  EXPECT_EQ(error_of("landfall/a%2/twin/get", "")["status"], 400);
  EXPECT_EQ(error_of("landfall//twin/get", "")["status"], 400);
}

TEST_F(Topics, KeepTheDigitsOfNumbers) {
  add("gauge", "level", "string");
  EXPECT_EQ(read_request(*read_request_topic("landfall/gauge/twin/desired"),
                         R"({"a":1.10,"b":[123456789012345678901234567890, 1e2],"c":"x,}\"]","a":2.50})")
                ->desired,
            (std::map<std::string, std::optional<std::string>>{
                {"a", "2.50"}, {"b", "[123456789012345678901234567890, 1e2]"}, {"c", R"("x,}\"]")"}}));
}

TEST_F(Topics, RefuseWhatCannotBeAndSaySo) {
  const std::string desired = "landfall/pump/twin/desired", reported = "landfall/pump/twin/reported";
  for (const std::string payload : {"", "{", "[]", "3", "\xff", "\xef\xbb\xbf{}", R"({"speed":1)", R"({"speed":}})"}) {
    EXPECT_EQ(error_of(desired, payload)["status"], 400) << payload;
    EXPECT_EQ(error_of(reported, payload)["status"], 400) << payload;
  }
  EXPECT_EQ(error_of(desired, R"({"nothing":1})")["status"], 404);
  EXPECT_EQ(error_of(desired, R"({"speed":"fast"})")["status"], 400);
  EXPECT_EQ(error_of("landfall/nobody/twin/desired", R"({"speed":1})")["status"], 404);
  EXPECT_EQ(error_of(reported, R"({"speed":{"value":1,"status":"perhaps"}})")["status"], 400);
  const std::string deep = R"({"speed":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  EXPECT_EQ(error_of(desired, deep)["status"], 400);
  EXPECT_EQ(error_of(desired, R"({"speed":")" + std::string(mqtt_payload_bytes_max, 'x') + "\"}")["status"], 400);
  EXPECT_EQ(error_of(desired, R"({"speed":")" + std::string(op_value_bytes_max, 'x') + "\"}")["status"], 400);
  const json problem = error_of(desired, "{");
  EXPECT_EQ(problem["type"], "about:blank");
  EXPECT_NE(problem["detail"].get<std::string>().find("\"property\""), std::string::npos) << problem;
}

TEST_F(Topics, CommandsReachTheDeviceAndItsResultIsKept) {
  ASSERT_TRUE(node.wait<CommandView>([&](auto done) {
                    commands->issue({"pump", "start", R"({"ramp":1.50})", "office", "c1", 1h}, std::move(done));
                  })
                  .ok());
  node.run_for(1s);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].topic, "landfall/pump/command");
  EXPECT_FALSE(sent[0].retain);
  EXPECT_EQ(sent[0].qos, 1);
  const json command = json::parse(sent[0].payload);
  EXPECT_EQ(command["id"], "c1");
  EXPECT_EQ(command["name"], "start");
  EXPECT_EQ(command["arguments"]["ramp"], 1.5);
  EXPECT_TRUE(command["expires"].get<std::string>().ends_with("Z"));
  EXPECT_EQ(error_of("landfall/pump/command/c1/result", R"({"succeeded":"yes"})")["status"], 400);
  EXPECT_EQ(error_of("landfall/pump/command/c2/result", R"({"succeeded":true})")["status"], 404);
  EXPECT_EQ(error_of("landfall/other/command/c1/result", R"({"succeeded":true})")["status"], 404)
      << "another device does not speak for it";
  publish("landfall/pump/command/c1/result", R"({"succeeded":true,"result":{"rpm":1}})");
  EXPECT_EQ(commands->view("c1")->state, CommandView::State::succeeded);
  EXPECT_EQ(commands->view("c1")->result, R"({"rpm":1})");
  EXPECT_TRUE(publish("landfall/pump/command/c1/result", R"({"succeeded":false})").empty());
  EXPECT_EQ(commands->view("c1")->state, CommandView::State::succeeded);
}

TEST_F(Topics, AlarmMessagesRaiseAndClear) {
  publish("landfall/pump/alarm/bilge", R"({"active":true,"severity":"critical","text":"water"})");
  EXPECT_TRUE(alarms.view("pump", "bilge")->active);
  EXPECT_EQ(alarms.view("pump", "bilge")->severity, "critical");
  publish("landfall/pump/alarm/bilge", R"({"active":false})");
  EXPECT_FALSE(alarms.view("pump", "bilge")->active);
  EXPECT_EQ(error_of("landfall/pump/alarm/bilge", "water!")["status"], 400);
  EXPECT_EQ(error_of("landfall/pump/alarm/bilge", R"({"active":true,"severity":"odd"})")["status"], 400);
  EXPECT_EQ(error_of("landfall/pump/alarm/a/b", R"({"active":true})")["status"], 400);
}

TEST_F(Topics, HandleTheirOwnAndNothingElse) {
  for (const char* topic : {"landfall/d/twin/desired", "landfall/d/twin/reported", "landfall/d/twin/get",
                            "landfall/d/command/c1/result", "landfall//twin/get"}) {
    EXPECT_TRUE(DeviceTopics::handles(topic)) << topic;
    EXPECT_FALSE(DeviceTopics::handles_alarm(topic)) << topic;
  }
  for (const char* topic :
       {"", "landfall", "landfall/", "landfall/d", "landfall/d/", "landfall/d/twin", "landfall/d/twin/delta",
        "landfall/d/twin/state", "landfall/d/twin/error", "landfall/d/command", "landfall/d/command/c1",
        "landfall/d/command//result", "landfall/d/command/result", "landfall/d/command/a/b/result",
        "landfall/d/telemetry/x", "other/d/twin/get", "$hw/events/device/d/twin/get", "landfall/d/alarm/x"}) {
    EXPECT_FALSE(DeviceTopics::handles(topic)) << topic;
  }
  EXPECT_TRUE(DeviceTopics::handles_alarm("landfall/d/alarm/x"));
}

TEST_F(Topics, TellAnAlarmFromAnEventOnTheSameTopic) {
  for (const char* payload : {R"({"active":true})", R"( {"text":"x", "active" : false})", R"({"active":"yes"})"})
    EXPECT_TRUE(DeviceTopics::is_alarm("landfall/ns%2Fd/alarm/x", payload)) << payload;
  for (const char* payload : {"", "water", R"("active")", R"(["active"])", R"({"active":true)", R"({"state":"active"})",
                              R"({"in":{"active":true}})"})
    EXPECT_FALSE(DeviceTopics::is_alarm("landfall/d/alarm/x", payload)) << payload;
  for (const char* topic : {"landfall/d/alarm/a/b", "landfall/d/alarm/", "landfall/a b/alarm/x",
                            "landfall/d/twin/desired", "$hw/events/device/d/alarm/x"})
    EXPECT_FALSE(DeviceTopics::is_alarm(topic, R"({"active":true})")) << topic;
}

TEST_F(Topics, WhatIsRetainedIsSentAgainToABrokerThatForgotIt) {
  publish("landfall/pump/twin/desired", R"({"speed":30})");
  add("elsewhere", "speed", "int");
  add("idle", "speed", "int");
  // Another process of the node: nothing is known of what was sent.
  begin();
  retained.clear();
  sent.clear();
  topics->publish_all();
  EXPECT_EQ(retained["landfall/pump/twin/desired"], R"({"speed":30})");
  EXPECT_EQ(retained["landfall/pump/twin/delta"], R"({"speed":30})");
  EXPECT_EQ(retained.at("landfall/idle/twin/delta"), "") << "what an earlier process left there is gone";
  EXPECT_FALSE(retained.contains("landfall/elsewhere/twin/delta")) << "another node runs it";
}

TEST_F(Topics, NothingIsLeftOfADeviceThatWasHandedOver) {
  publish("landfall/pump/twin/desired", R"({"speed":30})");
  elsewhere = "pump";
  EXPECT_EQ(publish("landfall/pump/twin/desired", R"({"speed":31})").size(), 2u);
  EXPECT_EQ(retained["landfall/pump/twin/desired"], "");
  EXPECT_EQ(retained["landfall/pump/twin/delta"], "");
  EXPECT_TRUE(publish("landfall/pump/twin/desired", R"({"speed":32})").empty());
}

TEST_F(Topics, ChangesFromElsewhereReachTheDevice) {
  StateNode hub(schedule, 2);
  Twins ashore(*hub.objects, Layer::cloud);
  exchange(node, hub);
  sent.clear();
  Twins::Desire desire;
  desire.device = "pump";
  desire.values["speed"] = "77";
  ASSERT_TRUE(hub.wait([&](OnWritten done) { ashore.set_desired(std::move(desire), std::move(done)); }).ok());
  exchange(node, hub);
  EXPECT_EQ(retained["landfall/pump/twin/delta"], R"({"speed":77})");
}

}  // namespace
}  // namespace landfall
