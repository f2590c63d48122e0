// The ring between broker and edge: what write() returned for is read once, in order, whatever ends whom; after a restart
// of the machine only whole records are believed; a full ring refuses and never overwrites.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <random>
#include <sstream>

#include "edgeruntime/mqtt/ring.h"
#include "tests/conformance/temp_dir.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::size_t small_ring = 64 << 10;

std::string read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}
void write_file(const fs::path& file, const std::string& bytes) { std::ofstream(file, std::ios::binary) << bytes; }

class Ring : public ::testing::Test {
 protected:
  RingReader::Options options(std::uint64_t nonce = 7) { return {file, socket, nonce, small_ring}; }
  std::unique_ptr<RingReader> open_reader(std::uint64_t nonce = 7) {
    auto reader = RingReader::open(options(nonce));
    EXPECT_TRUE(reader.ok()) << reader.error().detail;
    return std::move(*reader);
  }
  std::unique_ptr<RingWriter> open_writer() {
    auto writer = RingWriter::open(file, socket);
    EXPECT_TRUE(writer.ok()) << writer.error().detail;
    return std::move(*writer);
  }
  // What a machine restart leaves: another boot's file.
  void restart_machine() {
    std::string bytes = read_file(file);
    std::string boot = read_file("/proc/sys/kernel/random/boot_id").substr(0, 36);
    const auto at = bytes.find(boot);
    ASSERT_NE(at, bytes.npos);
    bytes[at] = bytes[at] == 'x' ? 'y' : 'x';
    write_file(file, bytes);
  }
  test::TempDir dir;
  fs::path file = dir.path() / "ring", socket = dir.path() / "ring.sock";
};

Result<std::uint64_t> put(RingWriter& writer, std::string_view text, std::chrono::milliseconds wait = 0ms) {
  const std::string_view parts[] = {text.substr(0, text.size() / 2), text.substr(text.size() / 2)};
  return writer.write(parts, RingWriter::Urgency::can_rest, wait);
}

std::vector<std::string> take_all(RingReader& reader, bool release = true) {
  std::vector<std::string> all;
  for (;;) {
    auto record = reader.next();
    EXPECT_TRUE(record.ok()) << record.error().detail;
    if (!record.ok() || !record->has_value()) return all;
    all.emplace_back((*record)->body);
    if (release) reader.release((*record)->end);
  }
}

// Records of many lengths, each telling its own number.
std::string record_text(std::uint64_t number) {
  return std::to_string(number) + ":" + std::string(number * 37 % 900, static_cast<char>('a' + number % 26));
}

TEST_F(Ring, GivesRecordsInOrderOverManyLaps) {
  auto reader = open_reader();
  auto writer = open_writer();
  std::uint64_t written = 0, read = 0;
  for (int lap = 0; lap < 200; ++lap) {
    while (put(*writer, record_text(written)).ok()) ++written;
    writer = nullptr;
    writer = open_writer();  // a restarted broker goes on at the head, and may wait again
    for (const auto& text : take_all(*reader)) ASSERT_EQ(text, record_text(read++));
  }
  EXPECT_EQ(read, written);
  EXPECT_GT(writer->head(), 100 * small_ring);
}

TEST_F(Ring, RefusesWhenFullAndLosesNothing) {
  auto reader = open_reader();
  auto writer = open_writer();
  std::uint64_t written = 0;
  while (put(*writer, "one like the other").ok()) ++written;
  EXPECT_FALSE(writer->reader_moves());
  EXPECT_EQ(put(*writer, "one like the other", 10min).error().code, Code::unavailable) << "must not wait a second time";
  const auto all = take_all(*reader);
  ASSERT_EQ(all.size(), written);
  EXPECT_TRUE(writer->reader_moves());
  EXPECT_TRUE(put(*writer, "room again").ok());
}

TEST_F(Ring, KeepsUnreleasedRecordsForTheNextReader) {
  auto reader = open_reader();
  auto writer = open_writer();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(put(*writer, record_text(i)).ok());
  ASSERT_EQ(take_all(*reader, false).size(), 20u);
  reader = nullptr;
  ASSERT_TRUE(put(*writer, record_text(20)).ok());
  reader = open_reader(8);
  EXPECT_EQ(take_all(*reader).size(), 21u);
  EXPECT_EQ(reader->generation(), 7u) << "one boot, one generation";
}

