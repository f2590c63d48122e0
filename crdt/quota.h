#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string_view>

#include "crdt/entry.h"
#include "schemas/op.h"

namespace landfall {

// An amount that several nodes use up and never exceed, also while none hears of another: each uses only rights that it
// holds (escrow; Balegas et al., "Extending Eventually Consistent Cloud Databases for Enforcing Numeric Invariants",
// SRDS 2015). Rights are made by a grant, moved by a transfer, used and given back; cells as in counter.h, one per run,
// added up per node:
//   path/<run>/used        [used, given back]
//   path/<run>/to/<node>   [rights made or moved, 0]    to its own node: made; who may do that is the caller's to say
// A node that went back to a backup may use twice what it had used since: then its `left` is negative, and what it used
// is counted all the same.
//
// A run's writer must see its own last write in `entries`.
struct QuotaShare {
  std::uint64_t made = 0, got = 0, gave = 0, used = 0;  // used: less what was given back
  std::int64_t left() const;
  friend bool operator==(const QuotaShare&, const QuotaShare&) = default;
};
struct Quota {
  std::map<NodeId, QuotaShare> shares;
  std::uint64_t made() const;  // never exceeded by used()
  std::uint64_t used() const;
  friend bool operator==(const Quota&, const Quota&) = default;
};
Quota quota(std::span<const Entry> entries, std::string_view path);

// Errors: `out_of_range` where the node of `own` has fewer rights left than `amount` (it says how many, and of how many in
// all), where it has less in use than it gives back, and where a cell would pass 2^62.
Result<Op> grant_op(std::span<const Entry> entries, std::string_view path, const RunId& own, std::uint64_t amount);
Result<Op> transfer_op(std::span<const Entry> entries, std::string_view path, const RunId& own, const NodeId& to,
                       std::uint64_t amount);
Result<Op> spend_op(std::span<const Entry> entries, std::string_view path, const RunId& own, std::uint64_t amount);
Result<Op> give_back_op(std::span<const Entry> entries, std::string_view path, const RunId& own, std::uint64_t amount);

}  // namespace landfall
