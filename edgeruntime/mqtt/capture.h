#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/event.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// Which messages the plugin takes, what they become, and what their acknowledgement promises.

enum class Durability : std::uint8_t {
  process,  // acknowledged once it survives kill -9 of any process
  power,    // acknowledged once it is A1
};

struct CaptureRule {
  std::string filter;  // MQTT topic filter
  Stream stream = Stream::telemetry;
  Kind kind = Kind::message;
  Durability durability = Durability::process;
};

// Rules for the configured capture list, alarms and telemetry of devices in their own stream and kind, everything else
// as telemetry of kind message. Durability is that of the named filter, else power for alarms and process otherwise.
// Errors: `out_of_range` for a filter or durability that is none.
Result<std::vector<CaptureRule>> capture_rules(const std::vector<std::string>& filters,
                                               const std::map<std::string, std::string>& durability);

// One rule as a line of the broker's configuration: "telemetry 16 process landfall/+/telemetry/#".
std::string to_string(const CaptureRule& rule);
Result<CaptureRule> parse_capture_rule(std::string_view line);

// MQTT 5, 4.7: wildcards, and that a filter which begins with one matches no topic that begins with '$'.
bool is_topic_filter(std::string_view filter);
bool topic_matches(std::string_view filter, std::string_view topic);

// The first rule that matches, or null. `$SYS` is never captured.
const CaptureRule* find_rule(const std::vector<CaptureRule>& rules, std::string_view topic);

// One message as the ring carries it. All views borrow.
struct CapturedMessage {
  Stream stream = Stream::telemetry;
  Kind kind = Kind::message;
  std::uint8_t qos = 0;
  bool retained = false;
  std::string_view topic, client, content_type, source, id, payload;
};

// True where the message can become an event as it is: clean topic and properties within the limits of an event.
bool is_storable(const CapturedMessage& message);

// A ring record is this fixed head, then the views in their order.
struct CapturedHead {
  std::uint8_t stream, kind, qos, retained;
  std::uint16_t topic_bytes, client_bytes, content_type_bytes, source_bytes, id_bytes, reserved;
};
using CapturedParts = std::array<std::string_view, 7>;
CapturedParts encode_captured(const CapturedMessage& message, CapturedHead& head);  // borrows both
Result<CapturedMessage> decode_captured(std::string_view body);                     // Errors: `corrupt`.

// "d1" of "landfall/d1/telemetry/x", empty for topics that are not ours.
std::string_view device_of(std::string_view topic);

}  // namespace landfall
