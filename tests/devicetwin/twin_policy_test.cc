// Property: which write of a desired value is effective follows from the policy and from what each writer had seen, by the
// table of README.md; what is not effective is shown, whatever the policy.
#include <gtest/gtest.h>

#include "tests/devicetwin/twin_entries.h"

namespace landfall {
namespace {

using test::dot;

// A live write of property "p", named by a letter, later letters by nodes of their own.
struct Write {
  char name;
  Layer layer;
  std::int64_t time_ms;
  std::string json;
  std::string seen = {};  // names of the writes it knew
  ClockClass clock = ClockClass::synced;
};

struct Case {
  const char* says;
  Policy policy;
  std::vector<Write> live;
  char effective;  // '-': none
  bool conflict;
};

std::uint8_t node_of(char name) { return static_cast<std::uint8_t>(name - 'a' + 1); }
char name_of(const Dot& of) { return static_cast<char>('a' + of.run.node.bytes[0] - 1); }

PropertyView view(const Case& of) {
  Entries desired;
  for (const Write& write : of.live) {
    TwinValue value{.json = write.json, .actor = "somebody"};
    for (const char name : write.seen) value.seen.push_back(dot(node_of(name), 1));
    std::ranges::sort(value.seen);
    desired.push_back(test::entry(write.layer == Layer::cloud ? "/p/p/c" : "/p/p/e", dot(node_of(write.name), 1),
                                  write.time_ms, value, write.clock));
  }
  const Entries document = {test::definition("p", {.type = "float", .policy = of.policy})};
  std::size_t unreadable = 0;
  const TwinView twin = view_twin("pump", test::ordered(desired), {}, document, &unreadable);
  EXPECT_EQ(unreadable, 0u);
  return twin.properties.at("p");
}

constexpr auto cloud = Layer::cloud;
constexpr auto edge = Layer::edge;

const std::vector<Case> cases = {
    // ---- cloud-wins
    {"only the cloud", Policy::cloud_wins, {{'c', cloud, 1, "1"}}, 'c', false},
    {"only an override", Policy::cloud_wins, {{'e', edge, 1, "1"}}, 'e', false},
    {"an override made knowing the cloud value",
     Policy::cloud_wins,
     {{'c', cloud, 1, "1"}, {'e', edge, 2, "2", "c"}},
     'e',
     false},
    {"the same from a clock that is behind",
     Policy::cloud_wins,
     {{'c', cloud, 9, "1"}, {'e', edge, 2, "2", "c"}},
     'e',
     false},
    {"an override that did not know the cloud value, though later by clock",
     Policy::cloud_wins,
     {{'c', cloud, 1, "1"}, {'e', edge, 9, "2"}},
     'c',
     true},
    {"the cloud wrote again, seeing the override",
     Policy::cloud_wins,
     {{'c', cloud, 3, "1", "e"}, {'e', edge, 2, "2"}},
     'c',
     false},
    {"an override that knew one of two cloud writes",
     Policy::cloud_wins,
     {{'c', cloud, 1, "1"}, {'d', cloud, 2, "3"}, {'e', edge, 9, "2", "c"}},
     'd',
     true},
    {"an override that knew both of two cloud writes",
     Policy::cloud_wins,
     {{'c', cloud, 1, "1"}, {'d', cloud, 2, "3"}, {'e', edge, 1, "2", "cd"}},
     'e',
     false},
    {"of two overrides the one that knew the cloud, though earlier",
     Policy::cloud_wins,
     {{'c', cloud, 1, "1"}, {'e', edge, 2, "2", "c"}, {'f', edge, 9, "3"}},
     'e',
     true},
    {"a stamp of the year 9999 does not help an override that did not know",
     Policy::cloud_wins,
     {{'c', cloud, 1, "1"}, {'e', edge, 253'402'300'799'999, "2"}},
     'c',
     true},
    // ---- edge-sticky
    {"the override holds against a cloud value it did not know",
     Policy::edge_sticky,
     {{'c', cloud, 9, "1"}, {'e', edge, 2, "2"}},
     'e',
     true},
    {"the override holds against one that knew it: the cloud wants another",
     Policy::edge_sticky,
     {{'c', cloud, 9, "1", "e"}, {'e', edge, 2, "2"}},
     'e',
     true},
    {"the override knew the cloud value",
     Policy::edge_sticky,
     {{'c', cloud, 1, "1"}, {'e', edge, 2, "2", "c"}},
     'e',
     false},
    {"no override", Policy::edge_sticky, {{'c', cloud, 1, "1"}}, 'c', false},
    {"two overrides at once: the later", Policy::edge_sticky, {{'e', edge, 2, "1"}, {'f', edge, 3, "2"}}, 'f', true},
    {"two cloud values at once and no override",
     Policy::edge_sticky,
     {{'c', cloud, 2, "1"}, {'d', cloud, 3, "2"}},
     'd',
     true},
    // ---- latest
    {"concurrent: the later by clock", Policy::latest, {{'c', cloud, 3, "1"}, {'e', edge, 2, "2"}}, 'c', true},
    {"concurrent: a trusted clock before a later stamp",
     Policy::latest,
     {{'c', cloud, 3, "1"}, {'e', edge, 9, "2", "", ClockClass::untrusted}},
     'c',
     true},
    {"the one that knew the other, though earlier by clock",
     Policy::latest,
     {{'c', cloud, 9, "1"}, {'e', edge, 2, "2", "c"}},
     'e',
     false},
    {"the cloud knew the override", Policy::latest, {{'c', cloud, 2, "1", "e"}, {'e', edge, 9, "2"}}, 'c', false},
    {"of two that nobody knew the later",
     Policy::latest,
     {{'c', cloud, 9, "1"}, {'d', cloud, 5, "2"}, {'e', edge, 2, "3", "c"}},
     'd',
     true},
    // ---- safe-min and safe-max
    {"the least of all",
     Policy::safe_min,
     {{'c', cloud, 1, "10"}, {'d', cloud, 1, "9.5"}, {'e', edge, 1, "-2e1"}},
     'e',
     true},
    {"the greatest of all",
     Policy::safe_max,
     {{'c', cloud, 1, "10"}, {'d', cloud, 1, "9.5"}, {'e', edge, 1, "-2e1"}},
     'c',
     true},
    {"numbers as text compare as numbers",
     Policy::safe_min,
     {{'c', cloud, 1, "\"10\""}, {'e', edge, 9, "\"9\""}},
     'e',
     true},
    {"beyond what a float can tell apart",
     Policy::safe_max,
     {{'c', cloud, 1, "9007199254740993"}, {'e', edge, 9, "9007199254740992"}},
     'c',
     true},
    {"equal numbers are no conflict", Policy::safe_min, {{'c', cloud, 1, "2"}, {'e', edge, 9, "2.0"}}, 'e', false},
    {"what is no number falls back to the latest",
     Policy::safe_min,
     {{'c', cloud, 1, "1"}, {'e', edge, 9, "\"open\""}},
     'e',
     true},
    {"one value alone", Policy::safe_max, {{'e', edge, 9, "\"open\""}}, 'e', false},
    // ---- manual
    {"one value needs no hand", Policy::manual, {{'c', cloud, 1, "1"}}, 'c', false},
    {"two hold the device where it is", Policy::manual, {{'c', cloud, 1, "1"}, {'e', edge, 2, "2", "c"}}, '-', true},
};

TEST(TwinPolicy, DecidesByWhatWasSeen) {
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(to_string(c.policy)) + ": " + c.says);
    const PropertyView property = view(c);
    EXPECT_EQ(property.desired ? name_of(property.desired->dot) : '-', c.effective);
    EXPECT_EQ(property.conflict, c.conflict);
    // Nothing is dropped.
    EXPECT_EQ(property.others.size() + (property.desired ? 1 : 0), c.live.size());
    for (std::size_t i = 1; i < property.others.size(); ++i)
      EXPECT_GE(property.others[i - 1].time, property.others[i].time) << "newest first";
  }
}

