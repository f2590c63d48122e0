// Property: no ack and no clear ever hides a raise that its author had not seen, and nodes that hold the same events show
// the same alarms.
#include "devicetwin/alarms.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "schemas/limits.h"
#include "tests/devicetwin/state_node.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;
using test::StateNode;

struct Party {
  Party(sim::Schedule& schedule, std::uint8_t number) : node(schedule, number), alarms(*node.objects) {}
  StateNode node;
  Alarms alarms;

  Result<Written> raise(std::string text = "bilge high", std::string severity = "critical") {
    return node.wait([&](OnWritten done) {
      alarms.raise({"pump-1", "bilge", severity, text, "sensor"}, std::move(done));
    });
  }
  Result<Written> clear() {
    return node.wait([&](OnWritten done) { alarms.clear("pump-1", "bilge", "sensor", {}, std::move(done)); });
  }
  Result<Written> acknowledge(std::string actor, std::optional<Dot> occurrence = {}) {
    return node.wait(
        [&](OnWritten done) { alarms.acknowledge("pump-1", "bilge", occurrence, actor, std::move(done)); });
  }
  Result<Written> shelve(std::int64_t until) {
    return node.wait([&](OnWritten done) { alarms.shelve("pump-1", "bilge", until, "mate", std::move(done)); });
  }
  AlarmView view() {
    auto view = alarms.view("pump-1", "bilge");
    EXPECT_TRUE(view.ok());
    return view ? *view : AlarmView{};
  }
};

class AlarmsTest : public ::testing::Test {
 protected:
  sim::Schedule schedule{7};
  Party ship{schedule, 1}, office{schedule, 2};
  void meet() { exchange(ship.node, office.node); }
};
using Alarm = AlarmsTest;

TEST_F(Alarm, IsRaisedClearedAndAcknowledged) {
  EXPECT_EQ(ship.alarms.view("pump-1", "bilge").error().code, Code::not_found);
  EXPECT_EQ(ship.acknowledge("mate").error().code, Code::not_found);
  ASSERT_TRUE(ship.raise().ok());
  EXPECT_TRUE(ship.view().active);
  EXPECT_FALSE(ship.view().acknowledged);
  EXPECT_EQ(ship.view().severity, "critical");
  EXPECT_EQ(ship.view().text, "bilge high");
  ASSERT_TRUE(ship.clear().ok());
  EXPECT_FALSE(ship.view().active);
  EXPECT_TRUE(ship.view().is_open()) << "it came and went and nobody has seen it";
  ASSERT_TRUE(ship.acknowledge("mate").ok());
  EXPECT_FALSE(ship.view().is_open());
  EXPECT_EQ(ship.acknowledge("mate").error().code, Code::not_found);
}

TEST_F(Alarm, RaisedWhileActiveIsTheSameOccurrenceBroughtUpToDate) {
  ASSERT_TRUE(ship.raise().ok());
  const Dot dot = ship.view().occurrences.at(0).dot;
  ASSERT_TRUE(ship.acknowledge("mate").ok());
  EXPECT_TRUE(ship.raise()->dots.empty()) << "nothing has changed";
  ASSERT_TRUE(ship.raise("bilge very high", "major").ok());
  const AlarmView view = ship.view();
  ASSERT_EQ(view.occurrences.size(), 1u);
  EXPECT_EQ(view.occurrences[0].dot, dot);
  EXPECT_EQ(view.text, "bilge very high");
  EXPECT_EQ(view.severity, "major");
  EXPECT_TRUE(view.acknowledged);
}

