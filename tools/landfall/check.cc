// landfall check: what would keep this node from working, and how to mend it.

#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "edgeruntime/address.h"
#include "edgeruntime/config.h"
#include "edgeruntime/http_api.h"
#include "edgeruntime/identity.h"
#include "edgeruntime/metrics.h"
#include "edgeruntime/mqtt/broker.h"
#include "tools/landfall/commands.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

constexpr std::int64_t day_ms = 24LL * 3600 * 1000;

enum class Verdict { good, note, bad };

class Findings {
 public:
  void add(Verdict verdict, std::string what, std::string detail) {
    lines_.push_back({verdict, std::move(what), std::move(detail)});
  }
  bool any_bad() const {
    return std::ranges::any_of(lines_, [](const Line& line) { return line.verdict == Verdict::bad; });
  }
  void print(bool json) const {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& [verdict, what, detail] : lines_) {
      const char* word = verdict == Verdict::good ? "ok" : verdict == Verdict::note ? "note" : "wrong";
      list.push_back({{"verdict", word}, {"what", what}, {"detail", detail}});
      if (!json) std::printf("%-6s %-14s %s\n", word, what.c_str(), detail.c_str());
    }
    if (json)
      std::cout << nlohmann::ordered_json{{"ok", !any_bad()}, {"findings", list}}.dump(
                       -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
                << "\n";
  }

 private:
  struct Line {
    Verdict verdict;
    std::string what, detail;
  };
  std::vector<Line> lines_;
};

struct AddressList {
  addrinfo* first = nullptr;
  ~AddressList() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
};

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Empty where the address can be bound now, else why not.
std::string why_not_bindable(const std::string& host, std::uint16_t port) {
  AddressList list;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  if (const int e = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list.first); e != 0)
    return ::gai_strerror(e);
  const Socket socket(::socket(list.first->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  return ::bind(socket.fd(), list.first->ai_addr, list.first->ai_addrlen) == 0 ? "" : std::strerror(errno);
}

// Empty where somebody accepts a TCP connection within three seconds.
std::string why_not_reachable(const std::string& host, std::uint16_t port) {
  AddressList list;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  if (const int e = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list.first); e != 0)
    return ::gai_strerror(e);
  std::string why = "no address";
  for (auto* at = list.first; at != nullptr; at = at->ai_next) {
    const Socket socket(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(socket.fd(), at->ai_addr, at->ai_addrlen) == 0) return "";
    if (errno == EINPROGRESS) {
      pollfd ready{socket.fd(), POLLOUT, 0};
      int error = ETIMEDOUT;
      socklen_t size = sizeof error;
      if (::poll(&ready, 1, 3000) == 1) ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error == 0) return "";
      why = std::strerror(error);
    } else {
      why = std::strerror(errno);
    }
  }
  return why;
}

void check_folder(const NodePaths& paths, Findings& out) {
  struct stat info {};
  if (::stat(paths.dir.c_str(), &info) != 0)
    return out.add(Verdict::bad, "folder", paths.dir.string() + ": " + std::strerror(errno));
  if (::access(paths.dir.c_str(), R_OK | W_OK | X_OK) != 0) {
    out.add(Verdict::bad, "folder", "not writable by this user: chown it to the user who runs the node");
  } else if ((info.st_mode & 077) != 0) {
    out.add(Verdict::bad, "folder", "open to other users: chmod 700 " + paths.dir.string());
  } else {
    out.add(Verdict::good, "folder", paths.dir.string());
  }
  struct statvfs space {};
  if (::statvfs(paths.dir.c_str(), &space) != 0) return;
  const auto free = static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize) / (1 << 20);
  char text[64];
  std::snprintf(text, sizeof text, "%.0f MiB free", free);
  out.add(free < 256    ? Verdict::bad
          : free < 2048 ? Verdict::note
                        : Verdict::good,
          "disk", text + std::string(free < 256 ? ": make room before the log stops" : ""));
}

