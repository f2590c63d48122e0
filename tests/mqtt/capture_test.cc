// Which topics are captured and as what, the form of a captured message, and the window of names.

#include <gtest/gtest.h>

#include <random>

#include "edgeruntime/mqtt/capture.h"
#include "edgeruntime/mqtt/dedupe_window.h"

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
