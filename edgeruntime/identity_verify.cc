#include <openssl/err.h>
#include <time.h>

#include <algorithm>

#include "edgeruntime/identity.h"
#include "edgeruntime/openssl_values.h"
#include "edgeruntime/spiffe_id.h"

// The rules of X.509-SVIDs (SPIFFE) that OpenSSL 3.0 does not know, and its path validation behind them.

namespace landfall {
namespace {

constexpr std::size_t chain_bytes_max = 8 << 10;
constexpr int intermediates_max = 1;  // leaf, intermediate, root: a path of three
constexpr const char* issue_again = "; have the certificate issued by a hub of this fleet";

Error denied(const std::string& why) { return {Code::denied, "certificate: " + why}; }

std::string utc(std::int64_t unix_ms) {
  time_t seconds = unix_ms / 1000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  return {text, strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts)};
}

std::string utc(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable time";
  return utc(std::int64_t{timegm(&parts)} * 1000);
}

struct UriNames {
  std::vector<std::string> uris;
  bool critical = false;
};
Result<UriNames> uri_names(X509* certificate) {
  UriNames names;
  int critical = 0;
  auto* parsed = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nullptr));
  if (parsed == nullptr) {
    ERR_clear_error();
    if (critical == -1) return names;
    return denied(std::string("its alternative names are damaged or given twice") + issue_again);
  }
  names.critical = critical == 1;
  for (int i = 0; i < sk_GENERAL_NAME_num(parsed); ++i) {
    const auto* name = sk_GENERAL_NAME_value(parsed, i);
    if (name->type != GEN_URI) continue;
    const auto* uri = name->d.uniformResourceIdentifier;
    names.uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                            static_cast<std::size_t>(ASN1_STRING_length(uri)));
  }
  GENERAL_NAMES_free(parsed);
  return names;
}

Status check_usage(X509* leaf) {
  auto flags = X509_get_extension_flags(leaf);
  if ((flags & EXFLAG_INVALID) != 0) return denied(std::string("its extensions are damaged") + issue_again);
  if (X509_get_version(leaf) != X509_VERSION_3) return denied(std::string("not X.509 version 3") + issue_again);
  if ((flags & EXFLAG_CA) != 0) {
    return denied("it is a certificate authority's, which may not open links; use the certificate of a node or hub");
  }
  auto usage = (flags & EXFLAG_KUSAGE) != 0 ? X509_get_key_usage(leaf) : 0;
  if ((usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)) != 0) {
    return denied(std::string("its key usage allows signing certificates, which a leaf must not") + issue_again);
  }
  if ((usage & KU_DIGITAL_SIGNATURE) == 0) {
    return denied(std::string("its key usage lacks digitalSignature") + issue_again);
  }
  constexpr std::uint32_t both = XKU_SSL_SERVER | XKU_SSL_CLIENT;
  if ((flags & EXFLAG_XKUSAGE) != 0 && (X509_get_extended_key_usage(leaf) & both) != both) {
    return denied(std::string("its extended key usage lacks serverAuth or clientAuth") + issue_again);
  }
  return ok();
}

Result<Peer> check_leaf(X509* leaf, std::string_view trust_domain) {
  LANDFALL_TRY(check_usage(leaf));
  auto names = uri_names(leaf);
  if (!names) return std::move(names).error();
  if (names->uris.empty()) return denied(std::string("no SPIFFE id in it") + issue_again);
  if (names->uris.size() > 1) return denied(std::string("more than one URI name in it") + issue_again);
  if (X509_NAME_entry_count(X509_get_subject_name(leaf)) == 0 && !names->critical) {
    return denied(std::string("its subject is empty, but its URI name is not critical") + issue_again);
  }
  auto id = parse_spiffe_uri(names->uris.front(), trust_domain);
  if (!id) return std::move(id).error().in("certificate");
  const auto* key = X509_get0_pubkey(leaf);
  if (!is_p256(key)) {
    ERR_clear_error();
    return denied(std::string("its key is not ECDSA P-256") + issue_again);
  }
  auto node = node_of(key);
  if (id->role != Peer::Role::invite && id->name != to_string(node)) {
    return denied(std::string("the node id in it is not that of its key") + issue_again);
  }
  return Peer{node, id->role, id->name};
}

// Roots and intermediates: the URI names the trust domain alone, if there is one.
Status check_authority(X509* authority, std::string_view trust_domain) {
  auto names = uri_names(authority);
  if (!names) return std::move(names).error().in("authority");
  if (names->uris.size() > 1) return denied("an authority has more than one URI name; mend the fleet's trust root");
  if (!names->uris.empty() && names->uris.front() != trust_domain_uri(trust_domain)) {
    return denied("authority " + printable(names->uris.front()) + " is not that of trust domain " +
                  std::string(trust_domain) + "; invite the node to this fleet");
  }
  if ((X509_get_extension_flags(authority) & EXFLAG_CA) == 0 ||
      (X509_get_key_usage(authority) & KU_KEY_CERT_SIGN) == 0) {
    return denied("it was issued by a certificate that is no authority; have it issued by a hub of this fleet");
  }
  return ok();
}

