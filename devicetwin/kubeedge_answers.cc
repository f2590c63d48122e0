#include "devicetwin/kubeedge_messages.h"
#include "devicetwin/twin_json.h"

namespace landfall::kubeedge {
namespace {

// An object under construction. Fields come in the order in which Go's structs have them, names of maps in theirs.
class Object {
 public:
  Object& field(std::string_view name, std::string_view json) {
    text_ += text_.empty() ? '{' : ',';
    text_ += json_string(name);
    text_ += ':';
    text_ += json;
    return *this;
  }
  Object& text(std::string_view name, std::string_view value) { return field(name, json_string(value)); }
  Object& text_if_any(std::string_view name, std::string_view value) {
    return value.empty() ? *this : text(name, value);
  }
  Object& number(std::string_view name, std::int64_t value) { return field(name, std::to_string(value)); }
  std::string end() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

Object begin(const Base& base) {
  Object object;
  object.text("event_id", base.event_id).number("timestamp", base.timestamp);
  return object;
}

template <class Map, class Write>
std::string object_of(const Map& map, Write write) {
  Object object;
  for (const auto& [name, value] : map) object.field(name, write(value));
  return object.end();
}

std::string of_value(const Value& value) {
  return Object()
      .text("value", value.value)
      .field("metadata", Object().number("timestamp", value.timestamp).end())
      .end();
}

std::string of_property(const Property& property) {
  Object object;
  if (property.expected) object.field("expected", of_value(*property.expected));
  if (property.actual) object.field("actual", of_value(*property.actual));
  if (property.optional) object.field("optional", *property.optional ? "true" : "false");
  if (property.type) object.field("metadata", Object().text_if_any("type", *property.type).end());
  return object.end();
}
std::string of_property_or_null(const std::optional<Property>& property) {
  return property ? of_property(*property) : "null";
}

std::string_view attribute_type(std::string_view json) {
  if (json == "true" || json == "false") return "boolean";
  if (!is_decimal(json)) return "string";
  return json.find_first_of(".eE") == std::string_view::npos ? "int" : "float";
}
std::string of_attribute(const std::string& json) {
  return Object()
      .text("value", plain_text(json))
      .field("metadata", Object().text("type", attribute_type(json)).end())
      .end();
}

// RFC 3339 in whole seconds.
std::string time_of(std::int64_t unix_ms) { return rfc3339_ms(unix_ms).substr(0, 19) + "Z"; }

std::string_view name_of(const DeviceEntry& device) {
  const std::string_view text = device.device;
  return text.substr(text.find('/') + 1);
}

std::string of_device(const DeviceEntry& device) {
  Object object;
  object.text("id", device.device).text("name", name_of(device));
  object.text_if_any("description", device.description).text_if_any("state", device.state);
  if (device.last_online_ms > 0) object.text("last_online", time_of(device.last_online_ms));
  if (!device.attributes.empty()) object.field("attributes", object_of(device.attributes, of_attribute));
  if (device.twin && !device.twin->empty()) object.field("twin", object_of(*device.twin, of_property));
  return object.end();
}

}  // namespace

std::string write_error(const Base& base, int code, std::string_view reason) {
  return begin(base).number("code", code).text("reason", reason).end();
}

std::string write_result(const Base& base, const std::map<std::string, std::optional<Property>>& twin) {
  return begin(base).field("twin", object_of(twin, of_property_or_null)).end();
}

std::string write_twin(const Base& base, const Twin& twin) {
  return begin(base).field("twin", object_of(twin, of_property)).end();
}

std::string write_delta(const Base& base, const Twin& twin) {
  Object considered, differing;
  bool differs = false;
  for (const auto& [name, property] : twin) {
    if (!property.expected || property.expected->value.empty()) continue;
    considered.field(name, of_property(property));
    if (property.actual && property.actual->value == property.expected->value) continue;
    differing.text(name, property.expected->value);
    differs = true;
  }
  if (!differs) return {};
  return begin(base).field("twin", considered.end()).field("delta", differing.end()).end();
}

std::string write_document(const Base& base, const std::map<std::string, BeforeAfter>& twin) {
  return begin(base)
      .field("twin", object_of(twin,
                               [](const BeforeAfter& property) {
                                 return Object()
                                     .field("last", of_property_or_null(property.last))
                                     .field("current", of_property_or_null(property.current))
                                     .end();
                               }))
      .end();
}

std::string write_state(const Base& base, const DeviceEntry& device) {
  Object object;
  object.text("name", name_of(device)).text_if_any("state", device.state);
  if (device.last_online_ms > 0) object.text("lastOnlineTime", time_of(device.last_online_ms));
  return begin(base).field("device", object.end()).end();
}

std::string write_devices(const Base& base, const std::vector<DeviceEntry>& devices) {
  std::string list;
  for (const auto& device : devices) list += (list.empty() ? "" : ",") + of_device(device);
  return begin(base).field("devices", "[" + list + "]").end();
}

std::string write_membership(const Base& base, const DeviceEntry& device, bool added) {
  const std::string list = "[" + of_device(device) + "]";
  return begin(base)
      .field("added_devices", added ? list : "null")
      .field("removed_devices", added ? "null" : list)
      .end();
}

std::string write_attributes(const Base& base, const std::map<std::string, std::optional<std::string>>& attributes) {
  return begin(base)
      .field("attributes",
             object_of(attributes, [](const auto& json) { return json ? of_attribute(*json) : std::string("null"); }))
      .end();
}

}  // namespace landfall::kubeedge
