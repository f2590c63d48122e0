#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "edgeruntime/mqtt/control.h"

namespace landfall {

// The file of a BrokerControl, as the plugin sees it. Readable by its owner alone, as the passwords of the edge's own
// client and hashes of the others are in it.
class ControlFile {
 public:
  explicit ControlFile(std::string path) : path_(std::move(path)) {}

  // What is in it where it is another file than the last time, else nothing. Cheap where it is the same: one stat.
  // Errors: `not_found`, `disk`, `corrupt`.
  Result<std::optional<BrokerControl>> changed();

 private:
  std::string path_;
  struct stat seen_ {};
};

// Whole or not at all. Errors: `out_of_range` (encode_control), `disk`.
Status write_control(const std::string& path, const BrokerControl& control);

}  // namespace landfall
