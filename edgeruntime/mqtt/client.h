#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "edgeruntime/mqtt/access.h"
#include "edgeruntime/uv_loop.h"
#include "schemas/limits.h"
#include "schemas/result.h"

namespace landfall {

struct MqttClientOptions {
  BrokerLogin login;                              // Broker::login()
  std::function<void(std::string_view)> on_line;  // one line for the operator: connected, lost, messages dropped
};

// The edge's own client of its broker: publishes, never subscribes. What it publishes the plugin does not capture.
//
// While the broker is away messages wait, in their order: of retained ones the newest per topic, of the others the newest
// that fit (mqtt_client_queue_..., mqtt_client_retained_... of limits.h; the oldest are dropped and counted). It connects
// again by itself, after 50 ms at first, then up to 5 s. QoS 1 that was not answered is sent again.
//
// Loop thread only. The loop must outlive it. Destroying it drops what waits without calling `done`.
class MqttClient {
 public:
  // Errors: `out_of_range` (a login that cannot be one). A broker that does not answer yet is none.
  static Result<std::unique_ptr<MqttClient>> create(UvLoop& loop, MqttClientOptions options);
  ~MqttClient();

  struct Message {
    std::string_view topic, payload;
    int qos = 1;  // or 0
    bool retain = false;
  };
  // Runs on the loop, never inside publish: once the broker has answered (QoS 1) or the message was handed to the
  // socket (QoS 0). Errors: `unavailable` (dropped, or replaced by a newer retained one), `out_of_range` (not a topic, or
  // over mqtt_payload_bytes_max).
  using Done = std::function<void(Status)>;
  void publish(const Message& message, Done done = {});

  // To one client, whether or not it has subscribed: see MqttIngest::deaf_clients. Never retained. `done` says that the
  // broker has it; a client that has gone misses it.
  void publish_to(std::string_view client_id, const Message& message, Done done = {});

  struct Metrics {
    bool connected = false;
    std::uint64_t published = 0;  // answered, or QoS 0 handed to the socket
    std::uint64_t dropped = 0;    // too many waited
    std::uint64_t replaced = 0;   // by a newer retained message of the topic, unsent
    std::uint64_t waiting = 0, waiting_bytes = 0;
    std::uint64_t connects = 0;
  };
  Metrics metrics() const;

 private:
  struct State;
  explicit MqttClient(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace landfall
