#include "schemas/text.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace landfall {
namespace {

constexpr std::uint64_t ones = 0x0101010101010101;
constexpr std::uint64_t highs = 0x8080808080808080;

// True where all eight bytes are printable ASCII, 0x20 to 0x7e. Borrows of the subtraction can only raise an alarm that
// the slow path then lifts.
bool is_printable_ascii(std::uint64_t x) {
  const std::uint64_t below_space = x - ones * 0x20;
  const std::uint64_t delete_or_above = x + ones;
  return ((x | below_space | delete_or_above) & highs) == 0;
}

// The same for fewer than eight bytes: loads that overlap, as most subjects and paths end in such a rest.
bool is_short_printable_ascii(const unsigned char* p, std::size_t left) {
  std::uint64_t x = ones * ' ';
  if (left >= 4) {
    std::uint32_t first, last;
    std::memcpy(&first, p, 4);
    std::memcpy(&last, p + left - 4, 4);
    x = static_cast<std::uint64_t>(last) << 32 | first;
  } else if (left > 0) {
    x = (x & ~std::uint64_t{0xffffff}) | static_cast<std::uint64_t>(p[0]) << 16 |
        static_cast<std::uint64_t>(p[left / 2]) << 8 | p[left - 1];
  }
  return is_printable_ascii(x);
}

// Length of the clean character that `p` begins with, 0 if there is none.
std::size_t clean_character(const unsigned char* p, std::size_t left) {
  const auto continues = [&](std::size_t i) { return (p[i] & 0xc0) == 0x80; };
  if (p[0] < 0x80) return p[0] >= 0x20 && p[0] != 0x7f ? 1 : 0;
  if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
  if (p[0] < 0xe0) {
    if (left < 2 || !continues(1)) return 0;
    return p[0] == 0xc2 && p[1] < 0xa0 ? 0 : 2;
  }
  if (p[0] < 0xf0) {
    if (left < 3 || !continues(1) || !continues(2)) return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0;
    return 3;
  }
  if (left < 4 || !continues(1) || !continues(2) || !continues(3)) return 0;
  if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return 0;
  return 4;
}

}  // namespace

bool is_clean_text(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t left = text.size();
  if (left < 8 && is_short_printable_ascii(p, left)) return true;
  while (left > 0) {
    if (left >= 8) {
      std::uint64_t x;
      std::memcpy(&x, p, 8);
      if (is_printable_ascii(x)) {
        p += 8;
        left -= 8;
        if (left > 0 && left < 8 && is_short_printable_ascii(p, left)) return true;
        continue;
      }
    }
    const std::size_t length = clean_character(p, left);
    if (length == 0) return false;
    p += length;
    left -= length;
  }
  return true;
}

}  // namespace landfall
