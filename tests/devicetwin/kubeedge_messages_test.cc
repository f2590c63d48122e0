// Property: bodies of KubeEdge's contract are read as its Go programs read them and written as they write them.
#include "devicetwin/kubeedge_messages.h"

#include <gtest/gtest.h>

#include "devicetwin/twin_json.h"

namespace landfall::kubeedge {
namespace {

const std::string unmarshal = "Unmarshal update request body failed, please check the request";

std::string reason_of(const std::string& payload) {
  std::string event_id;
  const auto update = read_update(payload, event_id);
  return update ? "" : update.error().detail;
}
std::string with_value(const std::string& value) { return R"({"twin":{"p":{"actual":{"value":")" + value + R"("}}}})"; }

TEST(KubeEdgeMessages, UpdatesAreReadAsGoReadsThem) {
  std::string event_id = "x";
  const auto update = read_update(
      R"({"EVENT_ID":"e1","timestamp":1767225600123,"new":[1],"twin":{
          "a":{"expected":{"value":"ON","metadata":{"timestamp":1}},"actual":{"Value":"OFF"},"optional":false,
               "metadata":{"type":"string","more":true},"expected_version":{"cloud":1,"edge":0}},
          "gone":null,"empty":{},"bare":{"expected":{},"actual":null,"metadata":null}}})",
      event_id);
  ASSERT_TRUE(update.ok()) << update.error().detail;
  EXPECT_EQ(event_id, "e1");
  ASSERT_EQ(update->twin.size(), 4u);
  const auto& a = *update->twin.at("a");
  EXPECT_EQ(a.expected, "ON");
  EXPECT_EQ(a.actual, "OFF");
  EXPECT_EQ(a.optional, false);
  EXPECT_EQ(a.type, "string");
  EXPECT_FALSE(update->twin.at("gone"));
  for (const auto* name : {"empty", "bare"}) {
    const auto& change = *update->twin.at(name);
    EXPECT_FALSE(change.expected || change.actual || change.optional || change.type) << name;
  }
}

TEST(KubeEdgeMessages, WrongUpdatesAreRefusedWithKubeEdgesReason) {
  const std::string key = "The key of twin must only include", value = "The value of twin must only include";
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"", unmarshal},
      {"{", unmarshal},
      {"[]", unmarshal},
      {"null", unmarshal},
      {R"({"twin":{}} x)", unmarshal},
      {R"({"twin":[]})", unmarshal},
      {R"({"twin":{"p":1}})", unmarshal},
      {R"({"twin":{"p":{"actual":{"value":1}}}})", unmarshal},
      {R"({"twin":{"p":{"actual":{"value":true}}}})", unmarshal},
      {R"({"twin":{"p":{"actual":"1"}}})", unmarshal},
      {R"({"twin":{"p":{"actual":{"metadata":{"timestamp":"1"}}}}})", unmarshal},
      {R"({"twin":{"p":{"optional":"true"}}})", unmarshal},
      {R"({"twin":{"p":{"metadata":{"type":1}}}})", unmarshal},
      {R"({"twin":{"p":{"expected_version":{"cloud":1.5}}}})", unmarshal},
      {R"({"event_id":1,"twin":{}})", unmarshal},
      {R"({"timestamp":1.5,"twin":{}})", unmarshal},
      {"{\"twin\":{\"p\xff\":{}}}", unmarshal},
      {R"({"event_id":"x"})", "Update twin error, key:twin does not exist"},
      {R"({"twin":null})", "Update twin error, key:twin does not exist"},
      {R"({"twin":{"":{}}})", key},
      {R"({"twin":{"a b":{}}})", key},
      {R"({"twin":{")" + std::string(129, 'k') + R"(":{}}})", key},
      {with_value("a b"), value},
      {with_value("+1"), value},
      {with_value("100%"), value},
      {with_value("\xc3\xa9"), value},
      {with_value(std::string(513, 'v')), value},
  };
  for (const auto& [payload, reason] : rows) EXPECT_EQ(reason_of(payload).substr(0, reason.size()), reason) << payload;
  for (const auto& good : {std::string(R"({"twin":{}})"), with_value(""), with_value("a-Z_0.,:/@#"),
                           with_value(std::string(512, 'v')), R"({"twin":{")" + std::string(128, 'k') + R"(":{}}})"})
    EXPECT_EQ(reason_of(good), "") << good;
}

TEST(KubeEdgeMessages, AnEventIdIsReadBeforeWhatIsWrong) {
  std::string event_id;
  EXPECT_FALSE(read_update(R"({"event_id":"e7","twin":{"p":{"actual":{"value":1}}}})", event_id));
  EXPECT_EQ(event_id, "e7");
}

