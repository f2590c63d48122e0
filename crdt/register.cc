#include "crdt/register.h"

#include <algorithm>
#include <tuple>

namespace landfall {

const Entry* latest(std::span<const Entry> siblings) {
  const auto rank = [](const Entry& e) { return std::tie(e.clock, e.time, e.dot.run, e.dot.seq); };
  const auto found =
      std::ranges::max_element(siblings, [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return found == siblings.end() ? nullptr : &*found;
}

Op put_op(std::span<const Entry> entries, std::string_view path, std::string value) {
  Op op = erase_op(entries, path);
  op.value = std::move(value);
  return op;
}

Op erase_op(std::span<const Entry> entries, std::string_view path) {
  Op op{std::string(path), {}, {}};
  for (const Entry& entry : at(entries, path)) op.supersedes.push_back(entry.dot);
  return op;
}

}  // namespace landfall
