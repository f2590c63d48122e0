#pragma once

#include <cstddef>
#include <string_view>

namespace landfall {

// How deep the brackets of a text go, whether it is JSON or not: nothing recurses over it before this is known. To write,
// copy or compare a parsed value takes a stack frame per level.
std::size_t json_nesting(std::string_view text);

}  // namespace landfall
