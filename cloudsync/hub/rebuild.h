#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cloudsync/hub/kafka_client.h"
#include "cloudsync/hub/kafka_writer.h"
#include "cloudsync/hub/progress.h"
#include "eventlog/log.h"
#include "eventlog/loop.h"

namespace landfall {

struct RebuildOptions {
  std::string bootstrap, prefix;
  std::uint32_t shards = 0;
  KafkaSettings extra;
  // What Kafka has and the log lacks, in topics that are kept for ever.
  std::map<RunStream, Progress> lacking;
};

// Whether the log can be given back what Kafka has of a stream: its topic is kept for ever.
bool is_kept(Stream stream);

// Reads events that a log lost, or never had, back from the data topics, read_committed, and ingests them. Twice from the
// beginning: first each (run, stream)'s chain is computed and held against the progress record, then what came out is
// stored; so that nothing unproven gets into the log. What the broker fails to answer is asked again until it does.
//
// A thread of its own reads, ahead of the log by kafka_rebuild_bytes_max at most. All functions and `done` on the loop
// thread; `done` once, never inside a call. Loop and Log must outlive it.
class Rebuild {
 public:
  Rebuild(Loop& loop, Log& log, RebuildOptions options, std::function<void(Rebuilt)> done);
  ~Rebuild();
  std::uint64_t events() const;  // stored so far
  std::uint64_t wanted() const;  // of so many
  std::string trouble() const;   // what keeps it from going on; empty while it does

 private:
  class Reader;
  struct Store;
  std::uint64_t wanted_ = 0;
  std::shared_ptr<Store> store_;
  std::unique_ptr<Reader> reader_;
};

}  // namespace landfall
