#pragma once

#include <cstdint>
#include <string_view>

namespace landfall {

// CRC-32C (Castagnoli, RFC 3720 B.4) of `bytes`, going on from the CRC of what came before. Uses SSE 4.2 where the
// processor has it (about 8 GB/s), a table of 8 x 256 elsewhere (about 1.5 GB/s). Our own, because Debian has no library
// package for it.
std::uint32_t crc32c(std::string_view bytes, std::uint32_t before = 0);

namespace detail {
// The portable form, apart so that a test can hold both against each other.
std::uint32_t crc32c_by_table(std::string_view bytes, std::uint32_t before);
}  // namespace detail

}  // namespace landfall
