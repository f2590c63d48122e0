#pragma once

#include <functional>
#include <set>
#include <string>
#include <unordered_map>

#include "eventlog/floors.h"
#include "eventlog/state_delta.h"

namespace landfall {

// The state made anew from the chunks. Private to this folder.

// Whether the state table is whole and of this layout.
Result<bool> state_is_current(const Store& store);
// Puts the chunks' state where another is, before anything else is written; starts anew where it was interrupted.
// `progress` is called every few thousand events with their number so far. Errors: `disk`, `corrupt`.
Status rebuild_state(Store& store, const RunTable& runs, PendingWrites& pending,
                     const std::function<void(std::uint64_t)>& progress);

// What the state table and the pending rows must hold, byte for byte, for a part of the objects. Usage: add() each chunk
// in any order, then compare().
class StateReplay {
 public:
  // What pruned chunks put or superseded is taken as it stands.
  StateReplay(const RunTable& runs, const Floors& floors, std::size_t part, std::size_t parts);

  Status add(const ChunkHeader& header, std::string_view rows);
  // Calls `fault` for each row that is not what the chunks say.
  Status compare(const Store& store, const std::function<void(std::string)>& fault) const;

 private:
  bool mine(std::string_view object) const;
  bool pruned(const layout::StateKey& at) const;  // the write came with a chunk that was pruned
  bool expects(std::string_view key, std::string_view value, const std::function<void(std::string)>& fault) const;

  const RunTable& runs_;
  const Floors& floors_;
  std::set<Stream> with_floors_;
  std::size_t part_, parts_;
  ReceivedContext received_;
  PendingWrites pending_;
  std::unordered_map<std::string, std::string> rows_;
  std::set<std::string, std::less<>> erased_;  // of what pruned chunks put
};

}  // namespace landfall