void check_certificate(const std::string& what, const Result<Identity>& identity, Findings& out) {
  if (!identity) return out.add(Verdict::bad, what, identity.error().detail);
  const auto now = unix_ms_now();
  const auto proven = verify_chain(identity->chain_pem, identity->bundle_pem, identity->trust_domain, now);
  if (!proven) return out.add(Verdict::bad, what, proven.error().detail);
  const auto expires = expires_unix_ms(identity->chain_pem);
  if (!expires) return out.add(Verdict::bad, what, expires.error().detail);
  const auto days = (*expires - now) / day_ms;
  out.add(days < 7 ? Verdict::note : Verdict::good, what,
          to_string(proven->node) + " in " + identity->trust_domain + ", good until " + rfc3339(*expires));
}

void check_clock(Findings& out) {
  timex state{};
  const bool kept = ::adjtimex(&state) != TIME_ERROR;
  out.add(kept ? Verdict::good : Verdict::note, "clock",
          kept ? "synchronised"
               : "nobody synchronises it (by the kernel's word): certificates and event times depend on it; run chrony "
                 "or systemd-timesyncd");
}

void check_port(const std::string& what, const std::string& host, std::uint16_t port, bool running, Findings& out) {
  const auto why = why_not_bindable(host, port);
  const std::string address = host + ":" + std::to_string(port);
  if (why.empty()) {
    out.add(running ? Verdict::bad : Verdict::good, what,
            address + (running ? ": the node runs but does not listen here: look at its log lines" : ": free"));
  } else if (running) {
    out.add(Verdict::good, what, address + ": in use, as the node runs");
  } else {
    out.add(Verdict::bad, what, address + ": " + why + ": find who has it with `ss -ltnp`, or set another port");
  }
}

// "2.0.11" of "mosquitto version 2.0.11"; empty where the program does not say.
std::string broker_version(const std::string& program) {
  const std::string command = "'" + program + "' -h 2>/dev/null";
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  char line[256] = "";
  if (!pipe || std::fgets(line, sizeof line, pipe.get()) == nullptr) return {};
  const std::string text(line);
  const std::string_view before = "mosquitto version ";
  const auto at = text.find(before);
  return at == std::string::npos ? std::string()
                                 : text.substr(at + before.size(), text.find_first_of("\r\n", at) - at - before.size());
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
  std::string folders = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
  folders += ":/usr/sbin:/usr/local/sbin";
  for (std::size_t begin = 0; begin <= folders.size();) {
    const auto end = std::min(folders.find(':', begin), folders.size());
    const auto path = folders.substr(begin, end - begin) + "/" + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
    begin = end + 1;
  }
  return {};
}

void check_external_broker(const NodePaths& paths, const MqttConfig& mqtt, const std::filesystem::path& plugin,
                           Findings& out) {
  auto rules = capture_rules(mqtt.capture, mqtt.durability);
  if (!rules) return out.add(Verdict::bad, "mosquitto", rules.error().detail);
  BrokerOptions options;
  options.dir = paths.mqtt();
  options.plugin = plugin;
  options.ring = paths.mqtt() / "ring";
  options.wake_socket = paths.mqtt() / "wake.sock";
  options.rules = std::move(*rules);
  out.add(Verdict::note, "mosquitto",
          "external: its own configuration needs these lines:\n" + Broker::plugin_config(options));
}

void check_broker(const NodePaths& paths, const MqttConfig& mqtt, bool running, Findings& out) {
  std::filesystem::path plugin = mqtt.plugin;
  if (plugin.empty()) {
    const auto found = Broker::find_plugin();
    if (!found) return out.add(Verdict::bad, "plugin", found.error().detail);
    plugin = *found;
  }
  out.add(::access(plugin.c_str(), R_OK) == 0 ? Verdict::good : Verdict::bad, "plugin", plugin.string());
  if (mqtt.broker == "external") return check_external_broker(paths, mqtt, plugin, out);
  const auto program = find_program(mqtt.broker);
  if (program.empty())
    return out.add(Verdict::bad, "mosquitto",
                   "'" + mqtt.broker + "' not found: apt-get install mosquitto, or set [mqtt] broker to its path");
  const auto version = broker_version(program);
  out.add(version.starts_with("2.") ? Verdict::good : Verdict::bad, "mosquitto",
          program + " " + (version.empty() ? "(does not tell its version)" : version) +
              (version.starts_with("2.") ? "" : ": Landfall needs 2.0 or newer"));
  const bool loopback = mqtt.listen.starts_with("127.") || mqtt.listen == "::1" || mqtt.listen == "localhost";
  if (!loopback && mqtt.password_file.empty()) {
    out.add(Verdict::bad, "mqtt",
            mqtt.listen + ": needs passwords: make a file with mosquitto_passwd and name it in [mqtt] password_file");
  }
  check_port("mqtt", mqtt.listen, static_cast<std::uint16_t>(mqtt.port), running, out);
  if (mqtt.websocket_port != 0)
    check_port("websocket", mqtt.listen, static_cast<std::uint16_t>(mqtt.websocket_port), running, out);
}

