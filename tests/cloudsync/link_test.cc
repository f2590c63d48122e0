// Properties of replication over links of known badness, in simulated time: an alarm overtakes bulk within about one
// second of link time and a round trip, bulk streams share by weight, an idle link costs next to nothing, and nothing
// is sent twice where nothing is lost.
#include <gtest/gtest.h>

#include <optional>

#include "tests/sim/world.h"

namespace landfall::sim {
namespace {

using namespace std::chrono_literals;

void append(World& world, World::Node& node, Stream stream, std::size_t events, std::size_t payload_bytes) {
  std::string payload(payload_bytes, '\0');
  Event event;
  event.subject = "device";
  std::vector<std::string> payloads(events, payload);
  std::vector<Event> all(events, event);
  for (std::size_t i = 0; i < events; ++i) {
    for (char& byte : payloads[i]) byte = static_cast<char>(world.rng().next());
    all[i].payload = payloads[i];
  }
  node.log->append(stream, all, [](const Result<Log::Appended>&) {});
}

struct Shape {
  std::string name;
  std::uint64_t bytes_per_second;
  bool configured;
  Duration one_way, bound;
};

class AlarmOnBusyLink : public testing::TestWithParam<Shape> {};

TEST_P(AlarmOnBusyLink, WaitsForAboutOneSecondOfBulk) {
  const Shape shape = GetParam();
  World world(3, {.edges = 1, .link_bytes_per_second = shape.configured ? shape.bytes_per_second : 0});
  world.medium().faults = {.delay_min = shape.one_way,
                           .delay_max = shape.one_way + 1ms,
                           .in_order = true,
                           .bytes_per_second = shape.bytes_per_second};
  World::Node& edge = world.edge(0);
  const std::size_t chunk_events = 200, backlog = shape.bytes_per_second * 400;
  for (std::size_t bytes = 0; bytes < backlog; bytes += chunk_events * 200)
    append(world, edge, Stream::telemetry, chunk_events, 200);
  world.run_for(120s);
  std::optional<Instant> arrived;
  world.hub().log->subscribe(1 << static_cast<int>(Stream::alarm), [&](const Log::Range&) { arrived = world.now(); });
  Duration worst{};
  for (int i = 0; i < 20; ++i) {
    arrived.reset();
    const Instant raised = world.now();
    append(world, edge, Stream::alarm, 1, 50);
    while (!arrived && world.now() - raised < 60s) world.run_for(10ms);
    ASSERT_TRUE(arrived);
    worst = std::max(worst, *arrived - raised);
    world.run_for(7s);
  }
  EXPECT_LE(worst, shape.bound);
  EXPECT_LT(world.hub().log->received().max({edge.log->run(), Stream::telemetry}),
            edge.log->received().max({edge.log->run(), Stream::telemetry}))
      << "the link must have been busy";
  const auto totals = edge.replicator->peers().front().totals;
  EXPECT_EQ(totals.resent, 0u);
  // The link was used: at least two thirds of what it carries.
  const double carried =
      std::chrono::duration<double>(world.now().since_start).count() * static_cast<double>(shape.bytes_per_second);
  EXPECT_GT(static_cast<double>(totals.chunk_bytes_sent), carried * 0.66);
}

INSTANTIATE_TEST_SUITE_P(Link, AlarmOnBusyLink,
                         testing::Values(Shape{"LBand", 1250, true, 500ms, 3500ms},
                                         Shape{"LBandMeasured", 1250, false, 500ms, 4500ms},
                                         Shape{"Vsat", 32'000, true, 300ms, 2500ms},
                                         Shape{"VsatMeasured", 32'000, false, 300ms, 3500ms},
                                         Shape{"LteMeasured", 100'000, false, 40ms, 2500ms}),
                         [](const auto& param) { return param.param.name; });

class LargestEvent : public testing::TestWithParam<bool> {};

TEST_P(LargestEvent, CrossesTheSlowestLinkInOneSession) {
  World world(9, {.edges = 1, .link_bytes_per_second = GetParam() ? 1250u : 0u});
  world.medium().faults = {.delay_min = 500ms, .delay_max = 501ms, .in_order = true, .bytes_per_second = 1250};
  World::Node& edge = world.edge(0);
  world.run_for(60s);
  append(world, edge, Stream::telemetry, 2, event_payload_bytes_max);
  world.run_for(600s);
  EXPECT_EQ(world.hub().log->received().max({edge.log->run(), Stream::telemetry}), 2u);
  const auto status = edge.replicator->peers().front();
  EXPECT_EQ(status.sessions, 1u) << status.last_error;
  EXPECT_EQ(status.totals.resent, 0u);
}

INSTANTIATE_TEST_SUITE_P(Link, LargestEvent, testing::Values(true, false),
                         [](const auto& param) { return param.param ? "Configured" : "Measured"; });

TEST(Link, BulkStreamsShareByWeight) {
  World world(4, {.edges = 1, .link_bytes_per_second = 20'000});
  world.medium().faults = {.delay_min = 20ms, .delay_max = 21ms, .in_order = true, .bytes_per_second = 20'000};
  World::Node& edge = world.edge(0);
  for (int i = 0; i < 40; ++i) {
    for (Stream stream : {Stream::reported, Stream::document, Stream::telemetry, Stream::blob})
      append(world, edge, stream, 100, 200);
    world.run_for(1ms);
  }
  world.run_for(60s);
  const auto arrived = [&](Stream stream) {
    return static_cast<double>(world.hub().log->received().max({edge.log->run(), stream}));
  };
  EXPECT_NEAR(arrived(Stream::reported) / arrived(Stream::blob), 8, 2);
  EXPECT_NEAR(arrived(Stream::document) / arrived(Stream::blob), 4, 1);
  EXPECT_NEAR(arrived(Stream::telemetry) / arrived(Stream::blob), 2, 0.6);
}

TEST(Link, UrgentStreamsDoNotStarveTheRest) {
  World world(5, {.edges = 1, .link_bytes_per_second = 2'000});
  world.medium().faults = {.delay_min = 20ms, .delay_max = 21ms, .in_order = true, .bytes_per_second = 2'000};
  World::Node& edge = world.edge(0);
  append(world, edge, Stream::blob, 50, 200);
  for (int i = 0; i < 30; ++i) append(world, edge, Stream::alarm, 100, 200);
  world.run_for(150s);
  EXPECT_GT(world.hub().log->received().max({edge.log->run(), Stream::blob}), 0u);
  EXPECT_LT(world.hub().log->received().max({edge.log->run(), Stream::alarm}), 3000u) << "alarms were still waiting";
}

TEST(Link, IdleDayCostsLessThanAHundredKilobytes) {
  World world(6, {.edges = 1});
  world.run_for(10min);
  ASSERT_TRUE(world.in_sync());
  const auto before = world.medium().stats();
  world.run_for(24h);
  const auto frames = world.medium().stats().frames - before.frames,
             bytes = world.medium().stats().bytes - before.bytes;
  EXPECT_GT(frames, 500u);
  // A TLS 1.3 record adds 22 bytes to a frame, TCP and IP 40 to it and 40 for its acknowledgement.
  EXPECT_LE(bytes + frames * 102, 100'000u);
}

TEST(Link, HubKeepsAlarmsAndReadingsOfOneEdgeFromAnother) {
  World world(7, {.edges = 2});
  for (Stream stream : {Stream::alarm, Stream::reported, Stream::telemetry, Stream::blob})
    append(world, world.edge(0), stream, 5, 20);
  append(world, world.hub(), Stream::document, 5, 20);
  append(world, world.hub(), Stream::telemetry, 5, 20);
  world.run_for(60s);
  ASSERT_TRUE(world.in_sync());
  const ReceivedContext& second = world.edge(1).log->received();
  EXPECT_TRUE(second.of_node(world.edge(0).self.node).empty());
  EXPECT_EQ(second.max({world.hub().log->run(), Stream::document}), 5u);
  EXPECT_EQ(second.max({world.hub().log->run(), Stream::telemetry}), 0u);
}

TEST(Link, HeldLinkGathersABacklogThatReleaseDelivers) {
  World world(10, {.edges = 1});
  World::Node& edge = world.edge(0);
  world.run_for(60s);
  edge.network.hold(true);
  world.run_for(1s);
  append(world, edge, Stream::alarm, 4, 20);
  world.run_for(1h);
  EXPECT_FALSE(edge.replicator->peers().front().connected);
  EXPECT_EQ(edge.replicator->backlog()[1], 4u);
  edge.network.hold(false);
  world.run_for(60s);
  EXPECT_TRUE(edge.replicator->peers().front().in_sync);
  EXPECT_EQ(edge.replicator->backlog()[1], 0u);
}

TEST(Link, StoppedHubSaysSoAndTakesNoMore) {
  World world(11, {.edges = 2});
  world.run_for(60s);
  world.hub().replicator->stop();
  world.run_for(100ms);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto status = world.edge(i).replicator->peers().front();
    EXPECT_FALSE(status.connected);
    EXPECT_NE(status.last_error.find("node stops"), std::string::npos) << status.last_error;
    EXPECT_EQ(status.refused, 0u);
  }
  append(world, world.edge(0), Stream::alarm, 1, 20);
  world.run_for(60s);
  EXPECT_EQ(world.hub().log->received().max({world.edge(0).log->run(), Stream::alarm}), 0u);
}

TEST(Link, NewerLinkOfANodeReplacesTheOlder) {
  World world(12, {.edges = 1});
  world.run_for(60s);
  // Each end hears of it or not: where only the edge does, it dials while the hub still holds the dead link.
  for (int i = 0; i < 8; ++i) {
    world.medium().cut(world.edge(0).network, world.hub().network, 1s, false);
    world.run_for(5min);
  }
  append(world, world.edge(0), Stream::alarm, 1, 20);
  world.run_for(10min);
  ASSERT_EQ(world.hub().replicator->peers().size(), 1u);
  EXPECT_TRUE(world.in_sync());
  EXPECT_GT(world.hub().replicator->peers().front().sessions, 4u);
}

TEST(Link, BacklogAndAckMarkOutliveARestart) {
  World world(8, {.edges = 1});
  append(world, world.edge(0), Stream::telemetry, 10, 20);
  world.run_for(60s);
  const RunStream of{world.edge(0).log->run(), Stream::telemetry};
  EXPECT_EQ(world.edge(0).replicator->backlog(), (std::array<std::uint64_t, stream_count>{}));
  world.medium().cut(world.edge(0).network, world.hub().network, 24h, false);
  append(world, world.edge(0), Stream::telemetry, 3, 20);
  world.run_for(10min);
  EXPECT_EQ(world.edge(0).replicator->backlog()[5], 3u);
  world.crash(world.edge(0), 1s);
  world.run_for(10s);
  EXPECT_EQ(world.edge(0).replicator->committed_by_peers().max(of), 10u);
  EXPECT_EQ(world.edge(0).replicator->backlog()[5], 3u);
  EXPECT_GE(world.edge(0).replicator->backlog()[0], 1u) << "the new run's start";
}

}  // namespace
}  // namespace landfall::sim
