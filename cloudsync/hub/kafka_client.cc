#include "cloudsync/hub/kafka_client.h"

#include <librdkafka/rdkafka.h>

#include <array>

namespace landfall {
namespace {

// Librdkafka calls these on threads of its own: they only keep the words.
void on_log(const rd_kafka_t* client, int level, const char*, const char* text) {
  if (level <= 4) static_cast<KafkaTalk*>(rd_kafka_opaque(client))->say(text);
}
void on_error(rd_kafka_t*, int code, const char* reason, void* opaque) {
  auto* talk = static_cast<KafkaTalk*>(opaque);
  talk->say(reason);
  if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) talk->all_down();
}

// On the thread that polls.
void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  auto* talk = static_cast<KafkaTalk*>(opaque);
  talk->say(std::string("not delivered: ") + rd_kafka_err2str(message->err));
  talk->failed();
}

struct ConfDestroy {
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
};
using Conf = std::unique_ptr<rd_kafka_conf_t, ConfDestroy>;

Status set_all(rd_kafka_conf_t* conf, const KafkaSettings& settings) {
  std::array<char, 512> why{};
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), why.data(), why.size()) != RD_KAFKA_CONF_OK) {
      return Error{Code::out_of_range, "kafka setting '" + name + "': " + why.data()};
    }
  }
  return ok();
}

Result<KafkaClient> make_client(rd_kafka_type_t type, const std::string& bootstrap, const KafkaSettings& defaults,
                                const KafkaSettings& extra, const KafkaSettings& fixed, KafkaTalk& talk) {
  Conf owned(rd_kafka_conf_new());
  rd_kafka_conf_t* conf = owned.get();
  LANDFALL_TRY(set_all(conf, {{"client.id", "landfall"},
                              {"socket.timeout.ms", "15000"},
                              {"socket.nagle.disable", "true"},
                              {"reconnect.backoff.max.ms", "2000"},
                              {"topic.metadata.refresh.interval.ms", "60000"},
                              {"ssl.endpoint.identification.algorithm", "https"}}));
  LANDFALL_TRY(set_all(conf, defaults));
  LANDFALL_TRY(set_all(conf, extra));
  LANDFALL_TRY(set_all(conf, fixed));
  LANDFALL_TRY(set_all(conf, {{"bootstrap.servers", bootstrap}, {"allow.auto.create.topics", "false"}}));
  rd_kafka_conf_set_opaque(conf, &talk);
  rd_kafka_conf_set_log_cb(conf, on_log);
  rd_kafka_conf_set_error_cb(conf, on_error);
  // Of a transaction its commit tells; only a producer without one has to hear of each record.
  if (type == RD_KAFKA_PRODUCER && !fixed.contains("transactional.id")) rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  std::array<char, 512> why{};
  rd_kafka_t* client = rd_kafka_new(type, conf, why.data(), why.size());
  if (client == nullptr) return Error{Code::out_of_range, std::string("kafka client: ") + why.data()};
  static_cast<void>(owned.release());  // rd_kafka_new took it
  return KafkaClient(client);
}

}  // namespace

void KafkaTalk::say(std::string text) {
  const std::lock_guard lock(mutex_);
  last_ = std::move(text);
}

std::string KafkaTalk::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

Status check_extra_settings(const KafkaSettings& extra) {
  for (const std::string_view name :
       {"bootstrap.servers", "metadata.broker.list", "transactional.id", "enable.idempotence", "acks",
        "request.required.acks", "isolation.level", "max.in.flight", "max.in.flight.requests.per.connection", "retries",
        "message.send.max.retries", "enable.gapless.guarantee", "allow.auto.create.topics"}) {
    if (extra.contains(std::string(name))) {
      return Error{Code::out_of_range,
                   "kafka setting '" + std::string(name) +
                       "' is landfall's own: exactly-once rests on it; remove it from [kafka.options]"};
    }
  }
  return ok();
}

void KafkaDestroy::operator()(rd_kafka_s* client) const { rd_kafka_destroy(client); }

KafkaSettings transactional_settings(const std::string& transactional_id) {
  return {{"transactional.id", transactional_id}, {"enable.idempotence", "true"}};
}

Result<KafkaClient> make_producer(const std::string& bootstrap, const KafkaSettings& extra, const KafkaSettings& fixed,
                                  KafkaTalk& talk) {
  return make_client(RD_KAFKA_PRODUCER, bootstrap,
                     {{"acks", "all"},
                      {"transaction.timeout.ms", "30000"},
                      {"message.timeout.ms", "20000"},  // must be below transaction.timeout.ms
                      {"linger.ms", "5"},
                      {"compression.type", "zstd"},
                      {"batch.size", "1000000"},
                      {"batch.num.messages", "10000"},
                      {"queue.buffering.max.kbytes", "65536"}},
                     extra, fixed, talk);
}

