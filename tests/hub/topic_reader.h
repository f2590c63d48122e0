#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace landfall {

// A consumer that knows nothing of the writer: plain librdkafka, read_committed, every partition from its beginning to
// its end. What it finds is what anybody would.
struct TopicRecord {
  std::string topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::string key, value;
  std::map<std::string, std::string> headers;
  bool tombstone = false;
};

// Records of `prefix`.<each of suffixes>, in offset order per partition. Throws std::runtime_error where the broker fails.
std::vector<TopicRecord> read_topics(const std::string& bootstrap, const std::string& prefix,
                                     const std::vector<std::string>& suffixes, bool read_committed = true);

// A setting of a topic, as the broker has it.
std::string topic_setting(const std::string& bootstrap, const std::string& topic, const std::string& name);

// Takes the records below `offset` away, as a retention does.
void delete_records(const std::string& bootstrap, const std::string& topic, std::int32_t partition,
                    std::int64_t offset);

struct TopicContents {
  std::map<std::string, std::uint64_t> last;  // "<run>/<stream>" -> last seq
  std::uint64_t events = 0;
  std::vector<std::string> faults;  // what breaks exactly-once, first 20
};
// Every data topic: each (run, stream) is in one partition, begins with seq 1 and goes on without gap, repeat or step
// back; ids fit; the progress topic says the same last seqs.
TopicContents check_topics(const std::string& bootstrap, const std::string& prefix);

}  // namespace landfall
