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

std::string progress_topic(const std::string& prefix);

}  // namespace landfall
