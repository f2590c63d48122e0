#include "edgeruntime/http_api.h"

#include <atomic>
#include <cctype>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "edgeruntime/api_access.h"
#include "schemas/ids.h"
#include "schemas/text.h"

namespace landfall {
namespace {

// One request between its HTTP thread and the loop. Held by both, as either may give up first.
struct Waiting {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<ApiReply> reply;

  void set(ApiReply value) {
    const std::lock_guard lock(mutex);
    if (!reply) reply = std::move(value);
    answered.notify_one();
  }
};

// What HTTP threads and the loop share; outlives the HttpApi in tasks that were posted and not yet run.
struct Shared {
  HttpApi::Handler handler;  // loop thread only; empty once the HttpApi is gone
  std::mutex mutex;
  std::set<std::shared_ptr<Waiting>> waiting;
  std::vector<ApiStream> streams;
  bool stopping = false;
};

// A unix socket's address has 107 bytes at most, a folder's path may have more: a descriptor of the folder stands in.
class SocketName {
 public:
  explicit SocketName(const std::filesystem::path& socket) : name_(socket.string()) {
    if (name_.size() < sizeof(sockaddr_un::sun_path) - 1) return;
    folder_ = ::open(socket.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_ >= 0) name_ = "/proc/self/fd/" + std::to_string(folder_) + "/" + socket.filename().string();
  }
  ~SocketName() {
    if (folder_ >= 0) ::close(folder_);
  }
  SocketName(const SocketName&) = delete;
  SocketName& operator=(const SocketName&) = delete;
  const std::string& text() const { return name_; }

 private:
  std::string name_;
  int folder_ = -1;
};

}  // namespace

ApiReply problem(int status, const std::string& title, const std::string& detail) {
  const nlohmann::json body = {{"type", "about:blank"}, {"title", title}, {"status", status}, {"detail", detail}};
  return {status, body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), "application/problem+json"};
}

struct ApiStream::Impl {
  std::mutex mutex;
  std::condition_variable changed;
  std::string waiting;
  bool ended = false;
};

ApiStream::ApiStream() : impl_(std::make_shared<Impl>()) {}

bool ApiStream::send(std::string_view event, std::string_view data) {
  const std::lock_guard lock(impl_->mutex);
  if (impl_->ended) return false;
  impl_->waiting.append("event: ").append(event).append("\ndata: ").append(data).append("\n\n");
  impl_->ended = impl_->waiting.size() > api_stream_bytes_max;
  impl_->changed.notify_one();
  return !impl_->ended;
}

void ApiStream::end() {
  const std::lock_guard lock(impl_->mutex);
  impl_->ended = true;
  impl_->changed.notify_one();
}

bool ApiStream::over() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->ended;
}

struct HttpApi::Impl {
  Loop& loop;
  HttpApiOptions options;
  std::shared_ptr<Shared> shared = std::make_shared<Shared>();
  struct Listener {
    std::unique_ptr<httplib::Server> server;
    std::thread thread;
    std::atomic<bool> ended = false;
  };
  std::vector<std::unique_ptr<Listener>> listeners;
  ApiTls tls;

  // Who asks, over the unix socket or TCP.
  ApiVerdict verdict_on(const httplib::Request& request, bool local) const {
    if (local) {
      const auto said = request.get_header_value("Landfall-Actor");
      return {0, is_clean_text(said) && !said.empty() && said.size() <= text_bytes_max ? said : "local", {}};
    }
    if (!options.tokens) return {0, "api", {}};
    ApiCredentials shown;
    const auto authorization = request.get_header_value("Authorization");
    if (authorization.starts_with("Bearer ")) shown.bearer = authorization.substr(7);
    if (request.ssl != nullptr) tls.read_certificate(request.ssl, shown);
    return judge(*options.tokens, shown, request.method == "GET" || request.method == "HEAD");
  }

  void refuse(const ApiVerdict& verdict, const httplib::Request& request, httplib::Response& response) {
    const std::string what = request.method + " " + request.path;
    auto reply =
        problem(verdict.status, verdict.status == 401 ? "Unauthorized" : "Denied", what + ": " + verdict.detail);
    if (verdict.status == 401) reply.headers["WWW-Authenticate"] = "Bearer realm=\"landfall\"";
    give(reply, response);
    loop.post([this, shared = shared,
               refusal = HttpApiOptions::Refusal{request.remote_addr, verdict.actor, what, verdict.status}] {
      if (shared->handler && options.on_refused) options.on_refused(refusal);
    });
  }

