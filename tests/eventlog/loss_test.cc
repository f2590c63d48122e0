#include <gtest/gtest.h>

#include <fstream>

#include "eventlog/anchor.h"
#include "tests/eventlog/log_fixture.h"

namespace landfall {
namespace {

namespace fs = std::filesystem;
using test::event;
using test::LogMachine;

// Loss of what was A1 is never silent: whatever happens to the files, the next open or verify says so.

std::vector<fs::path> wals(const LogMachine& m) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(m.directory())) {
    if (entry.path().extension() == ".log" && fs::file_size(entry.path()) > 0) files.push_back(entry.path());
  }
  return files;
}

// A log that a kill -9 left: everything is in the WAL.
void leave(LogMachine& m, int events) {
  m.append_each(Stream::alarm, events);
  fs::copy(m.directory(), m.dir.path() / "killed", fs::copy_options::recursive);
  m.close();
  fs::remove_all(m.directory());
  fs::rename(m.dir.path() / "killed", m.directory());
}

// Whether the open run says that its parent lost events.
bool start_says_degraded(const LogMachine& m) {
  auto chunk = decode_chunk(m.chunks(m.own(Stream::control)).at(0).bytes);
  RowReader rows(chunk->rows);
  return decode_run_start(decode_row(rows.next())->payload)->degraded;
}

TEST(Loss, NothingIsLostByAKill) {
  LogMachine m;
  leave(m, 20);
  m.open();
  EXPECT_FALSE(m.log->degraded());
  EXPECT_FALSE(start_says_degraded(m));
  EXPECT_EQ(m.verify().faults, std::vector<std::string>{});
}

TEST(Loss, OfTheWholeWalIsFound) {
  LogMachine m;
  m.reopen();
  leave(m, 20);
  for (const auto& file : wals(m)) fs::remove(file);
  m.open();
  EXPECT_TRUE(m.log->degraded());
  EXPECT_TRUE(start_says_degraded(m));
  EXPECT_FALSE(m.verify().faults.empty());
}

TEST(Loss, OfTheWalsTailIsFoundAndRefilled) {
  LogMachine cut;
  const RunStream cut_of = cut.own(Stream::alarm);
  cut.append_each(Stream::alarm, 20);
  std::vector<std::string> elsewhere;  // what a hub has of it
  for (auto& chunk : cut.chunks(cut_of)) elsewhere.push_back(std::move(chunk.bytes));
  leave(cut, 0);
  for (const auto& file : wals(cut)) fs::resize_file(file, fs::file_size(file) / 2);
  cut.open();
  EXPECT_TRUE(cut.log->degraded());
  EXPECT_TRUE(start_says_degraded(cut));
  const std::uint64_t left = cut.log->received().base(cut_of);
  EXPECT_LT(left, 20u);
  EXPECT_GT(left, 0u);
  // It comes back under its old names.
  for (const auto& chunk : elsewhere) EXPECT_TRUE(cut.ingest(chunk).ok());
  EXPECT_TRUE(cut.log->received().contains(cut_of, 1, 20));
  for (const std::string& payload : cut.payloads(cut.own(Stream::control))) {
    EXPECT_EQ(payload.find(R"("audit":"fork")"), std::string::npos) << "it knows that it lost events";
  }
  EXPECT_EQ(cut.verify().faults, std::vector<std::string>{});
  cut.reopen();
  EXPECT_FALSE(cut.log->degraded());
}

TEST(Loss, OfTheDatabaseIsFound) {
  LogMachine m;
  m.append_each(Stream::alarm, 5);
  RunId before = m.log->run();
  m.close();
  fs::remove_all(m.directory());
  m.open();
  EXPECT_TRUE(m.log->degraded());
  EXPECT_GT(m.log->run().counter, before.counter) << "a name must not be used again";
  EXPECT_TRUE(start_says_degraded(m));
}

TEST(Loss, ARestoredBackupIsNoted) {
  LogMachine m;
  m.append_each(Stream::alarm, 5);
  m.close();
  fs::remove(m.anchor());
  m.open();
  EXPECT_TRUE(m.log->degraded());
  EXPECT_TRUE(start_says_degraded(m));
  m.reopen();
  EXPECT_FALSE(m.log->degraded()) << "once noted, the next run begins well";
}

TEST(Loss, AnOldBackupBesideANewerAnchorIsFound) {
  LogMachine m;
  m.append_each(Stream::alarm, 5);
  m.close();
  fs::copy(m.directory(), m.dir.path() / "backup", fs::copy_options::recursive);
  m.open();
  m.append_each(Stream::alarm, 5);
  m.close();
  fs::remove_all(m.directory());
  fs::rename(m.dir.path() / "backup", m.directory());
  m.open();
  EXPECT_TRUE(m.log->degraded());
}

