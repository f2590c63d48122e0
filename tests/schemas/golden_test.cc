// Property: bytes that any version wrote are read for ever, and the same value is written as the same bytes.

#include "../golden/golden.h"

#include <gtest/gtest.h>

#include "samples.h"
#include "schemas/frame.h"
#include "schemas/op.h"

namespace landfall {
namespace {

std::string row_of(const Event& event) {
  std::string rows;
  if (!encode_row(event, rows).ok()) ADD_FAILURE() << "refused";
  RowReader reader(rows);
  return std::string(reader.next());
}

// The file and the value's encoding are the same bytes.
std::string same_bytes(const std::string& name, const std::string& encoded) {
  std::string file = golden(name, encoded);
  EXPECT_EQ(to_hex(file), to_hex(encoded)) << name;
  return file;
}

TEST(Golden, Rows) {
  Event event = samples::event();
  const std::string alarm = same_bytes("row/alarm-all-attributes", row_of(event));
  EXPECT_TRUE(samples::same(decode_row(alarm).value(), event));
  for (const Kind kind : {Kind::run_start, Kind::audit, Kind::telemetry, Kind::message}) {
    Event plain;
    plain.kind = kind;
    plain.time = {7};
    if (kind >= Kind::telemetry) plain.subject = "s";
    const std::string row = same_bytes("row/plain-kind-" + std::to_string(static_cast<int>(kind)), row_of(plain));
    EXPECT_TRUE(samples::same(decode_row(row).value(), plain));
  }
}

TEST(Golden, RowOfAChangeWithItsActor) {
  Event change;
  change.kind = Kind::change;
  change.time = {0x018f'1234'5678'0000};
  change.clock = ClockClass::synced;
  change.subject = "twin/pump-7";
  change.device = "pump-7";
  change.actor = "user:ingrid";
  change.payload = "as in change/";
  const std::string row = same_bytes("row/change-with-actor", row_of(change));
  EXPECT_TRUE(samples::same(decode_row(row).value(), change));
}

// Of a range of two: inside it, and at its end.
TEST(Golden, RowsOfVoids) {
  Event inside;
  inside.kind = Kind::voided;
  inside.time = {0x018f'1234'5678'0000};
  inside.clock = ClockClass::synced;
  inside.subject = "twin/pump-7";
  inside.device = "pump-7";
  inside.payload = "as in change/";
  EXPECT_TRUE(samples::same(decode_row(same_bytes("row/void", row_of(inside))).value(), inside));
  Event last = inside;
  last.chain = "0123456789abcdef0123456789ABCDEF";
  const std::string row = same_bytes("row/void-last", row_of(last));
  EXPECT_TRUE(samples::same(decode_row(row).value(), last));
}

TEST(Golden, Changes) {
  const RunStream of{samples::run(5, 2), Stream::desired};
  const auto again = [&](const std::string& name, std::vector<Op> ops) {
    const std::string payload = same_bytes("change/" + name, encode_ops(ops, of).value());
    EXPECT_EQ(decode_ops(payload, of).value(), ops) << name;
  };
  again("set", {{"/p/flow/c", "\"12.5\"", {{of.run, of.stream, 41}}}});
  again("two-ops-two-runs",
        {{"", std::nullopt, {{of.run, of.stream, 2}}},
         {"/tags/t~13",
          "1",
          {{samples::run(1, 9), of.stream, 300}, {of.run, of.stream, 7}, {samples::run(9, 1), of.stream, 5}}}});
}

TEST(Golden, Chunks) {
  const auto [header, rows] = samples::rows(2, 10);
  const std::string plain = same_bytes("chunk/plain", encode_chunk(header, rows));
  EXPECT_EQ(decode_chunk(plain).value().rows, rows);
  const auto [many_header, many_rows] = samples::rows(50, 40);
  // Not compared byte for byte: another version of zstd may choose another encoding.
  auto zstd = decode_chunk(golden("chunk/zstd", encode_chunk(many_header, many_rows)));
  ASSERT_TRUE(zstd.ok()) << zstd.error().detail;
  EXPECT_EQ(zstd->rows, many_rows);
  EXPECT_EQ(zstd->header.chain_after, many_header.chain_after);
}

// 40 changes of three subjects, at two paths.
TEST(Golden, ChunkOfColumns) {
  auto [header, rows] = samples::rows(40, 10);
  header.of.stream = Stream::desired;
  rows.clear();
  for (std::uint64_t i = 0; i < header.count(); ++i) {
    std::vector<Op> ops{{i % 2 == 0 ? "/p/a/c" : "/tags/x~1y",
                         i % 5 == 4 ? std::nullopt : std::optional("\"v" + std::to_string(i * i) + "\""),
                         {{i < 6 ? samples::run(9, 2) : header.of.run, header.of.stream, 35 + i}}}};
    const std::string payload = encode_ops(ops, header.of).value();
    const std::string device = "d" + std::to_string(i % 3), subject = "twin/" + device;
    Event change;
    change.kind = Kind::change;
    change.time = {1000 + i};
    change.subject = subject;
    change.device = device;
    change.actor = "user:ingrid";
    change.payload = payload;
    ASSERT_TRUE(encode_row(change, rows).ok());
  }
  auto columnar = decode_chunk(golden("chunk/columnar", encode_chunk(header, rows)));
  ASSERT_TRUE(columnar.ok()) << columnar.error().detail;
  EXPECT_EQ(columnar->header.codec, Codec::columnar);
  EXPECT_EQ(to_hex(columnar->rows), to_hex(rows));
}

TEST(Golden, RunStartAndDeps) {
  const std::string start = same_bytes("run_start/all-fields", encode_run_start(samples::run_start()));
  EXPECT_EQ(encode_run_start(decode_run_start(start).value()), start);
  const std::string first = same_bytes("run_start/first", encode_run_start({}));
  EXPECT_TRUE(decode_run_start(first).value().parent.is_none());
  const std::string deps = same_bytes("deps/two", std::string(samples::event().deps));
  EXPECT_EQ(decode_deps(deps).value().size(), 2u);
}

TEST(Golden, SyncMessages) {
  const auto again = [](const std::string& name, const std::string& encoded, const auto& decode) {
    auto value = decode(same_bytes(name, encoded));
    ASSERT_TRUE(value.ok()) << name << ": " << value.error().detail;
    EXPECT_EQ(encode(*value), encoded) << name;
  };
  again("hello/with-snapshot", encode(samples::hello()), decode_hello);
  again("ack/with-lost", encode(Ack{"context", 77, "lost"}), decode_ack);
  again("digest/two-streams", encode(samples::digests()), decode_digests);
  again("snapshot_offer/all-fields", encode(samples::snapshot_offer()), decode_snapshot_offer);
  again("snapshot_part_frame/all-fields", encode(samples::snapshot_part()), decode_snapshot_part);
  again("snapshot_want/all-fields", encode(samples::snapshot_want()), decode_snapshot_want);
  again("heartbeat/all-fields", encode(Heartbeat{{99}}), decode_heartbeat);
  again("bye/all-fields", encode(Bye{Code::denied, "certificate expired"}), decode_bye);
  again("enrol/all-fields", encode(Enrol{"-----BEGIN CERTIFICATE REQUEST-----\n", "ship 7"}), decode_enrol);
  again("enrolled/all-fields", encode(samples::enrolled()), decode_enrolled);
}

// As peers of earlier versions send them: fields added since read as nothing asked for.
TEST(Golden, SyncMessagesOfEarlierVersions) {
  for (const char* name : {"hello/all-fields", "hello/with-relays", "hello/with-digest"}) {
    auto hello = decode_hello(golden(name, {}));
    ASSERT_TRUE(hello.ok()) << hello.error().detail;
    EXPECT_EQ(hello->relays, name == std::string("hello/all-fields") ? 0 : samples::hello().relays);
    EXPECT_EQ(hello->understands_digest, name == std::string("hello/with-digest"));
    EXPECT_FALSE(hello->understands_snapshot);
    hello->relays = samples::hello().relays;
    hello->understands_digest = hello->understands_snapshot = true;
    EXPECT_EQ(encode(*hello), encode(samples::hello()));
  }
  const auto ack = decode_ack(golden("ack/all-fields", {}));
  ASSERT_TRUE(ack.ok()) << ack.error().detail;
  EXPECT_EQ(encode(*ack), encode(Ack{"context", 77, {}}));
}

TEST(Golden, Frames) {
  const std::string bytes =
      same_bytes("frames/two", encode_frame(FrameType::heartbeat, encode(Heartbeat{{99}})) +
                                   encode_frame(FrameType::bye, encode(Bye{Code::unavailable, "stopping"})));
  FrameReader reader;
  std::string_view input = bytes;
  EXPECT_EQ(decode_heartbeat(reader.next(input).value().body).value().time.value, 99u);
  EXPECT_EQ(decode_bye(reader.next(input).value().body).value().detail, "stopping");
}

}  // namespace
}  // namespace landfall
