#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/received_context.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// The live state of one whole stream and the events that it is the sum of, for a replica that lacks events which are
// pruned everywhere it could ask. It is joined, never put in place of what is there: what only the taker wrote stays, and
// what it holds live although the snapshot received and lacks it goes. So deletes need no tombstones, however long
// somebody was away (Almeida, Shoker, Baquero: delta state replicated data types, 2018; crdt/state.h, join).
//
// Cut into parts by object name so that a small change of the state changes few of them: a taker keeps the parts it has
// over lost links and restarts, and a newer manifest asks only for what differs. Values: any thread.

using PartId = std::array<std::uint8_t, 16>;  // the first bytes of the SHA-256 of the part's bytes
PartId part_id(std::string_view bytes);

struct SnapshotManifest {
  Stream stream = Stream::control;
  // Of this stream alone, and without a gap: every run has a base and nothing above it.
  ReceivedContext received;
  // The chain after the last received event of a run: what the taker's next chunk of it joins. Complete as Log::snapshot
  // makes it; a sender leaves out what the taker has all of.
  std::map<RunId, Digest> chains;
  struct Part {
    PartId id{};
    std::uint32_t bytes = 0;
    friend bool operator==(const Part&, const Part&) = default;
  };
  std::vector<Part> parts;  // by the names of their objects; together every object of the stream once

  std::uint64_t bytes() const;  // of all parts
  friend bool operator==(const SnapshotManifest&, const SnapshotManifest&) = default;
};

// The wire form. decode takes any bytes, allocates a small multiple of them, and refuses over snapshot_parts_max,
// snapshot_bytes_max and received_context_bytes_max. Errors: `corrupt`, `out_of_range`.
std::string encode(const SnapshotManifest& manifest);
Result<SnapshotManifest> decode_snapshot_manifest(std::string_view bytes);

class Snapshot {
 public:
  Snapshot(SnapshotManifest manifest, std::vector<std::string> parts)
      : manifest_(std::move(manifest)), parts_(std::move(parts)) {}
  const SnapshotManifest& manifest() const { return manifest_; }
  const std::string& part(std::size_t index) const { return parts_[index]; }  // compressed, as sent and as named

 private:
  SnapshotManifest manifest_;
  std::vector<std::string> parts_;
};

}  // namespace landfall
