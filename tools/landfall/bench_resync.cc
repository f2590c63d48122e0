#include "tools/landfall/bench_resync.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <numeric>
#include <stdexcept>

#include "cloudsync/replicator.h"
#include "edgeruntime/identity.h"
#include "edgeruntime/tls_channel.h"
#include "edgeruntime/uv_loop.h"
#include "edgeruntime/uv_network.h"
#include "eventlog/log.h"
#include "eventlog/rocks_store.h"

namespace landfall {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t batch_events = 1000;
constexpr std::size_t batches_in_flight = 6;
constexpr std::size_t subjects = 16;
// Of a link without jumbo frames: payload of a segment, and IPv4, TCP and timestamp headers before it.
constexpr double segment_bytes = 1448, header_bytes = 52;

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }
template <class T>
T need(Result<T> result) {
  if (!result) fail(result.error().detail);
  return std::move(result).value();
}

// What a measured process says when it is done; plain bytes through a pipe.
struct Report {
  double seconds = 0, cpu_seconds = 0, peak_mib = 0, resident_mib = 0;
  std::uint64_t events = 0, bytes_in = 0, bytes_out = 0;
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <class T>
void write_value(int fd, const T& value) {
  if (::write(fd, &value, sizeof value) != sizeof value) fail("a measured process lost its pipe");
}
template <class T>
T read_value(int fd) {
  T value;
  auto got = ::read(fd, &value, sizeof value);
  if (got != sizeof value) fail("a measured process ended early; its message is above");
  return value;
}

// A process of our own, forked while this one has neither loop nor thread. `work` writes to the pipe; its exceptions
// end the process with a message.
class Process {
 public:
  explicit Process(const std::function<void(int out)>& work) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) fail(std::string("pipe: ") + std::strerror(errno));
    pid_ = ::fork();
    if (pid_ < 0) fail(std::string("fork: ") + std::strerror(errno));
    if (pid_ > 0) {
      ::close(ends[1]);
      in_ = ends[0];
      return;
    }
    ::close(ends[0]);
    ::dup2(2, 1);  // stdout is for the report
    int code = 0;
    try {
      work(ends[1]);
    } catch (const std::exception& error) {
      std::cerr << "bench resync: " << error.what() << "\n";
      code = 1;
    }
    ::_exit(code);
  }
  ~Process() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    wait();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  template <class T>
  T receive() {
    return read_value<T>(in_);
  }
  void terminate() { ::kill(pid_, SIGTERM); }
  void wait() {
    if (pid_ <= 0) return;
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    ::close(in_);
  }

 private:
  pid_t pid_ = -1;
  int in_ = -1;
};

struct Members {
  Identity hub, edge;
};

Members make_members() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  auto unix_ms = std::int64_t{now.tv_sec} * 1000;
  auto root = need(make_trust_root("bench.landfall", unix_ms));
  auto member = [&](Peer::Role role) {
    auto key = make_key();
    auto chain = need(issue_svid(root, need(make_csr(key)), role, unix_ms));
    return Identity{root.trust_domain, key, chain, root.cert_pem};
  };
  return {member(Peer::Role::hub), member(Peer::Role::node)};
}

// A node as in production, without the faces that this bench does not use.
class BenchNode {
 public:
  BenchNode(const fs::path& folder, Identity identity, ReplicatorOptions::Role role, std::string dial)
      : node_(need(node_of_key(identity.key_pem))) {
    fs::create_directories(folder);
    auto broken = [](const Error& error) {
      std::cerr << "bench resync: " << error.detail << "\n";
      ::_exit(75);
    };
    store_ =
        need(open_rocks_store(loop, {.directory = folder / "log", .anchor = folder / "anchor", .on_fatal = broken}));
    log = need(Log::open(loop, *store_, {.node = node_, .boot_id = "bench", .software = "bench"}));
    bool edge = role == ReplicatorOptions::Role::edge;
    UvNetworkOptions options{.identity = std::move(identity)};
    if (!edge) options.listen = "127.0.0.1:0";
    if (!dial.empty()) options.dial = {std::move(dial)};
    network = need(UvNetwork::create(loop, std::move(options)));
    ReplicatorOptions replication;
    replication.role = role;
    replication.session.software = "bench";
    replicator = Replicator::create(loop, *log, *network, std::move(replication));
  }

