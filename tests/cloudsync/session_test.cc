// Properties: a session brings the other end what it lacks, whatever frame it is cut at; keeps to the credit; sends
// nothing again without need; ends with a typed error, and nothing applied, on any fault of the peer.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "schemas/chunk.h"
#include "schemas/sync_messages.h"
#include "tests/cloudsync/joined.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

void fill(Joined& pair) {
  for (int i = 0; i < 5; ++i) {
    pair.edge.append(Stream::telemetry, 20, 100);
    pair.edge.append(Stream::document, 3, 50);
    pair.edge.append(Stream::alarm, 1, 30);
    pair.hub.append(Stream::desired, 2, 40);
  }
}

TEST(Session, BringsBothEndsWhatTheyLack) {
  Joined pair;
  fill(pair);
  pair.hub.append(Stream::telemetry, 10, 40);  // the edge does not subscribe
  pair.open();
  pair.run_for(5s);
  EXPECT_TRUE(pair.in_sync());
  EXPECT_TRUE(pair.equal());
  const auto& aboard = pair.edge.log->received();
  const RunId ashore = pair.hub.log->run();
  EXPECT_EQ(aboard.max({ashore, Stream::desired}), 10u);
  EXPECT_EQ(aboard.max({ashore, Stream::telemetry}), 0u);
  EXPECT_EQ(pair.edge.session->peer_committed().max({pair.edge.log->run(), Stream::telemetry}), 100u);
  EXPECT_EQ(pair.edge.session->totals().resent, 0u);
  EXPECT_EQ(pair.hub.session->totals().duplicates, 0u);
}

TEST(Session, SendsNewEventsAsTheyBecomeDurable) {
  Joined pair;
  pair.open();
  pair.run_for(1s);
  pair.edge.append(Stream::alarm, 1, 30);
  pair.run_for(100ms);
  EXPECT_TRUE(pair.equal());
}

TEST(Session, ResumesAfterACutAtAnyFrame) {
  std::uint64_t cuts = 0;
  for (std::uint64_t at = 0;; ++at) {
    SCOPED_TRACE("cut before frame " + std::to_string(at));
    Joined pair;
    fill(pair);
    pair.cut_at = at;
    pair.open();
    pair.run_for(5s);
    if (pair.edge.session) {  // there were not as many frames
      EXPECT_TRUE(pair.equal());
      break;
    }
    ++cuts;
    pair.cut_at.reset();
    pair.open();
    pair.run_for(5s);
    ASSERT_TRUE(pair.equal());
    ASSERT_TRUE(pair.in_sync());
    // Only the optimistic push may bring what is there already.
    ASSERT_LE(pair.hub.session->totals().chunk_bytes_received, 60u << 10);
  }
  EXPECT_GT(cuts, 20u);
}

TEST(Session, SecondSessionSendsOnlyWhatIsMissing) {
  Joined pair;
  fill(pair);
  pair.open();
  pair.run_for(5s);
  pair.close();
  pair.edge.append(Stream::telemetry, 7, 10);
  pair.open();
  pair.run_for(5s);
  EXPECT_TRUE(pair.equal());
  EXPECT_EQ(pair.edge.session->totals().events_sent, 7u);
}

TEST(Session, PushesAlarmsWithTheFirstFlight) {
  Joined pair;
  pair.latency = 300ms;
  pair.edge.append(Stream::telemetry, 200, 100);
  pair.edge.append(Stream::alarm, 1, 30);
  std::vector<Stream> order;
  pair.watch = [&](Side& from, FrameView frame) {
    if (&from == &pair.edge && frame.type == FrameType::chunk)
      order.push_back(read_chunk_header(frame.body)->of.stream);
  };
  const Instant opened = pair.schedule.now();
  pair.open();
  while (order.size() < 2) pair.run_for(1ms);
  EXPECT_EQ(order[0], Stream::control);
  EXPECT_EQ(order[1], Stream::alarm);
  EXPECT_LE(pair.schedule.now() - opened, 310ms) << "one way, not a round trip";
}

