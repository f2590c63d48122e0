#include <array>

#include "devicetwin/kubeedge_messages.h"
#include "devicetwin/twin_json.h"

namespace landfall::kubeedge {
namespace {

bool is_one_of(std::string_view type, std::string_view a, std::string_view b) { return type == a || type == b; }
bool is_number(std::string_view type) {
  return is_one_of(type, "int", "integer") || is_one_of(type, "float", "double");
}

}  // namespace

std::string json_of(std::string_view type, std::string_view value) {
  const bool starts_number = !value.empty() && (value[0] == '-' || (value[0] >= '0' && value[0] <= '9'));
  if (is_number(type) && starts_number && is_json(value) && plain_text(value) == value) return std::string(value);
  if (type == "boolean" && is_one_of(value, "true", "false")) return std::string(value);
  return json_string(value);
}

std::optional<std::string> refuse_value(const PropertyDefinition& definition, std::string_view value) {
  if (check_type(definition, json_of(definition.type, value))) return {};
  if (is_one_of(definition.type, "int", "integer")) return "the value is not int or integer";
  if (is_one_of(definition.type, "float", "double")) return "the value is not float";
  return "the bool value must be true or false";
}

std::optional<std::string> refuse_type(std::string_view type) {
  constexpr std::array<std::string_view, 8> allowed = {"string", "int",     "integer", "float",
                                                       "double", "boolean", "bytes",   "stream"};
  for (const auto known : allowed) {
    if (type == known) return {};
  }
  return "the value type is not allowed";
}

Property property_of(const PropertyView& view) {
  Property property;
  property.optional = view.definition.optional;
  property.type = view.definition.type;
  if (view.desired) property.expected = Value{plain_text(view.desired->value), view.desired->time.unix_ms()};
  if (view.reported) property.actual = Value{plain_text(view.reported->value), view.reported->time.unix_ms()};
  return property;
}

Twin twin_of(const TwinView& view) {
  Twin twin;
  for (const auto& [name, property] : view.properties) twin.emplace_hint(twin.end(), name, property_of(property));
  return twin;
}

}  // namespace landfall::kubeedge
