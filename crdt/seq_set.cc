#include "crdt/seq_set.h"

#include <roaring/roaring.h>

#include <algorithm>
#include <array>

#include "schemas/check.h"

namespace landfall {
namespace {

std::uint32_t high(std::uint64_t seq) { return static_cast<std::uint32_t>(seq >> 32); }
std::uint32_t low(std::uint64_t seq) { return static_cast<std::uint32_t>(seq); }

// Calls per_part(upper half, first, last of the lower half) for each part that first..last touches.
template <class PerPart>
void split(std::uint64_t first, std::uint64_t last, const PerPart& per_part) {
  for (std::uint64_t part = high(first); part <= high(last); ++part) {
    per_part(static_cast<std::uint32_t>(part), part == high(first) ? low(first) : 0,
             part == high(last) ? low(last) : UINT32_MAX);
  }
}

std::uint64_t count_in_part(const roaring_bitmap_t* bitmap, std::uint32_t first, std::uint32_t last) {
  return roaring_bitmap_rank(bitmap, last) - (first == 0 ? 0 : roaring_bitmap_rank(bitmap, first - 1));
}

}  // namespace

SeqSet::Bitmap::Bitmap() : bitmap_(roaring_bitmap_create()) { LANDFALL_CHECK(bitmap_ != nullptr); }
SeqSet::Bitmap::~Bitmap() {
  if (bitmap_ != nullptr) roaring_bitmap_free(bitmap_);
}
SeqSet::Bitmap::Bitmap(const Bitmap& other) : bitmap_(roaring_bitmap_copy(other.bitmap_)) {
  LANDFALL_CHECK(bitmap_ != nullptr);
}

std::uint64_t SeqSet::max() const {
  if (parts_.empty()) return 0;
  const auto& [part, bitmap] = *parts_.rbegin();
  return std::uint64_t{part} << 32 | roaring_bitmap_maximum(bitmap.get());
}

bool SeqSet::contains(std::uint64_t seq) const {
  const auto found = parts_.find(high(seq));
  return found != parts_.end() && roaring_bitmap_contains(found->second.get(), low(seq));
}

bool SeqSet::contains_all(std::uint64_t first, std::uint64_t last) const {
  // The length is compared first: a wide range must not visit parts that cannot be there.
  return last - first < count_ && count_in(first, last) == last - first + 1;
}

std::uint64_t SeqSet::count_in(std::uint64_t first, std::uint64_t last) const {
  std::uint64_t count = 0;
  for (auto at = parts_.lower_bound(high(first)); at != parts_.end() && at->first <= high(last); ++at) {
    count += count_in_part(at->second.get(), at->first == high(first) ? low(first) : 0,
                           at->first == high(last) ? low(last) : UINT32_MAX);
  }
  return count;
}

void SeqSet::add(std::uint64_t first, std::uint64_t last) {
  // Counting what is there already costs by container and run, so it is left to long ranges inside the set.
  constexpr std::uint64_t one_by_one_max = 32;
  if (last - first < one_by_one_max) {
    for (; first <= last; ++first) count_ += roaring_bitmap_add_checked(parts_[high(first)].get(), low(first)) ? 1 : 0;
    return;
  }
  count_ += last - first + 1 - (first > max() ? 0 : count_in(first, last));
  split(first, last, [&](std::uint32_t part, std::uint32_t from, std::uint32_t to) {
    roaring_bitmap_add_range_closed(parts_[part].get(), from, to);
  });
}

void SeqSet::add(const SeqSet& other) {
  count_ = 0;
  for (const auto& [part, bitmap] : other.parts_) {
    auto [mine, is_new] = parts_.try_emplace(part, bitmap);
    if (!is_new) roaring_bitmap_or_inplace(mine->second.get(), bitmap.get());
  }
  for (const auto& [part, bitmap] : parts_) count_ += roaring_bitmap_get_cardinality(bitmap.get());
}

void SeqSet::remove_to(std::uint64_t last) {
  while (!parts_.empty() && parts_.begin()->first <= high(last)) {
    const auto& [part, bitmap] = *parts_.begin();
    const std::uint32_t to = part == high(last) ? low(last) : UINT32_MAX;
    count_ -= count_in_part(bitmap.get(), 0, to);
    if (to == UINT32_MAX || to >= roaring_bitmap_maximum(bitmap.get())) {
      parts_.erase(parts_.begin());
      continue;
    }
    roaring_bitmap_remove_range_closed(bitmap.get(), 0, to);
    return;
  }
}

void SeqSet::visit(std::uint64_t first, std::uint64_t last, const std::function<bool(Interval)>& visit) const {
  std::optional<Interval> open;
  std::array<std::uint32_t, 512> lows;
  for (auto at = parts_.lower_bound(high(first)); at != parts_.end() && at->first <= high(last); ++at) {
    roaring_uint32_iterator_t iterator;
    roaring_init_iterator(at->second.get(), &iterator);
    if (at->first == high(first)) roaring_move_uint32_iterator_equalorlarger(&iterator, low(first));
    while (iterator.has_value) {
      const std::uint32_t read = roaring_read_uint32_iterator(&iterator, lows.data(), lows.size());
      for (std::uint32_t i = 0; i < read; ++i) {
        const std::uint64_t seq = std::uint64_t{at->first} << 32 | lows[i];
        if (seq > last) {
          if (open) visit(*open);
          return;
        }
        if (open && open->last + 1 == seq) {
          open->last = seq;
          continue;
        }
        if (open && !visit(*open)) return;
        open = Interval{seq, seq};
      }
    }
  }
  if (open) visit(*open);
}

bool operator==(const SeqSet& a, const SeqSet& b) {
  return a.count_ == b.count_ && std::equal(a.parts_.begin(), a.parts_.end(), b.parts_.begin(), b.parts_.end(),
                                            [](const auto& x, const auto& y) {
                                              return x.first == y.first &&
                                                     roaring_bitmap_equals(x.second.get(), y.second.get());
                                            });
}

}  // namespace landfall
