#include "crdt/set.h"

#include <algorithm>

#include "crdt/register.h"

namespace landfall {
namespace {

std::string path_of(std::string_view prefix, std::string_view element) {
  return std::string(prefix) + "/" + escape_token(element);
}

}  // namespace

Op add_element_op(std::span<const Entry> entries, std::string_view prefix, std::string_view element) {
  return put_op(entries, path_of(prefix, element), std::string(set_element_value));
}

Op remove_element_op(std::span<const Entry> entries, std::string_view prefix, std::string_view element) {
  return erase_op(entries, path_of(prefix, element));
}

bool has_element(std::span<const Entry> entries, std::string_view prefix, std::string_view element) {
  return !at(entries, path_of(prefix, element)).empty();
}

std::vector<std::string> elements(std::span<const Entry> entries, std::string_view prefix) {
  std::vector<std::string> found;
  std::string_view last;
  for (const Entry* entry : under(entries, prefix)) {
    if (entry->path.size() == prefix.size()) continue;
    const std::string_view token = std::string_view(entry->path).substr(prefix.size() + 1);
    if (token.find('/') != std::string_view::npos || (!found.empty() && token == last)) continue;
    last = token;
    found.push_back(unescape_token(token));
  }
  std::ranges::sort(found);  // '/' and '~' stand elsewhere as tokens
  return found;
}

}  // namespace landfall
