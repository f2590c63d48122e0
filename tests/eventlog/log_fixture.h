#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "eventlog/chain.h"
#include "eventlog/log.h"
#include "eventlog/rocks_store.h"
#include "tests/conformance/temp_dir.h"
#include "tests/conformance/test_loop.h"

namespace landfall::test {

inline NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}

inline Event event(std::string_view subject, std::string_view payload) {
  Event e;
  e.kind = Kind::telemetry;
  e.subject = subject;
  e.payload = payload;
  return e;
}

// A node's log on a real store in a folder of its own.
class LogMachine {
 public:
  explicit LogMachine(std::uint8_t number = 1) : number_(number) { open(); }
  ~LogMachine() { close(); }

  // Errors of opening store or log.
  Status try_open() {
    Result<std::unique_ptr<Store>> opened = open_rocks_store(
        loop, {.directory = directory(), .anchor = anchor(), .on_fatal = [this](const Error&) { ++fatal; }});
    if (!opened) return std::move(opened).error();
    store = std::move(*opened);
    Result<std::unique_ptr<Log>> made =
        Log::open(loop, *store, {.node = node(number_), .boot_id = "boot", .software = "test"});
    if (!made) return std::move(made).error();
    log = std::move(*made);
    return ok();
  }
  void open() {
    Status status = try_open();
    ASSERT_TRUE(status.ok()) << status.error().detail;
    settle();
  }
  void close() {
    log.reset();
    store.reset();
    loop.run_turn();
  }
  void reopen() {
    close();
    open();
  }
  // Until everything that was accepted is A1.
  void settle() {
    loop.run_until([this] { return log->pending_bytes() == 0 && store->commits_waiting() == 0; });
  }

  Result<Log::Appended> append(Stream stream, const std::vector<Event>& events, std::vector<Log::Meta> meta = {}) {
    std::optional<Result<Log::Appended>> result;
    log->append(stream, events, std::move(meta), [&](Result<Log::Appended> r) { result = std::move(r); });
    EXPECT_FALSE(result) << "completed inside the call";
    loop.run_until([&] { return result.has_value(); });
    return *result;
  }
  // One event each, one commit each.
  void append_each(Stream stream, int count, const std::string& subject = "d1") {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(append(stream, {event(subject, "value " + std::to_string(i))}).ok());
  }
  Status ingest(std::string chunk) {
    std::optional<Status> result;
    log->ingest(std::move(chunk), [&](Status s) { result = std::move(s); });
    EXPECT_FALSE(result) << "completed inside the call";
    loop.run_until([&] { return result.has_value(); });
    return *result;
  }

  std::vector<Log::StoredChunk> chunks(const RunStream& of, std::uint64_t from = 1) const {
    auto chunks = log->read(of, from, 1 << 30);
    EXPECT_TRUE(chunks.ok());
    return chunks.ok() ? std::move(*chunks) : std::vector<Log::StoredChunk>();
  }
  // The payloads of a stream, and where they begin.
  std::vector<std::string> payloads(const RunStream& of) const {
    std::vector<std::string> payloads;
    for (const auto& chunk : chunks(of)) {
      auto decoded = decode_chunk(chunk.bytes);
      EXPECT_TRUE(decoded.ok());
      RowReader reader(decoded->rows);
      for (auto row = reader.next(); !row.empty(); row = reader.next()) payloads.emplace_back(decode_row(row)->payload);
    }
    return payloads;
  }
  VerifyReport verify() const {
    auto report = verify_log(*store, {});
    EXPECT_TRUE(report.ok());
    return report.ok() ? *report : VerifyReport{};
  }
  RunStream own(Stream stream) const { return {log->run(), stream}; }
  std::filesystem::path directory() const { return dir.path() / "log"; }
  std::filesystem::path anchor() const { return dir.path() / "anchor"; }

  TempDir dir;
  TestLoop loop;
  std::unique_ptr<Store> store;
  std::unique_ptr<Log> log;
  int fatal = 0;

 private:
  std::uint8_t number_;
};

}  // namespace landfall::test
