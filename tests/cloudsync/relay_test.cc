// Properties of runs that travel past their own node: a hub relays what several nodes write, to those who subscribed, and
// gives a node back what that lost of its own; nobody else may, and no ack mark moves by it.
#include <gtest/gtest.h>

#include "tests/cloudsync/joined.h"
#include "tests/sim/world.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

void append(sim::World& world, sim::World::Node& node, Stream stream, std::size_t events) {
  Event event;
  event.subject = "object";
  const std::string payload = node.self.name + std::to_string(world.rng().next());
  event.payload = payload;
  node.log->append(stream, std::vector<Event>(events, event), [](const Result<Log::Appended>&) {});
  world.run_for(1s);
}

// Replaces the edge's disk, as it dies, by `image`.
void restore(sim::World& world, sim::World::Node& node, sim::Disk::Image image) {
  world.crash(node, 1h);
  node.disk.image() = std::move(image);
  world.start(node);
  world.run_for(60s);
}

std::vector<std::string> stored(const Log& log, const RunStream& of) {
  std::vector<std::string> rows;
  const auto chunks = log.read(of, 1, 64 << 20);
  for (const auto& chunk : *chunks) {
    const auto decoded = decode_chunk(chunk.bytes);
    RowReader reader(decoded->rows);
    for (std::uint64_t i = 0; i < chunk.header.count(); ++i) rows.emplace_back(reader.next());
  }
  return rows;
}

TEST(Relay, EdgesGetEachOthersDesiredAndDocumentsThroughTheHub) {
  sim::World world(1, {.edges = 2});
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t s = 0; s < stream_count; ++s) append(world, world.edge(i), static_cast<Stream>(s), 5 + s);
  }
  world.run_for(60s);
  append(world, world.edge(0), Stream::document, 1);  // in a running session as well
  world.run_for(10s);
  ASSERT_TRUE(world.in_sync());
  for (std::size_t i = 0; i < 2; ++i) {
    const RunId other = world.edge(1 - i).log->run();
    for (std::size_t s = 0; s < stream_count; ++s) {
      const RunStream of{other, static_cast<Stream>(s)};
      const bool relayed = of.stream == Stream::desired || of.stream == Stream::document;
      EXPECT_EQ(world.edge(i).log->received().max(of), relayed ? world.hub().log->received().max(of) : 0) << s;
      if (relayed) {
        EXPECT_EQ(stored(*world.edge(i).log, of), stored(*world.edge(1 - i).log, of));
      }
    }
    // Each once, and none back to whose they are.
    const auto totals = world.edge(i).replicator->peers().front().totals;
    EXPECT_EQ(totals.duplicates, 0u);
    EXPECT_EQ(totals.events_received, world.hub().log->received().max({world.hub().log->run(), Stream::control}) +
                                          world.edge(i).log->received().max({other, Stream::desired}) +
                                          world.edge(i).log->received().max({other, Stream::document}));
  }
}

TEST(Relay, RelayedEventsMoveNoAckMarkAndNoBacklog) {
  sim::World world(2, {.edges = 2});
  append(world, world.edge(0), Stream::document, 9);
  world.run_for(60s);
  ASSERT_EQ(world.edge(1).log->received().max({world.edge(0).log->run(), Stream::document}), 9u);
  EXPECT_EQ(world.hub().replicator->committed_by_peers().of_node(world.edge(0).self.node), ReceivedContext{});
  EXPECT_EQ(world.edge(1).replicator->committed_by_peers().of_node(world.edge(0).self.node), ReceivedContext{});
  for (auto& node : world.nodes())
    EXPECT_EQ(node->replicator->backlog(), (std::array<std::uint64_t, stream_count>{})) << node->self.name;
  // Nor is it sent again to who said that he has it.
  world.medium().cut(world.edge(1).network, world.hub().network, 1s, false);
  world.run_for(10min);
  ASSERT_TRUE(world.in_sync());
  EXPECT_GT(world.edge(1).replicator->peers().front().sessions, 1u);
  EXPECT_EQ(world.edge(1).replicator->peers().front().totals.chunks_received, 0u);
}

