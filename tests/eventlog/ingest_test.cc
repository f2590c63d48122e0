#include <gtest/gtest.h>

#include "schemas/op.h"
#include "tests/eventlog/log_fixture.h"

namespace landfall {
namespace {

using test::event;
using test::LogMachine;

// Foreign events: stored as received, whatever the order and the cut, and never two under one dot.

// What `from` has of one stream, chunk by chunk.
std::vector<std::string> stored(const LogMachine& from, Stream stream) {
  std::vector<std::string> bytes;
  for (auto& chunk : from.chunks(from.own(stream))) bytes.push_back(std::move(chunk.bytes));
  return bytes;
}

// Ten chunks of three events.
void fill(LogMachine& m, Stream stream = Stream::telemetry) {
  for (int i = 0; i < 10; ++i) {
    const std::string payload = "chunk " + std::to_string(i);
    ASSERT_TRUE(m.append(stream, {event("d1", payload), event("d2", payload), event("d3", payload)}).ok());
  }
}

TEST(Ingest, StoresForeignChunksAsReceived) {
  LogMachine edge(1), hub(2);
  fill(edge);
  for (const std::string& chunk : stored(edge, Stream::control)) EXPECT_TRUE(hub.ingest(chunk).ok());
  for (const std::string& chunk : stored(edge, Stream::telemetry)) EXPECT_TRUE(hub.ingest(chunk).ok());
  std::vector<std::string> there;
  for (auto& chunk : hub.chunks(edge.own(Stream::telemetry))) there.push_back(chunk.bytes);
  EXPECT_EQ(there, stored(edge, Stream::telemetry));
  hub.reopen();
  EXPECT_EQ(hub.payloads(edge.own(Stream::telemetry)), edge.payloads(edge.own(Stream::telemetry)));
  EXPECT_EQ(hub.verify().faults, std::vector<std::string>{});
}

TEST(Ingest, TakesAnyOrderAndNamesTheGaps) {
  LogMachine edge(1), hub(2);
  fill(edge);
  auto chunks = stored(edge, Stream::telemetry);
  const RunStream of = edge.own(Stream::telemetry);
  EXPECT_TRUE(hub.ingest(chunks[4]).ok());
  EXPECT_EQ(hub.log->received().base(of), 0u);
  EXPECT_EQ(hub.log->received().missing(of, 1, 15), (std::vector<ReceivedContext::Range>{{1, 12}}));
  hub.reopen();
  for (std::size_t i = chunks.size(); i-- > 0;) EXPECT_TRUE(hub.ingest(chunks[i]).ok());
  EXPECT_EQ(hub.log->received().base(of), 30u);
  EXPECT_EQ(hub.chunks(of).size(), chunks.size());
  EXPECT_EQ(hub.verify().faults, std::vector<std::string>{});
}

TEST(Ingest, StoresAChunkOnceThatIsOfferedTwiceInFlight) {
  LogMachine edge(1), hub(2);
  fill(edge);
  int done = 0;
  std::vector<Log::Range> heard;
  hub.log->subscribe(0x7f, [&](const Log::Range& range) { heard.push_back(range); });
  for (int copy = 0; copy < 3; ++copy) {
    for (const std::string& chunk : stored(edge, Stream::telemetry)) {
      hub.log->ingest(chunk, [&](const Status& status) {
        EXPECT_TRUE(status.ok());
        EXPECT_TRUE(hub.log->received().contains(edge.own(Stream::telemetry), 1, 1));
        ++done;
      });
    }
  }
  hub.loop.run_until([&] { return done == 30; });
  EXPECT_EQ(heard.size(), 10u);
  EXPECT_EQ(hub.payloads(edge.own(Stream::telemetry)).size(), 30u);
}

TEST(Ingest, CutsOffWhatIsHereAlready) {
  LogMachine edge(1), hub(2), other(3);
  ASSERT_TRUE(edge.append(Stream::telemetry, std::vector<Event>(30, event("d", "payload"))).ok());
  const RunStream of = edge.own(Stream::telemetry);
  const std::string whole = stored(edge, Stream::telemetry).at(0);
  ChainHasher hasher;
  auto part = [&](std::uint64_t first, std::uint64_t last) { return *cut_chunk(whole, first, last, hasher); };
  EXPECT_TRUE(hub.ingest(part(11, 20)).ok());
  EXPECT_TRUE(hub.ingest(part(5, 15)).ok());   // overlaps on its right
  EXPECT_TRUE(hub.ingest(part(18, 25)).ok());  // on its left
  EXPECT_TRUE(hub.ingest(part(12, 14)).ok());  // altogether inside
  EXPECT_TRUE(hub.ingest(whole).ok());         // around everything
  EXPECT_EQ(hub.log->received().base(of), 30u);
  EXPECT_EQ(hub.payloads(of).size(), 30u);
  EXPECT_EQ(hub.chunks(of).size(), 5u);
  EXPECT_EQ(hub.verify().faults, std::vector<std::string>{});
}

TEST(Ingest, CutsColumnsAsItCutsRows) {
  LogMachine edge(1), hub(2);
  std::vector<std::string> payloads;
  std::vector<Event> changes;
  for (int i = 0; i < 400; ++i) {
    std::vector<Op> ops{{"/p/" + std::to_string(i) + "/c", std::to_string(i * i), {}}};
    payloads.push_back(*encode_ops(ops, edge.own(Stream::desired)));
  }
  for (const std::string& payload : payloads) {
    changes.push_back(event("twin/d", payload));
    changes.back().kind = Kind::change;
  }
  ASSERT_TRUE(edge.append(Stream::desired, changes).ok());
  const RunStream of = edge.own(Stream::desired);
  const std::string whole = stored(edge, Stream::desired).at(0);
  ASSERT_EQ(read_chunk_header(whole)->codec, Codec::columnar);
  ChainHasher hasher;
  const std::string part = *cut_chunk(whole, 11, 360, hasher);
  EXPECT_EQ(read_chunk_header(part)->codec, Codec::columnar);
  EXPECT_TRUE(hub.ingest(part).ok());
  EXPECT_TRUE(hub.ingest(*cut_chunk(part, 360, 360, hasher)).ok());
  EXPECT_TRUE(hub.ingest(whole).ok());
  EXPECT_EQ(hub.payloads(of), edge.payloads(of));
  EXPECT_EQ(hub.payloads(of), payloads);
  EXPECT_EQ(hub.verify().faults, std::vector<std::string>{});
}

// A forked node: one run, written on by two.
TEST(Ingest, ReportsAForkAndStoresNothing) {
  LogMachine edge(1), hub(2);
  fill(edge);
  auto chunks = stored(edge, Stream::telemetry);
  ChainHasher hasher;
  // The same dots with other contents, chained rightly in themselves.
  auto forge = [&](const std::string& chunk) {
    DecodedChunk decoded = *decode_chunk(chunk);
    decoded.rows.back() ^= 1;
    decoded.header.chain_after = decoded.header.chain_before;
    hasher.extend_rows(decoded.header.chain_after, decoded.rows);
    return encode_chunk(decoded.header, decoded.rows);
  };
  for (int i : {0, 1, 2, 5}) ASSERT_TRUE(hub.ingest(chunks[static_cast<std::size_t>(i)]).ok());
  auto code = [&](std::string chunk) {
    Status status = hub.ingest(std::move(chunk));
    return status.ok() ? std::string("stored") : std::string(to_string(status.error().code));
  };
  EXPECT_EQ(code(forge(chunks[2])), "conflict") << "a dot with two contents";
  EXPECT_EQ(code(forge(chunks[4])), "conflict") << "does not lead to the chunk after it";
  ASSERT_EQ(code(chunks[3]), "stored");
  ASSERT_EQ(code(chunks[4]), "stored");
  EXPECT_EQ(code(forge(chunks[1])), "conflict");
  EXPECT_EQ(hub.payloads(edge.own(Stream::telemetry)).size(), 18u);
  EXPECT_EQ(hub.verify().faults, std::vector<std::string>{});
}

TEST(Ingest, RefusesDamagedBytesAndOtherPeoplesEventsInOurRun) {
  LogMachine edge(1);
  fill(edge);
  auto chunks = stored(edge, Stream::telemetry);
  LogMachine hub(2);
  const DecodedChunk good = *decode_chunk(chunks[0]);
  int refused = 0;
  for (std::size_t at = 0; at < chunks[0].size(); at += 7) {
    std::string bad = chunks[0];
    bad[at] ^= 0x20;
    if (auto decoded = decode_chunk(bad); decoded.ok() && decoded->rows == good.rows && decoded->header == good.header)
      continue;  // padding
    refused += hub.ingest(bad).ok() ? 0 : 1;
    ASSERT_FALSE(hub.log->received().contains(Dot{edge.log->run(), Stream::telemetry, 1})) << at;
  }
  EXPECT_GT(refused, 10);
  // A peer that claims more of our open run than we wrote.
  DecodedChunk next = *decode_chunk(chunks.back());
  next.header.first += 3, next.header.last += 3;
  next.header.chain_before = next.header.chain_after;
  ChainHasher hasher;
  hasher.extend_rows(next.header.chain_after, next.rows);
  Status status = edge.ingest(encode_chunk(next.header, next.rows));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::conflict);
  EXPECT_TRUE(edge.ingest(chunks[0]).ok()) << "an echo of what we wrote is no harm";
}

TEST(Ingest, TakesForeignRunsNewestFirst) {
  LogMachine edge(1), hub(2);
  std::vector<RunId> runs;
  std::vector<std::string> chunks;
  for (int run = 0; run < 3; ++run) {
    fill(edge);
    for (Stream stream : {Stream::control, Stream::telemetry}) {
      for (auto& chunk : stored(edge, stream)) chunks.push_back(std::move(chunk));
    }
    runs.push_back(edge.log->run());
    edge.reopen();
  }
  for (std::size_t i = chunks.size(); i-- > 1;) ASSERT_TRUE(hub.ingest(chunks[i]).ok());
  EXPECT_EQ(hub.log->received().base({runs[0], Stream::control}), 0u);
  hub.reopen();
  ASSERT_TRUE(hub.ingest(chunks[0]).ok());
  EXPECT_EQ(hub.verify().faults, std::vector<std::string>{});
  hub.reopen();
  for (const RunId& run : runs) {
    EXPECT_TRUE(hub.log->received().contains({run, Stream::telemetry}, 1, 30));
    EXPECT_EQ(hub.log->received().max({run, Stream::telemetry}), 30u);
  }
  EXPECT_EQ(hub.verify().faults, std::vector<std::string>{});
  EXPECT_FALSE(hub.log->degraded());
}

TEST(Ingest, LearnsFromBelievableClocksOnly) {
  LogMachine edge(1), hub(2);
  edge.loop.wall_ms += 60'000;
  ASSERT_TRUE(edge.append(Stream::telemetry, {event("d", "ahead by a minute")}).ok());
  ASSERT_TRUE(hub.ingest(stored(edge, Stream::telemetry).at(0)).ok());
  hub.append_each(Stream::telemetry, 1);
  EXPECT_GT(hub.chunks(hub.own(Stream::telemetry)).at(0).header.time_min,
            edge.chunks(edge.own(Stream::telemetry)).at(0).header.time_max);
  LogMachine far(3);
  far.loop.wall_ms += 86'400'000;
  ASSERT_TRUE(far.append(Stream::telemetry, {event("d", "ahead by a day")}).ok());
  ASSERT_TRUE(hub.ingest(stored(far, Stream::telemetry).at(0)).ok());
  hub.append_each(Stream::telemetry, 1);
  EXPECT_LT(hub.chunks(hub.own(Stream::telemetry)).at(1).header.time_min,
            far.chunks(far.own(Stream::telemetry)).at(0).header.time_min);
}

}  // namespace
}  // namespace landfall