  Report report() const {
    auto totals = network->totals();
    return {.cpu_seconds = cpu_seconds(),
            .peak_mib = peak_mib(0),
            .resident_mib = resident_mib(0),
            .bytes_in = totals.bytes_in,
            .bytes_out = totals.bytes_out};
  }
  std::uint64_t uncommitted() const {
    auto backlog = replicator->backlog();
    return std::accumulate(backlog.begin(), backlog.end(), std::uint64_t{0});
  }

  UvLoop loop;
  NodeId node_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Log> log;
  std::unique_ptr<UvNetwork> network;
  std::unique_ptr<Replicator> replicator;
};

struct Workload {
  std::string name;
  std::function<std::vector<std::string>()> lines;  // called in the process that fills the log
};

std::vector<std::string> read_lines(const fs::path& file) {
  std::ifstream in(file);
  if (!in) fail(file.string() + ": cannot be read; --data names the folder of the samples");
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  if (lines.empty()) fail(file.string() + ": empty");
  return lines;
}

void fill(const fs::path& folder, const Identity& identity, const Workload& workload, std::uint64_t total, int out) {
  auto lines = workload.lines();
  std::vector<std::string> names;
  for (std::size_t i = 0; i < subjects; ++i) names.push_back("bench/d" + std::to_string(i));
  BenchNode node(folder, identity, ReplicatorOptions::Role::edge, "");
  std::uint64_t next = 0, stored = 0;
  std::string failure;
  std::function<void()> append_batch = [&] {
    std::vector<Event> events(std::min<std::uint64_t>(batch_events, total - next));
    for (auto& event : events) {
      event.kind = Kind::telemetry;
      event.subject = names[next % names.size()];
      event.payload = lines[next++ % lines.size()];
    }
    node.log->append(Stream::telemetry, events, [&](const Result<Log::Appended>& appended) {
      if (!appended) failure = appended.error().detail;
      if (!appended || (stored += appended->count) == total) return node.loop.stop();
      if (next < total) append_batch();
    });
  };
  for (std::size_t i = 0; i < batches_in_flight && next < total; ++i) append_batch();
  node.loop.run();
  if (!failure.empty()) fail(failure);
  write_value(out, Report{.events = stored});
}

void run_hub(const fs::path& folder, const Identity& identity, int out) {
  BenchNode node(folder, identity, ReplicatorOptions::Role::hub, "");
  node.loop.on_signal(SIGTERM, [&] { node.loop.stop(); });
  node.replicator->start();
  write_value(out, node.network->listening_port());
  auto cpu_before = cpu_seconds();
  node.loop.run();
  auto report = node.report();
  report.cpu_seconds -= cpu_before;
  write_value(out, report);
}

void run_edge(const fs::path& folder, const Identity& identity, std::uint16_t port, int out) {
  BenchNode node(folder, identity, ReplicatorOptions::Role::edge, "127.0.0.1:" + std::to_string(port));
  auto began = bench_now();
  auto cpu_before = cpu_seconds();
  auto limit = began + 300;
  std::function<void()> look = [&] {
    if (node.uncommitted() == 0 || bench_now() > limit) return node.loop.stop();
    node.loop.after(std::chrono::milliseconds(1), look);
  };
  auto waiting = node.uncommitted();
  node.replicator->start();
  look();
  node.loop.run();
  if (node.uncommitted() != 0) fail("the hub did not commit everything in 300 s");
  auto report = node.report();
  report.seconds = bench_now() - began;
  report.cpu_seconds -= cpu_before;
  report.events = waiting;
  write_value(out, report);
}

