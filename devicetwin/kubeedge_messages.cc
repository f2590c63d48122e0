#include "devicetwin/kubeedge_messages.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "devicetwin/twin_json.h"
#include "schemas/limits.h"

namespace landfall::kubeedge {
namespace {

using Json = nlohmann::json;

const Error not_read{Code::out_of_range, "Unmarshal update request body failed, please check the request"};
const Error no_twin{Code::out_of_range, "Update twin error, key:twin does not exist"};
const Error bad_key{Code::out_of_range,
                    "The key of twin must only include upper or lowercase letters, number, english, and special letter "
                    "- _ . , : / @ # and the length of key should be less than 128 bytes"};
const Error bad_value{Code::out_of_range,
                      "The value of twin must only include upper or lowercase letters, number, english, and special "
                      "letter - _ . , : / @ # and the length of value should be less than 512 bytes"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

// As Go finds a field: by its name, else by its name in another case. Null is none.
const Json* field(const Json& object, std::string_view name) {
  auto found = object.find(name);
  for (auto it = object.begin(); found == object.end() && it != object.end(); ++it) {
    if (is_same_word(it.key(), name)) found = it;
  }
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// Each returns false where the field is there and is of another type.
bool take(const Json& object, std::string_view name, std::optional<std::string>& to) {
  const Json* value = field(object, name);
  if (value == nullptr) return true;
  if (!value->is_string()) return false;
  to = value->get<std::string>();
  return true;
}
bool take(const Json& object, std::string_view name, std::optional<bool>& to) {
  const Json* value = field(object, name);
  if (value == nullptr) return true;
  if (!value->is_boolean()) return false;
  to = value->get<bool>();
  return true;
}
bool is_int64(const Json& object, std::string_view name) {
  const Json* value = field(object, name);
  if (value == nullptr) return true;
  if (value->is_number_unsigned()) return value->get<std::uint64_t>() <= INT64_MAX;
  return value->is_number_integer();
}
// The field as an object; where it is left out, nothing.
bool take(const Json& object, std::string_view name, const Json*& to) {
  to = field(object, name);
  return to == nullptr || to->is_object();
}

bool take_side(const Json& property, std::string_view name, std::optional<std::string>& to) {
  const Json *side, *metadata;
  if (!take(property, name, side)) return false;
  if (side == nullptr) return true;
  return take(*side, "value", to) && take(*side, "metadata", metadata) &&
         (metadata == nullptr || is_int64(*metadata, "timestamp"));
}

bool is_version(const Json& property, std::string_view name) {
  const Json* version;
  return take(property, name, version) &&
         (version == nullptr || (is_int64(*version, "cloud") && is_int64(*version, "edge")));
}

bool take_change(const Json& property, Change& change) {
  const Json* metadata;
  return property.is_object() && take_side(property, "expected", change.expected) &&
         take_side(property, "actual", change.actual) && take(property, "optional", change.optional) &&
         take(property, "metadata", metadata) && (metadata == nullptr || take(*metadata, "type", change.type)) &&
         is_version(property, "expected_version") && is_version(property, "actual_version");
}

// The body as an object, with what every message has. False where it is none.
bool read_base(std::string_view payload, Json& body, std::string& event_id) {
  if (!is_json(payload)) return false;
  body = Json::parse(payload, nullptr, false);
  if (!body.is_object()) return false;
  std::optional<std::string> id;
  if (!take(body, "event_id", id)) return false;
  event_id = id.value_or("");
  return is_int64(body, "timestamp");
}

bool is_allowed(char c) {
  return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
         std::string_view("-_.,:/@#").find(c) != std::string_view::npos;
}
bool is_value(const std::optional<std::string>& value) {
  constexpr std::size_t bytes_max = 512;
  return !value || (value->size() <= bytes_max && std::ranges::all_of(*value, is_allowed));
}

}  // namespace

Result<Update> read_update(std::string_view payload, std::string& event_id) {
  Json body;
  if (payload.size() > kubeedge_update_bytes_max) return not_read;
  if (!read_base(payload, body, event_id)) return not_read;
  const Json* twin;
  if (!take(body, "twin", twin)) return not_read;
  Update update;
  if (twin != nullptr && twin->size() > kubeedge_update_properties_max) {
    return Error{Code::out_of_range, "More than " + std::to_string(kubeedge_update_properties_max) + " properties"};
  }
  for (auto it = twin ? twin->begin() : Json::const_iterator(); twin != nullptr && it != twin->end(); ++it) {
    auto& change = update.twin[it.key()];
    if (it->is_null()) continue;
    if (!take_change(*it, change.emplace())) return not_read;
  }
  if (twin == nullptr) return no_twin;
  for (const auto& [name, change] : update.twin) {
    if (!is_property_name(name)) return bad_key;
    if (change && !(is_value(change->expected) && is_value(change->actual))) return bad_value;
  }
  return update;
}

Status read_get(std::string_view payload, std::string& event_id) {
  Json body;
  if (read_base(payload, body, event_id)) return ok();
  event_id.clear();
  return Error{Code::out_of_range, "Unmarshal twin info failed, please check the request"};
}

Result<std::string> read_state(std::string_view payload) {
  Json body;
  std::string event_id;
  std::optional<std::string> state;
  if (!read_base(payload, body, event_id) || !take(body, "state", state)) return not_read;
  constexpr std::array<std::string_view, 7> words = {"online",    "offline",      "ok",   "unknown",
                                                     "unhealthy", "disconnected", "error"};
  if (!state || std::ranges::none_of(words, [&](auto word) { return is_same_word(*state, word); })) return not_read;
  return *state;
}

bool is_online(std::string_view state) { return is_same_word(state, "online") || is_same_word(state, "ok"); }

}  // namespace landfall::kubeedge