Result<KafkaClient> make_consumer(const std::string& bootstrap, const KafkaSettings& extra, KafkaTalk& talk) {
  KafkaSettings ours = extra;
  // The operator's settings are written with the producer in mind; these exist for it alone.
  for (const char* name : {"transaction.timeout.ms", "message.timeout.ms", "linger.ms", "compression.type",
                           "compression.codec", "compression.level", "batch.size", "batch.num.messages",
                           "queue.buffering.max.kbytes", "queue.buffering.max.messages", "queue.buffering.max.ms"}) {
    ours.erase(name);
  }
  return make_client(
      RD_KAFKA_CONSUMER, bootstrap, {{"fetch.wait.max.ms", "50"}, {"queued.max.messages.kbytes", "4096"}}, ours,
      {{"isolation.level", "read_committed"}, {"enable.partition.eof", "true"}, {"auto.offset.reset", "earliest"}},
      talk);
}

KafkaVerdict judge(rd_kafka_s* client, rd_kafka_error_s* error) {
  if (error == nullptr) return {};
  KafkaVerdict verdict;
  verdict.why = rd_kafka_error_string(error);
  std::array<char, 256> text{};
  const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
  const rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(client, text.data(), text.size());
  const auto fences = [](rd_kafka_resp_err_t e) {
    return e == RD_KAFKA_RESP_ERR__FENCED || e == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           e == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
  };
  if (fences(code) || fences(fatal)) {
    verdict.outcome = KafkaOutcome::fenced;
  } else if (rd_kafka_error_is_fatal(error) == 0 && rd_kafka_error_txn_requires_abort(error) == 0 &&
             rd_kafka_error_is_retriable(error) != 0) {
    verdict.outcome = KafkaOutcome::again;
  } else {
    verdict.outcome = KafkaOutcome::recycle;
  }
  rd_kafka_error_destroy(error);
  return verdict;
}

Result<ShardProgress> read_progress(rd_kafka_s* consumer, const std::string& topic, std::uint32_t partition,
                                    const std::atomic<bool>& stop, std::atomic<std::uint64_t>& beat) {
  // The simple consumer: no group, so no permission on one.
  struct Reading {
    rd_kafka_topic_t* topic;
    std::int32_t partition;
    bool started = false;
    ~Reading() {
      if (started) rd_kafka_consume_stop(topic, partition);
      rd_kafka_topic_destroy(topic);
    }
  } reading{rd_kafka_topic_new(consumer, topic.c_str(), nullptr), static_cast<std::int32_t>(partition)};
  if (rd_kafka_consume_start(reading.topic, reading.partition, RD_KAFKA_OFFSET_BEGINNING) != 0) {
    return Error{Code::unavailable, "read " + topic + ": " + rd_kafka_err2str(rd_kafka_last_error())};
  }
  reading.started = true;
  ShardProgress progress;
  // Whatever librdkafka may be waiting for, the caller's own patience is counted in these turns.
  for (int idle = 0; idle < 600;) {
    beat.fetch_add(1, std::memory_order_relaxed);
    if (stop) return Error{Code::unavailable, "read " + topic + ": stopped"};
    rd_kafka_poll(consumer, 0);
    rd_kafka_message_t* message = rd_kafka_consume(reading.topic, reading.partition, 100);
    if (message == nullptr) {
      ++idle;
      continue;
    }
    const std::unique_ptr<rd_kafka_message_t, void (*)(rd_kafka_message_t*)> owned(message, rd_kafka_message_destroy);
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      if (message->payload == nullptr) continue;  // a tombstone: nothing of ours, and nothing to learn
      LANDFALL_TRY(progress.apply({static_cast<const char*>(message->key), message->key_len},
                                  {static_cast<const char*>(message->payload), message->len}));
    } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      // The end for read_committed is the last stable offset; the fetch that said so carried the high watermark too.
      std::int64_t low = 0, high = 0;
      rd_kafka_get_watermark_offsets(consumer, topic.c_str(), reading.partition, &low, &high);
      if (message->offset >= high) return progress;
      ++idle;
    } else if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
      return Error{Code::denied, "read " + topic + ": the broker refuses; allow Read on it"};
    } else {
      return Error{Code::unavailable, "read " + topic + ": " + rd_kafka_message_errstr(message)};
    }
  }
  return Error{Code::unavailable, "read " + topic + ": no answer, or an older transaction stays open"};
}

}  // namespace landfall
