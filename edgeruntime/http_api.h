#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "eventlog/loop.h"
#include "schemas/limits.h"
#include "schemas/result.h"

namespace landfall {

struct ApiRequest {
  std::string method, path;  // path without the query
  std::map<std::string, std::string> query;
  std::string body, content_type;
};

struct ApiReply {
  int status = 200;
  std::string body, content_type = "application/json";
};

// An error as RFC 9457 has it; `detail` names the thing and the remedy.
ApiReply problem(int status, const std::string& title, const std::string& detail);

struct HttpApiOptions {
  std::filesystem::path socket;  // unix socket, mode 0600; one left by a killed process is replaced
  std::string tcp_host;          // loopback; empty: none
  std::uint16_t tcp_port = 0;
  std::size_t body_bytes_max = event_payload_bytes_max * 2;            // JSON around a payload; beyond: 413
  std::chrono::milliseconds answer_within = std::chrono::seconds(10);  // beyond: 504
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

 private:
  struct Impl;
  explicit HttpApi(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A call to a running node over its unix socket, from another process. Blocks. Errors: `not_found` where no node runs
// in `socket`'s folder, `denied` where the socket is another user's, `unavailable` where it does not answer.
Result<ApiReply> call_api(const std::filesystem::path& socket, const std::string& method, const std::string& path,
                          const std::string& body = {}, std::chrono::seconds patience = std::chrono::seconds(15));

}  // namespace landfall
