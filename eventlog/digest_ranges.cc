#include "eventlog/digest_ranges.h"

#include "eventlog/state_digest.h"

namespace landfall {
namespace {

constexpr std::size_t objects_per_range = 256;

}  // namespace

void DigestRanges::changed(const std::vector<std::string>& objects) {
  for (const std::string& name : objects) std::prev(ranges_.upper_bound(name))->second.marked = true;
}

// Takes the range apart where it has grown, and joins it to the one before where nothing is left of it.
Status DigestRanges::read(const std::string& from, const Scan& scan) {
  const auto next = ranges_.upper_bound(from);
  std::vector<std::pair<std::string, Range>> found{{from, {}}};
  std::size_t objects = 0;
  LANDFALL_TRY(scan(from, next == ranges_.end() ? std::string_view() : next->first,
                    [&](const std::string& name, const Digest& digest) {
                      if (objects++ == objects_per_range) {
                        found.emplace_back(name, Range{});
                        objects = 1;
                      }
                      add_digest(found.back().second.sum, digest);
                    }));
  if (objects == 0 && !from.empty()) {
    ranges_.erase(from);
    return ok();
  }
  for (auto& [name, range] : found) {
    range.marked = false;
    ranges_.insert_or_assign(name, range);
  }
  return ok();
}

Result<Digest> DigestRanges::sum(const Scan& scan) {
  std::vector<std::string> due;
  for (const auto& [name, range] : ranges_) {
    if (range.marked) due.push_back(name);
  }
  auto at_rest = ranges_.lower_bound(next_at_rest_);
  if (at_rest == ranges_.end()) at_rest = ranges_.begin();
  next_at_rest_ = at_rest->first + '\0';
  if (!at_rest->second.marked) due.push_back(at_rest->first);
  for (const std::string& name : due) LANDFALL_TRY(read(name, scan));
  Digest sum{};
  for (const auto& [name, range] : ranges_) add_digest(sum, range.sum);
  return sum;
}

}  // namespace landfall
