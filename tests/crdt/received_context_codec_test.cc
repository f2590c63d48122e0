// Properties: each pattern of receipt travels in the form that is smallest for it, and old forms decode for ever; hostile
// bytes are refused, or are a value that encodes and decodes as any other; bitmaps are the ones CRoaring reads and writes.

#include <gtest/gtest.h>
#include <roaring/roaring.h>

#include <random>

#include "../golden/golden.h"
#include "crdt/received_context.h"
#include "crdt/roaring_format.h"
#include "schemas/limits.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

using Rng = std::mt19937_64;
enum Form { form_base, form_intervals, form_received, form_gaps };

RunStream stream() {
  RunStream of;
  of.run.node.bytes.fill(5);
  of.run.counter = 3;
  of.run.nonce = 0x01020304;
  of.stream = Stream::telemetry;
  return of;
}

ReceivedContext lossy(std::uint64_t first, std::uint64_t last, unsigned lost_per_10000, std::uint64_t base = 0) {
  Rng rng(1);
  ReceivedContext context;
  if (base != 0 && !context.add(stream(), 1, base).ok()) ADD_FAILURE() << "refused";
  for (std::uint64_t seq = first; seq <= last; ++seq) {
    if (rng() % 10000 >= lost_per_10000 && !context.add(stream(), seq, seq).ok()) ADD_FAILURE() << "refused";
  }
  return context;
}

ReceivedContext ranges(std::initializer_list<ReceivedContext::Range> list) {
  ReceivedContext context;
  for (const auto& range : list) EXPECT_TRUE(context.add(stream(), range.first, range.last).ok());
  return context;
}

