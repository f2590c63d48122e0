#include "eventlog/log.h"

#include <gtest/gtest.h>

#include "tests/eventlog/log_fixture.h"

namespace landfall {
namespace {

using test::event;
using test::LogMachine;

// Own events: named without gaps, durable when reported, read back as given.

TEST(Log, NamesEventsWithoutGapsAndReadsThemBack) {
  LogMachine m;
  auto first = m.append(Stream::telemetry, {event("d1", "a"), event("d2", "b")});
  auto second = m.append(Stream::telemetry, {event("d1", "c")});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->first, (Dot{m.log->run(), Stream::telemetry, 1}));
  EXPECT_EQ(first->count, 2u);
  EXPECT_EQ(second->first.seq, 3u);
  EXPECT_EQ(m.payloads(m.own(Stream::telemetry)), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(m.log->received().base(m.own(Stream::telemetry)), 3u);
}

TEST(Log, BeginsEachRunWithItsStart) {
  LogMachine m;
  m.append_each(Stream::alarm, 3);
  RunId parent = m.log->run();
  Digest head = m.chunks(m.own(Stream::alarm)).back().header.chain_after;
  m.reopen();
  EXPECT_NE(m.log->run(), parent);
  EXPECT_EQ(m.log->run().counter, parent.counter + 1);
  auto chunk = decode_chunk(m.chunks(m.own(Stream::control)).front().bytes);
  RowReader rows(chunk->rows);
  auto start = decode_run_start(decode_row(rows.next())->payload);
  ASSERT_TRUE(start.ok());
  EXPECT_EQ(start->parent, parent);
  EXPECT_FALSE(start->degraded);
  ASSERT_EQ(start->parent_heads.size(), 2u);
  EXPECT_EQ(start->parent_heads[1].stream, Stream::alarm);
  EXPECT_EQ(start->parent_heads[1].last, 3u);
  EXPECT_EQ(start->parent_heads[1].chain, head);
}

TEST(Log, KeepsEverythingThroughReopening) {
  LogMachine m;
  std::vector<RunStream> before;
  for (int run = 0; run < 4; ++run) {
    m.append_each(Stream::telemetry, 5);
    before.push_back(m.own(Stream::telemetry));
    m.reopen();
  }
  for (const auto& of : before) {
    EXPECT_EQ(m.payloads(of).size(), 5u);
    EXPECT_TRUE(m.log->received().contains(of, 1, 5));
  }
  EXPECT_EQ(m.log->runs().size(), 5u);
  EXPECT_FALSE(m.log->degraded());
  EXPECT_EQ(m.verify().faults, std::vector<std::string>{});
}

TEST(Log, RefusesAnEventOverItsLimitAndStoresNothingOfTheCall) {
  LogMachine m;
  const std::string large(event_payload_bytes_max + 1, 'x');
  auto refused = m.append(Stream::telemetry, {event("d1", "fine"), event("d1", large)});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::out_of_range);
  auto next = m.append(Stream::telemetry, {event("d1", "next")});
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->first.seq, 1u);
  EXPECT_EQ(m.payloads(m.own(Stream::telemetry)), std::vector<std::string>{"next"});
}

TEST(Log, PutsBackWhoeverComesWhileTooMuchWaits) {
  LogMachine m;
  const std::string payload(event_payload_bytes_max, 'x');
  std::size_t stored = 0, refused = 0, calls = 400;  // 100 MiB at once
  for (std::size_t i = 0; i < calls; ++i) {
    m.log->append(Stream::blob, std::vector{event("d1", payload)}, [&](const Result<Log::Appended>& appended) {
      EXPECT_TRUE(appended.ok() || appended.error().code == Code::unavailable);
      ++(appended ? stored : refused);
    });
    EXPECT_LE(m.log->pending_bytes(), log_pending_bytes_max + 2 * event_row_bytes_max);
  }
  m.loop.run_until([&] { return stored + refused == calls; });
  EXPECT_GE(stored * payload.size(), log_pending_bytes_max);
  EXPECT_GT(refused, 0u);
  EXPECT_EQ(m.log->received().base(m.own(Stream::blob)), stored);
  EXPECT_EQ(m.log->pending_bytes(), 0u);
}

