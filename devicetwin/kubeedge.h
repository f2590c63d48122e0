#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "devicetwin/devices.h"
#include "devicetwin/twins.h"
#include "eventlog/loop.h"

namespace landfall {

// One MQTT message to a device or its mapper.
struct DeviceMessage {
  std::string topic, payload;
  bool retain = false;
  int qos = 1;
  std::string to_client;  // only to this client id, subscribed or not; empty: to subscribers
};

// KubeEdge's device contract over twins ($hw/events/..., README.md names every topic): twin/update and its result,
// document and delta, twin/get, state/update, membership, in the one-level and the two-level form of a device's name,
// answered in the form that was asked. Where KubeEdge itself kills or deafens a mapper, this does better.
//
// No I/O: messages in, messages out. Loop thread only; what it is given must outlive it.
class KubeEdge {
 public:
  struct Options {
    std::string node_name;  // of $hw/events/node/<name>/...
    std::function<void(DeviceMessage)> send;
    std::function<std::string()> make_event_id;  // a fresh UUID, from Loop::random()
    // True for a device that this node runs; the others do not exist here. None: all that are registered.
    std::function<bool(const DeviceRecord&)> runs = {};
  };
  KubeEdge(Loop& loop, Twins& twins, Devices& devices, Options options);
  ~KubeEdge();

  static bool handles(std::string_view topic);
  // A message that handles() is true for. `position` rides in the batch of what it writes (or alone); `done` is called
  // once, when it is durable and answered. Never fails: what is wrong with it is answered as the contract says.
  void on_message(std::string_view topic, std::string_view client, std::string_view payload,
                  std::vector<Log::Meta> position, std::function<void()> done);
  // A client subscribed: one that asks for a device's documents or deltas and never gets them by itself hears the present
  // state.
  void on_subscribed(std::string_view client, std::string_view filter);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace landfall
