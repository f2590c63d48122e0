#include "eventlog/state_digest.h"

#include <openssl/evp.h>

#include "schemas/check.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

constexpr char object_tag = 0x03;

void append_little(std::string& to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to.push_back(static_cast<char>(value >> (8 * i)));
}
void append_sized(std::string& to, std::string_view bytes) {
  append_varint(to, bytes.size());
  to += bytes;
}

}  // namespace

Digest object_digest(std::string_view name, const Entries& entries) {
  Digest digest{};
  if (entries.empty()) return digest;
  std::string bytes(1, object_tag);
  append_sized(bytes, name);
  for (const Entry& entry : entries) {
    append_sized(bytes, entry.path);
    bytes.append(reinterpret_cast<const char*>(entry.dot.run.node.bytes.data()), entry.dot.run.node.bytes.size());
    append_little(bytes, entry.dot.run.counter, 4);
    append_little(bytes, entry.dot.run.nonce, 4);
    append_little(bytes, entry.dot.seq, 8);
    append_little(bytes, entry.time.value, 8);
    bytes.push_back(static_cast<char>(entry.clock));
    append_sized(bytes, entry.value);
  }
  unsigned length = digest.size();
  LANDFALL_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1);
  return digest;
}

void add_digest(Digest& sum, const Digest& object) {
  unsigned carry = 0;
  for (std::size_t i = 0; i < sum.size(); ++i) {
    carry += static_cast<unsigned>(sum[i]) + object[i];
    sum[i] = static_cast<std::uint8_t>(carry);
    carry >>= 8;
  }
}

void subtract_digest(Digest& sum, const Digest& object) {
  unsigned borrow = 0;
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const unsigned value = 256u + sum[i] - object[i] - borrow;
    sum[i] = static_cast<std::uint8_t>(value);
    borrow = value < 256 ? 1 : 0;
  }
}

}  // namespace landfall
