#include "eventlog/layout.h"

#include <cstring>

namespace landfall::layout {
namespace {

constexpr std::size_t chunk_key_bytes = 4 + 1 + 8;

void append_big(std::string& to, std::uint64_t value, int bytes) {
  while (bytes-- > 0) to.push_back(static_cast<char>(value >> (8 * bytes)));
}
void append_little(std::string& to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to.push_back(static_cast<char>(value >> (8 * i)));
}
std::uint64_t read_big(std::string_view from, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}
std::uint64_t read_little(std::string_view from, std::size_t bytes) {
  std::uint64_t value = 0;
  while (bytes-- > 0) value = value << 8 | static_cast<unsigned char>(from[bytes]);
  return value;
}

}  // namespace

std::string chunk_key(Handle handle, Stream stream, std::uint64_t last) {
  std::string key;
  key.reserve(chunk_key_bytes);
  append_big(key, handle, 4);
  key.push_back(static_cast<char>(stream));
  append_big(key, last, 8);
  return key;
}

std::optional<ChunkKey> parse_chunk_key(std::string_view key) {
  if (key.size() != chunk_key_bytes || static_cast<unsigned char>(key[4]) >= stream_count) return std::nullopt;
  return ChunkKey{static_cast<Handle>(read_big(key, 4)), static_cast<Stream>(key[4]), read_big(key.substr(5), 8)};
}

std::string index_key(std::string_view subject, Handle handle, Stream stream, std::uint64_t last) {
  std::string key(subject);
  key.push_back('\0');
  return key += chunk_key(handle, stream, last);
}

std::string index_value(const ChunkHeader& header) {
  std::string value;
  append_u64_le(value, header.time_min.value);
  append_u64_le(value, header.time_max.value);
  append_u64_le(value, header.first);
  return value;
}

std::optional<IndexKey> parse_index_key(std::string_view key) {
  if (key.size() < chunk_key_bytes + 1) return std::nullopt;
  const std::size_t subject_bytes = key.size() - chunk_key_bytes - 1;
  auto chunk = parse_chunk_key(key.substr(subject_bytes + 1));
  if (!chunk || key[subject_bytes] != '\0') return std::nullopt;
  return IndexKey{key.substr(0, subject_bytes), *chunk};
}

std::string context_key(Handle handle, Stream stream) {
  std::string key = "c/";
  append_big(key, handle, 4);
  key.push_back(static_cast<char>(stream));
  return key;
}

std::string fork_key(const RunId& run) {
  std::string key(fork_prefix);
  key.append(reinterpret_cast<const char*>(run.node.bytes.data()), run.node.bytes.size());
  append_little(key, run.counter, 4);
  append_little(key, run.nonce, 4);
  return key;
}

std::optional<RunId> parse_fork_key(std::string_view key) {
  RunId run;
  constexpr std::size_t node_bytes = sizeof run.node.bytes;
  if (key.size() != fork_prefix.size() + node_bytes + 8 || !key.starts_with(fork_prefix)) return std::nullopt;
  key.remove_prefix(fork_prefix.size());
  std::memcpy(run.node.bytes.data(), key.data(), node_bytes);
  run.counter = static_cast<std::uint32_t>(read_little(key.substr(node_bytes), 4));
  run.nonce = static_cast<std::uint32_t>(read_little(key.substr(node_bytes + 4), 4));
  return run;
}

std::string run_key(Handle handle) {
  std::string key = "r/";
  append_big(key, handle, 4);
  return key;
}

std::uint32_t read_u32_be(std::string_view from) { return static_cast<std::uint32_t>(read_big(from, 4)); }
void append_u32_le(std::string& to, std::uint32_t value) { append_little(to, value, 4); }
std::uint32_t read_u32_le(std::string_view from) { return static_cast<std::uint32_t>(read_little(from, 4)); }
void append_u64_le(std::string& to, std::uint64_t value) { append_little(to, value, 8); }
std::uint64_t read_u64_le(std::string_view from) { return read_little(from, 8); }

}  // namespace landfall::layout
