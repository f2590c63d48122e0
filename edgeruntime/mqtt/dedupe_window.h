#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "schemas/limits.h"

namespace landfall {

// The names (source, id) of the last `names_max` CloudEvents, as 128-bit keyed hashes: SipHash-2-4 with a key that no
// sender knows, so that none can make two names meet. About 24 bytes per name. The oldest is forgotten first.
class DedupeWindow {
 public:
  using Key = std::array<std::uint64_t, 2>;
  explicit DedupeWindow(Key key, std::size_t names_max = dedupe_window_events);

  // False where the name is in the window already.
  bool add(std::string_view source, std::string_view id) { return add(hash(source, id)); }
  bool contains(std::string_view source, std::string_view id) const { return find(hash(source, id)) != nowhere; }
  std::size_t size() const { return names_.size(); }

  using Hash = std::array<std::uint64_t, 2>;
  Hash hash(std::string_view source, std::string_view id) const;
  bool add(const Hash& name);

 private:
  static constexpr std::size_t nowhere = ~std::size_t{0};
  std::size_t find(const Hash& name) const;
  void forget(const Hash& name);

  Key key_;
  std::size_t names_max_;
  std::vector<Hash> names_;  // in order of arrival from oldest_ on, once full
  std::size_t oldest_ = 0;
  std::vector<std::uint32_t> slots_;  // index into names_ plus one; open addressing, linear
  std::size_t mask_;
};

}  // namespace landfall