// What is appended while the disk is busy becomes one chunk, not one each.
TEST(Log, GathersWhatWaitsIntoOneCommit) {
  LogMachine m;
  int done = 0;
  for (int i = 0; i < 1000; ++i) {
    m.log->append(Stream::alarm, std::vector{event("d1", "x")},
                  [&](const Result<Log::Appended>& a) { done += a.ok() ? 1 : 0; });
  }
  m.loop.run_until([&] { return done == 1000; });
  EXPECT_EQ(m.chunks(m.own(Stream::alarm)).size(), 1u);
}

TEST(Log, CutsChunksAtTheirLimits) {
  LogMachine m;
  std::vector<Event> many(3 * chunk_events_max + 5, event("d1", "x"));
  ASSERT_TRUE(m.append(Stream::telemetry, many).ok());
  const std::string payload(100 << 10, 'y');
  std::vector<Event> large(30, event("d2", payload));
  ASSERT_TRUE(m.append(Stream::blob, large).ok());
  std::uint64_t next = 1;
  for (const auto& chunk : m.chunks(m.own(Stream::telemetry))) {
    EXPECT_EQ(chunk.header.first, next);
    EXPECT_LE(chunk.header.count(), chunk_events_max);
    next = chunk.header.last + 1;
  }
  EXPECT_EQ(next, many.size() + 1);
  for (const auto& chunk : m.chunks(m.own(Stream::blob))) EXPECT_LE(chunk.header.rows_bytes, chunk_rows_bytes_max);
  EXPECT_EQ(m.payloads(m.own(Stream::blob)).size(), 30u);
  EXPECT_EQ(m.verify().faults, std::vector<std::string>{});
}

TEST(Log, CompletesInOrderPerStreamAndKeepsMetaWithTheEvents) {
  LogMachine m;
  std::vector<std::uint64_t> seqs;
  std::size_t calls = 0;
  for (int i = 0; i < 300; ++i) {
    // Large and small ones: through a worker and in line.
    std::vector<Event> events(i % 10 == 0 ? 500 : 1, event("d", "some payload that is longer than a word"));
    m.log->append(Stream::telemetry, events, {{"x/at", std::to_string(i)}}, [&](const Result<Log::Appended>& a) {
      seqs.push_back(a->first.seq);
      ++calls;
    });
    if (i % 20 == 0) m.loop.run_turn();
  }
  m.loop.run_until([&] { return calls == 300; });
  EXPECT_TRUE(std::is_sorted(seqs.begin(), seqs.end()));
  m.reopen();
  EXPECT_EQ(*m.log->get_meta("x/at"), "299");
  EXPECT_EQ(m.log->get_meta("x/none").error().code, Code::not_found);
}

TEST(Log, TellsSubscribersOfWhatBecameDurable) {
  LogMachine m;
  std::vector<Log::Range> heard;
  auto id = m.log->subscribe(1 << static_cast<int>(Stream::alarm), [&](const Log::Range& range) {
    EXPECT_TRUE(m.log->received().contains(range.of, range.first, range.last));
    heard.push_back(range);
  });
  m.append_each(Stream::telemetry, 2);
  m.append_each(Stream::alarm, 3);
  m.settle();
  m.log->unsubscribe(id);
  m.append_each(Stream::alarm, 1);
  m.settle();
  ASSERT_FALSE(heard.empty());
  EXPECT_EQ(heard.front().first, 1u);
  EXPECT_EQ(heard.back().last, 3u);
  for (const auto& range : heard) EXPECT_EQ(range.of, m.own(Stream::alarm));
}