TEST(KubeEdgeMessages, UpdatesOverALimitAreRefused) {
  std::string many = R"({"twin":{)";
  for (int i = 0; i < 1001; ++i) many += (i ? ",\"p" : "\"p") + std::to_string(i) + "\":{}";
  EXPECT_EQ(reason_of(many + "}}"), "More than 1000 properties");
  EXPECT_EQ(reason_of(R"({"twin":{},"x":")" + std::string(128 << 10, 'x') + "\"}"), unmarshal);
  EXPECT_EQ(reason_of(R"({"twin":{},"x":)" + std::string(1000, '[') + std::string(1000, ']') + "}"), unmarshal);
}

TEST(KubeEdgeMessages, StatesAreThoseOfAllVersionsInAnyCase) {
  for (const std::string state : {"online", "offline", "OK", "ok", "unknown", "UNKNOWN", "unhealthy", "UNHEALTHY",
                                  "disconnected", "DISCONNECTED", "ERROR", "Online"}) {
    const auto read = read_state(R"({"event_id":"","timestamp":0,"state":")" + state + R"("})");
    ASSERT_TRUE(read.ok()) << state;
    EXPECT_EQ(*read, state);
  }
  for (const std::string body : {R"({"state":"away"})", R"({"state":""})", R"({"state":1})", "{}", "x"})
    EXPECT_FALSE(read_state(body)) << body;
  EXPECT_TRUE(is_online("OK") && is_online("online"));
  EXPECT_FALSE(is_online("offline") || is_online("unknown") || is_online("ERROR"));
}