// Scenario 16 of the design.
TEST_F(Alarm, AckOfTheFirstOccurrenceLeavesAConcurrentRaiseUnacknowledged) {
  ASSERT_TRUE(ship.raise().ok());
  meet();
  const Dot first = office.view().occurrences.at(0).dot;
  ASSERT_TRUE(office.acknowledge("office").ok());
  ASSERT_TRUE(ship.clear().ok());
  ASSERT_TRUE(ship.raise("again").ok());
  meet();
  for (Party* party : {&ship, &office}) {
    const AlarmView view = party->view();
    EXPECT_TRUE(view.active);
    EXPECT_FALSE(view.acknowledged);
    EXPECT_EQ(view.text, "again");
    ASSERT_EQ(view.occurrences.size(), 2u);
    EXPECT_TRUE(view.occurrences[0].acks.empty());
    EXPECT_FALSE(view.occurrences[0].cleared);
    EXPECT_EQ(view.occurrences[1].dot, first);
    EXPECT_EQ(view.occurrences[1].acks.at(0).actor, "office");
    EXPECT_TRUE(view.occurrences[1].cleared);
  }
  EXPECT_EQ(alarm_json(ship.view()), alarm_json(office.view()));
  // The office's word on the first says nothing of the second; naming the second does.
  EXPECT_EQ(office.acknowledge("office", first).error().code, Code::not_found);
  ASSERT_TRUE(office.acknowledge("office", office.view().occurrences[0].dot).ok());
  meet();
  EXPECT_TRUE(ship.view().acknowledged);
}

TEST_F(Alarm, TwoAcksByTwoPeopleAreOneAcknowledgedAlarmWithBoth) {
  ASSERT_TRUE(ship.raise().ok());
  meet();
  ASSERT_TRUE(office.acknowledge("office").ok());
  ASSERT_TRUE(ship.acknowledge("mate").ok());
  meet();
  for (Party* party : {&ship, &office}) {
    const AlarmView view = party->view();
    EXPECT_TRUE(view.active);
    EXPECT_TRUE(view.acknowledged);
    ASSERT_EQ(view.occurrences.size(), 1u);
    std::set<std::string> actors;
    for (const auto& ack : view.occurrences[0].acks) actors.insert(ack.actor);
    EXPECT_EQ(actors, (std::set<std::string>{"mate", "office"}));
  }
}

TEST_F(Alarm, ClearedAshoreStaysActiveWhereItWasRaisedAgainUnseen) {
  ASSERT_TRUE(ship.raise().ok());
  meet();
  ASSERT_TRUE(office.clear().ok());
  ASSERT_TRUE(ship.clear().ok());
  ASSERT_TRUE(ship.raise().ok());
  meet();
  EXPECT_TRUE(ship.view().active);
  EXPECT_TRUE(office.view().active);
}

TEST_F(Alarm, RaisedOnBothSidesIsTwoOccurrencesThatOneClearEnds) {
  ASSERT_TRUE(ship.raise("by the ship").ok());
  ASSERT_TRUE(office.raise("by the office").ok());
  meet();
  EXPECT_EQ(ship.view().occurrences.size(), 2u);
  ASSERT_TRUE(office.clear().ok());
  meet();
  EXPECT_FALSE(ship.view().active);
}

TEST_F(Alarm, AckThatComesBeforeItsRaiseCountsOnceThatIsHere) {
  ASSERT_TRUE(ship.raise().ok());
  meet();
  ASSERT_TRUE(office.acknowledge("office").ok());
  // A third party hears the office first, and raises the alarm itself.
  Party yard(schedule, 3);
  const RunStream of{office.node.log->run(), Stream::alarm};
  const auto acked = office.node.log->read(of, 1, 1 << 20);
  ASSERT_TRUE(acked.ok());
  for (const auto& chunk : *acked) yard.node.log->ingest(chunk.bytes, [](const Status& s) { EXPECT_TRUE(s.ok()); });
  yard.node.run_for(1s);
  EXPECT_TRUE(yard.view().occurrences.empty());
  EXPECT_FALSE(yard.view().is_open());
  ASSERT_TRUE(yard.raise("by the yard").ok());
  exchange(yard.node, ship.node);
  const AlarmView view = yard.view();
  ASSERT_EQ(view.occurrences.size(), 2u);
  EXPECT_TRUE(view.occurrences[0].acks.empty()) << "the yard's own";
  EXPECT_EQ(view.occurrences[1].acks.size(), 1u) << "the ship's, acknowledged by the office";
}

TEST_F(Alarm, LeavesNothingBehindWhereItIsAcknowledgedEachTime) {
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(ship.raise().ok());
    ASSERT_TRUE(ship.clear().ok());
    ASSERT_TRUE(ship.acknowledge("mate").ok());
  }
  ASSERT_TRUE(ship.raise().ok());
  EXPECT_EQ(ship.view().occurrences.size(), 1u);
  EXPECT_EQ(ship.node.log->state(Stream::alarm, "alarm/pump-1/bilge")->size(), 2u) << "the raise and what it says";
}

