#pragma once

#include <string>

#include "schemas/chunk.h"
#include "schemas/event.h"
#include "schemas/sync_messages.h"

// Values with every field set to something of its own, so that a swapped or lost field shows.

namespace landfall::samples {

NodeId node(std::uint8_t first);
RunId run(std::uint8_t first, std::uint32_t counter);
Digest digest(std::uint8_t first);

Event event();  // all attributes
RunStart run_start();
Hello hello();
Enrolled enrolled();
Digests digests();
SnapshotOffer snapshot_offer();
SnapshotPart snapshot_part();
SnapshotWant snapshot_want();

// `count` JSON events from time 1000 on, as rows and the header of their chunk.
struct Rows {
  ChunkHeader header;
  std::string rows;
};
Rows rows(std::uint64_t count, std::size_t payload_bytes);

bool same(const Event& a, const Event& b);

}  // namespace landfall::samples