TEST(Relay, PeerThatDoesNotAskGetsTheHubsOwnRunsOnly) {
  Joined pair;
  Side third(pair.schedule, 3, Peer::Role::node);
  third.append(Stream::document, 4, 20);
  const auto chunks = third.log->read({third.log->run(), Stream::document}, 1, 1 << 20);
  for (const auto& chunk : *chunks)
    pair.hub.log->ingest(chunk.bytes, [](const Status& status) { EXPECT_TRUE(status.ok()); });
  pair.hub.append(Stream::document, 3, 20);
  pair.edge.options.relays = 0;  // what a hello without the field reads as
  pair.open();
  pair.run_for(5s);
  EXPECT_TRUE(pair.in_sync());
  EXPECT_EQ(pair.edge.log->received().max({pair.hub.log->run(), Stream::document}), 3u);
  EXPECT_TRUE(pair.edge.log->received().of_node(third.self.node).empty());
  pair.close();
  pair.edge.options.relays = 0b0010100;
  pair.open();
  pair.run_for(5s);
  EXPECT_TRUE(pair.in_sync());
  EXPECT_EQ(pair.edge.log->received().max({third.log->run(), Stream::document}), 4u);
}

TEST(Relay, GapOfAnotherNodesRunIsPassedOnWhenItCloses) {
  Joined pair;
  Side third(pair.schedule, 3, Peer::Role::node);
  for (int i = 0; i < 5; ++i) third.append(Stream::document, 2, 20);
  const RunStream of{third.log->run(), Stream::document};
  const auto chunks = third.log->read(of, 1, 1 << 20);
  ASSERT_EQ(chunks->size(), 5u);
  pair.open();
  pair.run_for(1s);
  for (const std::size_t next : {4, 0, 2, 3, 1}) {
    pair.hub.log->ingest((*chunks)[next].bytes, [](const Status& status) { EXPECT_TRUE(status.ok()); });
    pair.run_for(1s);
    EXPECT_EQ(pair.edge.log->received().of_stream(of), pair.hub.log->received().of_stream(of)) << next;
    EXPECT_TRUE(pair.in_sync());
  }
  EXPECT_EQ(pair.edge.log->received().base(of), 10u);
  EXPECT_EQ(pair.edge.session->totals().duplicates, 0u);
}

// What even a hub may not send.
TEST(Relay, HubIsRefusedRunsThatAreNotItsToSend) {
  for (const bool own : {true, false}) {
    Joined pair;
    Side third(pair.schedule, 3, Peer::Role::node);
    third.append(Stream::alarm, 2, 20);
    pair.edge.append(Stream::alarm, 2, 20);
    pair.open();
    pair.run_for(1s);
    const ReceivedContext before = pair.edge.log->received();
    Side& from = own ? pair.edge : third;
    const std::string chunk = from.log->read({from.log->run(), Stream::alarm}, 1, 1)->front().bytes;
    const auto effects = pair.edge.session->on_frame({FrameType::chunk, chunk}, pair.schedule.now());
    ASSERT_TRUE(effects.close) << (own ? "our open run" : "a stream that is not relayed to us");
    EXPECT_EQ(effects.close->code, Code::denied);
    EXPECT_TRUE(effects.ingest.empty());
    EXPECT_EQ(pair.edge.log->received(), before);
  }
}

// Scenario 6 of the design: the database comes from an old backup, 100 events are written, then the link comes.
TEST(Refill, RestoredBackupGetsItsOldRunBackAndLosesNothingNew) {
  for (const double loss : {0.0, 0.3}) {
    sim::World world(3, {.edges = 2});
    sim::World::Node& edge = world.edge(0);
    for (std::size_t s = 0; s < stream_count; ++s) append(world, edge, static_cast<Stream>(s), 20);
    const sim::Disk::Image backup = edge.disk.image();
    world.run_for(20 * 24h);
    for (std::size_t s = 0; s < stream_count; ++s) append(world, edge, static_cast<Stream>(s), 30);
    world.run_for(60s);
    const RunId old = edge.log->run();
    const ReceivedContext had = edge.log->received();
    std::map<RunStream, std::vector<std::string>> rows;
    for (const RunStream& of : had.streams()) rows[of] = stored(*edge.log, of);

    world.medium().cut(edge.network, world.hub().network, 1h, false);
    restore(world, edge, backup);
    ASSERT_NE(edge.log->run(), old);
    EXPECT_LT(edge.log->received().max({old, Stream::telemetry}), had.max({old, Stream::telemetry}));
    append(world, edge, Stream::telemetry, 100);
    world.medium().faults.loss = loss;
    world.run_for(3h);

    EXPECT_EQ(world.hub().log->received().max({edge.log->run(), Stream::telemetry}), 100u);
    for (const RunStream& of : had.of_node(edge.self.node).streams())
      EXPECT_EQ(stored(*edge.log, of), rows[of]) << to_string(of.run);
    EXPECT_EQ(edge.replicator->backlog(), (std::array<std::uint64_t, stream_count>{}));
    EXPECT_TRUE(world.edge(1).log->received().of_node(edge.self.node).max({old, Stream::telemetry}) == 0);
    if (loss > 0) continue;
    const auto totals = edge.replicator->peers().front().totals;
    EXPECT_EQ(totals.duplicates, 0u);
    EXPECT_EQ(edge.replicator->peers().front().refused, 0u);
  }
}

