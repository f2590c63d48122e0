#pragma once

#include <nlohmann/json.hpp>

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/document.h"
#include "crdt/json_text.h"

// The live writes of a document as a tree, and what is shown of it. Private to document*.cc.

namespace landfall::document {

using Json = nlohmann::json;

struct Node {
  std::string path;                   // within the object
  std::span<const Entry> here;        // the writes at exactly this path
  std::map<std::string, Node> below;  // by key
};

class Tree {
 public:
  Tree(std::span<const Entry> entries, const DocumentPlace& place);

  const Node& root() const { return root_; }
  std::span<const Entry> entries() const { return entries_; }
  std::string_view within(std::string_view path) const { return path.substr(place_.root.size()); }
  // None where nothing is said.
  std::optional<Merge> merge_at(std::string_view path) const;

  // None where the node shows nothing. Adds to `report` what is not shown.
  std::optional<Json> shown(const Node& node, DocumentView* report = nullptr) const;
  bool shows_object(const Node& node) const;

 private:
  std::optional<Json> shown_set(const Node& node, DocumentView* report) const;
  Json with_fields(Json start, const Node& node, DocumentView* report) const;

  std::span<const Entry> entries_;
  const DocumentPlace& place_;
  Node root_;
};

// None for what is no JSON text, null, or nested deeper than any document of ours: only a foreign writer makes these.
std::optional<Json> value_of(const Entry& entry);
bool is_presence(const Entry& entry);  // of an object: "{}"

// The writes that an atomic value followed, the newest first, one of each run; and the value with them behind it.
std::string with_lineage(std::string json, std::span<const Entry> superseded);
std::optional<Dot> common_parent(const std::vector<const Entry*>& fork);

inline constexpr std::string_view empty_object = "{}", empty_array = "[]";
// Values of foreign writers may go this deep; what we write stops at document_depth_max.
inline constexpr std::size_t nesting_read_max = 128;
inline constexpr std::size_t lineage_max = 8;

}  // namespace landfall::document
