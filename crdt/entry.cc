#include "crdt/entry.h"

#include <algorithm>

namespace landfall {

std::span<const Entry> at(std::span<const Entry> entries, std::string_view path) {
  const auto found =
      std::ranges::equal_range(entries, path, {}, [](const Entry& e) { return std::string_view(e.path); });
  return {found.begin(), found.end()};
}

std::vector<const Entry*> under(std::span<const Entry> entries, std::string_view path) {
  std::vector<const Entry*> found;
  auto entry = std::ranges::lower_bound(entries, path, {}, [](const Entry& e) { return std::string_view(e.path); });
  for (; entry != entries.end() && entry->path.starts_with(path); ++entry) {
    if (entry->path.size() == path.size() || entry->path[path.size()] == '/') found.push_back(&*entry);
  }
  return found;
}

}  // namespace landfall
