#pragma once

#include <map>
#include <string>

#include "eventlog/run_table.h"
#include "eventlog/store.h"

namespace landfall {

// Where the chunks of a (run, stream) begin: those up to `last` were pruned, and the chain goes on from `chain`. Private to
// this folder.
struct Floor {
  std::uint64_t last = 0;
  Digest chain{};
};
using Floors = std::map<RunStream, Floor>;

std::string encode_floor(const Floor& floor);
// Errors: `corrupt`, `disk`.
Result<Floors> load_floors(const Store& store, const RunTable& runs);

}  // namespace landfall
