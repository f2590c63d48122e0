#include "cloudsync/hub/topics.h"

#include <librdkafka/rdkafka.h>

#include <array>
#include <memory>

#include "cloudsync/hub/cloud_event.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

struct Topic {
  std::string name;
  bool compacted = false;
  bool kept = false;     // not deleted by age: what state is made of
  bool large = false;    // a record is a whole document, which no broker takes by default
  bool counted = false;  // its partitions must be as many as the shards
};

std::vector<Topic> topics_of(const std::string& prefix) {
  std::vector<Topic> topics;
  for (std::size_t i = 0; i < kafka_topic_count; ++i) {
    const auto topic = static_cast<KafkaTopic>(i);
    const bool passes = topic == KafkaTopic::telemetry || topic == KafkaTopic::blobs;
    topics.push_back({.name = prefix + "." + std::string(kafka_topic_suffix(topic)), .kept = !passes});
  }
  for (std::size_t i = 0; i < state_topic_count; ++i)
    topics.push_back({.name = state_topic(prefix, static_cast<StateTopic>(i)), .compacted = true, .large = true});
  topics.push_back({.name = progress_topic(prefix), .compacted = true, .counted = true});
  return topics;
}

Error refused(const Topic& topic, const TopicPlan& plan, const std::string& why) {
  const std::string partitions = std::to_string(plan.partitions);
  const std::string replicas = plan.replication > 0 ? std::to_string(plan.replication) : "";
  const char* kind = topic.compacted ? "compacted" : "not compacted";
  return {
      Code::denied,
      "topic " + topic.name + ": the broker refuses to make it (" + why + "); it needs " + partitions +
          " partitions, " + (replicas.empty() ? "the broker's default number of" : replicas) + " replicas, " + kind +
          ", and this hub may Describe, Read and Write it; an operator can run: kafka-topics.sh --bootstrap-server " +
          plan.bootstrap + " --create --topic " + topic.name + " --partitions " + partitions +
          (replicas.empty() ? "" : " --replication-factor " + replicas) +
          (topic.large ? " --config max.message.bytes=" + std::to_string(kafka_state_bytes_max) : "") +
          (topic.compacted ? " --config cleanup.policy=compact"
           : topic.kept    ? " --config retention.ms=-1 --config retention.bytes=-1"
                           : "")};
}

// Partitions of one topic; 0 where it does not exist.
Result<std::uint32_t> partitions_of(rd_kafka_t* client, const Topic& topic, const TopicPlan& plan) {
  const std::unique_ptr<rd_kafka_topic_t, void (*)(rd_kafka_topic_t*)> handle(
      rd_kafka_topic_new(client, topic.name.c_str(), nullptr), rd_kafka_topic_destroy);
  const struct rd_kafka_metadata* metadata = nullptr;
  const rd_kafka_resp_err_t error = rd_kafka_metadata(client, 0, handle.get(), &metadata, 5000);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return Error{Code::unavailable, "kafka at " + plan.bootstrap + ": " + rd_kafka_err2str(error)};
  }
  const std::unique_ptr<const struct rd_kafka_metadata, void (*)(const struct rd_kafka_metadata*)> owned(
      metadata, rd_kafka_metadata_destroy);
  if (metadata->topic_cnt != 1) return Error{Code::unavailable, "topic " + topic.name + ": no metadata"};
  switch (metadata->topics[0].err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR: return static_cast<std::uint32_t>(metadata->topics[0].partition_cnt);
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART: return 0u;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
      return refused(topic, plan, rd_kafka_err2str(metadata->topics[0].err));
    default: return Error{Code::unavailable, "topic " + topic.name + ": " + rd_kafka_err2str(metadata->topics[0].err)};
  }
}

