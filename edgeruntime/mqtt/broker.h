#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "edgeruntime/mqtt/access.h"
#include "edgeruntime/mqtt/capture.h"
#include "edgeruntime/uv_loop.h"
#include "schemas/result.h"

namespace landfall {

struct BrokerOptions {
  std::filesystem::path dir;                // for its configuration, log, retained messages and pid; made where missing
  std::string program = "mosquitto";        // a name looked up in PATH and /usr/sbin, or a path; "external": see below
  std::filesystem::path plugin;             // empty: find_plugin()
  std::filesystem::path ring, wake_socket;  // the same two paths as in MqttIngestOptions
  std::vector<CaptureRule> rules;
  BrokerAccess access;
  std::string client_id = "landfall-edge";  // of the edge's own client, never "eventbus": landfall-edge-<node>
  std::string listen = "127.0.0.1";
  std::uint16_t port = 1883;  // 0: a free one, the same again after a restart
  std::optional<std::uint16_t> websocket_port;
  std::filesystem::path password_file;  // of mosquitto_passwd; of people and programs that may use every topic
  std::function<void(std::string_view)> on_line;  // one line for the operator: started, died, taken over
};

// The MQTT broker, a Mosquitto with our plugin, as a process of its own. It outlives a killed edge on purpose: devices
// go on publishing into the ring. The next edge takes it over if it still runs with the configuration that this edge
// would give it, and replaces it if not. Rules, devices and passwords are not in that configuration: the plugin reads them
// from a file of its own (control.h) whenever it changes, so that no change of them ends a connection that may stay; a
// broker that is restarted costs the mappers of KubeEdge their subscriptions. A broker that dies is started again with back-off (0.2 s to 10 s).
//
// "external" starts nothing: the operator's own Mosquitto loads our plugin with the lines of plugin_config().
//
// Retained messages live in Mosquitto's own store, saved a second after they changed (save_retained) and at its stop.
//
// Loop thread only. The loop must outlive it. Destroying it without stop() leaves the broker running.
class Broker {
 public:
  // Starts or takes over. Errors: `not_found` (no program, no plugin), `conflict` (port in use), `denied` (anonymous
  // access for other machines), `disk`, `out_of_range`; each with the remedy.
  static Result<std::unique_ptr<Broker>> start(UvLoop& loop, BrokerOptions options);
  ~Broker();

  enum class State : std::uint8_t { external, starting, running, backing_off, stopping, stopped };
  struct Report {
    State state;
    int pid = 0;              // 0: none
    bool taken_over = false;  // from an earlier edge
    std::uint16_t port = 0, websocket_port = 0;
    std::uint64_t restarts = 0;         // deaths that we did not ask for
    std::string last_failure;           // how the last one ended
    std::uint64_t control_version = 0;  // written; the plugin goes by it once MqttIngest::Metrics says the same
  };
  Report report() const;

  // What the plugin goes by from its next look on, 0.1 s at most. A client whose name or password is no longer good is
  // disconnected. Errors: `denied` (mode open for other machines), `out_of_range` (a name or rule that is none, over
  // broker_clients_max), `disk`; what was before stays then.
  Status set_access(BrokerAccess access);
  Status set_rules(std::vector<CaptureRule> rules);

  // For the edge's own client: the plugin knows it by these, lets it do everything and captures nothing of it.
  const BrokerLogin& login() const;

  // SIGTERM, and SIGKILL five seconds later. `stopped` runs on the loop once the process is gone.
  void stop(std::function<void()> stopped);

  // Has the broker write its retained messages to disk, at most once a second.
  void save_retained();

  // Beside the landfall program, in its lib folder or in the build tree. Errors: `not_found`.
  static Result<std::filesystem::path> find_plugin();
  // The lines of mosquitto.conf that load the plugin.
  static std::string plugin_config(const BrokerOptions& options);

 private:
  struct Process;
  explicit Broker(std::shared_ptr<Process> process);
  std::shared_ptr<Process> process_;
};

std::string_view to_string(Broker::State state);

}  // namespace landfall
