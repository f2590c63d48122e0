#pragma once

#include "tools/landfall/bench.h"

namespace landfall {

// `landfall bench twin`: an edge as it runs aboard (a process of its own with broker, plugin and log, no hub in reach) with
// 1,000 devices of 20 properties. Case mapper-update: from PUBLISH of a mapper's `twin/update` to its `update/result`, which
// comes once the change is durable, one after the other; reference: the fsync of a 4 KiB append to a file on the same disk,
// in turn. Both are the 99th percentile of a round, in milliseconds; extra added_p99_ms is the difference. Extra
// edge_resident_mib is the edge with all its twins. Prints the report on stdout; returns the exit code.
int bench_twin(const BenchOptions& options);

}  // namespace landfall
