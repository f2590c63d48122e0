#pragma once

#include <functional>
#include <memory>
#include <string>

#include "devicetwin/alarms.h"
#include "devicetwin/commands.h"
#include "devicetwin/device_topics.h"
#include "devicetwin/devices.h"
#include "devicetwin/kubeedge.h"
#include "devicetwin/twins.h"
#include "edgeruntime/config.h"
#include "edgeruntime/metrics.h"
#include "edgeruntime/mqtt/broker.h"
#include "edgeruntime/mqtt/client.h"
#include "edgeruntime/mqtt/ingest.h"

namespace landfall {

// The edge's MQTT side as a whole: the broker, what its plugin captured on the way into the log, what devices ask of
// their twins, what the node tells them, and who may connect. Settings and devices change while the broker runs.
//
// Loop thread only. What it is given must outlive it.
class EventBus {
 public:
  struct Options {
    MqttConfig config;
    std::filesystem::path dir;  // of the broker and the ring; made where missing
    std::string node_name;      // in KubeEdge's $hw/events/node/<name>/...
    std::function<void(std::string)> audit;
    // True for a device that this node runs: it has a place in the broker's access list.
    std::function<bool(const DeviceRecord&)> runs;
  };
  struct Parts {
    Twins& twins;
    Devices& devices;
    Commands& commands;
    Alarms& alarms;
  };
  static Result<std::unique_ptr<EventBus>> open(UvLoop& loop, Log& log, Parts parts, Options options);
  ~EventBus();

  void send_command(const CommandView& command);
  void stop();
  // The broker is gone and nothing that it took is left behind in the ring.
  bool stopped() const;
  void add_status(NodeStatus& status) const;

 private:
  EventBus(UvLoop& loop, Parts parts, Options options);
  Status open_broker(Log& log);
  void take_request(const CapturedMessage& message, std::vector<Log::Meta> position, std::function<void()> done);
  void take_notice(const CapturedMessage& message, std::function<void()> done);
  void send(const DeviceMessage& message);
  // Whether devices of this edge hear of it. One that is for no node in particular is anybody's.
  bool serves(const DeviceRecord& record) const { return record.node.empty() || options_.runs(record); }
  bool serves(const std::string& device) const;
  Result<BrokerAccess> access() const;
  void access_changed();

  UvLoop& loop_;
  Parts parts_;
  Options options_;
  std::unique_ptr<MqttIngest> ingest_;
  std::unique_ptr<Broker> broker_;
  std::unique_ptr<MqttClient> client_;
  std::unique_ptr<KubeEdge> kubeedge_;
  std::unique_ptr<DeviceTopics> topics_;
  bool gone_ = true, access_due_ = false;
  std::string access_fault_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace landfall
