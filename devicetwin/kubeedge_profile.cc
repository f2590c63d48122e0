#include "devicetwin/kubeedge_profile.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "devicetwin/json_value.h"
#include "devicetwin/twin_json.h"

namespace landfall {
namespace {

constexpr std::size_t devices_per_read = 1000;
constexpr std::int64_t ns_per_ms = 1'000'000, ms_per_day = 86'400'000;

// A member, or an empty one where it is missing or of another type.
const Json& object_or_empty(const Json& of, const char* key) {
  static const Json none = Json::object();
  const auto found = of.find(key);
  return found != of.end() && found->is_object() ? *found : none;
}
const Json& list_of(const Json& of, const char* key) {
  static const Json none = Json::array();
  const auto found = of.find(key);
  return found != of.end() && found->is_array() ? *found : none;
}
std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

// One of the four names that KubeEdge itself wrote, which mappers compare with their own.
std::string protocol_name(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c != '-' && c != '_') plain += c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  }
  if (plain == "modbus" || plain == "modbustcp" || plain == "modbusrtu") return "modbus";
  if (plain == "opcua") return "opcua";
  if (plain == "bluetooth" || plain == "ble") return "bluetooth";
  return "customized-protocol";
}

// ---- configurations. Mappers of one family look for their members at the top, those of another below configData: both
// find them. mapper-sdk-go dies of any protocol in the file that does not say its name here.

Json with_name(Json config, const std::string& name, const Json& data) {
  config["protocolName"] = name;
  config["configData"] = data;
  return config;
}

// Whole numbers that somebody wrote in quotes: one of them is enough for a mapper to give the device up.
void make_numbers(Json& config, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto found = config.find(key);
    if (found == config.end() || !found->is_string()) continue;
    if (const auto number = whole_number(found->get_ref<const std::string&>())) *found = *number;
  }
}

void gather(Json& config, const char* name, const char* must, std::initializer_list<const char*> keys) {
  if (config.contains(name) || !config.contains(must)) return;
  Json part = Json::object();
  for (const char* key : keys) {
    if (config.contains(key)) part[key] = config[key];
  }
  config[name] = std::move(part);
}

struct Protocol {
  std::string name;      // as mappers compare it
  std::string own_name;  // as it was imported
  Json config, common;
};

// v1beta1 has one free map, v1alpha2 a member per protocol and one for what they have in common.
Protocol protocol_of(const DeviceRecord& record, const Json& configuration) {
  const Json protocol = object_or_empty(configuration, "protocol"), model = object_or_empty(configuration, "model");
  Protocol of{protocol_name(record.protocol), record.protocol, {}, object_or_empty(protocol, "common")};
  for (const char* known : {"modbus", "opcua", "bluetooth"}) {
    if (!protocol.contains(known)) continue;
    of.name = known;
    of.config = object_or_empty(protocol, known);
    of.config["protocolName"] = known;
    return of;
  }
  if (protocol.contains("customizedProtocol")) {
    of.config = with_name(Json::object(), of.own_name,
                          object_or_empty(object_or_empty(protocol, "customizedProtocol"), "configData"));
    return of;
  }
  Json data = object_or_empty(model, "protocolConfigData");
  data.update(object_or_empty(protocol, "configData"));
  if (of.name == "modbus") make_numbers(data, {"slaveID", "port", "baudRate", "dataBits", "stopBits"});
  of.config = of.name == "customized-protocol" ? Json::object() : data;
  of.config = with_name(std::move(of.config), of.own_name, data);
  of.common = data;
  if (of.name == "modbus") {
    gather(of.common, "tcp", "ip", {"ip", "port"});
    gather(of.common, "com", "serialPort", {"serialPort", "baudRate", "dataBits", "parity", "stopBits"});
  }
  return of;
}

// ---- visitors

struct Visitor {
  Json config = Json::object();
  Json customized;  // v1alpha2's customizedValues
  std::int64_t collect = 0, report = 0;
};
using Visitors = std::map<std::string, Visitor>;

// Go durations. v1alpha2 has them so; v1beta1 counts in ms, but in KubeEdge 1.15, whose manual has ns: a day is the border.
std::int64_t cycle_of(const Json& of, const char* key, bool beta) {
  const auto value = number_of(of, key);
  return beta && value > 0 && value < ms_per_day ? value * ns_per_ms : value;
}

Visitors visitors_alpha(const Json& configuration, const Protocol& protocol) {
  Visitors visitors;
  for (const auto& from : list_of(configuration, "propertyVisitors")) {
    Visitor visitor;
    visitor.collect = cycle_of(from, "collectCycle", false);
    visitor.report = cycle_of(from, "reportCycle", false);
    visitor.config =
        object_or_empty(from, protocol.name == "customized-protocol" ? "customizedProtocol" : protocol.name.c_str());
    if (const auto values = object_or_empty(from, "customizedValues"); !values.empty()) visitor.customized = values;
    visitors.insert_or_assign(text_of(from, "propertyName"), std::move(visitor));
  }
  return visitors;
}

