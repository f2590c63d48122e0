#include "devicetwin/twin_json.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "crdt/exact_json.h"
#include "crdt/json_text.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

using Json = nlohmann::json;

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Takes a plus sign off the front, which std::from_chars does not know. False where another sign follows.
bool take_plus(std::string_view& text) {
  if (!text.starts_with('+')) return true;
  text.remove_prefix(1);
  return !text.starts_with('-');
}

// 0.digits * 10^point, without zeros at either end; no digits: zero.
struct Decimal {
  bool negative = false;
  std::string digits;
  std::int64_t point = 0;
};

std::optional<Decimal> read_decimal(std::string_view text) {
  Decimal number;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    number.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const std::size_t whole = static_cast<std::size_t>(std::ranges::find_if_not(text, is_digit) - text.begin());
  number.digits = text.substr(0, whole);
  text.remove_prefix(whole);
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const std::size_t part = static_cast<std::size_t>(std::ranges::find_if_not(text, is_digit) - text.begin());
    number.digits += text.substr(0, part);
    text.remove_prefix(part);
  }
  if (number.digits.empty()) return {};
  number.point = static_cast<std::int64_t>(whole);
  if (!text.empty()) {
    if (text[0] != 'e' && text[0] != 'E') return {};
    text.remove_prefix(1);
    if (!take_plus(text)) return {};
    std::int32_t exponent;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exponent);
    constexpr std::int32_t exponent_max = 999'999'999;
    if (error != std::errc() || end != text.data() + text.size()) return {};
    if (exponent > exponent_max || exponent < -exponent_max) return {};
    number.point += exponent;
  }
  const auto first = number.digits.find_first_not_of('0');
  if (first == std::string::npos) return Decimal{};
  number.digits = number.digits.substr(first, number.digits.find_last_not_of('0') - first + 1);
  number.point -= static_cast<std::int64_t>(first);
  return number;
}

std::strong_ordering compare_sizes(const Decimal& a, const Decimal& b) {
  if (a.digits.empty() || b.digits.empty()) return !a.digits.empty() <=> !b.digits.empty();
  if (a.point != b.point) return a.point <=> b.point;
  return a.digits.compare(b.digits) <=> 0;
}

enum class TypeClass : std::uint8_t { none, text, boolean, whole, fraction };
TypeClass class_of(std::string_view type) {
  if (type == "string" || type == "bytes" || type == "stream") return TypeClass::text;
  if (type == "boolean") return TypeClass::boolean;
  if (type == "int" || type == "integer") return TypeClass::whole;
  if (type == "float" || type == "double") return TypeClass::fraction;
  return TypeClass::none;
}
bool is_numeric(TypeClass of) { return of == TypeClass::whole || of == TypeClass::fraction; }

bool is_int64(std::string_view text) {
  if (!take_plus(text)) return false;
  std::int64_t number;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// Finite as a 64-bit float.
bool is_fraction(std::string_view text) {
  const auto number = read_decimal(text);
  return number && number->point <= 308;
}

Error refused(std::string what) { return {Code::out_of_range, std::move(what)}; }

}  // namespace

bool is_json(std::string_view text) {
  // The parser takes a byte 00 for the end.
  return text.find('\0') == std::string_view::npos && json_nesting(text) <= document_depth_max && Json::accept(text);
}

Result<std::string> canonical_json(std::string_view text) {
  if (!is_json(text)) return refused("not JSON, or nested over 16 deep");
  text = trim(text);
  if (text[0] != '{' && text[0] != '[' && text[0] != '"') return std::string(text);
  return write_exact(read_exact(text));
}

std::string json_string(std::string_view text) { return write_exact(Json(text)); }

std::optional<std::string> string_of(std::string_view json) {
  if (!trim(json).starts_with('"')) return {};
  const Json value = Json::parse(json, nullptr, false);
  if (!value.is_string()) return {};
  return value.get<std::string>();
}

std::string merge_patch(std::string_view target, std::string_view patch) {
  Json merged = read_exact(target);
  merged.merge_patch(read_exact(patch));
  return write_exact(merged);
}

std::string plain_text(std::string_view json) { return string_of(json).value_or(std::string(trim(json))); }

std::optional<std::strong_ordering> compare_decimals(std::string_view a, std::string_view b) {
  const auto left = read_decimal(a), right = read_decimal(b);
  if (!left || !right) return {};
  if (left->negative != right->negative) return right->negative <=> left->negative;
  return left->negative ? compare_sizes(*right, *left) : compare_sizes(*left, *right);
}

bool is_decimal(std::string_view text) { return read_decimal(text).has_value(); }

Status check_type(const PropertyDefinition& definition, std::string_view json) {
  if (trim(json) == "null") return refused("null is no value");
  const TypeClass of = class_of(definition.type);
  if (of == TypeClass::none) return ok();
  const bool is_string = trim(json).starts_with('"');
  const std::string text = plain_text(json);
  const bool fits = of == TypeClass::text      ? is_string
                    : of == TypeClass::boolean ? text == "true" || text == "false"
                    : of == TypeClass::whole   ? is_int64(text)
                                               : is_fraction(text);
  return fits ? ok() : refused("the value is not " + definition.type);
}

Status check_limits(const PropertyDefinition& definition, std::string_view json) {
  if (!is_numeric(class_of(definition.type))) return ok();
  const std::string text = plain_text(json);
  const auto low = compare_decimals(text, definition.minimum), high = compare_decimals(text, definition.maximum);
  if (low && *low < 0) return refused("below the least, " + definition.minimum);
  if (high && *high > 0) return refused("above the most, " + definition.maximum);
  return ok();
}

bool same_value(const PropertyDefinition& definition, std::string_view a, std::string_view b) {
  if (a == b) return true;
  const std::string left = plain_text(a), right = plain_text(b);
  if (left == right) return true;
  const TypeClass of = class_of(definition.type);
  const bool numbers = is_numeric(of) || (of == TypeClass::none && !a.starts_with('"') && !b.starts_with('"'));
  return numbers && compare_decimals(left, right) == std::strong_ordering::equal;
}

Status check_definition(const PropertyDefinition& definition) {
  const TypeClass of = class_of(definition.type);
  if (of == TypeClass::none)
    return refused("type " + definition.type +
                   " is none of string, int, integer, float, double, boolean, bytes, stream");
  for (const auto* text : {&definition.minimum, &definition.maximum, &definition.unit, &definition.description}) {
    if (text->size() > twin_note_bytes_max) return refused("unit, limit or description over 1024 bytes");
  }
  if (!is_numeric(of)) return ok();
  for (const auto* limit : {&definition.minimum, &definition.maximum}) {
    if (!limit->empty() && !is_decimal(*limit)) return refused("the limit " + *limit + " is no number");
  }
  const auto order = compare_decimals(definition.minimum, definition.maximum);
  return order && *order > 0 ? refused("the least is above the most") : ok();
}

std::string rfc3339_ms(std::int64_t unix_ms) {
  using namespace std::chrono;
  constexpr std::int64_t ms_max = 253'402'300'799'999;  // the end of 9999
  const sys_time<milliseconds> time{milliseconds(std::clamp<std::int64_t>(unix_ms, 0, ms_max))};
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{time - day};
  char text[40];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text;
}

}  // namespace landfall