TEST(Session, KeepsWithinThePeersCredit) {
  Joined pair;
  pair.hub.options.credit_bytes = 8 << 10;
  for (int i = 0; i < 30; ++i) pair.edge.append(Stream::telemetry, 10, 100);
  std::map<std::uint64_t, std::size_t> unacknowledged;  // by last seq
  std::size_t most = 0;
  pair.watch = [&](Side& from, FrameView frame) {
    if (&from == &pair.edge && frame.type == FrameType::chunk) {
      const auto header = read_chunk_header(frame.body);
      if (header->of.stream == Stream::telemetry) unacknowledged[header->last] = frame.body.size();
    } else if (frame.type == FrameType::ack && &from == &pair.hub) {
      const auto acked = ReceivedContext::decode(decode_ack(frame.body)->committed);
      const auto base = acked->base({pair.edge.log->run(), Stream::telemetry});
      std::erase_if(unacknowledged, [&](const auto& entry) { return entry.first <= base; });
    }
    std::size_t sum = 0;
    for (const auto& [last, bytes] : unacknowledged) sum += bytes;
    most = std::max(most, sum);
  };
  pair.open();
  pair.run_for(60s);
  EXPECT_TRUE(pair.equal());
  EXPECT_GT(most, 4u << 10);
  EXPECT_LE(most, 8u << 10);
}

TEST(Session, AcknowledgesOnlyWhatIsCommittedElsewhere) {
  Joined pair;
  pair.hub.committed.emplace();  // a broker that is away
  fill(pair);
  pair.open();
  pair.run_for(600s);
  EXPECT_TRUE(pair.equal()) << "received, durable at the hub, and not yet A2";
  EXPECT_TRUE(pair.edge.session->peer_committed().empty());
  ASSERT_FALSE(pair.edge.closed);
  ASSERT_FALSE(pair.hub.closed);
  const auto resent = pair.edge.session->totals().resent;
  EXPECT_LE(resent, 60u) << "it asks now and then, no more";
  pair.hub.committed = pair.hub.log->received().of_node(pair.edge.self.node);
  for (const RunStream& of : pair.hub.committed->streams())
    pair.apply(pair.hub, pair.hub.session->on_committed(of, pair.schedule.now()));
  pair.run_for(1s);
  EXPECT_EQ(pair.edge.session->peer_committed(), *pair.hub.committed);
  EXPECT_TRUE(pair.edge.session->in_sync());
}

TEST(Session, HelloThatCannotNameAllRunsNamesThoseWithMostEvents) {
  Joined pair;
  const NodeId edge = pair.edge.self.node;
  const RunStream longest{{edge, 9000, 1}, Stream::telemetry};
  pair.hub.committed.emplace();
  for (std::uint32_t run = 1000; run < 5000; ++run) {
    ASSERT_TRUE(pair.hub.committed->add({{edge, run, run}, Stream::control}, 1, 2).ok());
    ASSERT_TRUE(pair.hub.committed->add({{edge, run, run}, Stream::telemetry}, 1, 300).ok());
  }
  ASSERT_TRUE(pair.hub.committed->add(longest, 1, 1'000'000).ok());
  ASSERT_GT(pair.hub.committed->encode().size(), hello_context_bytes_max);
  fill(pair);
  pair.open();
  pair.run_for(5s);
  EXPECT_TRUE(pair.equal());
  const ReceivedContext& told = pair.edge.session->peer_committed();
  EXPECT_EQ(told.base(longest), 1'000'000u);
  EXPECT_LE(told.encode().size(), hello_context_bytes_max);
  EXPECT_GT(told.encode().size(), hello_context_bytes_max / 2);
}

