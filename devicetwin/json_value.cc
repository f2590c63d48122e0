#include "devicetwin/json_value.h"

#include <cstdio>
#include <ctime>

#include "crdt/exact_json.h"
#include "crdt/json_text.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

// Values of the state may stand inside others there.
constexpr std::size_t stored_depth_max = 4 * document_depth_max;

}  // namespace

Result<Json> read_json(std::string_view text, std::string_view what) {
  if (json_nesting(text) > document_depth_max) {
    return Error{Code::out_of_range,
                 std::string(what) + ": nested deeper than " + std::to_string(document_depth_max) + " levels"};
  }
  Json value = read_exact(text);
  if (value.is_discarded()) return Error{Code::out_of_range, std::string(what) + ": not JSON"};
  return value;
}

Json stored_json(std::string_view text) {
  return json_nesting(text) > stored_depth_max ? Json(Json::value_t::discarded) : read_exact(text);
}

std::string write_json(const Json& value) { return write_exact(value); }

std::string text_of(const Json& object, const char* key, std::string_view otherwise) {
  if (!object.is_object()) return std::string(otherwise);
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string(otherwise);
}

std::int64_t number_of(const Json& object, const char* key, std::int64_t otherwise) {
  if (!object.is_object()) return otherwise;
  const auto it = object.find(key);
  return it != object.end() && it->is_number_integer() ? it->get<std::int64_t>() : otherwise;
}

std::string time_text(std::int64_t unix_ms) {
  const std::int64_t ms = ((unix_ms % 1000) + 1000) % 1000;
  const auto seconds = static_cast<std::time_t>((unix_ms - ms) / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[96];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(ms));
  return text;
}

std::string_view clock_text(ClockClass clock) {
  switch (clock) {
    case ClockClass::untrusted: return "untrusted";
    case ClockClass::holdover: return "holdover";
    case ClockClass::synced: return "synced";
    case ClockClass::authenticated: return "authenticated";
  }
  return "untrusted";
}

std::string shown_name(std::string_view name) {
  std::string text = "'";
  for (const char c : name.substr(0, 64)) text += c >= 0x20 && c < 0x7f ? c : '?';
  return text + (name.size() > 64 ? "...'" : "'");
}

}  // namespace landfall
