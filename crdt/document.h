#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/entry.h"
#include "schemas/op.h"

namespace landfall {

// A JSON document as live writes: one leaf, one path, its value compact JSON text. RFC 7396 merge patches change it; the
// view of any causally ordered series of them is what the RFC says, and concurrent patches of different leaves keep both.
// Where one wrote an object and another at the same time a scalar, the object is shown and the scalar is a conflict.

// How a part of a document merges. An object merges by `fields` and everything else is `atomic` where nothing is said.
enum class Merge : std::uint8_t {
  fields,
  atomic,   // one value with all below it: concurrent writes are a fork that somebody must settle
  set,      // an array of texts, numbers and booleans, each once, shown in order: an add wins over a remove (set.h)
  counter,  // an integer: a write adds the difference to what its author saw (counter.h)
  min,      // a number: of concurrent writes the least is shown
  max,
};
std::string_view to_string(Merge merge);
Result<Merge> parse_merge(std::string_view name);  // Errors: `out_of_range`.

// Where in an object a document stands, and how its parts merge: by path within the document.
struct DocumentPlace {
  std::string root;
  std::map<std::string, Merge, std::less<>> annotations;
};

struct DocumentConflict {
  std::string path;  // within the document
  // The live writes that differ, the shown one first; of a scalar under an object: only the scalar's. At most
  // siblings_shown_max, views into the entries.
  std::vector<const Entry*> writes;
  bool hidden_by_object = false;
  std::optional<Dot> parent;  // atomic: the last write that all of them followed, where it is known
};
struct DocumentView {
  std::optional<std::string> json;          // compact, keys in order; none where there is no document
  std::vector<DocumentConflict> conflicts;  // by path
  // What merges made of concurrent writes passes a limit, or a write holds no JSON and is left out: for health to say.
  bool over_limits = false, damaged = false;
};
DocumentView view_document(std::span<const Entry> entries, const DocumentPlace& place);

// A patch, and a whole document in the place of what is there: leaves that are equal already stay as they are. No op:
// nothing to change. `own` is the writer's run, for counters. Errors: `out_of_range` for no JSON, a part that does not
// fit its annotation, a null where one would be stored, and what passes a limit of limits.h then.
Result<std::vector<Op>> patch_ops(std::span<const Entry> entries, const DocumentPlace& place, const RunId& own,
                                  std::string_view patch);
Result<std::vector<Op>> replace_ops(std::span<const Entry> entries, const DocumentPlace& place, const RunId& own,
                                    std::string_view document);
// Takes away what is seen of the part at `path` ("": the document).
std::vector<Op> erase_ops(std::span<const Entry> entries, const DocumentPlace& place, std::string_view path = "");
// Settles a conflict: for the write `take`, which is at exactly `path`, or for what is shown. Errors: `not_found`.
Result<std::vector<Op>> settle_ops(std::span<const Entry> entries, const DocumentPlace& place, std::string_view path,
                                   const std::optional<Dot>& take);

// A long series of ops as the events that can carry them. Ops stand for themselves: a reader between two events sees a
// part done, never a wrong value.
std::vector<std::vector<Op>> split_ops(std::vector<Op> ops);

// The JSON of a write: an atomic one names the writes before it behind the text.
std::string_view json_of(const Entry& entry);

}  // namespace landfall
