#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// The digest of a stream's live state, kept as sums over ranges of object names: a change costs a mark, the next question
// a read of the ranges that are marked. A digest per object would cost a hub of a million objects 100 MB. Private to this
// folder.
class DigestRanges {
 public:
  // Calls `each` with the digest of every object from `from` on and before `to` (empty: to the end), in order.
  using Each = std::function<void(const std::string& name, const Digest& digest)>;
  using Scan = std::function<Status(std::string_view from, std::string_view to, const Each& each)>;

  void changed(const std::vector<std::string>& objects);
  // Also reads one range that is not marked, in turn: what rots at rest changes the sum, too. Errors: as `scan`.
  Result<Digest> sum(const Scan& scan);
  std::size_t ranges() const { return ranges_.size(); }

 private:
  struct Range {
    Digest sum{};
    bool marked = true;
  };
  Status read(const std::string& from, const Scan& scan);

  std::map<std::string, Range, std::less<>> ranges_{{"", {}}};  // by first name
  std::string next_at_rest_;
};

}  // namespace landfall