  // What cannot be kept is said, instead of being passed over.
  static std::optional<ApiReply> read_conditions(const httplib::Request& request, ApiRequest& asked) {
    if (request.has_header("If-None-Match") && asked.method != "GET")
      return problem(400, "Bad request", "If-None-Match is not taken with " + asked.method + ": use If-Match");
    if (!request.has_header("If-Match")) return std::nullopt;
    auto tag = request.get_header_value("If-Match");
    if (tag.size() >= 2 && tag.front() == '"' && tag.back() == '"') tag = tag.substr(1, tag.size() - 2);
    if (tag.empty() || (tag.find('"') != std::string::npos && !tag.starts_with("W/")) ||
        tag.find(',') != std::string::npos || request.get_header_value_count("If-Match") != 1)
      return problem(400, "Bad request", "If-Match: one ETag is expected, or *");
    asked.if_match = tag;
    return std::nullopt;
  }

  void answer(const httplib::Request& request, httplib::Response& response, bool local) {
    const auto verdict = verdict_on(request, local);
    if (verdict.status != 0) return refuse(verdict, request, response);
    const bool head = request.method == "HEAD";
    ApiRequest asked{head ? "GET" : request.method,
                     request.path,
                     {},
                     request.body,
                     request.get_header_value("Content-Type"),
                     {},
                     !head && request.get_header_value("Accept").find("text/event-stream") != std::string::npos,
                     verdict.actor};
    for (const auto& [key, value] : request.params) asked.query[key] = value;
    if (auto wrong = read_conditions(request, asked)) return give(*wrong, response);
    auto waiting = std::make_shared<Waiting>();
    {
      const std::lock_guard lock(shared->mutex);
      if (shared->stopping) waiting->set(problem(503, "Stopping", "the node is stopping: ask again once it runs"));
      shared->waiting.insert(waiting);
    }
    loop.post([shared = shared, waiting, asked = std::move(asked)] {
      if (shared->handler) shared->handler(asked, [waiting](ApiReply reply) { waiting->set(std::move(reply)); });
    });
    std::unique_lock lock(waiting->mutex);
    if (!waiting->answered.wait_for(lock, options.answer_within, [&] { return waiting->reply.has_value(); })) {
      waiting->reply = problem(504, "No answer in time",
                               "the node is busy; what was asked may still happen: look before asking again");
    }
    lock.unlock();
    give(*waiting->reply, response);
    const std::lock_guard shared_lock(shared->mutex);
    shared->waiting.erase(waiting);
  }

  void give(ApiReply& reply, httplib::Response& response) {
    response.status = reply.status;
    for (const auto& [name, value] : reply.headers) response.set_header(name, value);
    if (reply.etag) response.set_header("ETag", "\"" + *reply.etag + "\"");
    if (!reply.stream) return response.set_content(reply.body, reply.content_type.c_str());
    ApiStream stream;
    {
      const std::lock_guard lock(shared->mutex);
      std::erase_if(shared->streams, [](const ApiStream& s) { return s.over(); });
      if (shared->stopping || shared->streams.size() >= api_streams_max) {
        const auto full = problem(503, "Too many listeners", "end another one, or ask without text/event-stream");
        response.status = full.status;
        return response.set_content(full.body, full.content_type.c_str());
      }
      shared->streams.push_back(stream);
    }
    loop.post([shared = shared, stream, begin = std::move(reply.stream)] {
      if (shared->handler) begin(stream);
    });
    response.set_header("Cache-Control", "no-store");
    response.set_chunked_content_provider(
        "text/event-stream", [stream](std::size_t, httplib::DataSink& sink) { return pass_on(stream, sink); },
        [stream](bool) mutable { stream.end(); });
  }

  // One wait of a listener's thread: what came, or a comment that shows whether the client is still there.
  static bool pass_on(const ApiStream& stream, httplib::DataSink& sink) {
    std::string bytes;
    bool ended = false;
    {
      std::unique_lock lock(stream.impl_->mutex);
      stream.impl_->changed.wait_for(lock, std::chrono::seconds(10),
                                     [&] { return stream.impl_->ended || !stream.impl_->waiting.empty(); });
      bytes.swap(stream.impl_->waiting);
      ended = stream.impl_->ended;
    }
    if (bytes.empty()) bytes = ":\n\n";
    if (!sink.write(bytes.data(), bytes.size())) return false;
    if (ended) sink.done();
    return true;
  }

