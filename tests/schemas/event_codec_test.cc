// Properties: a row holds all of its event and nothing else reads as that row; no bytes make a decoder fail other than
// with an error; what is over a limit is refused when written and when read.

#include <gtest/gtest.h>

#include "samples.h"
#include "schemas/event.h"
#include "schemas/text.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

std::string row_of(const Event& event) {
  std::string rows;
  const Status status = encode_row(event, rows);
  if (!status.ok()) ADD_FAILURE() << status.error().detail;
  RowReader reader(rows);
  return std::string(reader.next());
}

Code refusal(const Event& event) {
  std::string rows = "kept";
  const Status status = encode_row(event, rows);
  EXPECT_EQ(rows, "kept") << "a refused event leaves no bytes";
  return status.ok() ? Code::not_found : status.error().code;
}

TEST(EventRow, HoldsEveryField) {
  const std::string row = row_of(samples::event());
  auto decoded = decode_row(row);
  ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
  EXPECT_TRUE(samples::same(*decoded, samples::event()));
}

TEST(EventRow, RowsFollowOneAnother) {
  std::string rows;
  Event event = samples::event();
  for (std::size_t bytes : {0, 1, 100, 200, 20'000, 262'144}) {
    const std::string payload(bytes, 'x');
    event.payload = payload;
    ASSERT_TRUE(encode_row(event, rows).ok());
  }
  RowReader reader(rows);
  for (std::size_t bytes : {0, 1, 100, 200, 20'000, 262'144})
    EXPECT_EQ(decode_row(reader.next()).value().payload.size(), bytes);
  EXPECT_TRUE(reader.next().empty());
  EXPECT_FALSE(reader.corrupt());
}

TEST(EventRow, TruncationsAndBitFlipsDecodeOrAreRefused) {
  const std::string row = row_of(samples::event());
  for (std::size_t size = 0; size < row.size(); ++size) {
    // Cut within the payload, the row is a shorter event: its length is the frame around it.
    auto decoded = decode_row(std::string_view(row).substr(0, size));
    EXPECT_EQ(decoded.ok(), row.size() - size <= samples::event().payload.size()) << size;
  }
  for (std::size_t bit = 0; bit < 8 * row.size(); ++bit) {
    std::string flipped = row;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << (bit % 8));
    auto decoded = decode_row(flipped);
    if (!decoded.ok()) continue;
    const bool unknown_flag = bit / 8 == 9 && bit % 8 > 2;
    const bool unknown_tag = decoded->deps.empty();
    if (unknown_flag || unknown_tag) continue;
    EXPECT_EQ(row_of(*decoded), flipped) << "bit " << bit << ": two rows for one event";
  }
}

TEST(EventRow, RefusesWhatIsOverALimit) {
  Event event = samples::event();
  const std::string big(event_payload_bytes_max + 1, 'x');
  event.payload = big;
  EXPECT_EQ(refusal(event), Code::out_of_range);
  event = samples::event();
  event.subject = std::string_view(big).substr(0, event_subject_bytes_max + 1);
  EXPECT_EQ(refusal(event), Code::out_of_range);
  event = samples::event();
  event.id = std::string_view(big).substr(0, event_attributes_bytes_max);
  EXPECT_EQ(refusal(event), Code::out_of_range);
  event = samples::event();
  event.subject = {};
  EXPECT_EQ(refusal(event), Code::out_of_range);
  event.kind = Kind::audit;
  EXPECT_TRUE(decode_row(row_of(event)).ok()) << "control events need no subject";
}

TEST(EventRow, TheLargestEventFitsARow) {
  const std::string big(event_payload_bytes_max, 'x');
  Event event;
  event.payload = big;
  event.subject = std::string_view(big).substr(0, event_subject_bytes_max);
  event.id = std::string_view(big).substr(0, event_attributes_bytes_max - 3);
  EXPECT_LE(row_of(event).size(), event_row_bytes_max);
}

TEST(EventRow, KindsAndAttributesOfANewerVersionAreReadOver) {
  std::string row(8, '\1');
  row += '\x50';  // a kind that nobody knows yet
  row += '\0';
  row += std::string("\1s", 2);                 // subject
  row += std::string("\x06\x03\1i\x09\1?", 7);  // id, and tag 9
  row += "payload";
  auto decoded = decode_row(row);
  ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
  EXPECT_EQ(static_cast<int>(decoded->kind), 0x50);
  EXPECT_EQ(decoded->id, "i");
  EXPECT_EQ(decoded->payload, "payload");
}

