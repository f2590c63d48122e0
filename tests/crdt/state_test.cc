// Properties: the invariants of apply and join, each by itself, and the scenarios that concern delivery alone.

#include "crdt/state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "crdt/register.h"
#include "crdt/set.h"
#include "schemas/limits.h"
#include "tests/crdt/laws.h"
#include "tests/crdt/replica.h"

namespace landfall::crdt_test {
namespace {

Event event_of(const Made& made, std::string& payload) {
  auto ops = made.ops;
  payload = encode_ops(ops, {made.dot.run, made.dot.stream}).value();
  Event event;
  event.time = made.time;
  event.clock = made.clock;
  event.kind = Kind::change;
  event.subject = made.object;
  event.payload = payload;
  return event;
}

void apply(State& state, const Made& made) {
  std::string payload;
  ASSERT_TRUE(state.apply(made.dot, event_of(made, payload)).ok());
}

std::set<Oracle::Place> live_of(const State& state) {
  std::set<Oracle::Place> live;
  for (const std::string& object : state.objects(Stream::document)) {
    for (const Entry& entry : state.object(Stream::document, object)) live.insert({object, entry.path, entry.dot});
  }
  return live;
}

TEST(State, NeverForgetsAnEventAndNeverBringsAWriteBack) {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const History history = random_history(rng, {});
    std::vector<const Made*> order;
    for (const Made& made : history.events) order.push_back(&made), order.push_back(&made);
    std::ranges::shuffle(order, rng);
    State state, other;
    std::set<Oracle::Place> live, gone;
    for (const Made* made : order) {
      const ReceivedContext before = state.received();
      apply(chance(rng, 30) ? other : state, *made);
      if (chance(rng, 10)) state.join(other);
      ReceivedContext more = before;
      more.join(state.received());
      ASSERT_EQ(more, state.received());
      const auto now = live_of(state);
      for (const auto& place : live) {
        if (!now.contains(place)) gone.insert(place);
      }
      for (const auto& place : now) ASSERT_FALSE(gone.contains(place)) << "a write came back";
      live = now;
    }
  }
}

TEST(State, KeepsNoMoreSiblingsThanThereAreWriters) {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    HistoryOptions options;
    options.may_guess = false;
    const History history = random_history(rng, options);
    State state;
    for (const Made& made : history.events) apply(state, made);
    std::set<RunId> writers;
    for (const Made& made : history.events) writers.insert(made.dot.run);
    for (const std::string& object : state.objects(Stream::document)) {
      const Entries entries = state.object(Stream::document, object);
      for (const Entry& entry : entries) ASSERT_LE(at(entries, entry.path).size(), writers.size());
    }
  }
}

TEST(State, ADeleteRemovesExactlyWhatItLists) {
  Replica a(1), b(2);
  a.write(put_op(a.see(), "/x", "1"));
  b.write(put_op(b.see(), "/x", "2"));
  a.write(erase_op(a.see(), "/x"));
  exchange({&a, &b});
  ASSERT_EQ(a.see().size(), 1u);
  EXPECT_EQ(a.see()[0].value, "2");
}

TEST(State, ALocalWriteIsSeenAtOnceAndFollowsWhatItsAuthorSaw) {
  Replica a(1), b(2);
  b.write(put_op(b.see(), "/x", "\"from a clock far ahead\""));
  a.hear(b);
  Op op = put_op(a.see(), "/x", "\"mine\"");
  std::vector<Op> ops{op};
  Event event;
  event.kind = Kind::change;
  event.subject = "o";
  const std::string payload = encode_ops(ops, {a.run(), Stream::document}).value();
  event.payload = payload;  // its time is 0, its clock untrusted
  ASSERT_TRUE(a.state.apply({a.run(), Stream::document, 1}, event).ok());
  ASSERT_EQ(a.see().size(), 1u);
  EXPECT_EQ(latest(a.see())->value, "\"mine\"");
}

TEST(Scenario14, ReversedTripledAndCutAnywhereGivesTheSameState) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    HistoryOptions options;
    options.steps = 60;
    const History history = random_history(rng, options);
    State once, hostile;
    for (const Made& made : history.events) apply(once, made);
    for (auto made = history.events.rbegin(); made != history.events.rend(); ++made) {
      for (int i = 0; i < 3; ++i) apply(hostile, *made);
    }
    ASSERT_EQ(once, hostile);
    std::vector<const Made*> all;
    for (const Made& made : history.events) all.push_back(&made);
    ASSERT_EQ(once, heard(all, rng));
  }
}

