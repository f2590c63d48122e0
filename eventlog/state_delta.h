#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eventlog/pending_writes.h"
#include "eventlog/run_table.h"
#include "schemas/chunk.h"
#include "schemas/event.h"
#include "schemas/result.h"

namespace landfall {

// What the change events of one chunk do to the state, made on a worker: rows to put and rows to delete, whatever else is
// here. A write that the chunk itself supersedes is in neither. Private to this folder.
struct StateDelta {
  struct Row {
    std::uint32_t run;  // in `runs`
    std::uint64_t seq;
    std::string key;                   // layout::state_key without its handle
    std::optional<std::string> value;  // none: to be deleted
  };
  std::vector<RunId> runs;           // 0 is the chunk's own
  std::vector<Row> rows;             // ordered by key, each once: tables take neighbours in one go
  std::vector<std::string> objects;  // ordered

  bool empty() const { return objects.empty(); }
  // `object 0x00 path` of a row's key.
  static std::string_view target(const std::string& key);
};

// What one row counts towards chunk_state_bytes_max.
std::size_t state_row_bytes(std::string_view object, std::string_view path);

// Collects a chunk's events in order of seq. Usage: add() for each, then take().
class StateDeltaMaker {
 public:
  explicit StateDeltaMaker(const RunStream& of) : of_(of) { number(of.run); }
  // Those of other kinds change nothing. Errors: `corrupt`, `out_of_range` of the payload.
  Status add(std::uint64_t seq, const Event& event);
  StateDelta take();

 private:
  std::uint32_t number(const RunId& run);

  RunStream of_;
  StateDelta delta_;
  std::size_t bytes_ = 0;  // of keys
  std::map<RunId, std::uint32_t> known_;
  std::vector<std::uint32_t> numbers_;  // of one payload's runs
};

// What a delta is applied to: `received` has its chunk already, `runs` has the chunk's run.
struct StateTarget {
  const ReceivedContext& received;
  const RunTable& runs;
  PendingWrites& pending;
};
// For each row as it goes into the batch, still without its handle; no value for one that is deleted.
using NoteRow = std::function<void(const std::string& key, const Dot& dot, const std::string* value)>;
// Blind: nothing is read. Leaves `delta` without its rows.
void apply_delta(const StateTarget& target, const ChunkHeader& header, StateDelta& delta, Batch& batch,
                 const NoteRow& note);

// Of a chunk's plain rows.
Result<StateDelta> make_state_delta(const RunStream& of, std::uint64_t first, std::string_view rows);

}  // namespace landfall
