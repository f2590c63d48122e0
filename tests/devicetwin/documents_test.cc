// Property: documents change by RFC 7396 on every node; what was written without knowing of each other is kept, shown the
// same everywhere, and listed.
#include "devicetwin/documents.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "schemas/limits.h"
#include "tests/devicetwin/state_node.h"

namespace landfall {
namespace {

using nlohmann::json;
using test::StateNode;
using Match = std::optional<std::string>;

struct Party {
  Party(sim::Schedule& schedule, std::uint8_t number) : node(schedule, number), documents(*node.objects) {}
  StateNode node;
  Documents documents;

  Result<Written> put(const std::string& text, Match match = {}, std::string name = "site/config") {
    return node.wait([&](OnWritten done) { documents.put(name, text, "me", match, std::move(done)); });
  }
  Result<Written> patch(const std::string& text, Match match = {}) {
    return node.wait([&](OnWritten done) { documents.patch("site/config", text, "me", match, std::move(done)); });
  }
  Result<Written> remove(Match match = {}) {
    return node.wait([&](OnWritten done) { documents.remove("site/config", "me", match, std::move(done)); });
  }
  Result<Written> annotate(std::string path, std::string how) {
    return node.wait([&](OnWritten done) { documents.annotate("site/config", path, how, "me", std::move(done)); });
  }
  Result<Written> settle(std::string path, std::optional<Dot> take) {
    return node.wait([&](OnWritten done) { documents.settle("site/config", path, take, "me", std::move(done)); });
  }
  NamedDocument view() {
    auto view = documents.view("site/config");
    EXPECT_TRUE(view.ok());
    return view ? *view : NamedDocument{};
  }
  json shown() { return json::parse(view().json); }
  std::size_t entries() { return node.log->state(Stream::document, "doc/site/config")->size(); }
};

class DocumentsTest : public ::testing::Test {
 protected:
  sim::Schedule schedule{7};
  Party ship{schedule, 1}, office{schedule, 2};
  void meet() {
    exchange(ship.node, office.node);
    const auto a = ship.documents.view("site/config"), b = office.documents.view("site/config");
    ASSERT_EQ(a.ok(), b.ok());
    if (!a) return;
    EXPECT_EQ(a->json, b->json);
    EXPECT_EQ(a->version, b->version);
    EXPECT_EQ(a->conflicts, b->conflicts);
  }
};
using ADocument = DocumentsTest;

TEST_F(ADocument, ChangesAsTheRfcSays) {
  EXPECT_EQ(ship.documents.view("site/config").error().code, Code::not_found);
  json expected = R"({"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},
                      "tags":["example","sample"],"content":"This will be unchanged","empty":{}})"_json;
  ASSERT_TRUE(ship.put(expected.dump()).ok());
  EXPECT_EQ(ship.shown(), expected);
  for (const char* patch :
       {R"({"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]})",
        R"({"author":{"familyName":{"a":1}}})", R"({"author":7})", R"({"author":{"x":{"y":{}}}})", R"({"empty":null})",
        R"({"title":[1,{"a":null}]})", R"({"nothing":null})", R"([1])", R"({"a":{"b":null,"c":1}})"}) {
    auto written = ship.patch(patch);
    ASSERT_TRUE(written.ok()) << written.error().detail;
    expected.merge_patch(json::parse(patch));
    EXPECT_EQ(ship.shown(), expected) << patch;
    EXPECT_EQ(written->version, ship.view().version);
  }
  ASSERT_TRUE(ship.put(R"({"a":{"c":1},"n":2})").ok());
  EXPECT_EQ(ship.view().json, R"({"a":{"c":1},"n":2})");
  EXPECT_TRUE(ship.put(R"({"n":2,"a":{"c":1}})")->dots.empty()) << "nothing is new";
}