// An edge with its log open and nobody to talk to, after a second of quiet.
void run_idle(const fs::path& folder, const Identity& identity, int out) {
  BenchNode node(folder, identity, ReplicatorOptions::Role::edge, "");
  node.replicator->start();
  node.loop.after(std::chrono::seconds(1), [&] { node.loop.stop(); });
  node.loop.run();
  write_value(out, node.report());
}

// ---- the reference: TLS and nothing else

class BareTls {
 public:
  BareTls(int socket, TlsContext::Side side, const Identity& identity)
      : socket_(socket), channel_(need(TlsContext::create(side, identity, [] {
          timespec now{};
          clock_gettime(CLOCK_REALTIME, &now);
          return std::int64_t{now.tv_sec} * 1000;
        }))) {
    while (!channel_.is_open()) {
      send();
      // The peer's first plaintext may come with the end of its handshake.
      if (!channel_.is_open()) early_ += receive();
    }
    send();
  }
  ~BareTls() { ::close(socket_); }

  void write(std::string_view plaintext) {
    need(channel_.write(plaintext));
    need(channel_.flush());
    send();
  }
  // Reads what the next bytes of the peer hold; returns how much.
  std::size_t receive() {
    if (early_ > 0) return std::exchange(early_, 0);
    auto got = ::read(socket_, ciphertext_.data(), ciphertext_.size());
    if (got <= 0) fail("the bare TLS connection broke");
    need(channel_.feed({ciphertext_.data(), static_cast<std::size_t>(got)}));
    for (std::size_t total = 0;;) {
      auto count = need(channel_.read(plaintext_.data(), plaintext_.size()));
      if (count == 0) return total;
      total += count;
    }
  }

 private:
  void send() {
    out_.clear();
    if (!channel_.take_ciphertext(out_)) return;
    for (std::string_view rest = out_; !rest.empty();) {
      auto count = ::write(socket_, rest.data(), rest.size());
      if (count <= 0) fail("the bare TLS connection broke");
      rest.remove_prefix(static_cast<std::size_t>(count));
    }
  }

  int socket_;
  TlsChannel channel_;
  std::string out_;
  std::size_t early_ = 0;
  std::vector<char> ciphertext_ = std::vector<char>(256 << 10), plaintext_ = std::vector<char>(64 << 10);
};

void run_bare_receiver(const Identity& identity, std::uint64_t bytes, int out) {
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(listener, 1) != 0) fail("no port");
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size);
  write_value(out, at.sin_port);
  BareTls tls(::accept(listener, nullptr, nullptr), TlsContext::Side::listener, identity);
  for (std::uint64_t received = 0; received < bytes;) received += tls.receive();
  tls.write("k");
  ::close(listener);
}

