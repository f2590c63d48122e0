#include "tools/landfall/bench_twin.h"

#include <fcntl.h>
#include <mosquitto.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "edgeruntime/http_api.h"
#include "edgeruntime/node.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace fs = std::filesystem;
namespace {

constexpr int devices = 1000, properties = 20;
constexpr std::uint64_t updates_default = 1000;
constexpr std::string_view update_topic = "$hw/events/device/bench/twin/update";

double percentile_99(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() * 99 / 100];
}

// ---- the edge, in a process of its own

class Edge {
 public:
  static Result<std::unique_ptr<Edge>> start(const fs::path& dir) {
    HubConfig hub;
    hub.listen = hub.advertise = "127.0.0.1:1";  // nobody is there: the edge is alone
    const NodePaths hub_paths{dir / "hub"}, paths{dir / "edge"};
    LANDFALL_TRY(init_hub(hub_paths, hub, unix_ms_now()));
    const auto invite = make_hub_invite(hub_paths, "bench", unix_ms_now());
    if (!invite) return invite.error();
    EdgeConfig config;
    config.name = "bench";
    config.hub_address = hub.advertise;
    config.mqtt.port = free_port();
    config.mqtt.websocket_port = 0;
    const auto made = init_edge(paths, config, *invite, unix_ms_now());
    if (!made) return made.error();
    auto edge = std::make_unique<Edge>();
    edge->paths_ = paths;
    edge->pid_ = ::fork();
    if (edge->pid_ == 0) {
      const int log = ::open((dir / "edge.log").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(log, STDERR_FILENO);
      spdlog::set_level(spdlog::level::warn);
      const auto ran = run_node(paths, config);
      ::_exit(ran ? *ran : 1);
    }
    for (const double deadline = bench_now() + 15; bench_now() < deadline; ::poll(nullptr, 0, 20)) {
      if (edge->ready()) return edge;
    }
    return Error{Code::unavailable, "the edge did not start within 15 s"};
  }
  ~Edge() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  int port() const { return port_; }
  double resident() const { return resident_mib(pid_); }
  double broker_resident() const { return resident_mib(broker_); }

  Result<nlohmann::json> ask(const std::string& method, const std::string& path, const nlohmann::json& body) const {
    const auto reply = call_api(paths_.socket(), method, path, body.is_null() ? std::string() : body.dump());
    if (!reply) return reply.error();
    if (reply->status >= 300) return Error{Code::unavailable, method + " " + path + ": " + reply->body};
    return nlohmann::json::parse(reply->body, nullptr, false);
  }

 private:
  bool ready() {
    const auto reply = call_api(paths_.socket(), "GET", "/v1/status");
    if (!reply || reply->status != 200) return false;
    const auto mqtt = nlohmann::json::parse(reply->body)["mqtt"];
    if (mqtt.value("client_connected", 0.0) != 1) return false;
    port_ = static_cast<int>(mqtt["port"].get<double>());
    broker_ = static_cast<int>(mqtt["broker_pid"].get<double>());
    return port_ != 0;
  }

  NodePaths paths_;
  pid_t pid_ = -1;
  int port_ = 0, broker_ = 0;
};

// ---- a mapper: one connection, one request at a time

class Mapper {
 public:
  static Result<std::unique_ptr<Mapper>> connect(int port) {
    auto mapper = std::make_unique<Mapper>();
    mapper->client_.reset(mosquitto_new("bench-mapper", true, mapper.get()));
    auto* client = mapper->client_.get();
    mosquitto_message_callback_set(
        client, [](mosquitto*, void* self, const mosquitto_message*) { ++static_cast<Mapper*>(self)->answers_; });
    mosquitto_subscribe_callback_set(
        client, [](mosquitto*, void* self, int, int, const int*) { static_cast<Mapper*>(self)->subscribed_ = true; });
    const int on = 1;
    mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, on);
    const std::string results = std::string(update_topic) + "/result";
    if (mosquitto_connect(client, "127.0.0.1", port, 60) != MOSQ_ERR_SUCCESS ||
        mosquitto_subscribe(client, nullptr, results.c_str(), 0) != MOSQ_ERR_SUCCESS ||
        !mapper->until([&] { return mapper->subscribed_; }))
      return Error{Code::unavailable, "no connection to the broker on port " + std::to_string(port)};
    return mapper;
  }

