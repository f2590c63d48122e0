#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

// Roaring's portable format (github.com/RoaringBitmap/RoaringFormatSpec), written and read by ourselves: CRoaring 0.2.66
// cannot check bytes from outside, and stored bytes must not change with a library's choices. Every container
// takes its shortest form, so a bitmap is never longer than CRoaring's after run_optimize. Not installed.

namespace landfall {

struct Interval32 {
  std::uint32_t first, last;  // inclusive
};

// `intervals` ascend and do not touch each other.
std::string encode_roaring(const std::vector<Interval32>& intervals);

// Calls `visit` with ascending intervals, which may touch each other, and stops where it returns false. Accepts any
// bytes; false where they are not one whole bitmap. Allocates nothing.
bool decode_roaring(std::string_view bytes, const std::function<bool(Interval32)>& visit);

}  // namespace landfall
