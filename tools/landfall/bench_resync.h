#pragma once

#include "tools/landfall/bench.h"

namespace landfall {

// `landfall bench resync`: an edge with 1,000,000 events in its log meets a hub for the first time. Two processes, TLS
// on loopback, fsync on both. Measured from the dial until the edge knows all of them committed at the hub.
//
// Case `200-byte`: made telemetry. With --data DIR also `signalk` (signalk-delta.ndjson) and `nmea`
// (nmea0183-raw.txt): one line is one event, in file order, from the top again until the number is reached. All are
// appended in batches of 1,000. Reference `raw-tls`: as many bytes as our link carried, incompressible, through a bare
// TLS connection between two processes, until the receiver has said that it has them all.
// Prints the report on stdout; returns the exit code.
int bench_resync(const BenchOptions& options);

}  // namespace landfall