Status create(rd_kafka_t* client, const Topic& topic, const TopicPlan& plan) {
  std::array<char, 512> why{};
  rd_kafka_NewTopic_t* wanted = rd_kafka_NewTopic_new(topic.name.c_str(), static_cast<int>(plan.partitions),
                                                      plan.replication, why.data(), why.size());
  if (wanted == nullptr) return refused(topic, plan, why.data());
  const std::unique_ptr<rd_kafka_NewTopic_t, void (*)(rd_kafka_NewTopic_t*)> owned(wanted, rd_kafka_NewTopic_destroy);
  if (topic.compacted) rd_kafka_NewTopic_set_config(wanted, "cleanup.policy", "compact");
  if (topic.kept) rd_kafka_NewTopic_set_config(wanted, "retention.ms", "-1");
  if (topic.kept) rd_kafka_NewTopic_set_config(wanted, "retention.bytes", "-1");
  const std::string large = std::to_string(kafka_state_bytes_max);
  if (topic.large) rd_kafka_NewTopic_set_config(wanted, "max.message.bytes", large.c_str());
  // Three replicas promise nothing while one of them may acknowledge alone.
  if (plan.replication >= 3) rd_kafka_NewTopic_set_config(wanted, "min.insync.replicas", "2");

  const std::unique_ptr<rd_kafka_queue_t, void (*)(rd_kafka_queue_t*)> queue(rd_kafka_queue_new(client),
                                                                             rd_kafka_queue_destroy);
  const std::unique_ptr<rd_kafka_AdminOptions_t, void (*)(rd_kafka_AdminOptions_t*)> options(
      rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS), rd_kafka_AdminOptions_destroy);
  rd_kafka_AdminOptions_set_operation_timeout(options.get(), 5000, why.data(), why.size());
  rd_kafka_AdminOptions_set_request_timeout(options.get(), 8000, why.data(), why.size());
  rd_kafka_CreateTopics(client, &wanted, 1, options.get(), queue.get());
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue.get(), 10000);
  if (event == nullptr) return Error{Code::unavailable, "create topic " + topic.name + ": no answer"};
  const std::unique_ptr<rd_kafka_event_t, void (*)(rd_kafka_event_t*)> owned_event(event, rd_kafka_event_destroy);
  const auto unavailable = [&](const char* reason) {
    return Error{Code::unavailable, "create topic " + topic.name + ": " + reason};
  };
  if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) return unavailable(rd_kafka_event_error_string(event));
  std::size_t count = 0;
  const rd_kafka_topic_result_t** results =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
  if (count != 1) return unavailable("no result");
  const char* reason = rd_kafka_topic_result_error_string(results[0]);
  switch (rd_kafka_topic_result_error(results[0])) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS: return ok();
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION: return refused(topic, plan, reason != nullptr ? reason : "no reason given");
    default: return unavailable(reason != nullptr ? reason : "no reason given");
  }
}

Status check_partitions(const Topic& topic, std::uint32_t there, const TopicPlan& plan) {
  const std::string needs = std::to_string(plan.partitions), has = std::to_string(there);
  if (topic.counted && there != plan.partitions) {
    return Error{Code::conflict, "topic " + topic.name + " has " + has + " partitions and [kafka] shards is " + needs +
                                     ": a node's progress would not be found again; set shards = " + has};
  }
  if (there < plan.partitions) {
    return Error{Code::conflict, "topic " + topic.name + " has " + has + " partitions, fewer than [kafka] shards = " +
                                     needs + "; an operator can run: kafka-topics.sh --bootstrap-server " +
                                     plan.bootstrap + " --alter --topic " + topic.name + " --partitions " + needs};
  }
  return ok();
}

}  // namespace

std::string state_topic(const std::string& prefix, StateTopic topic) {
  static constexpr std::string_view suffixes[state_topic_count] = {"twin-state", "alarm-state", "document-state"};
  return prefix + "." + std::string(suffixes[static_cast<std::size_t>(topic)]);
}

std::string progress_topic(const std::string& prefix) { return prefix + ".progress"; }

Status ensure_topics(rd_kafka_s* client, const TopicPlan& plan, const std::atomic<bool>& stop) {
  for (const Topic& topic : topics_of(plan.prefix)) {
    // A topic just made is in no broker's metadata for a moment.
    for (int tries = 0;; ++tries) {
      if (stop) return Error{Code::unavailable, "stopped"};
      const auto there = partitions_of(client, topic, plan);
      if (!there) return there.error();
      if (*there > 0) {
        LANDFALL_TRY(check_partitions(topic, *there, plan));
        break;
      }
      if (tries == 50) return Error{Code::unavailable, "topic " + topic.name + ": made, and not there yet"};
      LANDFALL_TRY(create(client, topic, plan));
    }
  }
  return ok();
}

}  // namespace landfall
