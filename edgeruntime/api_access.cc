#include "edgeruntime/api_access.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <mutex>
#include <sstream>

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "edgeruntime/openssl_values.h"
#include "edgeruntime/spiffe_id.h"
#include "schemas/text.h"

namespace landfall {
namespace {

constexpr std::size_t chain_bytes_max = 8 << 10;
constexpr std::string_view certificate_prefix = "spiffe://";

std::string sha256_hex(std::string_view bytes) {
  Digest digest{};
  LANDFALL_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return to_hex(digest);
}

bool is_sha256_hex(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

Result<std::vector<ApiToken>> load_api_tokens(const std::filesystem::path& file) {
  struct stat about {};
  if (::stat(file.c_str(), &about) != 0)
    return Error{Code::not_found, file.string() + ": no such file: make it, or take [api] tokens out"};
  if ((about.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return Error{Code::denied, file.string() + ": others may write it: chmod 600 " + file.string()};
  std::ifstream in(file);
  if (!in) return Error{Code::denied, file.string() + ": not readable: run this as the user who runs the node"};
  std::vector<ApiToken> tokens;
  std::size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::istringstream words(line.substr(0, line.find('#')));
    ApiToken token;
    std::string role, proof, more;
    if (!(words >> token.name)) continue;
    const bool whole = static_cast<bool>(words >> role >> proof) && !(words >> more);
    const bool is_certificate = proof.starts_with(certificate_prefix);
    if (!whole || (!is_certificate && !is_sha256_hex(proof)) || (role != "reader" && role != "operator") ||
        tokens.size() == api_tokens_max || !is_clean_text(token.name) || token.name.size() > text_bytes_max) {
      return Error{Code::out_of_range, file.string() + ":" + std::to_string(number) +
                                           ": expected \"<name> reader|operator <sha256 of the token in hex, or SPIFFE "
                                           "id of a certificate>\""};
    }
    (is_certificate ? token.spiffe_id : token.sha256_hex) = proof;
    if (role == "operator") token.role = ApiToken::Role::operator_;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

ApiVerdict judge(const std::vector<ApiToken>& tokens, const ApiCredentials& shown, bool reads) {
  // Digests of secrets are compared: how long it takes tells nothing of the token.
  const std::string digest = shown.bearer.empty() ? std::string() : sha256_hex(shown.bearer);
  const auto found = std::ranges::find_if(tokens, [&](const ApiToken& token) {
    return (!token.sha256_hex.empty() && token.sha256_hex == digest) ||
           (!token.spiffe_id.empty() && token.spiffe_id == shown.certificate);
  });
  if (found != tokens.end()) {
    if (reads || found->role == ApiToken::Role::operator_) return {0, found->name, {}};
    return {403, found->name, found->name + " is a reader, who may only GET: have it made an operator in [api] tokens"};
  }
  if (!shown.certificate.empty())
    return {403, shown.certificate, shown.certificate + " is not in this node's [api] tokens: add a line for it"};
  if (!shown.refusal.empty()) return {401, {}, shown.refusal};
  return {401,
          {},
          shown.bearer.empty() ? "show a token of this node's [api] tokens (Authorization: Bearer ...)"
                               : "the token is none of this node's [api] tokens: ask who runs the node for one"};
}

struct ApiTls::Impl {
  mutable std::mutex mutex;
  std::vector<CertificatePtr> chain;
  KeyPtr key;
  std::string trust_domain, bundle_pem;

  static int give_certificate(SSL* connection, void* of) {
    const auto& self = *static_cast<Impl*>(of);
    const std::lock_guard lock(self.mutex);
    if (self.chain.empty()) return 0;
    bool given = SSL_use_certificate(connection, self.chain.front().get()) == 1 &&
                 SSL_use_PrivateKey(connection, self.key.get()) == 1;
    for (std::size_t i = 1; given && i < self.chain.size(); ++i)
      given = SSL_add1_chain_cert(connection, self.chain[i].get()) == 1;
    return given ? 1 : 0;
  }
};

ApiTls::ApiTls() : impl_(std::make_unique<Impl>()) {}
ApiTls::~ApiTls() = default;

Status ApiTls::set_identity(const Identity& identity) {
  auto chain = parse_certificates(identity.chain_pem);
  if (!chain) return std::move(chain).error();
  auto key = parse_key(identity.key_pem);
  if (!key) return std::move(key).error();
  const std::lock_guard lock(impl_->mutex);
  impl_->chain = std::move(*chain);
  impl_->key = std::move(*key);
  impl_->trust_domain = identity.trust_domain;
  impl_->bundle_pem = identity.bundle_pem;
  return ok();
}

bool ApiTls::set_up(ssl_ctx_st& context) {
  if (SSL_CTX_set_min_proto_version(&context, TLS1_3_VERSION) != 1) return false;
  SSL_CTX_set_options(&context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(&context, 0);
  SSL_CTX_set_max_cert_list(&context, chain_bytes_max);
  // A certificate is asked for and not needed. What it is worth is judged with the request, which can be answered.
  SSL_CTX_set_verify(&context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(
      &context, [](X509_STORE_CTX*, void*) { return 1; }, nullptr);
  SSL_CTX_set_cert_cb(&context, &Impl::give_certificate, impl_.get());
  return true;
}

void ApiTls::read_certificate(const ssl_st* connection, ApiCredentials& shown) const {
  const CertificatePtr leaf(SSL_get1_peer_certificate(connection));
  if (!leaf) return;
  std::vector<std::string> chain_der{certificate_der(leaf.get())};
  const auto* others = SSL_get_peer_cert_chain(connection);
  for (int i = 0; i < sk_X509_num(others); ++i) chain_der.push_back(certificate_der(sk_X509_value(others, i)));
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  const std::lock_guard lock(impl_->mutex);
  const auto peer = verify_peer(chain_der, impl_->bundle_pem, impl_->trust_domain, now.count());
  if (!peer) {
    shown.refusal = peer.error().detail;
  } else if (peer->role == Peer::Role::invite) {
    shown.refusal = "certificate: an invite's is for enrolment alone";
  } else {
    shown.certificate = spiffe_uri(impl_->trust_domain, peer->role, peer->name);
  }
}

}  // namespace landfall
