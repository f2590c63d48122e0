// Another project on Landfall's libraries: one event in a chunk, proven by its hash chain, its dot in a received context.
#include <cstdio>
#include <string>

#include "crdt/received_context.h"
#include "eventlog/chain.h"
#include "schemas/chunk.h"
#include "schemas/event.h"

int main() {
  using namespace landfall;
  const RunStream of{.run = {.node = {{1}}, .counter = 1, .nonce = 7}, .stream = Stream::alarm};
  std::string rows;
  if (!encode_row({.kind = Kind::alarm, .subject = "bilge-pump", .payload = "high water"}, rows).ok()) return 1;

  ChainHasher hasher;
  ChunkHeader header{.of = of, .first = 1, .last = 1, .chain_before = chain_start(of), .chain_after = chain_start(of)};
  hasher.extend_rows(header.chain_after, rows);
  const auto chunk = verify_chunk(encode_chunk(header, rows), hasher);
  if (!chunk.ok()) {
    std::printf("%s\n", chunk.error().detail.c_str());
    return 1;
  }

  ReceivedContext received;
  if (!received.add(of, 1, 1).ok() || !received.contains({of.run, of.stream, 1})) return 1;
  std::printf("%s holds %zu bytes of rows\n", to_string(Dot{of.run, of.stream, 1}).c_str(), chunk->rows.size());
  return 0;
}
