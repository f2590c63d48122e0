#pragma once

#include "tools/landfall/bench.h"

namespace landfall {

// `landfall bench ingest`: 200-byte messages at QoS 1 from one publisher through a real Mosquitto with our plugin into the
// log of an edge process, until all are A1, beside the same Mosquitto with the same configuration and no plugin.
// Forks, so it is called before the process has threads.
// Prints the report on stdout; returns the exit code.
int bench_ingest(const BenchOptions& options);

}  // namespace landfall