Error path_error(int code, X509* at, int depth, std::int64_t unix_ms) {
  std::string whose = depth == 0 ? "it" : "its authority";
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return denied(whose + " expired on " + utc(X509_get0_notAfter(at)) + " (our clock says " + utc(unix_ms) +
                    "); have it issued again, or set the clock");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return denied(whose + " is not valid before " + utc(X509_get0_notBefore(at)) + " (our clock says " +
                    utc(unix_ms) + "); set the clock");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return denied("it is not signed by a root of this fleet; invite the node to this fleet");
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return denied("the signature on " + whose + " is wrong; have it issued again");
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return denied("more than one intermediate authority; have it issued by a hub of this fleet");
    default: return denied(whose + " breaks a rule: " + X509_verify_cert_error_string(code) + issue_again);
  }
}

Status check_path(X509* leaf, STACK_OF(X509) * others, const std::vector<CertificatePtr>& roots,
                  std::string_view trust_domain, std::int64_t unix_ms) {
  StorePtr store(X509_STORE_new());
  StoreContextPtr context(X509_STORE_CTX_new());
  LANDFALL_CHECK(store != nullptr && context != nullptr);
  for (const auto& root : roots) LANDFALL_CHECK(X509_STORE_add_cert(store.get(), root.get()) == 1);
  LANDFALL_CHECK(X509_STORE_CTX_init(context.get(), store.get(), leaf, others) == 1);
  auto* rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_X509_STRICT);
  X509_VERIFY_PARAM_set_time(rules, unix_ms / 1000);
  X509_VERIFY_PARAM_set_depth(rules, intermediates_max);
  X509_VERIFY_PARAM_set_auth_level(rules, 2);
  bool good = X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  if (!good) {
    auto* at = X509_STORE_CTX_get_current_cert(context.get());
    return path_error(X509_STORE_CTX_get_error(context.get()), at == nullptr ? leaf : at,
                      X509_STORE_CTX_get_error_depth(context.get()), unix_ms);
  }
  auto* path = X509_STORE_CTX_get0_chain(context.get());
  for (int i = 1; i < sk_X509_num(path); ++i) LANDFALL_TRY(check_authority(sk_X509_value(path, i), trust_domain));
  return ok();
}

}  // namespace

Result<Peer> verify_peer(const std::vector<std::string>& chain_der, std::string_view bundle_pem,
                         std::string_view trust_domain, std::int64_t unix_ms) {
  if (chain_der.empty()) return denied("none was sent; the peer needs an identity of this fleet");
  std::size_t bytes = 0;
  for (const auto& der : chain_der) bytes += der.size();
  if (bytes > chain_bytes_max) return denied(std::string("its chain is longer than 8 KiB") + issue_again);

  std::vector<CertificatePtr> chain;
  for (const auto& der : chain_der) {
    auto* at = reinterpret_cast<const unsigned char*>(der.data());
    const auto* end = at + der.size();
    chain.emplace_back(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
    ERR_clear_error();
    if (chain.back() == nullptr || at != end) return denied(std::string("it is damaged") + issue_again);
  }
  auto peer = check_leaf(chain.front().get(), trust_domain);
  if (!peer) return peer;

  auto roots = parse_certificates(bundle_pem);
  if (!roots) return denied("our own trust bundle cannot be read: " + roots.error().detail + "; restore bundle.pem");
  std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> others(sk_X509_new_null(),
                                                                    [](STACK_OF(X509) * s) { sk_X509_free(s); });
  LANDFALL_CHECK(others != nullptr);
  for (std::size_t i = 1; i < chain.size(); ++i) sk_X509_push(others.get(), chain[i].get());
  LANDFALL_TRY(check_path(chain.front().get(), others.get(), *roots, trust_domain, unix_ms));
  return peer;
}

Result<Peer> verify_chain(std::string_view chain_pem, std::string_view bundle_pem, std::string_view trust_domain,
                          std::int64_t unix_ms) {
  auto certificates = parse_certificates(chain_pem);
  if (!certificates) return std::move(certificates).error();
  std::vector<std::string> chain_der;
  for (auto& certificate : *certificates) chain_der.push_back(certificate_der(certificate.get()));
  return verify_peer(chain_der, bundle_pem, trust_domain, unix_ms);
}

}  // namespace landfall
