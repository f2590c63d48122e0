// Properties: a chunk holds its header and rows; no change to its bytes goes unnoticed where it would be believed; the
// stated lengths are bounded before anything is allocated for them.

#include <gtest/gtest.h>
#include <zstd.h>

#include <cstring>

#include "samples.h"
#include "schemas/chunk.h"

namespace landfall {
namespace {

TEST(Chunk, HoldsHeaderAndRowsWhetherCompressedOrNot) {
  for (const std::size_t payload : {10, 500}) {
    for (const std::uint64_t count : {1, 2, 400}) {
      const auto [header, rows] = samples::rows(count, payload);
      const std::string chunk = encode_chunk(header, rows);
      auto decoded = decode_chunk(chunk);
      ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
      EXPECT_EQ(decoded->rows, rows);
      ChunkHeader expected = header;
      expected.rows_bytes = static_cast<std::uint32_t>(rows.size());
      expected.compression = rows.size() >= chunk_compress_bytes_min ? Compression::zstd : Compression::none;
      EXPECT_EQ(decoded->header, expected);
      EXPECT_EQ(read_chunk_header(chunk).value(), expected);
      EXPECT_LT(chunk.size(), rows.size() + 200);
    }
  }
}

TEST(Chunk, ReadsBytesAtAnyAddress) {
  const auto [header, rows] = samples::rows(20, 100);
  const std::string chunk = encode_chunk(header, rows);
  for (std::size_t shift = 0; shift < 8; ++shift) {
    const std::string shifted = std::string(shift, '?') + chunk;
    auto decoded = decode_chunk(std::string_view(shifted).substr(shift));
    ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
    EXPECT_EQ(decoded->rows, rows);
  }
}

TEST(Chunk, TruncationsAreRefused) {
  const auto [header, rows] = samples::rows(20, 100);
  const std::string chunk = encode_chunk(header, rows);
  for (std::size_t size = 0; size < chunk.size(); ++size) {
    EXPECT_FALSE(decode_chunk(std::string_view(chunk).substr(0, size)).ok()) << size;
    EXPECT_FALSE(read_chunk_header(std::string_view(chunk).substr(0, size)).ok()) << size;
  }
}

TEST(Chunk, ABitFlipIsRefusedOrStaysWithinTheLimits) {
  const auto [header, rows] = samples::rows(3, 60);
  const std::string chunk = encode_chunk(header, rows);
  for (std::size_t bit = 0; bit < 8 * chunk.size(); ++bit) {
    std::string flipped = chunk;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << (bit % 8));
    auto decoded = decode_chunk(flipped);
    if (!decoded.ok()) continue;
    EXPECT_LE(decoded->header.count(), chunk_events_max);
    EXPECT_LE(decoded->rows.size(), rows.size() + 8) << bit;
  }
}

// The chunk with a field of its struct overwritten: words as in event.capnp, after the root pointer.
std::string with_u32(std::string chunk, std::size_t word, std::size_t half, std::uint32_t value) {
  std::memcpy(chunk.data() + 8 * (1 + word) + 4 * half, &value, 4);
  return chunk;
}

TEST(Chunk, HostileLengthsAreRefusedBeforeTheyAreAllocated) {
  const auto [header, rows] = samples::rows(3, 500);
  const std::string chunk = encode_chunk(header, rows);
  const auto find = [&](std::uint32_t value) {
    for (std::size_t at = 8; at + 4 <= chunk.size(); at += 4) {
      if (std::memcmp(chunk.data() + at, &value, 4) == 0) return at;
    }
    return std::size_t{0};
  };
  const std::size_t rows_bytes = find(static_cast<std::uint32_t>(rows.size()));
  ASSERT_NE(rows_bytes, 0u);
  const std::size_t word = rows_bytes / 8 - 1, half = rows_bytes / 4 % 2;
  EXPECT_EQ(decode_chunk(with_u32(chunk, word, half, 0xffffffff)).error().code, Code::out_of_range);
  EXPECT_EQ(decode_chunk(with_u32(chunk, word, half, chunk_rows_bytes_max)).error().code, Code::corrupt)
      << "zstd states less";
  EXPECT_EQ(decode_chunk(with_u32(chunk, word, half, 1)).error().code, Code::corrupt);
  EXPECT_EQ(decode_chunk(std::string(frame_bytes_max + 8, '\0')).error().code, Code::out_of_range);
  EXPECT_EQ(decode_chunk(std::string(64, '\0')).error().code, Code::corrupt);
  EXPECT_EQ(decode_chunk(std::string(64, '\xff')).error().code, Code::corrupt);
}

TEST(Chunk, RowsThatDoNotMatchTheHeaderAreRefused) {
  auto [header, rows] = samples::rows(4, 10);
  ++header.last;
  EXPECT_EQ(decode_chunk(encode_chunk(header, rows)).error().code, Code::corrupt) << "a row too few";
  header.last -= 2;
  EXPECT_EQ(decode_chunk(encode_chunk(header, rows)).error().code, Code::corrupt) << "a row too many";
  ++header.last;
  ++header.time_min.value;
  EXPECT_EQ(decode_chunk(encode_chunk(header, rows)).error().code, Code::corrupt) << "time_min is not the least";
  --header.time_min.value;
  ++header.time_max.value;
  EXPECT_EQ(decode_chunk(encode_chunk(header, rows)).error().code, Code::corrupt) << "time_max is not the greatest";
  --header.time_max.value;
  EXPECT_TRUE(decode_chunk(encode_chunk(header, rows)).ok());
  EXPECT_FALSE(decode_chunk(encode_chunk(header, rows + "x")).ok());
}

TEST(Chunk, TheLargestFitsAFrame) {
  std::string rows;
  std::uint32_t noise = 1;
  std::uint64_t count = 0;
  std::string payload(event_payload_bytes_max, '\0');
  while (rows.size() <= chunk_rows_bytes_max) {
    for (char& c : payload) c = static_cast<char>((noise = noise * 1664525 + 1013904223) >> 24);
    Event event;
    event.subject = "s";
    event.payload = payload;
    ASSERT_TRUE(encode_row(event, rows).ok());
    ++count;
  }
  ChunkHeader header;
  header.of = {samples::run(1, 1), Stream::blob};
  header.first = 1;
  header.last = count;
  const std::string chunk = encode_chunk(header, rows);
  EXPECT_LE(chunk.size(), frame_bytes_max);
  auto decoded = decode_chunk(chunk);
  ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
  EXPECT_EQ(decoded->header.compression, Compression::none) << "noise would not be shorter";
}

}  // namespace
}  // namespace landfall
