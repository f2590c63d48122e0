// Property: what a hub's log lacks of the topics that are kept for ever comes back from Kafka, event by event, wherever it
// was ended; what contradicts or is not there any more is named, and keeps nothing else from coming back.
#include "cloudsync/hub/rebuild.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/hub/broker.h"
#include "tests/hub/hub_rig.h"
#include "tests/hub/made_events.h"
#include "tests/hub/made_rows.h"
#include "tests/hub/topic_reader.h"

namespace landfall {
namespace {

const RunStream telemetry1{made_run(1), Stream::telemetry}, alarm1{made_run(1), Stream::alarm},
    alarm2{made_run(2), Stream::alarm}, document2{made_run(2), Stream::document},
    desired3{made_run(3), Stream::desired};

class RebuildTest : public testing::Test {
 protected:
  std::unique_ptr<HubRig> open(const std::string& folder) {
    KafkaWriterOptions options;
    options.bootstrap = Broker::shared().bootstrap();
    options.topic_prefix = prefix_;
    options.shards = 2;
    options.on_whole = [this](const Rebuilt& rebuilt) { rebuilt_ = rebuilt; };
    rebuilt_.reset();
    auto rig = std::make_unique<HubRig>(scratch_.path() / folder, std::move(options));
    return rig;
  }

  // A first hub and its Kafka.
  void fill(const std::string& prefix, std::uint64_t alarms = 3000) {
    prefix_ = prefix;
    auto rig = open("first");
    rig->start();
    ASSERT_TRUE(rig->until([&] { return rebuilt_.has_value(); }));
    EXPECT_EQ(rebuilt_->streams, 0u);
    own_ = rig->log().run();
    rig->ingest(telemetry1, 500);
    rig->ingest(alarm1, alarms);
    rig->ingest(alarm2, 70, 7);
    rig->ingest(document2, 40);
    ingest(*rig, desired3, made_changes());
    Event said = made(Kind::audit, "", R"({"audit":"made"})");
    bool done = false;
    rig->log().append(Stream::control, {&said, 1}, [&](const Result<Log::Appended>& stored) { done = stored.ok(); });
    ASSERT_TRUE(rig->until([&] { return done && rig->writer().status().backlog_events == 0; }));
    ASSERT_TRUE(rig->until_committed(alarm1, alarms));
    for (const RunStream& of : rig->log().received().streams()) {
      if (is_kept(of.stream)) rows_[of] = rows(*rig, of);
    }
    state_ = state(*rig);
    EXPECT_GE(rows_.size(), 5u);
  }

  static void ingest(HubRig& rig, const RunStream& of, const std::vector<std::string>& rows) {
    bool done = false;
    rig.log().ingest(chunk_of(of, rows), [&](const Status& status) { done = status.ok(); });
    ASSERT_TRUE(rig.until([&] { return done; }));
  }

  static std::string rows(HubRig& rig, const RunStream& of) {
    std::string all;
    for (std::uint64_t next = 1;;) {
      const auto chunks = rig.log().read(of, next, 1 << 20).value();
      for (const auto& chunk : chunks) {
        EXPECT_EQ(chunk.header.first, next);
        next = chunk.header.last + 1;
        all += decode_chunk(chunk.bytes).value().rows;
      }
      if (chunks.empty()) return all;
    }
  }

  static Digest state(HubRig& rig) { return rig.log().state_digest(Stream::desired).value(); }

  // All that the first one's log held, but what is named; and nothing is in Kafka twice.
  void expect_back(HubRig& rig, const std::vector<RunStream>& without = {}) {
    for (const auto& [of, wanted] : rows_) {
      const auto name = to_string(of.run) + "/" + std::string(to_string(of.stream));
      if (std::ranges::find(without, of) != without.end()) continue;
      EXPECT_TRUE(rows(rig, of) == wanted) << name << ": " << rig.log().received().base(of);
    }
    EXPECT_EQ(state(rig), state_);
    rig.ingest(alarm2, 90, 7);
    ASSERT_TRUE(rig.until_committed(alarm2, 90));
    ASSERT_TRUE(rig.until([&] { return rig.writer().status().backlog_events == 0; }));
  }

  void expect_topics_whole() {
    std::string faults;
    for (const auto& fault : check_topics(Broker::shared().bootstrap(), prefix_).faults) faults += fault + "\n";
    EXPECT_EQ(faults, "");
  }

