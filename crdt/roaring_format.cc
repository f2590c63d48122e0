#include "crdt/roaring_format.h"

#include <algorithm>
#include <bit>

namespace landfall {
namespace {

constexpr std::uint32_t cookie_without_runs = 12346, cookie_with_runs = 12347;
constexpr std::size_t containers_without_offsets = 4;  // with runs, fewer than this many have no offsets
constexpr std::uint32_t array_count_max = 4096;
constexpr std::size_t bitmap_bytes = 8192;

void put16(std::string& to, std::uint32_t value) {
  to += static_cast<char>(value);
  to += static_cast<char>(value >> 8);
}
void put32(std::string& to, std::uint32_t value) {
  put16(to, value & 0xffff);
  put16(to, value >> 16);
}
std::uint32_t get16(std::string_view from, std::size_t at) {
  return static_cast<unsigned char>(from[at]) | static_cast<std::uint32_t>(static_cast<unsigned char>(from[at + 1]))
                                                    << 8;
}
std::uint32_t get32(std::string_view from, std::size_t at) { return get16(from, at) | get16(from, at + 2) << 16; }

// The part of a set in one range of 2^16.
struct Container {
  std::uint16_t key;
  std::uint32_t count = 0;
  std::vector<Interval32> runs;  // lower halves

