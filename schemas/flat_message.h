#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "schemas/ids.h"
#include "schemas/limits.h"
#include "schemas/result.h"

// Cap'n Proto messages of one segment without a segment table. For this folder's .cc files only: not installed.

namespace landfall::wire {

inline std::string_view view(capnp::Data::Reader data) {
  return {reinterpret_cast<const char*>(data.begin()), data.size()};
}
inline std::string_view view(capnp::Text::Reader text) { return {text.begin(), text.size()}; }
// Sized, because a value may hold a NUL byte. Takes a string: the byte after the end is 0.
inline capnp::Text::Reader text(const std::string& value) { return {value.c_str(), value.size()}; }
inline capnp::Data::Reader data(std::string_view bytes) {
  return {reinterpret_cast<const capnp::byte*>(bytes.data()), bytes.size()};
}

inline std::uint64_t node_high(const NodeId& node) {
  std::uint64_t value;
  std::memcpy(&value, node.bytes.data(), 8);
  return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(value) : value;
}
inline std::uint64_t node_low(const NodeId& node) {
  std::uint64_t value;
  std::memcpy(&value, node.bytes.data() + 8, 8);
  return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(value) : value;
}
inline NodeId make_node(std::uint64_t high, std::uint64_t low) {
  if constexpr (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
    high = __builtin_bswap64(high);
    low = __builtin_bswap64(low);
  }
  NodeId node;
  std::memcpy(node.bytes.data(), &high, 8);
  std::memcpy(node.bytes.data() + 8, &low, 8);
  return node;
}

// Text of n bytes, or data, takes this many words.
inline std::size_t text_words(std::size_t n) { return n / sizeof(capnp::word) + 1; }
inline std::size_t data_words(std::size_t n) { return (n + sizeof(capnp::word) - 1) / sizeof(capnp::word); }

// Builds a message of `Root` in a string: `words` is what its pointers point to, exactly.
template <class Root, class Fill>
std::string build_flat(std::size_t words, const Fill& fill) {
  constexpr auto size = capnp::_::structSize<Root>();
  words += 1 + size.data + size.pointers;
  std::string bytes(words * sizeof(capnp::word), '\0');
  LANDFALL_CHECK(reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(capnp::word) == 0);
  capnp::FlatMessageBuilder message(kj::arrayPtr(reinterpret_cast<capnp::word*>(bytes.data()), words));
  fill(message.initRoot<Root>());
  message.requireFilled();
  return bytes;
}

// Calls read(root) -> Status on the message. Accessors validate lazily and throw, so all reading happens in `read`.
// Blobs that it sees live until it returns.
template <class Root, class Read>
Status read_flat(std::string_view what, std::string_view bytes, const Read& read) {
  if (bytes.size() > frame_bytes_max) return Error{Code::out_of_range, std::string(what) + ": longer than a frame"};
  if (bytes.empty() || bytes.size() % sizeof(capnp::word) != 0) {
    return Error{Code::corrupt, std::string(what) + ": not whole words"};
  }
  const std::size_t count = bytes.size() / sizeof(capnp::word);
  std::unique_ptr<std::uint64_t[]> copy;
  const void* words = bytes.data();
  if (reinterpret_cast<std::uintptr_t>(words) % alignof(capnp::word) != 0) {
    copy = std::make_unique_for_overwrite<std::uint64_t[]>(count);
    std::memcpy(copy.get(), words, bytes.size());
    words = copy.get();
  }
  Status status = ok();
  auto thrown = kj::runCatchingExceptions([&] {
    const kj::ArrayPtr<const capnp::word> segments[1] = {{static_cast<const capnp::word*>(words), count}};
    capnp::ReaderOptions options;
    options.traversalLimitInWords = 4 * count + 1024;
    options.nestingLimit = frame_nesting_max;
    capnp::SegmentArrayMessageReader message(segments, options);
    status = read(message.getRoot<Root>());
  });
  KJ_IF_MAYBE (exception, thrown) {
    return Error{Code::corrupt, std::string(what) + ": " + exception->getDescription().cStr()};
  }
  return status;
}

}  // namespace landfall::wire
