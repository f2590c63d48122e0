#include "eventlog/layout.h"

#include <cstring>

namespace landfall::layout {
namespace {

constexpr std::size_t chunk_key_bytes = 4 + 1 + 8;
constexpr std::size_t state_dot_bytes = 4 + 8;
constexpr std::size_t state_head_bytes = 8 + 1;
constexpr auto clock_class_max = static_cast<unsigned char>(ClockClass::authenticated);

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

std::string state_prefix(Stream stream, std::string_view object) {
  std::string prefix;
  prefix.reserve(2 + object.size());
  prefix.push_back(static_cast<char>(stream));
  prefix += object;
  prefix.push_back('\0');
  return prefix;
}

std::string state_key(Stream stream, std::string_view object, std::string_view path, Handle handle, std::uint64_t seq) {
  std::string key;
  key.reserve(3 + object.size() + path.size() + state_dot_bytes);
  key.push_back(static_cast<char>(stream));
  key += object;
  key.push_back('\0');
  key += path;
  key.push_back('\0');
  append_big(key, handle, 4);
  append_big(key, seq, 8);
  return key;
}

void set_state_handle(std::string& key, Handle handle) {
  char* at = key.data() + key.size() - state_dot_bytes;
  for (int shift = 24; shift >= 0; shift -= 8) *at++ = static_cast<char>(handle >> shift);
}

std::optional<StateKey> parse_state_key(std::string_view key) {
  if (key.size() < 3 + state_dot_bytes || static_cast<unsigned char>(key[0]) >= stream_count) return std::nullopt;
  const std::string_view dot = key.substr(key.size() - state_dot_bytes);
  StateKey parsed{
      static_cast<Stream>(key[0]), {}, {}, static_cast<Handle>(read_big(dot, 4)), read_big(dot.substr(4), 8)};
  key = key.substr(1, key.size() - 1 - state_dot_bytes);
  const std::size_t object_end = key.find('\0');
  if (object_end + 1 >= key.size() || key.find('\0', object_end + 1) != key.size() - 1) return std::nullopt;
  parsed.object = key.substr(0, object_end);
  parsed.path = key.substr(object_end + 1, key.size() - object_end - 2);
  return parsed;
}

std::string state_value(HybridTime time, ClockClass clock, std::string_view value) {
  std::string bytes;
  bytes.reserve(state_head_bytes + value.size());
  append_u64_le(bytes, time.value);
  bytes.push_back(static_cast<char>(clock));
  return bytes += value;
}

std::optional<StateValue> parse_state_value(std::string_view value) {
  if (value.size() < state_head_bytes || static_cast<unsigned char>(value[8]) > clock_class_max) return std::nullopt;
  return StateValue{{read_u64_le(value)}, static_cast<ClockClass>(value[8]), value.substr(state_head_bytes)};
}

std::string pending_key(const Dot& dot, std::string_view target) {
  std::string key(pending_prefix);
  key.append(reinterpret_cast<const char*>(dot.run.node.bytes.data()), dot.run.node.bytes.size());
  append_big(key, dot.run.counter, 4);
  append_big(key, dot.run.nonce, 4);
  key.push_back(static_cast<char>(dot.stream));
  append_big(key, dot.seq, 8);
  return key += target;
}

std::optional<PendingKey> parse_pending_key(std::string_view key) {
  constexpr std::size_t node_bytes = sizeof NodeId::bytes;
  if (!key.starts_with(pending_prefix) || key.size() < pending_prefix.size() + node_bytes + 4 + 4 + 1 + 8)
    return std::nullopt;
  key.remove_prefix(pending_prefix.size());
  PendingKey parsed;
  std::memcpy(parsed.dot.run.node.bytes.data(), key.data(), node_bytes);
  key.remove_prefix(node_bytes);
  parsed.dot.run.counter = static_cast<std::uint32_t>(read_big(key, 4));
  parsed.dot.run.nonce = static_cast<std::uint32_t>(read_big(key.substr(4), 4));
  if (static_cast<unsigned char>(key[8]) >= stream_count) return std::nullopt;
  parsed.dot.stream = static_cast<Stream>(key[8]);
  parsed.dot.seq = read_big(key.substr(9), 8);
  parsed.target = key.substr(17);
  return parsed;
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

std::string floor_key(Handle handle, Stream stream) {
  std::string key(floor_prefix);
  append_big(key, handle, 4);
  key.push_back(static_cast<char>(stream));
  return key;
}

std::optional<FloorKey> parse_floor_key(std::string_view key) {
  constexpr std::size_t prefix = floor_prefix.size();
  if (key.size() != prefix + 5 || static_cast<unsigned char>(key[prefix + 4]) >= stream_count) return std::nullopt;
  return FloorKey{static_cast<Handle>(read_big(key.substr(prefix), 4)), static_cast<Stream>(key[prefix + 4])};
}

std::string part_key(Stream stream, const PartId& id) {
  std::string key(part_prefix);
  key.push_back(static_cast<char>(stream));
  return key.append(reinterpret_cast<const char*>(id.data()), id.size());
}

std::optional<PartKey> parse_part_key(std::string_view key) {
  constexpr std::size_t prefix = part_prefix.size();
  PartKey parsed;
  if (key.size() != prefix + 1 + parsed.id.size() || static_cast<unsigned char>(key[prefix]) >= stream_count)
    return std::nullopt;
  parsed.stream = static_cast<Stream>(key[prefix]);
  std::memcpy(parsed.id.data(), key.data() + prefix + 1, parsed.id.size());
  return parsed;
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
