#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "devicetwin/twin.h"
#include "schemas/result.h"

namespace landfall {

// JSON as text, as values travel and are shown.

// True for one JSON value in UTF-8 that is nested no deeper than document_depth_max.
bool is_json(std::string_view text);
// The text of the same value without spaces, keys in order; a number stays as it is written. Errors: `out_of_range` for
// what is_json refuses.
Result<std::string> canonical_json(std::string_view text);
// A text as a JSON string, and back; nothing for JSON that is no string.
std::string json_string(std::string_view text);
std::optional<std::string> string_of(std::string_view json);
// RFC 7396: `patch` applied to `target`, both JSON that is_json accepts.
std::string merge_patch(std::string_view target, std::string_view patch);

// What a value is to a type: the text of a JSON string, anything else as it is written.
std::string plain_text(std::string_view json);

// Compares two decimal numbers as written ("-1.50", "15e-1"), exactly and without floating point. Nothing where either is
// none, or has an exponent over nine digits.
std::optional<std::strong_ordering> compare_decimals(std::string_view a, std::string_view b);
bool is_decimal(std::string_view text);

// Whether a value may be one of the property's: of its type, and within its limits. Errors: `out_of_range` saying which.
Status check_type(const PropertyDefinition& definition, std::string_view json);
Status check_limits(const PropertyDefinition& definition, std::string_view json);
// True for values that mean the same to the type: 20 and "20.0" for a float.
bool same_value(const PropertyDefinition& definition, std::string_view a, std::string_view b);
// Errors: `out_of_range` for an unknown type or policy, limits that are no numbers, texts too long.
Status check_definition(const PropertyDefinition& definition);

// "2026-01-31T12:00:00.000Z"; years 1970 to 9999, beyond them clamped.
std::string rfc3339_ms(std::int64_t unix_ms);

}  // namespace landfall
