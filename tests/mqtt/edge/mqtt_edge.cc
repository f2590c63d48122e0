// The edge of the MQTT tests, as a process that can be killed: loop, store, log, broker, ingest and client of production,
// without network and twins. A request becomes an event of source "request", and so does an alarm whose payload holds the
// word; requests and notices are printed.
//
//   mqtt_edge run DIR PLUGIN RING_BYTES   "ready PORT WEBSOCKET_PORT BROKER_PID" once the broker runs; a line read from
//                                         stdin is a command (commands below), an empty one prints the metrics; SIGTERM
//                                         ends it and its broker. DIR/passwords is the password file, if it is there
//   mqtt_edge dump DIR                    every event of own runs: stream, kind, retained, subject, device, source, id,
//                                         content type and payload, tabs between

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "edgeruntime/mqtt/broker.h"
#include "edgeruntime/mqtt/client.h"
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

void print_metrics(const MqttIngest& ingest, const Broker& broker, const MqttClient& client) {
  const auto m = ingest.metrics();
  const auto b = broker.report();
  const auto c = client.metrics();
  const std::pair<const char*, std::uint64_t> values[] = {{"captured", m.captured},
                                                          {"duplicates", m.duplicates},
                                                          {"skipped", m.skipped},
                                                          {"refused_full", m.refused_full},
                                                          {"refused_size", m.refused_size},
                                                          {"refused_invalid", m.refused_invalid},
                                                          {"refused_access", m.refused_access},
                                                          {"corrupt", m.corrupt},
                                                          {"used", m.ring_used_bytes},
                                                          {"names", m.window_names},
                                                          {"attached", m.broker_attached},
                                                          {"requests", m.requests},
                                                          {"deaf", m.deaf_clients},
                                                          {"control", m.control_version == b.control_version},
                                                          {"broker_pid", b.pid},
                                                          {"broker_running", b.state == Broker::State::running},
                                                          {"restarts", b.restarts},
                                                          {"taken_over", b.taken_over},
                                                          {"connected", c.connected},
                                                          {"connects", c.connects},
                                                          {"published", c.published},
                                                          {"replaced", c.replaced},
                                                          {"dropped", c.dropped},
                                                          {"waiting", c.waiting}};
  std::printf("metrics");
  for (const auto& [name, value] : values) std::printf(" %s=%llu", name, static_cast<unsigned long long>(value));
  std::printf("\n");
  std::fflush(stdout);
}

using Fields = std::vector<std::string>;

Fields split(const std::string& line) {
  Fields fields;
  std::istringstream in(line);
  for (std::string field; std::getline(in, field, '\t');) fields.push_back(field);
  return fields;
}

void print(const Fields& fields) {
  std::string line;
  for (const auto& field : fields) line += (line.empty() ? "" : "\t") + field;
  std::puts(line.c_str());
  std::fflush(stdout);
}

Fields describe(const char* word, const CapturedMessage& m) {
  return {word,
          std::to_string(static_cast<int>(m.outcome)),
          std::string(m.client),
          std::string(m.user),
          std::to_string(m.subscriptions),
          std::string(m.topic),
          std::string(m.payload)};
}

//   publish QOS RETAIN TOPIC PAYLOAD    prints "done", the beginning of PAYLOAD and what went wrong
//   to CLIENT TOPIC PAYLOAD             the same
//   access MODE (NAME PASSWORD device|mapper TOPIC)*
//   rules FILTER*
//   deaf DEVICE                         prints "deaf CLIENT*"
void obey(const Fields& words, Broker& broker, MqttIngest& ingest, MqttClient& client) {
  const auto say_done = [](const std::string& payload) {
    return [payload = payload.substr(0, 20)](const Status& status) {
      print({"done", payload, status.ok() ? "" : status.error().detail});
    };
  };
  if (words[0] == "publish") {
    client.publish({words[3], words[4], std::stoi(words[1]), words[2] == "1"}, say_done(words[4]));
  } else if (words[0] == "to") {
    client.publish_to(words[1], {words[2], words[3], 1, false}, say_done(words[3]));
  } else if (words[0] == "access") {
    BrokerAccess access;
    access.mode = words[1] == "closed" ? BrokerAccess::Mode::closed : BrokerAccess::Mode::open;
    for (std::size_t i = 2; i + 3 < words.size(); i += 4) {
      ClientAccess one{.name = words[i], .password_hash = make_password_hash(words[i + 1], "salt-of-a-test")};
      one.is_mapper = words[i + 2] == "mapper";
      if (words[i + 3] != "-") one.topics = {words[i + 3]};
      access.clients.push_back(std::move(one));
    }
    const auto set = broker.set_access(std::move(access));
    print({"set", set.ok() ? "" : set.error().detail});
  } else if (words[0] == "rules") {
    const auto set = broker.set_rules(need(capture_rules({words.begin() + 1, words.end()}, {})));
    print({"set", set.ok() ? "" : set.error().detail});
  } else if (words[0] == "deaf") {
    Fields answer{"deaf"};
    for (auto& id : ingest.deaf_clients(words[1])) answer.push_back(id);
    print(answer);
  }
}

// Stores what came and then is done with it, as twins are.
OnRequest handler(Log& log) {
  return [&log](const CapturedMessage& message, std::vector<Log::Meta> position, const std::function<void()>& done) {
    print(describe("request", message));
    Event event;
    event.subject = message.topic;
    event.source = "request";
    event.id = message.payload;
    event.payload = message.payload;
    log.append(Stream::telemetry, {&event, 1}, std::move(position), [done](const Result<Log::Appended>& result) {
      if (!result.ok()) fail(result.error());
      done();
    });
  };
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
           },
       .on_request = handler(*node.log),
       .on_notice =
           [](const CapturedMessage& message, const std::vector<Log::Meta>&, const std::function<void()>& done) {
             print(describe("notice", message));
             done();
           },
       .is_request =
           [](const CapturedMessage& message) {
             return message.stream == Stream::alarm && message.payload.find("request") != std::string_view::npos;
           }}));
  BrokerOptions options;
  options.dir = dir / "mqtt";
  options.plugin = plugin;
  options.ring = dir / "ring";
  options.wake_socket = dir / "ring.sock";
  options.rules = need(capture_rules({"landfall/+/telemetry/#", "landfall/+/alarm/#", "plant/#"},
                                     {{"landfall/+/command/+/result", "power"}}));
  if (fs::exists(dir / "passwords")) options.password_file = dir / "passwords";
  options.port = 0;
  options.websocket_port = 0;
  options.on_line = [](std::string_view line) {
    std::fprintf(stderr, "mqtt_edge: %.*s\n", static_cast<int>(line.size()), line.data());
  };
  broker = need(Broker::start(node.loop, options));
  auto client = need(MqttClient::create(node.loop, {.login = broker->login(), .on_line = options.on_line}));
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
      node.loop.post([&, line] {
        if (line.empty()) return print_metrics(*ingest, *broker, *client);
        obey(split(line), *broker, *ingest, *client);
      });
    }
  }).detach();
  node.loop.run();
  client.reset();
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
