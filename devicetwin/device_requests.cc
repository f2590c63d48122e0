#include "devicetwin/device_requests.h"

#include <vector>

#include "devicetwin/json_value.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

using What = DeviceRequestTopic::What;
using Members = std::vector<std::pair<std::string, std::string_view>>;

Error wrong(std::string what) { return {Code::out_of_range, std::move(what)}; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}
// How long the string or number or bracketed value is that valid JSON goes on with.
std::size_t value_size(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (depth == 0 && (c == ',' || c == ':' || c == '}')) return i;
    if (c == '"') in_string = true;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
  }
  return text.size();
}
// The members of an object with their values as they were written, so that a number keeps its digits. `text` is valid.
Members members_of(std::string_view text) {
  Members members;
  text = trimmed(text).substr(1);
  while (!trimmed(text).starts_with('}')) {
    const std::string_view key = text.substr(0, value_size(text));
    text.remove_prefix(key.size() + 1);
    const std::string_view value = text.substr(0, value_size(text));
    text.remove_prefix(value.size());
    members.emplace_back(stored_json(trimmed(key)).get<std::string>(), trimmed(value));
    if (text.starts_with(',')) text.remove_prefix(1);
  }
  return members;
}

Status read_desired(std::string_view payload, DeviceRequest& request) {
  for (const auto& [name, value] : members_of(payload)) {
    if (value == "null")
      request.desired[name] = std::nullopt;
    else
      request.desired[name] = std::string(value);
  }
  return ok();
}

// {"value":...,"status":...,"error":...,"time":...}: every other object is a value itself.
bool is_long_form(const Json& value) {
  if (!value.is_object() || !value.contains("value")) return false;
  for (const auto& [key, part] : value.items()) {
    if (key != "value" && key != "status" && key != "error" && key != "time") return false;
  }
  return true;
}

Status read_reported(std::string_view payload, DeviceRequest& request) {
  for (const auto& [name, text] : members_of(payload)) {
    const Json value = stored_json(text);
    auto& to = request.reported[name];
    to.reset();
    if (value.is_null()) continue;
    Twins::Reported reported;
    reported.value = text;
    if (is_long_form(value)) {
      for (const auto& [key, part] : members_of(text)) {
        if (key == "value") reported.value = part;
      }
      reported.status = text_of(value, "status", "applied");
      reported.error = text_of(value, "error");
      reported.device_time_ms = number_of(value, "time");
      if (reported.status != "applied" && reported.status != "rejected" && reported.status != "pending")
        return wrong("property " + name + ": status is \"applied\", \"rejected\" or \"pending\"");
    }
    to = std::move(reported);
  }
  return ok();
}

Status read_flag(const Json& body, const char* key, bool& flag) {
  if (!body.contains(key) || !body[key].is_boolean()) return wrong(std::string("\"") + key + "\" is true or false");
  flag = body[key].get<bool>();
  return ok();
}

Status read_body(What what, std::string_view payload, const Json& body, DeviceRequest& request) {
  switch (what) {
    case What::desired: return read_desired(payload, request);
    case What::reported: return read_reported(payload, request);
    case What::get: return ok();
    case What::result:
      LANDFALL_TRY(read_flag(body, "succeeded", request.yes));
      for (const auto& [key, value] : members_of(payload)) {
        if (key == "result") request.result = value;
      }
      return ok();
    case What::alarm:
      LANDFALL_TRY(read_flag(body, "active", request.yes));
      request.severity = text_of(body, "severity", "major");
      request.text = text_of(body, "text");
      return ok();
  }
  return ok();
}

std::string_view example(What what) {
  switch (what) {
    case What::desired: return R"({"property":value} with null to delete)";
    case What::reported: return R"({"property":value} or {"property":{"value":...,"status":"applied"}})";
    case What::get: return "";
    case What::result: return R"({"succeeded":true,"result":...})";
    case What::alarm: return R"({"active":true,"severity":"major","text":"..."})";
  }
  return "";
}

}  // namespace

std::optional<DeviceRequestTopic> read_request_topic(std::string_view topic) {
  constexpr std::string_view ours = "landfall/", result = "/result", command = "command/", alarm = "alarm/";
  if (!topic.starts_with(ours)) return std::nullopt;
  topic.remove_prefix(ours.size());
  const auto slash = topic.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view level = topic.substr(0, slash);
  std::string_view rest = topic.substr(slash + 1);
  if (rest == "twin/desired") return DeviceRequestTopic{What::desired, level, {}};
  if (rest == "twin/reported") return DeviceRequestTopic{What::reported, level, {}};
  if (rest == "twin/get") return DeviceRequestTopic{What::get, level, {}};
  if (rest.starts_with(alarm)) return DeviceRequestTopic{What::alarm, level, rest.substr(alarm.size())};
  if (!rest.starts_with(command) || !rest.ends_with(result)) return std::nullopt;
  rest.remove_prefix(command.size());
  if (rest.size() <= result.size()) return std::nullopt;
  rest.remove_suffix(result.size());
  if (rest.find('/') != std::string_view::npos) return std::nullopt;
  return DeviceRequestTopic{What::result, level, rest};
}

std::string device_level(std::string_view device) {
  std::string level;
  for (const char c : device) {
    if (c == '/')
      level += "%2F";
    else if (c == '#')
      level += "%23";
    else
      level += c;
  }
  return level;
}

Result<std::string> device_of_level(std::string_view level) {
  std::string device;
  for (std::size_t i = 0; i < level.size(); ++i) {
    if (level[i] != '%') {
      device += level[i];
      continue;
    }
    const int high = i + 2 < level.size() ? hex_digit(level[i + 1]) : -1;
    const int low = i + 2 < level.size() ? hex_digit(level[i + 2]) : -1;
    if (high < 0 || low < 0) return wrong("the topic's device: % begins two hexadecimal digits");
    device += static_cast<char>(high * 16 + low);
    i += 2;
  }
  const auto name = parse_device(device);
  return name ? Result<std::string>(name->text()) : Result<std::string>(name.error());
}

Result<DeviceRequest> read_request(const DeviceRequestTopic& topic, std::string_view payload) {
  DeviceRequest request;
  auto device = device_of_level(topic.level);
  if (!device) return std::move(device).error();
  request.device = std::move(*device);
  if (topic.what == What::get) return request;
  if (payload.size() > mqtt_payload_bytes_max)
    return wrong("payload: over " + std::to_string(mqtt_payload_bytes_max) + " bytes");
  const auto body = read_json(payload, "payload");
  if (!body) return wrong(body.error().detail + ": it is " + std::string(example(topic.what)));
  if (!body->is_object() || !trimmed(payload).starts_with('{'))
    return wrong("payload: it is " + std::string(example(topic.what)));
  LANDFALL_TRY(read_body(topic.what, payload, *body, request));
  return request;
}

}  // namespace landfall