TEST_F(ADocument, EditedOnBothSidesKeepsBothAndListsWhatItDoesNotShow) {
  ASSERT_TRUE(ship.put(R"({"speed":10,"route":{"to":"A"},"crew":[1]})").ok());
  meet();
  ASSERT_TRUE(ship.patch(R"({"speed":11,"route":{"via":"canal"}})").ok());
  schedule.run_for(std::chrono::seconds(5));
  ASSERT_TRUE(office.patch(R"({"speed":12,"route":{"eta":"noon"},"crew":null})").ok());
  meet();
  EXPECT_EQ(ship.shown(), R"({"speed":12,"route":{"to":"A","via":"canal","eta":"noon"}})"_json);
  ASSERT_EQ(office.view().conflicts.size(), 1u);
  const json conflict = json::parse(office.view().conflicts[0]);
  EXPECT_EQ(conflict["path"], "/speed");
  EXPECT_EQ(conflict["value"], 11);
  EXPECT_EQ(conflict["shown"], 12);
  EXPECT_TRUE(conflict["time"].get<std::string>().starts_with("2026-"));
  // The one that lost is one command away, on either side.
  ASSERT_TRUE(office.settle("/speed", parse_dot(conflict["dot"].get<std::string>()).value()).ok());
  meet();
  EXPECT_EQ(ship.shown()["speed"], 11);
  EXPECT_TRUE(ship.view().conflicts.empty());
  EXPECT_EQ(ship.settle("/speed", Dot{{{}, 1, 1}, Stream::document, 1}).error().code, Code::not_found);
}

TEST_F(ADocument, ShowsTheObjectWhereTheOtherWroteAText) {
  ASSERT_TRUE(ship.put(R"({"mode":"auto"})").ok());
  meet();
  ASSERT_TRUE(ship.patch(R"({"mode":"manual"})").ok());
  ASSERT_TRUE(office.patch(R"({"mode":{"name":"auto","limit":3}})").ok());
  meet();
  EXPECT_EQ(ship.shown(), R"({"mode":{"name":"auto","limit":3}})"_json);
  ASSERT_EQ(ship.view().conflicts.size(), 1u);
  const json conflict = json::parse(ship.view().conflicts[0]);
  EXPECT_EQ(conflict["value"], "manual");
  EXPECT_FALSE(conflict.contains("shown"));
}

TEST_F(ADocument, DeletedKeepsOnlyWhatItsDeleterDidNotSee) {
  ASSERT_TRUE(ship.put(R"({"a":1,"b":{"c":2}})").ok());
  meet();
  ASSERT_TRUE(office.remove().ok());
  EXPECT_EQ(office.documents.view("site/config").error().code, Code::not_found);
  ASSERT_TRUE(ship.patch(R"({"b":{"d":3}})").ok());
  meet();
  EXPECT_EQ(office.shown(), R"({"b":{"d":3}})"_json);
  ASSERT_TRUE(office.remove().ok());
  meet();
  EXPECT_EQ(ship.documents.view("site/config").error().code, Code::not_found);
  EXPECT_EQ(ship.remove().error().code, Code::not_found);
  EXPECT_EQ(ship.entries(), 0u);
}

TEST_F(ADocument, IsWrittenOnConditionOnly) {
  EXPECT_EQ(ship.put("{}", "*").error().code, Code::conflict);
  const auto first = ship.put(R"({"a":1})");
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(ship.patch(R"({"a":2})", first->version).ok());
  const auto late = ship.patch(R"({"a":3})", first->version);
  ASSERT_EQ(late.error().code, Code::conflict);
  EXPECT_NE(late.error().detail.find(ship.view().version), std::string::npos) << late.error().detail;
  ASSERT_TRUE(ship.put(R"({"a":4})", "*").ok());
  EXPECT_EQ(ship.remove(first->version).error().code, Code::conflict);
  ASSERT_TRUE(ship.remove(ship.view().version).ok());
}

