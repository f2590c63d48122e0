// Property: a report may go as a void exactly when all that it put is superseded and is of properties whose definition says
// history=latest.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>

#include "devicetwin/latest.h"
#include "devicetwin/twins.h"
#include "tests/devicetwin/state_node.h"

namespace landfall {
namespace {

class Latest : public ::testing::Test {
 protected:
  void SetUp() override { report({{"seen", "1"}}); }  // so that there is a device
  ~Latest() override { twins.reset(); }

  void define(const std::string& property, std::optional<History> history) {
    Twins::Describe describe{};
    describe.device = "pump";
    if (history)
      describe.define[property] = PropertyDefinition{.type = "float", .history = *history};
    else
      describe.define[property] = std::nullopt;
    ASSERT_TRUE(edge.wait([&](auto done) { twins->describe(describe, done); }).ok());
  }
  // Seq of the event.
  std::uint64_t report(const std::map<std::string, std::optional<std::string>>& values) {
    Twins::Report report{};
    report.device = "pump";
    for (const auto& [name, value] : values)
      report.values[name] = value ? std::optional(Twins::Reported{.value = *value}) : std::nullopt;
    const auto written = edge.wait([&](auto done) { twins->report(report, done); });
    EXPECT_TRUE(written.ok() && written->dots.size() == 1);
    return written.ok() && !written->dots.empty() ? written->dots[0].seq : 0;
  }
  // Which of the events so far.
  std::set<std::uint64_t> allowed(const MayVoid& may) const {
    std::set<std::uint64_t> seqs;
    const RunStream of{edge.log->run(), Stream::reported};
    const auto chunks = edge.log->read(of, 1, 1 << 20);
    EXPECT_TRUE(chunks.ok());
    for (const auto& chunk : *chunks) {
      const auto decoded = decode_chunk(chunk.bytes);
      RowReader reader(decoded->rows);
      for (std::uint64_t seq = chunk.header.first; seq <= chunk.header.last; ++seq) {
        if (may({of.run, of.stream, seq}, *decode_row(reader.next()))) seqs.insert(seq);
      }
    }
    return seqs;
  }
  using Seqs = std::set<std::uint64_t>;

  sim::Schedule schedule{1};
  test::StateNode edge{schedule, 2};
  std::unique_ptr<Twins> twins = std::make_unique<Twins>(*edge.objects, Layer::edge);
};

TEST_F(Latest, IsWhatIsSupersededAndOfALatestProperty) {
  define("rpm", History::latest);
  define("opening", History::keep);
  const auto a = report({{"rpm", "1"}});
  const auto b = report({{"opening", "1"}});
  report({{"opening", "2"}});
  const auto both = report({{"opening", "3"}, {"rpm", "2"}});
  const MayVoid may = superseded_latest(*edge.log);
  EXPECT_EQ(allowed(may), Seqs{a});
  report({{"rpm", "3"}, {"opening", "4"}});
  EXPECT_EQ(allowed(may), Seqs{a}) << both << " holds a value that is kept, as does " << b;
  const auto c = report({{"rpm", "4"}});
  EXPECT_EQ(allowed(may), Seqs{a}) << "what is live";
  report({{"rpm", "5"}});
  EXPECT_EQ(allowed(superseded_latest(*edge.log)), (Seqs{a, c}));
  EXPECT_TRUE(allowed(may).contains(a)) << "one that read the device before may still hold c for live";
}

TEST_F(Latest, FollowsTheDefinition) {
  const auto a = report({{"rpm", "1"}});
  const auto b = report({{"rpm", "2"}});
  report({{"rpm", "3"}});
  const MayVoid may = superseded_latest(*edge.log);
  EXPECT_EQ(allowed(may), Seqs{}) << "nobody said so";
  define("rpm", History::latest);
  EXPECT_EQ(allowed(may), (Seqs{a, b}));
  define("rpm", History::keep);
  EXPECT_EQ(allowed(may), Seqs{});
  define("rpm", History::latest);
  define("rpm", std::nullopt);
  EXPECT_EQ(allowed(may), Seqs{});
}

TEST_F(Latest, ADeleteIsNotAVoid) {
  define("rpm", History::latest);
  const auto a = report({{"rpm", "1"}});
  report({{"rpm", std::nullopt}});
  const MayVoid may = superseded_latest(*edge.log);
  EXPECT_EQ(allowed(may), Seqs{a});
}

// A dot of which the state cannot know yet is not there, and looks as if it were superseded.
TEST_F(Latest, WhatHasNotComeIsNotSuperseded) {
  define("rpm", History::latest);
  report({{"rpm", "1"}});
  const auto last = report({{"rpm", "2"}});
  const MayVoid may = superseded_latest(*edge.log);
  const RunStream of{edge.log->run(), Stream::reported};
  const auto chunks = edge.log->read(of, last, 1 << 20);
  const auto decoded = decode_chunk(chunks->back().bytes);
  RowReader reader(decoded->rows);
  const Event event = *decode_row(reader.next());
  EXPECT_FALSE(may({of.run, of.stream, last}, event));
  EXPECT_FALSE(may({of.run, of.stream, last + 1}, event));
  EXPECT_TRUE(may({of.run, of.stream, last - 1}, event));
  EXPECT_FALSE(may({of.run, Stream::desired, last - 1}, event));
}

}  // namespace
}  // namespace landfall
