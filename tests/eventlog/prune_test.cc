// Property: what was pruned stays in the received context and in the state, and nothing else depends on its chunks.
#include <gtest/gtest.h>

#include "schemas/op.h"
#include "tests/eventlog/log_fixture.h"

namespace landfall {
namespace {

using test::event;
using test::LogMachine;

constexpr Stream stream = Stream::document;

Status prune(LogMachine& at, const RunStream& of, std::uint64_t upto) {
  std::optional<Status> result;
  at.log->prune(of, upto, [&](const Status& status) { result = status; });
  EXPECT_FALSE(result) << "completed inside the call";
  at.loop.run_until([&] { return result.has_value(); });
  return *result;
}

// One write of `path`, over what is seen there.
void write(LogMachine& at, const std::string& path, const std::string& value) {
  Op op{path, value, {}};
  const auto seen = *at.log->state(stream, "doc/a");
  for (const Entry& entry : landfall::at(seen, path)) op.supersedes.push_back(entry.dot);
  std::vector<Op> ops{op};
  const auto payload = encode_ops(ops, at.own(stream));
  ASSERT_TRUE(payload.ok());
  Event change = event("doc/a", *payload);
  change.kind = Kind::change;
  ASSERT_TRUE(at.append(stream, {change}).ok());
}

TEST(Prune, KeepsWhatTheEventsAmountTo) {
  LogMachine a;
  const RunStream of = a.own(stream);
  for (int i = 0; i < 30; ++i) write(a, "/p" + std::to_string(i % 7), std::to_string(i));
  const Entries before = *a.log->state(stream, "doc/a");
  const Digest digest = *a.log->state_digest(stream);
  const std::uint64_t chunks = a.verify().chunks;
  ASSERT_TRUE(prune(a, of, 20).ok());
  EXPECT_EQ(a.log->floor(of), 20u);
  EXPECT_EQ(a.log->floor(a.own(Stream::control)), 0u);
  const auto check = [&] {
    EXPECT_EQ(*a.log->state(stream, "doc/a"), before);
    EXPECT_EQ(*a.log->state_digest(stream), digest);
    EXPECT_TRUE(a.log->received().contains(of, 1, 30));
    EXPECT_EQ(a.chunks(of).front().header.first, 21u);
    EXPECT_EQ(a.log->floor(of), 20u);
    EXPECT_EQ(a.verify().faults, std::vector<std::string>{});
    std::size_t found = 0;
    EXPECT_TRUE(a.log->find("doc/", [&](const Log::StoredChunk&) { return ++found, true; }).ok());
    EXPECT_EQ(found, 10u);
    found = 0;
    EXPECT_TRUE(find_chunks(*a.store, "doc/", [&](std::string_view) { return ++found, true; }).ok());
    EXPECT_EQ(found, 10u);
  };
  check();
  EXPECT_EQ(a.verify().chunks, chunks - 20);
  a.reopen();
  check();
  EXPECT_FALSE(a.log->degraded());
  // Again, and to the end: the next run still names where this one ended.
  ASSERT_TRUE(prune(a, of, 30).ok());
  a.reopen();
  EXPECT_EQ(a.verify().faults, std::vector<std::string>{});
  EXPECT_EQ(*a.log->state(stream, "doc/a"), before);
  const auto first = decode_chunk(a.chunks(a.own(Stream::control))[0].bytes);
  ASSERT_TRUE(first.ok());
  RowReader rows(first->rows);
  const auto start = decode_run_start(decode_row(rows.next())->payload);
  ASSERT_TRUE(start.ok());
  EXPECT_EQ(start->parent.counter + 1, a.log->run().counter);
}

TEST(Prune, TakesWholeChunksOnlyAndOnlyWhatIsAllHere) {
  LogMachine a;
  const RunStream of = a.own(stream);
  ASSERT_TRUE(a.append(stream, {event("d", "1"), event("d", "2"), event("d", "3")}).ok());
  ASSERT_TRUE(a.append(stream, {event("d", "4")}).ok());
  ASSERT_TRUE(prune(a, of, 2).ok());
  EXPECT_EQ(a.log->floor(of), 0u);
  const Status over = prune(a, of, 5);
  ASSERT_FALSE(over.ok());
  EXPECT_EQ(over.error().code, Code::out_of_range);
  ASSERT_TRUE(prune(a, of, 3).ok());
  EXPECT_EQ(a.log->floor(of), 3u);
  ASSERT_TRUE(prune(a, of, 3).ok());
  EXPECT_EQ(a.payloads(of), (std::vector<std::string>{"4"}));
  EXPECT_TRUE(prune(a, {{test::node(9), 1, 1}, stream}, 0).ok());
}

TEST(Prune, IngestGoesOnAboveTheFloor) {
  LogMachine a(1), b(2);
  const RunStream of = a.own(Stream::telemetry);
  a.append_each(Stream::telemetry, 12);
  const auto chunks = a.chunks(of);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(b.ingest(chunks[static_cast<std::size_t>(i)].bytes).ok());
  ASSERT_TRUE(prune(b, of, 8).ok());
  EXPECT_TRUE(b.chunks(of).empty());
  ASSERT_TRUE(b.ingest(chunks[3].bytes).ok()) << "here already";
  EXPECT_TRUE(b.chunks(of).empty());
  // Nothing but the floor's chain says what it must join.
  ChunkHeader forged = chunks[8].header;
  forged.chain_before[0] ^= 1;
  const auto row = decode_chunk(chunks[8].bytes);
  ASSERT_TRUE(row.ok());
  forged.chain_after = forged.chain_before;
  ChainHasher().extend_rows(forged.chain_after, row->rows);
  const Status refused = b.ingest(encode_chunk(forged, row->rows));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::conflict);
  for (std::size_t i = 8; i < 12; ++i) ASSERT_TRUE(b.ingest(chunks[i].bytes).ok());
  b.reopen();
  EXPECT_EQ(b.log->received().base(of), 12u);
  EXPECT_EQ(b.verify().faults, std::vector<std::string>{});
}

TEST(Prune, AStateThatOnlyPrunedChunksCouldTellIsNotGivenUp) {
  LogMachine a;
  for (int i = 0; i < 4; ++i) write(a, "/p", std::to_string(i));
  ASSERT_TRUE(prune(a, a.own(stream), 2).ok());
  a.log.reset();
  const Status refused = forget_state(*a.store);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::unavailable);
  a.reopen();
  EXPECT_EQ(a.log->state(stream, "doc/a")->size(), 1u);
}

// A hand has been at what pruned chunks put: nothing here can tell. At what the others put: verify does.
TEST(Prune, VerifyStillTellsWhatTheRestSays) {
  LogMachine a;
  write(a, "/old", "1");
  write(a, "/p", "1");
  write(a, "/p", "2");
  ASSERT_TRUE(prune(a, a.own(stream), 2).ok());
  EXPECT_EQ(a.verify().faults, std::vector<std::string>{});
  Batch batch;
  ASSERT_TRUE(a.store
                  ->scan(Table::state, {}, Store::Order::forward,
                         [&](std::string_view key, std::string_view value) {
                           if (key.find("/p") != std::string_view::npos)
                             batch.put(Table::state, std::string(key), std::string(value) + "x");
                           return true;
                         })
                  .ok());
  ASSERT_EQ(batch.ops.size(), 1u);
  ASSERT_TRUE(a.store->write(std::move(batch)).ok());
  ASSERT_EQ(a.verify().faults.size(), 1u);
  EXPECT_NE(a.verify().faults[0].find("'/p'"), std::string::npos);
}

}  // namespace
}  // namespace landfall
