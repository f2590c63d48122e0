#include <algorithm>

#include "eventlog/log_impl.h"
#include "eventlog/snapshot_part.h"
#include "eventlog/state_rows.h"
#include "schemas/limits.h"

// What a stream's events amount to, made into parts; and the parts of another's, kept for a join.

namespace landfall {
namespace {

Error too_large() { return {Code::out_of_range, "log: the state is too large for a snapshot"}; }

}  // namespace

// A snapshot says of every event up to its bases that what it superseded is gone. That is true only where none of it is
// still to come.
Status LogImpl::snapshot_may_be_made(Stream stream) const {
  for (const RunStream& of : received_.streams()) {
    if (of.stream != stream || received_.base(of) == received_.max(of)) continue;
    return Error{Code::unavailable,
                 to_string(Dot{of.run, stream, received_.base(of) + 1}) + ": missing below others: no snapshot yet"};
  }
  if (pending_writes_.any_of(stream) || settling_[static_cast<std::size_t>(stream)] > 0)
    return Error{Code::unavailable, "log: superseded writes have not come: no snapshot yet"};
  return ok();
}

Result<std::map<RunId, Digest>> LogImpl::chains_of(const ReceivedContext& received) {
  std::map<RunId, Digest> chains;
  for (const RunStream& of : received.streams()) {
    Result<std::optional<Digest>> chain = chain_known_at(of, received.base(of));
    if (!chain) return std::move(chain).error();
    if (!*chain)
      return Error{Code::corrupt, to_string(Dot{of.run, of.stream, received.base(of)}) + ": received, and in no chunk"};
    chains.emplace(of.run, **chain);
  }
  return chains;
}

Result<std::shared_ptr<const Snapshot>> LogImpl::snapshot(Stream stream) {
  std::shared_ptr<const Snapshot>& cached = snapshots_[static_cast<std::size_t>(stream)];
  if (cached) return cached;
  LANDFALL_TRY(snapshot_may_be_made(stream));
  SnapshotManifest manifest;
  manifest.stream = stream;
  for (const RunStream& of : received_.streams()) {
    if (of.stream == stream) manifest.received.join(received_.of_stream(of));
  }
  Result<std::map<RunId, Digest>> chains = chains_of(manifest.received);
  if (!chains) return std::move(chains).error();
  manifest.chains = std::move(*chains);
  SnapshotCutter cutter;
  LANDFALL_TRY(scan_objects(store_, runs_, stream, {}, {}, [&](const std::string& name, Entries& entries) {
    cutter.add(name, std::move(entries));
    entries.clear();
    return cutter.plain_bytes() <= snapshot_plain_bytes_max && cutter.parts() <= snapshot_parts_max;
  }));
  const std::size_t plain_bytes = cutter.plain_bytes();
  std::vector<std::string> parts = cutter.take();
  for (const std::string& part : parts)
    manifest.parts.push_back({part_id(part), static_cast<std::uint32_t>(part.size())});
  if (plain_bytes > snapshot_plain_bytes_max || parts.size() > snapshot_parts_max ||
      manifest.bytes() > snapshot_bytes_max)
    return too_large();
  cached = std::make_shared<const Snapshot>(std::move(manifest), std::move(parts));
  return cached;
}

std::vector<std::uint32_t> LogImpl::missing_parts(const SnapshotManifest& manifest) const {
  std::vector<std::uint32_t> missing;
  for (std::uint32_t i = 0; i < manifest.parts.size(); ++i) {
    if (!kept_.contains(manifest.stream, manifest.parts[i].id)) missing.push_back(i);
  }
  return missing;
}

void LogImpl::keep_part(Stream stream, std::string part, std::function<void(Status)> done) {
  Status status = failed_ ? Status(*failed_) : ok();
  if (status) {
    // A worker would be slower: a part is some tens of microseconds.
    if (Result<std::vector<SnapshotObject>> decoded = decode_snapshot_part(stream, part); !decoded)
      status = Error{Code::corrupt, decoded.error().detail};
  }
  if (!status) return later([done = std::move(done), status] { done(status); });
  const PartId id = part_id(part);
  Batch batch;
  if (!kept_.contains(stream, id)) kept_.add(stream, id, part, batch);
  // One that is here completes behind the batch that may still carry it.
  ++submitted_;
  store_.commit(std::move(batch), [this, alive = alive_, done = std::move(done)](Status committed) {
    if (!*alive) return;
    if (!committed && !failed_) failed_ = committed.error();
    tell_later({std::move(committed), std::move(done), {}, {}});
  });
}

}  // namespace landfall
