// Properties: rows of changes are cut into columns and come back byte for byte, whatever they hold; columns are used only
// where they are shorter; no bytes make the decoder fail other than with an error, or allocate what was not stated.

#include "../golden/golden.h"

#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <random>

#include "samples.h"
#include "schemas/chunk.h"
#include "schemas/columns.h"
#include "schemas/op.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

const RunStream of{samples::run(5, 2), Stream::desired};

// Rows of one chunk, in the making.
struct Chunk {
  ChunkHeader header;
  std::string rows;

  Chunk() {
    header.of = of;
    header.first = 100'001;
    header.last = 100'000;
    header.time_min = {UINT64_MAX};
  }
  std::uint64_t next() const { return header.last + 1; }
  void add(const Event& event) {
    ASSERT_TRUE(encode_row(event, rows).ok());
    ++header.last;
    header.time_min = std::min(header.time_min, event.time);
    header.time_max = std::max(header.time_max, event.time);
  }
  void change(std::uint64_t time, std::string_view subject, std::vector<Op> ops) {
    const std::string payload = encode_ops(ops, of).value();
    Event event;
    event.kind = Kind::change;
    event.clock = ClockClass::synced;
    event.time = {time};
    event.subject = subject;
    event.device = columns::device_of(subject, columns::device_rest);
    event.actor = "user:ingrid";
    event.payload = payload;
    add(event);
  }
  std::string encoded() const { return encode_chunk(header, rows); }
};

Dot own(std::uint64_t seq) { return {of.run, of.stream, seq}; }
Dot foreign(std::uint64_t seq, std::uint8_t run = 1) { return {samples::run(run, 1), of.stream, seq}; }

