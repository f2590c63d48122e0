#include "tests/hub/made_events.h"

#include <algorithm>

#include "eventlog/chain.h"
#include "schemas/chunk.h"
#include "schemas/event.h"

namespace landfall {

NodeId made_node(std::uint8_t number) {
  NodeId node;
  node.bytes[3] = number;  // what kafka_shard looks at last
  node.bytes[15] = 0xed;
  return node;
}

RunId made_run(std::uint8_t number) { return {made_node(number), 1, 0xabcd0000u + number}; }

std::string made_payload(const RunStream& of, std::uint64_t seq) {
  return R"({"node":)" + std::to_string(of.run.node.bytes[3]) + R"(,"stream":")" + std::string(to_string(of.stream)) +
         R"(","n":)" + std::to_string(seq) + "}";
}

std::vector<std::string> made_chunks(const RunStream& of, std::uint64_t first, std::uint64_t last,
                                     std::uint64_t events_max, std::int64_t unix_ms) {
  ChainHasher hasher;
  Digest chain = chain_start(of);
  std::vector<std::string> chunks;
  const std::string device = "pump-" + std::to_string(of.run.node.bytes[3]);
  std::string rows;
  ChunkHeader header;
  for (std::uint64_t seq = 1; seq <= last; ++seq) {
    const std::string payload = made_payload(of, seq), id = std::to_string(seq), subject = device + "/pressure";
    Event event;
    event.time = HybridTime::from_unix_ms(unix_ms + static_cast<std::int64_t>(seq) - 1);
    event.clock = ClockClass::synced;
    event.kind = of.stream == Stream::alarm       ? Kind::alarm
                 : of.stream == Stream::telemetry ? Kind::telemetry
                                                  : Kind::message;
    event.subject = subject;
    event.device = device;
    event.content_type = "application/json";
    event.source = "urn:made";
    event.id = id;
    event.payload = payload;
    std::string row;
    const Status encoded = encode_row(event, row);
    LANDFALL_CHECK(encoded.ok());
    RowReader bare(row);
    if (seq >= first) {
      if (rows.empty()) {
        header = {};
        header.of = of;
        header.first = seq;
        header.time_min = event.time;
        header.chain_before = chain;
      }
      rows += row;
    }
    hasher.extend(chain, bare.next());
    if (seq < first) continue;
    header.last = seq;
    header.time_max = event.time;
    header.chain_after = chain;
    if (header.count() == events_max || seq == last) {
      chunks.push_back(encode_chunk(header, rows));
      rows.clear();
    }
  }
  return chunks;
}

}  // namespace landfall
