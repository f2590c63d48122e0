#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "schemas/limits.h"
#include "schemas/result.h"

namespace landfall {

// The settings of a node, read from <dir>/landfall.toml. One struct per role; the comments that users read are in the
// field tables of config.cc, from which the default file is written and the file is read.

struct ApiConfig {
  std::string listen;  // address and port; empty: only the unix socket
  std::string tokens;  // file in the node's folder; empty: whoever reaches `listen`, a loopback address, may use it
};

struct LogConfig {
  std::uint64_t memory_bytes = 10 << 20;
  bool anchor_strict = false;
};

struct KafkaConfig {
  std::string bootstrap;  // empty: the embedded log is the log
  std::uint64_t shards = 4;
  std::uint64_t replication = 0;  // 0: the broker's default
  std::string topic_prefix = "landfall";
  std::map<std::string, std::string> options;  // handed to librdkafka
};

struct HubConfig {
  std::string name = "hub";
  std::string listen = "0.0.0.0:7443";
  std::string advertise = "localhost:7443";  // what invites tell edges to dial
  std::string trust_domain = "landfall.local";
  ApiConfig api;
  KafkaConfig kafka;
  LogConfig log;
};

struct MqttConfig {
  bool enabled = true;
  std::string listen = "127.0.0.1";
  std::uint64_t port = 1883;
  std::uint64_t websocket_port = 9001;  // 0: no WebSocket listener
  std::string broker = "mosquitto";     // program, or "external"
  std::string plugin;                   // empty: beside the landfall program or in its lib folder
  std::string password_file;            // empty: none, good for loopback only
  std::vector<std::string> capture = {"landfall/+/telemetry/#", "landfall/+/alarm/#"};
  std::map<std::string, std::string> durability;  // topic filter -> process | power
  std::string device_profile;                     // KubeEdge's deviceProfile.json, kept up to date; empty: none
};

struct LinkConfig {
  std::uint64_t bytes_per_second = 0;  // 0: measured
  std::chrono::seconds heartbeat = session_heartbeat;
};

struct EdgeConfig {
  std::string name = "edge";
  std::string hub_address;
  MqttConfig mqtt;
  LinkConfig link;
  ApiConfig api;
  LogConfig log;
};

using NodeConfig = std::variant<HubConfig, EdgeConfig>;

// Where a node keeps what, below its --dir.
struct NodePaths {
  std::filesystem::path dir;
  std::filesystem::path config() const { return dir / "landfall.toml"; }
  std::filesystem::path socket() const { return dir / "landfall.sock"; }
  std::filesystem::path identity() const { return dir / "identity"; }
  std::filesystem::path store() const { return dir / "log"; }
  std::filesystem::path anchor() const { return dir / "anchor"; }
  std::filesystem::path mqtt() const { return dir / "mqtt"; }
};

// Reads and checks a whole file: the role is that of its [hub] or [edge] table. Every fault found is a line of `faults`
// ("landfall.toml:12: unknown key 'listn' in [hub]: did you mean 'listen'?").
// Errors: `not_found` (no file), `disk`, `out_of_range` with the first fault.
Result<NodeConfig> load_config(const std::filesystem::path& file, std::vector<std::string>& faults);
Result<NodeConfig> load_config(const std::filesystem::path& file);
Result<NodeConfig> parse_config(std::string_view text, std::string_view file_name, std::vector<std::string>& faults);

// The commented file that `init` writes: every key with its meaning, unit, range and value. It parses back to `config`.
std::string config_text(const HubConfig& config);
std::string config_text(const EdgeConfig& config);

}  // namespace landfall
