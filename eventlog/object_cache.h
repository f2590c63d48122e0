#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "crdt/entry.h"
#include "schemas/limits.h"

namespace landfall {

// Whole objects as they were read, kept as they are by every later change. Without it a property that is written once a
// second would make each read pass thousands of rows that are deleted and not yet compacted. Private to this folder.
class ObjectCache {
 public:
  explicit ObjectCache(std::size_t bytes_max = state_cache_bytes_max) : bytes_max_(bytes_max) {}

  // What one chunk does to objects that were here when it was given to the store.
  struct Change {
    std::string path;
    Dot dot;
    std::optional<Entry> put;  // none: the write is superseded
  };
  using Changes = std::map<std::string, std::vector<Change>, std::less<>>;  // by object

  bool empty() const { return slots_.empty(); }
  bool holds(Stream stream, std::string_view object) const;
  // Null where it is not here. Valid until the next call.
  const Entries* find(Stream stream, std::string_view object);
  // Lets those go for it that were neither read nor changed for longest; an object over a quarter of the bound is not kept.
  void insert(Stream stream, std::string_view object, Entries entries);
  // A chunk became A1: `objects` are all that it changed. One that came here since it was submitted is let go.
  void apply(Stream stream, const std::vector<std::string>& objects, Changes changes);

 private:
  struct Slot {
    std::string name;  // stream u8 | object
    Entries entries;
    std::size_t bytes;
  };
  using Slots = std::list<Slot>;
  Slots::iterator find_slot(Stream stream, std::string_view object);
  void drop(Slots::iterator slot);

  std::size_t bytes_max_, bytes_ = 0;
  Slots slots_;  // the last read or changed first
  std::unordered_map<std::string_view, Slots::iterator> by_name_;
};

}  // namespace landfall
