// Which topics are captured and as what, the form of a captured message, and the window of names.

#include <gtest/gtest.h>

#include <random>

#include "edgeruntime/mqtt/capture.h"
#include "edgeruntime/mqtt/dedupe_window.h"
#include "schemas/text.h"

namespace landfall {
namespace {

TEST(Topics, MatchAsMqttSays) {
  for (const auto& [filter, topic, matches] :
       std::initializer_list<std::tuple<const char*, const char*, bool>>{{"a/b", "a/b", true},
                                                                         {"a/b", "a/c", false},
                                                                         {"a/+", "a/b", true},
                                                                         {"a/+", "a/b/c", false},
                                                                         {"a/#", "a", true},
                                                                         {"a/#", "a/b/c", true},
                                                                         {"#", "a/b", true},
                                                                         {"#", "$SYS/x", false},
                                                                         {"+/x", "$SYS/x", false},
                                                                         {"$hw/#", "$hw/e", true},
                                                                         {"+", "/a", false},
                                                                         {"+/+", "/a", true},
                                                                         {"/+", "/a", true},
                                                                         {"a/+/c", "a//c", true},
                                                                         {"a", "a/", false},
                                                                         {"a/+", "a/", true},
                                                                         {"a/#", "ab", false},
                                                                         {"+/b/#", "a/b", true}}) {
    EXPECT_EQ(topic_matches(filter, topic), matches) << filter << " and " << topic;
  }
  for (const char* bad : {"", "a/#/b", "a#", "a+/b", "#/a", "a\x01"}) EXPECT_FALSE(is_topic_filter(bad)) << bad;
}

TEST(Capture, GivesAlarmsAndTelemetryTheirStreams) {
  const auto rules = *capture_rules({"landfall/+/telemetry/#", "landfall/+/alarm/#", "plant/#", "#"},
                                    {{"landfall/pump/telemetry/#", "power"}});
  const auto* alarm = find_rule(rules, "landfall/d/alarm/x");
  ASSERT_NE(alarm, nullptr);
  EXPECT_EQ(alarm->stream, Stream::alarm);
  EXPECT_EQ(alarm->durability, Durability::power);
  EXPECT_EQ(find_rule(rules, "landfall/d/telemetry/x")->durability, Durability::process);
  EXPECT_EQ(find_rule(rules, "landfall/pump/telemetry/x")->durability, Durability::power);
  EXPECT_EQ(find_rule(rules, "plant/a")->kind, Kind::message);
  EXPECT_EQ(find_rule(rules, "$SYS/broker/uptime"), nullptr);
  for (const auto& rule : rules) EXPECT_EQ(to_string(*parse_capture_rule(to_string(rule))), to_string(rule));
  EXPECT_FALSE(capture_rules({"a#"}, {}).ok());
  EXPECT_FALSE(capture_rules({"a"}, {{"b", "power"}}).ok());
  EXPECT_FALSE(capture_rules({"a"}, {{"a", "maybe"}}).ok());
}

TEST(Capture, RequestsComeBeforeAWideFilterOfTheList) {
  const auto rules = *capture_rules(
      {"#", "landfall/#"},
      {{"landfall/#", "power"}, {"landfall/+/twin/get", "power"}, {"landfall/pump/twin/desired", "power"}});
  for (const char* topic :
       {"$hw/events/device/a/twin/update", "$hw/events/device/n/a/twin/update", "$hw/events/device/a/twin/get",
        "$hw/events/device/n/a/twin/cloud_updated", "$hw/events/device/a/state/update",
        "$hw/events/node/n/membership/get", "landfall/a/twin/desired", "landfall/a/twin/reported",
        "landfall/a/twin/get", "landfall/a/command/1/result"}) {
    ASSERT_NE(find_rule(rules, topic), nullptr) << topic;
    EXPECT_EQ(find_rule(rules, topic)->outcome, Outcome::request) << topic;
  }
  for (const char* topic : {"landfall/a/twin/delta", "landfall/a/command/1", "landfall/a/alarm/x"}) {
    EXPECT_EQ(find_rule(rules, topic)->outcome, Outcome::event) << topic;
  }
  for (const char* topic : {"$hw/events/device/a/twin/update/delta", "$hw/events/onvif/resource/get", "$hw/x"}) {
    EXPECT_EQ(find_rule(rules, topic), nullptr) << topic;
  }
  EXPECT_EQ(find_rule(rules, "landfall/a/twin/get")->durability, Durability::power);
  EXPECT_EQ(find_rule(rules, "landfall/pump/twin/desired")->durability, Durability::power);
  EXPECT_EQ(find_rule(rules, "landfall/a/twin/desired")->durability, Durability::process);
  for (const auto& rule : rules) EXPECT_EQ(*parse_capture_rule(to_string(rule)), rule);
}

TEST(DeviceTopics, NameTheDeviceInEachForm) {
  using Form = DeviceTopic::Form;
  struct Case {
    std::string topic;
    Form form;
    std::string device, rest;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"landfall/pump/twin/get", Form::landfall, "pump", "twin/get"},
           {"landfall/plant%2Fpump/twin/delta", Form::landfall, "plant/pump", "twin/delta"},
           {"landfall/50%25/x", Form::landfall, "50%", "x"},
           {"$hw/events/device/pump/twin/update", Form::one_level, "pump", "twin/update"},
           {"$hw/events/device/plant/pump/twin/update/delta", Form::two_levels, "plant/pump", "twin/update/delta"},
           {"$hw/events/device/plant/twin/twin/get", Form::two_levels, "plant/twin", "twin/get"}}) {
    const auto parsed = parse_device_topic(c.topic);
    ASSERT_TRUE(parsed.has_value()) << c.topic;
    EXPECT_EQ(parsed->form, c.form) << c.topic;
    EXPECT_EQ(parsed->device, c.device) << c.topic;
    EXPECT_EQ(parsed->rest, c.rest) << c.topic;
    EXPECT_EQ(device_topic(c.form, c.device, c.rest), c.topic);
  }
  // The namespace default is not said.
  EXPECT_EQ(parse_device_topic("$hw/events/device/default/pump/twin/get")->device, "pump");
  EXPECT_EQ(parse_device_topic("landfall/default%2Fpump/x")->device, "pump");
  EXPECT_EQ(device_topic(Form::two_levels, "pump", "twin/get"), "$hw/events/device/default/pump/twin/get");
  // What does not decode is a name as it is.
  for (const char* name : {"a%", "a%2", "a%zz", "a%00b", "a%ff"})
    EXPECT_EQ(parse_device_topic("landfall/" + std::string(name) + "/x")->device, name);
  for (const char* topic : {"plant/a", "$hw/events/device/pump", "$hw/events/device//twin/get", "$hw/events/node/n/x",
                            "landfall//x", "$hw/events/device/a/b/c/twin/get"})
    EXPECT_FALSE(parse_device_topic(topic).has_value()) << topic;
}