TEST_F(Alarm, KeepsFewOfWhatNobodyAcknowledges) {
  for (std::size_t i = 0; i < 3 * alarm_occurrences_max; ++i) {
    ASSERT_TRUE(ship.raise().ok());
    EXPECT_TRUE(ship.view().active);
    ASSERT_TRUE(ship.clear().ok());
  }
  EXPECT_EQ(ship.view().occurrences.size(), alarm_occurrences_max);
  EXPECT_FALSE(ship.view().acknowledged);
  EXPECT_LE(ship.node.log->state(Stream::alarm, "alarm/pump-1/bilge")->size(), 2 * alarm_occurrences_max + 1);
}

// An ack of an occurrence that a raise took the place of meanwhile is swept up by the raise after it.
TEST_F(Alarm, SweepsUpAcksOfOccurrencesThatAreGone) {
  ASSERT_TRUE(ship.raise().ok());
  ASSERT_TRUE(ship.clear().ok());
  meet();
  ASSERT_TRUE(office.acknowledge("office").ok());
  ASSERT_TRUE(ship.acknowledge("mate").ok());
  ASSERT_TRUE(ship.raise().ok());
  meet();
  EXPECT_EQ(ship.view().occurrences.size(), 1u);
  EXPECT_FALSE(ship.view().acknowledged);
  EXPECT_EQ(ship.node.log->state(Stream::alarm, "alarm/pump-1/bilge")->size(), 3u) << "with the office's ack";
  ASSERT_TRUE(ship.clear().ok());
  ASSERT_TRUE(ship.acknowledge("mate").ok());
  ASSERT_TRUE(ship.raise().ok());
  EXPECT_EQ(ship.node.log->state(Stream::alarm, "alarm/pump-1/bilge")->size(), 2u);
}

TEST_F(Alarm, IsShelvedUntilTheOwnersTimerSaysSo) {
  ASSERT_TRUE(ship.raise().ok());
  meet();
  office.alarms.start(office.node.loop, [](const std::string&) { return false; });
  ship.alarms.start(ship.node.loop, [](const std::string& device) { return device == "pump-1"; });
  const std::int64_t until = office.node.loop.unix_ms() + 3'600'000;
  ASSERT_TRUE(office.shelve(until).ok());
  EXPECT_EQ(office.view().shelved_until_ms, until);
  meet();
  EXPECT_TRUE(ship.view().shelved);
  schedule.run_for(59min);
  EXPECT_TRUE(ship.view().shelved);
  schedule.run_for(2min);
  EXPECT_FALSE(ship.view().shelved);
  EXPECT_TRUE(office.view().shelved) << "nobody ashore has heard of it, whatever the clock says there";
  meet();
  EXPECT_FALSE(office.view().shelved);
  EXPECT_EQ(office.view().shelved_until_ms, 0);
}