TEST_F(Ring, RefusesASecondWriterAndASecondReader) {
  EXPECT_EQ(RingWriter::open(file, socket).error().code, Code::unavailable);
  auto reader = open_reader();
  EXPECT_FALSE(reader->writer_alive());
  auto writer = open_writer();
  EXPECT_TRUE(reader->writer_alive());
  EXPECT_EQ(RingWriter::open(file, socket).error().code, Code::conflict);
  EXPECT_EQ(RingReader::open(options()).error().code, Code::conflict);
  writer = nullptr;
  EXPECT_TRUE(RingWriter::open(file, socket).ok());
}

TEST_F(Ring, WaitsForDurableAndIsWoken) {
  auto reader = open_reader();
  const pid_t child = ::fork();
  if (child == 0) {
    auto writer = RingWriter::open(file, socket);
    const std::string_view parts[] = {"urgent"};
    const auto end = (*writer)->write(parts, RingWriter::Urgency::urgent, 10s);
    ::_exit(end.ok() && (*writer)->wait_durable(*end, 10s).ok() ? 0 : 1);
  }
  std::vector<std::string> got;
  while (got.empty()) got = take_all(*reader);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(got, std::vector<std::string>{"urgent"});
}

TEST_F(Ring, SleepIsRefusedWhileRecordsWait) {
  auto reader = open_reader();
  auto writer = open_writer();
  EXPECT_TRUE(reader->announce(RingReader::Rest::sleep));
  ASSERT_TRUE(put(*writer, "wakes").ok());
  char byte;
  EXPECT_EQ(::read(reader->wake_fd(), &byte, 1), 1);
  EXPECT_FALSE(reader->announce(RingReader::Rest::sleep));
  EXPECT_TRUE(reader->announce(RingReader::Rest::pause)) << "a pause is for records that wait for nobody";
  const std::string_view parts[] = {"urgent"};
  ASSERT_TRUE(writer->write(parts, RingWriter::Urgency::urgent, 0ms).ok());
  EXPECT_EQ(::read(reader->wake_fd(), &byte, 1), 1);
  EXPECT_FALSE(reader->announce(RingReader::Rest::pause));
}

