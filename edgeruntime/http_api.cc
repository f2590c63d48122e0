#include "edgeruntime/http_api.h"

#include <atomic>
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

  void answer(const httplib::Request& request, httplib::Response& response) {
    ApiRequest asked{request.method, request.path, {}, request.body, request.get_header_value("Content-Type")};
    for (const auto& [key, value] : request.params) asked.query[key] = value;
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
    response.status = waiting->reply->status;
    response.set_content(waiting->reply->body, waiting->reply->content_type.c_str());
    lock.unlock();
    const std::lock_guard shared_lock(shared->mutex);
    shared->waiting.erase(waiting);
  }

  std::unique_ptr<httplib::Server> make_server() {
    auto server = std::make_unique<httplib::Server>();
    server->new_task_queue = [] { return new httplib::ThreadPool(4); };
    server->set_payload_max_length(options.body_bytes_max);
    server->set_read_timeout(5, 0);
    server->set_write_timeout(5, 0);
    server->set_keep_alive_timeout(2);
    server->set_keep_alive_max_count(100);
    const auto route = [this](const httplib::Request& request, httplib::Response& response) {
      answer(request, response);
    };
    server->Get(".*", route).Post(".*", route).Put(".*", route).Patch(".*", route).Delete(".*", route);
    server->set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return;
      const auto reply = problem(response.status, response.status == 413 ? "Body too large" : "Bad request",
                                 response.status == 413 ? "the body is over the limit of this API"
                                                        : "the request is not HTTP that this API takes");
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
    auto server = make_server();
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
    auto server = make_server();
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
  auto api = std::unique_ptr<HttpApi>(new HttpApi(std::unique_ptr<Impl>(new Impl{loop, std::move(options), {}, {}})));
  auto& impl = *api->impl_;
  impl.shared = std::make_shared<Shared>();
  impl.shared->handler = std::move(handler);
  LANDFALL_TRY(impl.listen_unix());
  if (!impl.options.tcp_host.empty()) LANDFALL_TRY(impl.listen_tcp());
  return api;
}

HttpApi::~HttpApi() {
  impl_->shared->handler = nullptr;
  {
    const std::lock_guard lock(impl_->shared->mutex);
    impl_->shared->stopping = true;
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

Result<ApiReply> call_api(const std::filesystem::path& socket, const std::string& method, const std::string& path,
                          const std::string& body, std::chrono::seconds patience) {
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
  client.set_read_timeout(patience.count(), 0);
  client.set_default_headers({{"Host", "localhost"}});
  const auto result = method == "GET" ? client.Get(path) : client.Post(path, body, "application/json");
  if (!result) {
    if (result.error() == httplib::Error::Connection) {
      return Error{Code::not_found,
                   "no node runs in " + folder +
                       " (its socket is left over): start it with `landfall hub run` or `landfall edge run`"};
    }
    return Error{Code::unavailable,
                 "the node in " + folder + " does not answer (" + httplib::to_string(result.error()) + ")"};
  }
  return ApiReply{result->status, result->body, result->get_header_value("Content-Type")};
}

}  // namespace landfall
