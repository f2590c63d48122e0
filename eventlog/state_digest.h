#pragma once

#include <string_view>

#include "crdt/entry.h"
#include "schemas/ids.h"

namespace landfall {

// The canonical digest of live state, the same on every replica, whatever its handles and cuts:
//   object  SHA-256(0x03 | varint name length, name | entry*), entries by path, then dot:
//           varint path length, path | node 16 | counter u32 LE | nonce u32 LE | seq u64 LE | time u64 LE | clock u8 |
//           varint value length, value
//   stream  the sum of its objects' digests as 256-bit little-endian numbers, so that one changed object is one
//           subtraction and one addition. It finds defects; against a forger there is the chain.
// An object without entries is all zeros.
Digest object_digest(std::string_view name, const Entries& entries);
void add_digest(Digest& sum, const Digest& object);
void subtract_digest(Digest& sum, const Digest& object);

}  // namespace landfall
