#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
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

// What a record of the ring is. Numbers lie in the ring: never reuse one.
enum class Outcome : std::uint8_t {
  event = 0,    // goes to the log as it is
  request = 1,  // asks or writes something of the node itself: handed to MqttIngestOptions::on_request
  // What the plugin tells of a client (notices), handed to MqttIngestOptions::on_notice. Topic is the filter or topic, if
  // any. A notice is dropped once a quarter of the ring is in use: nobody waits for it.
  subscribed = 2,
  unsubscribed = 3,
  disconnected = 4,
  refused_connect = 5,  // payload: why; user: as claimed; of these three at most mqtt_refusal_notices_per_second
  refused_publish = 6,
  refused_subscribe = 7,
  broker_started = 8,  // a new process: it knows of no connection and no subscription that was before
};
inline bool is_notice(Outcome outcome) { return outcome > Outcome::request; }

struct CaptureRule {
  std::string filter;  // MQTT topic filter
  Stream stream = Stream::telemetry;
  Kind kind = Kind::message;
  Durability durability = Durability::process;
  Outcome outcome = Outcome::event;  // or request: stream and kind say nothing then
  friend bool operator==(const CaptureRule&, const CaptureRule&) = default;
};

// Rules for what the node answers itself, which is always captured: twins, device state, membership and results of
// commands (requests), KubeEdge's uploads and time series (telemetry of kind message). Then rules for the configured
// capture list: alarms and telemetry of devices in their own stream and kind, everything else as telemetry of kind
// message. Durability is that of the named filter, else power for alarms and process otherwise.
// Errors: `out_of_range` for a filter or durability that is none.
Result<std::vector<CaptureRule>> capture_rules(const std::vector<std::string>& filters,
                                               const std::map<std::string, std::string>& durability);

// One rule as a line: "telemetry 16 process landfall/+/telemetry/#", "request 0 process landfall/+/twin/get".
std::string to_string(const CaptureRule& rule);
Result<CaptureRule> parse_capture_rule(std::string_view line);

// MQTT 5, 4.7: wildcards, and that a filter which begins with one matches no topic that begins with '$'.
bool is_topic_filter(std::string_view filter);
bool topic_matches(std::string_view filter, std::string_view topic);

// The first rule that matches, or null. `$SYS` is never captured.
const CaptureRule* find_rule(const std::vector<CaptureRule>& rules, std::string_view topic);

// What KubeEdge forwards to its cloud from whoever may publish at all.
bool is_upload_topic(std::string_view topic);

// One message as the ring carries it. All views borrow.
struct CapturedMessage {
  Outcome outcome = Outcome::event;
  Stream stream = Stream::telemetry;  // of an event
  Kind kind = Kind::message;
  std::uint8_t qos = 0;
  bool retained = false;
  std::uint16_t subscriptions = 0;  // that the client had, at most 65535; not of events
  std::string_view topic, client, content_type, source, id, payload;
  std::string_view user;  // the name that the client has proved, empty for anonymous; not of events, which have source
};

// True where the message can become an event as it is: clean topic and properties within the limits of an event.
bool is_storable(const CapturedMessage& message);

// A ring record is this fixed head, then the views in their order.
struct CapturedHead {
  std::uint8_t stream, kind, qos, retained;
  std::uint16_t topic_bytes, client_bytes, content_type_bytes, source_bytes, id_bytes, subscriptions;
};
using CapturedParts = std::array<std::string_view, 7>;
CapturedParts encode_captured(const CapturedMessage& message, CapturedHead& head);  // borrows both
Result<CapturedMessage> decode_captured(std::string_view body);                     // Errors: `corrupt`.

// A topic that is about one device. In landfall/<device>/... the device is one level, percent-encoded: "ns%2Fname" where
// it has a namespace. $hw/events/device/ and $ke/events/device/ name it by one level or by two.
struct DeviceTopic {
  enum class Form : std::uint8_t { landfall, one_level, two_levels };
  Form form;
  std::string device;     // "name" for the namespace default, else "namespace/name"
  std::string_view rest;  // "twin/update"; borrows from the topic
};
std::optional<DeviceTopic> parse_device_topic(std::string_view topic);
// "landfall/ns%2Fname/twin/delta", "$hw/events/device/name/twin/update/delta", "$hw/events/device/ns/name/...".
std::string device_topic(DeviceTopic::Form form, std::string_view device, std::string_view rest);

}  // namespace landfall
