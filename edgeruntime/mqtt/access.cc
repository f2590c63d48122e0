#include "edgeruntime/mqtt/access.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <array>
#include <charconv>
#include <optional>

#include "schemas/check.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

constexpr int iterations_made = 10'000;
constexpr std::size_t hash_bytes = 64, salt_bytes_max = 64;

using Hash = std::array<unsigned char, hash_bytes>;

std::string base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0 || text.size() > 256) return std::nullopt;
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  // It counts padding as bytes.
  bytes.resize(static_cast<std::size_t>(size) - (text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0));
  return bytes;
}

Hash derive(std::string_view password, std::string_view salt, int iterations) {
  Hash hash;
  LANDFALL_CHECK(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()),
                                   reinterpret_cast<const unsigned char*>(salt.data()), static_cast<int>(salt.size()),
                                   iterations, EVP_sha512(), static_cast<int>(hash.size()), hash.data()) == 1);
  return hash;
}

struct Parsed {
  int iterations;
  std::string salt, hash;
};
// "$7$<iterations>$<salt>$<hash>", "$6$<salt>$<hash>" is SHA-512 once: too little to be accepted.
std::optional<Parsed> parse(std::string_view text) {
  if (!text.starts_with("$7$")) return std::nullopt;
  text.remove_prefix(3);
  const auto first = text.find('$');
  if (first == text.npos) return std::nullopt;
  const auto second = text.find('$', first + 1);
  if (second == text.npos) return std::nullopt;
  Parsed parsed;
  const auto [end, error] = std::from_chars(text.data(), text.data() + first, parsed.iterations);
  if (error != std::errc() || end != text.data() + first || parsed.iterations < 1 ||
      parsed.iterations > mqtt_password_iterations_max)
    return std::nullopt;
  auto salt = from_base64(text.substr(first + 1, second - first - 1));
  auto hash = from_base64(text.substr(second + 1));
  if (!salt || salt->empty() || salt->size() > salt_bytes_max || !hash || hash->size() != hash_bytes)
    return std::nullopt;
  parsed.salt = std::move(*salt);
  parsed.hash = std::move(*hash);
  return parsed;
}

}  // namespace

std::string make_password_hash(std::string_view password, std::string_view salt) {
  LANDFALL_CHECK(salt.size() >= 12 && salt.size() <= salt_bytes_max);
  const auto hash = derive(password, salt, iterations_made);
  return "$7$" + std::to_string(iterations_made) + "$" + base64(salt) + "$" +
         base64({reinterpret_cast<const char*>(hash.data()), hash.size()});
}

Status check_password_hash(std::string_view hash) {
  if (parse(hash)) return ok();
  return Error{Code::out_of_range,
               "not a password hash of the form $7$<iterations>$<salt>$<hash>: make it with mosquitto_passwd"};
}

bool password_matches(std::string_view hash, std::string_view password) {
  const auto parsed = parse(hash);
  if (!parsed) return false;
  const auto derived = derive(password, parsed->salt, parsed->iterations);
  return CRYPTO_memcmp(derived.data(), parsed->hash.data(), hash_bytes) == 0;
}

}  // namespace landfall
