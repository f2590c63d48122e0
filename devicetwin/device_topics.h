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
// <device> has its '/' written as %2F.
//
// No I/O, as KubeEdge.
class DeviceTopics {
 public:
  struct Options {
    std::function<void(DeviceMessage)> send;
  };
  DeviceTopics(Twins& twins, Commands& commands, Options options);
  ~DeviceTopics();

  static bool handles(std::string_view topic);
  void on_message(std::string_view topic, std::string_view client, std::string_view payload,
                  std::vector<Log::Meta> position, std::function<void()> done);
  // For Commands::Options::send.
  void send_command(const CommandView& command);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace landfall
