// Property: twins written on two sides that meet now and then show the same on both, by policy, and lose nothing.
#include <gtest/gtest.h>

#include "schemas/limits.h"
#include "tests/devicetwin/twin_sides.h"

namespace landfall {
namespace {

using test::exchange;
using test::Side;

constexpr auto month = std::chrono::hours(24 * 30);

class TwinSides : public ::testing::Test {
 protected:
  sim::Schedule schedule{1};
  Side hub{schedule, 1, Layer::cloud};
  Side edge{schedule, 2, Layer::edge};

  void define(Policy policy, const std::string& property = "temp") {
    ASSERT_TRUE(hub.put(property, {.type = "float", .policy = policy}).ok());
    exchange(hub, edge);
  }
  // 20 known to both; then 21 ashore and 18 aboard, a month apart, neither knowing of the other.
  void diverge(const std::string& property = "temp") {
    ASSERT_TRUE(hub.desire(property, "20", "office").ok());
    exchange(hub, edge);
    ASSERT_TRUE(hub.desire(property, "21", "office").ok());
    schedule.run_for(month);
    ASSERT_TRUE(edge.desire(property, "18", "chief").ok());
    exchange(hub, edge);
    EXPECT_EQ(hub.json(), edge.json());
  }
};

// Scenario 2 of the design.
TEST_F(TwinSides, TheCloudWinsOverAnOverrideThatDidNotKnowItsValueAndBothSidesListIt) {
  define(Policy::cloud_wins);
  diverge();
  const PropertyView seen = edge.view("temp");
  EXPECT_EQ(seen.desired->value, "21");
  EXPECT_TRUE(seen.conflict);
  ASSERT_EQ(seen.others.size(), 1u);
  EXPECT_EQ(seen.others[0].value, "18");
  EXPECT_EQ(seen.others[0].actor, "chief");
  // Once aboard knows the cloud's value, an override holds.
  ASSERT_TRUE(edge.desire("temp", "17").ok());
  exchange(hub, edge);
  EXPECT_EQ(hub.effective("temp"), "17");
  EXPECT_FALSE(hub.view("temp").conflict);
}

// Scenario 3.
TEST_F(TwinSides, AStickyOverrideHoldsUntilAReleaseThatSawIt) {
  define(Policy::edge_sticky);
  diverge();
  EXPECT_EQ(hub.effective("temp"), "18");
  EXPECT_TRUE(hub.view("temp").conflict);
  // A release that did not see the newer override leaves that one alone.
  ASSERT_TRUE(edge.desire("temp", "17").ok());
  ASSERT_TRUE(hub.release("temp").ok());
  EXPECT_EQ(hub.effective("temp"), "21");
  exchange(hub, edge);
  EXPECT_EQ(hub.effective("temp"), "17");
  EXPECT_EQ(hub.json(), edge.json());
  const Dot held = hub.view("temp").desired->dot;
  EXPECT_TRUE(hub.release("temp", hub.view("temp").others[0].dot)->dots.empty()) << "of the other layer";
  ASSERT_EQ(hub.release("temp", held)->dots.size(), 1u);
  exchange(hub, edge);
  EXPECT_EQ(edge.effective("temp"), "21");
  EXPECT_TRUE(edge.view("temp").others.empty());
  EXPECT_TRUE(hub.release("temp")->dots.empty()) << "nothing left to release";
}

// Scenario 4.
TEST_F(TwinSides, ADeletedDeviceComesBackOnlyByWhoDidNotSeeTheDeleteAndOnlyOnce) {
  define(Policy::cloud_wins);
  Twins::Describe old_tag{};
  old_tag.add_tags = {"old"};
  ASSERT_TRUE(hub.describe(old_tag).ok());
  ASSERT_TRUE(hub.desire("temp", "20").ok());
  exchange(hub, edge);
  ASSERT_TRUE(edge.report("temp", {.value = "20"}).ok());
  exchange(hub, edge);

  Twins::Describe new_tag{};
  new_tag.add_tags = {"old", "new"};
  new_tag.actor = "bosun";
  ASSERT_TRUE(edge.describe(new_tag).ok());
  schedule.run_for(month * 6);
  ASSERT_TRUE(hub.remove().ok());
  EXPECT_EQ(hub.twins.view("pump").error().code, Code::not_found);
  exchange(hub, edge);
  for (const Side* side : {&hub, &edge}) {
    const TwinView twin = side->view();
    EXPECT_FALSE(twin.registered);
    EXPECT_EQ(twin.tags, std::vector<std::string>{"new"}) << "what was seen is gone, what was not stays";
    EXPECT_TRUE(twin.properties.empty());
    EXPECT_EQ(twin.described_by->actor, "bosun");
    EXPECT_FALSE(side->devices.get("pump")->registered);
  }
  ASSERT_TRUE(hub.remove().ok());
  exchange(hub, edge);
  for (const Side* side : {&hub, &edge}) {
    EXPECT_EQ(side->twins.view("pump").error().code, Code::not_found);
    EXPECT_TRUE(side->twins.devices("", 10)->empty());
    EXPECT_TRUE(side->devices.list("", 10)->empty());
  }
  EXPECT_EQ(hub.remove().error().code, Code::not_found);
}

// Scenario 13, of keys that the edge may write.
TEST_F(TwinSides, AStampOfTheYear9999IsASiblingAndEndsWithTheNextWriteThatSawIt) {
  define(Policy::latest);
  define(Policy::cloud_wins, "speed");
  ASSERT_TRUE(hub.desire("temp", "20").ok() && hub.desire("speed", "5").ok());
  edge.node.loop.set_wall_skew_ms(8'000LL * 365 * 86'400'000);
  ASSERT_TRUE(edge.desire("temp", "99").ok() && edge.desire("speed", "99").ok());
  exchange(hub, edge);
  EXPECT_EQ(hub.json(), edge.json());
  EXPECT_EQ(hub.effective("speed"), "5") << "where the cloud wins, no clock helps";
  EXPECT_EQ(hub.effective("temp"), "99");
  EXPECT_EQ(hub.view("temp").others.size(), 1u) << "and is shown beside it";
  ASSERT_TRUE(hub.desire("temp", "21").ok());
  exchange(hub, edge);
  for (const Side* side : {&hub, &edge}) {
    EXPECT_EQ(side->effective("temp"), "21");
    EXPECT_FALSE(side->view("temp").conflict);
    EXPECT_LT(side->view("temp").desired->time.unix_ms(), hub.node.loop.unix_ms() + 300'000);
  }
}

TEST_F(TwinSides, RestoreMakesWhatLostEffectiveByEveryPolicyThatLetsIt) {
  const struct {
    Policy policy;
    const char *diverged, *at_hub, *at_edge;
  } cases[] = {
      {Policy::cloud_wins, "21", "18", "18"},  {Policy::latest, "18", "21", "21"},
      {Policy::edge_sticky, "18", "18", "21"}, {Policy::manual, "-", "18", "18"},
      {Policy::safe_min, "18", "18", "21"},    {Policy::safe_max, "21", "18", "21"},
  };
  for (const auto& c : cases) {
    for (Side* side : {&hub, &edge}) {
      SCOPED_TRACE(std::string(to_string(c.policy)) + (side == &hub ? " at the hub" : " at the edge"));
      const std::string property = std::string(to_string(c.policy)) + (side == &hub ? ".hub" : ".edge");
      define(c.policy, property);
      diverge(property);
      EXPECT_EQ(side->effective(property), c.diverged);
      const auto restored = side->restore(property);
      const bool privileged = c.policy == Policy::edge_sticky && side == &hub;
      EXPECT_EQ(restored.ok(), !privileged);
      if (privileged) {
        EXPECT_EQ(restored.error().code, Code::denied);
      }
      exchange(hub, edge);
      EXPECT_EQ(hub.effective(property), side == &hub ? c.at_hub : c.at_edge);
      EXPECT_EQ(hub.json(), edge.json());
      if (c.policy == Policy::manual) {
        EXPECT_FALSE(hub.view(property).conflict) << "decided by hand";
      }
    }
  }
}

TEST_F(TwinSides, RestoreNamesALiveWriteOrNone) {
  define(Policy::cloud_wins);
  ASSERT_TRUE(hub.desire("temp", "20").ok());
  EXPECT_EQ(hub.restore("temp").error().code, Code::not_found) << "nothing lost";
  const Dot first = hub.view("temp").desired->dot;
  EXPECT_TRUE(hub.restore("temp", first)->dots.empty()) << "effective already";
  ASSERT_TRUE(hub.desire("temp", "21").ok());
  EXPECT_EQ(hub.restore("temp", first).error().code, Code::not_found) << "superseded";
  EXPECT_EQ(hub.restore("pressure").error().code, Code::not_found);
}

TEST_F(TwinSides, TakingBackEndsTheOverridesThatAreSeen) {
  define(Policy::edge_sticky);
  diverge();
  Twins::Desire desire{};
  desire.device = "pump";
  desire.values["temp"] = "22";
  desire.take_back = true;
  ASSERT_TRUE(hub.desire(desire).ok());
  exchange(hub, edge);
  EXPECT_EQ(edge.effective("temp"), "22");
  EXPECT_TRUE(edge.view("temp").others.empty());
}

TEST_F(TwinSides, AConditionalWriteIsHeldAgainstTheVersionOfDesired) {
  define(Policy::cloud_wins);
  ASSERT_TRUE(hub.desire("temp", "20").ok());
  const std::string version = hub.view().version;
  Twins::Desire desire{};
  desire.device = "pump";
  desire.values["temp"] = "21";
  desire.if_match = version;
  ASSERT_TRUE(hub.report("temp", {.value = "20"}).ok()) << "spoils nothing";
  const auto written = hub.desire(desire);
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(written->version, hub.view().version);
  EXPECT_NE(written->version, version);
  desire.values["temp"] = "22";
  const auto late = hub.desire(desire);
  EXPECT_EQ(late.error().code, Code::conflict);
  EXPECT_NE(late.error().detail.find(hub.view().version), std::string::npos) << "names the present one";
  exchange(hub, edge);
  EXPECT_EQ(edge.view().version, hub.view().version);
  desire.if_match = "*";
  EXPECT_TRUE(hub.desire(desire).ok());
}

TEST_F(TwinSides, WhatCannotBeIsRefusedAndNothingIsWritten) {
  ASSERT_TRUE(hub.put({}, {{"temp", {.type = "float", .minimum = "0", .maximum = "30"}},
                           {"rpm", {.type = "int"}},
                           {"name", {.type = "string"}},
                           {"level", {.type = "float", .read_only = true}}})
                  .ok());
  const auto before = hub.events(Stream::desired);
  const auto code = [&](const std::string& property, const std::string& json) {
    const auto written = hub.desire(property, json);
    return written ? std::string("written") : std::string(to_string(written.error().code));
  };
  for (const auto* json : {"31", "-1", "true", "\"warm\"", "null", "{}", "2 3", "", "nan"})
    EXPECT_EQ(code("temp", json), to_string(Code::out_of_range)) << json;
  EXPECT_EQ(code("rpm", "1.5"), to_string(Code::out_of_range));
  EXPECT_EQ(code("name", "5"), to_string(Code::out_of_range));
  EXPECT_EQ(code("name", "\"" + std::string(op_value_bytes_max, 'x') + "\""), to_string(Code::out_of_range));
  EXPECT_EQ(code("level", "5"), to_string(Code::denied));
  EXPECT_EQ(code("other", "5"), to_string(Code::not_found));
  Twins::Desire desire{};
  desire.values["temp"] = "20";
  for (const std::string device : {"", "a b", "nobody"}) {
    desire.device = device;
    EXPECT_EQ(hub.desire(desire).error().code, device == "nobody" ? Code::not_found : Code::out_of_range) << device;
  }
  // One that cannot be keeps the others of the same call out.
  desire.device = "pump";
  desire.values["rpm"] = "fast";
  EXPECT_EQ(hub.desire(desire).error().code, Code::out_of_range);
  EXPECT_EQ(hub.events(Stream::desired), before);
  EXPECT_EQ(code("temp", "\"20.5\""), "written") << "a text that reads as the type, as KubeEdge sends it";
  EXPECT_EQ(hub.effective("temp"), "\"20.5\"") << "as given";
}

TEST_F(TwinSides, TheSameAgainIsNotWrittenUnlessTheDeviceRefusedIt) {
  define(Policy::cloud_wins);
  ASSERT_EQ(hub.desire("temp", "20")->dots.size(), 1u);
  EXPECT_TRUE(hub.desire("temp", "20")->dots.empty());
  Twins::Reported refused{.value = "19"};
  refused.status = "rejected";
  refused.error = "too cold outside";
  ASSERT_TRUE(hub.report("temp", refused).ok());
  EXPECT_FALSE(hub.view("temp").in_sync);
  EXPECT_EQ(hub.desire("temp", "20")->dots.size(), 1u) << "asks the device again";
  // Or a side that has not said it knowing the other's.
  exchange(hub, edge);
  ASSERT_TRUE(edge.desire("temp", "18").ok());
  exchange(hub, edge);
  EXPECT_EQ(hub.desire("temp", "20")->dots.size(), 1u);
  EXPECT_EQ(hub.effective("temp"), "20");
}

TEST_F(TwinSides, AReportCountsAsAppliedWhereItSaysSoOrShowsTheValue) {
  define(Policy::cloud_wins);
  ASSERT_TRUE(hub.desire("temp", "20").ok());
  exchange(hub, edge);
  ASSERT_TRUE(edge.report("temp", {.value = "\"19.5\""}).ok());
  EXPECT_FALSE(edge.view("temp").in_sync);
  ASSERT_TRUE(edge.report("temp", {.value = "\"20.0\""}).ok());
  EXPECT_TRUE(edge.view("temp").in_sync);
  Twins::Reported close{.value = "19.9"};
  close.applied = edge.view("temp").desired->dot;
  ASSERT_TRUE(edge.report("temp", close).ok());
  EXPECT_TRUE(edge.view("temp").in_sync) << "the device says that this is what it could do";
  ASSERT_TRUE(edge.desire("temp", "21").ok());
  EXPECT_FALSE(edge.view("temp").in_sync);
  Twins::Reported wrong{.value = "21"};
  wrong.status = "done";
  EXPECT_EQ(edge.report("temp", wrong).error().code, Code::out_of_range);
  EXPECT_EQ(edge.report("temp", {.value = "warm"}).error().code, Code::out_of_range);
}

TEST_F(TwinSides, AnUnknownDeviceReportsItselfIntoBeing) {
  Twins::Report report{};
  report.values = {{"a", Twins::Reported{.value = "1"}}, {"b/c", Twins::Reported{.value = "{\"x\":1}"}}};
  report.state = "online";
  report.last_online_ms = 5000;
  ASSERT_TRUE(edge.report(report).ok());
  exchange(hub, edge);
  TwinView twin = hub.view();
  EXPECT_FALSE(twin.registered);
  EXPECT_EQ(twin.state, "online");
  EXPECT_EQ(twin.last_online_ms, 5000);
  EXPECT_EQ(twin.properties.at("b/c").reported->value, "{\"x\":1}");
  EXPECT_EQ(*hub.twins.devices("", 10), std::vector<std::string>{"pump"});
  EXPECT_EQ(hub.devices.get("pump").error().code, Code::not_found);
  // A full report takes away what it does not name; the state stays.
  report.values = {{"a", Twins::Reported{.value = "2"}}};
  report.full = true;
  report.state = "offline";
  report.last_online_ms = 0;
  ASSERT_TRUE(edge.report(report).ok());
  twin = edge.view();
  EXPECT_EQ(twin.properties.size(), 1u);
  EXPECT_EQ(twin.state, "offline");
  EXPECT_EQ(twin.last_online_ms, 5000) << "stays";
  report.values.clear();
  EXPECT_EQ(edge.report(report)->dots.size(), 1u);
  EXPECT_TRUE(edge.report(report)->dots.empty()) << "nothing left to say";
  EXPECT_TRUE(edge.view().properties.empty());
}

TEST_F(TwinSides, AttributesArePatchedAndAnAddedTagWinsOverARemove) {
  ASSERT_TRUE(hub.put({}).ok());
  Twins::Describe describe{};
  describe.attributes = {{"place", R"({"deck":3,"room":"a"})"}, {"maker", "\"Desmi\""}};
  describe.add_tags = {"wet", "hot/1"};
  ASSERT_TRUE(hub.describe(describe).ok());
  EXPECT_TRUE(hub.describe(describe)->dots.empty()) << "it is so already";
  exchange(hub, edge);
  Twins::Describe patch{};
  patch.attributes = {{"place", R"({"room":null,"side":"port"})"}, {"maker", std::nullopt}};
  patch.remove_tags = {"wet"};
  ASSERT_TRUE(edge.describe(patch).ok());
  // Ashore somebody takes the tag away and puts it back, which is a new write.
  Twins::Describe away{}, back{};
  away.remove_tags = {"wet"};
  back.add_tags = {"wet"};
  ASSERT_TRUE(hub.describe(away).ok() && hub.describe(back).ok());
  exchange(hub, edge);
  EXPECT_EQ(hub.json(), edge.json());
  EXPECT_EQ(hub.view().tags, (std::vector<std::string>{"hot/1", "wet"}));
  EXPECT_EQ(hub.view().attributes, (std::map<std::string, std::string>{{"place", R"({"deck":3,"side":"port"})"}}));
  Twins::Describe both{};
  both.add_tags = both.remove_tags = {"x"};
  EXPECT_EQ(hub.describe(both).error().code, Code::out_of_range);
  Twins::Describe late{};
  late.add_tags = {"y"};
  late.if_match = "0";
  EXPECT_EQ(hub.describe(late).error().code, Code::conflict);
  late.if_match = hub.devices.get("pump")->version;
  EXPECT_TRUE(hub.describe(late).ok());
}

TEST_F(TwinSides, AreBoundedInWhatOneDeviceMayHold) {
  ASSERT_TRUE(hub.put({}).ok());
  Twins::Describe tags{}, one{};
  for (std::size_t i = 0; i < twin_tags_max; ++i) tags.add_tags.push_back("t" + std::to_string(i));
  ASSERT_TRUE(hub.describe(tags).ok());
  one.add_tags = {"more"};
  EXPECT_EQ(hub.describe(one).error().code, Code::out_of_range);
  Twins::Report report{};
  for (std::size_t i = 0; i < twin_properties_max; ++i)
    report.values["p" + std::to_string(i)] = Twins::Reported{.value = "1"};
  ASSERT_TRUE(hub.report(report).ok());
  EXPECT_EQ(hub.report("more", {.value = "1"}).error().code, Code::out_of_range);
  EXPECT_TRUE(hub.report("p7", {.value = "2"}).ok());
  ASSERT_TRUE(hub.remove().ok()) << "however much it holds";
  EXPECT_EQ(hub.twins.view("pump").error().code, Code::not_found);
}

TEST_F(TwinSides, WatchersHearWhichDeviceChangedWhereverItWasWritten) {
  std::vector<std::pair<std::string, Stream>> heard;
  edge.twins.watch([&](const std::string& device, Stream stream) { heard.emplace_back(device, stream); });
  std::vector<std::pair<std::string, bool>> devices;
  edge.devices.watch([&](const std::string& device, bool exists) { devices.emplace_back(device, exists); });
  define(Policy::latest);
  ASSERT_TRUE(hub.desire("temp", "20").ok());
  exchange(hub, edge);
  ASSERT_TRUE(edge.report("temp", {.value = "20"}).ok());
  EXPECT_EQ(heard, (std::vector<std::pair<std::string, Stream>>{
                       {"pump", Stream::document}, {"pump", Stream::desired}, {"pump", Stream::reported}}));
  ASSERT_TRUE(edge.remove().ok());
  EXPECT_EQ(devices, (std::vector<std::pair<std::string, bool>>{{"pump", true}, {"pump", false}}));
}

// ---- the registry

TEST_F(TwinSides, TheRegistryKeepsWhatItIsTold) {
  DeviceRecord record{};
  record.device = "ship/pump";
  record.node = "edge-1";
  record.model = "centrifugal";
  record.configuration = R"({ "unit" : 3 })";
  record.password_hash = "$7$101$salt$hash";
  ASSERT_TRUE(hub.put(record).ok());
  EXPECT_TRUE(hub.put(record)->dots.empty()) << "it is so already";
  exchange(hub, edge);
  const auto kept = edge.devices.get("ship/pump");
  EXPECT_EQ(kept->node, "edge-1");
  EXPECT_EQ(kept->configuration, R"({"unit":3})");
  EXPECT_EQ(kept->password_hash, record.password_hash);
  EXPECT_EQ(device_json(*kept),
            R"({"configuration":{"unit":3},"device":"ship/pump","model":"centrifugal","node":"edge-1",)"
            R"("owner_term":0,"registered":true,"version":")" +
                kept->version + "\"}");
  // What API and Kafka show of a value is its JSON, and the hash is not in there.
  const auto entries = hub.node.log->state(Stream::document, device_object("ship/pump"));
  for (const Entry& entry : *entries)
    EXPECT_EQ(entry.value.substr(0, entry.value.find('\0')).find("salt"), std::string::npos) << entry.path;

  DeviceRecord shown = *kept;
  shown.password_hash.clear();
  shown.description = "in the bow";
  shown.model.clear();
  ASSERT_TRUE(hub.put(shown, {}, kept->version).ok());
  EXPECT_EQ(hub.devices.get("ship/pump")->password_hash, record.password_hash) << "not shown, so not taken away";
  EXPECT_EQ(hub.devices.get("ship/pump")->model, "");
  EXPECT_EQ(hub.put(shown, {}, kept->version).error().code, Code::conflict);
  shown.password_hash = "*";
  ASSERT_TRUE(hub.put(shown).ok());
  EXPECT_EQ(hub.devices.get("ship/pump")->password_hash, "");
  shown.password_hash = "secret";
  EXPECT_EQ(hub.put(shown).error().code, Code::out_of_range);
  shown.device = "a b";
  EXPECT_EQ(hub.put(shown).error().code, Code::out_of_range);
}

TEST_F(TwinSides, TheRegistryIsListedInPages) {
  for (const std::string name : {"c", "a", "b", "ship/a"}) {
    DeviceRecord record{};
    record.device = name;
    ASSERT_TRUE(hub.put(record).ok());
  }
  const auto names = [&](std::string_view after, std::size_t limit) {
    std::string names;
    const auto page = hub.devices.list(after, limit);
    for (const auto& record : *page) names += record.device + " ";
    std::string twins;
    const auto devices = hub.twins.devices(after, limit);
    for (const auto& name : *devices) twins += name + " ";
    EXPECT_EQ(names, twins);
    return names;
  };
  EXPECT_EQ(names("", 2), "a b ");
  EXPECT_EQ(names("b", 10), "c ship/a ");
  EXPECT_EQ(names("ship/a", 10), "");
}

TEST_F(TwinSides, AHandOverMakesAnOwnerThatHasNotHeardOfItLose) {
  Side second{schedule, 3, Layer::edge};
  DeviceRecord record{};
  record.node = "edge-1";
  ASSERT_TRUE(hub.put(record).ok());
  exchange(hub, edge);
  ASSERT_TRUE(edge.report("temp", {.value = "1"}).ok());
  ASSERT_TRUE(hub.hand_over("edge-2").ok());
  EXPECT_TRUE(hub.hand_over("edge-2")->dots.empty());
  EXPECT_EQ(hub.devices.get("pump")->owner_term, 1u);
  exchange(hub, second);
  ASSERT_TRUE(second.report("temp", {.value = "2"}).ok());
  schedule.run_for(month);
  ASSERT_TRUE(edge.report("temp", {.value = "3"}).ok()) << "later, by an owner of before";
  exchange(hub, edge);
  exchange(hub, second);
  exchange(hub, edge);
  for (const Side* side : {&hub, &edge, &second}) {
    EXPECT_EQ(side->view("temp").reported->value, "2");
    EXPECT_EQ(side->view("temp").other_reports.size(), 1u) << "and is shown";
  }
  ASSERT_TRUE(second.report("temp", {.value = "4"}).ok());
  EXPECT_TRUE(second.view("temp").other_reports.empty()) << "the owner ends what it sees";
  DeviceRecord moved{};
  moved.node = "edge-1";
  ASSERT_TRUE(hub.put(moved).ok());
  EXPECT_EQ(hub.devices.get("pump")->owner_term, 2u) << "to put another node is a hand-over";
  EXPECT_EQ(hub.hand_over("edge-3").ok(), true);
  ASSERT_TRUE(hub.remove().ok());
  EXPECT_EQ(hub.hand_over("edge-3").error().code, Code::not_found);
}

// ---- laws

// What either side does at random, in terms of three properties and one device.
void act(Side& side, sim::Rng& rng) {
  const std::string property(1, static_cast<char>('a' + rng.below(3)));
  const std::string number = std::to_string(rng.below(50));
  const auto view = side.twins.view("pump");
  switch (rng.below(9)) {
    case 0:
    case 1:
    case 2: (void)side.desire(property, number, "x"); break;
    case 3: (void)side.desire(property, std::nullopt); break;
    case 4: (void)side.release(property); break;
    case 5: (void)side.restore(property); break;
    case 6: (void)side.report(property, {.value = number}); break;
    case 7: {
      Twins::Describe describe{};
      describe.attributes["k" + number.substr(0, 1)] = number;
      (rng.chance(0.5) ? describe.add_tags : describe.remove_tags) = {"t" + property};
      (void)side.describe(describe);
      break;
    }
    default: {
      Twins::Desire desire{};
      desire.device = "pump";
      desire.values[property] = number;
      desire.take_back = true;
      (void)side.desire(desire);
    }
  }
}

// Some chunks of `from` that `to` may lack, in any order, some twice.
void give_some(Side& from, Side& to, sim::Rng& rng) {
  std::vector<std::string> chunks;
  for (const RunId& run : from.node.log->runs()) {
    for (const Stream stream : {Stream::desired, Stream::reported, Stream::document}) {
      auto read = from.node.log->read({run, stream}, 1, 1 << 30);
      for (auto& chunk : *read) chunks.push_back(std::move(chunk.bytes));
    }
  }
  for (std::size_t i = chunks.size(); i > 1; --i) std::swap(chunks[i - 1], chunks[rng.below(i)]);
  for (auto& chunk : chunks) {
    if (rng.chance(0.4)) to.node.log->ingest(chunk, [](const Status& status) { EXPECT_TRUE(status.ok()); });
  }
  to.node.run_for(std::chrono::seconds(1));
}

TEST(TwinLaws, WhateverIsWrittenAndHoweverItTravelsBothSidesShowTheSame) {
  constexpr Policy policies[] = {Policy::cloud_wins, Policy::edge_sticky, Policy::latest,
                                 Policy::safe_min,   Policy::safe_max,    Policy::manual};
  int conflicts = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    sim::Schedule schedule(seed);
    Side hub(schedule, 1, Layer::cloud), edge(schedule, 2, Layer::edge);
    sim::Rng rng(seed * 977);
    DeviceRecord record{};
    std::map<std::string, PropertyDefinition> properties;
    for (const char* name : {"a", "b", "c"}) properties[name] = {.type = "int", .policy = policies[rng.below(6)]};
    ASSERT_TRUE(hub.put(record, properties).ok());
    exchange(hub, edge);
    for (int step = 0; step < 30; ++step) {
      Side& side = rng.chance(0.5) ? hub : edge;
      if (rng.chance(0.2))
        side.node.loop.set_wall_skew_ms(static_cast<std::int64_t>(rng.below(200'000'000)) - 100'000'000);
      act(side, rng);
      if (rng.chance(0.15)) give_some(hub, edge, rng);
      if (rng.chance(0.15)) give_some(edge, hub, rng);
    }
    exchange(hub, edge);
    const std::string json = hub.json();
    ASSERT_EQ(json, edge.json());
    conflicts += json.find("\"conflict\":true") != std::string::npos ? 1 : 0;
    EXPECT_EQ(hub.node.log->pending_supersedes() + edge.node.log->pending_supersedes(), 0u);
    ASSERT_TRUE(hub.remove().ok());
    exchange(hub, edge);
    EXPECT_EQ(edge.twins.view("pump").error().code, Code::not_found) << "deleted by somebody who saw everything";
  }
  EXPECT_GE(conflicts, 10) << "the writers must have met";
}

}  // namespace
}  // namespace landfall
