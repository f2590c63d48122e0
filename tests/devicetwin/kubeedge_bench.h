#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "devicetwin/devices.h"
#include "devicetwin/kubeedge.h"
#include "devicetwin/twins.h"
#include "tests/devicetwin/state_node.h"

namespace landfall::test {

// What went to clients: topic and body, with every time written T and every fresh id "new".
struct Sent {
  std::string topic, body, to_client = {};
  friend bool operator==(const Sent&, const Sent&) = default;
};
inline void PrintTo(const Sent& sent, std::ostream* out) {
  *out << "\n  " << sent.topic << (sent.to_client.empty() ? "" : " to " + sent.to_client) << "\n    " << sent.body;
}
using AllSent = std::vector<Sent>;

// An edge with KubeEdge's topics over a real log on a simulated disk.
class KubeEdgeBench : public ::testing::Test {
 public:
  KubeEdgeBench() { start(); }
  ~KubeEdgeBench() override {
    kubeedge.reset();
    devices.reset();
    twins.reset();
  }

  void start() {
    kubeedge.reset();
    devices.reset();
    twins.reset();
    twins = std::make_unique<Twins>(*node.objects, Layer::edge);
    devices = std::make_unique<Devices>(*node.objects);
    KubeEdge::Options options;
    options.node_name = "edge-1";
    options.send = [this](DeviceMessage message) { take(std::move(message)); };
    options.make_event_id = [] { return std::string("new"); };
    options.runs = [](const DeviceRecord& record) { return record.node.empty() || record.node == "edge-1"; };
    kubeedge = std::make_unique<KubeEdge>(node.loop, *twins, *devices, std::move(options));
  }

  static PropertyDefinition property(std::string type, bool optional = false) {
    PropertyDefinition definition;
    definition.type = std::move(type);
    definition.optional = optional;
    return definition;
  }
  // Registers a device, before any client looks.
  void add(const std::string& device, std::map<std::string, PropertyDefinition> properties,
           const std::string& at_node = "") {
    DeviceRecord record;
    record.device = device;
    record.node = at_node;
    const auto put = node.wait([&](auto done) { devices->put(record, properties, "office", {}, done); });
    ASSERT_TRUE(put.ok()) << put.error().detail;
    settle();
  }
  // As somebody does over HTTP; JSON text.
  void desire(const std::string& device, const std::string& property, const std::string& json) {
    Twins::Desire desire;
    desire.device = device;
    desire.values[property] = json;
    desire.actor = "operator";
    const auto set = node.wait([&](auto done) { twins->set_desired(desire, done); });
    ASSERT_TRUE(set.ok()) << set.error().detail;
    settle();
  }
  // Until nothing is left to do.
  void settle() { node.run_for(std::chrono::seconds(1)); }

  // Everything that a message brings about.
  AllSent publish(const std::string& topic, const std::string& payload, const std::string& client = "mapper") {
    sent.clear();
    int done = 0;
    kubeedge->on_message(topic, client, payload, {}, [&done] { ++done; });
    settle();
    EXPECT_EQ(done, 1) << topic;
    return std::exchange(sent, {});
  }
  AllSent subscribe(const std::string& filter, const std::string& client = "mapper") {
    sent.clear();
    kubeedge->on_subscribed(client, filter);
    settle();
    return std::exchange(sent, {});
  }
  // What comes without being asked for.
  AllSent heard() {
    settle();
    return std::exchange(sent, {});
  }

  static std::string topic(const std::string& id, const std::string& suffix) {
    return "$hw/events/device/" + id + "/" + suffix;
  }
  // The answers to one form, without what goes to the other.
  static AllSent only(const AllSent& all, const std::string& id) {
    AllSent some;
    for (const auto& one : all) {
      if (one.topic.starts_with("$hw/events/device/" + id + "/twin/") ||
          one.topic.starts_with("$hw/events/device/" + id + "/state/"))
        some.push_back(one);
    }
    return some;
  }
  static AllSent ending(const AllSent& all, const std::string& suffix) {
    AllSent some;
    for (const auto& one : all) {
      if (one.topic.ends_with(suffix)) some.push_back(one);
    }
    return some;
  }

  sim::Schedule schedule{1};
  StateNode node{schedule, 1};
  std::unique_ptr<Twins> twins;
  std::unique_ptr<Devices> devices;
  std::unique_ptr<KubeEdge> kubeedge;
  AllSent sent;

 private:
  void take(DeviceMessage message) {
    EXPECT_FALSE(message.retain);
    EXPECT_EQ(message.qos, 1);
    static const std::regex time("(\"timestamp\":)[0-9]{12,}");
    static const std::regex day("\"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\"");
    auto body = std::regex_replace(message.payload, time, "$1T");
    sent.push_back({message.topic, std::regex_replace(body, day, "\"D\""), message.to_client});
  }
};

}  // namespace landfall::test
