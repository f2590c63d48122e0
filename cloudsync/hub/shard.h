#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cloudsync/hub/kafka_client.h"
#include "cloudsync/hub/progress.h"
#include "eventlog/loop.h"
#include "schemas/chunk.h"

namespace landfall {

struct ShardOptions {
  std::string bootstrap, prefix, trust_domain;
  std::string instance;  // this writer's name among all that ever own the shard
  std::uint32_t shard = 0;
  std::int64_t backfill_after_ms = 0;
  std::int64_t unix_ms = 0;  // now, by the loop's wall clock
  KafkaSettings extra;
};

// A stored chunk on its way from the log to Kafka.
struct FedChunk {
  ChunkHeader header;
  std::string bytes;
  std::int64_t unix_ms = 0;  // the loop's wall clock when it was read
  std::size_t charge() const { return bytes.size() + header.rows_bytes; }
};

// What a shard tells its writer. All on the loop thread, in order.
struct ShardReports {
  // The shard is owned: feed chunks of `generation` from each progress on. What was fed before is dropped.
  std::function<void(std::uint64_t generation, const ShardProgress&)> ready;
  struct Committed {
    RunStream of;
    std::uint64_t last, events;
  };
  std::function<void(const std::vector<Committed>&)> committed;
  std::function<void()> hungry;                              // room again, after room() said no
  std::function<void(const Error&)> lost;                    // not owned for now: see why
  std::function<void()> recycled;                            // a producer was given up after it had owned the shard
  std::function<void(bool)> connected;                       // between ready and lost: whether a broker answers
  std::function<void(const Error&)> fenced;                  // for good
  std::function<void(const RunStream&, const Error&)> fork;  // this (run, stream) is not written any more
};

// One shard: a transactional.id, its producer, and the thread that makes the blocking calls.
//
// Every failure that is not simply tried again has one answer: give up the producer and make a new one. Its
// init_transactions ends what was left open, the progress topic says what had been committed, and the log is read again
// from there. There is no abort path: aborting needs an answer from the same broker that has just failed to give one.
class Shard : public std::enable_shared_from_this<Shard> {
 public:
  // Loop thread. Starts the thread. Reports stop with `stop` or `abandon`.
  static std::shared_ptr<Shard> start(Loop& loop, ShardOptions options, ShardReports reports);

  bool room();  // for another chunk; where not, `hungry` will follow
  void feed(std::uint64_t generation, FedChunk chunk);
  std::uint64_t beat() const { return beat_; }  // stands still where the thread hangs in a call

  // Ends after the open transaction, or without waiting for it after a few seconds.
  void ask_to_stop();
  void join();
  // The thread hangs: let it go. It owns nothing any more as soon as its successor has the transactional.id.
  void abandon();

 private:
  struct Position {
    std::uint64_t last = 0;
    Digest chain{};
    bool voids = false;  // as in Progress
  };
  struct Batch;

  Shard(Loop& loop, ShardOptions options, ShardReports reports);
  void run();
  KafkaVerdict own();
  KafkaVerdict write_until_failure();
  KafkaVerdict write(Batch& batch);
  KafkaVerdict produce_chunk(Batch& batch, std::size_t index);
  KafkaVerdict produce_progress(const Batch& batch);
  KafkaVerdict begin();
  KafkaVerdict commit();
  KafkaVerdict claim();
  bool still_owner();
  bool take(Batch& batch);
  void decode(Batch& batch, const FedChunk& chunk);
  void look_for_broker();
  void pause();
  void report(std::function<void(const ShardReports&)> what);

  const ShardOptions options_;
  struct Topics;

  // The thread's own.
  KafkaTalk talk_;
  KafkaClient producer_;
  std::unique_ptr<Topics> topics_;
  std::map<RunStream, Position> positions_;
  std::map<RunStream, Error> forks_;
  std::map<RunStream, std::unique_ptr<class CloudEventHeaders>> headers_;
  std::int64_t unix_ms_ = 0;
  bool connected_ = true;

  std::atomic<std::uint64_t> beat_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<FedChunk> urgent_, bulk_;  // streams 0 to 2 overtake the others
  std::size_t fed_bytes_ = 0;
  std::uint64_t generation_ = 0;
  bool full_ = false;
  bool ended_ = false;
  Loop* loop_;
  std::shared_ptr<const ShardReports> reports_;
};

}  // namespace landfall
