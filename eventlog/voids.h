#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "eventlog/chain.h"
#include "eventlog/log.h"

namespace landfall {

// Whether this change may be sent as a void (schemas/event.h): nothing that it put is live any more, and nobody asked to
// keep it.
using MayVoid = std::function<bool(const Dot& dot, const Event& event)>;

// What is to be sent in place of neighbouring chunks of one own (run, stream): a chunk with the same dots, in which ranges
// of changes that `may_void` allows are voids. The chunks here stay as they are, so that aboard everything is still known.
//
// A void keeps what the change superseded, so whoever has some of the changes, or got other voids, comes out with the same
// state; it leaves out values, actor and time (that of the first of its range). The last of a range names the chain after
// it: 32 bytes, for which ranges shorter than void_range_events_min are sent as they are.
//
// `taken`: how many of the chunks it stands for, at least one; it ends at a bound of chunks. None where that would save
// nothing, or where chunks hold voids already. Errors: those of decode_chunk.
struct Voided {
  Log::StoredChunk chunk;
  std::size_t taken, voids;
};
Result<std::optional<Voided>> make_voids(std::span<const Log::StoredChunk> chunks, const MayVoid& may_void,
                                         ChainHasher& hasher);

}  // namespace landfall
