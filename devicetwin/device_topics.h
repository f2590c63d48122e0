#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "devicetwin/alarms.h"
#include "devicetwin/commands.h"
#include "devicetwin/kubeedge.h"
#include "devicetwin/twins.h"

namespace landfall {

// Landfall's own device topics over twins, alarms and commands, JSON bodies (schemas/asyncapi.yaml):
//   landfall/<device>/twin/desired        in and out (retained): {"property":value|null}
//   landfall/<device>/twin/reported       in: {"property":value|null} or {"property":{"value":...,"status":...}}
//   landfall/<device>/twin/delta          out, retained: what is desired and not reported as applied; empty when in sync
//   landfall/<device>/twin/get            in; landfall/<device>/twin/state out: the whole twin
//   landfall/<device>/twin/error          out: RFC 9457 problem details for what was refused
//   landfall/<device>/command             out: {"id","name","arguments","expires"}
//   landfall/<device>/command/<id>/result in: {"succeeded":bool,"result":...}
//   landfall/<device>/alarm/<name>        in: {"active":bool,"severity","text"}: raises or clears it
// <device> has its '/' written as %2F, its '#' as %23.
//
// No I/O, as KubeEdge. What it is given must outlive it, but not its own calls to them.
class DeviceTopics {
 public:
  struct Options {
    std::function<void(DeviceMessage)> send;
    // True for a device that this node runs: the twins of others are not published here. None: all.
    std::function<bool(const std::string& device)> runs = {};
    Alarms* alarms = nullptr;  // none: handles_alarm topics are refused
  };
  DeviceTopics(Twins& twins, Commands& commands, Options options);
  ~DeviceTopics();

  // Topics for on_message. Alarms stand apart: where captured, their messages are events of their own, of any content.
  static bool handles(std::string_view topic);
  static bool handles_alarm(std::string_view topic);
  // Of those: what raises or clears an alarm, as it names one and its JSON object has "active". A pure function.
  static bool is_alarm(std::string_view topic, std::string_view payload);
  // `position` rides in the batch of what it writes; what writes nothing drops it. `done` is called once, when it is durable
  // and answered.
  void on_message(std::string_view topic, std::string_view client, std::string_view payload,
                  std::vector<Log::Meta> position, std::function<void()> done);
  // Sends what is retained, of every device: a broker that has started anew has forgotten it, and one that went on may hold
  // what was true before this process.
  void publish_all();
  // For Commands::Options::send.
  void send_command(const CommandView& command);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace landfall
