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

  std::vector<RunId> ids() const;              // ordered
  std::vector<const Run*> in_order() const;    // by handle
  const Run* last_opened_here() const;

  // A run has ended once a successor that knows its end has named it. Seals `id` in `context` where that is so, and what
  // can fold thereafter; returns what is folded of `id` and its successors. A successor that lost events of its
  // parent does not know the end: what is missing may still come back from the hub.
  std::vector<RunId> seal(ReceivedContext& context, const RunId& id) const;

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