TEST_F(ADocument, MergesAsItsAnnotationsSay) {
  ASSERT_TRUE(ship.put(R"({"tags":["a","b"],"hours":5,"limit":80,"plan":{"x":1},"n":1})").ok());
  for (auto [path, how] : {std::pair("/tags", "set"), {"/hours", "counter"}, {"/limit", "min"}, {"/plan", "atomic"}}) {
    auto annotated = ship.annotate(path, how);
    ASSERT_TRUE(annotated.ok()) << path << ": " << annotated.error().detail;
    EXPECT_TRUE(ship.annotate(path, how)->dots.empty());
  }
  EXPECT_EQ(ship.shown(), R"({"tags":["a","b"],"hours":5,"limit":80,"plan":{"x":1},"n":1})"_json);
  meet();
  ASSERT_TRUE(ship.patch(R"({"tags":["a","b","ship"],"hours":7,"limit":70,"plan":{"y":1}})").ok());
  ASSERT_TRUE(office.patch(R"({"tags":["b","office"],"hours":15,"limit":75,"plan":{"z":1}})").ok());
  meet();
  const json shown = ship.shown();
  EXPECT_EQ(shown["tags"], R"(["b","office","ship"])"_json);
  EXPECT_EQ(shown["hours"], 17);
  EXPECT_EQ(shown["limit"], 70);
  EXPECT_TRUE(shown["plan"] == R"({"x":1,"y":1})"_json || shown["plan"] == R"({"x":1,"z":1})"_json) << shown;
  std::map<std::string, json> conflicts;
  for (const std::string& conflict : ship.view().conflicts)
    conflicts[json::parse(conflict)["path"]] = json::parse(conflict);
  ASSERT_EQ(conflicts.size(), 2u);
  EXPECT_EQ(conflicts["/limit"]["value"], 75);
  EXPECT_TRUE(conflicts["/plan"].contains("parent")) << "a fork of something both had seen";
}

// There and back: what was a counter and is one again counts from what was shown.
TEST_F(ADocument, KeepsItsValueWhenTheWayItMergesChanges) {
  ASSERT_TRUE(ship.put(R"({"a":{"hours":5,"tags":["x"]},"b":1})").ok());
  const json expected = ship.shown();
  for (const char* how : {"counter", "atomic", "counter", "max", "counter", "fields"}) {
    auto annotated = ship.annotate("/a/hours", how);
    ASSERT_TRUE(annotated.ok()) << how << ": " << annotated.error().detail;
    EXPECT_EQ(ship.shown(), expected) << how;
  }
  for (const char* how : {"set", "atomic", "set", "fields", "set"}) {
    ASSERT_TRUE(ship.annotate("/a/tags", how).ok());
    EXPECT_EQ(ship.shown(), expected) << how;
  }
  for (const char* how : {"atomic", "fields"}) {
    ASSERT_TRUE(ship.annotate("", how).ok());
    EXPECT_EQ(ship.shown(), expected) << how;
  }
  EXPECT_EQ(ship.annotate("/b", "set").error().code, Code::out_of_range) << "a number is no array";
  EXPECT_EQ(ship.annotate("/b", "sideways").error().code, Code::out_of_range);
  EXPECT_EQ(ship.annotate("b", "set").error().code, Code::out_of_range);
  EXPECT_EQ(ship.shown(), expected);
}

TEST_F(ADocument, WithACounterIsGoneFromTheListOnceDeleted) {
  ASSERT_TRUE(ship.annotate("/hours", "counter").ok());
  EXPECT_TRUE(ship.documents.list("", "", 10)->empty()) << "it has an annotation and no content yet";
  ASSERT_TRUE(ship.put(R"({"hours":5})").ok());
  EXPECT_EQ(ship.documents.list("", "", 10).value(), (std::vector<std::string>{"site/config"}));
  meet();
  ASSERT_TRUE(ship.remove().ok());
  ASSERT_TRUE(office.patch(R"({"hours":8})").ok());
  EXPECT_TRUE(ship.documents.list("", "", 10)->empty());
  meet();
  EXPECT_EQ(ship.shown()["hours"], 3) << "what was counted and not seen by the delete";
}

