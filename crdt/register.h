#pragma once

#include <span>
#include <string>
#include <string_view>

#include "crdt/entry.h"
#include "schemas/op.h"

namespace landfall {

// The multi-value register: every concurrent write stays until somebody who saw it writes again.

// By (clock class, time, run, seq). The clock only breaks ties between writes that did not know of each other.
bool is_later(const Entry& a, const Entry& b);
// The sibling that a reader is shown where no policy says otherwise: the one later than all others. Null for none.
const Entry* latest(std::span<const Entry> siblings);

// A write by somebody who sees `entries`, and a delete: they supersede what is at `path` there.
Op put_op(std::span<const Entry> entries, std::string_view path, std::string value);
Op erase_op(std::span<const Entry> entries, std::string_view path);

}  // namespace landfall
