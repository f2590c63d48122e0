// Property: a twin's view says what its live writes say, in one canonical text, and leaves out only what cannot be read.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "devicetwin/twin_json.h"
#include "schemas/limits.h"
#include "tests/devicetwin/twin_entries.h"

namespace landfall {
namespace {

using test::definition;
using test::dot;
using test::entry;
using test::ordered;

const std::string run_1 = "01000000000000000000000000000000.1-00000007";
const std::string run_2 = "02000000000000000000000000000000.1-00000007";

TEST(TwinView, IsCanonicalJson) {
  const Entries desired = ordered({
      entry("/p/temp/c", dot(1, 5), 1000, {.json = "20", .actor = "office", .reason = "winter"}),
      entry("/p/temp/e", dot(2, 6), 2000, {.json = "18.50", .actor = "chief", .seen = {dot(1, 5)}}),
  });
  const Entries reported = ordered({
      entry("/p/temp", dot(2, 9, Stream::reported), 3000, {.json = "18.5", .applied = dot(2, 6), .time_ms = 2900}),
      entry("/p/level", dot(2, 8, Stream::reported), 2500,
            {.json = "\"low\"", .applied = dot(1, 1), .status = "rejected", .error = "no \"such\" level"}),
      entry("/s", dot(2, 7, Stream::reported), 2400, {.json = "\"online\"", .time_ms = 2300}),
  });
  const Entries document = ordered({
      definition("temp", {.type = "float", .history = History::latest, .unit = "C"}),
      entry("/device", dot(1, 2, Stream::document), 1, {.json = "\"ship/pump\""}),
      entry("/attributes/deck", dot(1, 3, Stream::document), 1, {.json = "{\"a\":[1,2]}"}),
      entry("/tags/hot~1wet", dot(1, 4, Stream::document), 1, {.json = "1"}),
      entry("/tags/cold", dot(1, 5, Stream::document), 1, {.json = "1"}),
  });
  std::size_t unreadable = 0;
  const TwinView twin = view_twin("ship/pump", desired, reported, document, &unreadable);
  EXPECT_EQ(unreadable, 0u);
  const std::string json = twin_json(twin);
  EXPECT_EQ(
      json,
      R"({"attributes":{"deck":{"a":[1,2]}},"device":"ship/pump","last_online":"1970-01-01T00:00:02.300Z","properties":{)"
      R"("level":{"conflict":false,"in_sync":true,"others":[],"policy":"cloud-wins","reported":{"applied":")" +
          run_1 + R"(/desired/1","dot":")" + run_2 +
          R"(/reported/8","error":"no \"such\" level","status":"rejected","time":"1970-01-01T00:00:02.500Z","value":"low"}},)"
          R"("temp":{"conflict":false,"desired":{"actor":"chief","dot":")" +
          run_2 +
          R"(/desired/6","layer":"edge","reason":"","time":"1970-01-01T00:00:02.000Z","value":18.50},"history":"latest",)"
          R"("in_sync":true,"others":[{"actor":"office","dot":")" +
          run_1 +
          R"(/desired/5","layer":"cloud","reason":"winter","time":"1970-01-01T00:00:01.000Z","value":20}],"policy":"cloud-wins",)"
          R"("reported":{"applied":")" +
          run_2 + R"(/desired/6","device_time":"1970-01-01T00:00:02.900Z","dot":")" + run_2 +
          R"(/reported/9","status":"applied","time":"1970-01-01T00:00:03.000Z","value":18.5},"type":"float","unit":"C"}},)"
          R"("registered":true,"state":"online","tags":["cold","hot/wet"],"version":")" +
          twin.version + "\"}");
  EXPECT_TRUE(nlohmann::json::accept(json));
}

TEST(TwinView, InSyncIsEqualityOfDotsAndNotOfValues) {
  const Entries desired = {entry("/p/v/c", dot(1, 5), 1, {.json = "1"})};
  const auto in_sync = [&](const TwinValue& said) {
    const Entries reported = {entry("/p/v", dot(2, 1, Stream::reported), 2, said)};
    return view_twin("d", desired, reported, {}).properties.at("v").in_sync;
  };
  EXPECT_TRUE(in_sync({.json = "2", .applied = dot(1, 5)}));
  EXPECT_FALSE(in_sync({.json = "1", .applied = dot(1, 4)}));
  EXPECT_FALSE(in_sync({.json = "1"}));
  EXPECT_FALSE(in_sync({.json = "1", .applied = dot(1, 5), .status = "rejected"}));
  EXPECT_FALSE(in_sync({.json = "1", .applied = dot(1, 5), .status = "pending"}));
}

