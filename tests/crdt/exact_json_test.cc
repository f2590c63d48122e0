// Property: a number is written as it was read, and all else of JSON is as nlohmann::json has it.
#include "crdt/exact_json.h"

#include <gtest/gtest.h>

#include <random>

namespace landfall {
namespace {

using Json = nlohmann::json;

TEST(ExactJson, WritesNumbersAsTheyWereRead) {
  for (const char* text : {"12.50", "1e30", "1E5", "0.1000", "-7.0e-3", "18446744073709551616", "-9223372036854775809",
                           "123456789012345678901234567890", "9.999999999999999999999", "1e-400", "3", "3.0", "-1",
                           R"({"a":12.50,"b":[1e30,{"c":2.00}],"d":{}})"}) {
    const Json value = read_exact(text);
    EXPECT_EQ(write_exact(value), text);
    EXPECT_EQ(write_exact(Json(value)), text);
  }
  EXPECT_EQ(write_exact(read_exact(R"({"b" : 1.10, "a" : [ ] })")), R"({"a":[],"b":1.10})");
  EXPECT_EQ(write_exact(read_exact<nlohmann::ordered_json>(R"({"b" : 1.10, "a" : [ ] })")), R"({"b":1.10,"a":[]})");
  EXPECT_EQ(write_exact(read_exact(R"({"a":[1.10,2],"b":{}})"), 2),
            "{\n  \"a\": [\n    1.10,\n    2\n  ],\n  \"b\": {}\n}");
  EXPECT_TRUE(read_exact("1e400").is_discarded());
  EXPECT_EQ(write_exact(read_exact("-0")), "0");
}

TEST(ExactJson, NumbersCountAsWhatTheyAre) {
  for (const auto& [text, number] :
       {std::pair{"12.50", 12.5}, {"1e30", 1e30}, {"3", 3.0}, {"18446744073709551616", 18446744073709551616.0}}) {
    EXPECT_TRUE(is_exact_number(read_exact(text)));
    EXPECT_EQ(nearest_double(read_exact(text)), number);
  }
  for (const char* text : {"\"1.50\"", "true", "null", "[1.50]", "{}"}) EXPECT_FALSE(is_exact_number(read_exact(text)));
}

TEST(ExactJson, EndsWhereTheTextEnds) {
  using namespace std::string_view_literals;
  EXPECT_EQ(read_exact("12 "), Json(12));
  for (const auto text : {"12\0"sv, "{}\0 and more"sv, "\0"sv, "[1,\0"sv}) EXPECT_TRUE(read_exact(text).is_discarded());
}

// Whole texts and damaged ones: read and refused alike, written alike.
TEST(ExactJson, IsOtherwiseTheSame) {
  const std::string whole =
      R"({"a":[1,-2,3.5,1e-7,true,null,"x\u00e9\ud83d\ude00\n"],"b":{"":{},"c":[[],{}],"a":false},"a":{"again":1}})";
  std::mt19937_64 rng(7);
  int read = 0, refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = whole;
    for (auto damage = rng() % 3; damage-- > 0;) {
      const auto at = rng() % text.size();
      if (rng() % 2 == 0) {
        text.erase(at, 1 + rng() % 3);
      } else {
        text[at] = R"({}[],:"\0159.eE-tfn )"[rng() % 20];
      }
    }
    const Json expected = Json::parse(text, nullptr, false), got = read_exact(text);
    ASSERT_EQ(got.is_discarded(), expected.is_discarded()) << text;
    (expected.is_discarded() ? refused : read)++;
    if (expected.is_discarded() || exact_json::has_kept_text(got)) continue;
    ASSERT_EQ(got, expected) << text;
    ASSERT_EQ(write_exact(got), expected.dump()) << text;
    ASSERT_EQ(write_exact(got, 2), expected.dump(2)) << text;
  }
  EXPECT_GT(read, 1000);
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace landfall
