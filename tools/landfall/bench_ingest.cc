#include "tools/landfall/bench_ingest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <utility>

#include "edgeruntime/mqtt/broker.h"
#include "edgeruntime/mqtt/ingest.h"
#include "edgeruntime/uv_loop.h"
#include "eventlog/log.h"
#include "eventlog/rocks_store.h"

namespace landfall {
namespace fs = std::filesystem;
namespace {

using namespace std::chrono_literals;

// What the edge process tells the bench.
struct Shared {
  std::atomic<std::uint64_t> captured{0};
  std::atomic<int> port{0}, broker_pid{0};
  std::atomic<bool> failed{false};
  char why[512] = {};
};

// ---- the edge: a process of its own, with production's loop, store, log, broker and ingest

Status run_edge(const fs::path& dir, Shared& shared) {
  UvLoop loop;
  auto store = open_rocks_store(
      loop, {.directory = dir / "log", .anchor = dir / "anchor", .on_fatal = [](const Error&) { ::_exit(75); }});
  if (!store.ok()) return std::move(store).error();
  NodeId node;
  node.bytes[0] = 1;
  auto log = Log::open(loop, **store, {.node = node, .boot_id = "bench", .software = "bench"});
  if (!log.ok()) return std::move(log).error();
  auto ingest = MqttIngest::open(loop, **log, {.ring = dir / "ring", .wake_socket = dir / "ring.sock"});
  if (!ingest.ok()) return std::move(ingest).error();
  BrokerOptions options;
  options.dir = dir / "mqtt";
  options.ring = dir / "ring";
  options.wake_socket = dir / "ring.sock";
  auto rules = capture_rules({"landfall/+/telemetry/#", "landfall/+/alarm/#"}, {});
  if (!rules.ok()) return std::move(rules).error();
  options.rules = std::move(*rules);
  options.port = 0;
  auto broker = Broker::start(loop, options);
  if (!broker.ok()) return std::move(broker).error();
  std::function<void()> tell = [&] {
    const auto report = (*broker)->report();
    shared.captured = (*ingest)->metrics().captured;
    shared.broker_pid = report.pid;
    if (report.state == Broker::State::running) shared.port = report.port;
    loop.after(2ms, tell);
  };
  tell();
  loop.on_signal(SIGTERM, [&] { (*broker)->stop([&] { loop.stop(); }); });
  loop.run();
  return ok();
}

class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  pid_t pid() const { return pid_; }
  bool ended() const { return ::waitpid(pid_, nullptr, WNOHANG) != 0; }

 private:
  pid_t pid_;
};

double cpu_seconds(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string skipped;
  double user = 0, system = 0;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

int connect_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0) return fd;
  ::close(fd);
  return -1;
}

// ---- the publisher: bare sockets and packets made beforehand, so that the broker is what is measured