TEST(TwinView, AStaleOwnersReportLosesByTermAndIsShown) {
  const Entries reported = ordered({
      entry("/p/v", dot(1, 1, Stream::reported), 9000, {.json = "1", .owner_term = 1}),
      entry("/p/v", dot(2, 1, Stream::reported), 1000, {.json = "2", .owner_term = 2}),
  });
  const PropertyView property = view_twin("d", {}, reported, {}).properties.at("v");
  EXPECT_EQ(property.reported->value, "2");
  ASSERT_EQ(property.other_reports.size(), 1u);
  EXPECT_EQ(property.other_reports[0].value, "1");
}

TEST(TwinView, OneNodesReportsAreOrderedByItsOwnCount) {
  // Two runs of one node, the later with a clock that went back, as after a restored backup.
  Dot later = dot(1, 1, Stream::reported);
  later.run.counter = 2;
  const Entries reported = ordered({
      entry("/p/v", dot(1, 50, Stream::reported), 9000, {.json = "1"}),
      entry("/p/v", later, 1000, {.json = "2"}),
  });
  EXPECT_EQ(view_twin("d", {}, reported, {}).properties.at("v").reported->value, "2");
}

TEST(TwinView, WhatCannotBeReadIsCountedAndLeftOut) {
  Entries desired = {entry("/p/v/c", dot(1, 5), 1, {.json = "1", .actor = "a"}),
                     entry("/p/w/c", dot(1, 6), 1, {.json = "1"}), entry("/q/w/c", dot(1, 7), 1, {.json = "1"})};
  desired[0].value[2] = 9;  // a version to come
  std::size_t unreadable = 0;
  const TwinView twin = view_twin("d", desired, {}, {}, &unreadable);
  EXPECT_EQ(unreadable, 1u);
  EXPECT_FALSE(twin.properties.contains("v"));
  EXPECT_EQ(twin.properties.size(), 1u);
}

TEST(TwinView, ADeviceThatSurvivedItsDeleteNamesWhoWroteWithoutSeeingIt) {
  const Entries document = {entry("/tags/wet", dot(3, 4, Stream::document), 5000, {.json = "1", .actor = "bosun"})};
  const TwinView twin = view_twin("d", {}, {}, document);
  EXPECT_FALSE(twin.registered);
  ASSERT_TRUE(twin.described_by);
  EXPECT_EQ(twin.described_by->actor, "bosun");
  EXPECT_NE(twin_json(twin).find(R"("described_by":{"actor":"bosun","time":"1970-01-01T00:00:05.000Z"})"),
            std::string::npos);
}

TEST(TwinView, TheVersionIsOfDesiredAlone) {
  const Entries desired = {entry("/p/v/c", dot(1, 5), 1, {.json = "1"})};
  const Entries other = {entry("/p/v/c", dot(1, 6), 1, {.json = "1"})};
  const Entries reported = {entry("/p/v", dot(2, 1, Stream::reported), 2, {.json = "1"})};
  EXPECT_EQ(view_twin("d", desired, {}, {}).version, view_twin("d", desired, reported, {}).version);
  EXPECT_NE(view_twin("d", desired, {}, {}).version, view_twin("d", other, {}, {}).version);
  EXPECT_NE(view_twin("d", desired, {}, {}).version, view_twin("e", desired, {}, {}).version);
}

TEST(TwinNames, AreHeldToTheirAlphabet) {
  EXPECT_EQ(parse_device("pump")->text(), "pump");
  EXPECT_EQ(parse_device("default/pump")->text(), "pump");
  EXPECT_EQ(parse_device("ship/pump.1,2:3@4#5")->text(), "ship/pump.1,2:3@4#5");
  for (const std::string bad : {"", "/", "a/", "/a", "a/b/c", "a b", "a+", "ü", "a\n"})
    EXPECT_EQ(parse_device(bad).ok(), false) << bad;
  EXPECT_TRUE(parse_device(std::string(128, 'a')).ok());
  EXPECT_FALSE(parse_device(std::string(129, 'a')).ok());
  EXPECT_TRUE(is_property_name("a/b#c"));
  EXPECT_FALSE(is_property_name(""));
  EXPECT_FALSE(is_property_name("a~b"));
}

