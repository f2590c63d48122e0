#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "schemas/chunk.h"
#include "schemas/result.h"
#include "schemas/varint.h"

// Codec 1: rows cut into columns. For this folder's .cc files only: not installed. README.md holds the layout.

namespace landfall::columns {

// The columns in their stored order.
enum Column : std::size_t {
  counts,       // varints: runs, subjects, shapes, paths, forms, modelled run (0 none, else index + 1), ops
  run_names,    // 24 bytes each, ascending
  shapes,       // kind, flags, device from the subject, varint bytes before the device, all attributes but the device
  forms,        // varint dots * 2 + (1 with a value), a varint source for each dot
  value_forms,  // for each path: varints of prefix and suffix length and fixed length + 1 or 0; prefix, suffix
  name_shared,  // subjects, then paths: varint of bytes shared with the one before
  name_rest,    // varint of bytes that follow
  name_text,
  bases,  // with a modelled run: zigzag deltas, of the base of each subject, then of each path
  // One entry for each row.
  row_ms,    // zigzag delta
  row_tick,  // varint: in one millisecond less the tick before and one
  row_shape_low,
  row_shape_high,
  row_subject_low,
  row_subject_high,
  row_ops,  // varint; 0: the payload stands whole in `lengths` and `text`
  // One entry for each op.
  op_path_low,
  op_path_high,
  op_form_low,
  op_form_high,
  // One entry where it is needed.
  own_dots,      // zigzag distance back from the row
  foreign_dots,  // zigzag difference to base of subject + base of path, or to the dot of that run before
  lengths,       // varint
  text,
  column_count
};

// How a row's device attribute follows from its subject "a/b/c".
enum Device : std::uint8_t { device_as_is, device_rest /* b/c */, device_middle /* b */, device_after_last };

// Sources of a dot in a form.
inline constexpr std::uint64_t dot_last = 0;     // the last row of this chunk that put a value at this subject and path
inline constexpr std::uint64_t dot_own = 1;      // own_dots
inline constexpr std::uint64_t dot_foreign = 2;  // + index of its run: foreign_dots

inline constexpr char attribute_device = 4;
inline constexpr std::size_t run_name_bytes = 24;
inline constexpr char change_version = 1;

inline std::uint64_t zigzag(std::uint64_t difference) {
  return difference << 1 ^ (difference >> 63 != 0 ? ~std::uint64_t{0} : 0);
}
inline std::uint64_t unzigzag(std::uint64_t value) { return value >> 1 ^ (~(value & 1) + 1); }

// What lies between the first slash of a subject and its end, or its last slash.
inline std::string_view device_of(std::string_view subject, std::uint8_t device) {
  const std::size_t first = subject.find('/');
  if (first == std::string_view::npos) return {};
  const std::size_t end = device == device_middle ? subject.rfind('/') : subject.size();
  return end <= first ? std::string_view() : subject.substr(first + 1, end - first - 1);
}

// The rows as columns, or empty where they would not come back byte for byte. header.rows_bytes is theirs.
std::string encode(const ChunkHeader& header, std::string_view rows);

// The rows again. Takes any bytes; allocates a small multiple of header.rows_bytes, which is bounded.
// Errors: `corrupt`, `out_of_range`.
Status decode(const ChunkHeader& header, std::string_view stored, std::string& rows);

}  // namespace landfall::columns
