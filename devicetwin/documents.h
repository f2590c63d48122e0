#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "devicetwin/objects.h"

namespace landfall {

// JSON documents that every node edits: stream document, object "doc/<name>"; merge by RFC 7396 on paths (crdt/document.h).
// A name is 1 to 512 of [A-Za-z0-9-_./] without empty, "." or ".." parts.
struct NamedDocument {
  std::string name, version;
  std::string json;  // canonical
  // JSON objects {"path","value","dot","time","shown"}: concurrent writes that are not shown, beside what is. Without
  // "shown" an object is, which somebody wrote at the same time. "parent" is the write that all of them followed.
  std::vector<std::string> conflicts;
  bool over_limits = false;  // merges made it larger than a write may
  bool damaged = false;      // a write that holds no JSON is left out
};

// Writes fail as Twins' do: `out_of_range` for what cannot be written, also for a change that is larger than one event
// (it is to be patched in parts), `conflict` where if_match is not so.
class Documents {
 public:
  explicit Documents(Objects& objects);
  ~Documents();

  Result<NamedDocument> view(std::string_view name) const;  // `not_found`
  Result<std::vector<std::string>> list(std::string_view prefix, std::string_view after, std::size_t limit) const;
  // `json` replaces the whole; patch is RFC 7396. if_match "*": it must exist; a version: it must be that one.
  void put(std::string name, std::string json, std::string actor, std::optional<std::string> if_match, OnWritten done);
  void patch(std::string name, std::string patch, std::string actor, std::optional<std::string> if_match,
             OnWritten done);
  // What is seen here. A large one goes in several events: the dots are of the last. Annotations stay: what others write
  // at the same time merges as they say.
  void remove(std::string name, std::string actor, std::optional<std::string> if_match, OnWritten done);
  // How a subtree merges: atomic, fields, set, counter, min, max. Replicated with the document. What is there is written
  // again as the new way wants it; `out_of_range` where it cannot be.
  void annotate(std::string name, std::string path, std::string annotation, std::string actor, OnWritten done);
  // Ends a conflict for the write `take` at `path`, or for what is shown. `not_found` where there is no such write.
  void settle(std::string name, std::string path, std::optional<Dot> take, std::string actor, OnWritten done);

  // Documents of which merges made more than a write may, or that hold what is no JSON, and what is wrong with each: for
  // health to say. A call looks at a part of what was not looked at since it changed, or since the start.
  const std::map<std::string, std::string>& troubles();

  using OnChanged = std::function<void(const std::string& name)>;
  void watch(OnChanged changed);

 private:
  void change(std::string name, std::string actor, Objects::Decide decide, OnWritten done);
  void remove_more(std::string name, std::string actor, std::optional<std::string> if_match, bool first,
                   OnWritten done);

  bool find_unseen();

  Objects& objects_;
  std::vector<Log::Subscription> subscriptions_;
  std::map<std::string, std::string> troubles_;
  std::set<std::string> unseen_;                 // of troubles()
  std::optional<std::string> found_up_to_ = "";  // objects; none: all were found
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace landfall
