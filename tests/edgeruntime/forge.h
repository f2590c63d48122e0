#pragma once

#include <functional>
#include <string>
#include <vector>

#include "edgeruntime/identity.h"
#include "edgeruntime/openssl_values.h"

namespace landfall {

// A certificate as a test wants it: right in everything until a field is changed.
struct Forged {
  std::string domain = "fleet.example";
  std::vector<std::string> uris = {"(its own)"};  // "(its own)": what the key deserves
  std::string role = "node";
  bool san_critical = true, subject_empty = true;
  std::string basic_constraints = "critical,CA:FALSE";
  std::string key_usage = "critical,digitalSignature";
  std::string extended_key_usage = "serverAuth,clientAuth";
  std::string dns{};
  std::string key_kind = "P-256";  // or "P-384", "RSA", "ED25519"
  bool san_twice = false, authority_key_id = true, break_signature = false, trailing_byte = false, v1 = false;
  std::int64_t from_s = -3600, until_s = 3600;  // relative to `at`
};

struct Signer {
  KeyPtr key;
  CertificatePtr certificate;
};

// The root key and certificate of `root`, for signing what no hub would.
Signer signer_of(const TrustRoot& root);
// Signs `forged`, as of `at`; the new key and certificate. An unset signer makes it self-signed.
Signer forge(const Forged& forged, const Signer* signer, std::int64_t at_unix_ms);

}  // namespace landfall
