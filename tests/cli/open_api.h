#pragma once

#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace landfall::cli {

// schemas/openapi.yaml, as far as tests hold answers against it.
class OpenApi {
 public:
  OpenApi() : root_(YAML::LoadFile(LANDFALL_OPENAPI)) {}
  // Templates: "/v1/twins/{device}".
  std::set<std::string> paths() const {
    std::set<std::string> all;
    for (const auto& path : root_["paths"]) all.insert(path.first.as<std::string>());
    return all;
  }
  // "GET", "PUT", ...
  std::set<std::string> methods(const std::string& path) const {
    std::set<std::string> all;
    for (const auto& one : root_["paths"][path]) {
      auto name = one.first.as<std::string>();
      for (char& c : name) c = static_cast<char>(std::toupper(c));
      if (name != "PARAMETERS") all.insert(name);
    }
    return all;
  }
  // What is wrong with an answer's body, or nothing. Members that the file does not name are wrong, too.
  std::string fault(const std::string& path, const std::string& method, const std::string& status,
                    const nlohmann::json& body) const {
    std::string name;
    for (const char c : method) name += static_cast<char>(std::tolower(c));
    const auto responses = root_["paths"][path][name]["responses"];
    auto response = resolved(responses[status] ? responses[status] : responses["default"]);
    if (!response) return "no response " + status;
    for (const auto& content : response["content"]) return of(content.second["schema"], body, "body");
    return {};
  }

 private:
  YAML::Node resolved(const YAML::Node& node) const {
    if (!node.IsMap() || !node["$ref"]) return node;
    YAML::Node at = YAML::Clone(root_);
    std::string rest = node["$ref"].as<std::string>().substr(2);
    for (std::size_t slash = 0; slash != std::string::npos; rest = rest.substr(slash + 1)) {
      slash = rest.find('/');
      at = YAML::Clone(at[rest.substr(0, slash)]);
      if (slash == std::string::npos) break;
    }
    return at;
  }
  static bool is(const std::string& type, const nlohmann::json& value) {
    return type == "object"    ? value.is_object()
           : type == "array"   ? value.is_array()
           : type == "string"  ? value.is_string()
           : type == "integer" ? value.is_number_integer()
           : type == "number"  ? value.is_number()
           : type == "boolean" ? value.is_boolean()
                               : false;
  }
  std::string of(const YAML::Node& given, const nlohmann::json& value, const std::string& at) const {
    const YAML::Node schema = resolved(given);
    if (schema["type"] && !is(schema["type"].as<std::string>(), value))
      return at + " is no " + schema["type"].as<std::string>() + ": " + value.dump();
    if (schema["enum"]) {
      bool known = false;
      for (const auto& one : schema["enum"]) known |= value == one.as<std::string>();
      if (!known) return at + " is none of its values: " + value.dump();
    }
    for (const auto& name : schema["required"]) {
      if (!value.contains(name.as<std::string>())) return at + " lacks " + name.as<std::string>();
    }
    if (value.is_array() && schema["items"]) {
      for (const auto& item : value) {
        if (auto wrong = of(schema["items"], item, at + "[]"); !wrong.empty()) return wrong;
      }
    }
    if (!value.is_object()) return {};
    for (const auto& [name, member] : value.items()) {
      const auto known = schema["properties"] ? schema["properties"][name] : YAML::Node(YAML::NodeType::Undefined);
      const auto other = schema["additionalProperties"];
      if (!known && !other && schema["properties"]) return at + "." + name + " is not in the file";
      if (!known && !other) continue;
      if (auto wrong = of(known ? known : other, member, at + "." + name); !wrong.empty()) return wrong;
    }
    return {};
  }

  YAML::Node root_;
};

}  // namespace landfall::cli
