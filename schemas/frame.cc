#include "schemas/frame.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "schemas/crc32c.h"

namespace landfall {
namespace {

constexpr std::string_view magic = "LFL1";
constexpr std::uint8_t version = 1;
constexpr std::size_t version_at = 4, type_at = 5, length_at = 8, crc_at = 12;
// A buffer that grew beyond this is given back between frames, so that an idle session holds little.
constexpr std::size_t kept_buffer_bytes = 64 << 10;

void store_le32(char* to, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) to[i] = static_cast<char>(value >> (8 * i));
}
std::uint32_t load_le32(const char* from) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}

std::uint32_t frame_crc(const char* header, std::string_view body) { return crc32c(body, crc32c({header, crc_at})); }

bool is_known(std::uint8_t type) {
  return type >= static_cast<std::uint8_t>(FrameType::hello) &&
         type <= static_cast<std::uint8_t>(FrameType::snapshot_part);
}

Error corrupt(const char* what) { return {Code::corrupt, std::string("frame: ") + what}; }

}  // namespace

std::string encode_frame(FrameType type, std::string_view body) {
  LANDFALL_CHECK(body.size() <= frame_bytes_max);
  std::string frame;
  frame.reserve(frame_header_bytes + body.size());
  frame.append(magic);
  frame.resize(frame_header_bytes);
  frame[version_at] = static_cast<char>(version);
  frame[type_at] = static_cast<char>(type);
  store_le32(&frame[length_at], static_cast<std::uint32_t>(body.size()));
  store_le32(&frame[crc_at], frame_crc(frame.data(), body));
  frame.append(body);
  return frame;
}

Result<FrameView> FrameReader::next(std::string_view& input) {
  if (failed_) return corrupt("stream is broken already");
  if (taken_) {
    taken_ = false;
    if (input.empty() && buffer_.capacity() > kept_buffer_bytes) {
      buffer_ = std::string();
    } else {
      buffer_.clear();
    }
  }
  const auto take_until = [&](std::size_t size) {
    const std::size_t count = std::min(size - buffer_.size(), input.size());
    buffer_.append(input.substr(0, count));
    input.remove_prefix(count);
    return buffer_.size() == size;
  };
  const auto fail = [&](Error error) {
    failed_ = true;
    buffer_ = std::string();
    return error;
  };

  if (buffer_.size() < frame_header_bytes && !take_until(frame_header_bytes)) {
    return Error{Code::not_found, "frame: more bytes needed"};
  }
  if (std::memcmp(buffer_.data(), magic.data(), magic.size()) != 0) return fail(corrupt("bad magic"));
  if (static_cast<std::uint8_t>(buffer_[version_at]) != version) return fail(corrupt("unknown version"));
  const auto type = static_cast<std::uint8_t>(buffer_[type_at]);
  if (!is_known(type)) return fail(corrupt("unknown type"));
  const std::size_t length = load_le32(&buffer_[length_at]);
  if (length > body_bytes_max_) {
    return fail({Code::out_of_range,
                 "frame: body of " + std::to_string(length) + " bytes, limit " + std::to_string(body_bytes_max_)});
  }
  if (!take_until(frame_header_bytes + length)) return Error{Code::not_found, "frame: more bytes needed"};
  const std::string_view body = std::string_view(buffer_).substr(frame_header_bytes);
  if (load_le32(&buffer_[crc_at]) != frame_crc(buffer_.data(), body)) return fail(corrupt("CRC does not match"));
  taken_ = true;
  return FrameView{static_cast<FrameType>(type), body};
}

}  // namespace landfall
