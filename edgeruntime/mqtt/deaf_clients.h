#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "edgeruntime/mqtt/capture.h"

namespace landfall {

// Clients that published for a device while they had no subscription at all, and have not subscribed or gone since.
class DeafClients {
 public:
  // Every request and notice, in their order.
  void note(const CapturedMessage& message);

  std::vector<std::string> of_device(std::string_view device) const;
  std::vector<std::pair<std::string, std::vector<std::string>>> all() const;
  std::size_t size() const { return clients_.size(); }

 private:
  struct Client {
    std::set<std::string, std::less<>> devices;
    std::uint64_t noted;  // when it was first seen, counted in notes
  };
  void add(const CapturedMessage& message);

  std::map<std::string, Client, std::less<>> clients_;
  std::uint64_t notes_ = 0;
};

}  // namespace landfall
