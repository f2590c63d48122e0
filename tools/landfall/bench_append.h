#pragma once

#include "tools/landfall/bench.h"

namespace landfall {

// `landfall bench append`: durable appends of 200-byte events. Cases `8-writers` (one event each, closed loop) and
// `batches-1000`; references `rocksdb` (a record per event, Write(sync)) and `raw-file` (append and fdatasync, the limit).
// Prints the report on stdout; returns the exit code.
int bench_append(const BenchOptions& options);

}  // namespace landfall
