#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eventlog/loop.h"
#include "schemas/limits.h"
#include "schemas/result.h"

namespace landfall {

struct Identity;

struct ApiRequest {
  std::string method, path;  // path without the query, percent-decoded
  std::map<std::string, std::string> query;
  std::string body, content_type;
  std::optional<std::string> if_match;  // without quotes; a weak one as it stands: it matches nothing
  bool wants_events = false;            // Accept: text/event-stream
  // Who asks: the name beside the token or certificate that was shown, or over the unix socket what the caller says (it is
  // the node's own user), else "local". Over TCP without tokens: "api".
  std::string actor;
};

// Server-sent events on their way to one client (HTML Living Standard, 9.2). Any thread.
class ApiStream {
 public:
  // False once nobody listens any more, or where the client was too slow for api_stream_bytes_max: the stream is over.
  bool send(std::string_view event, std::string_view data);
  void end();
  bool over() const;

 private:
  friend class HttpApi;
  struct Impl;
  ApiStream();
  std::shared_ptr<Impl> impl_;
};

struct ApiReply {
  int status = 200;
  std::string body, content_type = "application/json";
  std::map<std::string, std::string> headers = {};
  std::optional<std::string> etag = {};  // without quotes
  // Set instead of a body: called on the loop thread once the client is there, to send what is now and to be kept.
  std::function<void(ApiStream)> stream = {};
};

// An error as RFC 9457 has it; `detail` names the thing and the remedy.
ApiReply problem(int status, const std::string& title, const std::string& detail);

// Who may use the API over TCP: who shows this token, or the certificate of this SPIFFE id. A reader may only GET.
struct ApiToken {
  std::string name, sha256_hex = {};  // of the token
  enum class Role : std::uint8_t { reader, operator_ } role = Role::reader;
  std::string spiffe_id = {};  // in place of a token
};
// Lines "<name> reader|operator <sha256 of the token, hex, or SPIFFE id>"; '#' begins a comment. Errors: `not_found`,
// `denied` where others than its owner may write it, `out_of_range` naming the line.
Result<std::vector<ApiToken>> load_api_tokens(const std::filesystem::path& file);

struct HttpApiOptions {
  std::filesystem::path socket;  // unix socket, mode 0600; one left by a killed process is replaced
  std::string tcp_host;          // empty: none
  std::uint16_t tcp_port = 0;
  std::size_t body_bytes_max = event_payload_bytes_max * 2;            // JSON around a payload; beyond: 413
  std::chrono::milliseconds answer_within = std::chrono::seconds(10);  // beyond: 504
  // Unset: whoever reaches tcp_host may do everything, as "api". Set, also with nobody in it: each request over TCP shows a
  // token ("Authorization: Bearer <token>") or, with TLS, a client certificate of the trust domain.
  std::optional<std::vector<ApiToken>> tokens = {};
  // TCP speaks TLS 1.3 with the certificate of set_identity.
  bool tls = false;
  // Told of each refusal, on the loop thread.
  struct Refusal {
    std::string from, actor, what;  // actor: empty where nobody is known
    int status = 0;
  };
  std::function<void(const Refusal&)> on_refused = {};
};

// The node's HTTP face: cpp-httplib's threads accept, parse and wait; every request is answered on the loop. A request
// that the loop has not answered in time gets 504, and what it asked for may still happen.
//
// start, destruction: loop thread. The Loop must outlive it.
class HttpApi {
 public:
  // Called on the loop thread; calls `reply` once, now or later, on the loop thread. A reply that nobody waits for any
  // more is dropped.
  using Reply = std::function<void(ApiReply)>;
  using Handler = std::function<void(const ApiRequest&, Reply)>;

  // Errors: `unavailable` where an address is in use or not ours, naming it and the remedy.
  static Result<std::unique_ptr<HttpApi>> start(Loop& loop, HttpApiOptions options, Handler handler);
  // Answers waiting requests with 503 and joins the threads.
  ~HttpApi();

  // For TLS, from the next connection on; before the first no handshake succeeds. Errors: `corrupt`.
  Status set_identity(const Identity& identity);

 private:
  struct Impl;
  explicit HttpApi(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A call to a running node over its unix socket, from another process. Blocks. Errors: `not_found` where no node runs
// in `socket`'s folder, `denied` where the socket is another user's, `unavailable` where it does not answer.
struct ApiCall {
  std::string method = "GET", path = {}, body = {}, content_type = "application/json";
  std::optional<std::string> if_match = {};
  std::string actor = {};
  std::chrono::seconds patience = std::chrono::seconds(15);
  // Set: asks for server-sent events and is called with each (event, data) until it returns false or the node ends.
  std::function<bool(std::string_view event, std::string_view data)> on_event = {};
};
Result<ApiReply> call_api(const std::filesystem::path& socket, const ApiCall& call);
inline Result<ApiReply> call_api(const std::filesystem::path& socket, const std::string& method,
                                 const std::string& path, const std::string& body = {},
                                 std::chrono::seconds patience = std::chrono::seconds(15)) {
  ApiCall call{method, path, body};
  call.patience = patience;
  return call_api(socket, call);
}

// Text as one segment of a URL's path.
std::string url_segment(std::string_view text);

}  // namespace landfall