TEST(DeviceTopics, NoTopicBreaksTheParserAndWhatItNamesIsFoundAgain) {
  constexpr std::string_view parts[] = {"landfall", "$hw", "$ke", "events", "device", "/",    "%2F",  "%", "default",
                                        "a",        "+",   "#",   "twin",   "update", "data", "\x80", "",  "state"};
  std::mt19937 random(8);
  for (int i = 0; i < 50'000; ++i) {
    std::string topic = random() % 3 == 0 ? "landfall/" : random() % 2 == 0 ? "$hw/events/device/" : "";
    for (unsigned n = random() % 8; n > 0; --n) (topic += parts[random() % std::size(parts)]) += n % 2 == 0 ? "/" : "";
    const auto parsed = parse_device_topic(topic);
    if (!parsed || topic.starts_with("$ke") || !is_clean_text(topic)) continue;
    const auto made = device_topic(parsed->form, parsed->device, parsed->rest);
    const auto again = parse_device_topic(made);
    ASSERT_TRUE(again.has_value()) << topic;
    EXPECT_EQ(again->device, parsed->device) << topic;
    EXPECT_EQ(again->rest, parsed->rest) << topic;
  }
}

TEST(Capture, MessageComesBackAndNoBytesBreakTheDecoder) {
  CapturedMessage message;
  message.stream = Stream::alarm;
  message.kind = Kind::alarm;
  message.qos = 2;
  message.retained = true;
  message.topic = "landfall/d/alarm/x";
  message.client = "c";
  message.content_type = "text/plain";
  message.source = "//s";
  message.id = "1";
  message.payload = std::string_view("\0pay", 4);
  CapturedHead head;
  std::string bytes;
  for (const auto part : encode_captured(message, head)) bytes += part;
  const auto back = *decode_captured(bytes);
  EXPECT_EQ(back.topic, message.topic);
  EXPECT_EQ(back.id, message.id);
  EXPECT_EQ(back.payload, message.payload);
  EXPECT_EQ(back.retained, true);
  EXPECT_EQ(parse_device_topic(back.topic)->device, "d");
  CapturedMessage request = message;
  request.outcome = Outcome::request;
  request.user = "operator";
  request.subscriptions = 3;
  const std::string long_client(300, 'c');
  request.client = long_client;
  std::string request_bytes;
  for (const auto part : encode_captured(request, head)) request_bytes += part;
  const auto asked = *decode_captured(request_bytes);
  EXPECT_EQ(asked.outcome, Outcome::request);
  EXPECT_EQ(asked.user, "operator");
  EXPECT_EQ(asked.client, long_client) << "who asks is answered by his whole name";
  EXPECT_EQ(asked.subscriptions, 3);
  std::mt19937 random(3);
  for (int i = 0; i < 20'000; ++i) {
    std::string hostile = bytes.substr(0, random() % (bytes.size() + 1));
    for (int n = 0; n < 3 && !hostile.empty(); ++n) hostile[random() % hostile.size()] = static_cast<char>(random());
    (void)decode_captured(hostile);
  }
}

TEST(Capture, RefusesWhatCannotBeAnEvent) {
  CapturedMessage message;
  message.topic = "a";
  EXPECT_TRUE(is_storable(message));
  message.topic = "a\nb";
  EXPECT_FALSE(is_storable(message));
  message.topic = "a\xff";
  EXPECT_FALSE(is_storable(message));
  message.topic = "a";
  const std::string long_id(4096, 'x');
  message.id = long_id;
  EXPECT_FALSE(is_storable(message));
}

// Held against a plain list of the newest names.
TEST(DedupeWindow, KnowsTheNewestNamesAndForgetsTheOldestFirst) {
  constexpr std::size_t size = 64;
  DedupeWindow window({1, 2}, size);
  std::vector<std::string> newest;
  std::mt19937 random(4);
  for (int i = 0; i < 50'000; ++i) {
    const std::string id = std::to_string(random() % 200);
    const bool known = std::find(newest.begin(), newest.end(), id) != newest.end();
    ASSERT_EQ(window.add("//s", id), !known) << "step " << i;
    if (known) continue;
    newest.push_back(id);
    if (newest.size() > size) newest.erase(newest.begin());
  }
  EXPECT_EQ(window.size(), size);
  EXPECT_TRUE(window.add("//sx", "1") && window.add("//s", "x1")) << "source and id are two things";
}

}  // namespace
}  // namespace landfall
