// Scenarios of the design, told as what people did and what each side then shows: twins that were changed at both ends of
// a dead link, and a disk that was copied.
#include <gtest/gtest.h>

#include "crdt/register.h"
#include "devicetwin/twin_codec.h"
#include "schemas/op.h"
#include "tests/sim/world.h"

namespace landfall::sim {
namespace {

using namespace std::chrono_literals;

const std::string device = "pump-1";

void change(World& world, World::Node& node, Stream stream, const std::string& object, std::vector<Op> ops) {
  const auto payload = encode_ops(ops, {node.log->run(), stream});
  ASSERT_TRUE(payload.ok());
  Event event;
  event.kind = Kind::change;
  event.subject = object;
  event.payload = *payload;
  bool done = false;
  node.log->append(stream, {&event, 1}, [&](const Result<Log::Appended>& appended) { done = appended.ok(); });
  world.run_for(5s);
  ASSERT_TRUE(done);
}

Entries desired(World::Node& node) { return *node.log->state(Stream::desired, twin_object(device)); }

void desire(World& world, World::Node& node, const std::string& json) {
  const bool hub = node.self.role == Peer::Role::hub;
  const Entries seen = desired(node);
  TwinValue value{.json = json, .actor = node.self.name};
  for (const Entry& entry : at(seen, hub ? "/p/rpm/e" : "/p/rpm/c")) value.seen.push_back(entry.dot);
  change(world, node, Stream::desired, twin_object(device),
         {put_op(seen, hub ? "/p/rpm/c" : "/p/rpm/e", *encode_twin_value(value))});
}

void define(World& world, Policy policy) {
  change(world, world.hub(), Stream::document, device_object(device),
         {{"/def/rpm", definition_json({.type = "int", .policy = policy}), {}}});
}

PropertyView shown(World::Node& node) {
  return view_twin(device, desired(node), {}, *node.log->state(Stream::document, device_object(device)))
      .properties.at("rpm");
}

void expect_alike(World& world) {
  ASSERT_TRUE(world.in_sync());
  for (auto& node : world.nodes()) {
    EXPECT_EQ(desired(*node), desired(world.hub())) << node->self.name;
    EXPECT_EQ(node->log->pending_supersedes(), 0u);
    for (const auto& peer : node->replicator->peers()) EXPECT_EQ(peer.divergences, 0u);
  }
}

struct Apart : testing::Test {
  World world{1, {.edges = 2}};
  World::Node& hub = world.hub();
  World::Node& edge = world.edge(0);
  void begin(Policy policy) {
    define(world, policy);
    desire(world, hub, "10");
    world.run_for(60s);
    world.medium().cut(edge.network, hub.network, 24h * 30, false);
    world.run_for(24h);
  }
  void meet() {
    world.run_for(24h * 30);
    expect_alike(world);
  }
};

using Scenario02 = Apart;
using Scenario03 = Apart;

TEST_F(Scenario02, CloudWinsAndTheStaleOverrideIsListedOnAllSides) {
  begin(Policy::cloud_wins);
  desire(world, edge, "20");
  EXPECT_EQ(shown(edge).desired->value, "20") << "it knew the cloud's value, so it holds aboard";
  desire(world, hub, "30");
  meet();
  for (auto& node : world.nodes()) {
    const PropertyView view = shown(*node);
    ASSERT_TRUE(view.desired) << node->self.name;
    EXPECT_EQ(view.desired->value, "30");
    ASSERT_EQ(view.others.size(), 1u);
    EXPECT_EQ(view.others[0].value, "20");
    EXPECT_TRUE(view.conflict);
  }
}

TEST_F(Scenario03, StickyOverrideHoldsUntilAReleaseThatKnewIt) {
  begin(Policy::edge_sticky);
  desire(world, edge, "20");
  desire(world, hub, "30");
  meet();
  for (auto& node : world.nodes()) EXPECT_EQ(shown(*node).desired->value, "20") << node->self.name;
  // The cloud releases what it sees while the edge, apart again, overrides anew: the newer one stays.
  world.medium().cut(edge.network, hub.network, 24h, false);
  change(world, hub, Stream::desired, twin_object(device), {erase_op(desired(hub), "/p/rpm/e")});
  EXPECT_EQ(shown(hub).desired->value, "30");
  desire(world, edge, "25");
  world.run_for(48h);
  expect_alike(world);
  for (auto& node : world.nodes()) EXPECT_EQ(shown(*node).desired->value, "25") << node->self.name;
  // Seen and released, it is gone for good.
  change(world, hub, Stream::desired, twin_object(device), {erase_op(desired(hub), "/p/rpm/e")});
  world.run_for(60s);
  expect_alike(world);
  for (auto& node : world.nodes()) {
    EXPECT_EQ(shown(*node).desired->value, "30") << node->self.name;
    EXPECT_TRUE(shown(*node).others.empty());
  }
}

TEST_F(Scenario02, TwoEdgesThatNeverMetConvergeThroughTheHub) {
  begin(Policy::latest);
  World::Node& other = world.edge(1);
  world.medium().cut(other.network, hub.network, 24h * 29, false);
  desire(world, edge, "1");
  desire(world, other, "2");
  meet();
  ASSERT_EQ(at(desired(hub), "/p/rpm/e").size(), 2u);
  for (auto& node : world.nodes()) {
    EXPECT_EQ(twin_json(view_twin(device, desired(*node), {}, {})), twin_json(view_twin(device, desired(hub), {}, {})));
    EXPECT_TRUE(shown(*node).conflict);
  }
}

// One image, two ships: each open mints a run of its own, so both histories are kept, by the hub and, since they are of
// their node, by both ships; somebody is told.
TEST(Scenario07, BothShipsOfOneImageKeepWhatBothWrote) {
  World world(5, {.edges = 1});
  World::Node& ship = world.edge(0);
  desire(world, ship, "1");
  world.run_for(60s);
  world.crash(ship, 24h);
  const Disk::Image image = ship.disk.image();
  std::vector<RunId> runs;
  std::vector<Disk::Image> at_sea;
  // They sail one after the other: a hub has but one link of a node.
  for (const char* value : {"2", "3"}) {
    ship.disk.image() = image;
    world.medium().cut(ship.network, world.hub().network, 1h, false);
    world.start(ship);
    runs.push_back(ship.log->run());
    desire(world, ship, value);
    world.run_for(2h);
    EXPECT_TRUE(world.in_sync());
    world.crash(ship, 24h);
    at_sea.push_back(ship.disk.image());
  }
  EXPECT_NE(runs[0], runs[1]);
  EXPECT_EQ(runs[0].counter, runs[1].counter) << "the same parent";
  for (const Disk::Image& found : at_sea) {
    ship.disk.image() = found;
    world.start(ship);
    world.run_for(10min);
    EXPECT_TRUE(world.in_sync());
    std::vector<std::string> values;
    for (const Entry& entry : desired(ship)) values.push_back(decode_twin_value(entry.value)->json);
    std::ranges::sort(values);
    EXPECT_EQ(values, (std::vector<std::string>{"2", "3"}));
    EXPECT_EQ(desired(ship), desired(world.hub()));
    world.crash(ship, 24h);
  }
  const auto control = world.hub().log->read({world.hub().log->run(), Stream::control}, 1, 1 << 20);
  std::size_t told = 0;
  for (const auto& chunk : *control) {
    const auto decoded = decode_chunk(chunk.bytes);
    told += decoded->rows.find(R"("audit":"fork")") != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(told, 0u);
}

}  // namespace
}  // namespace landfall::sim
