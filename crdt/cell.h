#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crdt/entry.h"
#include "schemas/result.h"

namespace landfall {

// What one run added up since it began, both ways: never less than it was, so the greater of two is the newer. Written
// "[p,n]". Private to this folder.
struct Cell {
  std::uint64_t p = 0, n = 0;
  friend bool operator==(const Cell&, const Cell&) = default;
};
inline constexpr std::uint64_t cell_max = std::uint64_t{1} << 62;

std::optional<Cell> parse_cell(std::string_view text);
std::string to_string(const Cell& cell);
Cell join(const Cell& a, const Cell& b);
Cell cell_at(std::span<const Entry> entries, std::string_view path);  // of what is there, [0,0] of nothing
// Errors: `out_of_range` over cell_max.
Status grow(std::uint64_t& part, std::uint64_t by, std::string_view what);

// Sums that stay at their ends: what a hostile cell holds must not wrap into a small number.
std::uint64_t sum(std::uint64_t a, std::uint64_t b);
std::int64_t difference(std::uint64_t a, std::uint64_t b);

}  // namespace landfall
