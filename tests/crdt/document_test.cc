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

}  // namespace
}  // namespace landfall::crdt_test