TEST(Session, OffersAgainWhatARestoredHubForgot) {
  Joined pair;
  fill(pair);
  pair.open();
  pair.run_for(5s);
  pair.close();
  pair.hub.log.reset();
  pair.hub.disk.image() = {};
  pair.hub.disk.boot(pair.hub.loop);
  auto empty =
      Log::open(pair.hub.loop, pair.hub.disk, {.node = pair.hub.self.node, .boot_id = "test", .software = "test"});
  ASSERT_TRUE(empty.ok());
  pair.hub.log = std::move(*empty);
  pair.run_for(1s);
  pair.open();
  pair.run_for(5s);
  EXPECT_TRUE(pair.equal());
}

TEST(Session, SaysByeWhenStopped) {
  Joined pair;
  pair.open();
  pair.run_for(1s);
  pair.apply(pair.edge, pair.edge.session->on_stop({Code::unavailable, "node stops"}));
  pair.run_for(1s);
  ASSERT_TRUE(pair.hub.closed);
  EXPECT_EQ(pair.hub.closed->detail, "peer said: node stops");
}

TEST(Session, EndsWhenNothingIsHeardWhileSomethingIsDue) {
  Joined pair;
  pair.open();
  pair.run_for(1s);
  pair.latency = 1000h;
  pair.edge.append(Stream::telemetry, 1, 10);
  pair.run_for(90s);
  EXPECT_FALSE(pair.edge.closed);
  pair.run_for(60s);
  ASSERT_TRUE(pair.edge.closed);
  EXPECT_EQ(pair.edge.closed->code, Code::unavailable);
}

// What a peer can do wrong, and the code it must be told.
struct Hostile {
  std::string name;
  FrameType type;
  std::function<std::string(Joined&)> body;
  std::vector<Code> codes;
};

class HostileFrame : public testing::TestWithParam<Hostile> {};

TEST_P(HostileFrame, EndsTheSessionAndAppliesNothing) {
  Joined pair;
  fill(pair);
  pair.open();
  pair.run_for(5s);
  const ReceivedContext before = pair.hub.log->received(), acked = pair.hub.session->peer_committed();
  const std::string body = GetParam().body(pair);
  const auto effects = pair.hub.session->on_frame({GetParam().type, body}, pair.schedule.now());
  ASSERT_TRUE(effects.close);
  EXPECT_TRUE(std::ranges::count(GetParam().codes, effects.close->code)) << effects.close->detail;
  EXPECT_TRUE(effects.ingest.empty());
  ASSERT_FALSE(effects.frames.empty());
  FrameReader reader(frame_bytes_max);
  std::string_view input = effects.frames.back();
  const auto bye = reader.next(input);
  ASSERT_TRUE(bye.ok());
  EXPECT_EQ(bye->type, FrameType::bye);
  EXPECT_EQ(decode_bye(bye->body)->code, effects.close->code);
  const auto after = pair.hub.session->on_frame({GetParam().type, body}, pair.schedule.now());
  EXPECT_TRUE(after.frames.empty() && after.ingest.empty() && !after.close);
  EXPECT_EQ(pair.hub.log->received(), before);
  EXPECT_EQ(pair.hub.session->peer_committed(), acked);
}

std::string stored_chunk(Side& side, Stream stream) {
  return side.log->read({side.log->run(), stream}, 1, 1)->front().bytes;
}
std::string hello_of(Joined& pair, std::function<void(Hello&)> change) {
  Hello hello;
  hello.node = pair.edge.self.node;
  hello.run = pair.edge.log->run();
  hello.time = HybridTime{~0ull};
  change(hello);
  return encode(hello);
}

