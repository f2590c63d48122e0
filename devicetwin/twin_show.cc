#include <nlohmann/json.hpp>

#include "crdt/exact_json.h"
#include "devicetwin/devices.h"
#include "devicetwin/twin.h"
#include "devicetwin/twin_json.h"

namespace landfall {
namespace {

// An object written member by member, whose caller keeps the keys in order. Values go in as they are: they are JSON
// already, and a number must not change its digits.
class Members {
 public:
  explicit Members(std::string& to) : to_(to) { to_ += '{'; }
  void end() { to_ += '}'; }
  // For a value that the caller then appends.
  std::string& key(std::string_view key) {
    if (!first_) to_ += ',';
    first_ = false;
    to_ += json_string(key);
    return to_ += ':';
  }
  void raw(std::string_view name, std::string_view json) { key(name) += json; }
  void text(std::string_view name, std::string_view text) { raw(name, json_string(text)); }
  void flag(std::string_view name, bool value) { raw(name, value ? "true" : "false"); }

 private:
  std::string& to_;
  bool first_ = true;
};

template <class Items, class Write>
void append_array(std::string& to, const Items& items, const Write& write) {
  to += '[';
  for (bool first = true; const auto& item : items) {
    if (!first) to += ',';
    first = false;
    write(to, item);
  }
  to += ']';
}

void append_setting(std::string& to, const Setting& setting) {
  Members members(to);
  members.text("actor", setting.actor);
  members.text("dot", to_string(setting.dot));
  members.text("layer", to_string(setting.layer));
  members.text("reason", setting.reason);
  members.text("time", rfc3339_ms(setting.time.unix_ms()));
  members.raw("value", setting.value);
  members.end();
}

void append_report(std::string& to, const Report& report) {
  Members members(to);
  if (report.applied) members.text("applied", to_string(*report.applied));
  if (report.device_time_ms != 0) members.text("device_time", rfc3339_ms(report.device_time_ms));
  members.text("dot", to_string(report.dot));
  if (!report.error.empty()) members.text("error", report.error);
  members.text("status", report.status);
  members.text("time", rfc3339_ms(report.time.unix_ms()));
  members.raw("value", report.value);
  members.end();
}

void append_property(std::string& to, const PropertyView& property) {
  Members members(to);
  const auto& definition = property.definition;
  const auto text = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) members.text(name, value);
  };
  members.flag("conflict", property.conflict);
  text("description", definition.description);
  if (property.desired) append_setting(members.key("desired"), *property.desired);
  if (definition.history == History::latest) members.text("history", "latest");
  members.flag("in_sync", property.in_sync);
  text("maximum", definition.maximum);
  text("minimum", definition.minimum);
  if (!definition.optional) members.flag("optional", false);
  if (!property.other_reports.empty())
    append_array(members.key("other_reports"), property.other_reports, append_report);
  append_array(members.key("others"), property.others, append_setting);
  members.text("policy", to_string(definition.policy));
  if (definition.read_only) members.flag("read_only", true);
  if (property.reported) append_report(members.key("reported"), *property.reported);
  text("type", definition.type);
  text("unit", definition.unit);
  members.end();
}

using Json = nlohmann::json;

// Takes a member of the given kind; false where it is of another.
bool take(const Json& json, const char* name, std::string& to) {
  const auto found = json.find(name);
  if (found == json.end()) return true;
  if (!found->is_string()) return false;
  to = found->get<std::string>();
  return true;
}
bool take(const Json& json, const char* name, bool& to) {
  const auto found = json.find(name);
  if (found == json.end()) return true;
  if (!found->is_boolean()) return false;
  to = found->get<bool>();
  return true;
}
// A limit may be written as a number: it is kept as it is written.
bool take_limit(const Json& json, const char* name, std::string& to) {
  const auto found = json.find(name);
  if (found == json.end() || !is_exact_number(*found)) return take(json, name, to);
  to = write_exact(*found);
  return true;
}

}  // namespace

std::string twin_json(const TwinView& view) {
  std::string json;
  Members members(json);
  Members attributes(members.key("attributes"));
  for (const auto& [name, value] : view.attributes) attributes.raw(name, value);
  attributes.end();
  if (view.described_by) {
    Members writer(members.key("described_by"));
    writer.text("actor", view.described_by->actor);
    writer.text("time", rfc3339_ms(view.described_by->time.unix_ms()));
    writer.end();
  }
  members.text("device", view.device);
  if (view.last_online_ms != 0) members.text("last_online", rfc3339_ms(view.last_online_ms));
  Members properties(members.key("properties"));
  for (const auto& [name, property] : view.properties) append_property(properties.key(name), property);
  properties.end();
  members.flag("registered", view.registered);
  if (!view.state.empty()) members.text("state", view.state);
  append_array(members.key("tags"), view.tags, [](std::string& to, const auto& tag) { to += json_string(tag); });
  members.text("version", view.version);
  members.end();
  return json;
}

std::string device_json(const DeviceRecord& record) {
  std::string json;
  Members members(json);
  const auto text = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) members.text(name, value);
  };
  text("certificate_subject", record.certificate_subject);
  if (!record.configuration.empty()) members.raw("configuration", record.configuration);
  text("description", record.description);
  members.text("device", record.device);
  text("model", record.model);
  text("node", record.node);
  members.raw("owner_term", std::to_string(record.owner_term));
  text("protocol", record.protocol);
  members.flag("registered", record.registered);
  members.text("version", record.version);
  members.end();
  return json;
}

std::string definition_json(const PropertyDefinition& definition) {
  std::string json;
  Members members(json);
  if (!definition.description.empty()) members.text("description", definition.description);
  if (definition.history == History::latest) members.text("history", "latest");
  if (!definition.maximum.empty()) members.text("maximum", definition.maximum);
  if (!definition.minimum.empty()) members.text("minimum", definition.minimum);
  if (!definition.optional) members.flag("optional", false);
  members.text("policy", to_string(definition.policy));
  if (definition.read_only) members.flag("read_only", true);
  members.text("type", definition.type);
  if (!definition.unit.empty()) members.text("unit", definition.unit);
  members.end();
  return json;
}

Result<PropertyDefinition> parse_definition(std::string_view text) {
  const auto refused = [](const std::string& what) { return Error{Code::out_of_range, "definition: " + what}; };
  if (!is_json(text)) return refused("not JSON");
  const Json json = read_exact(text);
  if (!json.is_object()) return refused("not an object");
  PropertyDefinition definition;
  std::string policy(to_string(definition.policy)), history = "keep";
  for (auto [name, to] :
       {std::pair{"type", &definition.type}, std::pair{"policy", &policy}, std::pair{"history", &history},
        std::pair{"unit", &definition.unit}, std::pair{"description", &definition.description}}) {
    if (!take(json, name, *to)) return refused(std::string(name) + " is no text");
  }
  if (!take(json, "optional", definition.optional) || !take(json, "read_only", definition.read_only))
    return refused("optional or read_only is neither true nor false");
  if (!take_limit(json, "minimum", definition.minimum) || !take_limit(json, "maximum", definition.maximum))
    return refused("minimum or maximum is neither number nor text");
  if (history != "keep" && history != "latest") return refused("history is neither keep nor latest");
  definition.history = history == "latest" ? History::latest : History::keep;
  const auto parsed = parse_policy(policy);
  if (!parsed) return Error(parsed.error()).in("definition");
  definition.policy = *parsed;
  if (auto sense = check_definition(definition); !sense) return Error(sense.error()).in("definition");
  return definition;
}

}  // namespace landfall
