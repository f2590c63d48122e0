#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "crdt/entry.h"
#include "eventlog/run_table.h"
#include "eventlog/store.h"

namespace landfall {

// Reads of the state table. Private to this folder. Errors: `corrupt`, `disk`.

Result<Entries> read_object(const Store& store, const RunTable& runs, Stream stream, std::string_view object);

// Every object with live entries of `stream` from name `from` on and before `to` (empty: to the end), in order, until
// `visit` returns false.
using VisitObject = std::function<bool(const std::string& name, Entries& entries)>;
Status scan_objects(const Store& store, const RunTable& runs, Stream stream, std::string_view from, std::string_view to,
                    const VisitObject& visit);

// At most `limit` names that begin with `prefix` and come after `after`.
Result<std::vector<std::string>> object_names(const Store& store, Stream stream, std::string_view prefix,
                                              std::string_view after, std::size_t limit);

}  // namespace landfall
