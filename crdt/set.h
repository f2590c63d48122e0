#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/entry.h"
#include "schemas/op.h"

namespace landfall {

// Sets of short texts below a path: tags, groups, revoked ids. An element is the path `prefix` "/" escape_token(element),
// with set_element_value there. It is in the set while one write of it lives, so an add wins over a concurrent remove,
// which takes away exactly the writes that its author saw.
//
// A grow-only set is the same without removes: what is in it stays in it. Re-admission is a new element.
//
// encode_ops refuses elements that no path can hold: control characters, or over op_path_bytes_max with the prefix.
inline constexpr std::string_view set_element_value = "1";

Op add_element_op(std::span<const Entry> entries, std::string_view prefix, std::string_view element);
Op remove_element_op(std::span<const Entry> entries, std::string_view prefix, std::string_view element);

bool has_element(std::span<const Entry> entries, std::string_view prefix, std::string_view element);
std::vector<std::string> elements(std::span<const Entry> entries, std::string_view prefix);  // ordered, each once

}  // namespace landfall