  Scratch scratch_;
  std::string prefix_;
  std::optional<Rebuilt> rebuilt_;
  RunId own_;
  std::map<RunStream, std::string> rows_;
  Digest state_{};
};

TEST_F(RebuildTest, BringsBackWhatALostDiskHeld) {
  fill("rebuild");
  auto rig = open("second");
  rig->start();
  ASSERT_TRUE(rig->until([&] { return rebuilt_.has_value(); }));
  EXPECT_EQ(rebuilt_->streams, rows_.size());
  EXPECT_TRUE(rebuilt_->refused.empty() && rebuilt_->gone.empty());
  EXPECT_GE(rig->log().received().base({own_, Stream::control}), 2u) << "the hub's own earlier run";
  EXPECT_EQ(rig->log().received().max(telemetry1), 0u) << "what ages away in Kafka stays there";
  EXPECT_EQ(rig->writer().committed().base(telemetry1), 500u);
  expect_back(*rig);
  rig->ingest(telemetry1, 700);
  ASSERT_TRUE(rig->until_committed(telemetry1, 700));
  expect_topics_whole();

  rig.reset();
  rig = open("second");  // what is here is not read again
  rig->start();
  ASSERT_TRUE(rig->until([&] { return rebuilt_.has_value(); }));
  EXPECT_EQ(rebuilt_->streams, 0u);
}

TEST_F(RebuildTest, GoesOnWhereItWasEnded) {
  fill("ended-rebuild", 9000);
  std::mt19937 chance(20260303);  // NOLINT: a fixed seed, to be run again
  int ended = 0;
  for (int round = 0; round < 8; ++round) {
    auto rig = open("second");
    rig->start();
    const std::uint64_t enough = rig->log().received().base(alarm1) + chance() % 2000;
    ASSERT_TRUE(rig->until([&] { return rebuilt_ || rig->log().received().base(alarm1) >= enough; }));
    ended += !rebuilt_ && rig->writer().status().rebuilding;
  }
  EXPECT_GT(ended, 0) << "none was ended on its way: the test shows nothing";
  auto rig = open("second");
  rig->start();
  ASSERT_TRUE(rig->until([&] { return rebuilt_.has_value(); }));
  expect_back(*rig);
  expect_topics_whole();
}

TEST_F(RebuildTest, NamesWhatTheLogHasOtherwiseAndBringsBackTheRest) {
  fill("other-rebuild");
  auto rig = open("second");
  int stored = 0;
  for (std::string& chunk : made_chunks(alarm1, 1, 50, 50, 1'750'000'009'999))
    rig->log().ingest(std::move(chunk), [&](const Status& status) { stored += status.ok(); });
  ASSERT_TRUE(rig->until([&] { return stored == 1; }));
  rig->start();
  ASSERT_TRUE(rig->until([&] { return rebuilt_.has_value(); }));
  ASSERT_EQ(rebuilt_->refused.size(), 1u);
  EXPECT_EQ(rebuilt_->refused[0].first, alarm1);
  EXPECT_EQ(rebuilt_->refused[0].second.code, Code::conflict);
  EXPECT_EQ(rebuilt_->streams, rows_.size() - 1);
  expect_back(*rig, {alarm1});
  expect_topics_whole();
}

// Somebody shortened a topic that should be kept.
TEST_F(RebuildTest, GoesOnWithoutWhatKafkaHasNoMore) {
  fill("short-rebuild");
  const auto records = read_topics(Broker::shared().bootstrap(), prefix_, {"alarms"});
  const auto partition = std::ranges::find(records, to_string(alarm1.run), [](const auto& r) {
                           return r.headers.at("ce_run");
                         })->partition;
  delete_records(Broker::shared().bootstrap(), prefix_ + ".alarms", partition, 10);
  auto rig = open("second");
  rig->start();
  ASSERT_TRUE(rig->until([&] { return rebuilt_.has_value(); }));
  EXPECT_TRUE(rebuilt_->refused.empty());
  EXPECT_TRUE(std::ranges::find(rebuilt_->gone, alarm1) != rebuilt_->gone.end());
  expect_back(*rig, rebuilt_->gone);
  EXPECT_EQ(rig->writer().committed().base(alarm1), 3000u);
  rig->log().ingest(made_chunks(alarm1, 3001, 3010)[0], [](const Status&) {});
  EXPECT_TRUE(rig->until_committed(alarm1, 3010)) << "it goes on behind its gap";
}

}  // namespace
}  // namespace landfall
