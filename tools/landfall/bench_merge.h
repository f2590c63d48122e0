#pragma once

#include "tools/landfall/bench.h"

namespace landfall {

// `landfall bench merge`: 1,000 devices with 20 keys each, written by one replica; three more that have them edit on their
// own, 10,000 edits each (84 % set a key, 8 % add a tag, 4 % remove one, 4 % delete a key; every edit an event of its own),
// exchange their chunks and merge them. Case memory: decode and apply to the state in memory. Case rocksdb: Log::ingest
// over RocksDB, until all is A1; reference: the batches it makes, made durable by the store alone.
// All replicas must end equal. Prints the report on stdout; returns the exit code.
int bench_merge(const BenchOptions& options);

}  // namespace landfall
