// Property: a manifest and a part decode as what was encoded, from any version, and small changes of the state change few
// parts.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "../golden/golden.h"
#include "eventlog/snapshot_part.h"
#include "schemas/limits.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

constexpr Stream stream = Stream::reported;

RunId run(std::uint32_t number) { return {{{static_cast<std::uint8_t>(number)}}, number, 7 * number}; }

Entry entry(std::string path, std::uint32_t by, std::uint64_t seq, std::string value) {
  return {std::move(path), {run(by), stream, seq}, {seq << 20 | 3}, ClockClass::synced, std::move(value)};
}

SnapshotManifest manifest() {
  SnapshotManifest made;
  made.stream = stream;
  for (std::uint32_t i = 1; i <= 3; ++i) EXPECT_TRUE(made.received.add({run(i), stream}, 1, 100 * i).ok());
  made.chains[run(1)].fill(0x11);
  made.chains[run(3)].fill(0x33);
  made.parts.resize(2);
  made.parts[0].id.fill(0xaa);
  made.parts[0].bytes = 300;
  made.parts[1].id.fill(0xbb);
  made.parts[1].bytes = 1;
  return made;
}

std::vector<SnapshotObject> objects() {
  return {{"twin/pump-1", {entry("/p/heat", 1, 7, "21"), entry("/p/heat", 2, 3, ""), entry("/s", 1, 9, "on")}},
          {"twin/pump-2", {entry("/p/heat", 1, 8, std::string(300, 'x'))}}};
}

TEST(Golden, Snapshots) {
  const std::string named = golden("snapshot_manifest/three-runs", encode(manifest()));
  EXPECT_EQ(to_hex(named), to_hex(encode(manifest())));
  EXPECT_EQ(decode_snapshot_manifest(named).value(), manifest());
  SnapshotManifest empty;
  empty.stream = Stream::document;
  const std::string nothing = golden("snapshot_manifest/empty", encode(empty));
  EXPECT_EQ(decode_snapshot_manifest(nothing).value(), empty);
  // Compressed: its bytes are the encoder's choice.
  const std::string part = golden("snapshot_part/two-objects", encode_snapshot_part(objects()));
  EXPECT_EQ(decode_snapshot_part(stream, part).value(), objects());
  std::vector<SnapshotObject> one = {{"d", {entry("", 1, 1, "v")}}};
  const std::string plain = golden("snapshot_part/plain", encode_snapshot_part(one));
  EXPECT_EQ(to_hex(plain), to_hex(encode_snapshot_part(one)));
  EXPECT_EQ(decode_snapshot_part(stream, plain).value(), one);
}

TEST(SnapshotManifest, RefusesWhatIsOverItsBoundsOrContradictsItself) {
  const auto refused = [](const SnapshotManifest& bad) {
    const auto decoded = decode_snapshot_manifest(encode(bad));
    return decoded.ok() ? std::string("taken") : std::string(to_string(decoded.error().code));
  };
  SnapshotManifest bad = manifest();
  ASSERT_TRUE(bad.received.add({run(2), stream}, 300, 300).ok());
  EXPECT_EQ(refused(bad), "corrupt") << "a gap";
  bad = manifest();
  ASSERT_TRUE(bad.received.add({run(4), Stream::alarm}, 1, 1).ok());
  EXPECT_EQ(refused(bad), "corrupt") << "another stream";
  bad = manifest();
  bad.parts[0].bytes = snapshot_part_bytes_max + 1;
  EXPECT_EQ(refused(bad), "out_of_range");
  bad.parts[0].bytes = 0;
  EXPECT_EQ(refused(bad), "out_of_range");
  bad = manifest();
  bad.parts.assign(snapshot_bytes_max / snapshot_part_bytes_max + 1, {{}, snapshot_part_bytes_max});
  EXPECT_EQ(refused(bad), "out_of_range");
  bad.parts.assign(snapshot_parts_max + 1, {{}, 1});
  EXPECT_EQ(refused(bad), "out_of_range");
  const std::string good = encode(manifest());
  for (std::size_t length = 0; length < good.size(); ++length)
    EXPECT_FALSE(decode_snapshot_manifest(std::string_view(good).substr(0, length)).ok()) << length;
  EXPECT_FALSE(decode_snapshot_manifest(good + '\0').ok());
}

TEST(SnapshotPart, RefusesWhatIsOutOfOrder) {
  const auto taken = [](const std::vector<SnapshotObject>& made) {
    return decode_snapshot_part(stream, encode_snapshot_part(made)).ok();
  };
  ASSERT_TRUE(taken(objects()));
  std::vector<SnapshotObject> bad = objects();
  std::swap(bad[0], bad[1]);
  EXPECT_FALSE(taken(bad)) << "objects";
  bad = objects();
  std::swap(bad[0].entries[0], bad[0].entries[1]);
  EXPECT_FALSE(taken(bad)) << "dots of one path";
  bad = objects();
  bad[0].entries[1] = bad[0].entries[0];
  EXPECT_FALSE(taken(bad)) << "one dot twice";
  bad = objects();
  bad[1].entries.clear();
  EXPECT_FALSE(taken(bad)) << "nothing of an object";
  for (const char* name : {"", "a\nb", "\xff"}) {
    bad = {{name, {entry("/p", 1, 1, "v")}}};
    EXPECT_FALSE(taken(bad)) << name;
  }
  bad = {{"d", {entry("no slash", 1, 1, "v")}}};
  EXPECT_FALSE(taken(bad)) << "path";
  bad = {{"d", {entry("/p", 1, 0, "v")}}};
  EXPECT_FALSE(taken(bad)) << "seq";
  bad = {{"d", {entry("/p", 1, 1, std::string(op_value_bytes_max + 1, 'v'))}}};
  EXPECT_FALSE(taken(bad)) << "value";
}