void expect_same(const Chunk& chunk, Codec codec) {
  const std::string encoded = chunk.encoded();
  auto decoded = decode_chunk(encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
  EXPECT_EQ(decoded->header.codec, codec);
  EXPECT_EQ(decoded->header.count(), chunk.header.count());
  EXPECT_TRUE(decoded->rows == chunk.rows);
  EXPECT_EQ(read_chunk_header(encoded).value(), decoded->header);
}

Chunk sets(std::size_t rows, std::size_t value_bytes = 4) {
  Chunk chunk;
  for (std::size_t i = 0; i < rows; ++i) {
    const std::string value = '"' + std::string(value_bytes, static_cast<char>('a' + i % 26)) + '"';
    chunk.change((1'700'000'000'000 + 3 * i) << 16, "twin/d" + std::to_string(i % 7),
                 {{"/p/k" + std::to_string(i % 5) + "/c", value, {foreign(1 + i % 35)}}});
  }
  return chunk;
}

TEST(Columns, AreUsedForChangesFromSomeTensOfRowsOn) {
  expect_same(sets(columnar_rows_min), Codec::columnar);
  expect_same(sets(columnar_rows_min - 1), Codec::plain);
  expect_same(sets(chunk_events_max), Codec::columnar);
  const auto [header, rows] = samples::rows(400, 40);
  EXPECT_EQ(read_chunk_header(encode_chunk(header, rows)).value().codec, Codec::plain) << "no changes";
}

// The fleet of crdt.md 5.2: 1,000 devices of 20 properties that one import wrote, then 10,000 edits at one replica.
struct Fleet {
  std::mt19937 random{7919};
  std::map<std::pair<std::string, std::string>, std::vector<Dot>> live;

  Fleet() {
    std::uint64_t seq = 0;
    for (int device = 0; device < 1000; ++device) {
      for (int key = 0; key < 20; ++key) live[{subject(device), path(key)}] = {foreign(++seq)};
    }
  }
  static std::string subject(int device) { return "twin/d" + std::to_string(device); }
  static std::string path(int key) { return "/p/k" + std::to_string(key) + "/c"; }
  int below(unsigned n) { return static_cast<int>(random() % n); }

  void edit(Chunk& chunk, std::uint64_t time) {
    const int what = below(100);
    const bool tag = what >= 84 && what < 96;
    const std::string object = subject(below(1000)), at = tag ? "/tags/t" + std::to_string(below(8)) : path(below(20));
    Op op{at, std::nullopt, {}};
    if (what < 84) {
      op.value = "\"v";
      for (int i = 0; i < 7; ++i) *op.value += "0123456789abcdefghijklmnopqrstuvwxyz"[below(36)];
      *op.value += '"';
    } else if (what < 92) {
      op.value = "1";
    }
    auto& dots = live[{object, at}];
    op.supersedes = std::exchange(dots, {});
    if (op.value) dots = {own(chunk.next())};
    chunk.change(time, object, {op});
  }
};

// One property of each of 60 devices in turn, and the same superseded: all voids but the last round.
TEST(Columns, HoldVoids) {
  std::map<bool, std::size_t> bytes;
  std::mt19937 random{5};
  for (const bool voids : {false, true}) {
    Chunk chunk;
    for (std::uint64_t i = 0; i < 4000; ++i) {
      const bool range = voids && i < 3940;
      const std::string subject = "twin/d" + std::to_string(i % 60);
      const std::string value = std::to_string(random() % 100'000);
      std::vector<Op> ops{{"/p/rpm", std::nullopt, i < 60 ? std::vector<Dot>() : std::vector{own(chunk.next() - 60)}}};
      if (!range) ops[0].value = value;
      const std::string payload = encode_ops(ops, of).value();
      Event event;
      event.kind = range ? Kind::voided : Kind::change;
      event.clock = ClockClass::synced;
      event.time = {(1'700'000'000'000 + (range ? 0 : 16 * i + random() % 16)) << 16};
      event.subject = subject;
      event.device = columns::device_of(subject, columns::device_rest);
      event.payload = payload;
      if (range && i == 3939) event.chain = "0123456789abcdef0123456789ABCDEF";
      chunk.add(event);
    }
    expect_same(chunk, Codec::columnar);
    bytes[voids] = chunk.encoded().size();
  }
  std::cout << bytes[false] << " bytes as changes, " << bytes[true] << " with voids\n";
  EXPECT_LT(bytes[true] * 10, bytes[false]);
}

TEST(Columns, AnEditOfAFleetTakesAtMostTenBytes) {
  Fleet fleet;
  std::size_t bytes = 0;
  std::uint64_t ms = 1'700'000'000'000;
  Chunk chunk;
  for (int i = 0; i < 10'000; ++i) {
    fleet.edit(chunk, (ms += static_cast<std::uint64_t>(fleet.below(4))) << 16);
    if (chunk.header.count() < chunk_events_max && i + 1 < 10'000) continue;
    expect_same(chunk, Codec::columnar);
    bytes += chunk.encoded().size();
    const std::uint64_t next = chunk.next();
    chunk = Chunk();
    chunk.header.first = next;
    chunk.header.last = next - 1;
  }
  EXPECT_LE(bytes, 10 * 10'000u);
  EXPECT_GE(bytes, 5 * 10'000u) << "less than the values' own information: the test is wrong";
}

// A row of any kind: the odd ones must pass as well, one payload whole where need be.
void add_any(Chunk& chunk, std::mt19937& random) {
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  std::vector<Op> ops;
  for (unsigned i = 0, count = below(8) == 0 ? 1 + below(5) : 1; i < count; ++i) {
    Op op{i == 0 && below(10) == 0 ? "" : "/" + std::to_string(i) + "/" + std::to_string(below(4)), std::nullopt, {}};
    if (below(5) != 0) op.value = std::string(below(4) == 0 ? below(300) : 5, static_cast<char>(random()));
    for (unsigned dots = below(20) == 0 ? 1 + below(12) : below(3); dots > 0; --dots) {
      const auto seq = 1 + below(chunk.next() > 1 ? static_cast<unsigned>(chunk.next()) : 1);
      op.supersedes.push_back(below(2) == 0 ? own(seq) : foreign(seq, static_cast<std::uint8_t>(1 + below(9))));
    }
    ops.push_back(std::move(op));
  }
  std::string payload = encode_ops(ops, of).value();
  if (below(40) == 0) payload += '?';
  Event event;
  event.kind = below(30) == 0 ? Kind::alarm : Kind::change;
  event.clock = static_cast<ClockClass>(below(4));
  event.retained = below(50) == 0;
  event.time = {below(30) == 0 ? random() * std::uint64_t{random()} : chunk.header.time_max.value + below(3)};
  const std::string device = below(20) == 0 ? "x" : "d" + std::to_string(below(20)),
                    subject = below(3) == 0 ? "alarm/" + device + "/hot" : "twin/" + device;
  event.subject = below(50) == 0 ? std::string_view(device) : subject;
  if (below(10) != 0) event.device = below(20) == 0 ? "elsewhere" : std::string_view(device);
  if (below(3) == 0) event.actor = "user:ingrid";
  if (below(30) == 0) event.content_type = "application/json";
  event.payload = payload;
  chunk.add(event);
}

TEST(Columns, WhateverRowsHoldComesBack) {
  int columnar = 0;
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    Chunk chunk = sets(1);
    chunk.header.first = 1 + seed % 3;
    chunk.header.last = chunk.header.first;
    const std::size_t rows = columnar_rows_min + random() % 300;
    while (chunk.header.count() < rows) add_any(chunk, random);
    const auto decoded = decode_chunk(chunk.encoded());
    ASSERT_TRUE(decoded.ok()) << "seed " << seed << ": " << decoded.error().detail;
    ASSERT_TRUE(decoded->rows == chunk.rows) << "seed " << seed;
    columnar += decoded->header.codec == Codec::columnar ? 1 : 0;
  }
  EXPECT_GT(columnar, 100);
}

TEST(Columns, RowsOfANewerVersionComeBack) {
  Chunk chunk = sets(40);
  std::string row = '\x13' + std::string("\xf7\1s\x05\x09\x03new", 9) + std::string("payload of a newer change");
  row.insert(0, 8, '\1');
  append_varint(chunk.rows, row.size());
  chunk.rows += row;
  ++chunk.header.last;
  chunk.header.time_min = std::min(chunk.header.time_min, HybridTime{0x0101'0101'0101'0101});
  chunk.header.time_max = std::max(chunk.header.time_max, HybridTime{0x0101'0101'0101'0101});
  expect_same(chunk, Codec::columnar);
}

TEST(Columns, ManySubjectsTimesManyPathsComeBack) {
  Chunk chunk;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    chunk.change(i << 16, "doc/" + std::to_string(i % 1000),
                 {{"/" + std::to_string(i % 1000), "1", {own(i < 1000 ? 7 : chunk.next() - 1000)}}});
  }
  ASSERT_GT(std::size_t{1000} * 1000, columnar_cells_max);
  expect_same(chunk, Codec::columnar);
}

TEST(Columns, AreNeverLongerThanTheRowsCompressedWhole) {
  std::mt19937 random(1);
  Chunk noise;
  for (int i = 0; i < 100; ++i) {
    std::string value;
    while (value.size() < 2000) value.push_back(static_cast<char>(random()));
    noise.change(random(), "twin/" + std::to_string(random()), {{"/" + std::to_string(random()), value, {}}});
  }
  EXPECT_LT(noise.encoded().size(), noise.rows.size() + 200);
  expect_same(noise, read_chunk_header(noise.encoded()).value().codec);
}

ChunkHeader stating(std::uint64_t count, std::uint32_t rows_bytes) {
  ChunkHeader header;
  header.of = of;
  header.first = 1;
  header.last = count;
  header.rows_bytes = rows_bytes;
  return header;
}

Code refusal(const ChunkHeader& header, std::string_view stored) {
  std::string rows;
  const Status status = columns::decode(header, stored, rows);
  return status.ok() ? Code::not_found : status.error().code;
}

TEST(Columns, TruncationsAndBitFlipsAreRefusedOrStayWithinWhatIsStated) {
  const Chunk chunk = sets(64);
  ChunkHeader header = chunk.header;
  header.rows_bytes = static_cast<std::uint32_t>(chunk.rows.size());
  const std::string stored = columns::encode(header, chunk.rows);
  ASSERT_FALSE(stored.empty());
  for (std::size_t size = 0; size < stored.size(); ++size) {
    EXPECT_NE(refusal(header, std::string_view(stored).substr(0, size)), Code::not_found) << size;
  }
  EXPECT_NE(refusal(header, stored + '\0'), Code::not_found);
  for (std::size_t bit = 0; bit < 8 * stored.size(); ++bit) {
    std::string flipped = stored, rows;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << (bit % 8));
    if (!columns::decode(header, flipped, rows).ok()) continue;
    EXPECT_EQ(rows.size(), chunk.rows.size()) << bit;
  }
  for (const std::uint32_t bytes : {0u, 1u, header.rows_bytes - 1, header.rows_bytes + 1, 1u << 20}) {
    EXPECT_NE(refusal(stating(64, bytes), stored), Code::not_found) << bytes;
  }
  EXPECT_NE(refusal(stating(63, header.rows_bytes), stored), Code::not_found);
  EXPECT_NE(refusal(stating(65, header.rows_bytes), stored), Code::not_found);
}

// Columns by hand, all stored as they are.
using Parts = std::array<std::string, columns::column_count>;
std::string stored_of(const Parts& parts) {
  std::string stored;
  for (const auto& part : parts) {
    append_varint(stored, part.size() * 2);
    stored += part;
  }
  return stored;
}
std::string varints(const std::vector<std::uint64_t>& values) {
  std::string bytes;
  for (const auto value : values) append_varint(bytes, value);
  return bytes;
}

// Two rows: subject "a/b", device "b", one op that puts "xyz" at "/p" and supersedes a dot of another run.
struct Small {
  Parts parts;
  std::string rows;

  Small() {
    using namespace columns;
    parts[counts] = varints({1, 1, 1, 1, 1, 0, 2});
    parts[run_names] = std::string(16, 'n') + std::string("\1\0\0\0\2\0\0\0", 8);
    parts[shapes] = std::string("\x13\2\1\0\0", 5);
    parts[forms] = varints({3, 2});
    parts[value_forms] = varints({1, 1, 2}) + "xz";
    parts[name_shared] = varints({0, 0});
    parts[name_rest] = varints({3, 2});
    parts[name_text] = "a/b/p";
    parts[row_ms] = varints({0, 0});
    parts[row_tick] = varints({8, 0});
    parts[row_shape_low] = parts[row_subject_low] = parts[op_path_low] = parts[op_form_low] = std::string(2, '\0');
    parts[row_ops] = varints({1, 1});
    parts[foreign_dots] = varints({14, 1});
    parts[text] = "yw";
    rows = row('\x09', '\7', 'y') + row('\x0a', '\6', 'w');
  }
  std::string row(char time, char seq, char value) const {
    std::string row = time + std::string("\0\0\0\0\0\0\0\x13\2\3a/b\3\4\1b\1\1", 19) + parts[columns::run_names];
    row += std::string("\5/p\1\1") + seq + "\3x" + value + "z";
    return static_cast<char>(row.size()) + row;
  }
  ChunkHeader header() const { return stating(2, static_cast<std::uint32_t>(rows.size())); }
};

TEST(Columns, AreAsDocumented) {
  const Small small;
  std::string rows;
  const std::string stored = golden("columns/two-rows", stored_of(small.parts));
  EXPECT_EQ(to_hex(stored), to_hex(stored_of(small.parts)));
  const Status status = columns::decode(small.header(), stored, rows);
  ASSERT_TRUE(status.ok()) << status.error().detail;
  EXPECT_EQ(to_hex(rows), to_hex(small.rows));
}

TEST(Columns, EachFaultIsRefused) {
  using namespace columns;
  struct Fault {
    const char* what;
    Column column;
    std::string bytes;
  };
  const Fault faults[] = {
      {"no subject", counts, varints({1, 0, 1, 1, 1, 0, 2})},
      {"more subjects than rows", counts, varints({1, 3, 1, 1, 1, 0, 2})},
      {"more shapes than rows", counts, varints({1, 1, 3, 1, 1, 0, 2})},
      {"more ops than rows take", counts, varints({1, 1, 1, 1, 1, 0, 3})},
      {"ops over the limit", counts, varints({1, 1, 1, 1, 1, 0, columnar_ops_max + 1})},
      {"runs over the limit", counts, varints({columnar_runs_max + 1, 1, 1, 1, 1, 0, 2})},
      {"a modelled run that is none", counts, varints({1, 1, 1, 1, 1, 2, 2})},
      {"a modelled run without bases", counts, varints({1, 1, 1, 1, 1, 1, 2})},
      {"counts and more", counts, varints({1, 1, 1, 1, 1, 0, 2, 0})},
      {"a run too few", run_names, ""},
      {"an unknown device", shapes, std::string("\x13\2\3\0\0", 5)},
      {"no device in the subject", shapes, std::string("\x13\2\2\0\0", 5)},
      {"attributes cut off", shapes, std::string("\x13\2\1\0\1", 5)},
      {"a device behind the attributes", shapes, std::string("\x13\2\1\1\0", 5)},
      {"too many dots", forms, varints({columnar_dots_max * 2 + 2, 2})},
      {"a dot of no run", forms, varints({3, 3})},
      {"no last write", forms, varints({3, dot_last})},
      {"an own dot that is not there", forms, varints({3, dot_own})},
      {"values cut off", value_forms, varints({1, 2, 2}) + "xz"},
      {"a longer value than there is", value_forms, varints({1, 1, 3}) + "xz"},
      {"a value of a length that is not there", value_forms, varints({1, 1, 0}) + "xz"},
      {"shares more than there is", name_shared, varints({1, 0})},
      {"a name too few", name_rest, varints({3})},
      {"no text", name_text, "a/b"},
      {"no time", row_ms, varints({0})},
      {"a tick over 16 bits", row_tick, varints({8, 1 << 16})},
      {"a subject that is none", row_subject_low, std::string("\0\1", 2)},
      {"a shape that is none", row_shape_low, std::string("\0\1", 2)},
      {"a form that is none", op_form_low, std::string("\0\1", 2)},
      {"a path that is none", op_path_low, std::string("\0\1", 2)},
      {"a high byte where there is none", op_path_high, std::string(2, '\0')},
      {"a row too many", row_subject_low, std::string(3, '\0')},
      {"a payload whole, of no length", row_ops, varints({1, 0})},
      {"more ops than there are", row_ops, varints({1, 2})},
      {"a foreign dot too few", foreign_dots, varints({14})},
      {"text that no row needs", text, "yww"},
      {"a length that no row needs", lengths, varints({1})},
  };
  for (const auto& [what, column, bytes] : faults) {
    Small small;
    small.parts[column] = bytes;
    EXPECT_NE(refusal(small.header(), stored_of(small.parts)), Code::not_found) << what;
  }
}

TEST(Columns, WhatIsStatedBoundsWhatIsAllocated) {
  using namespace columns;
  Small small;
  std::string stored = stored_of(small.parts);
  stored.replace(0, 1, varints({std::uint64_t{1} << 40}));
  EXPECT_EQ(refusal(small.header(), stored), Code::out_of_range);

  // 1,000 names that each share all of a long one.
  Parts parts;
  const std::uint64_t names = 1000;
  parts[counts] = varints({0, names, 0, 0, 0, 0, 0});
  parts[name_shared] = varints({0});
  parts[name_rest] = varints({9000});
  parts[name_text] = std::string(9000, 'n');
  for (std::uint64_t i = 1; i < names; ++i) {
    parts[name_shared] += varints({9000});
    parts[name_rest] += varints({0});
  }
  EXPECT_EQ(refusal(stating(names, 20'000), stored_of(parts)), Code::out_of_range);

  // Forms that each list many runs.
  Parts lists;
  lists[counts] = varints({8, 1, 1, 1, 500, 0, 1});
  lists[run_names] = std::string(8 * run_name_bytes, 'r');
  lists[shapes] = std::string("\x13\2\1\0\0", 5);
  lists[name_rest] = varints({3, 2});
  for (int i = 0; i < 500; ++i) lists[forms] += varints({16, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_EQ(refusal(stating(1, 6000), stored_of(lists)), Code::out_of_range);
}

TEST(Columns, AChunkOfColumnsIsInNoFrame) {
  const Chunk chunk = sets(64);
  std::string encoded = chunk.encoded();
  ASSERT_EQ(read_chunk_header(encoded).value().codec, Codec::columnar);
  const std::size_t codec = encoded.find(std::string("\2\1\0", 3));  // stream desired, columnar, no compression
  ASSERT_LT(codec, 100u);
  std::string framed = encoded;
  framed[codec + 2] = 1;
  EXPECT_EQ(read_chunk_header(framed).error().code, Code::corrupt);
  std::string newer = encoded;
  newer[codec + 1] = 2;
  EXPECT_EQ(read_chunk_header(newer).error().code, Code::out_of_range);
}

}  // namespace
}  // namespace landfall