TEST_F(ADocument, OfAnySizeWithinTheLimitIsWrittenInPartsAndRemovedWhole) {
  json large;
  for (int i = 0; i < 3000; ++i) large["key" + std::to_string(i)] = std::string(100, 'x');
  const auto before = ship.node.log->received();
  const auto whole = ship.put(large.dump());
  ASSERT_EQ(whole.error().code, Code::out_of_range);
  EXPECT_NE(whole.error().detail.find("in parts"), std::string::npos) << whole.error().detail;
  EXPECT_EQ(ship.documents.view("site/config").error().code, Code::not_found);
  json half = json::object(), other = json::object();
  for (const auto& [key, value] : large.items()) (half.size() < 1500 ? half : other)[key] = value;
  ASSERT_TRUE(ship.put(half.dump()).ok());
  ASSERT_TRUE(ship.patch(other.dump()).ok());
  json more;
  for (int i = 0; i < 3000; ++i) more["k" + std::to_string(i)] = i;
  ASSERT_TRUE(ship.patch(more.dump()).ok());
  large.update(more);
  EXPECT_EQ(ship.shown(), large);
  ASSERT_TRUE(ship.remove().ok());
  EXPECT_EQ(ship.documents.view("site/config").error().code, Code::not_found);
  EXPECT_EQ(ship.entries(), 0u);
}

