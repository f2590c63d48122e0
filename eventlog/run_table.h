#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "crdt/received_context.h"
#include "eventlog/layout.h"
#include "eventlog/store.h"
#include "schemas/event.h"

namespace landfall {

// The runs this log has met, their handles, and what their first events said. Private to this folder.
class RunTable {
 public:
  struct Run {
    RunId id;
    layout::Handle handle = 0;
    bool opened_here = false;
    std::optional<RunStart> start;  // once its first event is here
  };

  // Errors: `corrupt`, `disk`.
  Status load(const Store& store);

  const Run* find(const RunId& id) const;
  const Run* find(layout::Handle handle) const;
  const Run& add(const RunId& id, bool opened_here);  // gives it the next handle
  void set_start(const RunId& id, RunStart start);
  static std::string encode(const Run& run);

  std::vector<RunId> ids() const;            // ordered
  std::vector<const Run*> in_order() const;  // by handle
  const Run* last_opened_here() const;

  // What says that `id` has two histories: two runs go on from it, or more of it is in `received` than the run that goes on
  // from it says it had. Empty for nothing. A successor that knows that it lost events (degraded) says nothing: what is
  // missing there comes back from the hub.
  std::string fork(const ReceivedContext& received, const RunId& id) const;
  std::vector<RunId> parents() const;  // the runs that others go on from, ordered

 private:
  std::map<RunId, Run> runs_;
  std::map<layout::Handle, RunId> by_handle_;
  std::multimap<RunId, RunId> children_;
  layout::Handle next_ = 1;
};

// The stored received context, and the highest clock beside it. Errors: `corrupt`, `disk`.
struct StoredContext {
  ReceivedContext context;
  HybridTime clock;
};
Result<StoredContext> load_context(const Store& store, const RunTable& runs);

}  // namespace landfall
