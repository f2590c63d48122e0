#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Topics of KubeEdge's device contract: private to this folder.

namespace landfall::kubeedge {

// How a topic names a device: "<name>" up to KubeEdge 1.15, "<namespace>/<name>" from 1.16 on.
enum class Form : std::uint8_t { one_level, two_levels };

enum class Action : std::uint8_t { twin_update, cloud_updated, twin_get, state_update, state_get, membership_get };

// A topic that clients publish to. `id` is the device's, or for membership_get the node's, as it stands there: it may be
// empty or hold what no name may. Borrows from the topic.
struct Request {
  Action action;
  Form form = Form::one_level;
  std::string_view id;
  friend bool operator==(const Request&, const Request&) = default;
};
// Read from whole levels only: KubeEdge looks for "$hw/events/device/" and for names anywhere in the topic, so that a
// namespace or a node called "device" or "e" is read wrongly.
std::optional<Request> parse_request(std::string_view topic);

// "$hw/events/device/<id>/<suffix>" and "$hw/events/node/<node>/<suffix>".
std::string device_topic(std::string_view id, std::string_view suffix);
std::string node_topic(std::string_view node, std::string_view suffix);

// A subscription to documents or deltas of one device, or of all whose names have a form. "+" stands for any name.
struct TwinFilter {
  Form form = Form::one_level;
  std::string_view space, name;  // space: of two_levels
  bool document = true;          // else delta
  friend bool operator==(const TwinFilter&, const TwinFilter&) = default;
};
// Nothing for all other filters, wider ones too: who listens to everything has asked for no device's present state.
std::optional<TwinFilter> parse_twin_filter(std::string_view filter);

}  // namespace landfall::kubeedge
