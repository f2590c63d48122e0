#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "edgeruntime/http_api.h"
#include "edgeruntime/identity.h"

struct ssl_st;
struct ssl_ctx_st;

// Who may ask over TCP, and how that is proven. Private to this folder.

namespace landfall {

// What somebody showed: a bearer token, a client certificate, both or nothing.
struct ApiCredentials {
  std::string bearer;       // empty: none
  std::string certificate;  // SPIFFE id of a certificate that was proven; empty: none, or see refusal
  std::string refusal;      // why a certificate that was shown does not count
};
struct ApiVerdict {
  int status = 0;  // 0: may; 401: show something; 403: this one may not
  std::string actor, detail;
};
ApiVerdict judge(const std::vector<ApiToken>& tokens, const ApiCredentials& shown, bool reads);

// TLS of the API off loopback: the node's own certificate, whichever it is at the time of a handshake; a client may show
// one, which counts once verify_peer has proven it. Any thread.
class ApiTls {
 public:
  ApiTls();
  ~ApiTls();
  // Until the first, every handshake fails. Errors: `corrupt`.
  Status set_identity(const Identity& identity);
  bool set_up(ssl_ctx_st& context);
  // Adds the certificate that the client has shown on this connection.
  void read_certificate(const ssl_st* connection, ApiCredentials& shown) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace landfall
