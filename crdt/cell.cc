#include "crdt/cell.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace landfall {
namespace {

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}
bool take(std::string_view& text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number <= cell_max;
}

}  // namespace

std::optional<Cell> parse_cell(std::string_view text) {
  Cell cell;
  const bool whole = take(text, '[') && take(text, cell.p) && take(text, ',') && take(text, cell.n) && take(text, ']');
  if (!whole || !text.empty()) return {};
  return cell;
}

std::string to_string(const Cell& cell) { return "[" + std::to_string(cell.p) + "," + std::to_string(cell.n) + "]"; }

Cell join(const Cell& a, const Cell& b) { return {std::max(a.p, b.p), std::max(a.n, b.n)}; }

Cell cell_at(std::span<const Entry> entries, std::string_view path) {
  Cell cell;
  for (const Entry& entry : at(entries, path)) cell = join(cell, parse_cell(entry.value).value_or(Cell{}));
  return cell;
}

Status grow(std::uint64_t& part, std::uint64_t by, std::string_view what) {
  if (by > cell_max || part > cell_max - by) {
    return Error{Code::out_of_range, std::string(what) + ": this run has counted to the end"};
  }
  part += by;
  return ok();
}

std::uint64_t sum(std::uint64_t a, std::uint64_t b) {
  return a > std::numeric_limits<std::uint64_t>::max() - b ? std::numeric_limits<std::uint64_t>::max() : a + b;
}

std::int64_t difference(std::uint64_t a, std::uint64_t b) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  if (a >= b) return static_cast<std::int64_t>(std::min(a - b, most));
  return b - a > most ? std::numeric_limits<std::int64_t>::min() : -static_cast<std::int64_t>(b - a);
}

}  // namespace landfall
