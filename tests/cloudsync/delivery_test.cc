// Properties of delivery by any way and from anybody: the order, the number and the cut of what comes change nothing;
// what is corrupt leaves a gap that a link fills; and a hello that lies costs bounded memory and loses nothing.
#include <gtest/gtest.h>

#include <algorithm>

#include "eventlog/chain.h"
#include "schemas/op.h"
#include "schemas/sync_messages.h"
#include "tests/cloudsync/joined.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

// Writes that supersede each other, so that order could matter.
void write(Joined& pair, Side& side, int events) {
  static const std::string object = "doc/a";
  for (int i = 0; i < events; ++i) {
    const auto seen = side.log->state(Stream::document, object);
    std::vector<Op> ops;
    for (const char* path : {"/a", "/b"}) {
      Op op{path, std::to_string(i), {}};
      for (const Entry& entry : at(*seen, path)) op.supersedes.push_back(entry.dot);
      if (i % 11 == 5 && !op.supersedes.empty()) op.value.reset();
      ops.push_back(std::move(op));
      if (i % 7 == 3) break;
    }
    const auto payload = encode_ops(ops, {side.log->run(), Stream::document});
    Event event;
    event.kind = Kind::change;
    event.subject = object;
    event.payload = *payload;
    side.log->append(Stream::document, {&event, 1}, [](const Result<Log::Appended>&) {});
    pair.run_for(100ms);
  }
}

// All chunks of a stream, cut at random.
std::vector<std::string> pieces(sim::Rng& rng, const Side& from, Stream stream) {
  std::vector<std::string> cut;
  ChainHasher hasher;
  const auto chunks = from.log->read({from.log->run(), stream}, 1, 64 << 20);
  for (const auto& chunk : *chunks) {
    for (std::uint64_t first = chunk.header.first; first <= chunk.header.last;) {
      const std::uint64_t last = first + rng.below(chunk.header.last - first + 1);
      cut.push_back(*cut_chunk(chunk.bytes, first, last, hasher));
      first = last + 1;
    }
  }
  return cut;
}

TEST(Scenario14, BackwardsThriceAndCutAnywhereIsTheSameState) {
  Joined pair;
  write(pair, pair.hub, 60);
  pair.hub.append(Stream::document, 40, 10);  // one chunk of many
  pair.open();
  pair.run_for(5s);
  ASSERT_TRUE(pair.in_sync());
  const Digest in_order = *pair.edge.log->state_digest(Stream::document);
  ASSERT_NE(in_order, Digest{});
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    sim::Rng rng(seed);
    Joined other(seed);
    Side& receiver = other.edge;
    Session session(*receiver.log, pair.hub.self, receiver.options,
                    [&]() -> const ReceivedContext& { return receiver.log->received(); }, {});
    session.on_open(other.schedule.now(), {}, ClockClass::synced);
    const std::vector<std::string> once = pieces(rng, pair.hub, Stream::document);
    std::vector<std::string> frames;
    for (int i = 0; i < 3; ++i) frames.insert(frames.end(), once.rbegin(), once.rend());
    for (std::string& chunk : frames) {
      auto effects = session.on_frame({FrameType::chunk, chunk}, other.schedule.now());
      ASSERT_FALSE(effects.close) << effects.close->detail;
      for (auto& ingest : effects.ingest) {
        receiver.log->ingest(std::move(ingest.chunk), [&, range = ingest.range](const Status& status) {
          ASSERT_TRUE(status.ok()) << status.error().detail;
          session.on_ingested(range, status, other.schedule.now());
        });
      }
      if (rng.chance(0.3)) other.run_for(1s);
    }
    other.run_for(5s);
    EXPECT_EQ(*receiver.log->state_digest(Stream::document), in_order) << seed;
    EXPECT_EQ(receiver.log->pending_supersedes(), 0u);
    EXPECT_EQ(receiver.log->received().base({pair.hub.log->run(), Stream::document}), 100u);
    EXPECT_GT(session.totals().duplicates, once.size());
  }
}

