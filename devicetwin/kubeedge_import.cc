#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "devicetwin/devices.h"
#include "devicetwin/kubeedge_messages.h"
#include "devicetwin/kubeedge_yaml.h"
#include "devicetwin/twin_json.h"
#include "schemas/limits.h"

namespace landfall {

using namespace kubeedge;

namespace {

constexpr std::string_view group = "devices.kubeedge.io/";

// One Device or DeviceModel, and how to speak of it.
struct Object {
  Yaml body;
  std::string version, kind, space, name, where;
};

struct Model {
  std::map<std::string, PropertyDefinition> properties;
  // What else it says of them and of the protocol, as JSON: kept with each device, whose mapper's file needs it.
  std::map<std::string, std::string> details;
  std::string protocol_config;
};
using Models = std::map<std::pair<std::string, std::string>, Model>;  // by namespace and name

Error refused(const std::string& where, const std::string& what) { return {Code::out_of_range, where + ": " + what}; }

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return text;
}

bool is_read_only(const Yaml& of) { return lower(of.at("accessMode").text()) == "readonly"; }

// v1alpha2 has what it says of a value below the name of its type: type: {int: {accessMode: ..., minimum: ...}}.
Result<PropertyDefinition> definition_of(const std::string& where, const Yaml& property) {
  PropertyDefinition definition;
  definition.optional = false;  // as KubeEdge has twins that come with a device
  definition.description = property.at("description").text();
  Yaml about = property;
  std::string type = property.at("type").text();
  property.at("type").each([&](const std::string& name, const Yaml& value) {
    type = name;
    about = value;
  });
  if (!type.empty()) definition.type = lower(type);
  definition.read_only = is_read_only(about);
  definition.unit = about.at("unit").text();
  definition.minimum = about.at("minimum").text();
  definition.maximum = about.at("maximum").text();
  const auto checked = check_definition(definition);
  if (!checked) return refused(where, checked.error().detail + ": correct the DeviceModel");
  return definition;
}

// {"name":...,"defaultValue":...,"visitors":...}, or nothing.
std::string details_of(const std::string& name, const Yaml& property) {
  Yaml about = property;
  property.at("type").each([&](const std::string&, const Yaml& value) { about = value; });
  std::string json;
  if (const auto value = about.at("defaultValue"); !value.is_missing()) json += ",\"defaultValue\":" + value.json();
  if (const auto value = property.at("visitors"); value.is_map()) json += ",\"visitors\":" + value.json();
  return json.empty() ? "" : "{\"name\":" + json_string(name) + json + "}";
}

Result<Model> model_of(const Object& object) {
  Model model;
  std::optional<Error> wrong;
  if (const auto config = object.body.at("spec").at("protocolConfigData"); config.is_map())
    model.protocol_config = config.json();
  object.body.at("spec").at("properties").each([&](const Yaml& property) {
    if (wrong) return;
    const auto name = property.at("name").text();
    const auto where = object.where + ": property " + name;
    auto definition = definition_of(where, property);
    if (!is_property_name(name)) {
      wrong = refused(where, "not a name of 1 to 128 of A-Z a-z 0-9 - _ . , : / @ #: rename it");
    } else if (!definition) {
      wrong = definition.error();
    } else {
      model.properties.insert_or_assign(name, std::move(*definition));
      if (auto details = details_of(name, property); !details.empty())
        model.details.insert_or_assign(name, std::move(details));
    }
  });
  if (wrong) return *wrong;
  return model;
}

// What a Device says of one property.
struct Use {
  std::string name, desired;
  bool has_push_method = false;
};

std::vector<Use> uses_of(const Object& object) {
  std::vector<Use> uses;
  std::map<std::string, std::size_t> at;
  const auto use = [&](const std::string& name) -> Use& {
    const auto [found, is_new] = at.try_emplace(name, uses.size());
    if (is_new) uses.push_back({name, {}, false});
    return uses[found->second];
  };
  const auto spec = object.body.at("spec");
  spec.at("properties").each([&](const Yaml& property) {
    auto& used = use(property.at("name").text());
    used.desired = property.at("desired").at("value").text();
    used.has_push_method = !property.at("pushMethod").is_missing();
  });
  // v1alpha2
  spec.at("propertyVisitors").each([&](const Yaml& visitor) { use(visitor.at("propertyName").text()); });
  object.body.at("status").at("twins").each([&](const Yaml& twin) {
    const auto desired = twin.at("desired").at("value").text();
    auto& used = use(twin.at("propertyName").text());
    if (!desired.empty()) used.desired = desired;
  });
  return uses;
}

std::string protocol_of(const Yaml& protocol) {
  auto name = protocol.at("protocolName").text();
  if (name.empty()) name = protocol.at("customizedProtocol").at("protocolName").text();
  protocol.each([&](const std::string& key, const Yaml&) {
    const bool is_name = key == "modbus" || key == "opcua" || key == "bluetooth";
    if (name.empty() && is_name) name = key;
  });
  return name;
}

// v1beta1 names the node; v1alpha2 selects one by its name in the first term.
std::string node_of(const Yaml& spec, std::vector<std::string>& warnings) {
  if (const auto name = spec.at("nodeName").text(); !name.empty()) return name;
  std::vector<std::string> names;
  spec.at("nodeSelector").at("nodeSelectorTerms").each([&](const Yaml& term) {
    term.at("matchExpressions").each([&](const Yaml& expression) {
      expression.at("values").each([&](const Yaml& value) { names.push_back(value.text()); });
    });
  });
  if (names.size() > 1) warnings.push_back("nodeSelector names several nodes: " + names.front() + " is taken");
  return names.empty() ? "" : names.front();
}

// Protocol and visitors as they are written, and what the model adds: KubeEdgeProfile makes a mapper's file of them.
std::string configuration_of(const Object& object, const Model* model, const std::vector<Use>& uses) {
  constexpr std::array<const char*, 6> kept = {"protocol", "properties", "propertyVisitors",
                                               "data",     "methods",    "stateReport"};
  std::string json = "{\"apiVersion\":" + json_string(object.version);
  const auto spec = object.body.at("spec");
  for (const char* key : kept) {
    if (const auto value = spec.at(key); !value.is_missing()) json += "," + json_string(key) + ":" + value.json();
  }
  std::string twins, details;
  object.body.at("status").at("twins").each(
      [&](const Yaml& twin) { twins += (twins.empty() ? "" : ",") + json_string(twin.at("propertyName").text()); });
  if (!twins.empty()) json += ",\"twins\":[" + twins + "]";
  if (model != nullptr) {
    for (const auto& use : uses) {
      const auto known = model->details.find(use.name);
      if (known != model->details.end()) details += (details.empty() ? "" : ",") + known->second;
    }
    if (!details.empty()) details = "\"properties\":[" + details + "]";
    if (!model->protocol_config.empty())
      details += (details.empty() ? "" : ",") + ("\"protocolConfigData\":" + model->protocol_config);
  }
  if (!details.empty()) json += ",\"model\":{" + details + "}";
  return json + "}";
}

// mappers-go's modbus mapper takes every value for an int64: at start and at each delta it writes 0 where it is none.
void warn_of_modbus(ImportedDevice& device) {
  if (lower(device.record.protocol).find("modbus") == std::string::npos) return;
  for (const auto& [name, definition] : device.properties) {
    if (definition.read_only || definition.type == "int" || definition.type == "integer") continue;
    device.warnings.push_back("property " + name + ": KubeEdge's modbus mapper writes 0 for a desired value of type " +
                              definition.type + ": make it an int, or read-only");
  }
}

Status add_property(const Object& object, const Model* model, const Use& use, ImportedDevice& device) {
  const auto where = object.where + ": property " + use.name;
  if (!is_property_name(use.name))
    return refused(where, "not a name of 1 to 128 of A-Z a-z 0-9 - _ . , : / @ #: rename it");
  PropertyDefinition definition;
  definition.optional = false;
  if (model != nullptr) {
    const auto known = model->properties.find(use.name);
    if (known != model->properties.end()) {
      definition = known->second;
    } else {
      device.warnings.push_back("property " + use.name + " is not in the DeviceModel: taken as a string");
    }
  }
  device.properties[use.name] = definition;
  if (use.has_push_method)
    device.warnings.push_back("property " + use.name +
                              ": pushMethod is kept and not acted on: route its stream instead");
  if (use.desired.empty()) return ok();
  if (definition.read_only) {
    device.warnings.push_back("property " + use.name + " is read-only: its desired value is left out");
    return ok();
  }
  const auto json = json_of(definition.type, use.desired);
  for (const auto& checked : {check_type(definition, json), check_limits(definition, json)}) {
    if (!checked) return refused(where, "desired " + use.desired + ": " + checked.error().detail + ": correct it");
  }
  device.desired[use.name] = json;
  return ok();
}

Result<ImportedDevice> device_of(const Object& object, const Models& models) {
  ImportedDevice device;
  const auto name = parse_device(object.space + "/" + object.name);
  if (!name) return refused(object.where, name.error().detail + ": rename it");
  const auto spec = object.body.at("spec");
  device.record.device = name->text();
  device.record.node = node_of(spec, device.warnings);
  device.record.description = object.body.at("metadata").at("labels").at("description").text();
  device.record.model = spec.at("deviceModelRef").at("name").text();
  device.record.protocol = protocol_of(spec.at("protocol"));
  const auto found = models.find({object.space, device.record.model});
  const Model* model = found == models.end() ? nullptr : &found->second;
  if (model == nullptr && !device.record.model.empty()) {
    device.warnings.push_back("DeviceModel " + device.record.model +
                              " is not in the text: properties are taken as strings that may be written");
  }
  auto uses = uses_of(object);
  if (uses.empty() && model != nullptr) {
    for (const auto& [property, definition] : model->properties) uses.push_back({property, {}, false});
  }
  if (uses.size() > kubeedge_update_properties_max)
    return refused(object.where,
                   "more than " + std::to_string(kubeedge_update_properties_max) + " properties: split it");
  device.record.configuration = configuration_of(object, model, uses);
  if (!is_json(device.record.configuration))
    return refused(object.where, "protocol or visitors are nested too deep: flatten them");
  if (device.record.configuration.size() > op_value_bytes_max / 2)
    return refused(object.where, "protocol and visitors are over 32768 bytes: shorten them");
  for (const auto& use : uses) LANDFALL_TRY(add_property(object, model, use, device));
  warn_of_modbus(device);
  return device;
}

// Devices and models; what else the text holds comes back as warnings.
Result<std::vector<Object>> objects_of(std::string_view text, std::vector<std::string>& left_out) {
  auto documents = Yaml::read(text);
  if (!documents) return std::move(documents).error();
  std::vector<Object> objects;
  std::size_t number = 0;
  for (const auto& body : *documents) {
    Object object;
    object.body = body;
    object.kind = body.at("kind").text();
    object.name = body.at("metadata").at("name").text();
    object.where = "document " + std::to_string(++number);
    if (!body.is_map() || object.kind.empty())
      return refused(object.where, "no Kubernetes object: apiVersion, kind and metadata are wanted");
    object.where += ", " + object.kind + " " + object.name;
    object.version = body.at("apiVersion").text();
    object.space = body.at("metadata").at("namespace").text();
    if (object.space.empty()) object.space = "default";
    if (!object.version.starts_with(group) || (object.kind != "Device" && object.kind != "DeviceModel")) {
      left_out.push_back(object.where + ": neither Device nor DeviceModel, left out");
      continue;
    }
    if (object.version != "devices.kubeedge.io/v1beta1" && object.version != "devices.kubeedge.io/v1alpha2")
      return refused(object.where, "apiVersion " + object.version + ": v1beta1 and v1alpha2 are known, convert it");
    if (object.name.empty()) return refused(object.where, "metadata.name is missing: name it");
    objects.push_back(std::move(object));
  }
  return objects;
}

}  // namespace

Result<std::vector<ImportedDevice>> import_kubeedge(std::string_view yaml) {
  std::vector<std::string> left_out;
  const auto objects = objects_of(yaml, left_out);
  if (!objects) return objects.error();
  Models models;
  for (const auto& object : *objects) {
    if (object.kind != "DeviceModel") continue;
    auto model = model_of(object);
    if (!model) return std::move(model).error();
    models.insert_or_assign({object.space, object.name}, std::move(*model));
  }
  std::vector<ImportedDevice> devices;
  std::set<std::string> names;
  for (const auto& object : *objects) {
    if (object.kind != "Device") continue;
    auto device = device_of(object, models);
    if (!device) return std::move(device).error();
    if (!names.insert(device->record.device).second) return refused(object.where, "is there twice: keep one");
    devices.push_back(std::move(*device));
  }
  if (devices.empty()) return refused("import", "no Device of devices.kubeedge.io in it");
  auto& first = devices.front().warnings;
  first.insert(first.begin(), left_out.begin(), left_out.end());
  return devices;
}

}  // namespace landfall