// ---- values

TEST(TwinValue, RoundTripsEveryField) {
  const TwinValue value{.json = "{\"a\":1}",
                        .actor = "a",
                        .reason = "r",
                        .seen = {dot(1, 1), dot(2, 300)},
                        .applied = dot(3, 1),
                        .status = "rejected",
                        .error = "e",
                        .owner_term = 300,
                        .time_ms = 1'700'000'000'000,
                        .secret = "s"};
  EXPECT_EQ(*decode_twin_value(*encode_twin_value(value)), value);
  EXPECT_EQ(*encode_twin_value({.json = "1.50"}), "1.50") << "bare JSON where nothing else is known";
  EXPECT_TRUE(encode_twin_value(value)->starts_with(value.json + '\0')) << "readable without this codec";
}

TEST(TwinValue, SkipsTagsThatItDoesNotKnow) {
  std::string bytes = *encode_twin_value({.json = "1", .actor = "a"});
  bytes += "\x7f\x03xyz";
  EXPECT_EQ(decode_twin_value(bytes)->actor, "a");
}

TEST(TwinValue, RefusesWhatIsNone) {
  const std::string good = *encode_twin_value({.json = "1", .actor = "abc", .applied = dot(1, 1)});
  ASSERT_TRUE(decode_twin_value(good).ok());
  EXPECT_EQ(decode_twin_value("").error().code, Code::corrupt);
  EXPECT_EQ(decode_twin_value("{").error().code, Code::corrupt);
  EXPECT_EQ(decode_twin_value(good.substr(0, good.size() - 1)).error().code, Code::corrupt);
  EXPECT_EQ(decode_twin_value(good + std::string("\x01\x01z", 3)).error().code, Code::corrupt) << "out of order";
  EXPECT_EQ(decode_twin_value(std::string(10000, '[') + std::string(10000, ']')).error().code, Code::corrupt);
  std::vector<Dot> crowd;
  for (std::uint64_t seq = 1; seq <= twin_seen_max + 1; ++seq) crowd.push_back(dot(1, seq));
  EXPECT_EQ(encode_twin_value({.json = "1", .seen = crowd}).error().code, Code::out_of_range);
  crowd.pop_back();
  EXPECT_EQ(decode_twin_value(*encode_twin_value({.json = "1", .seen = crowd}))->seen, crowd);
  EXPECT_EQ(encode_twin_value({.json = "1", .actor = "a\nb"}).error().code, Code::out_of_range);
  EXPECT_EQ(encode_twin_value({.json = std::string("1\0", 2)}).error().code, Code::out_of_range);
}

TEST(TwinValue, DecimalsCompareExactly) {
  const auto less = [](const char* a, const char* b) {
    return compare_decimals(a, b) == std::strong_ordering::less &&
           compare_decimals(b, a) == std::strong_ordering::greater;
  };
  EXPECT_TRUE(less("-1", "1"));
  EXPECT_TRUE(less("-2", "-1"));
  EXPECT_TRUE(less("0", "1e-300"));
  EXPECT_TRUE(less("-1e-300", "0"));
  EXPECT_TRUE(less("9.99", "10"));
  EXPECT_TRUE(less("0.1", "0.10000000000000000000000001"));
  EXPECT_TRUE(less("9007199254740992", "9007199254740993"));
  EXPECT_TRUE(less("1e308", "1e309"));
  for (const auto& [a, b] : {std::pair{"0", "-0.00e9"}, {"1.50", "15e-1"}, {"+100", "1E2"}, {".5", "0.5"}, {"5.", "5"}})
    EXPECT_EQ(compare_decimals(a, b), std::strong_ordering::equal) << a << " " << b;
  for (const char* bad : {"", "-", ".", "e1", "1e", "1e+-5", "1x", "0x10", "nan", "inf", "1e99999999999", " 1"})
    EXPECT_FALSE(is_decimal(bad)) << bad;
}

