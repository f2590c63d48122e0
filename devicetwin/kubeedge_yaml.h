#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/result.h"

// YAML as Kubernetes objects are written in, and JSON, which is YAML too: private to this folder.

namespace landfall::kubeedge {

// A value of a document. Missing members of a missing value are missing: no step has to be checked. Shares what it is part
// of.
class Yaml {
 public:
  // All documents of a text, those within a "kind: List" in its place. Aliases count as what they stand for. Errors:
  // `out_of_range` for what is no YAML, or over a limit of limits.h.
  static Result<std::vector<Yaml>> read(std::string_view text);

  Yaml();
  ~Yaml();
  Yaml(const Yaml&);
  Yaml(Yaml&&) noexcept;
  Yaml& operator=(const Yaml&);
  Yaml& operator=(Yaml&&) noexcept;

  bool is_missing() const;  // null, too
  bool is_map() const;
  bool is_list() const;
  Yaml at(const char* key) const;
  // Elements of a list; members of a map, in the order of the text. None of anything else.
  void each(const std::function<void(const Yaml& element)>& visit) const;
  void each(const std::function<void(const std::string& key, const Yaml& value)>& visit) const;
  // A scalar as it is written, without quotes; empty for all others.
  std::string text() const;
  // JSON: unquoted null, true, false and numbers as such, every other scalar as a string.
  std::string json() const;

 private:
  struct Node;
  explicit Yaml(Node node);
  std::unique_ptr<Node> node_;
};

}  // namespace landfall::kubeedge