// A writer killed at any instruction: the child says in shared memory what write() returned for.
TEST_F(Ring, KilledWriterLeavesWholeRecordsAndAllThatItAcknowledged) {
  auto* acknowledged = static_cast<std::atomic<std::uint64_t>*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::uint64_t read = 0;
  std::mt19937_64 random(1);
  auto reader = open_reader();
  for (int kill = 0; kill < 60; ++kill) {
    const std::uint64_t begun = *acknowledged, goal = begun + 1 + random() % 3000;
    const pid_t child = ::fork();
    if (child == 0) {
      reader = nullptr;  // the lock belongs to whoever has the file open: this child must not keep it
      auto writer = RingWriter::open(file, socket);
      if (!writer.ok()) ::_exit(1);
      for (std::uint64_t next = read;; ++next) {
        if (next < *acknowledged) next = *acknowledged;
        if (!put(**writer, record_text(next), 10s).ok()) ::_exit(2);
        acknowledged->store(next + 1);
      }
    }
    const auto check = [&] {
      for (const auto& text : take_all(*reader)) {
        // The record after the last acknowledged one may be there twice: written, killed, written again.
        if (read > 0 && text == record_text(read - 1)) continue;
        ASSERT_EQ(text, record_text(read)) << "kill " << kill;
        ++read;
      }
    };
    while (*acknowledged < goal && !HasFatalFailure()) {
      check();
      if (*acknowledged > begun && random() % 64 == 0) reader = nullptr, reader = open_reader();
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    check();
    ASSERT_FALSE(HasFatalFailure());
    ASSERT_GE(read, acknowledged->load());
  }
  EXPECT_GT(read, 10'000u);
  ::munmap(acknowledged, 4096);
}

TEST_F(Ring, AnotherBootTakesWhatIsWholeAndThenBeginsANewGeneration) {
  auto reader = open_reader(7);
  auto writer = open_writer();
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(put(*writer, record_text(i)).ok());
  auto record = reader->next();
  ASSERT_TRUE(record.ok() && record->has_value());
  reader->release((*record)->end);
  reader = nullptr;
  writer = nullptr;
  restart_machine();

  EXPECT_EQ(RingWriter::open(file, socket).error().code, Code::unavailable) << "not before the reader";
  reader = open_reader(9);
  ASSERT_TRUE(reader->recovering());
  EXPECT_EQ(reader->generation(), 7u);
  std::vector<std::uint64_t> ends;
  for (int i = 1; i < 30; ++i) {
    auto next = reader->next();
    ASSERT_TRUE(next.ok() && next->has_value());
    EXPECT_EQ((*next)->body, record_text(i));
    ends.push_back((*next)->end);
  }
  EXPECT_FALSE(reader->next()->has_value());
  reader->release(ends.back());
  EXPECT_FALSE(reader->recovering());
  EXPECT_EQ(reader->generation(), 9u);
  EXPECT_EQ(reader->used_bytes(), 0u);
  writer = open_writer();
  EXPECT_EQ(writer->head(), 0u);
  ASSERT_TRUE(put(*writer, "fresh").ok());
  EXPECT_EQ(take_all(*reader), std::vector<std::string>{"fresh"});
}

// A power cut leaves any mixture of older and newer pages, the last ones torn: what is taken is a run of true records
// from the tail that had reached the disk.
TEST_F(Ring, AnyMixtureOfPagesGivesOnlyTrueRecords) {
  constexpr std::size_t page = 4096;
  std::mt19937_64 random(2);
  std::uint64_t recovered = 0, lost = 0;
  for (int round = 0; round < 200; ++round) {
    fs::remove(file);
    auto reader = open_reader(random());
    auto writer = open_writer();
    std::vector<std::string> truth;  // by number
    const auto step = [&] {
      for (std::uint64_t n = random() % 60; n > 0; --n) {
        if (put(*writer, record_text(truth.size() + round * 1000)).ok())
          truth.push_back(record_text(truth.size() + round * 1000));
      }
      for (std::uint64_t n = random() % 40; n > 0; --n) {
        auto record = reader->next();
        if (!record.ok() || !record->has_value()) break;
        reader->release((*record)->end);
      }
    };
    for (int i = 0; i < 5; ++i) step();
    const std::string older = read_file(file);
    for (std::uint64_t n = random() % 4; n > 0; --n) step();
    std::string left = read_file(file);
    for (std::size_t at = 0; at < left.size(); at += page) {
      if (random() % 3 != 0) continue;
      const std::size_t torn_at = random() % 4 == 0 ? random() % page : 0;
      left.replace(at + torn_at, page - torn_at, older, at + torn_at, page - torn_at);
    }
    reader = nullptr;
    writer = nullptr;
    write_file(file, left);
    restart_machine();
    reader = open_reader(random());
    const auto all = take_all(*reader, false);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto number = std::stoull(all[i]) - static_cast<std::uint64_t>(round) * 1000;
      ASSERT_LT(number, truth.size());
      ASSERT_EQ(all[i], truth[number]);
      if (i > 0) {
        ASSERT_EQ(number, std::stoull(all[i - 1]) - static_cast<std::uint64_t>(round) * 1000 + 1);
      }
    }
    recovered += all.size();
    lost += truth.size() - all.size();
    reader = nullptr;
  }
  EXPECT_GT(recovered, 1000u);
  EXPECT_GT(lost, 1000u);
}

TEST_F(Ring, ADamagedRecordIsReportedAndTheRestSkipped) {
  auto reader = open_reader();
  auto writer = open_writer();
  ASSERT_TRUE(put(*writer, "first").ok());
  ASSERT_TRUE(put(*writer, "second to be damaged").ok());
  std::string bytes = read_file(file);
  const auto at = bytes.find("to be damaged");
  ASSERT_NE(at, bytes.npos);
  std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
  out.seekp(static_cast<std::streamoff>(at)).put('X').flush();
  auto record = reader->next();
  ASSERT_TRUE(record.ok() && record->has_value());
  EXPECT_EQ(reader->next().error().code, Code::corrupt);
  EXPECT_FALSE(reader->next()->has_value());
  reader->release(reader->position());
  ASSERT_TRUE(put(*writer, "goes on").ok());
  EXPECT_EQ(take_all(*reader), std::vector<std::string>{"goes on"});
}

TEST_F(Ring, AForeignFileIsSetAside) {
  write_file(file, std::string(200'000, 'z'));
  auto reader = open_reader();
  EXPECT_TRUE(fs::exists(file.string() + ".bad"));
  auto writer = open_writer();
  ASSERT_TRUE(put(*writer, "works").ok());
  EXPECT_EQ(take_all(*reader), std::vector<std::string>{"works"});
}

}  // namespace
}  // namespace landfall
