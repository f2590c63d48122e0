#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crdt/entry.h"
#include "eventlog/log.h"
#include "schemas/op.h"

namespace landfall {

// What a change became. `version` names the live writes of the object after it: HTTP's ETag, and what If-Match is held
// against. Equal states have equal versions on every node.
struct Written {
  std::vector<Dot> dots;  // none where nothing had to change
  std::string version;
};
using OnWritten = std::function<void(Result<Written>)>;
std::string version_of(std::string_view object, const Entries& entries);

// Changes objects of the log's state, one change of an object at a time, so that each supersedes exactly what it saw.
// Every twin, document, alarm and command is written through here; reads go to the log.
//
// Loop thread only. The log must outlive it; destroying it drops what waits, unanswered.
class Objects {
 public:
  // Calls back once the event at `dot` may be called done. Unset: it is when it is A1. A hub whose log is Kafka waits for
  // A2. May call back at once. An error does not undo the event: it is A1, and the caller is told its version.
  using Settle = std::function<void(const Dot& dot, std::function<void(Status)> settled)>;
  explicit Objects(Log& log, Settle settle = {});
  ~Objects();

  // What to do, given what is live: ops, or none where it is so already. Called once, when no earlier change of the object
  // is under way; an error of its own is passed to the caller and nothing is written.
  using Decide = std::function<Result<std::vector<Op>>(const Entries& now)>;
  struct Change {
    Stream stream = Stream::document;
    std::string object;
    std::string device;  // Event::device: the key in Kafka
    std::string actor;   // who asked
    Decide decide;
    std::vector<Log::Meta> meta = {};  // rides in the batch, also where there is nothing to write
  };
  // `done` runs on the loop, never inside this call. Errors: those of `decide`, of encode_ops, of Log::append;
  // `unavailable` where object_changes_waiting_max changes of the object wait.
  void change(Change change, OnWritten done);

  Log& log() { return log_; }
  const Log& log() const { return log_; }

 private:
  struct Waiting {
    Change change;
    OnWritten done;
  };
  using Name = std::pair<Stream, std::string>;
  void begin(const Name& name);
  void finish(const Name& name, OnWritten done, Result<Written> result);
  std::optional<Dot> last_own(const Name& name) const;

  Log& log_;
  Settle settle_;
  std::map<Name, std::deque<Waiting>> queues_;  // the front one is under way
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace landfall