struct Case {
  const char* name;
  ReceivedContext context;
  Form form;
  std::size_t bytes_max;
};
std::vector<Case> cases() {
  return {{"base", ranges({{1, 1'000'000}}), form_base, 4},
          {"one-gap", ranges({{1, 500'000}, {500'257, 1'000'000}}), form_intervals, 12},
          {"newest-first", ranges({{1, 200'000}, {980'000, 1'000'000}}), form_intervals, 12},
          {"wide", ranges({{1, 9}, {std::uint64_t{1} << 40, (std::uint64_t{1} << 40) + 70'000}}), form_intervals, 12},
          {"one-in-1000-lost", lossy(1, 200'000, 10), form_gaps, 600},
          {"half-lost", lossy(1, 100'000, 5000), form_received, 17'000},
          {"scattered", lossy(70'000, 170'000, 9950, 60'000), form_received, 1300}};
}

TEST(ReceivedContextForms, TheSmallestIsChosen) {
  for (const Case& c : cases()) {
    const std::string bytes = c.context.encode_entry(stream());
    EXPECT_LE(bytes.size(), c.bytes_max) << c.name;
    EXPECT_EQ(bytes[0], c.form) << c.name << ", " << bytes.size() << " bytes";
    ReceivedContext back;
    ASSERT_TRUE(back.decode_entry(stream(), bytes).ok()) << c.name;
    EXPECT_EQ(back, c.context) << c.name;
  }
}

TEST(Golden, ReceivedContexts) {
  ReceivedContext runs = ranges({{1, 10}, {20, 30}});
  RunId ended = stream().run;
  for (ended.counter = 1; ended.counter <= 2; ++ended.counter) {
    EXPECT_TRUE(runs.add({ended, Stream::control}, 1, 2).ok());
    EXPECT_TRUE(runs.add({ended, Stream::telemetry}, 1, 300).ok());
  }
  std::vector<std::pair<std::string, ReceivedContext>> values = {{"empty", {}}, {"runs", runs}};
  for (Case& c : cases()) {
    if (c.form != form_received || std::string(c.name) == "scattered")
      values.emplace_back(c.name, std::move(c.context));
  }
  for (const auto& [name, context] : values) {
    const std::string file = golden("received_context/" + name, context.encode());
    EXPECT_TRUE(file == context.encode()) << name;
    auto decoded = ReceivedContext::decode(file);
    ASSERT_TRUE(decoded.ok()) << name << ": " << decoded.error().detail;
    EXPECT_EQ(*decoded, context) << name;
  }
}

// What decodes is a value like any other.
void check_decodes_or_refuses(std::string_view bytes) {
  auto context = ReceivedContext::decode(bytes);
  if (!context.ok()) return;
  auto again = ReceivedContext::decode(context->encode());
  ASSERT_TRUE(again.ok()) << again.error().detail;
  ASSERT_EQ(*again, *context);
}

TEST(ReceivedContextHostile, TruncationsAndBitFlipsDoNoHarm) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const std::string bytes = c.context.encode();
    for (std::size_t size = 1; size < bytes.size(); size += 1 + bytes.size() / 100) {
      EXPECT_FALSE(ReceivedContext::decode(std::string_view(bytes).substr(0, size)).ok()) << size;
    }
    for (std::size_t bit = 0; bit < 8 * bytes.size(); bit += bytes.size() < 1500 ? 3 : 1999) {
      std::string flipped = bytes;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << (bit % 8));
      check_decodes_or_refuses(flipped);
    }
  }
}

TEST(ReceivedContextHostile, LimitsHold) {
  ReceivedContext context;
  EXPECT_EQ(ReceivedContext::decode(std::string(received_context_bytes_max + 1, '\1')).error().code,
            Code::out_of_range);
  std::string names("\1\1", 2);  // version, one node
  names.append(16, '\5');
  append_varint(names, received_context_entries_max + 1);
  EXPECT_EQ(ReceivedContext::decode(names).error().code, Code::out_of_range);
  const auto intervals = [](std::uint64_t gap, std::uint64_t length) {
    std::string bytes("\1\0\1", 3);  // intervals, base 0, one
    append_varint(bytes, gap);
    append_varint(bytes, length);
    return bytes;
  };
  EXPECT_EQ(context.decode_entry(stream(), intervals(0, received_context_above_max)).error().code, Code::out_of_range);
  EXPECT_EQ(context.decode_entry(stream(), intervals(UINT64_MAX, 0)).error().code, Code::corrupt);
  EXPECT_EQ(context.decode_entry(stream(), intervals(seq_max, 0)).error().code, Code::corrupt);
  EXPECT_EQ(context.decode_entry(stream(), std::string("\1\0\0", 3)).error().code, Code::corrupt) << "no intervals";
  EXPECT_EQ(context.decode_entry(stream(), std::string("\0\0x", 3)).error().code, Code::corrupt)
      << "bytes after the end";
  EXPECT_EQ(context.decode_entry(stream(), "").error().code, Code::corrupt);
  EXPECT_TRUE(context.empty()) << "a refused entry leaves nothing";
  EXPECT_TRUE(context.decode_entry(stream(), intervals(0, received_context_above_max - 1)).ok());
}

// Value by value: 0.2.66 writes bitmaps that it cannot read itself after add_range (see crdt/README.md).
std::string by_croaring(const std::vector<Interval32>& intervals) {
  roaring_bitmap_t* bitmap = roaring_bitmap_create();
  for (const Interval32& i : intervals) {
    for (std::uint64_t value = i.first; value <= i.last; ++value)
      roaring_bitmap_add(bitmap, static_cast<std::uint32_t>(value));
  }
  roaring_bitmap_run_optimize(bitmap);
  std::string bytes(roaring_bitmap_portable_size_in_bytes(bitmap), '\0');
  roaring_bitmap_portable_serialize(bitmap, bytes.data());
  roaring_bitmap_free(bitmap);
  return bytes;
}

std::vector<Interval32> intervals_in(std::string_view bytes) {
  std::vector<Interval32> intervals;
  EXPECT_TRUE(decode_roaring(bytes, [&](Interval32 i) {
    if (!intervals.empty() && intervals.back().last + 1 == i.first) {
      intervals.back().last = i.last;
    } else {
      intervals.push_back(i);
    }
    return true;
  }));
  return intervals;
}

bool same(const std::vector<Interval32>& a, const std::vector<Interval32>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](Interval32 x, Interval32 y) { return x.first == y.first && x.last == y.last; });
}

TEST(RoaringFormat, IsReadByCroaringAndReadsWhatItWrites) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    std::vector<Interval32> intervals;
    const std::uint64_t step = std::uint64_t{1} << (1 + rng() % 16), length = std::uint64_t{1} << rng() % 12;
    std::uint64_t next = rng() % 70'000;
    for (int i = static_cast<int>(1 + rng() % 3000); i > 0 && next < 3'000'000; --i) {
      const std::uint64_t last = next + rng() % length;
      intervals.push_back({static_cast<std::uint32_t>(next), static_cast<std::uint32_t>(last)});
      next = last + 2 + rng() % step;
    }
    const std::string ours = encode_roaring(intervals), theirs = by_croaring(intervals);
    EXPECT_LE(ours.size(), theirs.size());
    EXPECT_TRUE(same(intervals_in(ours), intervals));
    EXPECT_TRUE(same(intervals_in(theirs), intervals));

    roaring_bitmap_t* read = roaring_bitmap_portable_deserialize_safe(ours.data(), ours.size());
    ASSERT_NE(read, nullptr);
    std::uint64_t count = 0;
    for (const Interval32& i : intervals) count += i.last - i.first + 1;
    EXPECT_EQ(roaring_bitmap_get_cardinality(read), count);
    for (const Interval32& i : intervals)
      EXPECT_TRUE(roaring_bitmap_contains_range(read, i.first, std::uint64_t{i.last} + 1));
    roaring_bitmap_free(read);
  }
}

TEST(RoaringFormat, RefusesContainersThatLie) {
  const std::string good = encode_roaring({{5, 9}, {70'000, 70'000}, {70'002, 70'002}});
  const auto reads = [](const std::string& bytes) { return decode_roaring(bytes, [](Interval32) { return true; }); };
  ASSERT_TRUE(reads(good));
  EXPECT_FALSE(reads(good + "x"));
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(reads(good.substr(0, size))) << size;
  // cookie 4 | run flags 1 | keys and counts 8 | run container 6 | array container 4
  std::string bad = good;
  std::swap(bad[19], bad[21]);
  EXPECT_FALSE(reads(bad)) << "an array out of order";
  bad = good;
  bad[7] = 5;
  EXPECT_FALSE(reads(bad)) << "a count that the runs do not make";
  bad = good;
  bad[9] = 0;
  EXPECT_FALSE(reads(bad)) << "a key twice";
}

}  // namespace
}  // namespace landfall
