// Properties of the comparison of states: replicas that received the same and hold the same are compared and found equal;
// one flipped bit is found in one session, named in the audit of both ends, and blamed on no other; it costs next to
// nothing.
#include <gtest/gtest.h>

#include "schemas/op.h"
#include "schemas/sync_messages.h"
#include "tests/cloudsync/joined.h"
#include "tests/sim/world.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

void change(Log& log, Stream stream, const std::string& object, const std::string& path, const std::string& value) {
  std::vector<Op> ops{{path, value, {}}};
  const auto payload = encode_ops(ops, {log.run(), stream});
  Event event;
  event.kind = Kind::change;
  event.subject = object;
  event.payload = *payload;
  log.append(stream, {&event, 1}, [](const Result<Log::Appended>&) {});
}

std::vector<std::string> audits(const Log& log, const RunId& run) {
  std::vector<std::string> found;
  const auto chunks = log.read({run, Stream::control}, 1, 64 << 20);
  for (const auto& chunk : *chunks) {
    const auto decoded = decode_chunk(chunk.bytes);
    RowReader reader(decoded->rows);
    for (std::uint64_t i = 0; i < chunk.header.count(); ++i) {
      const auto event = decode_row(reader.next());
      if (event->kind == Kind::audit && event->payload.starts_with(R"({"audit":"divergence")"))
        found.emplace_back(event->payload);
    }
  }
  return found;
}

void write_all_around(sim::World& world) {
  for (auto& node : world.nodes()) {
    for (int i = 0; i < 5; ++i) {
      for (const Stream stream : {Stream::desired, Stream::document})
        change(*node->log, stream, "twin/pump-" + std::to_string(i), "/p/" + node->self.name, "\"bar\"");
    }
  }
}

TEST(Divergence, EqualReplicasAreComparedAndNothingIsSaid) {
  sim::World world(1, {.edges = 2});
  write_all_around(world);
  world.run_for(10min);
  write_all_around(world);
  world.run_for(10min);
  ASSERT_TRUE(world.in_sync());
  for (auto& node : world.nodes()) {
    for (const auto& peer : node->replicator->peers()) {
      EXPECT_GE(peer.compared, 4u) << node->self.name;
      EXPECT_EQ(peer.divergences, 0u);
      EXPECT_EQ(peer.diverged, 0);
    }
    EXPECT_TRUE(audits(*node->log, node->log->run()).empty());
  }
}

// Scenario 25 of the design, without the repair.
TEST(Divergence, OneFlippedBitIsFoundInOneSessionAndAudited) {
  sim::World world(2, {.edges = 2});
  write_all_around(world);
  world.run_for(10min);
  sim::World::Node& edge = world.edge(0);
  world.crash(edge, 1h);
  std::string* value = nullptr;
  for (auto& [key, row] : edge.disk.image().tables[static_cast<std::size_t>(Table::state)]) {
    if (key[0] == static_cast<char>(Stream::document)) value = &row;
  }
  ASSERT_TRUE(value);
  value->back() ^= 0x10;
  world.start(edge);
  world.run_for(5min);
  const auto seen_aboard = edge.replicator->peers().front();
  EXPECT_EQ(seen_aboard.sessions, 1u);
  EXPECT_EQ(seen_aboard.diverged, 1 << static_cast<int>(Stream::document));
  EXPECT_GE(seen_aboard.divergences, 1u);
  for (const auto& seen_ashore : world.hub().replicator->peers()) {
    const bool bad = seen_ashore.peer.node == edge.self.node;
    EXPECT_EQ(seen_ashore.diverged, bad ? seen_aboard.diverged : 0) << seen_ashore.peer.name;
  }
  const auto aboard = audits(*edge.log, edge.log->run());
  const auto ashore = audits(*world.hub().log, world.hub().log->run());
  ASSERT_EQ(aboard.size(), 1u);
  ASSERT_EQ(ashore.size(), 1u);
  const std::string digests[] = {to_hex(*edge.log->state_digest(Stream::document)),
                                 to_hex(*world.hub().log->state_digest(Stream::document))};
  EXPECT_EQ(aboard[0], R"({"audit":"divergence","peer":")" + to_string(world.hub().self.node) +
                           R"(","stream":"document","ours":")" + digests[0] + R"(","theirs":")" + digests[1] + "\"}");
  EXPECT_EQ(ashore[0], R"({"audit":"divergence","peer":")" + to_string(edge.self.node) +
                           R"(","stream":"document","ours":")" + digests[1] + R"(","theirs":")" + digests[0] + "\"}");
  // The audit reaches the hub, and the next session has nothing new to say.
  world.medium().cut(edge.network, world.hub().network, 1s, false);
  world.run_for(20min);
  EXPECT_EQ(audits(*world.hub().log, edge.log->run()).size(), 1u);
  EXPECT_EQ(audits(*world.hub().log, world.hub().log->run()).size(), 1u);
}

TEST(Divergence, ConstantChangeIsComparedTwiceAMinuteAtMost) {
  Joined pair;
  std::uint64_t frames = 0, bytes = 0;
  pair.watch = [&](Side&, FrameView frame) {
    if (frame.type != FrameType::digest) return;
    ++frames;
    bytes += frame.body.size();
  };
  pair.open();
  for (int i = 0; i < 600; ++i) {
    change(*pair.edge.log, Stream::document, "doc/a", "/n", std::to_string(i));
    pair.run_for(1s);
  }
  EXPECT_GT(frames, 20u);
  EXPECT_LE(frames, 2 * 21u);
  EXPECT_LE(bytes, frames * 200);
  frames = 0;
  pair.run_for(24h);
  EXPECT_LE(frames, 2u) << "nothing changed";
}

TEST(Divergence, PeerThatDoesNotUnderstandGetsNoDigest) {
  Joined pair;
  pair.hub.options.digests = nullptr;
  pair.watch = [&](Side&, FrameView frame) { EXPECT_NE(frame.type, FrameType::digest); };
  change(*pair.edge.log, Stream::document, "doc/a", "/n", "1");
  pair.open();
  pair.run_for(10min);
  EXPECT_TRUE(pair.in_sync());
}

TEST(Divergence, IsBelievedOnlyWhenSeenTwiceAlike) {
  Joined pair;
  change(*pair.hub.log, Stream::document, "doc/a", "/n", "1");
  pair.open();
  pair.run_for(1min);
  const auto ours = *pair.hub.options.digests(Stream::document);
  const auto told = [&](Digest context, Digest state) {
    return pair.hub.session
        ->on_frame({FrameType::digest, encode(Digests{{{Stream::document, context, state}}})}, pair.schedule.now())
        .compared;
  };
  Digest other = ours.state;
  other[0] ^= 1;
  Digest third = ours.state;
  third[0] ^= 2;
  EXPECT_TRUE(told(other, other).empty()) << "the contexts differ: nothing can be said";
  EXPECT_TRUE(told(ours.context, other).empty());
  EXPECT_TRUE(told(ours.context, third).empty());
  const auto twice = told(ours.context, third);
  ASSERT_EQ(twice.size(), 1u);
  EXPECT_FALSE(twice[0].equal());
  EXPECT_EQ(twice[0].theirs, third);
  const auto healed = told(ours.context, ours.state);
  ASSERT_EQ(healed.size(), 1u);
  EXPECT_TRUE(healed[0].equal());
  EXPECT_TRUE(told(ours.context, third).empty()) << "it begins anew";
}

}  // namespace
}  // namespace landfall
