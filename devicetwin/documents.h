#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "devicetwin/objects.h"

namespace landfall {

// JSON documents that every node edits: stream document, object "doc/<name>"; merge by RFC 7396 on paths (crdt/document.h).
// A name is 1 to 512 of [A-Za-z0-9-_./] without empty, "." or ".." parts.
struct NamedDocument {
  std::string name, version;
  std::string json;  // canonical
  std::vector<std::string>
      conflicts;             // JSON objects {"path","value","shown","time","dot"}: concurrent writes not shown
  bool over_limits = false;  // merges made it larger than a write may
};

class Documents {
 public:
  explicit Documents(Objects& objects) : objects_(objects) {}
  ~Documents();

  Result<NamedDocument> view(std::string_view name) const;  // `not_found`
  Result<std::vector<std::string>> list(std::string_view prefix, std::string_view after, std::size_t limit) const;
  // `json` replaces the whole; patch is RFC 7396. if_match "*": it must exist; a version: it must be that one.
  void put(std::string name, std::string json, std::string actor, std::optional<std::string> if_match, OnWritten done);
  void patch(std::string name, std::string patch, std::string actor, std::optional<std::string> if_match,
             OnWritten done);
  void remove(std::string name, std::string actor, std::optional<std::string> if_match, OnWritten done);
  // How a subtree merges: atomic, fields, set, counter, min, max. Replicated with the document.
  void annotate(std::string name, std::string path, std::string annotation, std::string actor, OnWritten done);

  using OnChanged = std::function<void(const std::string& name)>;
  void watch(OnChanged changed);

 private:
  Objects& objects_;
  std::vector<Log::Subscription> subscriptions_;
};

}  // namespace landfall
