#pragma once

#include <random>
#include <string>
#include <vector>

#include "tests/crdt/oracle.h"

namespace landfall::crdt_test {

using Rng = std::mt19937_64;
inline std::uint64_t below(Rng& rng, std::uint64_t n) { return rng() % n; }
inline bool chance(Rng& rng, std::uint64_t percent) { return below(rng, 100) < percent; }

// What a few nodes wrote that heard of each other late, in any order, event by event or by snapshots, and that started
// anew, some from a backup. Their views come from the oracle. Objects: "r" registers, "s" a set at /t, "c" a counter at
// /n, "q" a quota at /q, "d" a document.
struct History {
  std::vector<Made> events;  // in the order of their making
  bool guesses = false;      // some list writes that do not exist, or that their author has not seen
};

struct HistoryOptions {
  int steps = 24;
  int nodes = 3;
  bool only_registers = false;
  bool may_guess = true;
  bool reuse_run = false;  // the bug: who goes back to a backup goes on under the name he had
};
History random_history(Rng& rng, const HistoryOptions& options);

}  // namespace landfall::crdt_test
