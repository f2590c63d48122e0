#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "eventlog/store.h"
#include "schemas/ids.h"

namespace landfall {

// Writes that are superseded and have not come: (dot, target), a target being `object 0x00 path`. In memory, and as rows
// of meta. Private to this folder.
class PendingWrites {
 public:
  // Errors: `corrupt`, `disk`.
  Status load(const Store& store);

  std::size_t size() const { return size_; }
  std::size_t bytes() const { return bytes_; }  // of targets
  bool contains(const Dot& dot, std::string_view target) const;
  bool any_of(Stream stream) const;
  void add(const Dot& dot, std::string_view target, Batch& batch);
  // Takes out what waited for seqs first..last: they are here.
  void settle(const RunStream& of, std::uint64_t first, std::uint64_t last, Batch& batch);
  std::size_t count(const RunStream& of, std::uint64_t first, std::uint64_t last) const;

 private:
  bool insert(const Dot& dot, std::string_view target);

  std::map<Dot, std::set<std::string, std::less<>>> writes_;
  std::size_t size_ = 0, bytes_ = 0;
};

}  // namespace landfall
