#include <algorithm>
#include <cstring>

#include "event.capnp.h"
#include "schemas/chunk.h"
#include "schemas/columns.h"
#include "schemas/event.h"
#include "schemas/flat_message.h"
#include "schemas/limits.h"
#include "schemas/zstd_frame.h"

namespace landfall {
namespace {

// Measured on 200 KB of JSON rows, see README.md: a faster level would cost the link more than it saves the processor.
constexpr int zstd_level = 1;
constexpr std::size_t rows_bytes_max = chunk_rows_bytes_max + event_row_bytes_max;

// Rows that columns do not make this much shorter are compressed whole, too, to take the shorter form.
constexpr std::size_t columns_gain_min = 4;

// What goes into the chunk's `rows`.
struct Stored {
  Codec codec = Codec::plain;
  Compression compression = Compression::none;
  std::string columns;
  std::string_view bytes;  // of the caller, `columns` or the thread's compressor
};

bool takes_columns(const ChunkHeader& header, std::string_view rows) {
  if (header.count() < columnar_rows_min) return false;
  const std::string_view row = RowReader(rows).next();
  return row.size() > 8 && has_ops(static_cast<Kind>(row[8]));
}

Stored store(const ChunkHeader& header, std::string_view rows) {
  Stored stored;
  stored.bytes = rows;
  if (takes_columns(header, rows)) {
    stored.columns = columns::encode(header, rows);
    if (!stored.columns.empty() && stored.columns.size() < rows.size()) {
      stored.codec = Codec::columnar;
      stored.bytes = stored.columns;
      if (stored.columns.size() * columns_gain_min < rows.size()) return stored;
    }
  }
  if (rows.size() < chunk_compress_bytes_min) return stored;
  const std::string_view compressed = zstd_compress(rows, zstd_level);
  if (compressed.empty() || compressed.size() >= stored.bytes.size()) return stored;
  stored.codec = Codec::plain;
  stored.compression = Compression::zstd;
  stored.bytes = compressed;
  return stored;
}

Error corrupt(const char* what) { return {Code::corrupt, std::string("chunk: ") + what}; }
Error out_of_range(const char* what) { return {Code::out_of_range, std::string("chunk: ") + what}; }

bool read_digest(capnp::Data::Reader from, Digest& to) {
  if (from.size() != to.size()) return false;
  std::memcpy(to.data(), from.begin(), to.size());
  return true;
}

// Checks all that can be checked without decompressing.
Status read_header(wire::Chunk::Reader chunk, ChunkHeader& header) {
  header.of.run = {wire::make_node(chunk.getNodeHigh(), chunk.getNodeLow()), chunk.getCounter(), chunk.getNonce()};
  if (header.of.run.is_none()) return corrupt("names no run");
  if (chunk.getStream() >= stream_count) return out_of_range("unknown stream");
  header.of.stream = static_cast<Stream>(chunk.getStream());
  if (chunk.getCodec() > static_cast<std::uint8_t>(Codec::columnar)) return out_of_range("codec of a newer version");
  header.codec = static_cast<Codec>(chunk.getCodec());
  if (chunk.getCompression() > static_cast<std::uint8_t>(Compression::zstd)) {
    return out_of_range("compression of a newer version");
  }
  header.compression = static_cast<Compression>(chunk.getCompression());

  const std::uint32_t count = chunk.getCount();
  header.first = chunk.getFirst();
  if (header.first == 0 || count == 0) return corrupt("names no event");
  if (count > chunk_events_max) return out_of_range("more than 4096 events");
  if (header.first > seq_max - count) return out_of_range("seqs over the limit");
  header.last = header.first + count - 1;
  header.time_min.value = chunk.getTimeMin();
  header.time_max.value = chunk.getTimeMax();
  if (header.time_min > header.time_max) return corrupt("times out of order");
  if (!read_digest(chunk.getChainBefore(), header.chain_before) ||
      !read_digest(chunk.getChainAfter(), header.chain_after)) {
    return corrupt("chain value of a wrong length");
  }

  if (header.codec == Codec::columnar && header.compression != Compression::none) return corrupt("columns in a frame");

  header.rows_bytes = chunk.getRowsBytes();
  if (header.rows_bytes > rows_bytes_max) return out_of_range("rows over the limit");
  const std::size_t stored = chunk.getRows().size();
  const bool whole = header.codec == Codec::plain && header.compression == Compression::none;
  const bool fits = whole ? stored == header.rows_bytes : stored < header.rows_bytes;
  if (!fits) return corrupt("length of the rows does not fit");
  return ok();
}

Status read_all(wire::Chunk::Reader chunk, DecodedChunk& decoded) {
  LANDFALL_TRY(read_header(chunk, decoded.header));
  const std::string_view stored = wire::view(chunk.getRows());
  if (decoded.header.codec == Codec::columnar) return columns::decode(decoded.header, stored, decoded.rows);
  if (decoded.header.compression == Compression::none) {
    decoded.rows = stored;
    return ok();
  }
  decoded.rows.resize(decoded.header.rows_bytes);
  return zstd_expand(stored, decoded.rows.data(), decoded.rows.size());
}

Status check_rows(const DecodedChunk& chunk) {
  std::uint64_t count = 0;
  HybridTime time_min{UINT64_MAX}, time_max{};
  RowReader reader(chunk.rows);
  for (std::string_view row = reader.next(); !row.empty(); row = reader.next(), ++count) {
    auto event = decode_row(row);
    if (!event.ok()) {
      return std::move(event).error().in("chunk: seq " + std::to_string(chunk.header.first + count));
    }
    time_min = std::min(time_min, event->time);
    time_max = std::max(time_max, event->time);
  }
  if (reader.corrupt()) return corrupt("bad row length");
  if (count != chunk.header.count()) return corrupt("another number of rows than stated");
  if (time_min != chunk.header.time_min || time_max != chunk.header.time_max)
    return corrupt("times do not match the rows");
  return ok();
}

}  // namespace

std::string encode_chunk(ChunkHeader header, std::string_view rows) {
  LANDFALL_CHECK(!header.of.run.is_none() && header.first >= 1 && header.first <= header.last);
  LANDFALL_CHECK(header.count() <= chunk_events_max && rows.size() <= rows_bytes_max);
  header.rows_bytes = static_cast<std::uint32_t>(rows.size());
  const Stored stored = store(header, rows);
  header.codec = stored.codec;
  header.compression = stored.compression;

  const std::size_t words = 2 * wire::data_words(sizeof(Digest)) + wire::data_words(stored.bytes.size());
  return wire::build_flat<wire::Chunk>(words, [&](wire::Chunk::Builder chunk) {
    chunk.setNodeHigh(wire::node_high(header.of.run.node));
    chunk.setNodeLow(wire::node_low(header.of.run.node));
    chunk.setCounter(header.of.run.counter);
    chunk.setNonce(header.of.run.nonce);
    chunk.setFirst(header.first);
    chunk.setCount(static_cast<std::uint32_t>(header.count()));
    chunk.setRowsBytes(header.rows_bytes);
    chunk.setTimeMin(header.time_min.value);
    chunk.setTimeMax(header.time_max.value);
    chunk.setStream(static_cast<std::uint8_t>(header.of.stream));
    chunk.setCodec(static_cast<std::uint8_t>(header.codec));
    chunk.setCompression(static_cast<std::uint8_t>(header.compression));
    chunk.setChainBefore({header.chain_before.data(), header.chain_before.size()});
    chunk.setChainAfter({header.chain_after.data(), header.chain_after.size()});
    chunk.setRows(wire::data(stored.bytes));
  });
}

Result<ChunkHeader> read_chunk_header(std::string_view chunk) {
  ChunkHeader header;
  LANDFALL_TRY(wire::read_flat<wire::Chunk>("chunk", chunk,
                                            [&](wire::Chunk::Reader root) { return read_header(root, header); }));
  return header;
}

Result<DecodedChunk> decode_chunk(std::string_view chunk) {
  DecodedChunk decoded;
  LANDFALL_TRY(
      wire::read_flat<wire::Chunk>("chunk", chunk, [&](wire::Chunk::Reader root) { return read_all(root, decoded); }));
  LANDFALL_TRY(check_rows(decoded));
  return decoded;
}

}  // namespace landfall