Visitors visitors_beta(const Json& configuration, const Protocol& protocol) {
  std::map<std::string, Json> by_model;
  for (const auto& property : list_of(object_or_empty(configuration, "model"), "properties")) {
    if (property.is_object() && property.contains("visitors"))
      by_model[text_of(property, "name")] = object_or_empty(property, "visitors");
  }
  Visitors visitors;
  for (const auto& property : list_of(configuration, "properties")) {
    const auto name = text_of(property, "name");
    Json from = property.is_object() && property.contains("visitors") ? object_or_empty(property, "visitors") : Json();
    if (from.is_null() && by_model.contains(name)) from = by_model[name];
    if (from.is_null()) continue;
    Json data = object_or_empty(from, "configData");
    if (protocol.name == "modbus") make_numbers(data, {"offset", "limit"});
    Visitor visitor;
    visitor.config = with_name(protocol.name == "customized-protocol" ? Json::object() : data,
                               text_of(from, "protocolName", protocol.own_name), data);
    visitor.collect = cycle_of(property, "collectCycle", true);
    visitor.report = cycle_of(property, "reportCycle", true);
    visitors.insert_or_assign(name, std::move(visitor));
  }
  return visitors;
}

// ---- parts of the file

Json property_json(const std::string& name, const PropertyDefinition& definition, const Json& otherwise) {
  Json json = {{"name", name},
               {"dataType", definition.type == "integer" ? "int" : definition.type},
               {"accessMode", definition.read_only ? "ReadOnly" : "ReadWrite"}};
  if (!definition.description.empty()) json["description"] = definition.description;
  if (!definition.unit.empty()) json["unit"] = definition.unit;
  // Read as int64: a fraction would spoil the file.
  if (const auto minimum = whole_number(definition.minimum)) json["minimum"] = *minimum;
  if (const auto maximum = whole_number(definition.maximum)) json["maximum"] = *maximum;
  if (!otherwise.is_null()) json["defaultValue"] = otherwise;
  return json;
}

// The type stands with the desired value even where there is none: mappers report under it.
Json value_json(const std::string& type, std::string_view json, std::int64_t unix_ms) {
  if (unix_ms == 0) return {{"value", ""}, {"metadata", {{"type", type}}}};
  return {{"value", plain_text(json)}, {"metadata", {{"type", type}, {"timestamp", std::to_string(unix_ms)}}}};
}

Json twin_entry(const PropertyView& view) {
  const auto& type = view.definition.type;
  Json entry = {{"propertyName", view.name}};
  entry["desired"] =
      view.desired ? value_json(type, view.desired->value, view.desired->time.unix_ms()) : value_json(type, "", 0);
  entry["reported"] =
      view.reported ? value_json(type, view.reported->value, view.reported->time.unix_ms()) : value_json(type, "", 0);
  return entry;
}

// v1alpha2's time series, which are no twins where the Device has no twin of the name.
struct Series {
  Json properties = Json::array();
  std::string topic;
  std::set<std::string> alone;
};
Series series_of(const Json& configuration, const TwinView& twin, const Visitors& visitors) {
  std::set<std::string> twins;
  for (const auto& name : list_of(configuration, "twins")) {
    if (name.is_string()) twins.insert(name.get<std::string>());
  }
  const Json data = object_or_empty(configuration, "data");
  Series series;
  series.topic = text_of(data, "dataTopic");
  for (const auto& from : list_of(data, "dataProperties")) {
    const auto name = text_of(from, "propertyName");
    const auto known = twin.properties.find(name);
    if (!visitors.contains(name) || known == twin.properties.end()) continue;
    const auto type = text_of(object_or_empty(from, "metadata"), "type", known->second.definition.type);
    series.properties.push_back({{"propertyName", name}, {"metadata", {{"type", type}}}});
    if (!twins.contains(name)) series.alone.insert(name);
  }
  return series;
}

std::map<std::string, Json> default_values(const Json& configuration) {
  std::map<std::string, Json> values;
  for (const auto& property : list_of(object_or_empty(configuration, "model"), "properties")) {
    if (property.is_object() && property.contains("defaultValue"))
      values[text_of(property, "name")] = property["defaultValue"];
  }
  return values;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const auto& part : parts) text += (text.empty() ? "" : ",") + part;
  return text;
}

Error unusable(const DeviceRecord& record, const char* what) {
  return {Code::out_of_range, "device " + record.device + " has no " + what +
                                  ": import it from its KubeEdge Device, or PUT protocol and configuration "
                                  "(/v1/devices/" +
                                  record.device + ")"};
}

}  // namespace

