#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "edgeruntime/config.h"
#include "eventlog/store.h"
#include "schemas/event.h"
#include "schemas/ids.h"

namespace landfall {

class UvLoop;

// A node's log as another process reads it, whether the node runs or not: what was durable when it was opened.
class LogReader {
 public:
  // Errors: `not_found` where there is no log, `disk`.
  static Result<std::unique_ptr<LogReader>> open(const NodePaths& paths);
  ~LogReader();

  struct Filter {
    std::string subject_prefix;
    std::optional<Stream> stream;
    std::optional<RunId> run;
    std::int64_t from_unix_ms = INT64_MIN;
    std::uint64_t from_seq = 1;
  };
  // Calls `visit` for each event that passes, in order per (run, stream), until it returns false.
  // Errors: `disk`, `corrupt` naming the chunk.
  using Visit = std::function<bool(const Dot&, const Event&)>;
  Status each(const Filter& filter, const Visit& visit) const;

  const Store& store() const { return *store_; }

 private:
  LogReader();
  std::unique_ptr<UvLoop> loop_;
  std::unique_ptr<Store> store_;
};

}  // namespace landfall
