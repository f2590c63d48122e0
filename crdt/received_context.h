#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "roaring/roaring64map.hh"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// Which events are durably here: run, stream -> contiguous base + Roaring set above it (crdt.md 1.7; Goncalves et al.,
// DottedDB, SRDS 2017). The shared causal context of every object: no tombstones, no version vector per key.
//
// A value: no I/O, no clock, any thread. Join is set union: commutative, associative, idempotent.
class ReceivedContext {
 public:
  struct Range {
    std::uint64_t first, last;  // inclusive
    friend bool operator==(const Range&, const Range&) = default;
  };

  // Adds seqs first..last (1-based). Errors: `out_of_range` where more than received_context_above_max dots would lie
  // above the base; nothing is added then.
  Status add(const RunStream& of, std::uint64_t first, std::uint64_t last);
  Status add(const Dot& dot) { return add({dot.run, dot.stream}, dot.seq, dot.seq); }

  bool contains(const Dot& dot) const;
  bool contains(const RunStream& of, std::uint64_t first, std::uint64_t last) const;
  std::uint64_t base(const RunStream& of) const;  // every seq <= base is here
  std::uint64_t max(const RunStream& of) const;   // highest seq that is here, 0 for none
  // What of first..last is not here, in order.
  std::vector<Range> missing(const RunStream& of, std::uint64_t first, std::uint64_t last) const;

  // A run is sealed once its successor has named its last seqs. A sealed run that is complete here, and whose parent is
  // folded or none, folds: its entries go, its name stays in the node's folded list, and contains() is true for all of
  // it. Returns true where at least this run folded. `finals` are last seqs by stream, 0 for none.
  bool seal(const RunId& run, const RunId& parent, const std::array<std::uint64_t, stream_count>& finals);
  bool folded(const RunId& run) const;

  void join(const ReceivedContext& other);
  // Only what concerns runs of `node`.
  ReceivedContext of_node(const NodeId& node) const;
  // Only the entries of `of`.
  ReceivedContext of_stream(const RunStream& of) const;
  std::vector<RunStream> streams() const;  // with entries, ordered; folded runs are not listed
  bool empty() const;

  // The wire form: per entry the smallest of {base only, varint intervals, Roaring of received, Roaring of gaps}, and
  // folded lists as names. decode accepts any bytes, allocates at most a small multiple of the input and refuses over
  // the limits in schemas/limits.h. Equal contexts encode to equal bytes. Errors: `corrupt`, `out_of_range`.
  std::string encode() const;
  static Result<ReceivedContext> decode(std::string_view bytes);

  // Entry-wise, for storage in one row per (run, stream).
  std::string encode_entry(const RunStream& of) const;
  Status decode_entry(const RunStream& of, std::string_view bytes);
  std::string encode_folded(const NodeId& node) const;
  Status decode_folded(const NodeId& node, std::string_view bytes);

  friend bool operator==(const ReceivedContext& a, const ReceivedContext& b);

 private:
  struct Entry {
    std::uint64_t base = 0;
    roaring::Roaring64Map above;  // only seqs > base + 1
  };
  // Implementation state: entries, sealed-but-incomplete runs, folded runs by node.
  std::map<RunStream, Entry> entries_;
};

}  // namespace landfall
