#include "tests/hub/made_rows.h"

#include "eventlog/chain.h"
#include "eventlog/voids.h"
#include "schemas/chunk.h"
#include "schemas/op.h"
#include "schemas/varint.h"
#include "tests/hub/made_events.h"

namespace landfall {

Event made(Kind kind, std::string_view subject, std::string_view payload) {
  Event event;
  event.time = HybridTime::from_unix_ms(1'750'000'000'000);
  event.clock = ClockClass::synced;
  event.kind = kind;
  event.subject = subject;
  event.payload = payload;
  return event;
}

std::string row_of(const Event& event) {
  std::string row;
  LANDFALL_CHECK(encode_row(event, row).ok());
  RowReader reader(row);
  return std::string(reader.next());
}

std::string chunk_of(const RunStream& of, const std::vector<std::string>& rows) {
  ChunkHeader header;
  header.of = of;
  header.first = 1;
  header.last = rows.size();
  header.chain_before = header.chain_after = chain_start(of);
  ChainHasher hasher;
  std::string all;
  for (const auto& row : rows) {
    append_varint(all, row.size());
    all += row;
    hasher.extend(header.chain_after, row);
    const HybridTime time = decode_row(row).value().time;
    header.time_min = &row == &rows[0] ? time : std::min(header.time_min, time);
    header.time_max = std::max(header.time_max, time);
  }
  return encode_chunk(header, all);
}

std::string cut(const std::string& chunk, std::uint64_t first, std::uint64_t last) {
  ChainHasher hasher;
  return cut_chunk(chunk, first, last, hasher).value();
}

std::string with_voids(const std::string& chunk, std::uint64_t first, std::uint64_t last) {
  const Log::StoredChunk stored{read_chunk_header(chunk).value(), chunk};
  const MayVoid superseded = [&](const Dot& dot, const Event&) { return dot.seq >= first && dot.seq <= last; };
  ChainHasher hasher;
  auto made = make_voids({&stored, 1}, superseded, hasher).value();
  LANDFALL_CHECK(made.has_value());
  return std::move(made->chunk.bytes);
}

std::vector<std::string> rows_in(const std::string& chunk) {
  const DecodedChunk decoded = decode_chunk(chunk).value();
  std::vector<std::string> rows;
  RowReader reader(decoded.rows);
  for (std::string_view row = reader.next(); !row.empty(); row = reader.next()) rows.emplace_back(row);
  return rows;
}

static std::string ops_of(const RunStream& of, std::vector<Op> ops) { return encode_ops(ops, of).value(); }

std::vector<std::string> plain_rows() {
  const std::string binary("\x00\xff\n\r\0 \x01", 7);
  Event reading = made(Kind::telemetry, "pump-1/pressure", binary);
  reading.retained = true;
  reading.time.value += 7;
  reading.source = "urn:made";
  reading.id = "reading 1: \xc3\xa4";
  reading.device = "pump-1";
  reading.content_type = "application/x-nmea";
  Event bare = made(Kind::telemetry, "pump-1/pressure", "");
  bare.clock = ClockClass::untrusted;
  Event same = made(Kind::message, "pump-1", "{}");
  same.device = "pump-1";  // the same key as none would give
  Event held = made(Kind::message, "pump-1", "{}");
  held.clock = ClockClass::holdover;
  Event proven = made(Kind::alarm, "pump-1", "1");
  proven.clock = ClockClass::authenticated;
  proven.actor = "spiffe://landfall/workload/bridge";
  const std::string deps = encode_deps({{made_run(3), Stream::alarm, 2}, {made_run(9), Stream::document, 12345}});
  proven.deps = deps;
  Event newer = made(static_cast<Kind>(77), "pump-1", "later");
  Event early = made(Kind::telemetry, "pump-1", "1970");
  early.time = {};
  return {row_of(reading), row_of(bare), row_of(same), row_of(held), row_of(proven), row_of(newer), row_of(early)};
}

std::vector<std::string> strange_rows() {
  Event late = made(Kind::telemetry, "pump-1", "year 10000");
  late.time = HybridTime::from_unix_ms(253'402'300'800'000);
  std::string flag = row_of(made(Kind::telemetry, "pump-1", "a newer flag"));
  flag[9] = static_cast<char>(flag[9] | 0x40);
  std::string attribute = row_of(made(Kind::telemetry, "p", ""));
  attribute.pop_back();  // no attributes
  attribute += std::string("\x04\x28\x02xy", 5) + "a newer attribute";
  return {row_of(late), flag, attribute};
}

std::vector<std::string> made_changes() {
  const RunStream desired{made_run(3), Stream::desired};
  Event first = made(Kind::change, "twin/pump-1", "");
  first.device = "pump-1";
  first.actor = "user:amundsen";
  const std::string set = ops_of(desired, {{"/p/speed/c", R"({"v":80})", {}}, {"/p/name/c", "\"a\xff\"", {}}});
  first.payload = set;
  Event second = made(Kind::change, "twin/pump-1", "");
  second.device = "twin/pump-1";
  second.content_type = "application/vnd.other";
  const std::string deps = encode_deps({{made_run(3), Stream::document, 1}});
  second.deps = deps;
  second.retained = true;
  const std::string replaced = ops_of(
      desired, {{"/p/speed/c", std::string("90\0more", 7), {{made_run(3), Stream::desired, 1}}},
                {"/p/name/c", std::nullopt, {{made_run(3), Stream::desired, 1}, {made_run(5), Stream::desired, 4}}}});
  second.payload = replaced;
  Event third = made(Kind::change, "twin/pump-1", "");
  std::vector<Op> many;
  for (int path = 0; path < 5; ++path) {
    many.push_back({"/p/" + std::to_string(path), std::string(200, '1'), {}});
    for (std::uint64_t seq = 1; seq <= 4000; ++seq)
      many.back().supersedes.push_back({made_run(5), Stream::desired, seq});
  }
  const std::string long_one = ops_of(desired, many);
  third.payload = long_one;
  std::string newer = row_of(first);
  newer[9] = static_cast<char>(newer[9] | 0x40);
  return {row_of(first), row_of(second), row_of(third), newer};
}

std::vector<std::string> made_reports(std::uint64_t count) {
  const RunStream reported{made_run(3), Stream::reported};
  std::vector<std::string> rows;
  for (std::uint64_t seq = 1; seq <= count; ++seq) {
    Op put{"/p/speed", std::to_string(seq * 0x9e3779b97f4a7c15u), {}};
    if (seq > 1) put.supersedes.push_back({reported.run, reported.stream, seq - 1});
    const std::string payload = ops_of(reported, {put});
    Event event = made(Kind::change, "twin/pump-1", payload);
    event.time = HybridTime::from_unix_ms(1'750'000'000'000 + static_cast<std::int64_t>(seq));
    event.device = "pump-1";
    rows.push_back(row_of(event));
  }
  return rows;
}

}  // namespace landfall
