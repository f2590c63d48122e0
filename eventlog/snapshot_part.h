#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "crdt/entry.h"
#include "eventlog/snapshot.h"
#include "schemas/result.h"

namespace landfall {

// A part of a snapshot: live writes of some objects in order of name, path, dot, as columns, compressed. Names runs, not
// handles: equal states make equal parts. README.md holds the layout. Private to this folder and its tests.

struct SnapshotObject {
  std::string name;
  Entries entries;
  friend bool operator==(const SnapshotObject&, const SnapshotObject&) = default;
};

// `objects` must be ordered and not empty.
std::string encode_snapshot_part(const std::vector<SnapshotObject>& objects);
// Takes any bytes; allocates a small multiple of snapshot_part_bytes_max at most. Errors: `corrupt`, `out_of_range`.
Result<std::vector<SnapshotObject>> decode_snapshot_part(Stream stream, std::string_view bytes);

// What an object counts towards snapshot_part_bytes, and all parts towards snapshot_plain_bytes_max.
std::size_t snapshot_bytes(const SnapshotObject& object);

// Cuts objects, which come in order, into parts. A part ends before an object whose name says so, larger objects more
// often; so a change moves the cuts next to it and no others. An object over the bound goes on in the next part.
class SnapshotCutter {
 public:
  void add(std::string name, Entries entries);
  std::vector<std::string> take();
  std::size_t plain_bytes() const { return plain_bytes_; }
  std::size_t parts() const { return parts_.size(); }

 private:
  void close();

  std::vector<SnapshotObject> open_;
  std::size_t open_bytes_ = 0, plain_bytes_ = 0;
  std::vector<std::string> parts_;
};

}  // namespace landfall
