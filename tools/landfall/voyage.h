#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "schemas/result.h"

namespace landfall {

// `landfall voyage`: publishes the lines of a file over MQTT 5, as a device would: a window of messages in flight, and
// after a lost connection every message that was not acknowledged is sent again under the same name, before new ones.
struct VoyageOptions {
  std::filesystem::path file;
  std::string host = "127.0.0.1";
  std::uint16_t port = 1883;
  std::string device = "ship", subject = "nmea0183";  // topic landfall/<device>/telemetry/<subject>
  int qos = 1;
  std::uint64_t from = 0, count = 0;  // lines left out at the beginning; lines published, 0: all that follow
  std::uint64_t alarms_every = 1000;  // an alarm on landfall/<device>/alarm/watch after so many lines; 0: none
  double rate = 0;                    // lines per second; 0: as fast as they are acknowledged
  unsigned window = 100;
  bool plain = false;  // without the CloudEvents properties that make a message known again
  std::string source;  // CloudEvents source; empty: one that names this voyage alone. ids are line numbers
  std::chrono::seconds give_up{60};  // without any acknowledgement or connection for so long
};

struct VoyageSummary {
  std::uint64_t telemetry = 0, alarm = 0;  // acknowledged (QoS 0: sent)
  std::uint64_t published = 0;             // PUBLISH packets, resends included
  std::uint64_t acknowledged = 0, resent = 0;
  std::uint64_t refused = 0;  // acknowledged with a reason that says no; not sent again
  std::uint64_t connections = 0;
  double seconds = 0;
  std::string source;
};

// Returns once all is acknowledged. Blocks the calling thread. Errors: `not_found` (the file), `out_of_range` (options),
// `unavailable` (gave up: how much was acknowledged).
Result<VoyageSummary> run_voyage(const VoyageOptions& options,
                                 const std::function<void(std::uint64_t acknowledged)>& progress = {});

std::string to_json(const VoyageSummary& summary);

}  // namespace landfall