// Every case again with the clocks turned round: where no policy had to fall back to them, nothing changes.
TEST(TwinPolicy, ClocksDecideOnlyBetweenConcurrentWrites) {
  int held = 0;
  for (Case c : cases) {
    const bool by_seen = (c.policy == Policy::cloud_wins || c.policy == Policy::latest) && !c.conflict;
    if (!by_seen) continue;
    SCOPED_TRACE(std::string(to_string(c.policy)) + ": " + c.says);
    for (Write& write : c.live) write.time_ms = 1'000'000 - write.time_ms;
    const PropertyView property = view(c);
    EXPECT_EQ(property.desired ? name_of(property.desired->dot) : '-', c.effective);
    ++held;
  }
  EXPECT_GE(held, 7);
}

TEST(TwinPolicy, IsAWordInBothDirections) {
  for (const auto policy :
       {Policy::cloud_wins, Policy::edge_sticky, Policy::latest, Policy::safe_min, Policy::safe_max, Policy::manual}) {
    ASSERT_TRUE(parse_policy(to_string(policy)).ok());
    EXPECT_EQ(*parse_policy(to_string(policy)), policy);
  }
  EXPECT_EQ(parse_policy("cloudwins").error().code, Code::out_of_range);
}

}  // namespace
}  // namespace landfall
