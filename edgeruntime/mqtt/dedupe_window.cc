#include "edgeruntime/mqtt/dedupe_window.h"

#include <bit>
#include <cstring>

namespace landfall {
namespace {

// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012), fed in pieces.
class SipHash128 {
 public:
  explicit SipHash128(const DedupeWindow::Key& key)
      : v_{0x736f6d6570736575 ^ key[0], 0x646f72616e646f6d ^ key[1] ^ 0xee, 0x6c7967656e657261 ^ key[0],
           0x7465646279746573 ^ key[1]} {}

  void feed(std::string_view bytes) {
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data(), 8);
      block(word);
    }
    std::uint64_t last = 0;
    std::memcpy(&last, bytes.data(), bytes.size());
    block(last);
  }
  void block(std::uint64_t word) {
    v_[3] ^= word;
    rounds(2);
    v_[0] ^= word;
  }
  DedupeWindow::Hash end() {
    v_[2] ^= 0xee;
    rounds(4);
    const std::uint64_t low = v_[0] ^ v_[1] ^ v_[2] ^ v_[3];
    v_[1] ^= 0xdd;
    rounds(4);
    return {low, v_[0] ^ v_[1] ^ v_[2] ^ v_[3]};
  }

 private:
  void rounds(int count) {
    for (; count > 0; --count) {
      v_[0] += v_[1], v_[1] = std::rotl(v_[1], 13), v_[1] ^= v_[0], v_[0] = std::rotl(v_[0], 32);
      v_[2] += v_[3], v_[3] = std::rotl(v_[3], 16), v_[3] ^= v_[2];
      v_[0] += v_[3], v_[3] = std::rotl(v_[3], 21), v_[3] ^= v_[0];
      v_[2] += v_[1], v_[1] = std::rotl(v_[1], 17), v_[1] ^= v_[2], v_[2] = std::rotl(v_[2], 32);
    }
  }
  std::array<std::uint64_t, 4> v_;
};

}  // namespace

DedupeWindow::DedupeWindow(Key key, std::size_t names_max)
    : key_(key), names_max_(names_max), slots_(std::bit_ceil(names_max * 2)), mask_(slots_.size() - 1) {
  names_.reserve(names_max);
}

DedupeWindow::Hash DedupeWindow::hash(std::string_view source, std::string_view id) const {
  SipHash128 hash(key_);
  // The lengths first: ("ab", "c") and ("a", "bc") are two names.
  hash.block(source.size());
  hash.block(id.size());
  hash.feed(source);
  hash.feed(id);
  return hash.end();
}

std::size_t DedupeWindow::find(const Hash& name) const {
  for (std::size_t slot = name[0] & mask_; slots_[slot] != 0; slot = (slot + 1) & mask_) {
    if (names_[slots_[slot] - 1] == name) return slot;
  }
  return nowhere;
}

bool DedupeWindow::add(const Hash& name) {
  if (find(name) != nowhere) return false;
  std::size_t index = names_.size();
  if (index < names_max_) {
    names_.push_back(name);
  } else {
    index = oldest_;
    forget(names_[index]);
    names_[index] = name;
    oldest_ = (oldest_ + 1) % names_max_;
  }
  std::size_t slot = name[0] & mask_;
  while (slots_[slot] != 0) slot = (slot + 1) & mask_;
  slots_[slot] = static_cast<std::uint32_t>(index + 1);
  return true;
}

// Moves later entries of the same cluster up, so that no probe ends early (Knuth, 6.4, algorithm R).
void DedupeWindow::forget(const Hash& name) {
  std::size_t hole = find(name);
  if (hole == nowhere) return;
  for (std::size_t slot = (hole + 1) & mask_; slots_[slot] != 0; slot = (slot + 1) & mask_) {
    const std::size_t home = names_[slots_[slot] - 1][0] & mask_;
    if (((slot - home) & mask_) >= ((slot - hole) & mask_)) {
      slots_[hole] = slots_[slot];
      hole = slot;
    }
  }
  slots_[hole] = 0;
}

}  // namespace landfall
