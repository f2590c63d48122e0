#include "crdt/register.h"

#include <algorithm>
#include <tuple>

namespace landfall {

bool is_later(const Entry& a, const Entry& b) {
  const auto rank = [](const Entry& e) { return std::tie(e.clock, e.time, e.dot.run, e.dot.seq); };
  return rank(a) > rank(b);
}

const Entry* latest(std::span<const Entry> siblings) {
  const auto found = std::ranges::min_element(siblings, is_later);
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
