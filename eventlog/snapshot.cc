#include "eventlog/snapshot.h"

#include <openssl/evp.h>

#include <algorithm>

#include "schemas/check.h"
#include "schemas/limits.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

constexpr char version = 1;

Error corrupt(const char* what) { return {Code::corrupt, std::string("snapshot: ") + what}; }
Error out_of_range(const char* what) { return {Code::out_of_range, std::string("snapshot: ") + what}; }

template <class Bytes>
void append_bytes(std::string& to, const Bytes& bytes) {
  to.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}
template <class Bytes>
bool take_bytes(std::string_view& from, Bytes& bytes) {
  if (from.size() < bytes.size()) return false;
  std::copy_n(from.begin(), bytes.size(), reinterpret_cast<char*>(bytes.data()));
  from.remove_prefix(bytes.size());
  return true;
}

Status take_received(std::string_view& from, SnapshotManifest& manifest) {
  std::uint64_t size = 0;
  if (!take_varint(from, size)) return corrupt("cut off");
  if (size > received_context_bytes_max) return out_of_range("received context too large");
  if (size > from.size()) return corrupt("cut off");
  Result<ReceivedContext> received = ReceivedContext::decode(from.substr(0, size));
  if (!received) return std::move(received).error().in("snapshot");
  from.remove_prefix(size);
  for (const RunStream& of : received->streams()) {
    if (of.stream != manifest.stream) return corrupt("received context of another stream");
    if (received->base(of) == 0 || received->base(of) != received->max(of)) return corrupt("a gap in what it received");
  }
  manifest.received = std::move(*received);
  return ok();
}

Status take_chains(std::string_view& from, SnapshotManifest& manifest) {
  const std::vector<RunStream> runs = manifest.received.streams();
  std::uint64_t count = 0;
  if (!take_varint(from, count)) return corrupt("cut off");
  if (count > runs.size()) return corrupt("more chains than runs");
  std::size_t next = 0;
  for (; count > 0; --count) {
    std::uint64_t passed = 0;
    if (!take_varint(from, passed)) return corrupt("cut off");
    if (passed >= runs.size() - next) return corrupt("a chain of no run");
    next += passed;
    if (!take_bytes(from, manifest.chains[runs[next++].run])) return corrupt("cut off");
  }
  return ok();
}

Status take_parts(std::string_view& from, SnapshotManifest& manifest) {
  std::uint64_t count = 0, total = 0;
  if (!take_varint(from, count)) return corrupt("cut off");
  if (count > snapshot_parts_max) return out_of_range("too many parts");
  if (count > from.size() / (sizeof(PartId) + 1)) return corrupt("cut off");
  manifest.parts.reserve(count);
  for (; count > 0; --count) {
    SnapshotManifest::Part& part = manifest.parts.emplace_back();
    std::uint64_t bytes = 0;
    if (!take_bytes(from, part.id) || !take_varint(from, bytes)) return corrupt("cut off");
    if (bytes == 0 || bytes > snapshot_part_bytes_max) return out_of_range("a part of no allowed size");
    part.bytes = static_cast<std::uint32_t>(bytes);
    total += bytes;
  }
  if (total > snapshot_bytes_max) return out_of_range("too large");
  return ok();
}

}  // namespace

PartId part_id(std::string_view bytes) {
  Digest digest;
  unsigned length = 0;
  LANDFALL_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1);
  PartId id;
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

std::uint64_t SnapshotManifest::bytes() const {
  std::uint64_t sum = 0;
  for (const Part& part : parts) sum += part.bytes;
  return sum;
}

// version u8 | stream u8 | varint length, received context | varint count, (varint runs passed, chain 32)* |
// varint count, (id 16, varint bytes)*
std::string encode(const SnapshotManifest& manifest) {
  std::string bytes{version, static_cast<char>(manifest.stream)};
  const std::string received = manifest.received.encode();
  append_varint(bytes, received.size());
  bytes += received;
  append_varint(bytes, manifest.chains.size());
  std::size_t written = 0, passed = 0;
  for (const RunStream& of : manifest.received.streams()) {
    const auto chain = manifest.chains.find(of.run);
    if (chain == manifest.chains.end()) {
      ++passed;
      continue;
    }
    append_varint(bytes, passed);
    append_bytes(bytes, chain->second);
    passed = 0;
    ++written;
  }
  LANDFALL_CHECK(written == manifest.chains.size());
  append_varint(bytes, manifest.parts.size());
  for (const SnapshotManifest::Part& part : manifest.parts) {
    append_bytes(bytes, part.id);
    append_varint(bytes, part.bytes);
  }
  return bytes;
}

Result<SnapshotManifest> decode_snapshot_manifest(std::string_view bytes) {
  if (bytes.size() < 2) return corrupt("cut off");
  if (bytes[0] != version) return out_of_range("of an unknown version");
  SnapshotManifest manifest;
  if (static_cast<unsigned char>(bytes[1]) >= stream_count) return corrupt("of no stream");
  manifest.stream = static_cast<Stream>(bytes[1]);
  bytes.remove_prefix(2);
  LANDFALL_TRY(take_received(bytes, manifest));
  LANDFALL_TRY(take_chains(bytes, manifest));
  LANDFALL_TRY(take_parts(bytes, manifest));
  if (!bytes.empty()) return corrupt("bytes after its end");
  return manifest;
}

}  // namespace landfall