TEST(Refill, NewDiskOfAKnownNodeGetsEveryStreamBack) {
  sim::World world(4, {.edges = 1});
  sim::World::Node& edge = world.edge(0);
  for (std::size_t s = 0; s < stream_count; ++s) append(world, edge, static_cast<Stream>(s), 200);
  world.run_for(60s);
  const ReceivedContext had = edge.log->received();
  restore(world, edge, {});
  world.run_for(60s);
  for (const RunStream& of : had.streams()) EXPECT_EQ(edge.log->received().max(of), had.max(of));
  EXPECT_TRUE(world.in_sync());
}

// The disk is new and the hub keeps only what they amount to: a snapshot stands for the events of the hub's runs, and of the
// edge's own that it lost. A hub without snapshots sends the suffix, and the rest is a gap that the edge can see. Neither
// way is anything asked for without end.
TEST(Refill, WhatTheHubPrunedComesAsASnapshotOrStaysAGap) {
  for (const bool snapshots : {true, false}) {
    SCOPED_TRACE(snapshots);
    Joined pair;
    for (int i = 0; i < 6; ++i) {
      pair.hub.append(Stream::document, 2, 20);
      pair.edge.append(Stream::document, 2, 20);
    }
    pair.open();
    pair.run_for(5s);
    pair.close();
    if (!snapshots) pair.hub.options.snapshot = nullptr;
    const RunStream of{pair.hub.log->run(), Stream::document}, lost{pair.edge.log->run(), Stream::document};
    for (const RunStream& one : {of, lost})
      pair.hub.log->prune(one, 8, [](const Status& status) { EXPECT_TRUE(status.ok()); });
    pair.run_for(1s);
    ASSERT_EQ(pair.hub.log->floor(of), 8u);
    pair.edge.log.reset();
    pair.edge.disk.image() = {};
    pair.edge.disk.boot(pair.edge.loop);
    auto empty =
        Log::open(pair.edge.loop, pair.edge.disk, {.node = pair.edge.self.node, .boot_id = "test", .software = "test"});
    ASSERT_TRUE(empty.ok());
    pair.edge.log = std::move(*empty);
    pair.run_for(1s);
    pair.open();
    pair.run_for(30s);
    for (const RunStream& one : {of, lost}) {
      EXPECT_EQ(pair.edge.log->received().base(one), snapshots ? 12u : 0u);
      EXPECT_TRUE(pair.edge.log->received().contains(one, 9, 12));
      EXPECT_EQ(pair.edge.log->floor(one), snapshots ? 12u : 0u);
    }
    EXPECT_TRUE(pair.in_sync());
    EXPECT_EQ(pair.edge.session->totals().snapshots_joined, snapshots ? 1u : 0u);
    pair.hub.append(Stream::document, 2, 20);
    pair.run_for(5s);
    EXPECT_TRUE(pair.edge.log->received().contains(of, 9, 14));
    const std::uint64_t frames = pair.frames;
    pair.run_for(1h);
    EXPECT_LT(pair.frames, frames + (snapshots ? 30 : 60));
    EXPECT_FALSE(pair.edge.closed || pair.hub.closed);
  }
}

TEST(Refill, PeerThatDoesNotAnswerIsAskedSeldom) {
  Joined pair;
  pair.edge.append(Stream::telemetry, 10, 20);
  pair.open();
  pair.run_for(5s);
  pair.close();
  pair.edge.log.reset();
  pair.edge.disk.image() = {};
  pair.edge.disk.boot(pair.edge.loop);
  auto empty =
      Log::open(pair.edge.loop, pair.edge.disk, {.node = pair.edge.self.node, .boot_id = "test", .software = "test"});
  ASSERT_TRUE(empty.ok());
  pair.edge.log = std::move(*empty);
  pair.hub.options.gives_back = false;
  pair.run_for(1s);
  pair.open();
  pair.run_for(5s);
  int asked = 0;
  pair.watch = [&](Side& from, FrameView frame) {
    asked += &from == &pair.edge && frame.type == FrameType::ack ? 1 : 0;
  };
  pair.run_for(24h);
  EXPECT_GT(asked, 3);
  EXPECT_LT(asked, 24 * 6 + 20);
  EXPECT_TRUE(pair.in_sync());
  pair.close();
  pair.hub.options.gives_back = true;
  pair.open();
  pair.run_for(5s);
  EXPECT_EQ(pair.edge.log->received().of_node(pair.edge.self.node).streams().size(), 3u);
}

}  // namespace
}  // namespace landfall
