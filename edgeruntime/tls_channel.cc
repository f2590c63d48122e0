#include "edgeruntime/tls_channel.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>

#include "edgeruntime/openssl_values.h"
#include "schemas/check.h"

namespace landfall {
namespace {

constexpr std::size_t record_bytes_max = 16 << 10;  // plaintext of one TLS record
constexpr std::size_t chain_bytes_max = 16 << 10;   // as received; verify_peer is stricter
constexpr unsigned char alpn[] = "\x0alandfall/1";
constexpr std::size_t alpn_bytes = sizeof alpn - 1;
constexpr std::string_view alpn_name = "landfall/1";

using ContextPtr = std::unique_ptr<SSL_CTX, OpensslRelease<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, OpensslRelease<SSL_free>>;

// The ends of SSL's pipes: what was fed and not yet read, what was written and not yet taken. OpenSSL's own memory BIO
// would copy each byte once more in both directions.
struct Pipes {
  std::string_view in;
  std::string out;
};

int pipe_read(BIO* bio, char* buffer, int size) {
  auto& pipes = *static_cast<Pipes*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (pipes.in.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  auto count = std::min(pipes.in.size(), static_cast<std::size_t>(size));
  std::memcpy(buffer, pipes.in.data(), count);
  pipes.in.remove_prefix(count);
  return static_cast<int>(count);
}

int pipe_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  static_cast<Pipes*>(BIO_get_data(bio))->out.append(data, static_cast<std::size_t>(size));
  return size;
}

long pipe_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* pipe_method() {
  static BIO_METHOD* const method = [] {
    auto* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "landfall pipes");
    LANDFALL_CHECK(made != nullptr);
    BIO_meth_set_read(made, pipe_read);
    BIO_meth_set_write(made, pipe_write);
    BIO_meth_set_ctrl(made, pipe_control);
    BIO_meth_set_create(made, [](BIO* bio) {
      BIO_set_init(bio, 1);
      return 1;
    });
    return made;
  }();
  return method;
}

int select_alpn(SSL*, const unsigned char** chosen, unsigned char* chosen_size, const unsigned char* offered,
                unsigned offered_size, void*) {
  auto found =
      SSL_select_next_proto(const_cast<unsigned char**>(chosen), chosen_size, alpn, alpn_bytes, offered, offered_size);
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

struct TlsContext::State {
  Side side;
  Identity identity;
  std::function<std::int64_t()> unix_ms;
  ContextPtr ssl;
};

struct TlsChannel::State {
  std::shared_ptr<const TlsContext> context;
  Pipes pipes;
  SslPtr ssl;          // after pipes: its BIO points there
  std::string record;  // the begun one
  std::optional<Peer> peer;
  std::optional<Error> refusal;  // by our own judgement of the peer's certificate
  std::optional<Error> failure;
  bool heard = false, open = false;

  static int verify(X509_STORE_CTX* store_context, void*);
  Error fail(Error error);
  Error ssl_error(int result);
  Error reason_of(unsigned long code) const;
  Error refused_by_peer(const char* alert) const;
  Status handshake();
};

namespace {

Status install(SSL_CTX* ssl, const Identity& identity) {
  auto key = parse_key(identity.key_pem);
  if (!key) return Error{Code::denied, "identity: " + key.error().detail};
  auto chain = parse_certificates(identity.chain_pem);
  if (!chain) return Error{Code::denied, "identity: " + chain.error().detail};
  if (auto roots = parse_certificates(identity.bundle_pem); !roots) {
    return Error{Code::denied, "identity: trust bundle: " + roots.error().detail};
  }
  bool fits = SSL_CTX_use_certificate(ssl, chain->front().get()) == 1 && SSL_CTX_use_PrivateKey(ssl, key->get()) == 1;
  for (std::size_t i = 1; fits && i < chain->size(); ++i) fits = SSL_CTX_add1_chain_cert(ssl, (*chain)[i].get()) == 1;
  if (!fits) return Error{Code::denied, "identity: key and certificate do not fit: " + openssl_reason()};
  return ok();
}

}  // namespace

TlsContext::TlsContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::create(Side side, const Identity& identity,
                                                             std::function<std::int64_t()> unix_ms) {
  bool listens = side == Side::listener;
  ContextPtr ssl(SSL_CTX_new(listens ? TLS_server_method() : TLS_client_method()));
  LANDFALL_CHECK(ssl != nullptr);
  auto* c = ssl.get();
  LANDFALL_CHECK(SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) == 1);
  LANDFALL_CHECK(SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") == 1);
  // Set by us: newer OpenSSL would offer a hybrid group, whose keys add 2.3 kB to each handshake.
  LANDFALL_CHECK(SSL_CTX_set1_groups_list(c, "X25519:P-256") == 1);
  LANDFALL_CHECK(SSL_CTX_set1_sigalgs_list(c, "ECDSA+SHA256") == 1);
  SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                             SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(c, 0);
  SSL_CTX_set_max_cert_list(c, chain_bytes_max);
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(c, TlsChannel::State::verify, nullptr);
  if (listens) {
    SSL_CTX_set_alpn_select_cb(c, select_alpn, nullptr);
  } else {
    LANDFALL_CHECK(SSL_CTX_set_alpn_protos(c, alpn, alpn_bytes) == 0);
  }
  LANDFALL_TRY(install(c, identity));
  auto state = std::make_unique<State>(State{side, identity, std::move(unix_ms), std::move(ssl)});
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(state)));
}

