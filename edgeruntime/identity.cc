#include "edgeruntime/identity.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>

#include "edgeruntime/address.h"
#include "edgeruntime/openssl_values.h"
#include "edgeruntime/spiffe_id.h"
#include "schemas/check.h"

namespace landfall {

BioPtr reading_bio(std::string_view text) {
  BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  LANDFALL_CHECK(bio != nullptr);
  return bio;
}

std::string bio_text(BIO* bio) {
  char* data = nullptr;
  auto size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string openssl_reason() {
  auto code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  std::string text = reason == nullptr ? "no reason given" : reason;
  ERR_clear_error();
  return text;
}

Result<KeyPtr> parse_key(std::string_view key_pem) {
  // A pass phrase callback that refuses: the default one would ask on the terminal.
  auto refuse = [](char*, int, int, void*) { return -1; };
  KeyPtr key(PEM_read_bio_PrivateKey(reading_bio(key_pem).get(), nullptr, refuse, nullptr));
  if (key == nullptr) return Error{Code::corrupt, "private key: " + openssl_reason()};
  if (!is_p256(key.get())) return Error{Code::corrupt, "private key: not an ECDSA P-256 key"};
  return key;
}

Result<std::vector<CertificatePtr>> parse_certificates(std::string_view pem) {
  std::vector<CertificatePtr> certificates;
  auto bio = reading_bio(pem);
  while (auto* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(certificate);
  }
  // The end of the text shows as "no start line"; anything else is damage inside a block.
  auto code = ERR_peek_last_error();
  bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  if (!at_end) return Error{Code::corrupt, "certificates: " + openssl_reason()};
  ERR_clear_error();
  if (certificates.empty()) return Error{Code::corrupt, "certificates: none in the text"};
  return certificates;
}

std::string certificate_der(X509* certificate) {
  unsigned char* data = nullptr;
  auto size = i2d_X509(certificate, &data);
  LANDFALL_CHECK(size > 0);
  std::string der(reinterpret_cast<char*>(data), static_cast<std::size_t>(size));
  OPENSSL_free(data);
  return der;
}

bool is_p256(const EVP_PKEY* key) {
  if (key == nullptr || !EVP_PKEY_is_a(key, "EC")) return false;
  char group[32];
  return EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) == 1 && std::string_view(group) == "prime256v1";
}

NodeId node_of(const EVP_PKEY* key) {
  unsigned char* data = nullptr;
  auto size = i2d_PUBKEY(key, &data);
  LANDFALL_CHECK(size > 0);
  Digest digest;
  SHA256(data, static_cast<std::size_t>(size), digest.data());
  OPENSSL_free(data);
  NodeId node;
  std::copy_n(digest.begin(), node.bytes.size(), node.bytes.begin());
  return node;
}

namespace {

std::string pem_of_key(EVP_PKEY* key) {
  BioPtr bio(BIO_new(BIO_s_secmem()));
  LANDFALL_CHECK(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return bio_text(bio.get());
}

std::string pem_of_certificate(X509* certificate) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  LANDFALL_CHECK(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return bio_text(bio.get());
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  auto* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  LANDFALL_CHECK(extension != nullptr);
  LANDFALL_CHECK(X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

// Version, random serial number, life time and public key: what every certificate of ours has.
CertificatePtr begin_certificate(EVP_PKEY* public_key, std::int64_t unix_ms, std::chrono::hours life) {
  CertificatePtr certificate(X509_new());
  LANDFALL_CHECK(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  unsigned char serial[16];
  LANDFALL_CHECK(RAND_bytes(serial, sizeof serial) == 1);
  serial[0] = (serial[0] & 0x3f) | 0x40;  // positive, and of one length
  auto* number = BN_bin2bn(serial, sizeof serial, nullptr);
  LANDFALL_CHECK(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get())) != nullptr);
  BN_free(number);
  auto from = unix_ms / 1000 - std::chrono::seconds(certificate_backdating).count();
  auto until = unix_ms / 1000 + std::chrono::seconds(life).count();
  LANDFALL_CHECK(ASN1_TIME_set(X509_getm_notBefore(certificate.get()), from) != nullptr);
  LANDFALL_CHECK(ASN1_TIME_set(X509_getm_notAfter(certificate.get()), until) != nullptr);
  LANDFALL_CHECK(X509_set_pubkey(certificate.get(), public_key) == 1);
  return certificate;
}

void sign(X509* certificate, EVP_PKEY* key) { LANDFALL_CHECK(X509_sign(certificate, key, EVP_sha256()) > 0); }

struct LoadedRoot {
  KeyPtr key;
  CertificatePtr certificate;
};
Result<LoadedRoot> load(const TrustRoot& root) {
  auto key = parse_key(root.key_pem);
  if (!key) return std::move(key).error().in("trust root");
  auto certificates = parse_certificates(root.cert_pem);
  if (!certificates) return std::move(certificates).error().in("trust root");
  auto& certificate = certificates->front();
  if (X509_check_private_key(certificate.get(), key->get()) != 1) {
    ERR_clear_error();
    return Error{Code::corrupt, "trust root: key and certificate do not belong together"};
  }
  return LoadedRoot{*std::move(key), std::move(certificate)};
}

// A leaf: empty subject, so the URI is critical; good for both ends of a TLS connection and nothing else.
std::string issue_leaf(const LoadedRoot& root, EVP_PKEY* public_key, const std::string& uri, std::int64_t unix_ms,
                       std::chrono::hours life) {
  auto leaf = begin_certificate(public_key, unix_ms, life);
  auto* issuer = root.certificate.get();
  LANDFALL_CHECK(X509_set_issuer_name(leaf.get(), X509_get_subject_name(issuer)) == 1);
  add_extension(leaf.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(leaf.get(), issuer, NID_key_usage, "critical,digitalSignature");
  add_extension(leaf.get(), issuer, NID_ext_key_usage, "serverAuth,clientAuth");
  add_extension(leaf.get(), issuer, NID_subject_alt_name, "critical,URI:" + uri);
  add_extension(leaf.get(), issuer, NID_authority_key_identifier, "keyid:always");
  sign(leaf.get(), root.key.get());
  return pem_of_certificate(leaf.get());
}

Result<KeyPtr> key_of_csr(std::string_view csr_pem) {
  RequestPtr request(PEM_read_bio_X509_REQ(reading_bio(csr_pem).get(), nullptr, nullptr, nullptr));
  if (request == nullptr) return Error{Code::corrupt, "certificate request: " + openssl_reason()};
  KeyPtr key(X509_REQ_get_pubkey(request.get()));
  if (!is_p256(key.get())) {
    ERR_clear_error();
    return Error{Code::denied, "certificate request: not an ECDSA P-256 key"};
  }
  if (X509_REQ_verify(request.get(), key.get()) != 1) {
    ERR_clear_error();
    return Error{Code::denied, "certificate request: not signed with its own key"};
  }
  return key;
}

}  // namespace

std::string make_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  LANDFALL_CHECK(key != nullptr);
  return pem_of_key(key.get());
}

Result<NodeId> node_of_key(std::string_view key_pem) {
  auto key = parse_key(key_pem);
  if (!key) return std::move(key).error();
  return node_of(key->get());
}

Result<TrustRoot> make_trust_root(std::string_view trust_domain, std::int64_t unix_ms) {
  if (!is_trust_domain(trust_domain)) {
    return Error{Code::out_of_range, "trust domain \"" + printable(trust_domain) +
                                         "\": use 1 to 255 of a-z, 0-9, dot, minus and underscore"};
  }
  KeyPtr key(EVP_EC_gen("P-256"));
  LANDFALL_CHECK(key != nullptr);
  auto root = begin_certificate(key.get(), unix_ms, root_life);
  auto* name = X509_get_subject_name(root.get());
  // A common name holds 64 characters at most; nobody reads it, the URI counts.
  std::string common_name = "Landfall " + std::string(trust_domain.substr(0, 50));
  LANDFALL_CHECK(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                            reinterpret_cast<const unsigned char*>(common_name.data()),
                                            static_cast<int>(common_name.size()), -1, 0) == 1);
  LANDFALL_CHECK(X509_set_issuer_name(root.get(), name) == 1);
  add_extension(root.get(), root.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(root.get(), root.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(root.get(), root.get(), NID_subject_key_identifier, "hash");
  add_extension(root.get(), root.get(), NID_subject_alt_name, "URI:" + trust_domain_uri(trust_domain));
  sign(root.get(), key.get());
  return TrustRoot{std::string(trust_domain), pem_of_key(key.get()), pem_of_certificate(root.get())};
}

Result<std::string> make_csr(std::string_view key_pem) {
  auto key = parse_key(key_pem);
  if (!key) return std::move(key).error();
  RequestPtr request(X509_REQ_new());
  LANDFALL_CHECK(request != nullptr && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1);
  LANDFALL_CHECK(X509_REQ_set_pubkey(request.get(), key->get()) == 1);
  LANDFALL_CHECK(X509_REQ_sign(request.get(), key->get(), EVP_sha256()) > 0);
  BioPtr bio(BIO_new(BIO_s_mem()));
  LANDFALL_CHECK(PEM_write_bio_X509_REQ(bio.get(), request.get()) == 1);
  return bio_text(bio.get());
}

Result<NodeId> verify_csr(std::string_view csr_pem) {
  auto key = key_of_csr(csr_pem);
  if (!key) return std::move(key).error();
  return node_of(key->get());
}

Result<std::string> issue_svid(const TrustRoot& root, std::string_view csr_pem, Peer::Role role, std::int64_t unix_ms) {
  LANDFALL_CHECK(role != Peer::Role::invite);
  auto key = key_of_csr(csr_pem);
  if (!key) return std::move(key).error();
  auto loaded = load(root);
  if (!loaded) return std::move(loaded).error();
  bool hub = role == Peer::Role::hub;
  auto uri = spiffe_uri(root.trust_domain, role, to_string(node_of(key->get())));
  return issue_leaf(*loaded, key->get(), uri, unix_ms, hub ? hub_life : svid_life);
}

Result<Invite> make_invite(const TrustRoot& root, std::string_view name, std::string_view hub_address,
                           std::int64_t unix_ms) {
  if (!is_path_segment(name) || name.size() > 64) {
    return Error{Code::out_of_range, "invite name \"" + printable(name) +
                                         "\": use 1 to 64 letters, digits, dots, minus signs and underscores"};
  }
  LANDFALL_TRY(parse_address(hub_address));
  auto loaded = load(root);
  if (!loaded) return std::move(loaded).error();
  KeyPtr key(EVP_EC_gen("P-256"));
  LANDFALL_CHECK(key != nullptr);
  auto uri = spiffe_uri(root.trust_domain, Peer::Role::invite, name);
  Identity identity{.trust_domain = root.trust_domain,
                    .key_pem = pem_of_key(key.get()),
                    .chain_pem = issue_leaf(*loaded, key.get(), uri, unix_ms, invite_life),
                    .bundle_pem = root.cert_pem};
  return Invite{std::string(name), std::string(hub_address), std::move(identity)};
}

namespace {

Result<std::int64_t> unix_ms_of(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    ERR_clear_error();
    return Error{Code::corrupt, "certificate: its life time cannot be read"};
  }
  return std::int64_t{timegm(&parts)} * 1000;
}

}  // namespace

Result<std::int64_t> expires_unix_ms(std::string_view chain_pem) {
  auto certificates = parse_certificates(chain_pem);
  if (!certificates) return std::move(certificates).error();
  return unix_ms_of(X509_get0_notAfter(certificates->front().get()));
}

Result<std::int64_t> renewal_due_unix_ms(std::string_view chain_pem) {
  auto certificates = parse_certificates(chain_pem);
  if (!certificates) return std::move(certificates).error();
  const auto from = unix_ms_of(X509_get0_notBefore(certificates->front().get()));
  const auto until = unix_ms_of(X509_get0_notAfter(certificates->front().get()));
  if (!from || !until) return from ? until : from;
  return *from + (*until - *from) / 3;
}

}  // namespace landfall
