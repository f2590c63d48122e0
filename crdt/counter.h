#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "crdt/entry.h"
#include "schemas/op.h"

namespace landfall {

// The counter that goes up and down and can be reset (Weidner & Almeida, "An Oblivious Observed-Reset Embeddable
// Replicated Counter", PaPoC 2022). Each run has one cell, at path/<run>: what it added and what it took away since it
// began, so a cell counts once however often it comes. A reset raises the bases, at path/base/<run>, to the cells that
// its author saw: counts that he did not see survive it, and two resets at once take nothing away twice. Joined by the
// greater, part by part; the value is the sum of what each cell has above its base.
//
// A run's writer must see its own last write in `entries`.

// None where no counter is. Held at the ends of int64 where the sum passes them.
std::optional<std::int64_t> counter_value(std::span<const Entry> entries, std::string_view path);

// Adds `by`, also 0: then the counter is there. Errors: `out_of_range` where the run's cell would pass 2^62.
Result<Op> count_op(std::span<const Entry> entries, std::string_view path, const RunId& own, std::int64_t by);
// Back to 0 as far as its author sees; none where nothing is to do.
std::vector<Op> reset_ops(std::span<const Entry> entries, std::string_view path);
// A reset that also takes the cells away: there is no counter then, but for counts that its author did not see. The bases
// stay for ever: a cell that comes later counts from them.
std::vector<Op> erase_counter_ops(std::span<const Entry> entries, std::string_view path);

}  // namespace landfall
