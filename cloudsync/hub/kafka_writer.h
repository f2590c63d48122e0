#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "crdt/received_context.h"
#include "eventlog/log.h"
#include "eventlog/loop.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// What became of the events that Kafka has and the log had not, at the start.
struct Rebuilt {
  std::uint64_t streams = 0, events = 0;  // (run, stream)s made whole, events stored
  std::vector<std::pair<RunStream, Error>>
      refused;                  // contradict the progress record, or the log: not taken, or not whole
  std::vector<RunStream> gone;  // Kafka itself has them no more from the first event on
};

struct KafkaWriterOptions {
  std::string bootstrap;                  // host:port, host:port
  std::string trust_domain = "landfall";  // of ce_source
  std::string topic_prefix =
      "landfall";  // <prefix>.telemetry, .alarms, .twins, .documents, .control, .blobs, .progress
  // Shards, and so partitions of each topic. Fixed for ever by the partitions of <prefix>.progress: a node's shard
  // must never move away from its progress.
  std::uint32_t shards = 4;
  int replication = 0;                                // of topics made here; 0: the broker's default
  Duration backfill_after = std::chrono::minutes(5);  // events older than this when written carry ce_backfill
  // The operator's own librdkafka settings: security, addresses, tuning. Those that the promise rests on are refused.
  std::map<std::string, std::string> extra;
  // Runs once, when the log has all that Kafka is known to have in topics that are kept for ever (all but telemetry and
  // blobs): at once where nothing lacked. Until then its state may be an old one. Never while no broker answers.
  std::function<void(const Rebuilt&)> on_whole;
};

// What the writer is doing, for `status` and /metrics.
struct KafkaStatus {
  bool topics_ready = false;
  std::uint32_t shards = 0, shards_connected = 0;  // connected: owns its shard and the last call succeeded
  std::uint32_t shards_fenced = 0;                 // another hub has taken them: not written until this one restarts
  std::string last_error;                          // empty once every shard is connected again
  std::uint64_t backlog_events = 0;                // in the log here and not committed
  std::uint64_t committed_events = 0, transactions = 0;  // since start
  std::uint64_t recycles = 0;                            // producers given up after an indefinite result
  std::uint64_t stuck = 0;                               // shard threads given up by the watchdog
  bool rebuilding = false;                               // events are being read back from Kafka
  std::uint64_t rebuilt_events = 0, rebuild_events = 0;  // so far, of so many
  std::vector<RunStream> forks;                          // the log here contradicts what Kafka has: not written
};

// Writes every event of a Log to Kafka, each exactly once for read_committed consumers, in seq order per (run, stream),
// whatever crashes: the log is the queue, the progress topic the truth (README.md has the protocol).
//
// Memory is bounded by kafka_prefetch_bytes_max and kafka_batch_bytes_max per shard, however long the broker is away.
// One thread per shard makes the blocking calls. All functions and callbacks: loop thread only, callbacks never inside a
// call. The Loop and the Log must outlive the writer. Destroying it ends each shard's transaction, waiting a few seconds
// for a broker at the most.
class KafkaWriter {
 public:
  static std::unique_ptr<KafkaWriter> create(Loop& loop, Log& log, KafkaWriterOptions options);
  virtual ~KafkaWriter() = default;

  // `started` runs once, when the topics are known to be there: made where missing, waited for where no broker answers.
  // Errors: `denied` where the broker refuses to make a topic, naming it, what it needs and the command that makes it;
  // `conflict` where a topic there has too few partitions, or progress another number of them; `out_of_range` for a
  // setting in `extra`. After an error nothing is written.
  using OnStarted = std::function<void(Status)>;
  // A2 advanced in one (run, stream): its transaction is committed, or was found committed at the start.
  using OnCommitted = std::function<void(const RunStream&)>;
  virtual void start(OnStarted started, OnCommitted committed) = 0;

  // What is A2: in Kafka for good. Grows only. Until a shard has read its progress, its nodes are missing in it.
  virtual const ReceivedContext& committed() const = 0;
  virtual KafkaStatus status() const = 0;
};

// Which shard, and so which partition of every topic, holds the events of `node`.
std::uint32_t kafka_shard(const NodeId& node, std::uint32_t shards);

}  // namespace landfall
