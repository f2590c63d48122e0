// Property: ids print and parse back exactly, and nothing else parses.

#include "schemas/ids.h"

#include <gtest/gtest.h>

#include "samples.h"
#include "schemas/hybrid_time.h"

namespace landfall {
namespace {

TEST(Ids, PrintAndParseBack) {
  const Dot dot{samples::run(0xf0, 4294967295u), Stream::telemetry, UINT64_MAX};
  EXPECT_EQ(to_string(dot), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff.4294967295-89abcdef/telemetry/18446744073709551615");
  EXPECT_EQ(parse_dot(to_string(dot)).value(), dot);
  EXPECT_EQ(parse_run(to_string(dot.run)).value(), dot.run);
  EXPECT_EQ(parse_node(to_string(dot.run.node)).value(), dot.run.node);
  for (std::size_t i = 0; i < stream_count; ++i) {
    const auto stream = static_cast<Stream>(i);
    EXPECT_EQ(parse_stream(to_string(stream)).value(), stream);
  }
}

TEST(Ids, NothingElseParses) {
  const std::string node = to_string(samples::node(1));
  for (const std::string& text :
       {std::string(), node.substr(1), node + "0", "G" + node.substr(1), "A" + node.substr(1)}) {
    EXPECT_FALSE(parse_node(text).ok()) << text;
  }
  for (const char* tail : {"", ".1", ".1-", ".1-89abcde", ".1-89abcdeg", ".01-89abcdef", ".+1-89abcdef", ".-1-89abcdef",
                           ".4294967296-89abcdef", "-89abcdef.1"}) {
    EXPECT_FALSE(parse_run(node + tail).ok()) << tail;
  }
  for (const char* tail : {"", "/", "/alarm", "/alarm/", "/alarm/01", "/alarm/-1", "/alarms/1", "/alarm/1/", "//1",
                           "/alarm/18446744073709551616"}) {
    EXPECT_FALSE(parse_dot(node + ".1-89abcdef" + tail).ok()) << tail;
  }
}

TEST(HybridClock, StrictlyIncreasesWhateverTheWallClockDoes) {
  HybridClock clock;
  HybridTime last;
  for (const std::int64_t wall : {1000, 1000, 1001, 5, -7, 1001, 2000}) {
    const HybridTime now = clock.tick(wall);
    EXPECT_GT(now, last);
    last = now;
  }
  EXPECT_EQ(last.unix_ms(), 2000);
  clock.observe(HybridTime::from_unix_ms(1'000'000'000), ClockClass::synced, 2000);
  EXPECT_EQ(clock.last(), last) << "a stamp far ahead is not catching";
  clock.observe(HybridTime::from_unix_ms(3000), ClockClass::untrusted, 2000);
  EXPECT_EQ(clock.last(), last) << "nor one that nobody vouches for";
  clock.observe(HybridTime::from_unix_ms(3000), ClockClass::synced, 2000);
  EXPECT_GT(clock.tick(2000).unix_ms(), 2999);
}

}  // namespace
}  // namespace landfall
