#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cloudsync/hub/topics.h"
#include "crdt/received_context.h"
#include "eventlog/log.h"

namespace landfall {

// Where an object of the state is shown, and as what.
struct ProjectedKey {
  StateTopic topic;
  std::string key;
  friend auto operator<=>(const ProjectedKey&, const ProjectedKey&) = default;
};

struct ProjectorOptions {
  std::string bootstrap, topic_prefix;
  std::map<std::string, std::string> extra;
  // Which record an object has a part in; none for one that is not shown. And the record: none where it is gone.
  std::function<std::optional<ProjectedKey>(Stream stream, std::string_view object)> key_of;
  std::function<std::optional<std::string>(const ProjectedKey& key)> show;
  std::function<const ReceivedContext&()> committed;  // what Kafka has of the events
};

// Keeps the compacted topics: the newest state of each twin, alarm and document as one record, a tombstone where it is
// gone. An object is shown once every event that changed it is committed, so that a reader never sees a state whose cause
// is not there.
//
// The records are the state, not its history: each may be written more than once, the last is right. What was delivered is
// remembered as a received context ("x/projected"); after a stop, a crash or a failed delivery all objects that events
// beyond it changed are written again. An idempotent producer writes without blocking; loop thread only. The loop, the log
// and what `options` call must outlive it.
class StateProjector {
 public:
  static Result<std::unique_ptr<StateProjector>> create(Loop& loop, Log& log, ProjectorOptions options);
  ~StateProjector();

  void committed_advanced();  // more of committed()
  std::size_t waiting() const;
  std::uint64_t written() const;
  std::string last_error() const;  // a record that was refused, or why nothing is delivered; empty where all is well

 private:
  struct State;
  explicit StateProjector(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace landfall
