#include <map>
#include <string>

#include "devicetwin/devices.h"
#include "devicetwin/json_value.h"
#include "devicetwin/kubeedge_messages.h"
#include "devicetwin/kubeedge_profile.h"
#include "devicetwin/kubeedge_topics.h"
#include "devicetwin/twin_json.h"
#include "schemas/check.h"
#include "schemas/limits.h"
#include "targets.h"

// KubeEdge's contract: what strangers publish, and what operators paste.

namespace landfall::fuzz {

void kubeedge_topic(std::string_view bytes) {
  using namespace kubeedge;
  if (const auto request = parse_request(bytes)) {
    const auto id = std::string(request->id);
    const bool two = id.find('/') != std::string::npos;
    LANDFALL_CHECK(two == (request->form == Form::two_levels));
    const bool is_node = request->action == Action::membership_get;
    const auto before = is_node ? node_topic(id, "") : device_topic(id, "");
    LANDFALL_CHECK(bytes.starts_with(before));
  }
  if (const auto filter = parse_twin_filter(bytes)) {
    const auto id =
        (filter->form == Form::two_levels ? std::string(filter->space) + "/" : "") + std::string(filter->name);
    LANDFALL_CHECK(bytes == device_topic(id, filter->document ? "twin/update/document" : "twin/update/delta"));
  }
}

void kubeedge_message(std::string_view bytes) {
  using namespace kubeedge;
  std::string event_id;
  (void)read_state(bytes);
  (void)read_get(bytes, event_id);
  const auto update = read_update(bytes, event_id);
  const Base base{event_id, 1};
  LANDFALL_CHECK(is_json(write_error(base, 400, update ? "" : update.error().detail)));
  if (!update) return;
  std::map<std::string, std::optional<Property>> twin;
  for (const auto& [name, change] : update->twin) {
    LANDFALL_CHECK(is_property_name(name));
    auto& property = twin[name];
    if (!change) continue;
    property.emplace();
    property->optional = change->optional;
    property->type = change->type;
    for (const auto* side : {&change->expected, &change->actual}) {
      if (!*side) continue;
      const auto json = json_of(change->type.value_or("string"), **side);
      LANDFALL_CHECK(is_json(json) && plain_text(json) == **side);
      (side == &change->expected ? property->expected : property->actual) = Value{plain_text(json), 1};
    }
  }
  // What is written is read as the same.
  const auto written = write_result(base, twin);
  std::string again_id;
  const auto again = read_update(written, again_id);
  if (written.size() > kubeedge_update_bytes_max) return;
  LANDFALL_CHECK(again.ok() && again_id == event_id && again->twin.size() == update->twin.size());
}

void kubeedge_import(std::string_view bytes) {
  const auto devices = import_kubeedge(bytes);
  if (!devices) return;
  const auto again = import_kubeedge(bytes);
  LANDFALL_CHECK(again.ok() && again->size() == devices->size());
  KubeEdgeProfile profile;
  for (std::size_t i = 0; i < devices->size(); ++i) {
    const auto& device = (*devices)[i];
    LANDFALL_CHECK(parse_device(device.record.device).ok() && is_json(device.record.configuration));
    LANDFALL_CHECK((*again)[i].record.configuration == device.record.configuration);
    for (const auto& [name, json] : device.desired) {
      LANDFALL_CHECK(device.properties.contains(name));
      LANDFALL_CHECK(check_type(device.properties.at(name), json).ok());
    }
    TwinView twin;
    for (const auto& [name, definition] : device.properties) {
      twin.properties[name].name = name;
      twin.properties[name].definition = definition;
    }
    (void)profile.add(device.record, twin);
  }
  LANDFALL_CHECK(!stored_json(profile.json()).is_discarded());
}

}  // namespace landfall::fuzz