// In place of OpenSSL's own check of the chain. Which alert the peer gets says little: it checks its own certificate
// when it sees one, and our log has the reason.
int TlsChannel::State::verify(X509_STORE_CTX* store_context, void*) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store_context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& self = *static_cast<State*>(SSL_get_app_data(ssl));
  const auto& context = *self.context->state_;
  std::vector<std::string> chain_der;
  auto* sent = X509_STORE_CTX_get0_untrusted(store_context);
  for (int i = 0; i < sk_X509_num(sent); ++i) chain_der.push_back(certificate_der(sk_X509_value(sent, i)));
  auto peer = verify_peer(chain_der, context.identity.bundle_pem, context.identity.trust_domain, context.unix_ms());
  bool expects_hub = context.side == TlsContext::Side::dialler;
  if (peer && (peer->role == Peer::Role::hub) != expects_hub) {
    peer =
        Error{Code::denied, expects_hub ? "certificate: the peer is no hub; correct the hub's address"
                                        : "certificate: the peer is a hub, which does not dial hubs; correct its role"};
  }
  if (!peer) {
    self.refusal = std::move(peer).error();
    X509_STORE_CTX_set_error(store_context, X509_V_ERR_CERT_REJECTED);
    return 0;
  }
  self.peer = *std::move(peer);
  X509_STORE_CTX_set_error(store_context, X509_V_OK);
  return 1;
}

TlsChannel::TlsChannel(std::shared_ptr<const TlsContext> context) : state_(std::make_unique<State>()) {
  auto& s = *state_;
  s.context = std::move(context);
  s.ssl.reset(SSL_new(s.context->state_->ssl.get()));
  auto* bio = BIO_new(pipe_method());
  LANDFALL_CHECK(s.ssl != nullptr && bio != nullptr);
  BIO_set_data(bio, &s.pipes);
  SSL_set_bio(s.ssl.get(), bio, bio);
  SSL_set_app_data(s.ssl.get(), state_.get());
  if (s.context->state_->side == TlsContext::Side::dialler) {
    SSL_set_connect_state(s.ssl.get());
    LANDFALL_CHECK(s.handshake().ok());
  } else {
    SSL_set_accept_state(s.ssl.get());
  }
}

TlsChannel::~TlsChannel() = default;

Error TlsChannel::State::fail(Error error) {
  failure = std::move(error);
  pipes.in = {};
  return *failure;
}

Error TlsChannel::State::refused_by_peer(const char* alert) const {
  const auto& own = context->state_->identity;
  auto checked = verify_chain(own.chain_pem, own.bundle_pem, own.trust_domain, context->state_->unix_ms());
  std::string why = checked ? "its log says why; enrol this node again if it names no other remedy"
                            : "our own " + checked.error().detail;
  return {Code::denied, "the peer refused our certificate (" + std::string(alert) + "): " + why};
}

Error TlsChannel::State::reason_of(unsigned long code) const {
  auto reason = ERR_GET_REASON(code);
  const char* words = ERR_reason_error_string(code);
  std::string text = words == nullptr ? "protocol broken" : words;
  switch (ERR_GET_LIB(code) == ERR_LIB_SSL ? reason : 0) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return {Code::denied, "TLS: the peer speaks TLS 1.2 or older, here only TLS 1.3 is spoken; update the peer"};
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return {Code::denied, "TLS: the peer has no certificate to show; it needs an identity (landfall edge init)"};
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
      return {Code::denied, "TLS: the peer does not offer landfall/1 (ALPN); it is no Landfall node of this version"};
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: return refused_by_peer(words);
    default: return {Code::corrupt, "TLS: " + text};
  }
}

Error TlsChannel::State::ssl_error(int result) {
  auto kind = SSL_get_error(ssl.get(), result);
  auto code = ERR_peek_error();
  Error error = refusal                         ? *refusal
                : kind == SSL_ERROR_ZERO_RETURN ? Error{Code::unavailable, "the peer closed the connection"}
                                                : reason_of(code);
  ERR_clear_error();
  return fail(std::move(error));
}

