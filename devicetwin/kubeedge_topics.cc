#include "devicetwin/kubeedge_topics.h"

#include <array>
#include <utility>

namespace landfall::kubeedge {
namespace {

constexpr std::string_view device_prefix = "$hw/events/device/", node_prefix = "$hw/events/node/";

constexpr std::array<std::pair<std::string_view, Action>, 5> device_actions = {{
    {"twin/update", Action::twin_update},
    {"twin/cloud_updated", Action::cloud_updated},
    {"twin/get", Action::twin_get},
    {"state/update", Action::state_update},
    {"state/get", Action::state_get},
}};

// One or two levels, whatever they hold.
std::optional<Form> form_of(std::string_view id) {
  const auto slash = id.find('/');
  if (slash == std::string_view::npos) return Form::one_level;
  if (id.find('/', slash + 1) != std::string_view::npos) return {};
  return Form::two_levels;
}

// The id before "/<suffix>".
std::optional<std::string_view> id_before(std::string_view rest, std::string_view suffix) {
  if (rest.size() <= suffix.size() || !rest.ends_with(suffix)) return {};
  rest.remove_suffix(suffix.size());
  if (!rest.ends_with('/')) return {};
  rest.remove_suffix(1);
  return rest;
}

}  // namespace

std::optional<Request> parse_request(std::string_view topic) {
  if (topic.starts_with(node_prefix)) {
    const auto node = id_before(topic.substr(node_prefix.size()), "membership/get");
    if (!node || form_of(*node) != Form::one_level) return {};
    return Request{Action::membership_get, Form::one_level, *node};
  }
  if (!topic.starts_with(device_prefix)) return {};
  for (const auto& [suffix, action] : device_actions) {
    const auto id = id_before(topic.substr(device_prefix.size()), suffix);
    const auto form = id ? form_of(*id) : std::nullopt;
    if (form) return Request{action, *form, *id};
  }
  return {};
}

std::string device_topic(std::string_view id, std::string_view suffix) {
  return std::string(device_prefix) + std::string(id) + "/" + std::string(suffix);
}

std::string node_topic(std::string_view node, std::string_view suffix) {
  return std::string(node_prefix) + std::string(node) + "/" + std::string(suffix);
}

std::optional<TwinFilter> parse_twin_filter(std::string_view filter) {
  if (!filter.starts_with(device_prefix)) return {};
  filter.remove_prefix(device_prefix.size());
  for (const bool document : {true, false}) {
    const auto id = id_before(filter, document ? "twin/update/document" : "twin/update/delta");
    const auto form = id ? form_of(*id) : std::nullopt;
    if (!form) continue;
    const auto slash = id->find('/');
    if (*form == Form::one_level) return TwinFilter{*form, {}, *id, document};
    return TwinFilter{*form, id->substr(0, slash), id->substr(slash + 1), document};
  }
  return {};
}

}  // namespace landfall::kubeedge
