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
  EXPECT_TRUE(m.log->received().folded(before[0].run));
  EXPECT_EQ(m.log->runs().size(), 5u);
  EXPECT_FALSE(m.log->degraded());
  EXPECT_EQ(m.verify().faults, std::vector<std::string>{});
}

}  // namespace
}  // namespace landfall
