#pragma once

#include "tools/landfall/bench.h"

namespace landfall {

// `landfall bench kafka`: the hub's way from its log to Kafka, 4 shards with a transaction each under way, beside 4 plain
// idempotent producers of the same records, headers, batch size and broker. Case `transactional`, reference `idempotent`.
// Uses the broker at options.bootstrap (topics landfall-bench.*), or starts the test broker for itself.
// Prints the report on stdout; returns the exit code.
int bench_kafka(const BenchOptions& options);

}  // namespace landfall