Status TlsChannel::State::handshake() {
  ERR_clear_error();
  auto result = SSL_do_handshake(ssl.get());
  if (result != 1) {
    if (SSL_get_error(ssl.get(), result) == SSL_ERROR_WANT_READ) return ok();
    return ssl_error(result);
  }
  const unsigned char* chosen = nullptr;
  unsigned chosen_size = 0;
  SSL_get0_alpn_selected(ssl.get(), &chosen, &chosen_size);
  if (std::string_view(reinterpret_cast<const char*>(chosen), chosen_size) != alpn_name) {
    return fail(
        {Code::denied, "TLS: the peer does not offer landfall/1 (ALPN); it is no Landfall node of this version"});
  }
  LANDFALL_CHECK(peer.has_value());
  open = true;
  return ok();
}

Status TlsChannel::feed(std::string_view ciphertext) {
  auto& s = *state_;
  if (s.failure) return *s.failure;
  LANDFALL_CHECK(s.pipes.in.empty());
  if (ciphertext.empty()) return ok();
  if (!std::exchange(s.heard, true)) {
    constexpr char alert = 0x15, handshake = 0x16;  // all that a TLS peer may begin with
    if (ciphertext[0] != alert && ciphertext[0] != handshake) {
      bool http = ciphertext.starts_with("GET ") || ciphertext.starts_with("POST") || ciphertext.starts_with("HEAD") ||
                  ciphertext.starts_with("PUT ") || ciphertext.starts_with("HTTP") || ciphertext.starts_with("OPTI");
      return s.fail({Code::corrupt, http ? "plain HTTP instead of TLS; this port is for Landfall links, the HTTP API "
                                           "has its own address ([api] listen)"
                                         : "not TLS; something other than a Landfall node is at the other end"});
    }
  }
  s.pipes.in = ciphertext;
  return s.open ? ok() : s.handshake();
}

Result<std::size_t> TlsChannel::read(char* buffer, std::size_t size) {
  auto& s = *state_;
  if (s.failure) return *s.failure;
  if (!s.open) return std::size_t{0};
  ERR_clear_error();
  std::size_t count = 0;
  auto result = SSL_read_ex(s.ssl.get(), buffer, size, &count);
  if (result == 1) return count;
  if (SSL_get_error(s.ssl.get(), result) == SSL_ERROR_WANT_READ) return std::size_t{0};
  return s.ssl_error(result);
}

Status TlsChannel::write(std::string_view plaintext) {
  auto& s = *state_;
  if (s.failure) return *s.failure;
  LANDFALL_CHECK(s.open);
  while (!plaintext.empty()) {
    if (s.record.empty() && plaintext.size() >= record_bytes_max) {
      // Whole records go in from where they lie.
      auto whole = plaintext.size() / record_bytes_max * record_bytes_max;
      ERR_clear_error();
      std::size_t written = 0;
      auto result = SSL_write_ex(s.ssl.get(), plaintext.data(), whole, &written);
      if (result != 1) return s.ssl_error(result);
      plaintext.remove_prefix(whole);
      continue;
    }
    auto part = plaintext.substr(0, record_bytes_max - s.record.size());
    if (s.record.capacity() < record_bytes_max && s.record.size() + part.size() > 1024)
      s.record.reserve(record_bytes_max);
    s.record.append(part);
    plaintext.remove_prefix(part.size());
    if (s.record.size() == record_bytes_max) LANDFALL_TRY(flush());
  }
  return ok();
}

Status TlsChannel::flush() {
  auto& s = *state_;
  if (s.failure) return *s.failure;
  if (s.record.empty()) return ok();
  ERR_clear_error();
  std::size_t written = 0;
  auto result = SSL_write_ex(s.ssl.get(), s.record.data(), s.record.size(), &written);
  s.record.clear();
  if (result != 1) return s.ssl_error(result);
  return ok();
}

void TlsChannel::send_close() {
  auto& s = *state_;
  if (s.failure || !s.open || !flush().ok()) return;
  ERR_clear_error();
  SSL_shutdown(s.ssl.get());
  ERR_clear_error();
}

bool TlsChannel::take_ciphertext(std::string& out) {
  auto& pending = state_->pipes.out;
  if (pending.empty()) return false;
  if (out.empty()) {
    out.swap(pending);
  } else {
    out.append(pending);
  }
  pending.clear();
  return true;
}

std::size_t TlsChannel::ciphertext_bytes() const { return state_->pipes.out.size(); }
bool TlsChannel::is_open() const { return state_->open; }

const Peer& TlsChannel::peer() const {
  LANDFALL_CHECK(state_->open);
  return *state_->peer;
}

}  // namespace landfall
