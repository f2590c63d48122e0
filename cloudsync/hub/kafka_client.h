#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "cloudsync/hub/progress.h"
#include "schemas/result.h"

// librdkafka's own names, so that its header stays in the .cc files.
struct rd_kafka_s;
struct rd_kafka_error_s;
struct rd_kafka_conf_s;

namespace landfall {

// What a client's own threads said last. Any thread.
class KafkaTalk {
 public:
  void say(std::string text);
  std::string last() const;
  void all_down() { all_down_ = true; }
  void failed() { ++failures_; }  // a record of a producer without transactions was not delivered
  std::uint64_t failures() const { return failures_; }
  bool take_all_down() { return all_down_.exchange(false); }  // whether every broker was lost since the last call

 private:
  std::atomic<bool> all_down_ = false;
  std::atomic<std::uint64_t> failures_ = 0;
  mutable std::mutex mutex_;
  std::string last_;
};

using KafkaSettings = std::map<std::string, std::string>;

// Settings that exactly-once rests on, and that `extra` may not change. Errors: `out_of_range` naming the setting.
Status check_extra_settings(const KafkaSettings& extra);

struct KafkaDestroy {
  void operator()(rd_kafka_s* client) const;
};
using KafkaClient = std::unique_ptr<rd_kafka_s, KafkaDestroy>;

// `extra` over our defaults, `fixed` over both. `talk` must outlive the client. Errors: `out_of_range` (a setting that
// librdkafka refuses), `unavailable`.
Result<KafkaClient> make_producer(const std::string& bootstrap, const KafkaSettings& extra, const KafkaSettings& fixed,
                                  KafkaTalk& talk);
Result<KafkaClient> make_consumer(const std::string& bootstrap, const KafkaSettings& extra, KafkaTalk& talk);
KafkaSettings transactional_settings(const std::string& transactional_id);

// What to do about the result of a transactional call (reliability: only these four).
enum class KafkaOutcome {
  done,
  again,    // the same call again: it may be resumed
  recycle,  // the result is indefinite, or only an abort would help: a new producer finds out
  fenced,   // a newer producer has this transactional.id
};
struct KafkaVerdict {
  KafkaOutcome outcome = KafkaOutcome::done;
  std::string why;
};
// Takes the error.
KafkaVerdict judge(rd_kafka_s* client, rd_kafka_error_s* error);

// Reads one partition of the progress topic from its beginning to its high watermark, with read_committed: waits while
// an older transaction is still being resolved. Errors: `unavailable` (no broker, or `stop` was set), `corrupt`,
// `denied`.
Result<ShardProgress> read_progress(rd_kafka_s* consumer, const std::string& topic, std::uint32_t partition,
                                    const std::atomic<bool>& stop, std::atomic<std::uint64_t>& beat);

}  // namespace landfall
