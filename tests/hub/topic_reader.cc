#include "tests/hub/topic_reader.h"

#include <librdkafka/rdkafka.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace landfall {
namespace {

template <class T, void (*destroy)(T*)>
struct Owned {
  void operator()(T* p) const { destroy(p); }
};
template <class T, void (*destroy)(T*)>
using Handle = std::unique_ptr<T, Owned<T, destroy>>;

Handle<rd_kafka_t, rd_kafka_destroy> open_consumer(const std::string& bootstrap, bool read_committed) {
  char why[256];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  for (const auto& [name, value] :
       std::map<std::string, std::string>{{"bootstrap.servers", bootstrap},
                                          {"isolation.level", read_committed ? "read_committed" : "read_uncommitted"},
                                          {"enable.partition.eof", "true"},
                                          {"fetch.wait.max.ms", "20"},
                                          {"log_level", "2"}}) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), why, sizeof why) != RD_KAFKA_CONF_OK)
      throw std::runtime_error(why);
  }
  Handle<rd_kafka_t, rd_kafka_destroy> consumer(rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why));
  if (!consumer) throw std::runtime_error(why);
  return consumer;
}

int partitions_of(rd_kafka_t* consumer, rd_kafka_topic_t* topic) {
  const struct rd_kafka_metadata* metadata = nullptr;
  if (const auto error = rd_kafka_metadata(consumer, 0, topic, &metadata, 10000); error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    throw std::runtime_error(rd_kafka_err2str(error));
  }
  const int count = metadata->topics[0].partition_cnt;
  rd_kafka_metadata_destroy(metadata);
  return count;
}

TopicRecord copy(const rd_kafka_message_t& message, const std::string& topic) {
  TopicRecord record{topic, message.partition, message.offset, {}, {}, {}};
  record.key.assign(static_cast<const char*>(message.key), message.key_len);
  record.value.assign(static_cast<const char*>(message.payload), message.len);
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return record;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    record.headers[name] = std::string(static_cast<const char*>(value), size);
  }
  return record;
}

}  // namespace

std::vector<TopicRecord> read_topics(const std::string& bootstrap, const std::string& prefix,
                                     const std::vector<std::string>& suffixes, bool read_committed) {
  const auto consumer = open_consumer(bootstrap, read_committed);
  std::vector<TopicRecord> records;
  for (const std::string& suffix : suffixes) {
    const std::string name = prefix + "." + suffix;
    const Handle<rd_kafka_topic_t, rd_kafka_topic_destroy> topic(
        rd_kafka_topic_new(consumer.get(), name.c_str(), nullptr));
    const int partitions = partitions_of(consumer.get(), topic.get());
    for (int partition = 0; partition < partitions; ++partition) {
      if (rd_kafka_consume_start(topic.get(), partition, RD_KAFKA_OFFSET_BEGINNING) != 0)
        throw std::runtime_error(name);
      // A transaction that a killed writer left open hides what follows, until somebody ends it: wait for the end that
      // is one for everybody.
      for (int turns = 0;; ++turns) {
        if (turns == 2'000'000) throw std::runtime_error(name + ": no end in sight");
        const Handle<rd_kafka_message_t, rd_kafka_message_destroy> message(
            rd_kafka_consume(topic.get(), partition, 1000));
        if (!message) continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) break;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
          throw std::runtime_error(name + ": " + rd_kafka_message_errstr(message.get()));
        records.push_back(copy(*message, name));
      }
      rd_kafka_consume_stop(topic.get(), partition);
    }
  }
  return records;
}

TopicContents check_topics(const std::string& bootstrap, const std::string& prefix) {
  TopicContents contents;
  const auto fault = [&](std::string text) {
    if (contents.faults.size() < 20) contents.faults.push_back(std::move(text));
  };
  std::map<std::string, std::int32_t> partition_of;
  for (const auto& record :
       read_topics(bootstrap, prefix, {"control", "alarms", "twins", "documents", "telemetry", "blobs"})) {
    const auto header = [&](const char* name) {
      const auto found = record.headers.find(name);
      return found == record.headers.end() ? std::string() : found->second;
    };
    const std::string of = header("ce_run") + "/" + header("ce_stream");
    const std::string where =
        record.topic + "[" + std::to_string(record.partition) + "]@" + std::to_string(record.offset);
    const std::uint64_t seq = std::strtoull(header("ce_sequence").c_str(), nullptr, 10);
    ++contents.events;
    if (header("ce_id") != of + "/" + std::to_string(seq)) fault(where + ": ce_id " + header("ce_id"));
    if (header("ce_specversion") != "1.0") fault(where + ": not a CloudEvent");
    const auto at = partition_of.emplace(of, record.partition).first;
    if (at->second != record.partition) fault(where + ": " + of + " is in two partitions");
    std::uint64_t& last = contents.last[of];
    if (seq != last + 1) fault(where + ": " + of + " seq " + std::to_string(seq) + " after " + std::to_string(last));
    last = seq;
  }
  std::map<std::string, std::uint64_t> progress;
  for (const auto& record : read_topics(bootstrap, prefix, {"progress"})) {
    if (record.key == "owner") continue;
    const std::uint64_t last = nlohmann::json::parse(record.value).at("last");
    if (last <= progress[record.key])
      fault("progress of " + record.key + " steps from " + std::to_string(progress[record.key]) + " to " +
            std::to_string(last));
    progress[record.key] = last;
  }
  if (progress != contents.last) fault("the progress topic and the data topics tell different last seqs");
  return contents;
}

}  // namespace landfall
