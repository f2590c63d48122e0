#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "schemas/limits.h"
#include "schemas/result.h"

namespace landfall {

// Everything between nodes travels in frames: 16 bytes of header (magic "LFL1", version u8, type u8, flags u16,
// body length u32, CRC32C u32 of header bytes 0-11 and body; integers little-endian), then one Cap'n Proto message.
enum class FrameType : std::uint8_t {
  hello = 1,
  chunk = 2,  // body: a stored chunk, byte for byte
  ack = 3,
  heartbeat = 4,
  bye = 5,    // last frame: why the sender closes
  enrol = 6,  // from an invite, or from a node that renews; never part of a session
  enrolled = 7,
  digest = 8,  // this and all below: to peers whose hello says that they understand it
  snapshot_offer = 9,
  snapshot_want = 10,
  snapshot_part = 11,
};
inline constexpr std::size_t frame_header_bytes = 16;

std::string encode_frame(FrameType type, std::string_view body);

struct FrameView {
  FrameType type;
  std::string_view body;  // borrows the reader's buffer until the next call
};

// Cuts a byte stream into frames. Accepts any bytes and any cut; never holds more than one frame and its header.
class FrameReader {
 public:
  explicit FrameReader(std::size_t body_bytes_max = frame_before_hello_bytes_max) : body_bytes_max_(body_bytes_max) {}
  void set_body_bytes_max(std::size_t bytes) { body_bytes_max_ = bytes; }

  // Takes bytes off the front of `input` until a frame is complete or the input ends. Returns not_found where more
  // bytes are needed. Errors: `corrupt` (magic, version, type, CRC), `out_of_range` (length). After an error it stays
  // in error.
  Result<FrameView> next(std::string_view& input);

 private:
  std::size_t body_bytes_max_;
  std::string buffer_;
  bool taken_ = false;
  bool failed_ = false;
};

}  // namespace landfall
