// The edge of the MQTT tests, as a process that can be killed: loop, store, log, broker and ingest of production, without
// network and twins.
//
//   mqtt_edge run DIR PLUGIN RING_BYTES   "ready PORT WEBSOCKET_PORT BROKER_PID" once the broker runs; each line read from
//                                         stdin prints the metrics; SIGTERM ends it and its broker
//   mqtt_edge dump DIR                    every event of own runs: stream, kind, retained, subject, device, source, id,
//                                         content type and payload, tabs between

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include "edgeruntime/mqtt/broker.h"
#include "edgeruntime/mqtt/ingest.h"
#include "edgeruntime/uv_loop.h"
#include "eventlog/log.h"
#include "eventlog/rocks_store.h"
#include "schemas/chunk.h"

namespace landfall {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const Error& error) {
  std::fprintf(stderr, "mqtt_edge: %s\n", error.detail.c_str());
  std::_Exit(1);
}
template <class T>
T need(Result<T> result) {
  if (!result.ok()) fail(result.error());
  return std::move(*result);
}

struct Node {
  explicit Node(const fs::path& dir) {
    fs::create_directories(dir);
    store = need(open_rocks_store(loop, {.directory = dir / "log", .anchor = dir / "anchor", .on_fatal = fail}));
    NodeId node;
    node.bytes[0] = 1;
    log = need(Log::open(loop, *store, {.node = node, .boot_id = "test", .software = "test"}));
  }
  UvLoop loop;
  std::unique_ptr<Store> store;
  std::unique_ptr<Log> log;
};

void print_metrics(const MqttIngest& ingest, const Broker& broker) {
  const auto m = ingest.metrics();
  const auto b = broker.report();
  std::printf(
      "captured=%llu duplicates=%llu skipped=%llu refused_full=%llu refused_size=%llu refused_invalid=%llu "
      "corrupt=%llu used=%llu names=%llu attached=%d broker_pid=%d broker_running=%d restarts=%llu taken_over=%d\n",
      static_cast<unsigned long long>(m.captured), static_cast<unsigned long long>(m.duplicates),
      static_cast<unsigned long long>(m.skipped), static_cast<unsigned long long>(m.refused_full),
      static_cast<unsigned long long>(m.refused_size), static_cast<unsigned long long>(m.refused_invalid),
      static_cast<unsigned long long>(m.corrupt), static_cast<unsigned long long>(m.ring_used_bytes),
      static_cast<unsigned long long>(m.window_names), m.broker_attached, b.pid, b.state == Broker::State::running,
      static_cast<unsigned long long>(b.restarts), b.taken_over);
  std::fflush(stdout);
}

int run(const fs::path& dir, const fs::path& plugin, std::size_t ring_bytes) {
  Node node(dir);
  std::unique_ptr<Broker> broker;
  std::unique_ptr<MqttIngest> ingest;
  ingest = need(MqttIngest::open(
      node.loop, *node.log,
      {.ring = dir / "ring",
       .wake_socket = dir / "ring.sock",
       .bytes = ring_bytes,
       .on_error = [](const Error& error) { std::fprintf(stderr, "mqtt_edge: %s\n", error.detail.c_str()); },
       .on_retained =
           [&] {
             if (broker) broker->save_retained();
           }}));
  BrokerOptions options;
  options.dir = dir / "mqtt";
  options.plugin = plugin;
  options.ring = dir / "ring";
  options.wake_socket = dir / "ring.sock";
  options.rules = need(capture_rules({"landfall/+/telemetry/#", "landfall/+/alarm/#", "plant/#"}, {}));
  options.port = 0;
  options.websocket_port = 0;
  options.on_line = [](std::string_view line) {
    std::fprintf(stderr, "mqtt_edge: %.*s\n", static_cast<int>(line.size()), line.data());
  };
  broker = need(Broker::start(node.loop, options));
  std::function<void()> wait_until_it_runs = [&] {
    const auto report = broker->report();
    if (report.state != Broker::State::running) {
      node.loop.after(std::chrono::milliseconds(5), wait_until_it_runs);
      return;
    }
    std::printf("ready %d %d %d\n", report.port, report.websocket_port, report.pid);
    std::fflush(stdout);
  };
  wait_until_it_runs();
  node.loop.on_signal(SIGTERM, [&] { broker->stop([&] { node.loop.stop(); }); });
  std::thread([&] {
    for (std::string line; std::getline(std::cin, line);) {
      node.loop.post([&] { print_metrics(*ingest, *broker); });
    }
  }).detach();
  node.loop.run();
  ingest.reset();
  broker.reset();
  node.log.reset();
  node.store.reset();
  std::_Exit(0);  // the thread that reads stdin is still there
}

int dump(const fs::path& dir) {
  Node node(dir);
  for (const auto& run : node.log->runs()) {
    for (const Stream stream : {Stream::alarm, Stream::telemetry}) {
      for (std::uint64_t from = 1;;) {
        const auto chunks = need(node.log->read({run, stream}, from, 1 << 20));
        if (chunks.empty()) break;
        for (const auto& stored : chunks) {
          const auto chunk = need(decode_chunk(stored.bytes));
          RowReader rows(chunk.rows);
          for (auto row = rows.next(); !row.empty(); row = rows.next()) {
            const auto e = need(decode_row(row));
            std::cout << to_string(stream) << '\t' << static_cast<int>(e.kind) << '\t' << e.retained << '\t'
                      << e.subject << '\t' << e.device << '\t' << e.source << '\t' << e.id << '\t' << e.content_type
                      << '\t' << e.payload << '\n';
          }
          from = stored.header.last + 1;
        }
      }
    }
  }
  std::cout << "end\n" << std::flush;
  return 0;
}

}  // namespace
}  // namespace landfall

int main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[1] : "";
  if (mode == "run" && argc == 5) return landfall::run(argv[2], argv[3], std::strtoull(argv[4], nullptr, 10));
  if (mode == "dump") return landfall::dump(argv[2]);
  return 2;
}
