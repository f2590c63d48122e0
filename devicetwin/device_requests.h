#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "devicetwin/twins.h"
#include "schemas/result.h"

// What devices ask for on Landfall's own topics: private to this folder.

namespace landfall {

struct DeviceRequestTopic {
  enum class What : std::uint8_t { desired, reported, get, result, alarm } what;
  std::string_view level;  // of the device, as it stands in the topic
  std::string_view name;   // of a result its command, of an alarm the alarm
};
// Nothing for topics that clients do not publish to. Borrows from the topic.
std::optional<DeviceRequestTopic> read_request_topic(std::string_view topic);

// "ns%2Fname" for "ns/name", and back. Errors: `out_of_range` for what names no device.
std::string device_level(std::string_view device);
Result<std::string> device_of_level(std::string_view level);

struct DeviceRequest {
  std::string device;
  std::map<std::string, std::optional<std::string>> desired;
  std::map<std::string, std::optional<Twins::Reported>> reported;
  bool yes = false;    // of a result: succeeded; of an alarm: active
  std::string result;  // JSON text
  std::string severity, text;
};
// Errors: `out_of_range` saying what is wrong with the payload and what it should be.
Result<DeviceRequest> read_request(const DeviceRequestTopic& topic, std::string_view payload);

}  // namespace landfall