  // As mappers-go's modbus mapper sends it. Returns seconds until the result was there.
  Result<double> update(int value) {
    const std::string body = R"({"event_id":"","timestamp":1767225600123,"twin":{"p0":{"actual":{"value":")" +
                             std::to_string(value) + R"(","metadata":{}},"metadata":{"type":"int"}}}})";
    const std::uint64_t before = answers_;
    const double started = bench_now();
    mosquitto_publish(client_.get(), nullptr, std::string(update_topic).c_str(), static_cast<int>(body.size()),
                      body.data(), 0, false);
    if (!until([&] { return answers_ != before; })) return Error{Code::unavailable, "no update/result within 10 s"};
    return bench_now() - started;
  }

 private:
  bool until(const std::function<bool()>& done) {
    for (const double deadline = bench_now() + 10; bench_now() < deadline;) {
      if (mosquitto_loop(client_.get(), 100, 1) != MOSQ_ERR_SUCCESS) return false;
      if (done()) return true;
    }
    return false;
  }

  struct Destroy {
    void operator()(mosquitto* client) const { mosquitto_destroy(client); }
  };
  std::unique_ptr<mosquitto, Destroy> client_;
  std::uint64_t answers_ = 0;
  bool subscribed_ = false;
};

// One append of a page and its fsync, in seconds.
class SyncedFile {
 public:
  explicit SyncedFile(const fs::path& file)
      : fd_(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}
  ~SyncedFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  SyncedFile(const SyncedFile&) = delete;
  SyncedFile& operator=(const SyncedFile&) = delete;
  Result<double> append() {
    const std::string page(4096, 'x');
    const double started = bench_now();
    if (::write(fd_, page.data(), page.size()) != static_cast<ssize_t>(page.size()) || ::fdatasync(fd_) != 0)
      return Error{Code::disk, std::string("reference file: ") + std::strerror(errno)};
    return bench_now() - started;
  }

 private:
  int fd_;
};

// Devices with all their properties reported once, as a fleet's are.
Status populate(const Edge& edge) {
  nlohmann::json define = nlohmann::json::object(), reported = nlohmann::json::object();
  for (int p = 0; p < properties; ++p) {
    define["p" + std::to_string(p)] = {{"type", "int"}};
    reported["p" + std::to_string(p)] = p;
  }
  for (int d = 0; d < devices; ++d) {
    const std::string name = d == 0 ? "bench" : "device-" + std::to_string(d);
    bench_progress("devices: " + std::to_string(d));
    for (const auto& [method, path, body] :
         {std::tuple{"PUT", "/v1/devices/" + name, nlohmann::json{{"node", "bench"}}},
          std::tuple{"PATCH", "/v1/twins/" + name, nlohmann::json{{"define", define}}},
          std::tuple{"PATCH", "/v1/twins/" + name, nlohmann::json{{"reported", reported}}}}) {
      const auto done = edge.ask(method, path, body);
      if (!done) return done.error();
    }
  }
  return ok();
}

Result<BenchReport> measure_all(const BenchOptions& options) {
  const fs::path dir = fs::absolute(options.dir) / "twin";
  fs::remove_all(dir);
  fs::create_directories(dir);
  const auto edge = Edge::start(dir);
  if (!edge) return edge.error();
  LANDFALL_TRY(populate(**edge));
  const auto mapper = Mapper::connect((*edge)->port());
  if (!mapper) return mapper.error();
  SyncedFile file(dir / "reference");

  BenchCase result{"mapper-update", "ms p99", {}, {{"fsync", {}}}, {}};
  std::vector<double> medians, added;
  const std::uint64_t updates = options.events != 0 ? options.events : updates_default;
  for (int round = 0; round < options.runs; ++round) {
    bench_progress("mapper-update: round " + std::to_string(round + 1) + " of " + std::to_string(options.runs));
    std::vector<double> ours, reference;
    for (std::uint64_t i = 0; i < updates; ++i) {
      const auto updated = (*mapper)->update(static_cast<int>(round * 1'000'000 + static_cast<int>(i)));
      if (!updated) return updated.error();
      ours.push_back(*updated * 1e3);
      const auto synced = file.append();
      if (!synced) return synced.error();
      reference.push_back(*synced * 1e3);
    }
    medians.push_back(median(ours));
    result.runs.push_back(percentile_99(ours));
    result.references[0].runs.push_back(percentile_99(reference));
    added.push_back(result.runs.back() - result.references[0].runs.back());
  }
  bench_progress_done();
  result.extras = {{"added_p99_ms", median(added)},
                   {"p50_ms", median(medians)},
                   {"devices", devices},
                   {"properties", devices * properties},
                   {"edge_resident_mib", (*edge)->resident()},
                   {"broker_resident_mib", (*edge)->broker_resident()}};
  return BenchReport{"twin", {std::move(result)}};
}

}  // namespace

int bench_twin(const BenchOptions& options) {
  mosquitto_lib_init();
  const auto report = measure_all(options);
  std::error_code ignored;
  fs::remove_all(fs::absolute(options.dir) / "twin", ignored);
  if (!report) {
    std::fprintf(stderr, "landfall: bench twin: %s\n", report.error().detail.c_str());
    return 1;
  }
  print_report(*report, options.json, std::cout);
  return 0;
}

}  // namespace landfall
