// Properties: frames come out as they went in whatever the cuts; a broken byte anywhere is found; a reader in error stays
// there and one that waits holds no more than a frame.

#include "schemas/frame.h"

#include <gtest/gtest.h>

#include <vector>

#include "schemas/crc32c.h"

namespace landfall {
namespace {

struct Frame {
  FrameType type;
  std::string body;
  friend bool operator==(const Frame&, const Frame&) = default;
};

// Feeds `input` to the reader; returns the frames, and the error that is not "more bytes needed".
std::vector<Frame> feed(FrameReader& reader, std::string_view input, std::optional<Code>& error) {
  std::vector<Frame> frames;
  while (true) {
    auto frame = reader.next(input);
    if (frame.ok()) {
      frames.push_back({frame->type, std::string(frame->body)});
      continue;
    }
    if (frame.error().code != Code::not_found) error = frame.error().code;
    return frames;
  }
}

TEST(FrameReader, EveryCutGivesTheSameFrames) {
  const std::vector<Frame> sent = {
      {FrameType::hello, "first"}, {FrameType::heartbeat, ""}, {FrameType::chunk, std::string(70, 'c')}};
  std::string bytes;
  for (const Frame& frame : sent) bytes += encode_frame(frame.type, frame.body);
  for (std::size_t a = 0; a <= bytes.size(); ++a) {
    for (std::size_t b = a; b <= bytes.size(); ++b) {
      FrameReader reader;
      std::vector<Frame> got;
      std::optional<Code> error;
      for (const std::string& part : {bytes.substr(0, a), bytes.substr(a, b - a), bytes.substr(b)}) {
        for (Frame& frame : feed(reader, part, error)) got.push_back(std::move(frame));
      }
      ASSERT_EQ(got, sent) << a << " " << b;
      ASSERT_FALSE(error.has_value());
    }
  }
}

TEST(FrameReader, EveryBitFlipIsFoundAndTheReaderStaysInError) {
  const std::string bytes = encode_frame(FrameType::ack, "some body");
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << (bit % 8));
    FrameReader reader;
    std::optional<Code> error;
    EXPECT_TRUE(feed(reader, flipped + bytes, error).empty()) << bit;
    if (!error) continue;  // a longer body is stated, and it has not come
    error.reset();
    EXPECT_TRUE(feed(reader, bytes, error).empty());
    EXPECT_EQ(error, Code::corrupt);
  }
}

TEST(FrameReader, RefusesALengthOverItsLimitBeforeTheBodyComes) {
  const std::string bytes = encode_frame(FrameType::chunk, std::string(frame_before_hello_bytes_max + 1, 'x'));
  FrameReader reader;
  std::optional<Code> error;
  feed(reader, std::string_view(bytes).substr(0, frame_header_bytes), error);
  EXPECT_EQ(error, Code::out_of_range);
  FrameReader later(frame_bytes_max);
  error.reset();
  EXPECT_EQ(feed(later, bytes, error).size(), 1u);
}

TEST(Crc32c, AgreesWithTheStandardAndItsTwoFormsWithOneAnother) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720 B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string bytes;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(crc32c(bytes), detail::crc32c_by_table(bytes, 0));
    for (const std::size_t cut : {bytes.size() / 2, bytes.size() / 3}) {
      EXPECT_EQ(crc32c(bytes.substr(cut), crc32c(bytes.substr(0, cut))), crc32c(bytes));
    }
    bytes += static_cast<char>(i * 37);
  }
}

}  // namespace
}  // namespace landfall
