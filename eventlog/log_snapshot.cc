#include "eventlog/log_impl.h"

namespace landfall {

Result<std::shared_ptr<const Snapshot>> LogImpl::snapshot(Stream) {
  return Error{Code::unavailable, "log: no snapshots yet"};
}

std::vector<std::uint32_t> LogImpl::missing_parts(const SnapshotManifest& manifest) const {
  std::vector<std::uint32_t> missing;
  for (std::uint32_t i = 0; i < manifest.parts.size(); ++i) missing.push_back(i);
  return missing;
}

void LogImpl::keep_part(Stream, std::string, std::function<void(Status)> done) {
  later([done = std::move(done)] { done(Error{Code::unavailable, "log: no snapshots yet"}); });
}

void LogImpl::join(SnapshotManifest, std::function<void(Status)> done) {
  later([done = std::move(done)] { done(Error{Code::unavailable, "log: no snapshots yet"}); });
}

}  // namespace landfall
