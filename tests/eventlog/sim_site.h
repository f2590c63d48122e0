#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "eventlog/log.h"
#include "schemas/op.h"
#include "tests/sim/disk.h"
#include "tests/sim/loop.h"

namespace landfall::test {

// A node's log on a simulated machine.
class SimSite {
 public:
  SimSite(sim::Schedule& its, std::uint8_t number) : schedule(its), loop(its), disk(loop), number_(number) { open(); }

  void open() {
    disk.boot(loop);
    auto opened = Log::open(loop, disk, {.node = {{number_}}, .boot_id = "sim", .software = "sim"});
    ASSERT_TRUE(opened.ok()) << opened.error().detail;
    log = std::move(*opened);
    settle();
  }
  // What was not durable is lost.
  void crash() {
    log.reset();
    loop.crash();
    disk.crash(schedule.rng);
  }
  void restart() {
    settle();
    crash();
    open();
  }
  void settle() { schedule.run_for(std::chrono::seconds(2)); }

  // Sets `path` over what is seen there, or deletes it.
  void write(Stream stream, const std::string& object, const std::string& path, std::optional<std::string> value) {
    Op op{path, std::move(value), {}};
    const auto seen = log->state(stream, object);
    ASSERT_TRUE(seen.ok());
    for (const Entry& entry : at(*seen, path)) op.supersedes.push_back(entry.dot);
    write(stream, object, {op});
  }
  void write(Stream stream, const std::string& object, std::vector<Op> ops) {
    const auto payload = encode_ops(ops, {log->run(), stream});
    ASSERT_TRUE(payload.ok()) << payload.error().detail;
    Event event;
    event.kind = Kind::change;
    event.subject = object;
    event.payload = *payload;
    log->append(stream, {&event, 1}, [](const Result<Log::Appended>& done) { ASSERT_TRUE(done.ok()); });
    schedule.run_for(std::chrono::milliseconds(50));
  }

  std::vector<Log::StoredChunk> chunks(Stream stream) const {
    std::vector<Log::StoredChunk> all;
    for (const RunId& run : log->runs()) {
      auto chunks = log->read({run, stream}, 1, 1 << 30);
      EXPECT_TRUE(chunks.ok());
      if (chunks) std::ranges::move(*chunks, std::back_inserter(all));
    }
    return all;
  }
  std::vector<Log::StoredChunk> read(const RunStream& of, std::uint64_t from) const {
    auto chunks = log->read(of, from, 1 << 30);
    EXPECT_TRUE(chunks.ok());
    return chunks ? std::move(*chunks) : std::vector<Log::StoredChunk>();
  }
  Status ingest(const std::string& chunk) {
    return wait([&](auto done) { log->ingest(chunk, std::move(done)); });
  }
  Status prune(const RunStream& of, std::uint64_t upto) {
    return wait([&](auto done) { log->prune(of, upto, std::move(done)); });
  }
  Status keep(Stream stream, const std::string& part) {
    return wait([&](auto done) { log->keep_part(stream, part, std::move(done)); });
  }
  Status join(const SnapshotManifest& manifest) {
    return wait([&](auto done) { log->join(manifest, std::move(done)); });
  }
  // The parts that are not here, then the join.
  Status take(const Snapshot& snapshot) {
    for (const std::uint32_t part : log->missing_parts(snapshot.manifest()))
      LANDFALL_TRY(keep(snapshot.manifest().stream, snapshot.part(part)));
    return join(snapshot.manifest());
  }
  std::shared_ptr<const Snapshot> snapshot(Stream stream) {
    auto made = log->snapshot(stream);
    EXPECT_TRUE(made.ok()) << made.error().detail;
    return made ? *made : nullptr;
  }
  std::vector<std::string> faults() const {
    const auto report = verify_log(disk, {});
    return report.ok() ? report->faults : std::vector{report.error().detail};
  }
  ReceivedContext received(Stream stream) const {
    ReceivedContext received;
    for (const RunStream& of : log->received().streams()) {
      if (of.stream == stream) received.join(log->received().of_stream(of));
    }
    return received;
  }

  sim::Schedule& schedule;
  sim::Loop loop;
  sim::Disk disk;
  std::unique_ptr<Log> log;

 private:
  template <class Call>
  Status wait(Call call) {
    auto result = std::make_shared<std::optional<Status>>();
    call([result](const Status& status) { *result = status; });
    EXPECT_FALSE(*result) << "completed inside the call";
    for (int turns = 0; !*result && turns < 100; ++turns) schedule.run_for(std::chrono::milliseconds(20));
    if (!*result) return Error{Code::unavailable, "never completed"};
    return **result;
  }
  std::uint8_t number_;
};

}  // namespace landfall::test