void run_bare_sender(const Identity& identity, std::uint64_t bytes, in_port_t port, int out) {
  std::string block(256 << 10, '\0');
  std::uint64_t noise = 88172645463325252;
  for (char& c : block) {
    noise ^= noise << 13;
    noise ^= noise >> 7;
    noise ^= noise << 17;
    c = static_cast<char>(noise);
  }
  int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = port;
  auto began = bench_now();
  if (::connect(socket, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) fail("the bare receiver is not there");
  BareTls tls(socket, TlsContext::Side::dialler, identity);
  for (std::uint64_t sent = 0; sent < bytes;) {
    auto part = std::min<std::uint64_t>(block.size(), bytes - sent);
    tls.write(std::string_view(block).substr(0, part));
    sent += part;
  }
  while (tls.receive() == 0) {}
  write_value(out, Report{.seconds = bench_now() - began});
}

// ---- cases

struct Round {
  Report hub, edge;
  double bare_seconds;
};

Round run_round(const fs::path& folder, const fs::path& filled, const Members& members) {
  fs::remove_all(folder / "edge");
  fs::remove_all(folder / "hub");
  fs::copy(filled, folder / "edge", fs::copy_options::recursive);
  ::sync();
  Round round;
  {
    Process hub([&](int out) { run_hub(folder / "hub", members.hub, out); });
    auto port = hub.receive<std::uint16_t>();
    Process edge([&](int out) { run_edge(folder / "edge", members.edge, port, out); });
    round.edge = edge.receive<Report>();
    edge.wait();
    hub.terminate();
    round.hub = hub.receive<Report>();
    hub.wait();
  }
  auto bytes = round.edge.bytes_out;
  Process receiver([&](int out) { run_bare_receiver(members.hub, bytes, out); });
  auto port = receiver.receive<in_port_t>();
  Process sender([&](int out) { run_bare_sender(members.edge, bytes, port, out); });
  round.bare_seconds = sender.receive<Report>().seconds;
  sender.wait();
  receiver.wait();
  return round;
}

BenchCase run_case(const Workload& workload, const BenchOptions& options, const Members& members) {
  const fs::path folder = options.dir / "landfall-bench-resync";
  const std::uint64_t total = options.events > 0 ? options.events : 1'000'000;
  fs::remove_all(folder);
  bench_progress("resync " + workload.name + ": filling the edge's log");
  {
    Process filler([&](int out) { fill(folder / "filled", members.edge, workload, total, out); });
    filler.receive<Report>();
    filler.wait();
  }
  BenchCase result;
  result.name = workload.name;
  result.references = {{"raw-tls", {}}};
  std::vector<Round> rounds;
  for (int i = 0; i < options.runs; ++i) {
    bench_progress("resync " + workload.name + ", round " + std::to_string(i + 1) + " of " +
                   std::to_string(options.runs));
    rounds.push_back(run_round(folder, folder / "filled", members));
    result.runs.push_back(static_cast<double>(total) / rounds.back().edge.seconds);
    result.references[0].runs.push_back(static_cast<double>(total) / rounds.back().bare_seconds);
  }
  Process idle([&](int out) { run_idle(folder / "edge", members.edge, out); });
  auto quiet = idle.receive<Report>();
  idle.wait();
  fs::remove_all(folder);
  bench_progress_done();

  auto middle = [&](const std::function<double(const Round&)>& field) {
    std::vector<double> values;
    for (const auto& round : rounds) values.push_back(field(round));
    return median(values);
  };
  auto events = static_cast<double>(total);
  auto wire = [](const Round& r) { return static_cast<double>(r.edge.bytes_in + r.edge.bytes_out); };
  // One header per full segment, and one bare acknowledgement for every second of them.
  auto headers = [&](const Round& r) { return wire(r) / segment_bytes * header_bytes * 1.5; };
  result.extras = {
      {"wire_bytes_per_event", middle([&](const Round& r) { return wire(r) / events; })},
      {"ip_tcp_header_bytes_per_event_estimated", middle([&](const Round& r) { return headers(r) / events; })},
      {"edge_peak_mib", middle([](const Round& r) { return r.edge.peak_mib; })},
      {"hub_peak_mib", middle([](const Round& r) { return r.hub.peak_mib; })},
      {"edge_cpu_us_per_event", middle([&](const Round& r) { return r.edge.cpu_seconds * 1e6 / events; })},
      {"hub_cpu_us_per_event", middle([&](const Round& r) { return r.hub.cpu_seconds * 1e6 / events; })},
      {"edge_idle_mib", quiet.resident_mib},
  };
  return result;
}

}  // namespace

int bench_resync(const BenchOptions& options) {
  try {
    std::vector<Workload> workloads = {{"200-byte", [] { return bench_events(); }}};
    if (!options.data.empty()) {
      workloads.push_back({"signalk", [&] { return read_lines(options.data / "signalk-delta.ndjson"); }});
      workloads.push_back({"nmea", [&] { return read_lines(options.data / "nmea0183-raw.txt"); }});
    }
    auto members = make_members();
    BenchReport report{"resync", {}};
    for (const auto& workload : workloads) report.cases.push_back(run_case(workload, options, members));
    print_report(report, options.json, std::cout);
    return 0;
  } catch (const std::exception& error) {
    bench_progress_done();
    std::cerr << "bench resync: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace landfall
