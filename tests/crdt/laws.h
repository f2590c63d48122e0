#pragma once

#include <cstdint>
#include <string>

#include "crdt/state.h"
#include "tests/crdt/history.h"

namespace landfall::crdt_test {

// What in `state` is not as `oracle` has it; empty where nothing.
std::string difference(const Oracle& oracle, const State& state);

// The state of some of the events, heard in any order, some of them twice, one by one or in rows.
State heard(const std::vector<const Made*>& events, Rng& rng);
Oracle expected(const std::vector<const Made*>& events);

// How a node may shrink an event of which nothing is live: what it put goes, what it superseded stays. Planted as the bug:
// `drop_edges`, and that goes too.
Made compacted(const Made& event, bool drop_edges);

// The first law that the history of this seed breaks; empty where all hold.
struct LawOptions {
  HistoryOptions history;
  bool drop_edges = false;
  // The parts of the events that are joined split between the write and who superseded it, where chance seldom does.
  bool split_edges = false;
};
std::string broken_law(std::uint64_t seed, const LawOptions& options);

}  // namespace landfall::crdt_test
