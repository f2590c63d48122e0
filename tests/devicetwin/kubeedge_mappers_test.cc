// Property: the clients that KubeEdge publishes work with what they send and read, byte for byte as their sources have it
// (examples 764305f9, mappers-go 85fb6d1d).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/devicetwin/kubeedge_bench.h"

namespace landfall::test {
namespace {

using Json = nlohmann::json;

// What an unguarded reader reaches for; fails the test where it would have ended.
Json reach(const std::string& body, const std::vector<std::string>& path) {
  // Times are masked in what the bench collects.
  Json at = Json::parse(std::regex_replace(body, std::regex("\"timestamp\":T"), "\"timestamp\":1"), nullptr, false);
  for (const auto& key : path) {
    if (!at.is_object() || !at.contains(key)) {
      ADD_FAILURE() << "no " << key << " in " << body;
      return {};
    }
    at = at[key];
  }
  return at;
}

class KubeEdgeMappers : public KubeEdgeBench {};

// kubeedge-counter-demo: subscribes to documents only, reports with type "Updated", reads twin.status.current.expected.value
// of every document.
TEST_F(KubeEdgeMappers, CounterDemo) {
  add("counter", {{"status", property("string")}, {"limit", property("int")}});
  desire("counter", "limit", "5");
  const auto read = [](const AllSent& all) {
    std::vector<std::string> values;
    for (const auto& document : ending(all, "/device/counter/twin/update/document"))
      values.push_back(reach(document.body, {"twin", "status", "current", "expected", "value"}).get<std::string>());
    return values;
  };
  (void)heard();
  EXPECT_EQ(read(subscribe(topic("counter", "twin/update/document"))), std::vector<std::string>{});
  desire("counter", "status", "\"ON\"");
  EXPECT_EQ(read(heard()), std::vector<std::string>{"ON"});
  const std::string report =
      R"({"event_id":"","timestamp":0,"twin":{"status":{"actual":{"value":"1"},"metadata":{"type":"Updated"}}}})";
  const auto all = publish(topic("counter", "twin/update"), report, "eventbus");
  EXPECT_EQ(read(all), std::vector<std::string>{"ON"});
  EXPECT_EQ(reach(ending(all, "/counter/twin/update/result").at(0).body, {"twin", "status", "actual", "value"}), "1");
  // What others do to other properties of its device kills it under KubeEdge.
  EXPECT_EQ(read(publish(topic("counter", "twin/update"), R"({"twin":{"limit":{"actual":{"value":"5"}}}})")),
            std::vector<std::string>{"ON"});
  EXPECT_EQ(read(publish(topic("counter", "twin/update"), R"({"twin":{"extra":{"actual":{"value":"x"}}}})")),
            std::vector<std::string>{"ON"});
  EXPECT_EQ(read(publish(topic("counter", "twin/update"), R"({"twin":{"extra":null}})")),
            std::vector<std::string>{"ON"});
  EXPECT_EQ(read(publish(topic("counter", "twin/update"), R"({"twin":{"nosuch":null}})")), std::vector<std::string>{});
  // Restarted, it hears what was desired meanwhile.
  desire("counter", "status", "\"OFF\"");
  (void)heard();
  EXPECT_EQ(read(subscribe(topic("counter", "twin/update/document"))), std::vector<std::string>{"OFF"});
}

// led-raspberrypi: client id "eventbus"; state, then twin/get with a whole twin in the body each second until expected and
// actual are there and equal.
TEST_F(KubeEdgeMappers, LedRaspberryPi) {
  add("led-light-instance-01", {{"power-status", property("string")}});
  desire("led-light-instance-01", "power-status", "\"ON\"");
  const std::string id = "led-light-instance-01";
  EXPECT_EQ(publish(topic(id, "state/update"), R"({"event_id":"","timestamp":0,"state":"online"})", "eventbus").size(),
            1u);
  const std::string twin =
      R"({"event_id":"","timestamp":0,"twin":{"power-status":{"actual":{"value":"unknown","metadata":{"timestamp":0}},"metadata":{"type":"Updated"}}}})";
  const auto all = publish(topic(id, "twin/update"), twin, "eventbus");
  EXPECT_EQ(ending(all, id + "/twin/update/result").size(), 1u);
  const auto got = publish(topic(id, "twin/get"), twin, "eventbus");
  EXPECT_EQ(reach(got.at(0).body, {"twin", "power-status", "expected", "value"}), "ON");
  EXPECT_EQ(reach(got.at(0).body, {"twin", "power-status", "actual", "value"}), "unknown");
}

// traffic-light: subscribes to deltas and reads the expected values of its three properties, whichever differ.
TEST_F(KubeEdgeMappers, TrafficLight) {
  const std::vector<std::string> lights = {"red-wait", "yellow-wait", "green-wait"};
  add("traffic-light-instance-01",
      {{"red-wait", property("string")}, {"yellow-wait", property("string")}, {"green-wait", property("string")}});
  for (const auto& light : lights) desire("traffic-light-instance-01", light, "\"3\"");
  (void)publish(
      topic("traffic-light-instance-01", "twin/update"),
      R"({"event_id":"","timestamp":1,"twin":{"red-wait":{"actual":{"value":"3"},"metadata":{"type":"Updated"}}}})");
  const auto deltas = subscribe(topic("traffic-light-instance-01", "twin/update/delta"), "zhangjie-test");
  ASSERT_EQ(deltas.size(), 1u);
  for (const auto& light : lights) EXPECT_EQ(reach(deltas[0].body, {"twin", light, "expected", "value"}), "3");
  EXPECT_FALSE(reach(deltas[0].body, {"delta"}).contains("red-wait"));
}

// ke-twitter: the page that sets the value writes it as the cloud would, without a link.
TEST_F(KubeEdgeMappers, TwitterOffline) {
  add("twitter", {{"track", property("string")}});
  desire("twitter", "track", "\"a\"");
  (void)heard();
  const auto all = publish(
      topic("twitter", "twin/cloud_updated"),
      R"({"event_id":"","timestamp":1,"twin":{"track":{"expected":{"value":"b"},"optional":false,"metadata":{"type":"string"},"expected_version":{"cloud":22022,"edge":0}}}})",
      "send-client");
  EXPECT_EQ(ending(all, "/result").size(), 0u);
  EXPECT_EQ(reach(ending(all, "/device/twitter/twin/update/document").at(0).body,
                  {"twin", "track", "current", "expected", "value"}),
            "b");
}

// temperature-demo adds its property itself, without saying of what type.
TEST_F(KubeEdgeMappers, TemperatureDemo) {
  add("temperature", {});
  const auto all = publish(
      topic("temperature", "twin/update"),
      R"({"event_id":"","timestamp":0,"twin":{"temperature-status":{"actual":{"value":"25C"},"metadata":{"type":"Updated"}}}})");
  EXPECT_EQ(reach(all.at(0).body, {"code"}), 400) << "as in KubeEdge: its Device has the property";
  add("temperature", {{"temperature-status", property("string")}});
  (void)heard();
  EXPECT_EQ(
      reach(
          publish(
              topic("temperature", "twin/update"),
              R"({"event_id":"","timestamp":0,"twin":{"temperature-status":{"actual":{"value":"25C"},"metadata":{"type":"Updated"}}}})")
              .at(0)
              .body,
          {"twin", "temperature-status", "actual", "value"}),
      "25C");
}

// mappers-go modbus, ble, opcua, onvif: every second per property a twin and a state, whatever has changed; deltas are
// their orders, read as a map of strings.
TEST_F(KubeEdgeMappers, MappersGo) {
  add("modbus", {{"temperature", property("float")}, {"switch", property("boolean")}, {"flow", property("double")}});
  desire("modbus", "switch", "true");
  desire("modbus", "temperature", "30");
  (void)heard();
  const auto orders = [](const AllSent& all) {
    std::map<std::string, std::string> last;
    for (const auto& delta : ending(all, "/device/modbus/twin/update/delta"))
      last = reach(delta.body, {"delta"}).get<std::map<std::string, std::string>>();
    return last;
  };
  using Orders = std::map<std::string, std::string>;
  EXPECT_EQ(orders(subscribe(topic("modbus", "twin/update/delta"))),
            (Orders{{"switch", "true"}, {"temperature", "30"}}));
  const auto report = [&](const std::string& name, const std::string& value, const std::string& type) {
    return publish(topic("modbus", "twin/update"),
                   R"({"event_id":"","timestamp":1767225600123,"twin":{")" + name + R"(":{"actual":{"value":")" +
                       value + R"(","metadata":{"timestamp":1767225600123}},"metadata":{"type":")" + type + R"("}}}})");
  };
  EXPECT_EQ(orders(report("temperature", "23.500000", "float")), (Orders{{"switch", "true"}, {"temperature", "30"}}));
  EXPECT_EQ(orders(report("switch", "true", "boolean")), (Orders{{"temperature", "30"}}));
  EXPECT_EQ(orders(report("flow", "1.25", "double")), (Orders{{"temperature", "30"}}));
  EXPECT_EQ(orders(report("temperature", "30", "float")), Orders{});
  for (const std::string state : {"OK", "ERROR", "DISCONNECTED", "UNHEALTHY", "UNKNOWN"}) {
    const auto echoed =
        publish(topic("modbus", "state/update"), R"({"event_id":"","timestamp":1,"state":")" + state + R"("})");
    ASSERT_EQ(echoed.size(), 1u) << state;
    EXPECT_EQ(reach(echoed[0].body, {"device", "state"}), state);
  }
  // A property nobody has defined, of a type that KubeEdge refuses.
  EXPECT_EQ(reach(report("level", "7.5", "double").at(0).body, {"twin", "level", "metadata", "type"}), "double");
}

