#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/seq_set.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// Which events are durably here: run, stream -> contiguous base + Roaring set above it (Goncalves et al.,
// DottedDB, SRDS 2017). The shared causal context of every object: no tombstones, no version vector per key.
//
// A run that ended stands here by its last seqs for ever, like one that goes on. Nothing but seqs that came makes
// contains() true: who names a run's end may be wrong (a cloned disk, a restored backup), and what comes after that end
// must count as missing until it is here.
//
// A value: no I/O, no clock, any thread. Join is set union: commutative, associative, idempotent. Each set has one
// representation: the base is as high as it can be, a (run, stream) of which nothing is here has no entry.
class ReceivedContext {
 public:
  struct Range {
    std::uint64_t first, last;  // inclusive
    friend bool operator==(const Range&, const Range&) = default;
  };

  // Adds seqs first..last (1-based). Costs O(log runs) where they reach the base. Errors: `out_of_range` where they are no
  // range of 1..seq_max, or more than received_context_above_max dots would lie above the base; nothing is added then.
  Status add(const RunStream& of, std::uint64_t first, std::uint64_t last);
  Status add(const Dot& dot) { return add({dot.run, dot.stream}, dot.seq, dot.seq); }

  bool contains(const Dot& dot) const;
  bool contains(const RunStream& of, std::uint64_t first, std::uint64_t last) const;
  std::uint64_t base(const RunStream& of) const;  // every seq <= base is here
  std::uint64_t max(const RunStream& of) const;   // highest seq that is here, 0 for none
  // What of first..last is not here, in order.
  std::vector<Range> missing(const RunStream& of, std::uint64_t first, std::uint64_t last) const;

  // Dots that would pass received_context_above_max are left out: they count as missing.
  void join(const ReceivedContext& other);
  // Only what concerns runs of `node`.
  ReceivedContext of_node(const NodeId& node) const;
  // Only the entries of `of`.
  ReceivedContext of_stream(const RunStream& of) const;
  std::vector<RunStream> streams() const;  // with entries, ordered
  bool empty() const;

  // The wire form (crdt/README.md): per entry the smallest of {base only, varint intervals, Roaring of received, Roaring
  // of gaps}. decode accepts any bytes, allocates at most a small multiple of the input and
  // refuses over the limits in schemas/limits.h; no bytes are the empty context. Equal contexts encode to equal bytes.
  // Errors: `corrupt`, `out_of_range`.
  std::string encode() const;
  static Result<ReceivedContext> decode(std::string_view bytes);

  // Entry-wise, for storage in one row per (run, stream). Decoding joins what it reads. Errors as decode; nothing is
  // joined then.
  std::string encode_entry(const RunStream& of) const;
  Status decode_entry(const RunStream& of, std::string_view bytes);

  friend bool operator==(const ReceivedContext&, const ReceivedContext&) = default;

 private:
  struct Entry {
    std::uint64_t base = 0;
    SeqSet above;  // only seqs > base + 1
    std::uint64_t max() const { return above.empty() ? base : above.max(); }
    void advance();  // moves the base over what is contiguous to it
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  struct Name {  // of a run, within its node
    std::uint32_t counter, nonce;
    friend auto operator<=>(const Name&, const Name&) = default;
  };

  static Status add_to(Entry& entry, std::uint64_t first, std::uint64_t last);
  const Entry* find(const RunStream& of) const;
  void join_entry(const RunStream& of, const Entry& entry);

  static void encode_entry_to(const Entry& entry, std::string& bytes);
  static Status decode_entry_from(std::string_view& bytes, Entry& entry);
  static void encode_names_to(const std::vector<Name>& names, std::string& bytes);
  static Status decode_names_from(std::string_view& bytes, std::vector<Name>& names);
  static Status decode_node_from(std::string_view& bytes, const NodeId& node, ReceivedContext& context);

  std::map<RunStream, Entry> entries_;  // none is empty
};

}  // namespace landfall