TEST(Log, ReadsFromInsideAChunkAndStopsAtItsBound) {
  LogMachine m;
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(m.append(Stream::telemetry, std::vector<Event>(10, event("d", "payload"))).ok());
  auto chunks = m.log->read(m.own(Stream::telemetry), 35, 1);
  ASSERT_TRUE(chunks.ok());
  ASSERT_EQ(chunks->size(), 1u);
  EXPECT_EQ(chunks->front().header.first, 31u);
  EXPECT_EQ(m.chunks(m.own(Stream::telemetry), 101).size(), 0u);
  EXPECT_EQ(m.chunks({{test::node(9), 1, 1}, Stream::telemetry}).size(), 0u);
}

TEST(Log, FindsChunksBySubjectPrefix) {
  LogMachine m;
  ASSERT_TRUE(m.append(Stream::telemetry, {event("ship/engine", "a")}).ok());
  ASSERT_TRUE(m.append(Stream::telemetry, {event("ship/engine/oil", "b")}).ok());
  ASSERT_TRUE(m.append(Stream::telemetry, {event("ship/mast", "c")}).ok());
  std::vector<std::string> names;
  for (std::size_t i = 0; i <= index_subjects_per_chunk_max; ++i) names.push_back("buoy/" + std::to_string(i));
  std::vector<Event> crowd;
  for (const auto& name : names) crowd.push_back(event(name, "d"));
  ASSERT_TRUE(m.append(Stream::telemetry, crowd).ok());
  auto found = [&](std::string_view prefix) {
    std::vector<std::uint64_t> firsts;
    EXPECT_TRUE(
        m.log->find(prefix, [&](const Log::StoredChunk& chunk) { return firsts.push_back(chunk.header.first), true; })
            .ok());
    return firsts;
  };
  // The chunk of many subjects is not named by subject: every query has to look into it.
  EXPECT_EQ(found("ship/engine"), (std::vector<std::uint64_t>{4, 2, 1}));
  EXPECT_EQ(found("ship/mast"), (std::vector<std::uint64_t>{4, 3}));
  EXPECT_EQ(found("plane"), (std::vector<std::uint64_t>{4}));
  EXPECT_EQ(found(""), (std::vector<std::uint64_t>{4, 3, 2, 1}));

  // The same from the store alone, in the order of the log.
  std::vector<std::uint64_t> firsts;
  const auto look = [&](std::string_view bytes) { return firsts.push_back(read_chunk_header(bytes)->first), true; };
  ASSERT_TRUE(find_chunks(*m.store, "ship/engine", look).ok());
  EXPECT_EQ(firsts, (std::vector<std::uint64_t>{1, 2, 4}));
}

TEST(Log, StampsRiseWhateverTheWallClockDoes) {
  LogMachine m;
  m.append_each(Stream::telemetry, 3);
  HybridTime last = m.chunks(m.own(Stream::telemetry)).back().header.time_max;
  m.loop.wall_ms -= 86'400'000;
  m.reopen();
  m.append_each(Stream::telemetry, 1);
  EXPECT_GT(m.chunks(m.own(Stream::telemetry)).back().header.time_min, last);
}

TEST(Log, SaysWhichFolderIsHeldAndHowToMendIt) {
  LogMachine m;
  auto second = open_rocks_store(m.loop, {.directory = m.directory(), .anchor = m.anchor(), .on_fatal = {}});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::conflict);
  EXPECT_NE(second.error().detail.find(m.directory().string()), std::string::npos);
  auto absent = open_rocks_store(m.loop, {.directory = "/proc/landfall", .anchor = m.anchor(), .on_fatal = {}});
  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.error().code, Code::disk);
  EXPECT_NE(absent.error().detail.find("/proc/landfall"), std::string::npos);
}

TEST(Log, CanBeReadAndVerifiedWhileItIsOpen) {
  LogMachine m;
  m.append_each(Stream::telemetry, 20);
  auto reader =
      open_rocks_store(m.loop, {.directory = m.directory(), .anchor = m.anchor(), .read_only = true, .on_fatal = {}});
  ASSERT_TRUE(reader.ok());
  auto report = verify_log(**reader, {});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->faults, std::vector<std::string>{});
  EXPECT_EQ(report->events_by_stream[m.own(Stream::telemetry)], 20u);
}

}  // namespace
}  // namespace landfall
