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
  TopicRecord record{topic, message.partition, message.offset, {}, {}, {}, message.payload == nullptr};
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

std::string topic_setting(const std::string& bootstrap, const std::string& topic, const std::string& name) {
  const auto client = open_consumer(bootstrap, true);
  const Handle<rd_kafka_queue_t, rd_kafka_queue_destroy> queue(rd_kafka_queue_new(client.get()));
  rd_kafka_ConfigResource_t* asked = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str());
  rd_kafka_DescribeConfigs(client.get(), &asked, 1, nullptr, queue.get());
  rd_kafka_ConfigResource_destroy(asked);
  const Handle<rd_kafka_event_t, rd_kafka_event_destroy> event(rd_kafka_queue_poll(queue.get(), 20000));
  if (!event || rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR)
    throw std::runtime_error(topic + ": no settings");
  std::size_t count = 0;
  const auto* result = rd_kafka_event_DescribeConfigs_result(event.get());
  const rd_kafka_ConfigResource_t** resources = rd_kafka_DescribeConfigs_result_resources(result, &count);
  if (count != 1) throw std::runtime_error(topic + ": not there");
  const rd_kafka_ConfigEntry_t** entries = rd_kafka_ConfigResource_configs(resources[0], &count);
  for (std::size_t i = 0; i < count; ++i) {
    if (rd_kafka_ConfigEntry_name(entries[i]) == name) return rd_kafka_ConfigEntry_value(entries[i]);
  }
  throw std::runtime_error(topic + " has no setting " + name);
}

void delete_records(const std::string& bootstrap, const std::string& topic, std::int32_t partition,
                    std::int64_t offset) {
  const auto client = open_consumer(bootstrap, true);
  const Handle<rd_kafka_queue_t, rd_kafka_queue_destroy> queue(rd_kafka_queue_new(client.get()));
  const Handle<rd_kafka_topic_partition_list_t, rd_kafka_topic_partition_list_destroy> before(
      rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(before.get(), topic.c_str(), partition)->offset = offset;
  rd_kafka_DeleteRecords_t* asked = rd_kafka_DeleteRecords_new(before.get());
  rd_kafka_DeleteRecords(client.get(), &asked, 1, nullptr, queue.get());
  rd_kafka_DeleteRecords_destroy(asked);
  const Handle<rd_kafka_event_t, rd_kafka_event_destroy> event(rd_kafka_queue_poll(queue.get(), 20000));
  if (!event || rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR)
    throw std::runtime_error(topic + ": records were not deleted");
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