TEST(Scenario20, WhatComesByThreeWaysAppliesOnceAndTheCorruptOneIsRefilled) {
  Joined pair;
  write(pair, pair.edge, 40);
  sim::Rng rng(1);
  std::vector<std::string> aboard = pieces(rng, pair.edge, Stream::document);
  ASSERT_GT(aboard.size(), 30u);
  pair.open();
  std::size_t corrupt = 0;
  for (std::size_t i = 0; i < aboard.size(); ++i) {
    pair.run_for(1ms);  // the session is at work
    std::string chunk = aboard[aboard.size() - 1 - i];
    if (i % 3 == 1) chunk[chunk.size() - 1 - rng.below(20)] ^= 0x20;  // a file with a bad sector
    pair.hub.log->ingest(chunk, [&](const Status& status) {
      if (status.ok()) return;
      EXPECT_TRUE(status.error().code == Code::corrupt || status.error().code == Code::conflict);
      ++corrupt;
    });
    if (i % 2 == 0)  // and by a second link
      pair.apply(pair.hub, pair.hub.session->on_frame({FrameType::chunk, aboard[i]}, pair.schedule.now()));
  }
  pair.run_for(10s);
  EXPECT_GT(corrupt, 0u);
  EXPECT_TRUE(pair.equal());
  EXPECT_TRUE(pair.in_sync());
  EXPECT_EQ(*pair.hub.log->state_digest(Stream::document), *pair.edge.log->state_digest(Stream::document));
  std::uint64_t events = 0;
  const auto ashore = pair.hub.log->read({pair.edge.log->run(), Stream::document}, 1, 64 << 20);
  for (const auto& chunk : *ashore) events += chunk.header.count();
  EXPECT_EQ(events, 40u);
}

TEST(Scenario24, HelloThatClaimsMoreThanThereIsLosesNothing) {
  Joined pair;
  pair.edge.append(Stream::telemetry, 50, 20);
  const RunStream of{pair.edge.log->run(), Stream::telemetry};
  ReceivedContext lie;
  ASSERT_TRUE(lie.add(of, 1, std::uint64_t{1} << 40).ok());
  for (std::uint32_t run = 100; run < 200; ++run)
    ASSERT_TRUE(lie.add({{pair.edge.self.node, run, run}, Stream::alarm}, 1, std::uint64_t{1} << 40).ok());
  Hello hello;
  hello.node = pair.hub.self.node;
  hello.run = pair.hub.log->run();
  hello.time = HybridTime{1};
  hello.wants = 0x7f;
  hello.credit_bytes = 1 << 20;
  hello.have = lie.encode();
  {
    Session session(*pair.edge.log, pair.hub.self, pair.edge.options,
                    [&]() -> const ReceivedContext& { return pair.edge.log->received(); }, {});
    session.on_open(pair.schedule.now(), HybridTime{1}, ClockClass::synced);
    std::size_t bytes = 0;
    for (const auto& [type, body] : {std::pair{FrameType::hello, encode(hello)},
                                     std::pair{FrameType::ack, encode(Ack{lie.encode(), 1 << 20, lie.encode()})}}) {
      const auto effects = session.on_frame({type, body}, pair.schedule.now());
      EXPECT_FALSE(effects.close) << effects.close->detail;
      for (const std::string& frame : effects.frames) bytes += frame.size();
    }
    EXPECT_LT(bytes, frame_before_hello_bytes_max);
  }
  EXPECT_EQ(pair.edge.log->received().max(of), 50u);
  pair.open();  // the true one
  pair.run_for(5s);
  EXPECT_TRUE(pair.equal());
  EXPECT_EQ(pair.hub.log->received().max(of), 50u);
}

TEST(Scenario24, HelloWithABrokenContextIsRefused) {
  ReceivedContext good;
  const RunId run{NodeId{}, 1, 1};
  for (std::uint64_t seq = 2; seq < 20000; seq += 3) ASSERT_TRUE(good.add({run, Stream::alarm}, seq, seq).ok());
  const std::string bytes = good.encode();
  sim::Rng rng(1);
  int refused = 0;
  for (int i = 0; i < 200; ++i) {
    Joined pair(static_cast<std::uint64_t>(i) + 1);
    Hello hello;
    hello.node = pair.edge.self.node;
    hello.run = pair.edge.log->run();
    hello.have = bytes;
    for (int flips = 0; flips < 4; ++flips) hello.have[rng.below(40)] = static_cast<char>(rng.next());
    Session session(*pair.hub.log, pair.edge.self, pair.hub.options,
                    [&]() -> const ReceivedContext& { return pair.hub.log->received(); }, {});
    session.on_open(pair.schedule.now(), HybridTime{1}, ClockClass::synced);
    const ReceivedContext before = pair.hub.log->received();
    const auto effects = session.on_frame({FrameType::hello, encode(hello)}, pair.schedule.now());
    if (!effects.close) continue;
    ++refused;
    EXPECT_TRUE(effects.close->code == Code::corrupt || effects.close->code == Code::out_of_range);
    EXPECT_EQ(pair.hub.log->received(), before);
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace landfall
