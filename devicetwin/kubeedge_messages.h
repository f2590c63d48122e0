#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devicetwin/twin.h"
#include "schemas/result.h"

// Bodies of KubeEdge's device contract, JSON as its Go programs read and write it: private to this folder.

namespace landfall::kubeedge {

// ---- values

// KubeEdge's values are strings; ours are JSON text. To KubeEdge: the text of a JSON string, everything else as it is
// written (30 -> "30", true -> "true"). From KubeEdge: for a number's type a text that is a JSON number, for a boolean
// true or false, is stored as it is; everything else as a JSON string ("007" for an int). So every string that a mapper
// sends comes back as the same string: deltas compare strings.
std::string json_of(std::string_view type, std::string_view value);

struct Value {
  std::string value;
  std::int64_t timestamp = 0;  // of the write, by the clock of the node that took it
  friend bool operator==(const Value&, const Value&) = default;
};
// What a message says of a property: all of it, or the parts that it is about.
struct Property {
  std::optional<Value> expected, actual;
  std::optional<bool> optional;
  std::optional<std::string> type;
  friend bool operator==(const Property&, const Property&) = default;
};
using Twin = std::map<std::string, Property>;

Property property_of(const PropertyView& view);
Twin twin_of(const TwinView& view);

// ---- from clients. Unknown fields are ignored, the case of known ones too, null is a field left out. Errors:
// `out_of_range` with KubeEdge's reason; `event_id` is set wherever it can be read.

// One property of an update. `value` left out ("actual":{}) is a side left out.
struct Change {
  std::optional<std::string> expected, actual;
  std::optional<bool> optional;
  std::optional<std::string> type;
};
struct Update {
  std::map<std::string, std::optional<Change>> twin;  // none: null, delete
};
Result<Update> read_update(std::string_view payload, std::string& event_id);
// Of twin/get and membership/get.
Status read_get(std::string_view payload, std::string& event_id);
// Of state/update: one of online, offline, ok, unknown, unhealthy, disconnected, error, in any case, as it was written.
Result<std::string> read_state(std::string_view payload);
bool is_online(std::string_view state);  // online, ok

// Nothing where `value` may be one of the property's, else KubeEdge's reason.
std::optional<std::string> refuse_value(const PropertyDefinition& definition, std::string_view value);
// Nothing where a property of the type may be added by an update.
std::optional<std::string> refuse_type(std::string_view type);

// ---- to clients

struct Base {
  std::string_view event_id;
  std::int64_t timestamp = 0;
};
std::string write_error(const Base& base, int code, std::string_view reason);
// None: null, for a deleted property.
std::string write_result(const Base& base, const std::map<std::string, std::optional<Property>>& twin);
std::string write_twin(const Base& base, const Twin& twin);
// Of the whole device; empty where nothing differs.
std::string write_delta(const Base& base, const Twin& twin);
struct BeforeAfter {
  std::optional<Property> last, current;
};
std::string write_document(const Base& base, const std::map<std::string, BeforeAfter>& twin);

struct DeviceEntry {
  std::string device;  // DeviceName::text()
  std::string description, state;
  std::int64_t last_online_ms = 0;                // 0: never
  std::map<std::string, std::string> attributes;  // JSON text
  std::optional<Twin> twin;
};
// The device's name is without its namespace.
std::string write_state(const Base& base, const DeviceEntry& device);
std::string write_devices(const Base& base, const std::vector<DeviceEntry>& devices);
std::string write_membership(const Base& base, const DeviceEntry& device, bool added);
// None: the attribute is gone.
std::string write_attributes(const Base& base, const std::map<std::string, std::optional<std::string>>& attributes);

}  // namespace landfall::kubeedge