TEST(RowReader, TellsABadLengthFromTheEnd) {
  for (const std::string& rows : {std::string("\x05xxxx"), std::string("\x00x", 2), std::string("\x80"),
                                  std::string("\x85\x00xxxxx", 7), std::string(11, '\xff')}) {
    RowReader reader(rows);
    EXPECT_TRUE(reader.next().empty());
    EXPECT_TRUE(reader.corrupt());
  }
}

TEST(Text, IsCleanWhereEveryCharacterIs) {
  for (const char* text : {"", "a", "landfall/pump-7/telemetry", "överhettning", "\u00a0", "\u20ac", "\U0001f6a2",
                           "\U0010ffff", "\ud7ff", "12345678", "ab", "abc", "~~~~~", "12345678~ ~", "12345678ä"}) {
    EXPECT_TRUE(is_clean_text(text)) << text;
  }
  for (const std::string& text :
       {std::string("a\0b", 3), std::string("\n"), std::string("1234567\n"), std::string("12345678\x7f"),
        std::string("\xc2\x80"), std::string("\xc2\x9f"), std::string("\x80"), std::string("\xc0\xaf"),
        std::string("\xe0\x80\xaf"), std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"),
        std::string("\xf0\x80\x80\x80"), std::string("\xc3"), std::string("\xe2\x82"), std::string("\xff")}) {
    EXPECT_FALSE(is_clean_text(text));
    EXPECT_FALSE(is_clean_text("12345678" + text)) << "behind the fast path";
  }
  for (std::size_t size = 1; size <= 20; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      for (const char bad : {'\0', '\x1f', '\x7f', '\x80', '\xff'}) {
        std::string text(size, 'x');
        EXPECT_TRUE(is_clean_text(text));
        text[at] = bad;
        EXPECT_FALSE(is_clean_text(text)) << "at " << at << " of " << size;
      }
    }
  }
}

TEST(Varint, IsReadInItsShortestFormOnly) {
  for (int bits = 0; bits <= 64; ++bits) {
    for (std::uint64_t off : {0, 1}) {
      const std::uint64_t value = (bits == 64 ? 0 : std::uint64_t{1} << bits) - off;
      std::string bytes;
      append_varint(bytes, value);
      EXPECT_EQ(bytes.size(), varint_size(value));
      std::uint64_t read = 0;
      std::string_view rest = bytes;
      ASSERT_TRUE(take_varint(rest, read));
      EXPECT_EQ(read, value);
      EXPECT_TRUE(rest.empty());
      rest = std::string_view(bytes).substr(0, bytes.size() - 1);
      EXPECT_FALSE(take_varint(rest, read));
      bytes.back() = static_cast<char>(bytes.back() | 0x80);
      bytes += '\0';
      rest = bytes;
      EXPECT_FALSE(take_varint(rest, read)) << "a longer form of " << value;
    }
  }
  std::uint64_t read;
  std::string_view over("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
  EXPECT_FALSE(take_varint(over, read)) << "65 bits";
}

TEST(Deps, ComeBackSortedAndOnce) {
  const Dot a{samples::run(1, 2), Stream::alarm, 300}, b{samples::run(1, 2), Stream::control, 1},
      c{samples::run(9, 1), Stream::blob, 1};
  auto decoded = decode_deps(encode_deps({c, a, b, a}));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, (std::vector<Dot>{b, a, c}));
  const std::string bytes = encode_deps({a, b});
  for (std::size_t size = 1; size < bytes.size(); ++size) {
    if (size == encode_deps({b}).size()) continue;
    EXPECT_FALSE(decode_deps(std::string_view(bytes).substr(0, size)).ok()) << size;
  }
}

TEST(RunStart, HoldsEveryField) {
  const RunStart start = samples::run_start();
  auto decoded = decode_run_start(encode_run_start(start));
  ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
  EXPECT_EQ(decoded->parent, start.parent);
  ASSERT_EQ(decoded->parent_heads.size(), 2u);
  EXPECT_EQ(decoded->parent_heads[1].stream, Stream::telemetry);
  EXPECT_EQ(decoded->parent_heads[1].last, 70'000u);
  EXPECT_EQ(decoded->parent_heads[1].chain, start.parent_heads[1].chain);
  EXPECT_EQ(decoded->boot_id, start.boot_id);
  EXPECT_EQ(decoded->software, start.software);
  EXPECT_EQ(decoded->clock, start.clock);
  EXPECT_TRUE(decoded->degraded);
  EXPECT_TRUE(decode_run_start(encode_run_start({})).ok()) << "the first run of a node";
}

}  // namespace
}  // namespace landfall
