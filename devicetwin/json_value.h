#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "crdt/entry.h"
#include "schemas/result.h"

// JSON within this folder: private to it.

namespace landfall {

using Json = nlohmann::json;  // keys in order: what write_json makes of equal values is equal

// Text from outside, its numbers kept as they are written (crdt/exact_json.h). Errors: `out_of_range` for what is no JSON or is nested deeper than document_depth_max; `what` says
// whose text it is.
Result<Json> read_json(std::string_view text, std::string_view what);
// The same for a value of the state, which a newer version may have written: discarded() where it cannot be read.
Json stored_json(std::string_view text);

std::string write_json(const Json& value);  // compact

// Members of an object that may be missing or of another type.
std::string text_of(const Json& object, const char* key, std::string_view otherwise = {});
std::int64_t number_of(const Json& object, const char* key, std::int64_t otherwise = 0);

// A name that somebody gave, for an error: in quotes, at most 64 characters, others than printable ASCII as '?'.
std::string shown_name(std::string_view name);

std::string time_text(std::int64_t unix_ms);  // RFC 3339, UTC, with milliseconds
std::string_view clock_text(ClockClass clock);

}  // namespace landfall