// windows-virtual-exec: the list of devices gives it the ids for its topics, which it reads by one level.
TEST_F(KubeEdgeMappers, WindowsVirtualExec) {
  add("exec", {{"status", property("string")}, {"output", property("string")}});
  desire("exec", "status", "\"dir\"");
  const auto list = publish("$hw/events/node/edge-1/membership/get", R"({"event_id":"","timestamp":0})");
  const auto id = reach(list.at(0).body, {"devices"}).at(0).at("id").get<std::string>();
  EXPECT_EQ(id.find('/'), std::string::npos);
  EXPECT_EQ(subscribe(topic("+", "twin/update/delta")).at(0).topic, topic(id, "twin/update/delta"));
  const auto got = publish(topic(id, "twin/get"), R"({"event_id":"","timestamp":0})");
  EXPECT_EQ(got.at(0).topic, topic(id, "twin/get/result"));
  EXPECT_EQ(reach(got.at(0).body, {"twin", "status", "expected", "value"}), "dir");
  EXPECT_EQ(
      reach(publish(topic(id, "twin/update"), R"({"twin":{"output":{"actual":{"value":"two words"}}}})").at(0).body,
            {"code"}),
      400);
}

// From KubeEdge 1.17 on: two levels, and a mapper of each kind on one device.
TEST_F(KubeEdgeMappers, OldAndNewOnOneDevice) {
  add("plant/pump", {{"speed", property("int")}});
  desire("plant/pump", "speed", "7");
  (void)heard();
  const auto by_new =
      publish(topic("plant/pump", "twin/update"), R"({"event_id":"n","twin":{"speed":{"actual":{"value":"6"}}}})");
  EXPECT_EQ(ending(by_new, "/result").size(), 1u);
  EXPECT_EQ(ending(by_new, "device/plant/pump/twin/update/result").size(), 1u);
  EXPECT_EQ(ending(by_new, "device/pump/twin/update/delta").size(), 1u);
  const auto by_old =
      publish(topic("pump", "twin/update"), R"({"event_id":"o","twin":{"speed":{"actual":{"value":"5"}}}})");
  EXPECT_EQ(ending(by_old, "/result").size(), 1u);
  EXPECT_EQ(ending(by_old, "device/pump/twin/update/result").size(), 1u);
  EXPECT_EQ(ending(by_old, "device/plant/pump/twin/update/delta").size(), 1u);
}

}  // namespace
}  // namespace landfall::test
