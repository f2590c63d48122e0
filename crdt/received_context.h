#pragma once

#include <array>
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

  // A run is sealed once its successor has named its last seqs. A sealed run that is complete here, and whose parent is
  // folded or none, folds: its entries go, its name stays in the node's folded list, and contains() is true for all of
  // it. A run that cannot fold yet is remembered and folds in the add() or join() that completes it; what is remembered
  // is not part of the value: neither compared nor encoded. Returns true where this run folded, now or before. `finals`
  // are last seqs by stream, 0 for none. A successor that lost acknowledged events of the run must not seal it.
  bool seal(const RunId& run, const RunId& parent, const std::array<std::uint64_t, stream_count>& finals);
  bool folded(const RunId& run) const;

  // Dots that would pass received_context_above_max are left out: they count as missing.
  void join(const ReceivedContext& other);
  // Only what concerns runs of `node`.
  ReceivedContext of_node(const NodeId& node) const;
  // Only the entries of `of`.
  ReceivedContext of_stream(const RunStream& of) const;
  std::vector<RunStream> streams() const;  // with entries, ordered; folded runs are not listed
  bool empty() const;

  // The wire form (crdt/README.md): per entry the smallest of {base only, varint intervals, Roaring of received, Roaring
  // of gaps}, and folded lists as names. decode accepts any bytes, allocates at most a small multiple of the input and
  // refuses over the limits in schemas/limits.h; no bytes are the empty context. Equal contexts encode to equal bytes.
  // Errors: `corrupt`, `out_of_range`.
  std::string encode() const;
  static Result<ReceivedContext> decode(std::string_view bytes);

  // Entry-wise, for storage in one row per (run, stream) and one per node. Decoding joins what it reads; an entry of a
  // folded run is left out. Errors as decode; nothing is joined then.
  std::string encode_entry(const RunStream& of) const;
  Status decode_entry(const RunStream& of, std::string_view bytes);
  std::string encode_folded(const NodeId& node) const;
  Status decode_folded(const NodeId& node, std::string_view bytes);

  friend bool operator==(const ReceivedContext& a, const ReceivedContext& b);

 private:
  struct Entry {
    std::uint64_t base = 0;
    SeqSet above;  // only seqs > base + 1
    std::uint64_t max() const { return above.empty() ? base : above.max(); }
    void advance();  // moves the base over what is contiguous to it
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  struct Seal {
    RunId parent;
    std::array<std::uint64_t, stream_count> finals{};
  };
  struct Name {  // of a run, within its node
    std::uint32_t counter, nonce;
    friend auto operator<=>(const Name&, const Name&) = default;
  };

  static Status add_to(Entry& entry, std::uint64_t first, std::uint64_t last);
  const Entry* find(const RunStream& of) const;
  bool complete(const RunId& run, const Seal& seal) const;
  void fold(const RunId& run);
  void fold_ready(RunId run);
  void fold_all_ready();
  void join_entry(const RunStream& of, const Entry& entry);

  static void encode_entry_to(const Entry& entry, std::string& bytes);
  static Status decode_entry_from(std::string_view& bytes, Entry& entry);
  static void encode_names_to(const std::vector<Name>& names, std::string& bytes);
  static Status decode_names_from(std::string_view& bytes, std::vector<Name>& names);
  static Status decode_node_from(std::string_view& bytes, const NodeId& node, ReceivedContext& context);

  std::map<RunStream, Entry> entries_;               // none is empty, none belongs to a folded run
  std::map<NodeId, std::vector<Name>> folded_;       // ascending, none is empty
  std::map<RunId, Seal> seals_;                      // of runs that cannot fold yet
};

}  // namespace landfall
