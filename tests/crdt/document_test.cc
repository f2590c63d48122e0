// Properties: what a causally ordered series of patches leaves is what RFC 7396 says; concurrent patches of different
// leaves keep both; nothing that was seen nowhere is lost; what does not fit is refused at the writer and nowhere else.

#include "crdt/document.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "crdt/counter.h"
#include "crdt/register.h"
#include "schemas/limits.h"
#include "tests/crdt/replica.h"

namespace landfall::crdt_test {
namespace {

using Json = nlohmann::json;
using Rng = std::mt19937_64;

// RFC 7396, section 2, word by word.
Json merge_patch(Json target, const Json& patch) {
  if (!patch.is_object()) return patch;
  if (!target.is_object()) target = Json::object();
  for (const auto& [name, value] : patch.items()) {
    if (value.is_null()) {
      target.erase(name);
    } else {
      target[name] = merge_patch(target.contains(name) ? target[name] : Json(), value);
    }
  }
  return target;
}

class Author : public Replica {
 public:
  using Replica::Replica;
  DocumentPlace place;

  Status patch(const std::string& text) { return take(patch_ops(see(), place, run(), text)); }
  Status replace(const std::string& text) { return take(replace_ops(see(), place, run(), text)); }
  Status settle(std::string_view path, const std::optional<Dot>& dot) {
    return take(settle_ops(see(), place, path, dot));
  }
  std::string show() const { return view_document(see(), place).json.value_or("none"); }
  std::vector<DocumentConflict> conflicts() const { return entries_ = see(), view_document(entries_, place).conflicts; }