Status KubeEdgeProfile::add(const DeviceRecord& record, const TwinView& twin) {
  if (record.protocol.empty()) return unusable(record, "protocol");
  const Json configuration = record.configuration.empty() ? Json() : stored_json(record.configuration);
  if (!configuration.is_object()) return unusable(record, "configuration");
  const Protocol protocol = protocol_of(record, configuration);
  auto visitors = configuration.contains("propertyVisitors") ? visitors_alpha(configuration, protocol)
                                                             : visitors_beta(configuration, protocol);
  const auto defaults = default_values(configuration);

  Properties properties;
  for (const auto& [name, view] : twin.properties) {
    if (view.definition.type.empty()) continue;
    const auto otherwise = defaults.find(name);
    properties[name] =
        write_json(property_json(name, view.definition, otherwise == defaults.end() ? Json() : otherwise->second));
    if (!visitors.contains(name)) warn(record.device + ": property " + name + " has no visitor: mappers do not get it");
  }
  std::erase_if(visitors, [&](const auto& visitor) {
    const bool unknown = !properties.contains(visitor.first);
    if (unknown)
      warn(record.device + ": property " + visitor.first +
           " is not defined: mappers do not get it, define it (landfall twin define)");
    return unknown;
  });

  const std::string protocol_of_device = protocol.name + "-" + record.device;
  const auto series = series_of(configuration, twin, visitors);
  Json instance = {{"id", record.device},
                   {"name", record.device.substr(record.device.find('/') + 1)},
                   {"protocol", protocol_of_device},
                   {"model", model_for(record, properties)},
                   {"twins", Json::array()},
                   {"propertyVisitors", Json::array()}};
  for (const auto& [name, visitor] : visitors) {
    Json entry = {{"name", name},
                  {"propertyName", name},
                  {"modelName", instance["model"]},
                  {"protocol", protocol.name},
                  {"collectCycle", visitor.collect},
                  {"reportCycle", visitor.report},
                  {"visitorConfig", visitor.config}};
    if (!visitor.customized.is_null()) entry["customizedValues"] = visitor.customized;
    instance["propertyVisitors"].push_back(std::move(entry));
    if (series.alone.contains(name)) continue;
    const auto& view = twin.properties.at(name);
    if (!view.desired && !view.definition.read_only && view.definition.type == "string")
      warn(record.device + ": property " + name +
           " has no desired value: a mapper sets it to an empty text at its start, set one (landfall twin set)");
    instance["twins"].push_back(twin_entry(view));
  }
  if (!series.properties.empty()) {
    instance["data"] = {{"dataProperties", series.properties}, {"dataTopic", series.topic}};
    // Where KubeEdge's own types have them.
    instance["dataProperties"] = series.properties;
    instance["dataTopic"] = series.topic;
  }
  instances_.push_back(write_json(instance));
  protocols_.push_back(write_json({{"name", protocol_of_device},
                                   {"protocol", protocol.name},
                                   {"protocolConfig", protocol.config},
                                   {"protocolCommonConfig", protocol.common}}));
  return ok();
}

// Definitions are the device's own here: devices of one model share it as long as they say the same of each property.
std::string KubeEdgeProfile::model_for(const DeviceRecord& record, const Properties& properties) {
  const std::string base = record.model.empty() ? record.device : record.model;
  const auto says_the_same = [&](const Properties& model) {
    return std::ranges::all_of(properties, [&](const auto& property) {
      const auto there = model.find(property.first);
      return there == model.end() || there->second == property.second;
    });
  };
  std::string name = models_.contains(base) ? base + "@" + record.device : base;
  for (auto known = models_.lower_bound(base); known != models_.end() && known->first.starts_with(base); ++known) {
    if (known->first != base && !known->first.starts_with(base + "@")) continue;
    if (!says_the_same(known->second)) continue;
    name = known->first;
    break;
  }
  models_[name].insert(properties.begin(), properties.end());
  return name;
}

std::string KubeEdgeProfile::json() const {
  std::vector<std::string> models;
  for (const auto& [name, properties] : models_) {
    std::vector<std::string> list;
    for (const auto& [property, json] : properties) list.push_back(json);
    models.push_back("{\"name\":" + json_string(name) + ",\"properties\":[" + joined(list) + "]}");
  }
  return "{\"deviceInstances\":[" + joined(instances_) + "],\"deviceModels\":[" + joined(models) + "],\"protocols\":[" +
         joined(protocols_) + "]}";
}

Result<KubeEdgeProfile> export_kubeedge(const Devices& devices, const Twins& twins,
                                        const std::function<bool(const DeviceRecord&)>& wanted) {
  KubeEdgeProfile profile;
  for (std::string after;;) {
    const auto page = devices.list(after, devices_per_read);
    if (!page) return page.error();
    for (const auto& record : *page) {
      if (!record.registered || !wanted(record)) continue;
      const auto view = twins.view(record.device);
      if (!view) return view.error();
      const auto added = profile.add(record, *view);
      if (!added && !record.protocol.empty()) profile.warn(added.error().detail);
    }
    if (page->size() < devices_per_read) return profile;
    after = page->back().device;
  }
}

Result<KubeEdgeProfile> export_kubeedge(const Devices& devices, const Twins& twins,
                                        const std::vector<std::string>& names) {
  KubeEdgeProfile profile;
  std::set<std::string> given;
  for (const auto& name : names) {
    const auto record = devices.get(name);
    if (!record) return record.error();
    if (!given.insert(record->device).second) continue;
    const auto view = twins.view(record->device);
    if (!view) return view.error();
    LANDFALL_TRY(profile.add(*record, *view));
  }
  return profile;
}

}  // namespace landfall
