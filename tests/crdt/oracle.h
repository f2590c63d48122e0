#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "crdt/entry.h"
#include "schemas/op.h"

namespace landfall::crdt_test {

// An event as its author made it, never encoded.
struct Made {
  Dot dot;
  HybridTime time;
  ClockClass clock = ClockClass::untrusted;
  std::string object;
  std::vector<Op> ops;
};

// What the state of a set of events must be, in plain sets: apply and join word by word as in crdt/state.h, sharing
// nothing with it.
struct Oracle {
  using Place = std::tuple<std::string, std::string, Dot>;  // object, path, dot

  std::set<Dot> received;
  std::map<Place, Entry> live;
  std::set<Place> pending;

  void apply(const Made& event);
  void join(const Oracle& other);
  Entries see(const std::string& object) const;
};

}  // namespace landfall::crdt_test
