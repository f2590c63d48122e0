#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "cloudsync/hub/kafka_client.h"

namespace landfall {

struct TopicPlan {
  std::string bootstrap;
  std::string prefix;
  std::uint32_t partitions = 0;
  int replication = -1;
};

// Every topic that the writer needs is there when this returns ok; missing ones were made. Blocks; not on the loop.
// Errors: `denied` naming the topic, what it needs and the command that makes it; `conflict` for a topic that is there
// with the wrong partitions; `unavailable` where no broker answers or `stop` is set: worth another try.
Status ensure_topics(rd_kafka_s* client, const TopicPlan& plan, const std::atomic<bool>& stop);

// Compacted: what is, one record per device, alarm or document, a tombstone where it is gone.
enum class StateTopic : std::uint8_t { twins, alarms, documents };
inline constexpr std::size_t state_topic_count = 3;
std::string state_topic(const std::string& prefix, StateTopic topic);

std::string progress_topic(const std::string& prefix);

}  // namespace landfall
