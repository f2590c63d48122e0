#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "schemas/event.h"
#include "schemas/ids.h"

namespace landfall {

// How a chunk's rows are laid out: one after another, or, for changes, cut into columns (README.md).
enum class Codec : std::uint8_t { plain = 0, columnar = 1 };
enum class Compression : std::uint8_t { none = 0, zstd = 1 };

// A gap-free range of one (run, stream): the unit of storage, transfer, proof and replay.
struct ChunkHeader {
  RunStream of;
  Codec codec = Codec::plain;
  Compression compression = Compression::none;
  std::uint64_t first = 0, last = 0;  // 1 <= first <= last, at most chunk_events_max events
  HybridTime time_min, time_max;
  Digest chain_before{}, chain_after{};  // the chain's value before `first` and after `last`
  std::uint32_t rows_bytes = 0;          // uncompressed, at most chunk_rows_bytes_max + event_row_bytes_max
  std::uint64_t count() const { return last - first + 1; }
  friend bool operator==(const ChunkHeader&, const ChunkHeader&) = default;
};

// A stored chunk is one Cap'n Proto message (`Chunk` in event.capnp, one segment), the same bytes on disk and on the
// wire: `rows` is compressed at encode time where that is shorter. header.codec, compression and rows_bytes are set here.
std::string encode_chunk(ChunkHeader header, std::string_view rows);

// Reads only the header. Accepts any bytes. Errors: `corrupt`, `out_of_range` (a limit or an unknown codec).
Result<ChunkHeader> read_chunk_header(std::string_view chunk);

struct DecodedChunk {
  ChunkHeader header;
  std::string rows;  // plain rows, uncompressed; read them with RowReader
};
// Reads, decompresses and walks the rows: count and limits hold, every row decodes; time_min and time_max are exact.
// The chain is not checked here (eventlog/chain.h). Accepts any bytes; allocates at most the stated rows_bytes, itself
// bounded, plus the input; for columns a small multiple of it. Errors: `corrupt`, `out_of_range`.
Result<DecodedChunk> decode_chunk(std::string_view chunk);

}  // namespace landfall
