#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>

namespace landfall {

// Hybrid logical time: 48 bits of Unix milliseconds, then a 16-bit counter, used as one integer. Only ever compared.
// Kulkarni et al., "Logical Physical Clocks", 2014; the counter carries into the milliseconds by itself.
struct HybridTime {
  std::uint64_t value = 0;
  std::int64_t unix_ms() const { return static_cast<std::int64_t>(value >> 16); }
  static HybridTime from_unix_ms(std::int64_t ms) {
    return {static_cast<std::uint64_t>(std::max<std::int64_t>(ms, 0)) << 16};
  }
  friend auto operator<=>(const HybridTime&, const HybridTime&) = default;
};

// How far a stamp may be believed. Among concurrent writes a higher class wins before the stamps are compared.
enum class ClockClass : std::uint8_t { untrusted, holdover, synced, authenticated };

// The node's clock. Pure: wall time comes in as an argument. Strictly increasing, whatever the wall clock does.
class HybridClock {
 public:
  explicit HybridClock(HybridTime last = {}) : last_(last) {}

  HybridTime tick(std::int64_t wall_ms) {
    last_.value = std::max(HybridTime::from_unix_ms(wall_ms).value, last_.value + 1);
    return last_;
  }

  // Takes a remote stamp into account, unless it lies more than `ahead_ms_max` before our wall clock or its class is
  // untrusted: a wrong clock is stored with its event but never catching.
  void observe(HybridTime remote, ClockClass remote_class, std::int64_t wall_ms, std::int64_t ahead_ms_max = 300'000) {
    if (remote_class == ClockClass::untrusted || remote.unix_ms() > wall_ms + ahead_ms_max) return;
    last_ = std::max(last_, remote);
  }

  HybridTime last() const { return last_; }

 private:
  HybridTime last_;
};

}  // namespace landfall