  std::unique_ptr<httplib::Server> make_server(bool local) {
    auto server = std::make_unique<httplib::Server>();
    if (!local && options.tls)
      server = std::make_unique<httplib::SSLServer>([this](SSL_CTX& context) { return tls.set_up(context); });
    server->new_task_queue = [] { return new httplib::ThreadPool(4 + api_streams_max); };
    server->set_payload_max_length(options.body_bytes_max);
    server->set_read_timeout(5, 0);
    server->set_write_timeout(5, 0);
    server->set_keep_alive_timeout(2);
    server->set_keep_alive_max_count(100);
    const auto route = [this, local](const httplib::Request& request, httplib::Response& response) {
      answer(request, response, local);
    };
    server->Get(".*", route).Post(".*", route).Put(".*", route).Patch(".*", route).Delete(".*", route);
    server->set_error_handler([limit = options.body_bytes_max](const httplib::Request& request,
                                                               httplib::Response& response) {
      if (!response.body.empty()) return;
      // The HTTP library's own bound, far below ours: `curl -d` says that its body is a form.
      const bool is_form = request.get_header_value("Content-Type").starts_with("application/x-www-form-urlencoded");
      if (response.status == 413 && is_form) response.status = 415;
      const auto reply = [&] {
        switch (response.status) {
          case 413:
            return problem(413, "Body too large",
                           "the body is over the limit of " + std::to_string(limit) + " bytes: send it in parts");
          case 415:
            return problem(415, "Unsupported media type",
                           "a form of this size is not taken: say Content-Type: application/json");
          default: return problem(response.status, "Bad request", "the request is not HTTP that this API takes");
        }
      }();
      response.set_content(reply.body, reply.content_type.c_str());
    });
    return server;
  }

  void run(std::unique_ptr<httplib::Server> server) {
    auto& listener = *listeners.emplace_back(std::make_unique<Listener>());
    listener.server = std::move(server);
    listener.thread = std::thread([&listener] {
      listener.server->listen_after_bind();
      listener.ended = true;
    });
  }

  Status listen_unix() {
    std::error_code ignored;
    std::filesystem::remove(options.socket, ignored);
    auto server = make_server(true);
    server->set_address_family(AF_UNIX);
    // The default options (SO_REUSEPORT) mean nothing on a unix socket.
    server->set_socket_options([](socket_t) {});
    const SocketName name(options.socket);
    // Bound and closed to others before anybody can connect: the mode is set between bind and listen's first accept.
    const auto mask = ::umask(0177);
    const bool bound = server->bind_to_port(name.text(), 80);
    ::umask(mask);
    if (!bound) {
      return Error{Code::unavailable, "api socket " + options.socket.string() + ": " + std::strerror(errno) +
                                          ": check that the folder is yours and on a file system with unix sockets"};
    }
    ::chmod(options.socket.c_str(), 0600);
    run(std::move(server));
    return ok();
  }

  Status listen_tcp() {
    auto server = make_server(false);
    // httplib's default is SO_REUSEPORT, with which a second node would take half of the first one's requests.
    server->set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    if (!server->bind_to_port(options.tcp_host, options.tcp_port)) {
      return Error{Code::unavailable, "api address " + options.tcp_host + ":" + std::to_string(options.tcp_port) +
                                          ": " + std::strerror(errno) +
                                          ": set another one in [api] listen, or end the program that has it"};
    }
    run(std::move(server));
    return ok();
  }
};

