#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "schemas/chunk.h"
#include "schemas/ids.h"

namespace landfall {

// The tamper-evident chain of one (run, stream):
//   h(0) = SHA-256(0x02 | "landfall" | node | counter u32 LE | nonce u32 LE | stream u8)
//   h(i) = SHA-256(0x00 | h(i-1) | row i)
// Of a void, with its own `chain` as zeros:
//   v(i) = SHA-256(0x03 | h(i-1) | row i),   h(i) = v(i), or v(i) XOR `chain` for the last of a range
// where `chain` is such that h(i) comes out as of the change that it stands for. So a changed byte is found inside a range as
// elsewhere, and who has the changes themselves has another h inside of it and the same behind it.
Digest chain_start(const RunStream& of);

// Hashes on with one digest context, looked up once. Not for two threads at a time.
class ChainHasher {
 public:
  ChainHasher();
  ~ChainHasher();
  ChainHasher(const ChainHasher&) = delete;
  ChainHasher& operator=(const ChainHasher&) = delete;

  void extend(Digest& chain, std::string_view row);
  // For the last void of a range: what `chain` must be, in place of the zeros in `row`, so that h comes out as `wanted`.
  Digest chain_of_void(const Digest& before, std::string_view row, const Digest& wanted);
  // Over `varint length, row` sequences as in DecodedChunk::rows.
  void extend_rows(Digest& chain, std::string_view rows);

 private:
  void hash(std::uint8_t tag, Digest& chain, std::initializer_list<std::string_view> parts);
  void* context_;
  const void* digest_;
};

// Where a chunk's chain is not what it would be if its voids were the changes: before the first row, after the last.
struct VoidEdges {
  bool before = false, after = false;
};
VoidEdges void_edges(std::string_view rows);

// Decodes the chunk and proves its chain from chain_before to chain_after. Errors: as decode_chunk, and `corrupt` where
// the chain does not come out.
Result<DecodedChunk> verify_chunk(std::string_view chunk, ChainHasher& hasher);

// The sub-range first..last of a chunk, as a chunk of its own with the right chain values.
// Errors: `out_of_range` where the range is not inside the chunk; as verify_chunk.
Result<std::string> cut_chunk(std::string_view chunk, std::uint64_t first, std::uint64_t last, ChainHasher& hasher);

}  // namespace landfall
