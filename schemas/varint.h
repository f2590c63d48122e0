#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// Unsigned LEB128 in its shortest form. Header only: rows and received contexts read one every few nanoseconds.

namespace landfall {

inline constexpr std::size_t varint_bytes_max = 10;

inline std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

// Writes to `to`, which has room for varint_size(value) bytes; returns the end.
inline char* put_varint(char* to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) *to++ = static_cast<char>(value | 0x80);
  *to++ = static_cast<char>(value);
  return to;
}

inline void append_varint(std::string& to, std::uint64_t value) {
  char bytes[varint_bytes_max];
  to.append(bytes, put_varint(bytes, value));
}

// Takes a varint off the front of `from`. False where it is cut off, longer than needed or over 64 bits.
inline bool take_varint(std::string_view& from, std::uint64_t& value) {
  if (!from.empty() && static_cast<unsigned char>(from[0]) < 0x80) {
    value = static_cast<unsigned char>(from[0]);
    from.remove_prefix(1);
    return true;
  }
  std::uint64_t result = 0;
  for (std::size_t i = 0; i < from.size() && i < varint_bytes_max; ++i) {
    const auto byte = static_cast<unsigned char>(from[i]);
    if (i == varint_bytes_max - 1 && byte > 1) return false;
    result |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      if (byte == 0 && i > 0) return false;
      value = result;
      from.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

}  // namespace landfall
