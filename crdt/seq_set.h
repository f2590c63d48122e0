#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

struct roaring_bitmap_s;

namespace landfall {

// A set of 64-bit seqs: one Roaring bitmap per 2^32 of them, which is one bitmap nearly always. A value. In place of
// CRoaring's own Roaring64Map, whose 0.2.66 has no ranges and copies every bitmap to count.
class SeqSet {
 public:
  struct Interval {
    std::uint64_t first, last;  // inclusive
    friend bool operator==(const Interval&, const Interval&) = default;
  };

  bool empty() const { return count_ == 0; }
  std::uint64_t count() const { return count_; }
  std::uint64_t max() const;  // 0 where empty
  bool contains(std::uint64_t seq) const;
  bool contains_all(std::uint64_t first, std::uint64_t last) const;
  std::uint64_t count_in(std::uint64_t first, std::uint64_t last) const;

  void add(std::uint64_t first, std::uint64_t last);
  void add(const SeqSet& other);
  void remove_to(std::uint64_t last);  // everything <= last

  // Calls visit with each maximal interval, in order and cut to first..last. Stops where it returns false.
  void visit(std::uint64_t first, std::uint64_t last, const std::function<bool(Interval)>& visit) const;

  friend bool operator==(const SeqSet& a, const SeqSet& b);

 private:
  class Bitmap {
   public:
    Bitmap();
    ~Bitmap();
    Bitmap(const Bitmap& other);
    Bitmap(Bitmap&& other) noexcept : bitmap_(std::exchange(other.bitmap_, nullptr)) {}
    Bitmap& operator=(Bitmap other) noexcept { return std::swap(bitmap_, other.bitmap_), *this; }
    roaring_bitmap_s* get() const { return bitmap_; }

   private:
    roaring_bitmap_s* bitmap_;
  };

  std::map<std::uint32_t, Bitmap> parts_;  // by the upper half of the seq; none is empty
  std::uint64_t count_ = 0;
};

}  // namespace landfall