TEST_F(ADocument, OverTheLimitByAMergeIsShownAndSaidToBe) {
  const auto grow = [](Party& party, int from, int parts) {
    for (int i = from; i < from + parts; ++i) {
      ASSERT_TRUE(party.patch(json{{"k" + std::to_string(i), std::string(60'000, 'x')}}.dump()).ok()) << i;
    }
  };
  grow(ship, 0, 9);
  grow(office, 100, 9);
  EXPECT_FALSE(ship.view().over_limits);
  EXPECT_TRUE(ship.documents.troubles().empty());
  meet();
  EXPECT_TRUE(ship.view().over_limits);
  const auto is_said = [](Documents& documents) {
    return documents.troubles().size() == 1 && documents.troubles().begin()->first == "site/config";
  };
  EXPECT_TRUE(is_said(ship.documents));
  Documents later(*ship.node.objects);
  EXPECT_TRUE(is_said(later)) << "of what was there at the start, too";
  EXPECT_GT(ship.view().json.size(), document_bytes_max);
  EXPECT_EQ(ship.patch(R"({"one":"more"})").error().code, Code::out_of_range);
  ASSERT_TRUE(ship.patch(R"({"k0":null,"k1":null})").ok()) << "the way back";
  EXPECT_FALSE(ship.view().over_limits);
  EXPECT_TRUE(ship.documents.troubles().empty());
  EXPECT_TRUE(later.troubles().empty());
}

TEST_F(ADocument, RefusesWhatCannotBeAndWritesNothing) {
  ship.node.run_for(std::chrono::seconds(1));
  const auto before = ship.node.log->received();
  for (const char* name : {"", "/", "a/", "/a", "a//b", "a/../b", ".", "a b", "a\n"}) {
    EXPECT_EQ(ship.put("{}", {}, name).error().code, Code::out_of_range) << name;
  }
  EXPECT_EQ(ship.put("{}", {}, std::string(513, 'a')).error().code, Code::out_of_range);
  for (const std::string text :
       {"", "{", "null", R"({"a":null})", R"({"a":{"b":null}})", R"({"a":1}x)", "\xff", R"({"a\u0001":1})"}) {
    EXPECT_EQ(ship.put(text).error().code, Code::out_of_range) << text;
  }
  const std::string deep = std::string(document_depth_max + 1, '[') + std::string(document_depth_max + 1, ']');
  EXPECT_EQ(ship.put(deep).error().code, Code::out_of_range);
  EXPECT_EQ(ship.put(std::string(200'000, '[')).error().code, Code::out_of_range);
  EXPECT_EQ(ship.put('"' + std::string(op_value_bytes_max, 'x') + '"').error().code, Code::out_of_range);
  EXPECT_EQ(ship.put(json{{std::string(document_key_bytes_max + 1, 'k'), 1}}.dump()).error().code, Code::out_of_range);
  EXPECT_EQ(ship.patch(R"({"a")").error().code, Code::out_of_range);
  EXPECT_EQ(ship.node.log->received(), before);
  EXPECT_TRUE(ship.documents.list("", "", 10)->empty());
}

TEST_F(ADocument, IsListedByPrefixAndTold) {
  std::vector<std::string> told;
  office.documents.watch([&](const std::string& name) { told.push_back(name); });
  for (const char* name : {"b", "a/2", "a/1", "a/1/x"}) ASSERT_TRUE(ship.put("1", {}, name).ok());
  exchange(ship.node, office.node);
  using Names = std::vector<std::string>;
  EXPECT_EQ(office.documents.list("", "", 10).value(), (Names{"a/1", "a/1/x", "a/2", "b"}));
  EXPECT_EQ(office.documents.list("a/", "a/1", 1).value(), (Names{"a/1/x"}));
  EXPECT_EQ(std::set<std::string>(told.begin(), told.end()), (std::set<std::string>{"a/1", "a/1/x", "a/2", "b"}));
}

json random_value(sim::Rng& rng, int depth) {
  switch (rng.below(depth > 0 ? 7 : 5)) {
    case 0: return nullptr;
    case 1: return rng.below(5);
    case 2: return std::string(1, static_cast<char>('p' + rng.below(4)));
    case 3: return json::array({rng.below(3), rng.below(3)});
    case 4: return json::object();
    default: {
      json object = json::object();
      for (auto fields = 1 + rng.below(3); fields > 0; --fields)
        object[std::string(1, static_cast<char>('a' + rng.below(4)))] = random_value(rng, depth - 1);
      return object;
    }
  }
}

TEST(DocumentsEditedAnywhere, ComeToOneState) {
  int written = 0, refused = 0, conflicts = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    sim::Schedule schedule(seed);
    Party ship(schedule, 1), office(schedule, 2), yard(schedule, 3);
    Party* const parties[] = {&ship, &office, &yard};
    auto& rng = schedule.rng;
    const char* const ways[] = {"fields", "atomic", "set", "counter", "min", "max"};
    for (int edits = 0; edits < 40; ++edits) {
      Party& party = *parties[rng.below(3)];
      const json value = random_value(rng, 3);
      Result<Written> result = [&] {
        switch (rng.below(8)) {
          case 0: return party.put(value.dump());
          case 1: return party.annotate(rng.chance(0.5) ? "/a" : "/b/c", ways[rng.below(6)]);
          case 2: return rng.chance(0.3) ? party.remove() : party.settle("/a", {});
          default: return party.patch(value.is_object() ? value.dump() : json{{"a", value}}.dump());
        }
      }();
      ++(result ? written : refused);
      if (!result) {
        EXPECT_TRUE(result.error().code == Code::out_of_range || result.error().code == Code::not_found)
            << seed << ": " << result.error().detail;
      }
      if (rng.chance(0.2)) give(parties[rng.below(3)]->node, party.node);
    }
    exchange(ship.node, office.node);
    exchange(office.node, yard.node);
    exchange(yard.node, ship.node);
    const auto shown = ship.documents.view("site/config");
    for (Party* party : {&office, &yard}) {
      const auto other = party->documents.view("site/config");
      ASSERT_EQ(shown.ok(), other.ok()) << seed;
      if (!shown) continue;
      EXPECT_EQ(shown->json, other->json) << seed;
      EXPECT_EQ(shown->version, other->version) << seed;
      EXPECT_EQ(shown->conflicts, other->conflicts) << seed;
      conflicts += static_cast<int>(shown->conflicts.size());
    }
    ASSERT_TRUE(ship.put(R"({"all":"settled"})").ok()) << seed;
    EXPECT_EQ(ship.view().json, R"({"all":"settled"})") << seed;
    // A text of the whole that somebody wrote at the same time is still listed: one command more.
    for (const std::string& conflict : ship.view().conflicts)
      EXPECT_TRUE(ship.settle(json::parse(conflict)["path"], {}).ok()) << seed << " " << conflict;
    EXPECT_EQ(ship.view().json, R"({"all":"settled"})") << seed;
    EXPECT_TRUE(ship.view().conflicts.empty()) << seed;
  }
  EXPECT_GT(written, 500);
  EXPECT_GT(refused, 50);
  EXPECT_GT(conflicts, 20);
}

}  // namespace
}  // namespace landfall
