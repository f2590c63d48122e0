#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <set>
#include <vector>

#include "eventlog/snapshot.h"

namespace landfall {

// Joins in their order, and what they hold up. A join reads the state and writes what it finds: no chunk and no prune may
// come between. What came before it is let through; own events that came after wait in their stream, chunks and prunes
// here. Private to this folder.
struct JoinGate {
  struct Join {
    SnapshotManifest manifest;
    std::function<void(Status)> done;
  };
  std::deque<Join> joins;  // the first is under way while `closed`
  bool closed = false;
  bool ready = false;                             // all that came before is given to the store
  std::array<std::uint64_t, stream_count> own{};  // own events from these seqs on came after
  std::uint64_t ingest = 0;                       // and ingests from this number on
  std::uint64_t next_ingest = 0;
  std::set<std::uint64_t> proving;  // ingests on their way to the gate
  std::vector<std::function<void()>> held;

  bool holds_own(Stream stream, std::uint64_t seq) const {
    return closed && seq >= own[static_cast<std::size_t>(stream)];
  }
  bool holds_ingest(std::uint64_t number) const { return closed && number >= ingest; }
};

}  // namespace landfall