TEST(Verify, FindsAnyChangedByteOfAStoredChunk) {
  LogMachine m;
  ASSERT_TRUE(m.append(Stream::telemetry, {event("d1", "a payload"), event("d2", "another payload")}).ok());
  m.append_each(Stream::telemetry, 2);
  std::string key, value;
  ASSERT_TRUE(m.store
                  ->scan(Table::chunks, {}, Store::Order::forward,
                         [&](std::string_view k, std::string_view v) {
                           if (read_chunk_header(v)->of != m.own(Stream::telemetry)) return true;
                           return key = k, value = v, false;
                         })
                  .ok());
  ASSERT_EQ(m.verify().faults, std::vector<std::string>{});
  auto write = [&](const std::string& bytes) {
    Batch batch;
    batch.put(Table::chunks, key, bytes);
    bool done = false;
    m.store->commit(std::move(batch), [&](const Status& status) { done = status.ok(); });
    m.loop.run_until([&] { return done; });
  };
  for (std::size_t at = 0; at < value.size(); ++at) {
    for (char bit : {'\x01', '\x80'}) {
      std::string bad = value;
      bad[at] ^= bit;
      auto decoded = decode_chunk(bad);
      // Padding of the message that no field covers is not content.
      if (decoded.ok() && decoded->header == decode_chunk(value)->header && decoded->rows == decode_chunk(value)->rows)
        continue;
      write(bad);
      EXPECT_FALSE(m.verify().faults.empty()) << "byte " << at;
    }
  }
  write(value);
  EXPECT_EQ(m.verify().faults, std::vector<std::string>{});
}

TEST(Verify, FindsARemovedChunk) {
  LogMachine m;
  m.append_each(Stream::telemetry, 6);
  std::vector<std::string> keys;
  ASSERT_TRUE(m.store
                  ->scan(Table::chunks, {}, Store::Order::forward,
                         [&](std::string_view k, std::string_view v) {
                           if (read_chunk_header(v)->of == m.own(Stream::telemetry)) keys.emplace_back(k);
                           return true;
                         })
                  .ok());
  for (const std::string& key : keys) {
    const std::string value = *m.store->get(Table::chunks, key);
    auto commit = [&](Batch batch) {
      bool done = false;
      m.store->commit(std::move(batch), [&](const Status& status) { done = status.ok(); });
      m.loop.run_until([&] { return done; });
    };
    Batch remove, put;
    remove.erase(Table::chunks, key);
    put.put(Table::chunks, key, value);
    commit(std::move(remove));
    EXPECT_FALSE(m.verify().faults.empty());
    commit(std::move(put));
  }
  EXPECT_EQ(m.verify().faults, std::vector<std::string>{});
}

TEST(Anchor, KeepsOldRecordsWhileOthersGoRound) {
  test::TempDir dir;
  const auto file = dir.path() / "anchor";
  auto record = [](std::uint32_t run, std::uint64_t seq) {
    return AnchorRecord{{{}, run, 1}, Stream::alarm, seq, {7}};
  };
  for (int open = 0; open < 3; ++open) {
    auto ring = AnchorRing::open(file, false);
    ASSERT_TRUE(ring.ok());
    EXPECT_TRUE(open == 0 ? !ring->found().ok() : ring->found()->size() == 101);
    for (std::uint32_t run = 1; open == 0 && run <= 100; ++run) ASSERT_TRUE(ring->write({record(run, run)}).ok());
    for (std::uint64_t seq = 1; seq <= 5000; ++seq) ASSERT_TRUE(ring->write({record(999, seq)}).ok());
  }
  auto ring = AnchorRing::open(file, true);
  std::vector<AnchorRecord> found = *ring->found();
  ASSERT_EQ(found.size(), 101u);
  for (std::uint32_t run = 1; run <= 100; ++run) EXPECT_EQ(found[run - 1], record(run, run));
  EXPECT_EQ(found[100], record(999, 5000));
}

// Half of the file may tear in the middle of a write, at any slot.
TEST(Anchor, SurvivesAnySlotTorn) {
  test::TempDir dir;
  const auto file = dir.path() / "anchor";
  AnchorRecord quiet{{{}, 1, 1}, Stream::alarm, 4, {7}}, busy{{{}, 2, 1}, Stream::alarm, 0, {7}};
  {
    auto ring = AnchorRing::open(file, false);
    ASSERT_TRUE(ring->write({quiet}).ok());
    for (busy.seq = 1; busy.seq <= 2600; ++busy.seq) ASSERT_TRUE(ring->write({busy}).ok());
    busy.seq = 2600;
  }
  std::ifstream in(file, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  ASSERT_EQ(bytes.size(), 65536u);
  for (std::size_t slot = 0; slot < 1024; ++slot) {
    std::string torn = bytes;
    torn.replace(slot * 64 + 20, 44, 44, '\xee');
    std::ofstream(file, std::ios::binary) << torn;
    auto ring = AnchorRing::open(file, true);
    auto found = ring->found();
    ASSERT_TRUE(found.ok());
    ASSERT_EQ(found->size(), 2u) << "slot " << slot;
    EXPECT_EQ(found->at(0), quiet);
    EXPECT_GE(found->at(1).seq, 2599u);
  }
  std::ofstream(file, std::ios::binary) << std::string(65536, '\xee');
  EXPECT_EQ(AnchorRing::open(file, true)->found().error().code, Code::corrupt);
}

}  // namespace
}  // namespace landfall