HttpApi::HttpApi(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HttpApi>> HttpApi::start(Loop& loop, HttpApiOptions options, Handler handler) {
  auto api =
      std::unique_ptr<HttpApi>(new HttpApi(std::unique_ptr<Impl>(new Impl{loop, std::move(options), {}, {}, {}})));
  auto& impl = *api->impl_;
  impl.shared = std::make_shared<Shared>();
  impl.shared->handler = std::move(handler);
  LANDFALL_TRY(impl.listen_unix());
  if (!impl.options.tcp_host.empty()) LANDFALL_TRY(impl.listen_tcp());
  return api;
}

Status HttpApi::set_identity(const Identity& identity) { return impl_->tls.set_identity(identity); }

HttpApi::~HttpApi() {
  impl_->shared->handler = nullptr;
  {
    const std::lock_guard lock(impl_->shared->mutex);
    impl_->shared->stopping = true;
    for (auto& stream : impl_->shared->streams) stream.end();
    for (const auto& waiting : impl_->shared->waiting) {
      waiting->set(problem(503, "Stopping", "the node stopped before it answered: look once it runs again"));
    }
  }
  for (const auto& listener : impl_->listeners) {
    // stop() does nothing until the thread has come to accept.
    while (!listener->server->is_running() && !listener->ended) std::this_thread::yield();
    listener->server->stop();
    listener->thread.join();
  }
  std::error_code ignored;
  std::filesystem::remove(impl_->options.socket, ignored);
}

namespace {

// Cuts what comes into events and hands them on.
class EventReader {
 public:
  explicit EventReader(const std::function<bool(std::string_view, std::string_view)>& on_event) : on_event_(on_event) {}
  bool take(std::string_view bytes) {
    waiting_ += bytes;
    for (std::size_t end; (end = waiting_.find('\n')) != std::string::npos; waiting_.erase(0, end + 1)) {
      const std::string_view line = std::string_view(waiting_).substr(0, end);
      if (line.starts_with("event: ")) event_ = line.substr(7);
      if (line.starts_with("data: ")) data_ = line.substr(6);
      if (!line.empty() || data_.empty()) continue;
      if (!on_event_(event_, data_)) return false;
      event_.clear();
      data_.clear();
    }
    return true;
  }

 private:
  const std::function<bool(std::string_view, std::string_view)>& on_event_;
  std::string waiting_, event_, data_;
};

httplib::Request request_of(const ApiCall& call, std::string& refusal) {
  httplib::Request request;
  request.method = call.method;
  request.path = call.path;
  request.body = call.body;
  request.headers = {{"Host", "localhost"}};
  if (!call.body.empty()) request.headers.emplace("Content-Type", call.content_type);
  if (call.if_match) {
    const bool is_whole = *call.if_match == "*" || call.if_match->starts_with("W/");
    request.headers.emplace("If-Match", is_whole ? *call.if_match : "\"" + *call.if_match + "\"");
  }
  if (!call.actor.empty()) request.headers.emplace("Landfall-Actor", call.actor);
  if (!call.on_event) return request;
  request.headers.emplace("Accept", "text/event-stream");
  request.response_handler = [](const httplib::Response&) { return true; };
  request.content_receiver = [reader = std::make_shared<EventReader>(call.on_event), &refusal](
                                 const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
    refusal.append(data, refusal.size() < 4096 ? size : 0);
    return reader->take({data, size});
  };
  return request;
}

}  // namespace

std::string url_segment(std::string_view text) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      out.push_back(c);
    } else {
      out += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return out;
}

Result<ApiReply> call_api(const std::filesystem::path& socket, const ApiCall& call) {
  const auto folder = socket.parent_path().string();
  std::error_code error;
  const bool there = std::filesystem::exists(socket, error);
  if (error) {
    return Error{Code::denied, socket.string() + ": " + error.message() + ": run this as the user who runs the node"};
  }
  if (!there) {
    return Error{Code::not_found,
                 "no node runs in " + folder + ": start it with `landfall hub run` or `landfall edge run`"};
  }
  if (::access(socket.c_str(), R_OK | W_OK) != 0) {
    return Error{Code::denied, socket.string() + " is another user's: run this as the user who runs the node"};
  }
  const SocketName name(socket);
  httplib::Client client(name.text(), 80);
  client.set_address_family(AF_UNIX);
  client.set_connection_timeout(2, 0);
  client.set_read_timeout(call.patience.count(), 0);
  std::string streamed;
  const auto result = client.send(request_of(call, streamed));
  if (!result) {
    if (call.on_event && !streamed.empty())
      return ApiReply{200, {}, {}};  // its reader has had enough, or the node ended
    if (result.error() == httplib::Error::Connection) {
      return Error{Code::not_found,
                   "no node runs in " + folder +
                       " (its socket is left over): start it with `landfall hub run` or `landfall edge run`"};
    }
    return Error{Code::unavailable,
                 "the node in " + folder + " does not answer (" + httplib::to_string(result.error()) + ")"};
  }
  ApiReply reply{result->status, call.on_event ? streamed : result->body, result->get_header_value("Content-Type")};
  for (const char* header : {"Allow", "WWW-Authenticate"}) {
    if (result->has_header(header)) reply.headers[header] = result->get_header_value(header);
  }
  auto tag = result->get_header_value("ETag");
  if (tag.size() > 2) reply.etag = tag.substr(1, tag.size() - 2);
  return reply;
}

}  // namespace landfall
