#include "edgeruntime/mqtt/broker_system.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "schemas/limits.h"

namespace landfall {
namespace fs = std::filesystem;
namespace {

// Beyond, the broker closes the connection before it reads the packet, and nobody counts it. Far above what we take, so
// that our plugin sees, counts and logs what devices really send too large, such as a camera's picture.
constexpr std::size_t packet_bytes_max = 16 * mqtt_payload_bytes_max;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
std::optional<Address> address_of(const std::string& host, std::uint16_t port) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.size = sizeof(*v4);
  } else if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.size = sizeof(*v6);
  } else {
    return std::nullopt;
  }
  return address;
}

}  // namespace

std::optional<std::uint16_t> try_bind(const std::string& host, std::uint16_t port) {
  auto address = address_of(host, port);
  const int fd = ::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  std::optional<std::uint16_t> bound;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address->storage), address->size) == 0 && ::listen(fd, 1) == 0) {
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address->storage), &address->size);
    // Both families have the port at the same place.
    bound = ntohs(reinterpret_cast<sockaddr_in*>(&address->storage)->sin_port);
  }
  ::close(fd);
  return bound;
}

bool answers(const std::string& host, std::uint16_t port) {
  const auto address = address_of(host, port);
  const int fd = ::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address->storage), address->size) == 0;
  pollfd wait{fd, POLLOUT, 0};
  int failed = 0;
  socklen_t size = sizeof(failed);
  const bool up = connected || (errno == EINPROGRESS && ::poll(&wait, 1, 0) == 1 &&
                                ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) == 0 && failed == 0);
  ::close(fd);
  return up;
}

bool is_ip_address(const std::string& host) { return address_of(host, 0).has_value(); }

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

bool runs_with(int pid, const std::vector<std::string>& arguments) {
  std::string wanted;
  for (const auto& argument : arguments) wanted += argument + '\0';
  return read_text("/proc/" + std::to_string(pid) + "/cmdline") == wanted;
}
int find_process(const std::vector<std::string>& arguments) {
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator("/proc", failed)) {
    const int pid = std::atoi(entry.path().filename().c_str());
    if (pid > 0 && runs_with(pid, arguments)) return pid;
  }
  return 0;
}

Result<fs::path> find_program(const std::string& name) {
  std::vector<fs::path> places;
  if (name.find('/') != name.npos) {
    places.emplace_back(name);
  } else {
    std::istringstream path(::getenv("PATH") == nullptr ? "" : ::getenv("PATH"));
    for (std::string folder; std::getline(path, folder, ':');) places.push_back(fs::path(folder) / name);
    places.push_back(fs::path("/usr/sbin") / name);
    places.push_back(fs::path("/usr/local/sbin") / name);
  }
  for (const auto& place : places) {
    if (::access(place.c_str(), X_OK) == 0 && fs::is_regular_file(place)) return place;
  }
  return Error{Code::not_found,
               "broker program \"" + name + "\" not found: install mosquitto, or name it in [mqtt] broker"};
}

std::string broker_config(const BrokerOptions& options, const BrokerPorts& ports) {
  const auto path = [&](const char* name) { return (options.dir / name).string(); };
  std::ostringstream out;
  out << "# Written by landfall at every start: changes here are lost.\n"
         "listener "
      << ports.mqtt << ' ' << options.listen << '\n';
  if (ports.websocket != 0) out << "listener " << ports.websocket << ' ' << options.listen << "\nprotocol websockets\n";
  // Who may connect is the plugin's to say.
  out << "allow_anonymous false\n";
  // Mosquitto started by root would change to its own user, who may not open our ring.
  if (const passwd* self = ::getpwuid(::geteuid()); self != nullptr) out << "user " << self->pw_name << '\n';
  // Not message_size_limit: the broker answers an MQTT 3.1.1 client whose message is over that with a PUBACK.
  out << "max_packet_size " << packet_bytes_max
      << "\n"
         "max_inflight_messages 100\n"
         "max_queued_messages 1000\n"
         "max_queued_bytes 4194304\n"
         "max_connections 1000\n"
         "memory_limit 268435456\n"
         "check_retain_source true\n"
         "persistent_client_expiration 14d\n"
         "set_tcp_nodelay true\n"
         "sys_interval 10\n"
         "persistence true\n"
         "persistence_location "
      << options.dir.string()
      << "/\n"
         "persistence_file retained.db\n"
         "autosave_interval 1800\n"
         "log_dest file "
      << path("broker.log")
      << "\n"
         "log_timestamp_format %Y-%m-%dT%H:%M:%S\n"
         "log_type error\nlog_type warning\nlog_type notice\n"
         "connection_messages false\n"
      << Broker::plugin_config(options);
  return std::move(out).str();
}

Result<std::vector<ClientAccess>> read_password_file(const fs::path& file) {
  std::ifstream in(file);
  if (!in) return Error{Code::not_found, "password file " + file.string() + ": " + std::strerror(errno)};
  std::vector<ClientAccess> users;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || line.starts_with('#')) continue;
    const auto colon = line.find(':');
    ClientAccess user{.name = line.substr(0, colon), .is_mapper = true};
    if (colon != line.npos) user.password_hash = line.substr(colon + 1);
    auto checked = check_password_hash(user.password_hash);
    if (!checked.ok()) return Error{checked.error()}.in(file.string() + ", line " + std::to_string(number));
    users.push_back(std::move(user));
  }
  return users;
}

}  // namespace landfall
