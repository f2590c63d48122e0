#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// How far one (run, stream) is in Kafka: one record of the compacted progress topic, written in the transaction that
// holds the events it speaks of. Key "<run>/<stream>", value JSON {"last":n,"chain":"hex","time":"...","events":n}, and
// "voids":true where it ends inside of a range of voids.
struct Progress {
  std::uint64_t last = 0;    // every seq up to here is committed
  Digest chain{};            // the hash chain after `last`
  std::uint64_t events = 0;  // of this (run, stream) in the same transaction
  std::int64_t unix_ms = 0;  // the hub's wall clock then
  bool voids = false;        // `chain` is not yet what the changes themselves would give (eventlog/chain.h)
};

std::string progress_key(const RunStream& of);
std::string encode_progress(const Progress& progress);

// Who owns the shard: the first record an owner writes. Key "owner", value JSON {"instance":"...","time":"..."}.
// A fenced writer reads here whether another hub took the shard or only its own transaction timed out.
inline constexpr std::string_view owner_key = "owner";
std::string encode_owner(std::string_view instance, std::int64_t unix_ms);

// One partition of the progress topic, read from its beginning.
struct ShardProgress {
  std::map<RunStream, Progress> streams;
  std::string owner;  // empty: nobody yet
  // Applies one record; a later one replaces an earlier one. Errors: `corrupt`.
  Status apply(std::string_view key, std::string_view value);
};

}  // namespace landfall