  std::size_t plain_bytes() const { return count <= array_count_max ? 2 * count : bitmap_bytes; }
  std::size_t run_bytes() const { return 2 + 4 * runs.size(); }
  bool is_run() const { return run_bytes() < plain_bytes(); }
  std::size_t bytes() const { return is_run() ? run_bytes() : plain_bytes(); }
};

std::vector<Container> containers_of(const std::vector<Interval32>& intervals) {
  std::vector<Container> containers;
  for (const Interval32& interval : intervals) {
    for (std::uint32_t key = interval.first >> 16; key <= interval.last >> 16; ++key) {
      if (containers.empty() || containers.back().key != key)
        containers.push_back({static_cast<std::uint16_t>(key), 0, {}});
      const std::uint32_t first = std::max(interval.first, key << 16) & 0xffff;
      const std::uint32_t last = std::min(interval.last, key << 16 | 0xffff) & 0xffff;
      containers.back().runs.push_back({first, last});
      containers.back().count += last - first + 1;
    }
  }
  return containers;
}

void put_container(std::string& to, const Container& container) {
  if (container.is_run()) {
    put16(to, static_cast<std::uint32_t>(container.runs.size()));
    for (const Interval32& run : container.runs) {
      put16(to, run.first);
      put16(to, run.last - run.first);
    }
  } else if (container.count <= array_count_max) {
    for (const Interval32& run : container.runs) {
      for (std::uint32_t value = run.first; value <= run.last; ++value) put16(to, value);
    }
  } else {
    const std::size_t at = to.size();
    to.resize(at + bitmap_bytes);
    for (const Interval32& run : container.runs) {
      for (std::uint32_t value = run.first; value <= run.last; ++value) {
        to[at + value / 8] = static_cast<char>(static_cast<unsigned char>(to[at + value / 8]) | 1u << (value % 8));
      }
    }
  }
}

// What the front of the bytes says; `containers` begins at the keys.
struct Front {
  std::size_t count = 0;
  std::string_view run_flags, keys, containers;
  bool is_run(std::size_t i) const {
    return !run_flags.empty() && (static_cast<unsigned char>(run_flags[i / 8]) >> (i % 8) & 1) != 0;
  }
};

bool read_front(std::string_view bytes, Front& front) {
  if (bytes.size() < 8) return false;
  const std::uint32_t cookie = get32(bytes, 0);
  std::size_t at = 4;
  bool offsets = true;
  if (cookie == cookie_without_runs) {
    front.count = get32(bytes, 4);
    at = 8;
  } else if ((cookie & 0xffff) == cookie_with_runs) {
    front.count = (cookie >> 16) + 1;
    offsets = front.count >= containers_without_offsets;
    const std::size_t flags = (front.count + 7) / 8;
    if (bytes.size() - at < flags) return false;
    front.run_flags = bytes.substr(at, flags);
    at += flags;
  } else {
    return false;
  }
  if (front.count > 65536) return false;
  const std::size_t table = front.count * (offsets ? 8 : 4);
  if (bytes.size() - at < table) return false;
  front.keys = bytes.substr(at, 4 * front.count);
  // Offsets say nothing that the order of the containers does not; a writer that gets them wrong is not believed.
  std::size_t offset = at + table;
  front.containers = bytes.substr(offset);
  for (std::size_t i = 0; i < front.count; ++i) {
    if (offsets && get32(bytes, at + 4 * front.count + 4 * i) != offset) return false;
    if (front.is_run(i)) {
      if (offset > bytes.size() || bytes.size() - offset < 2) return false;
      offset += 2 + 4 * std::size_t{get16(bytes, offset)};
    } else {
      const std::uint32_t count = get16(front.keys, 4 * i + 2) + 1;
      offset += count <= array_count_max ? 2 * count : bitmap_bytes;
    }
    if (offset > bytes.size()) return false;
  }
  return offset == bytes.size();
}

// Each reads one container that begins `from`, whose length read_front has checked, and says whether its values ascend
// and number `count`. `emit` returns false to stop, which is no fault.
template <class Emit>
bool read_runs(std::string_view from, std::uint32_t count, const Emit& emit) {
  const std::uint32_t runs = get16(from, 0);
  std::uint32_t next = 0, total = 0;
  for (std::uint32_t i = 0; i < runs; ++i) {
    const std::uint32_t first = get16(from, 2 + 4 * i), last = first + get16(from, 4 + 4 * i);
    if (last > 0xffff || first < next) return false;  // runs that touch are allowed: CRoaring leaves some
    next = last + 1;
    total += last - first + 1;
    if (!emit(first, last)) return true;
  }
  return total == count;
}

template <class Emit>
bool read_array(std::string_view from, std::uint32_t count, const Emit& emit) {
  std::uint32_t first = get16(from, 0), last = first;
  for (std::uint32_t i = 1; i < count; ++i) {
    const std::uint32_t value = get16(from, 2 * i);
    if (value <= last) return false;
    if (value != last + 1) {
      if (!emit(first, last)) return true;
      first = value;
    }
    last = value;
  }
  emit(first, last);
  return true;
}

template <class Emit>
bool read_bitmap(std::string_view from, std::uint32_t count, const Emit& emit) {
  std::uint32_t total = 0;
  for (std::size_t i = 0; i < bitmap_bytes; ++i)
    total += static_cast<std::uint32_t>(std::popcount(static_cast<unsigned char>(from[i])));
  if (total != count) return false;
  const auto bit = [&](std::uint32_t value) {
    return (static_cast<unsigned char>(from[value / 8]) >> (value % 8) & 1) != 0;
  };
  for (std::uint32_t value = 0; value <= 0xffff;) {
    if (!bit(value)) {
      ++value;
      continue;
    }
    const std::uint32_t first = value;
    while (value <= 0xffff && bit(value)) ++value;
    if (!emit(first, value - 1)) return true;
  }
  return true;
}

}  // namespace

std::string encode_roaring(const std::vector<Interval32>& intervals) {
  const std::vector<Container> containers = containers_of(intervals);
  const bool runs = std::any_of(containers.begin(), containers.end(), [](const Container& c) { return c.is_run(); });
  std::string bytes;
  if (runs) {
    put32(bytes, cookie_with_runs | static_cast<std::uint32_t>(containers.size() - 1) << 16);
    const std::size_t flags = bytes.size();
    bytes.resize(flags + (containers.size() + 7) / 8);
    for (std::size_t i = 0; i < containers.size(); ++i) {
      if (containers[i].is_run()) bytes[flags + i / 8] = static_cast<char>(bytes[flags + i / 8] | 1 << (i % 8));
    }
  } else {
    put32(bytes, cookie_without_runs);
    put32(bytes, static_cast<std::uint32_t>(containers.size()));
  }
  for (const Container& container : containers) {
    put16(bytes, container.key);
    put16(bytes, container.count - 1);
  }
  if (!runs || containers.size() >= containers_without_offsets) {
    std::size_t offset = bytes.size() + 4 * containers.size();
    for (const Container& container : containers) {
      put32(bytes, static_cast<std::uint32_t>(offset));
      offset += container.bytes();
    }
  }
  for (const Container& container : containers) put_container(bytes, container);
  return bytes;
}

bool decode_roaring(std::string_view bytes, const std::function<bool(Interval32)>& visit) {
  Front front;
  if (!read_front(bytes, front)) return false;
  bool stopped = false;
  std::size_t at = 0;
  for (std::size_t i = 0; i < front.count && !stopped; ++i) {
    const std::uint32_t key = get16(front.keys, 4 * i) << 16, count = get16(front.keys, 4 * i + 2) + 1;
    if (i > 0 && key <= get16(front.keys, 4 * i - 4) << 16) return false;
    const auto emit = [&](std::uint32_t first, std::uint32_t last) {
      stopped = !visit({key | first, key | last});
      return !stopped;
    };
    const std::string_view from = front.containers.substr(at);
    bool good;
    if (front.is_run(i)) {
      good = read_runs(from, count, emit);
      at += 2 + 4 * std::size_t{get16(from, 0)};
    } else if (count <= array_count_max) {
      good = read_array(from, count, emit);
      at += 2 * count;
    } else {
      good = read_bitmap(from, count, emit);
      at += bitmap_bytes;
    }
    if (!good) return false;
  }
  return true;
}

}  // namespace landfall
