#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cloudsync/hub/kafka_writer.h"
#include "edgeruntime/uv_loop.h"
#include "eventlog/log.h"
#include "eventlog/store.h"

namespace landfall {

// A hub's log and its Kafka writer on a real loop and disk. What `node`s would have sent comes from made_events.
class HubRig {
 public:
  // Opens or reopens the log in `dir`. Aborts where that fails: there is nothing to test then.
  HubRig(const std::filesystem::path& dir, KafkaWriterOptions options);
  ~HubRig();

  UvLoop& loop() { return loop_; }
  Log& log() { return *log_; }
  KafkaWriter& writer() { return *writer_; }
  // Starts the writer; every advance of committed() is counted and handed on.
  void start(std::function<void(const RunStream&)> on_committed = nullptr);
  void drop_writer() { writer_.reset(); }
  const std::optional<Status>& started() const { return started_; }

  // Stores made events of `of` up to `last`, from what the log holds on; returns once they are A1.
  void ingest(const RunStream& of, std::uint64_t last, std::uint64_t events_per_chunk = 500);
  // Turns the loop until `done`, at most `patience`. Returns whether it came about.
  bool until(const std::function<bool()>& done, std::chrono::seconds patience = std::chrono::seconds(60));
  bool until_committed(const RunStream& of, std::uint64_t last,
                       std::chrono::seconds patience = std::chrono::seconds(60));

 private:
  UvLoop loop_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<KafkaWriter> writer_;
  std::optional<Status> started_;
};

}  // namespace landfall