TEST(TwinValue, FitsItsType) {
  const auto fits = [](const char* type, const char* json) { return check_type({.type = type}, json).ok(); };
  EXPECT_TRUE(fits("int", "5") && fits("integer", "-5") && fits("int", "\"5\"") && fits("int", "9223372036854775807"));
  EXPECT_FALSE(fits("int", "5.0") || fits("int", "1e3") || fits("int", "9223372036854775808") ||
               fits("int", "\"five\""));
  EXPECT_FALSE(fits("int", "true") || fits("int", "[5]") || fits("int", "\"\"") || fits("int", "null"));
  EXPECT_TRUE(fits("float", "5") && fits("double", "-5.5e3") && fits("float", "\"23.5\""));
  EXPECT_FALSE(fits("float", "\"NaN\"") || fits("float", "1e400") || fits("double", "true") || fits("float", "{}"));
  EXPECT_TRUE(fits("boolean", "true") && fits("boolean", "\"false\""));
  EXPECT_FALSE(fits("boolean", "1") || fits("boolean", "\"yes\""));
  EXPECT_TRUE(fits("string", "\"\"") && fits("bytes", "\"AA==\"") && fits("stream", "\"x\""));
  EXPECT_FALSE(fits("string", "1") || fits("string", "null"));
  EXPECT_TRUE(fits("", "{\"any\":1}")) << "nobody defined it";
}

TEST(TwinValue, KeepsItsLimits) {
  const PropertyDefinition definition{.type = "float", .minimum = "-1.5", .maximum = "10"};
  for (const char* good : {"-1.5", "10", "\"9.99\"", "0"}) EXPECT_TRUE(check_limits(definition, good).ok()) << good;
  for (const char* bad : {"-1.500001", "10.1", "\"11\"", "1e2"})
    EXPECT_FALSE(check_limits(definition, bad).ok()) << bad;
}

TEST(TwinValue, DefinitionsRoundTripAsJson) {
  const PropertyDefinition definition{.type = "int",
                                      .policy = Policy::safe_min,
                                      .history = History::latest,
                                      .optional = false,
                                      .read_only = true,
                                      .unit = "bar",
                                      .minimum = "0",
                                      .maximum = "16",
                                      .description = "in the main"};
  EXPECT_EQ(*parse_definition(definition_json(definition)), definition);
  EXPECT_EQ(definition_json({.type = "int"}), R"({"policy":"cloud-wins","type":"int"})");
  EXPECT_EQ(parse_definition(R"({"type":"float","minimum":-1.5,"later":[1]})")->minimum, "-1.5");
  for (const char* bad :
       {"", "[]", R"({"type":"INT"})", R"({"type":1})", R"({"policy":"best"})", R"({"history":"some"})",
        R"({"type":"int","minimum":"low"})", R"({"type":"int","minimum":2,"maximum":1})", R"({"optional":"no"})"})
    EXPECT_EQ(parse_definition(bad).ok(), false) << bad;
}

TEST(TwinValue, JsonIsMadeCanonicalAndNumbersKeepTheirDigits) {
  EXPECT_EQ(*canonical_json(" 1.50 "), "1.50");
  EXPECT_EQ(*canonical_json("12345678901234567890123"), "12345678901234567890123");
  EXPECT_EQ(*canonical_json("{ \"b\" : 1, \"a\" : [ ] }"), R"({"a":[],"b":1})");
  EXPECT_EQ(*canonical_json("\"\\u0041\""), "\"A\"");
  for (const char* bad : {"", " ", "{", "1 2", "'a'", "\"\xff\"", "nan"}) EXPECT_FALSE(canonical_json(bad).ok()) << bad;
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(is_json(nested(document_depth_max)));
  EXPECT_FALSE(is_json(nested(document_depth_max + 1)));
  EXPECT_TRUE(is_json("\"" + nested(100) + "\\\"[\""));
}

TEST(TwinValue, TimesAreShownInUtc) {
  EXPECT_EQ(rfc3339_ms(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(rfc3339_ms(951'827'696'789), "2000-02-29T12:34:56.789Z");
  EXPECT_EQ(rfc3339_ms(INT64_MAX), "9999-12-31T23:59:59.999Z");
  EXPECT_EQ(rfc3339_ms(INT64_MIN), "1970-01-01T00:00:00.000Z");
}

}  // namespace
}  // namespace landfall