INSTANTIATE_TEST_SUITE_P(
    Session, HostileFrame,
    testing::Values(Hostile{"HelloOfBytes",
                            FrameType::hello,
                            [](Joined&) { return std::string(40, 'x'); },
                            {Code::corrupt, Code::out_of_range}},
                    Hostile{"HelloOfAnotherNode",
                            FrameType::hello,
                            [](Joined& p) { return hello_of(p, [&](Hello& h) { h.node = p.hub.self.node; }); },
                            {Code::denied}},
                    Hostile{"HelloOfAnotherProtocol",
                            FrameType::hello,
                            [](Joined& p) { return hello_of(p, [](Hello& h) { h.protocol = 9; }); },
                            {Code::out_of_range}},
                    Hostile{"ChunkOfBytes",
                            FrameType::chunk,
                            [](Joined&) { return std::string(400, '\xff'); },
                            {Code::corrupt, Code::out_of_range}},
                    Hostile{"ChunkOfOurOwn",
                            FrameType::chunk,
                            [](Joined& p) { return stored_chunk(p.hub, Stream::desired); },
                            {Code::denied}},
                    Hostile{"ChunkOfAThirdNode",
                            FrameType::chunk,
                            [](Joined& p) {
                              Side third(p.schedule, 3, Peer::Role::node);
                              third.append(Stream::document, 2, 20);
                              return stored_chunk(third, Stream::document);
                            },
                            {Code::denied}},
                    Hostile{"AckOfBytes",
                            FrameType::ack,
                            [](Joined&) { return std::string(33, '\1'); },
                            {Code::corrupt, Code::out_of_range}},
                    Hostile{"AckWithBadContext",
                            FrameType::ack,
                            [](Joined&) {
                              return encode(Ack{std::string(100, '\xee'), 1000, {}});
                            },
                            {Code::corrupt, Code::out_of_range}},
                    Hostile{"AckWithBadLosses",
                            FrameType::ack,
                            [](Joined&) {
                              return encode(Ack{{}, 1000, std::string(100, '\xee')});
                            },
                            {Code::corrupt, Code::out_of_range}},
                    Hostile{"DigestOfBytes",
                            FrameType::digest,
                            [](Joined&) { return std::string(40, '\x7f'); },
                            {Code::corrupt, Code::out_of_range}},
                    Hostile{"EnrolInASession",
                            FrameType::enrol,
                            [](Joined&) {
                              return encode(Enrol{"csr", "name"});
                            },
                            {Code::out_of_range}}),
    [](const auto& param) { return param.param.name; });

TEST(Session, ClosesOnAChunkWhoseChainIsForged) {
  Joined pair;
  pair.edge.append(Stream::telemetry, 20, 100);
  pair.open();
  pair.run_for(5s);
  Joined other(2);  // the same node, another history
  other.edge.append(Stream::telemetry, 40, 100);
  std::string forged = stored_chunk(other.edge, Stream::telemetry);
  const ReceivedContext before = pair.hub.log->received();
  auto decoded = decode_chunk(forged);
  ASSERT_TRUE(decoded.ok());
  decoded->header.of.run = pair.edge.log->run();
  forged = encode_chunk(decoded->header, decoded->rows);
  pair.apply(pair.hub, pair.hub.session->on_frame({FrameType::chunk, forged}, pair.schedule.now()));
  pair.run_for(1s);
  ASSERT_TRUE(pair.hub.closed);
  EXPECT_TRUE(pair.hub.closed->code == Code::corrupt || pair.hub.closed->code == Code::conflict)
      << pair.hub.closed->detail;
  EXPECT_EQ(pair.hub.log->received(), before);
}

TEST(Session, SurvivesAnyBytesInAnyFrame) {
  sim::Rng rng(1);
  for (int i = 0; i < 300; ++i) {
    Joined pair(static_cast<std::uint64_t>(i) + 1);
    pair.edge.append(Stream::telemetry, 3, 10);
    pair.open();
    pair.watch = [&](Side&, FrameView frame) {
      // One bit of a true body, as a peer with a bug would send it.
      std::string body(frame.body);
      if (body.empty()) return;
      body[rng.below(body.size())] ^= static_cast<char>(1 << rng.below(8));
      Side& victim = rng.chance(0.5) ? pair.edge : pair.hub;
      const auto effects = victim.session->on_frame({frame.type, body}, pair.schedule.now());
      if (effects.close) pair.watch = nullptr;
    };
    pair.run_for(1s);
  }
}

}  // namespace
}  // namespace landfall
