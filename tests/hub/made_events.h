#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/ids.h"

namespace landfall {

// Events that any process can make again from their dots alone: what several ships would have sent.
NodeId made_node(std::uint8_t number);
RunId made_run(std::uint8_t number);
std::string made_payload(const RunStream& of, std::uint64_t seq);

// Chunks of `of` that hold first..last, each of at most `events_max` events. `unix_ms` is the time of seq 1; each next
// event is a millisecond later. The chain is computed from seq 1: keep `last` small.
std::vector<std::string> made_chunks(const RunStream& of, std::uint64_t first, std::uint64_t last,
                                     std::uint64_t events_max = 500, std::int64_t unix_ms = 1'750'000'000'000);

}  // namespace landfall