TEST(Scenario15, AlarmsAheadOfTheirContextAreThereAtOnceAndNothingStaysPending) {
  Replica edge(1, Stream::alarm), config(1, Stream::document);
  config.write(put_op(config.see(), "/limit", "80"));
  config.write(put_op(config.see(), "/limit", "90"));
  edge.write(put_op(edge.see(), "/raised", "{\"limit\":90}"));
  edge.write(put_op(edge.see(), "/severity", "2"));
  edge.write(put_op(edge.see(), "/severity", "1"));
  State hub;
  // The newest first within the lane, and the lane a day before the other.
  for (const std::size_t i : {2u, 0u, 1u}) {
    ASSERT_TRUE(hub.apply(edge.written[i].dot, edge.written[i].event()).ok());
    EXPECT_EQ(latest(at(hub.object(Stream::alarm, "o"), "/severity"))->value, "1");
    EXPECT_EQ(hub.pending(), i == 1 ? 0u : 1u);
  }
  EXPECT_EQ(at(hub.object(Stream::alarm, "o"), "/raised").size(), 1u);
  for (const std::size_t i : {1u, 0u}) ASSERT_TRUE(hub.apply(config.written[i].dot, config.written[i].event()).ok());
  EXPECT_EQ(hub.pending(), 0u);
  EXPECT_EQ(at(hub.object(Stream::document, "o"), "/limit").size(), 1u);
}

// Occurrences and acknowledgements as sets of their dots: an acknowledgement names what it saw.
TEST(Scenario16, AnAcknowledgementNeverHidesAReRaiseItHasNotSeen) {
  Replica device(1, Stream::alarm), bridge(2, Stream::alarm), office(3, Stream::alarm);
  const Written* first = device.write(add_element_op(device.see(), "/raised", "1"));
  bridge.hear(*first), office.hear(*first);
  device.write(add_element_op(device.see(), "/raised", "2"));
  bridge.write(add_element_op(bridge.see(), "/acks/1", "mate"));
  office.write(add_element_op(office.see(), "/acks/1", "agent"));
  exchange({&device, &bridge, &office});
  for (const Replica* replica : {&device, &bridge, &office}) {
    const Entries entries = replica->see();
    EXPECT_EQ(elements(entries, "/raised"), (std::vector<std::string>{"1", "2"}));
    EXPECT_EQ(elements(entries, "/acks/1"), (std::vector<std::string>{"agent", "mate"}));
    EXPECT_TRUE(elements(entries, "/acks/2").empty());
  }
}

TEST(State, AppliesNothingOfAnEventThatDoesNotDecode) {
  Replica a(1);
  a.write({put_op(a.see(), "/x", "1"), put_op(a.see(), "/y", "2")});
  const State before = a.state;
  Event event = a.written[0].event();
  const std::string cut(event.payload.substr(0, event.payload.size() - 1));
  event.payload = cut;
  EXPECT_EQ(a.state.apply({a.run(), Stream::document, 2}, event).error().code, Code::corrupt);
  EXPECT_EQ(a.state, before);
  EXPECT_EQ(a.state.apply({a.run(), Stream::document, 0}, a.written[0].event()).error().code, Code::out_of_range);
  EXPECT_EQ(a.state, before);
}

TEST(State, AppliesTheRowsBeforeAFault) {
  Replica a(1);
  for (int i = 0; i < 3; ++i) a.write(put_op(a.see(), "/x", std::to_string(i)));
  std::string rows;
  for (const Written& written : a.written) {
    Event event = written.event();
    const std::string cut(event.payload.substr(0, event.payload.size() - 1));
    if (&written == &a.written[2]) event.payload = cut;
    ASSERT_TRUE(encode_row(event, rows).ok());
  }
  State state;
  const RunStream of{a.run(), Stream::document};
  EXPECT_EQ(state.apply_rows(of, 1, rows).error().code, Code::corrupt);
  EXPECT_EQ(state.received().base(of), 2u);
  EXPECT_EQ(state.object(Stream::document, "o")[0].value, "1");
  EXPECT_EQ(state.apply_rows(of, 0, rows).error().code, Code::out_of_range);
  EXPECT_EQ(state.apply_rows(of, seq_max, rows).error().code, Code::out_of_range);
  EXPECT_EQ(state.received().base(of), 2u);
}

TEST(State, ReceivesEventsOfOtherKindsWithoutChange) {
  Replica a(1);
  Event event;
  event.kind = Kind::message;
  event.subject = "topic";
  event.payload = "not ops";
  ASSERT_TRUE(a.state.apply({a.run(), Stream::document, 1}, event).ok());
  std::string rows;
  ASSERT_TRUE(encode_row(event, rows).ok());
  ASSERT_TRUE(a.state.apply_rows({a.run(), Stream::document}, 2, rows).ok());
  EXPECT_EQ(a.state.received().base({a.run(), Stream::document}), 2u);
  EXPECT_EQ(a.state.entries(), 0u);
}

TEST(State, EqualSetsAreEqualWhateverTheOrderOfTheirRuns) {
  Replica a(1), b(2);
  a.write(put_op(a.see(), "/x", "1"));
  b.write(put_op(b.see(), "/x", "2"));
  State ab = a.state, ba = b.state;
  ab.join(b.state);
  ba.join(a.state);
  EXPECT_EQ(ab, ba);
  EXPECT_EQ(ab.object(Stream::document, "o"), ba.object(Stream::document, "o"));
  State copy = ab;
  b.write(put_op(b.see(), "/x", "3"));
  copy.join(b.state);
  EXPECT_FALSE(copy == ab);
  EXPECT_EQ(ab.object(Stream::document, "o").size(), 2u) << "a copy is a value of its own";
}

}  // namespace
}  // namespace landfall::crdt_test