// A few hundred bytes may say a long path thousands of times.
TEST(SnapshotPart, RefusesWhatWouldBeFarLargerThanItsBytes) {
  std::vector<SnapshotObject> large = {{"d", {}}};
  const std::string path = "/" + std::string(1000, 'p');
  for (std::uint64_t seq = 1; seq <= 1000; ++seq) large[0].entries.push_back(entry(path, 1, seq, ""));
  const std::string bytes = encode_snapshot_part(large);
  EXPECT_LT(bytes.size(), 2000u);
  const auto decoded = decode_snapshot_part(stream, bytes);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.error().code, Code::out_of_range);
}

using State = std::map<std::string, Entries>;

State fleet(int devices, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  State state;
  std::uint64_t seq = 0;
  for (int d = 0; d < devices; ++d) {
    Entries& entries = state["twin/site-" + std::to_string(d % 7) + "/pump-" + std::to_string(d)];
    for (int p = 0; p < 20; ++p) {
      seq += 1 + rng() % 50;
      Entry made = entry("/p/property-" + std::to_string(10 + p), 1 + static_cast<std::uint32_t>(rng() % 3), seq,
                         "{\"v\":" + std::to_string(rng() % 1000) + "}");
      made.time = {(1'700'000'000'000 + seq * 500 + rng() % 1000) << 16};
      entries.push_back(made);
    }
  }
  return state;
}

std::vector<std::string> cut(const State& state) {
  SnapshotCutter cutter;
  for (const auto& [name, entries] : state) cutter.add(name, entries);
  return cutter.take();
}

State joined(const std::vector<std::string>& parts) {
  State state;
  for (const std::string& part : parts) {
    auto decoded = decode_snapshot_part(stream, part);
    EXPECT_TRUE(decoded.ok()) << decoded.error().detail;
    for (SnapshotObject& object : *decoded) std::ranges::move(object.entries, std::back_inserter(state[object.name]));
  }
  return state;
}

std::size_t changed_parts(const std::vector<std::string>& before, const std::vector<std::string>& after) {
  const std::set<std::string> known(before.begin(), before.end());
  return static_cast<std::size_t>(
      std::ranges::count_if(after, [&](const auto& part) { return !known.contains(part); }));
}

TEST(SnapshotCutter, CutsPartsOfTheSizeThatALinkOfSecondsFinishes) {
  const State state = fleet(1000, 1);
  const auto parts = cut(state);
  EXPECT_EQ(joined(parts), state);
  std::size_t plain = 0, bytes = 0;
  for (const std::string& part : parts) {
    bytes += part.size();
    const auto objects = decode_snapshot_part(stream, part).value();
    for (const SnapshotObject& object : objects) plain += snapshot_bytes(object);
  }
  const double mean = static_cast<double>(plain) / static_cast<double>(parts.size());
  EXPECT_GT(mean, snapshot_part_bytes / 2.0);
  EXPECT_LT(mean, snapshot_part_bytes * 1.5);
  // 20,000 writes whose values, seqs and times are random.
  RecordProperty("bytes_per_entry", static_cast<int>(bytes / 20'000));
  std::printf("%zu parts, %zu bytes, %.1f of an entry\n", parts.size(), bytes, static_cast<double>(bytes) / 20'000);
  EXPECT_LT(bytes, 20'000u * 11);
}

TEST(SnapshotCutter, ASmallChangeChangesFewParts) {
  const State state = fleet(1000, 2);
  const auto before = cut(state);
  ASSERT_GT(before.size(), 50u);
  State changed = state;
  changed["twin/site-3/pump-500"] = {entry("/p/new", 1, 1'000'000, "1")};  // there, and of another length
  EXPECT_LE(changed_parts(before, cut(changed)), 2u);
  changed = state;
  ASSERT_EQ(changed.erase("twin/site-3/pump-500"), 1u);
  EXPECT_LE(changed_parts(before, cut(changed)), 3u);
  changed = state;
  changed["twin/site-0/a"] = {entry("/p/new", 1, 1'000'000, "1")};
  EXPECT_LE(changed_parts(before, cut(changed)), 3u);
}

TEST(SnapshotCutter, AnObjectLargerThanAPartGoesOnInTheNext) {
  State state = fleet(3, 3);
  Entries& large = state["twin/site-1/large"];
  for (std::uint64_t i = 0; i < 40; ++i)
    large.push_back(entry("/p/" + std::to_string(100 + i), 1, 1 + i,
                          std::string(op_value_bytes_max, static_cast<char>('a' + i % 20))));
  SnapshotCutter cutter;
  for (const auto& [name, entries] : state) cutter.add(name, entries);
  EXPECT_GT(cutter.plain_bytes(), 40 * op_value_bytes_max);
  const auto parts = cutter.take();
  EXPECT_GT(parts.size(), 10u);
  EXPECT_EQ(joined(parts), state);
}

}  // namespace
}  // namespace landfall
