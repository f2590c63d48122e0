#pragma once

#include <memory>
#include <string>
#include <utility>

#include "devicetwin/devices.h"
#include "devicetwin/twins.h"
#include "tests/devicetwin/state_node.h"

namespace landfall::test {

// A hub or an edge with its twins, on real log and simulated seams.
class Side {
 public:
  Side(sim::Schedule& schedule, std::uint8_t number, Layer layer)
      : node(schedule, number), twins(*node.objects, layer), devices(*node.objects) {}

  Result<Written> desire(Twins::Desire desire) {
    return node.wait([&](OnWritten done) { twins.set_desired(std::move(desire), std::move(done)); });
  }
  Result<Written> desire(const std::string& property, std::optional<std::string> json, const std::string& actor = "") {
    Twins::Desire made{};
    made.device = "pump";
    made.values[property] = std::move(json);
    made.actor = actor;
    return desire(std::move(made));
  }
  Result<Written> release(const std::string& property, std::optional<Dot> dot = {}) {
    return node.wait([&](OnWritten done) { twins.release("pump", property, dot, "someone", std::move(done)); });
  }
  Result<Written> restore(const std::string& property, std::optional<Dot> dot = {}) {
    return node.wait([&](OnWritten done) { twins.restore("pump", property, dot, "someone", std::move(done)); });
  }
  Result<Written> report(Twins::Report report) {
    report.device = "pump";
    return node.wait([&](OnWritten done) { twins.report(std::move(report), std::move(done)); });
  }
  Result<Written> report(const std::string& property, Twins::Reported said) {
    Twins::Report report{};
    report.values[property] = std::move(said);
    return this->report(std::move(report));
  }
  Result<Written> describe(Twins::Describe describe) {
    describe.device = "pump";
    return node.wait([&](OnWritten done) { twins.describe(std::move(describe), std::move(done)); });
  }
  Result<Written> put(DeviceRecord record, std::map<std::string, PropertyDefinition> properties = {},
                      std::optional<std::string> if_match = {}) {
    if (record.device.empty()) record.device = "pump";
    return node.wait([&](OnWritten done) {
      devices.put(std::move(record), std::move(properties), "office", std::move(if_match), std::move(done));
    });
  }
  Result<Written> put(const std::string& property, const PropertyDefinition& definition) {
    return put(DeviceRecord{}, {{property, definition}});
  }
  Result<Written> remove() {
    return node.wait([&](OnWritten done) { devices.remove("pump", "office", std::move(done)); });
  }
  Result<Written> hand_over(const std::string& to) {
    return node.wait([&](OnWritten done) { devices.hand_over("pump", to, "office", std::move(done)); });
  }

  TwinView view() const {
    auto view = twins.view("pump");
    EXPECT_TRUE(view.ok());
    return view ? std::move(*view) : TwinView{};
  }
  PropertyView view(const std::string& property) const { return view().properties.at(property); }
  // The effective value, or "-".
  std::string effective(const std::string& property) const {
    const auto seen = view(property);
    return seen.desired ? seen.desired->value : "-";
  }
  std::string json() const { return twin_json(view()); }
  std::uint64_t events(Stream stream) const { return node.log->received().base({node.log->run(), stream}); }

  StateNode node;
  Twins twins;
  Devices devices;
};

inline void exchange(Side& a, Side& b) { exchange(a.node, b.node); }

}  // namespace landfall::test
