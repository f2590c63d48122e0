#include "tests/edgeruntime/forge.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>

namespace landfall {
namespace {

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  auto* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  LANDFALL_CHECK(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

KeyPtr key_of_kind(const std::string& kind) {
  if (kind == "RSA") return KeyPtr(EVP_RSA_gen(2048));
  if (kind == "ED25519") return KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  return KeyPtr(EVP_EC_gen(kind.c_str()));
}

// Built by hand: OpenSSL's text form cannot say every name that a forger would.
void add_names(X509* certificate, const Forged& forged, const std::vector<std::string>& uris) {
  auto* names = sk_GENERAL_NAME_new_null();
  auto add = [names](int type, const std::string& text) {
    auto* name = GENERAL_NAME_new();
    auto* value = ASN1_IA5STRING_new();
    ASN1_STRING_set(value, text.data(), static_cast<int>(text.size()));
    GENERAL_NAME_set0_value(name, type, value);
    sk_GENERAL_NAME_push(names, name);
  };
  if (!forged.dns.empty()) add(GEN_DNS, forged.dns);
  for (const auto& uri : uris) add(GEN_URI, uri);
  if (sk_GENERAL_NAME_num(names) > 0) {
    X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, forged.san_critical, X509V3_ADD_APPEND);
    if (forged.san_twice) X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND);
  }
  sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
}

}  // namespace

Signer signer_of(const TrustRoot& root) {
  return {*parse_key(root.key_pem), std::move(parse_certificates(root.cert_pem)->front())};
}

Signer forge(const Forged& forged, const Signer* signer, std::int64_t at_unix_ms) {
  Signer made{key_of_kind(forged.key_kind), CertificatePtr(X509_new())};
  auto* certificate = made.certificate.get();
  X509_set_version(certificate, forged.v1 ? X509_VERSION_1 : X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 4711);
  ASN1_TIME_set(X509_getm_notBefore(certificate), at_unix_ms / 1000 + forged.from_s);
  ASN1_TIME_set(X509_getm_notAfter(certificate), at_unix_ms / 1000 + forged.until_s);
  X509_set_pubkey(certificate, made.key.get());
  if (!forged.subject_empty) {
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("forged"), -1, -1, 0);
  }
  auto* issuer = signer == nullptr ? certificate : signer->certificate.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  if (!forged.v1) {
    if (!forged.basic_constraints.empty()) extend(certificate, issuer, NID_basic_constraints, forged.basic_constraints);
    if (!forged.key_usage.empty()) extend(certificate, issuer, NID_key_usage, forged.key_usage);
    if (!forged.extended_key_usage.empty()) extend(certificate, issuer, NID_ext_key_usage, forged.extended_key_usage);
    if (forged.basic_constraints.ends_with("TRUE")) extend(certificate, issuer, NID_subject_key_identifier, "hash");
    auto uris = forged.uris;
    for (auto& uri : uris) {
      if (uri == "(its own)") {
        uri = "spiffe://" + forged.domain + "/" + forged.role + "/" + to_string(node_of(made.key.get()));
      }
    }
    add_names(certificate, forged, uris);
    if (forged.authority_key_id && signer != nullptr && X509_get0_subject_key_id(issuer) != nullptr) {
      extend(certificate, issuer, NID_authority_key_identifier, "keyid:always");
    }
  }
  auto* signing_key = signer == nullptr ? made.key.get() : signer->key.get();
  X509_sign(certificate, signing_key, EVP_PKEY_is_a(signing_key, "ED25519") ? nullptr : EVP_sha256());
  return made;
}

}  // namespace landfall
