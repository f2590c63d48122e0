#pragma once

#include <string>
#include <string_view>

#include "schemas/result.h"

// zstd frames that state their content size. For .cc files only: not installed.

namespace landfall {

// The compressed bytes, in a buffer of the calling thread that the next call overwrites; empty where they would not be
// shorter.
std::string_view zstd_compress(std::string_view bytes, int level);

// Expands one frame that yields exactly `size` bytes to `to`. Errors: `corrupt`.
Status zstd_expand(std::string_view frame, char* to, std::size_t size);

}  // namespace landfall