std::string field(std::string_view text) {
  return std::string{static_cast<char>(text.size() >> 8), static_cast<char>(text.size())} + std::string(text);
}
std::string variable(std::size_t value) {
  std::string bytes;
  do {
    bytes += static_cast<char>((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value >>= 7;
  } while (value > 0);
  return bytes;
}

class Publisher {
 public:
  struct Options {
    std::string topic;
    unsigned window = 100;
    bool cloud_events = false;  // MQTT 5 with the properties of a CloudEvent, its id counted up
  };
  static Result<std::unique_ptr<Publisher>> connect(std::uint16_t port, Options options) {
    auto publisher = std::make_unique<Publisher>();
    publisher->options_ = std::move(options);
    publisher->fd_ = connect_to(port);
    const char version = publisher->options_.cloud_events ? 5 : 4;
    const std::string body = field("MQTT") + version + "\x02" + std::string("\0\x00", 2) +
                             (version == 5 ? std::string(1, '\0') : "") + field("bench");
    char answer[256];
    const std::string packet = '\x10' + variable(body.size()) + body;
    if (publisher->fd_ < 0 || ::send(publisher->fd_, packet.data(), packet.size(), MSG_NOSIGNAL) < 0 ||
        ::recv(publisher->fd_, answer, sizeof(answer), 0) < 4 || answer[0] != 0x20) {
      return Error{Code::unavailable, "no connection to the broker on port " + std::to_string(port)};
    }
    publisher->prepare();
    return publisher;
  }
  ~Publisher() {
    if (fd_ >= 0) ::close(fd_);
  }

  // Publishes for so long and returns how many messages were acknowledged, all of them.
  Result<std::uint64_t> run(double seconds) {
    const double end = bench_now() + seconds;
    std::uint64_t sent = 0, acknowledged = 0;
    std::string out;
    std::size_t out_at = 0;
    bool ending = false;
    char in[16384];
    std::size_t in_bytes = 0;
    for (;;) {
      if (!ending && bench_now() > end) ending = true;
      if (ending && acknowledged == sent) break;
      if (out_at == out.size()) {
        out.clear();
        out_at = 0;
        for (; !ending && sent - acknowledged < options_.window; ++sent) append_message(out, sent);
      }
      if (out_at < out.size()) {
        const auto n = ::send(fd_, out.data() + out_at, out.size() - out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) return lost();
        out_at += n > 0 ? static_cast<std::size_t>(n) : 0;
      }
      pollfd wait{fd_, static_cast<short>(POLLIN | (out_at < out.size() ? POLLOUT : 0)), 0};
      if (::poll(&wait, 1, 10'000) != 1) return lost();
      if ((wait.revents & POLLIN) == 0) continue;
      const auto n = ::recv(fd_, in + in_bytes, sizeof(in) - in_bytes, MSG_DONTWAIT);
      if (n <= 0) return lost();
      in_bytes += static_cast<std::size_t>(n);
      std::size_t at = 0;
      // PUBACK: 0x40, length, message id and in MQTT 5, where it is not plain success, more.
      while (at + 2 <= in_bytes && at + 2 + static_cast<unsigned char>(in[at + 1]) <= in_bytes) {
        if (static_cast<unsigned char>(in[at]) != 0x40) return lost();
        at += 2 + static_cast<unsigned char>(in[at + 1]);
        ++acknowledged;
      }
      std::memmove(in, in + at, in_bytes - at);
      in_bytes -= at;
    }
    return acknowledged;
  }

 private:
  static Error lost() { return {Code::unavailable, "the broker closed the connection or did not answer for 10 s"}; }

  void prepare() {
    for (const auto& payload : bench_events(4096, 200)) {
      std::string body = field(options_.topic);
      mid_at_ = body.size();
      body += std::string(2, '\0');
      if (options_.cloud_events) {
        std::string properties;
        const std::pair<const char*, std::string> list[] = {
            {"specversion", "1.0"}, {"source", "//bench/publisher"}, {"type", "t"}, {"id", std::string(16, '0')}};
        for (const auto& [name, value] : list) properties += '\x26' + field(name) + field(value);
        body += variable(properties.size()) + properties;
        id_at_ = body.size() - 16;
      }
      body += payload;
      const std::string head = '\x32' + variable(body.size());
      head_bytes_ = head.size();
      packets_.push_back(head + body);
    }
  }
  void append_message(std::string& out, std::uint64_t number) {
    const std::size_t at = out.size();
    out += packets_[number % packets_.size()];
    const auto mid = static_cast<std::uint16_t>(number % 65535 + 1);
    out[at + head_bytes_ + mid_at_] = static_cast<char>(mid >> 8);
    out[at + head_bytes_ + mid_at_ + 1] = static_cast<char>(mid);
    if (!options_.cloud_events) return;
    // Hexadecimal, and never the same twice in one bench.
    std::uint64_t id = ids_++;
    for (std::size_t digit = 16; digit > 0; --digit, id >>= 4)
      out[at + head_bytes_ + id_at_ + digit - 1] = "0123456789abcdef"[id & 15];
  }

  static inline std::uint64_t ids_ = 0;
  Options options_;
  int fd_ = -1;
  std::vector<std::string> packets_;
  std::size_t head_bytes_ = 0, mid_at_ = 0, id_at_ = 0;
};

// ---- the bench

// The scratch folder is left as it was found.
struct Emptied {
  explicit Emptied(fs::path d) : dir(std::move(d)) { clear(); }
  ~Emptied() { clear(); }
  void clear() const {
    std::error_code ignored;
    fs::remove_all(dir, ignored);
  }
  fs::path dir;
};

struct Bench {
  BenchOptions options;
  Shared* shared;
  pid_t edge, plain_broker;
  std::uint16_t plain_port;

  struct Measured {
    double rate = 0, acknowledged_rate = 0, broker_us = 0, edge_us = 0;
  };
  // Ours: until all is A1. The reference: until all is acknowledged.
  Result<Measured> measure(const Publisher::Options& publisher, bool ours) {
    auto client = Publisher::connect(ours ? static_cast<std::uint16_t>(shared->port.load()) : plain_port, publisher);
    if (!client.ok()) return std::move(client).error();
    const pid_t broker = ours ? shared->broker_pid.load() : plain_broker;
    const std::uint64_t before = shared->captured;
    const double started = bench_now(), broker_cpu = cpu_seconds(broker), edge_cpu = cpu_seconds(edge);
    auto acknowledged = (*client)->run(options.seconds);
    if (!acknowledged.ok())
      return std::move(acknowledged).error().in(ours ? "broker with plugin" : "broker without plugin");
    const double answered = bench_now(), deadline = answered + 30;
    while (ours && shared->captured - before < *acknowledged) {
      if (bench_now() > deadline) return Error{Code::unavailable, "the edge did not make all messages durable"};
      ::poll(nullptr, 0, 1);
    }
    const double seconds = bench_now() - started, count = static_cast<double>(*acknowledged);
    if (ours && shared->captured - before != *acknowledged)
      return Error{Code::corrupt, "more events in the log than were published"};
    return Measured{count / seconds, count / (answered - started), (cpu_seconds(broker) - broker_cpu) / count * 1e6,
                    (cpu_seconds(edge) - edge_cpu) / count * 1e6};
  }

  Result<BenchCase> run(const std::string& name, const Publisher::Options& publisher) {
    BenchCase result;
    result.name = name;
    result.references = {{"broker-without-plugin", {}}};
    std::vector<double> acknowledged, broker_us, edge_us, plain_us;
    for (int round = 0; round < options.runs; ++round) {
      bench_progress(name + ": round " + std::to_string(round + 1) + " of " + std::to_string(options.runs));
      auto reference = measure(publisher, false);
      if (!reference.ok()) return std::move(reference).error();
      auto ours = measure(publisher, true);
      if (!ours.ok()) return std::move(ours).error();
      result.references[0].runs.push_back(reference->rate);
      result.runs.push_back(ours->rate);
      acknowledged.push_back(ours->acknowledged_rate);
      broker_us.push_back(ours->broker_us);
      edge_us.push_back(ours->edge_us);
      plain_us.push_back(reference->broker_us);
    }
    bench_progress_done();
    result.extras = {{"window", publisher.window},
                     {"acknowledged_per_s", median(acknowledged)},
                     {"broker_cpu_us_per_event", median(broker_us)},
                     {"edge_cpu_us_per_event", median(edge_us)},
                     {"reference_broker_cpu_us_per_event", median(plain_us)}};
    return result;
  }
};

// The edge's own broker configuration without the plugin, on another port.
Result<pid_t> start_plain_broker(const fs::path& edge_dir, const fs::path& dir, std::uint16_t port) {
  fs::create_directories(dir);
  std::ifstream in(edge_dir / "mqtt" / "mosquitto.conf");
  std::ofstream out(dir / "mosquitto.conf");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("plugin")) continue;
    if (line.starts_with("listener ")) line = "listener " + std::to_string(port) + " 127.0.0.1";
    if (line.starts_with("persistence_location ")) line = "persistence_location " + dir.string() + "/";
    if (line.starts_with("log_dest ")) line = "log_dest file " + (dir / "broker.log").string();
    out << line << '\n';
  }
  out.close();
  const std::string config = (dir / "mosquitto.conf").string();
  const char* programs[] = {"/usr/sbin/mosquitto", "mosquitto"};
  for (const char* program : programs) {
    const char* arguments[] = {program, "-c", config.c_str(), nullptr};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    // A session of its own as the edge's broker has: the scheduler shares processors out by session.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    pid_t pid = 0;
    const int rc = ::posix_spawnp(&pid, program, &files, &attributes, const_cast<char**>(arguments), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (rc == 0) return pid;
  }
  return Error{Code::not_found, "mosquitto cannot be started"};
}

template <class Condition>
bool wait_for(const Condition& condition) {
  for (const double deadline = bench_now() + 10; bench_now() < deadline; ::poll(nullptr, 0, 5)) {
    if (condition()) return true;
  }
  return false;
}

Result<BenchReport> measure_all(const BenchOptions& options) {
  const fs::path dir = fs::absolute(options.dir) / "ingest";
  const Emptied emptied{dir};
  fs::create_directories(dir / "edge");
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Error{Code::disk, std::string("map: ") + std::strerror(errno)};
  auto* shared = new (memory) Shared;
  const pid_t edge_pid = ::fork();
  if (edge_pid == 0) {
    auto ran = run_edge(dir / "edge", *shared);
    if (!ran.ok()) {
      std::strncpy(shared->why, ran.error().detail.c_str(), sizeof(shared->why) - 1);
      shared->failed = true;
    }
    ::_exit(ran.ok() ? 0 : 1);
  }
  const Child edge(edge_pid);
  wait_for([&] { return shared->port != 0 || shared->failed || edge.ended(); });
  if (shared->port == 0) return Error{Code::unavailable, std::string("the edge did not start: ") + shared->why};

  const std::uint16_t port = free_port();
  auto plain_pid = start_plain_broker(dir / "edge", dir / "plain", port);
  if (!plain_pid.ok()) return std::move(plain_pid).error();
  const Child plain(*plain_pid);
  const bool up = wait_for([&] {
    const int fd = connect_to(port);
    if (fd >= 0) ::close(fd);
    return fd >= 0;
  });
  if (!up) return Error{Code::unavailable, "the broker without plugin did not start"};

  Bench bench{options, shared, edge.pid(), plain.pid(), port};
  const std::string telemetry = "landfall/bench/telemetry/sample", alarm = "landfall/bench/alarm/sample";
  const std::pair<const char*, Publisher::Options> cases[] = {
      {"process-qos1", {telemetry, 100}},
      {"power-qos1", {alarm, 100}},
      {"process-qos1-window-20", {telemetry, 20}},
      {"process-qos1-window-1000", {telemetry, 1000}},
      {"process-qos1-cloudevents", {telemetry, 100, true}},
  };
  BenchReport report{"ingest", {}};
  for (const auto& [name, publisher] : cases) {
    auto done = bench.run(name, publisher);
    if (!done.ok()) return std::move(done).error().in(name);
    report.cases.push_back(std::move(*done));
  }
  return report;
}

}  // namespace

int bench_ingest(const BenchOptions& options) {
  const auto report = measure_all(options);
  if (!report.ok()) {
    std::fprintf(stderr, "landfall: bench ingest: %s\n", report.error().detail.c_str());
    return 1;
  }
  print_report(*report, options.json, std::cout);
  return 0;
}

}  // namespace landfall