TEST(KubeEdgeMessages, ValuesKeepTheirText) {
  struct Row {
    std::string type, value, json;
  };
  const std::vector<Row> rows = {
      {"string", "30", "\"30\""},
      {"float", "23.5", "23.5"},
      {"float", "23.50", "23.50"},
      {"float", "1e3", "1e3"},
      {"double", "-0.0", "-0.0"},
      {"int", "30", "30"},
      {"int", "-7", "-7"},
      {"int", "007", "\"007\""},
      {"float", ".5", "\".5\""},
      {"float", "5.", "\"5.\""},
      {"boolean", "true", "true"},
      {"boolean", "1", "\"1\""},
      {"string", "true", "\"true\""},
      {"int", "", "\"\""},
      {"bytes", "0x1f", "\"0x1f\""},
      {"int", "9223372036854775807", "9223372036854775807"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(json_of(row.type, row.value), row.json) << row.type << " " << row.value;
    EXPECT_EQ(plain_text(json_of(row.type, row.value)), row.value) << row.type << " " << row.value;
  }
}

TEST(KubeEdgeMessages, TypesDecideWhatAValueMayBe) {
  struct Row {
    std::string type, value, reason;
  };
  const std::vector<Row> rows = {
      {"string", "", ""},
      {"string", "ON", ""},
      {"int", "12", ""},
      {"integer", "-12", ""},
      {"int", "12.5", "the value is not int or integer"},
      {"int", "", "the value is not int or integer"},
      {"int", "9223372036854775808", "the value is not int or integer"},
      {"int", "abc", "the value is not int or integer"},
      {"float", "12.5", ""},
      {"double", "-1e3", ""},
      {"float", "", "the value is not float"},
      {"float", "1,5", "the value is not float"},
      {"boolean", "true", ""},
      {"boolean", "True", "the bool value must be true or false"},
      {"bytes", "00ff", ""},
  };
  for (const auto& row : rows) {
    PropertyDefinition definition;
    definition.type = row.type;
    EXPECT_EQ(refuse_value(definition, row.value).value_or(""), row.reason) << row.type << " " << row.value;
  }
  for (const auto* type : {"string", "int", "integer", "float", "double", "boolean", "bytes", "stream"})
    EXPECT_FALSE(refuse_type(type)) << type;
  for (const auto* type : {"Updated", "INT", "deleted", "number"})
    EXPECT_EQ(refuse_type(type), "the value type is not allowed") << type;
}

Property of(std::optional<Value> expected, std::optional<Value> actual) {
  return {std::move(expected), std::move(actual), false, "float"};
}

// The examples of the contract, to the letter.
TEST(KubeEdgeMessages, BodiesAreWrittenAsInTheContract) {
  const Value desired{"30", 1767225500000}, reported{"23.5", 1767225600129};
  const Base base{"", 1767225600129};
  EXPECT_EQ(
      write_result(base, {{"temperature", of({}, reported)}}),
      R"({"event_id":"","timestamp":1767225600129,"twin":{"temperature":{"actual":{"value":"23.5","metadata":{"timestamp":1767225600129}},"optional":false,"metadata":{"type":"float"}}}})");
  EXPECT_EQ(write_result(base, {{"scratch", {}}}),
            R"({"event_id":"","timestamp":1767225600129,"twin":{"scratch":null}})");
  EXPECT_EQ(
      write_document(base, {{"temperature", {of(desired, {}), of(desired, reported)}}}),
      R"({"event_id":"","timestamp":1767225600129,"twin":{"temperature":{"last":{"expected":{"value":"30","metadata":{"timestamp":1767225500000}},"optional":false,"metadata":{"type":"float"}},"current":{"expected":{"value":"30","metadata":{"timestamp":1767225500000}},"actual":{"value":"23.5","metadata":{"timestamp":1767225600129}},"optional":false,"metadata":{"type":"float"}}}}})");
  EXPECT_EQ(
      write_delta({"4c0a6f0e-6f0b-4a57-9d57-0c9a4e9d3b11", 1767225600131}, {{"temperature", of(desired, reported)}}),
      R"({"event_id":"4c0a6f0e-6f0b-4a57-9d57-0c9a4e9d3b11","timestamp":1767225600131,"twin":{"temperature":{"expected":{"value":"30","metadata":{"timestamp":1767225500000}},"actual":{"value":"23.5","metadata":{"timestamp":1767225600129}},"optional":false,"metadata":{"type":"float"}}},"delta":{"temperature":"30"}})");
  EXPECT_EQ(write_error({"app-18", 1767225602000}, 400, "the value is not int or integer"),
            R"({"event_id":"app-18","timestamp":1767225602000,"code":400,"reason":"the value is not int or integer"})");

  DeviceEntry counter{"counter", "counter", "online", 1767225603123, {}, {}};
  EXPECT_EQ(
      write_state({"0d5be3f5", 1767225603000}, counter),
      R"({"event_id":"0d5be3f5","timestamp":1767225603000,"device":{"name":"counter","state":"online","lastOnlineTime":"2026-01-01T00:00:03Z"}})");
  EXPECT_EQ(
      write_devices({"q1", 1767225604000}, {counter}),
      R"({"event_id":"q1","timestamp":1767225604000,"devices":[{"id":"counter","name":"counter","description":"counter","state":"online","last_online":"2026-01-01T00:00:03Z"}]})");
  EXPECT_EQ(write_devices({"q1", 1767225604000}, {}), R"({"event_id":"q1","timestamp":1767225604000,"devices":[]})");
  counter = {"plant/counter", "counter", "", 0, {}, {}};
  EXPECT_EQ(
      write_membership({"77f5", 1767225605000}, counter, true),
      R"({"event_id":"77f5","timestamp":1767225605000,"added_devices":[{"id":"plant/counter","name":"counter","description":"counter"}],"removed_devices":null})");
  EXPECT_EQ(
      write_membership({"77f5", 1767225605000}, {"counter", "", "", 0, {}, {}}, false),
      R"({"event_id":"77f5","timestamp":1767225605000,"added_devices":null,"removed_devices":[{"id":"counter","name":"counter"}]})");
  EXPECT_EQ(
      write_attributes({"a", 1}, {{"place", "\"deck 2\""}, {"rack", "7"}, {"old", std::nullopt}}),
      R"({"event_id":"a","timestamp":1,"attributes":{"old":null,"place":{"value":"deck 2","metadata":{"type":"string"}},"rack":{"value":"7","metadata":{"type":"int"}}}})");
}

TEST(KubeEdgeMessages, DeltasListTheWholeDeviceAndCompareText) {
  const Value one{"1", 5}, one_point{"1.0", 6}, none{"", 7};
  EXPECT_EQ(write_delta({"", 1}, {{"a", of(one, one)}}), "");
  EXPECT_EQ(write_delta({"", 1}, {{"a", of({}, one)}}), "");
  EXPECT_EQ(write_delta({"", 1}, {{"a", of(none, one)}}), "");
  const auto delta = write_delta({"", 1}, {{"a", of(one, one_point)}, {"b", of(one, one)}, {"c", of({}, one)}});
  EXPECT_TRUE(delta.ends_with(R"("delta":{"a":"1"}})")) << delta;
  EXPECT_NE(delta.find("\"b\":{\"expected\""), std::string::npos) << delta;
  EXPECT_EQ(delta.find("\"c\""), std::string::npos) << delta;
}

}  // namespace
}  // namespace landfall::kubeedge
