#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace landfall {

// The subjects of a chunk, up to the number that the index names. Private to this folder.
class SubjectSet {
 public:
  void add(std::string_view subject);
  bool overflowed() const { return overflowed_; }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_;
  std::size_t last_ = 0;  // events of one device often come in a row
  bool overflowed_ = false;
};

}  // namespace landfall
