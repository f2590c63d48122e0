#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/hybrid_time.h"
#include "schemas/ids.h"

namespace landfall {

// One live write of an object: put by event `dot` at `path`, and superseded by no event received here. What the log's
// state holds, and what every type of this folder is a pure function of.
struct Entry {
  std::string path;  // within the object, as Op::path
  Dot dot;
  HybridTime time;  // of the event, with the class of its clock
  ClockClass clock = ClockClass::untrusted;
  std::string value;
  friend bool operator==(const Entry&, const Entry&) = default;
};

// The live writes of one object, ordered by path, then dot. Several of one path are concurrent writes: siblings.
using Entries = std::vector<Entry>;

// Those of exactly `path`, and those of `path` and all below it ("/a" has "/a" and "/a/b", not "/ab"). Views into
// `entries`, which must be ordered.
std::span<const Entry> at(std::span<const Entry> entries, std::string_view path);
std::vector<const Entry*> under(std::span<const Entry> entries, std::string_view path);

}  // namespace landfall
