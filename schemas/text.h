#pragma once

#include <string_view>

namespace landfall {

// UTF-8 (RFC 3629: shortest form, no surrogates) without control characters (U+0000-001F, U+007F-009F), so that it can
// go into a log line, a header or a terminal as it is.
bool is_clean_text(std::string_view text);

}  // namespace landfall