 private:
  Status take(Result<std::vector<Op>> ops) {
    if (!ops) return ops.error();
    for (auto& event : split_ops(*std::move(ops))) write(std::move(event));
    return ok();
  }
  mutable Entries entries_;
};

TEST(Document, FollowsTheExamplesOfTheRfc) {
  const struct {
    const char *target, *patch, *result;
  } examples[] = {
      {R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
      {R"({"a":"b"})", R"({"a":null})", R"({})"},
      {R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
      {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
      {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
      {R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
      {R"(["a","b"])", R"(["c","d"])", R"(["c","d"])"},
      {R"({"a":"b"})", R"(["c"])", R"(["c"])"},
      {R"({"a":"foo"})", R"(null)", R"(none)"},
      {R"({"a":"foo"})", R"("bar")", R"("bar")"},
      // The RFC's example has {"e":null} here: no document of ours can hold a null.
      {R"({"e":1})", R"({"a":1})", R"({"a":1,"e":1})"},
      {R"([1,2])", R"({"a":"b","c":null})", R"({"a":"b"})"},
      {R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"},
  };
  for (const auto& [target, patch, result] : examples) {
    SCOPED_TRACE(patch);
    Author author(1);
    ASSERT_TRUE(author.replace(target).ok());
    ASSERT_EQ(author.show(), target);
    ASSERT_TRUE(author.patch(patch).ok());
    EXPECT_EQ(author.show(), result);
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t histories = 400;
#else
constexpr std::uint64_t histories = 4000;
#endif

std::uint64_t below(Rng& rng, std::uint64_t n) { return rng() % n; }

Json random_json(Rng& rng, int depth, bool nulls) {
  static const char* const keys[] = {"a", "b", "c/d", "~", ""};
  const auto kind = below(rng, depth > 0 ? 9 : 5);
  if (kind >= 5) {
    Json object = Json::object();
    for (std::uint64_t i = below(rng, 4); i > 0; --i) {
      object[keys[below(rng, 5)]] = nulls && below(rng, 4) == 0 ? Json() : random_json(rng, depth - 1, nulls);
    }
    return object;
  }
  if (kind == 4) return Json::array({1, nullptr, Json::object({{"x", nullptr}})});
  if (kind == 3) return below(rng, 2) == 0;
  if (kind == 2) return "text \u00e9\n";
  return kind == 1 ? Json(static_cast<int>(below(rng, 100)) - 50) : Json(static_cast<double>(below(rng, 100)) / 8);
}

TEST(Document, IsWhatTheRfcSaysAfterAnySeriesOfPatches) {
  for (std::uint64_t seed = 1; seed <= histories; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    Author first(1), second(2);
    Author* authors[] = {&first, &second};
    first.place.root = second.place.root = below(rng, 2) == 0 ? "" : "/at";
    std::optional<Json> reference;
    for (int i = 0; i < 8; ++i) {
      Author& author = *authors[below(rng, 2)];
      if (below(rng, 4) == 0) {
        const Json whole = random_json(rng, 3, false);
        ASSERT_TRUE(author.replace(whole.dump()).ok());
        reference = whole;
      } else {
        const Json patch = random_json(rng, 3, true);
        ASSERT_TRUE(author.patch(patch.dump()).ok()) << patch;
        reference = merge_patch(reference.value_or(Json()), patch);
      }
      exchange({&first, &second});
      ASSERT_EQ(author.show(), reference->dump());
      ASSERT_TRUE(author.conflicts().empty());
    }
  }
}

// The value of each leaf names its author, so a lost one shows.
TEST(Document, KeepsConcurrentPatchesOfDifferentLeaves) {
  for (std::uint64_t seed = 1; seed <= histories; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    Author a(1), b(2);
    ASSERT_TRUE(a.replace(R"({"x":{"k":0,"l":0},"y":{"m":0},"z":0})").ok());
    b.hear(a);
    static const char* const leaves[] = {R"({"x":{"k":%}})", R"({"x":{"l":%}})",   R"({"y":{"m":%}})",
                                         R"({"z":%})",       R"({"x":{"new":%}})", R"({"w":{"v":{"u":%}}})"};
    const auto first = below(rng, 6), second = (first + 1 + below(rng, 5)) % 6;
    const auto patch_of = [&](std::uint64_t leaf, const char* value) {
      std::string patch = leaves[leaf];
      return patch.replace(patch.find('%'), 1, below(rng, 3) == 0 ? "null" : value);
    };
    const std::string pa = patch_of(first, "1"), pb = patch_of(second, "2");
    const Json before = Json::parse(a.show());
    ASSERT_TRUE(a.patch(pa).ok());
    ASSERT_TRUE(b.patch(pb).ok());
    exchange({&a, &b});
    const Json one = merge_patch(merge_patch(before, Json::parse(pa)), Json::parse(pb));
    const Json other = merge_patch(merge_patch(before, Json::parse(pb)), Json::parse(pa));
    ASSERT_EQ(one, other);
    ASSERT_EQ(a.show(), one.dump()) << pa << " and " << pb;
    ASSERT_EQ(b.show(), a.show());
    ASSERT_TRUE(a.conflicts().empty());
  }
}

TEST(Document, ANullTakesWhatItsAuthorSawAndNoMore) {
  Author a(1), b(2);
  ASSERT_TRUE(a.replace(R"({"x":{"old":1,"deep":{"er":2}}})").ok());
  b.hear(a);
  ASSERT_TRUE(a.patch(R"({"x":null})").ok());
  EXPECT_EQ(a.show(), "{}");
  ASSERT_TRUE(b.patch(R"({"x":{"new":3}})").ok());
  exchange({&a, &b});
  EXPECT_EQ(a.show(), R"({"x":{"new":3}})");
  ASSERT_TRUE(a.patch("null").ok());
  EXPECT_EQ(a.show(), "none");
  EXPECT_EQ(a.state.entries(), 0u);
}

TEST(Document, AnObjectBeatsAConcurrentScalarThatStaysReadableUntilSettled) {
  for (const bool for_scalar : {false, true}) {
    Author a(1), b(2);
    ASSERT_TRUE(a.replace("{}").ok());
    b.hear(a);
    ASSERT_TRUE(a.patch(R"({"x":{"k":1}})").ok());
    ASSERT_TRUE(b.patch(R"({"x":5})").ok());
    exchange({&a, &b});
    EXPECT_EQ(b.show(), R"({"x":{"k":1}})");
    ASSERT_TRUE(a.patch(R"({"x":{"k":2}})").ok());
    EXPECT_EQ(a.show(), R"({"x":{"k":2}})");
    const auto conflicts = a.conflicts();
    ASSERT_EQ(conflicts.size(), 1u) << "a write beside it settles nothing";
    EXPECT_EQ(conflicts[0].path, "/x");
    EXPECT_TRUE(conflicts[0].hidden_by_object);
    ASSERT_EQ(conflicts[0].writes.size(), 1u);
    EXPECT_EQ(json_of(*conflicts[0].writes[0]), "5");
    ASSERT_TRUE(a.settle("/x", for_scalar ? std::optional(conflicts[0].writes[0]->dot) : std::nullopt).ok());
    exchange({&a, &b});
    EXPECT_EQ(b.show(), for_scalar ? R"({"x":5})" : R"({"x":{"k":2}})");
    EXPECT_TRUE(b.conflicts().empty());
  }
}

TEST(Document, TheExampleOfTheReadmeIsTrue) {
  Author office(1), ship(2), third(3);
  ASSERT_TRUE(office.replace(R"({"speed":{"max":12}})").ok());
  ship.hear(office);
  Author hasty = office;
  ASSERT_TRUE(office.patch(R"({"speed":{"max":14}})").ok());
  ASSERT_TRUE(ship.patch(R"({"speed":{"max":11}})").ok());
  ASSERT_TRUE(ship.patch(R"({"speed":{"max":10,"why":"ice"}})").ok());
  const std::string both = R"({"speed":{"max":10,"why":"ice"}})";
  third.hear(ship.written[1]);
  third.hear(office.written[1]);
  EXPECT_EQ(third.show(), both);
  EXPECT_EQ(third.conflicts().size(), 1u);
  EXPECT_GT(third.state.pending(), 0u);
  third.hear(office.written[0]);
  third.hear(ship.written[0]);
  EXPECT_EQ(third.show(), both);
  EXPECT_EQ(third.state.pending(), 0u);
  ASSERT_TRUE(third.settle("/speed/max", office.written[1].dot).ok());
  EXPECT_EQ(third.show(), R"({"speed":{"max":14,"why":"ice"}})");
  ASSERT_TRUE(hasty.patch(R"({"speed":null})").ok());
  hasty.hear(ship);
  EXPECT_EQ(hasty.show(), both);
}

TEST(Document, ConcurrentScalarsAreListedUntilSettled) {
  Author a(1), b(2);
  ASSERT_TRUE(a.replace(R"({"x":0})").ok());
  b.hear(a);
  ASSERT_TRUE(a.patch(R"({"x":1})").ok());
  ASSERT_TRUE(b.patch(R"({"x":2})").ok());
  exchange({&a, &b});
  const auto conflicts = a.conflicts();
  ASSERT_EQ(conflicts.size(), 1u);
  ASSERT_EQ(conflicts[0].writes.size(), 2u);
  EXPECT_EQ(a.show(), "{\"x\":" + conflicts[0].writes[0]->value + "}") << "the shown one comes first";
  EXPECT_EQ(a.settle("/x", Dot{a.run(), Stream::document, 999}).error().code, Code::not_found);
  EXPECT_EQ(a.settle("/y", {}).error().code, Code::not_found);
  const std::string loser = conflicts[0].writes[1]->value;
  ASSERT_TRUE(a.settle("/x", conflicts[0].writes[1]->dot).ok());
  exchange({&a, &b});
  EXPECT_EQ(b.show(), "{\"x\":" + loser + "}");
  EXPECT_TRUE(b.conflicts().empty());
}

TEST(Document, AnAtomicForkKeepsBothAndNamesTheirParent) {
  for (const int edits : {1, 2, 50}) {
    Author a(1), b(2);
    a.place.annotations = b.place.annotations = {{"/plan", Merge::atomic}};
    ASSERT_TRUE(b.replace(R"({"plan":{"to":"Bergen","via":"Kiel"}})").ok());
    a.hear(b);
    ASSERT_TRUE(a.patch(R"({"plan":{"via":null}})").ok());
    b.hear(a);
    EXPECT_EQ(b.show(), R"({"plan":{"to":"Bergen"}})");
    const Entries before = a.see();
    const Dot parent = at(before, "/plan")[0].dot;
    for (int i = 1; i <= edits; ++i) {
      ASSERT_TRUE(a.patch(R"({"plan":{"speed":)" + std::to_string(i) + "}}").ok());
      ASSERT_TRUE(b.patch(R"({"plan":{"to":"Oslo)" + std::to_string(i) + "\"}}").ok());
    }
    exchange({&a, &b});
    const auto conflicts = a.conflicts();
    ASSERT_EQ(conflicts.size(), 1u);
    EXPECT_EQ(conflicts[0].path, "/plan");
    ASSERT_EQ(conflicts[0].writes.size(), 2u);
    EXPECT_EQ(conflicts[0].parent, parent);
    const std::string last = std::to_string(edits);
    EXPECT_NE(a.show().find(a.show().find("speed") == std::string::npos ? "Oslo" + last : "Bergen"), std::string::npos)
        << "no mixture of both";
    ASSERT_TRUE(b.replace(R"({"plan":{"to":"Oslo","speed":9}})").ok());
    exchange({&a, &b});
    EXPECT_TRUE(a.conflicts().empty());
    EXPECT_EQ(a.show(), R"({"plan":{"speed":9,"to":"Oslo"}})");
  }
}

TEST(Document, EveryConflictCanBeSettledAndThenIsGone) {
  std::uint64_t settled = 0;
  for (std::uint64_t seed = 1; seed <= histories; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    Author authors[] = {Author(1), Author(2), Author(3)};
    for (int i = 0; i < 9; ++i) {
      Author& author = authors[below(rng, 3)];
      // Some know less of how parts merge than others.
      if (below(rng, 3) > 0) author.place.annotations = {{"/a", Merge::atomic}, {"/b", Merge::min}};
      (void)author.patch(random_json(rng, 3, true).dump());
      if (below(rng, 3) == 0) author.hear(authors[below(rng, 3)]);
    }
    exchange({&authors[0], &authors[1], &authors[2]});
    Author& one = authors[0];
    for (auto conflicts = one.conflicts(); !conflicts.empty(); ++settled) {
      const auto conflict = conflicts[below(rng, conflicts.size())];
      const std::string before = one.show();
      const bool as_shown = below(rng, 2) == 0;
      const Entry taken = *conflict.writes[below(rng, conflict.writes.size())];
      ASSERT_TRUE(one.settle(conflict.path, as_shown ? std::nullopt : std::optional(taken.dot)).ok());
      if (as_shown) {
        ASSERT_EQ(one.show(), before) << conflict.path;
      }
      conflicts = one.conflicts();
      for (const auto& left : conflicts) ASSERT_NE(left.path, conflict.path);
    }
    for (Author& author : authors) author.place = one.place;
    exchange({&authors[0], &authors[1], &authors[2]});
    for (const Author& author : authors) ASSERT_EQ(author.show(), one.show());
  }
  EXPECT_GT(settled, histories / 10);
}

TEST(Document, PartsMergeAsTheirAnnotationsSay) {
  Author a(1), b(2);
  a.place.annotations = b.place.annotations = {
      {"/tags", Merge::set}, {"/hits", Merge::counter}, {"/low", Merge::min}, {"/high", Merge::max}};
  ASSERT_TRUE(a.replace(R"({"tags":["x",2,true,"x"],"hits":10,"low":5,"high":5})").ok());
  EXPECT_EQ(a.show(), R"({"high":5,"hits":10,"low":5,"tags":["x",2,true]})");
  b.hear(a);
  ASSERT_TRUE(a.patch(R"({"tags":["x","y"],"hits":13,"low":7,"high":6.5})").ok());
  ASSERT_TRUE(b.patch(R"({"tags":[2,true,"z"],"hits":8,"low":6,"high":18446744073709551615})").ok());
  exchange({&a, &b});
  EXPECT_EQ(a.show(), R"({"high":18446744073709551615,"hits":11,"low":6,"tags":["y","z"]})");
  EXPECT_EQ(b.show(), a.show());
  EXPECT_EQ(a.conflicts().size(), 2u) << "bounds differ: shown by rule, listed all the same";
  ASSERT_TRUE(a.patch(R"({"tags":[],"hits":null,"low":9})").ok());
  EXPECT_EQ(a.show(), R"({"high":18446744073709551615,"low":9,"tags":[]})");
  ASSERT_TRUE(a.patch(R"({"tags":null,"hits":2})").ok());
  EXPECT_EQ(a.show(), R"({"high":18446744073709551615,"hits":2,"low":9})");
  exchange({&a, &b});
  EXPECT_EQ(b.show(), a.show());
  for (const char* misfit : {R"({"tags":"x"})", R"({"tags":[[1]]})", R"({"tags":[null]})", R"({"hits":1.5})",
                             R"({"hits":"1"})", R"({"hits":9223372036854775808})", R"({"low":"5"})"}) {
    const State before = a.state;
    const auto refused = a.patch(misfit);
    ASSERT_FALSE(refused.ok()) << misfit;
    EXPECT_EQ(refused.error().code, Code::out_of_range);
    EXPECT_EQ(a.state, before);
  }
}

TEST(Document, NumbersStayAsTheyAreWritten) {
  Author a(1), b(2);
  const std::string whole = R"({"big":18446744073709551616,"far":1e30,"list":[1.10,{"in":2.00}],"price":12.50})";
  ASSERT_TRUE(a.replace(whole).ok());
  EXPECT_EQ(a.show(), whole);
  EXPECT_TRUE(replace_ops(a.see(), a.place, a.run(), whole).value().empty());
  ASSERT_TRUE(a.patch(R"({"price":12.5,"far":null,"list":[3]})").ok());
  ASSERT_TRUE(a.replace(R"({"big":18446744073709551617,"list":[3],"price":12.500})").ok());
  EXPECT_EQ(a.show(), R"({"big":18446744073709551617,"list":[3],"price":12.500})");
  ASSERT_TRUE(a.replace(R"({"price":3})").ok());
  ASSERT_TRUE(a.replace(R"({"price":3.0})").ok());
  EXPECT_EQ(a.show(), R"({"price":3.0})");
  // As parts that are more than what was written last.
  a.place.annotations = b.place.annotations = {
      {"/low", Merge::min}, {"/high", Merge::max}, {"/tags", Merge::set}, {"/whole", Merge::atomic}};
  ASSERT_TRUE(a.patch(R"({"low":9.90,"high":9.90,"tags":[1.50],"whole":{"a":1.10}})").ok());
  b.hear(a);
  ASSERT_TRUE(a.patch(R"({"low":10,"high":10.0})").ok());
  ASSERT_TRUE(b.patch(R"({"low":9.80,"high":18446744073709551616,"tags":[1.50,2.20],"whole":{"b":2.20}})").ok());
  exchange({&a, &b});
  EXPECT_EQ(a.show(), R"({"high":18446744073709551616,"low":9.80,"price":3.0,"tags":[1.50,2.20],)"
                      R"("whole":{"a":1.10,"b":2.20}})");
  EXPECT_EQ(b.show(), a.show());
  ASSERT_TRUE(a.settle("/high", {}).ok());
  EXPECT_EQ(Json::parse(a.show())["high"], 18446744073709551616.0);
  EXPECT_FALSE(a.patch(R"({"high":"9.90"})").ok());
}

TEST(Document, PartsKeepTheirValueWhenAnAnnotationIsMade) {
  Author a(1);
  ASSERT_TRUE(a.replace(R"({"tags":["b","a"],"hits":4,"plan":{"k":{"l":1}}})").ok());
  a.place.annotations = {{"/tags", Merge::set}, {"/hits", Merge::counter}, {"/plan", Merge::atomic}};
  EXPECT_EQ(a.show(), R"({"hits":4,"plan":{"k":{"l":1}},"tags":["a","b"]})");
  ASSERT_TRUE(a.patch(R"({"tags":["b","c"],"hits":5,"plan":{"m":2}})").ok());
  EXPECT_EQ(a.show(), R"({"hits":5,"plan":{"k":{"l":1},"m":2},"tags":["b","c"]})");
  a.place.annotations.erase("/plan");
  EXPECT_EQ(a.show(), R"({"hits":5,"plan":{"k":{"l":1},"m":2},"tags":["b","c"]})");
  ASSERT_TRUE(a.patch(R"({"plan":{"k":{"l":null,"n":3}}})").ok());
  EXPECT_EQ(a.show(), R"({"hits":5,"plan":{"k":{"n":3},"m":2},"tags":["b","c"]})");
}

TEST(Document, RefusesAtTheWriterWhatPassesALimit) {
  Author a(1);
  ASSERT_TRUE(a.replace(R"({"x":1})").ok());
  const State before = a.state;
  const std::string deep = std::string(17, '[') + std::string(17, ']');
  const std::pair<std::string, const char*> bad[] = {
      {"{\"x\":", "no JSON"},
      {"", "no JSON"},
      {"{\"x\":1e999}", "no JSON"},
      {"{\"x\":" + deep + "}", "deeper than 16 levels"},
      {"{\"" + std::string(257, 'k') + "\":1}", "a key over 256 bytes"},
      {R"({"a\u0007b":1})", "a key with control characters"},
      {"{\"x\":\"" + std::string(65536, 'v') + "\"}", "a value over 65536 bytes"},
      {"{\"x\":\"" + std::string(1 << 20, 'v') + "\"}", "over 1048576 bytes"},
  };
  for (const auto& [patch, why] : bad) {
    const auto refused = a.patch(patch);
    ASSERT_FALSE(refused.ok()) << why;
    EXPECT_EQ(refused.error().code, Code::out_of_range);
    EXPECT_NE(refused.error().detail.find(why), std::string::npos) << refused.error().detail;
  }
  std::string path = "1";
  for (int i = 0; i < 10; ++i) path = "{\"" + std::string(200, 'k') + "\":" + path + "}";
  EXPECT_NE(a.patch(path).error().detail.find("a path over 1024 bytes"), std::string::npos);
  EXPECT_NE(a.replace(R"({"x":null})").error().detail.find("null stands for nothing"), std::string::npos);
  EXPECT_NE(a.replace("null").error().detail.find("null stands for nothing"), std::string::npos);
  EXPECT_EQ(a.state, before);
}

TEST(Document, GrowsToItsLimitAndIsDeletedInAsManyEventsAsItTakes) {
  Author a(1);
  Json part = Json::object();
  const std::string value(60'000, 'v');
  Status status = ok();
  int parts = 0;
  for (; status && parts < 20; ++parts) status = a.patch("{\"k" + std::to_string(parts) + "\":\"" + value + "\"}");
  EXPECT_EQ(parts, 18) << "17 of 60 kB fit";
  EXPECT_NE(status.error().detail.find("would have over 1048576 bytes"), std::string::npos);
  for (int i = 0; i < 5000; ++i) part["key " + std::to_string(i)] = i;
  const auto before = a.written.size();
  ASSERT_TRUE(a.replace(part.dump()).ok());
  EXPECT_GT(a.written.size(), before + 1);
  EXPECT_EQ(a.show(), part.dump());
  ASSERT_TRUE(a.patch("null").ok());
  EXPECT_EQ(a.state.entries(), 0u);
}

TEST(Document, ShowsWhatItCanOfAnythingThatReplicasSend) {
  Author a(1);
  a.place.annotations = {{"/set", Merge::set}};
  ASSERT_TRUE(a.replace(R"({"good":1,"set":["x"]})").ok());
  const std::string deep = std::string(60'000, '[');
  for (const std::string& value : {std::string("no json"), std::string("null"), std::string(), deep,
                                   deep + std::string(60'000, ']'), std::string("\"\xff\"")}) {
    Author b = a;
    if (value.size() <= op_value_bytes_max) b.write(put_op(b.see(), "/bad", value));
    b.write(put_op(b.see(), "/set/no json", "1"));
    const Entries entries = b.see();
    const DocumentView view = view_document(entries, b.place);
    EXPECT_EQ(view.json, R"({"good":1,"set":["x"]})");
    EXPECT_TRUE(view.damaged);
    ASSERT_TRUE(b.replace("{}").ok());
    EXPECT_EQ(b.show(), "{}");
  }
  Author b = a;
  std::string path;
  for (int i = 0; i < 500; ++i) path += "/d";
  b.write(put_op(b.see(), path, "1"));
  const Entries entries = b.see();
  EXPECT_TRUE(view_document(entries, b.place).over_limits);
  EXPECT_TRUE(b.patch(R"({"good":2})").ok()) << "what merges made of it is no reason to refuse";
}

TEST(Document, AReplacementWritesOnlyWhatDiffers) {
  Author a(1);
  ASSERT_TRUE(a.replace(R"({"a":1,"b":{"c":2,"d":[3]},"e":4})").ok());
  const Entries before = a.see();
  const auto ops = replace_ops(before, a.place, a.run(), R"({"a":1,"b":{"c":5,"d":[3]}})").value();
  ASSERT_EQ(ops.size(), 2u);
  EXPECT_EQ(ops[0].path, "/b/c");
  EXPECT_EQ(ops[1].path, "/e");
  EXPECT_FALSE(ops[1].value);
}

TEST(Document, StandsBelowItsRootAndLeavesTheRestAlone) {
  Author a(1);
  a.write(put_op(a.see(), "/other", "1"));
  a.write(put_op(a.see(), "/attributes", "2"));
  a.place.root = "/attr";
  EXPECT_EQ(a.show(), "none");
  ASSERT_TRUE(a.replace(R"({"k":{"l":1}})").ok());
  EXPECT_EQ(at(a.see(), "/attr/k/l").size(), 1u);
  auto ops = erase_ops(a.see(), a.place, "/k/l");
  ASSERT_EQ(ops.size(), 1u);
  a.write(std::move(ops));
  EXPECT_EQ(a.show(), R"({"k":{}})");
  a.write(erase_ops(a.see(), a.place));
  EXPECT_EQ(a.show(), "none");
  EXPECT_EQ(a.see().size(), 2u);
  EXPECT_TRUE(erase_ops(a.see(), a.place, "/nothing").empty());
}

}  // namespace
}  // namespace landfall::crdt_test
