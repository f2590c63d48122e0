// Property: what a hub's log lacks of the topics that are kept for ever comes back from Kafka, event by event, wherever it
// was ended; what contradicts or is not there any more is named, and keeps nothing else from coming back.
#include "cloudsync/hub/rebuild.h"

#include <gtest/gtest.h>

#include <random>

#include "eventlog/rocks_store.h"
#include "tests/hub/broker.h"
#include "tests/hub/hub_rig.h"
#include "tests/hub/made_events.h"
#include "tests/hub/made_rows.h"
#include "tests/hub/topic_reader.h"

namespace landfall {
namespace {

const RunStream telemetry1{made_run(1), Stream::telemetry}, alarm1{made_run(1), Stream::alarm},
    alarm2{made_run(2), Stream::alarm}, document2{made_run(2), Stream::document},
    desired3{made_run(3), Stream::desired}, reported3{made_run(3), Stream::reported};

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
    // Of which the voids take more than one chunk of those that come back.
    const std::string reports = with_voids(chunk_of(reported3, made_reports(3000)), 5, 2990);
    for (const auto& [first, last] : {std::pair(1, 1000), {1001, 1003}, {1004, 2900}})
      ingest(*rig, cut(reports, first, last));
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
    ingest(rig, chunk_of(of, rows));
  }
  static void ingest(HubRig& rig, const std::string& chunk) {
    bool done = false;
    rig.log().ingest(chunk, [&](const Status& status) {
      ASSERT_TRUE(status.ok()) << status.error().detail;
      done = true;
    });
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

  static std::pair<Digest, Digest> state(HubRig& rig) {
    return {rig.log().state_digest(Stream::desired).value(), rig.log().state_digest(Stream::reported).value()};
  }
  static Digest chain(HubRig& rig, const RunStream& of) {
    return rig.log().read(of, rig.log().received().max(of), 1).value().at(0).header.chain_after;
  }

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

  static Digest chain_of(const std::string& chunk, std::uint64_t last) {
    return read_chunk_header(cut(chunk, 1, last)).value().chain_after;
  }
  std::unique_ptr<Store> stored(Loop& loop, const std::string& folder, bool read_only) {
    RocksStoreOptions options;
    options.directory = scratch_.path() / folder / "db";
    options.anchor = scratch_.path() / folder / "anchor";
    options.read_only = read_only;
    return open_rocks_store(loop, std::move(options)).value();
  }
  // As `landfall log verify` finds them.
  std::vector<std::string> faults(const std::string& folder) {
    UvLoop loop;
    return verify_log(*stored(loop, folder, true), {}).value().faults;
  }
  // One byte of the void of reported3 that has this seq.
  void change_void(const std::string& folder, std::uint64_t at) {
    UvLoop loop;
    const auto store = stored(loop, folder, false);
    Batch batch;
    const auto visit = [&](std::string_view key, std::string_view bytes) {
      DecodedChunk chunk = decode_chunk(bytes).value();
      const ChunkHeader& header = chunk.header;
      if (header.of != reported3 || at < header.first || at > header.last) return true;
      RowReader reader(chunk.rows);
      std::string_view row;
      for (std::uint64_t seq = header.first; seq <= at; ++seq) row = reader.next();
      EXPECT_EQ(decode_row(row).value().kind, Kind::voided);
      chunk.rows[static_cast<std::size_t>(row.data() - chunk.rows.data()) + row.find("pump-1") + 5] = '2';
      batch.put(Table::chunks, std::string(key), encode_chunk(header, chunk.rows));
      return false;
    };
    ASSERT_TRUE(store->scan(Table::chunks, {}, Store::Order::forward, visit).ok());
    ASSERT_TRUE(store->write(std::move(batch)).ok());
  }
  // Seqs of the records that name the chain before them.
  std::vector<std::string> seams() {
    std::vector<std::string> seqs;
    for (const auto& record : read_topics(Broker::shared().bootstrap(), prefix_, {"twins"})) {
      if (record.headers.contains("landfall-chain")) seqs.push_back(record.headers.at("ce_sequence"));
    }
    return seqs;
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
  std::pair<Digest, Digest> state_{};
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

// What an edge sends of one range of superseded reports, when the link breaks within it again and again: as voids that were
// made apart, and in between as the changes themselves.
TEST_F(RebuildTest, BringsBackRangesOfVoidsThatCameInPieces) {
  prefix_ = "pieces-rebuild";
  const std::string changes = chunk_of(reported3, made_reports(500));
  const std::string whole = with_voids(changes, 11, 290);
  struct Piece {
    std::string chunk;
    std::uint64_t last;
    bool within;  // it ends within a range of voids
  };
  const std::vector<Piece> pieces = {
      {cut(whole, 1, 60), 60, true},
      {cut(changes, 61, 80), 80, false},
      {cut(with_voids(cut(changes, 41, 200), 41, 200), 81, 120), 120, true},
      {cut(with_voids(cut(changes, 101, 300), 101, 290), 121, 200), 200, true},
      {cut(whole, 201, 300), 300, false},
  };
  for (const Piece& piece : pieces) {  // a hub that reads its progress back before each
    auto rig = open("first");
    rig->start();
    ASSERT_TRUE(rig->until([&] { return rebuilt_.has_value(); }));
    ingest(*rig, piece.chunk);
    ASSERT_TRUE(rig->until_committed(reported3, piece.last)) << piece.last << ": " << rig->writer().status().last_error;
    EXPECT_TRUE(rig->writer().status().forks.empty());
    rows_[reported3] = rows(*rig, reported3);
    state_ = state(*rig);
    EXPECT_EQ(chain(*rig, reported3) == chain_of(changes, piece.last), !piece.within) << piece.last;
  }
  EXPECT_EQ(seams(), (std::vector<std::string>{"61", "81", "121", "201"}));
  expect_topics_whole();

  auto rig = open("second");
  rig->start();
  ASSERT_TRUE(rig->until([&] { return rebuilt_.has_value(); }));
  EXPECT_TRUE(rebuilt_->refused.empty() && rebuilt_->gone.empty());
  EXPECT_TRUE(rows(*rig, reported3) == rows_[reported3]) << rig->log().received().base(reported3);
  EXPECT_EQ(state(*rig), state_);
  EXPECT_EQ(chain(*rig, reported3), chain_of(changes, 300));
  ingest(*rig, cut(changes, 301, 400));
  ASSERT_TRUE(rig->until_committed(reported3, 400));
  EXPECT_EQ(rig->log().state(Stream::reported, "twin/pump-1").value().size(), 1u);
  expect_topics_whole();

  rig.reset();
  EXPECT_EQ(faults("first"), std::vector<std::string>{});
  EXPECT_EQ(faults("second"), std::vector<std::string>{});
  change_void("second", 250);
  ASSERT_FALSE(faults("second").empty());
  EXPECT_NE(faults("second")[0].find("chain"), std::string::npos) << faults("second")[0];
}

// A hub that was lost within a range, and what it has of it is not what comes next.
TEST_F(RebuildTest, GoesOnWithinARangeOfVoids) {
  prefix_ = "within-rebuild";
  const std::string changes = chunk_of(reported3, made_reports(300));
  {
    auto rig = open("first");
    rig->start();
    ingest(*rig, cut(with_voids(changes, 11, 290), 1, 60));
    ASSERT_TRUE(rig->until_committed(reported3, 60));
  }
  auto rig = open("second");
  rig->start();
  ASSERT_TRUE(rig->until([&] { return rebuilt_.has_value(); }));
  EXPECT_TRUE(rebuilt_->refused.empty() && rebuilt_->gone.empty());
  EXPECT_EQ(rig->log().received().base(reported3), 60u);
  ingest(*rig, cut(changes, 61, 100));
  ASSERT_TRUE(rig->until_committed(reported3, 100)) << rig->writer().status().last_error;
  ingest(*rig, cut(with_voids(cut(changes, 91, 300), 91, 290), 101, 300));
  ASSERT_TRUE(rig->until_committed(reported3, 300)) << rig->writer().status().last_error;
  EXPECT_EQ(chain(*rig, reported3), chain_of(changes, 300));
  EXPECT_EQ(seams(), (std::vector<std::string>{"61", "101"}));
}

// Where no voids are, what does not join stays a fork.
TEST_F(RebuildTest, WritesNoForkForVoidsElsewhere) {
  prefix_ = "fork-rebuild";
  const std::string changes = chunk_of(reported3, made_reports(300));
  {
    auto rig = open("first");
    rig->start();
    ingest(*rig, cut(with_voids(changes, 11, 90), 1, 120));
    ASSERT_TRUE(rig->until_committed(reported3, 120));
  }
  auto other = made_reports(300);
  other[3] = other[4];
  auto rig = open("other");
  ingest(*rig, chunk_of(reported3, other));
  rig->start();
  ASSERT_TRUE(rig->until([&] { return !rig->writer().status().forks.empty(); }));
  EXPECT_EQ(rig->writer().committed().base(reported3), 120u);
}

}  // namespace
}  // namespace landfall
