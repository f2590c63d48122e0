#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "eventlog/snapshot.h"
#include "eventlog/store.h"

namespace landfall {

// Parts of snapshots that wait to be joined: rows of meta, and in memory what is there. Private to this folder.
class KeptParts {
 public:
  // Errors: `corrupt`, `disk`.
  Status load(const Store& store);

  // Given to the store at least.
  bool contains(Stream stream, const PartId& id) const;
  // Lets those kept longest go for it over snapshot_bytes_max per stream.
  void add(Stream stream, const PartId& id, std::string_view part, Batch& batch);
  void drop(Stream stream, const PartId& id, Batch& batch);
  void clear(Stream stream, Batch& batch);
  // The part, proven against its name. Errors: `not_found`, `corrupt`, `disk`.
  static Result<std::string> read(const Store& store, Stream stream, const PartId& id);

 private:
  struct Kept {
    std::uint64_t number;  // rises: the order in which they came
    std::size_t bytes;
  };
  struct OfStream {
    std::map<PartId, Kept> parts;
    std::map<std::uint64_t, PartId> by_number;
    std::size_t bytes = 0;
  };
  void note(OfStream& of, const PartId& id, const Kept& kept);

  std::map<Stream, OfStream> streams_;
  std::uint64_t next_ = 0;
};

}  // namespace landfall