void check_edge(const NodePaths& paths, const EdgeConfig& config, bool running, Findings& out) {
  const auto identity = load_identity(paths.identity());
  if (!identity && identity.error().code == Code::not_found) {
    out.add(Verdict::note, "certificate", "not enrolled yet: the edge does it by itself when it reaches the hub");
  } else {
    check_certificate("certificate", identity, out);
  }
  if (config.mqtt.enabled) check_broker(paths, config.mqtt, running, out);
  const auto hub = parse_address(config.hub_address);
  if (!hub) return out.add(Verdict::bad, "hub", hub.error().detail);
  const auto why = why_not_reachable(hub->host, hub->port);
  // No link is an edge's ordinary life.
  out.add(why.empty() ? Verdict::good : Verdict::note, "hub",
          config.hub_address + (why.empty() ? ": reachable" : ": not reachable at present (" + why + ")"));
}

void check_hub(const NodePaths& paths, const HubConfig& config, bool running, Findings& out) {
  check_certificate("certificate", load_identity(paths.identity()), out);
  const auto root = load_trust_root(paths.identity());
  if (!root) out.add(Verdict::bad, "trust root", root.error().detail);
  if (const auto listen = parse_address(config.listen)) check_port("listen", listen->host, listen->port, running, out);
  std::string_view rest = config.kafka.bootstrap;
  while (!rest.empty()) {
    const auto comma = std::min(rest.find(','), rest.size());
    const std::string broker(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    const auto address = parse_address(broker);
    const auto why = address ? why_not_reachable(address->host, address->port) : address.error().detail;
    out.add(why.empty() ? Verdict::good : Verdict::bad, "kafka",
            broker + (why.empty() ? ": reachable" : ": " + why + ": edges keep their events meanwhile"));
  }
}

int check(const std::string& dir, bool json) {
  const NodePaths paths{dir};
  Findings findings;
  check_folder(paths, findings);
  std::vector<std::string> faults;
  const auto config = load_config(paths.config(), faults);
  if (!config && faults.empty()) faults.push_back(config.error().detail);
  for (const auto& fault : faults) findings.add(Verdict::bad, "config", fault);
  if (config) findings.add(Verdict::good, "config", paths.config().string());
  const auto health = call_api(paths.socket(), "GET", "/healthz", {}, std::chrono::seconds(5));
  const bool running = health.ok();
  if (!running) {
    findings.add(health.error().code == Code::not_found ? Verdict::note : Verdict::bad, "node", health.error().detail);
  } else if (health->status == 200) {
    findings.add(Verdict::good, "node", "runs and is healthy");
  } else {
    const auto answer = nlohmann::json::parse(health->body, nullptr, false);
    findings.add(Verdict::bad, "node",
                 "runs and is not healthy: " +
                     (answer.is_object() ? answer.value("reasons", nlohmann::json()).dump() : health->body));
  }
  check_clock(findings);
  if (config) {
    if (const auto* hub = std::get_if<HubConfig>(&*config)) {
      check_hub(paths, *hub, running, findings);
    } else {
      check_edge(paths, std::get<EdgeConfig>(*config), running, findings);
    }
  }
  findings.print(json);
  return findings.any_bad() ? 1 : 0;
}

}  // namespace

void add_check(CLI::App& program, int& exit_code) {
  auto* command = program.add_subcommand(
      "check", "Explains what is wrong with a node, running or not, and how to mend it. 1 where anything is.");
  auto dir = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("--dir", *dir, "The node's folder")->required();
  command->add_flag("--json", *json, "Print a JSON object");
  command->footer("Example: landfall check --dir ~/edge");
  command->callback([dir, json, &exit_code] { exit_code = check(*dir, *json); });
}

}  // namespace landfall