TEST_F(Alarm, IsShelvedAgainWhileTheTimerEndsWhatItKnew) {
  ASSERT_TRUE(ship.raise().ok());
  ship.alarms.start(ship.node.loop, [](const std::string&) { return true; });
  ASSERT_TRUE(ship.shelve(ship.node.loop.unix_ms() + 60'000).ok());
  meet();
  const std::int64_t until = office.node.loop.unix_ms() + 7'200'000;
  ASSERT_TRUE(office.shelve(until).ok());
  schedule.run_for(5min);
  EXPECT_FALSE(ship.view().shelved);
  meet();
  EXPECT_EQ(ship.view().shelved_until_ms, until);
  ASSERT_TRUE(
      ship.node.wait([&](OnWritten done) { ship.alarms.unshelve("pump-1", "bilge", "mate", std::move(done)); }).ok());
  EXPECT_FALSE(ship.view().shelved);
}

TEST_F(Alarm, ThatIsShelvedBeforeARestartEndsAfterIt) {
  ASSERT_TRUE(ship.raise().ok());
  ASSERT_TRUE(ship.shelve(ship.node.loop.unix_ms() + 60'000).ok());
  Alarms again(*ship.node.objects);
  again.start(ship.node.loop, [](const std::string&) { return true; });
  schedule.run_for(3min);
  EXPECT_FALSE(ship.view().shelved);
}

TEST_F(Alarm, ListsOpenOnesInOrder) {
  const auto raise = [&](std::string device, std::string name) {
    ASSERT_TRUE(ship.node
                    .wait([&](OnWritten done) {
                      ship.alarms.raise({device, name, "minor", "", "sensor"}, std::move(done));
                    })
                    .ok());
  };
  for (const char* name : {"b", "a", "c"}) {
    raise("pump-1", name);
    raise("deck/pump-1", name);
  }
  ASSERT_TRUE(ship.node.wait([&](OnWritten done) { ship.alarms.clear("pump-1", "b", "", {}, std::move(done)); }).ok());
  ASSERT_TRUE(
      ship.node.wait([&](OnWritten done) { ship.alarms.acknowledge("pump-1", "b", {}, "m", std::move(done)); }).ok());
  const auto names = [&](Alarms::Which which, std::string prefix, std::string after, std::size_t limit) {
    std::vector<std::string> found;
    const auto list = ship.alarms.list(which, prefix, after, limit);
    EXPECT_TRUE(list.ok());
    for (const auto& view : *list) found.push_back(view.device + "/" + view.name);
    return found;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(Alarms::Which::open, "", "", 10),
            (Names{"deck/pump-1/a", "deck/pump-1/b", "deck/pump-1/c", "pump-1/a", "pump-1/c"}));
  EXPECT_EQ(names(Alarms::Which::all, "pump-1", "", 10), (Names{"pump-1/a", "pump-1/b", "pump-1/c"}));
  EXPECT_EQ(names(Alarms::Which::open, "pump-1", "pump-1/a", 1), (Names{"pump-1/c"}));
}

TEST_F(Alarm, RefusesWhatCannotBeAndWritesNothing) {
  ship.node.run_for(1s);
  const auto before = ship.node.log->received();
  const auto refused = [&](std::string device, std::string name, std::string severity, std::string text) {
    auto result = ship.node.wait([&](OnWritten done) {
      ship.alarms.raise({std::move(device), std::move(name), std::move(severity), std::move(text), "x"},
                        std::move(done));
    });
    return !result && result.error().code == Code::out_of_range;
  };
  EXPECT_TRUE(refused("pump-1", "a/b", "major", ""));
  EXPECT_TRUE(refused("pump-1", "", "major", ""));
  EXPECT_TRUE(refused("", "a", "major", ""));
  EXPECT_TRUE(refused("a/b/c", "a", "major", ""));
  EXPECT_TRUE(refused("pump-1", "a", "terrible", ""));
  EXPECT_TRUE(refused("pump-1", "a", "major", std::string(alarm_text_bytes_max + 1, 'x')));
  EXPECT_EQ(ship.shelve(1).error().code, Code::not_found);
  EXPECT_EQ(ship.node.log->received(), before);
  EXPECT_TRUE(ship.clear()->dots.empty()) << "nothing to clear";
}

TEST_F(Alarm, ChangesAreToldByDeviceAndName) {
  std::vector<std::string> told;
  office.alarms.watch([&](const std::string& device, const std::string& name) { told.push_back(device + " " + name); });
  ASSERT_TRUE(ship.raise().ok());
  meet();
  ASSERT_TRUE(office.acknowledge("office").ok());
  EXPECT_EQ(told, (std::vector<std::string>{"pump-1 bilge", "pump-1 bilge"}));
}

TEST_F(Alarm, IsShownAsJson) {
  ASSERT_TRUE(ship.raise("\"quoted\"\n").ok());
  ASSERT_TRUE(ship.acknowledge("mate").ok());
  const auto json = nlohmann::json::parse(alarm_json(ship.view()));
  EXPECT_EQ(json["device"], "pump-1");
  EXPECT_EQ(json["text"], "\"quoted\"\n");
  EXPECT_EQ(json["active"], true);
  EXPECT_EQ(json["occurrences"][0]["acks"][0]["actor"], "mate");
  EXPECT_EQ(parse_dot(json["occurrences"][0]["dot"].get<std::string>()).value(), ship.view().occurrences[0].dot);
  EXPECT_TRUE(json["occurrences"][0]["raised"].get<std::string>().starts_with("2026-"));
}

}  // namespace
}  // namespace landfall
