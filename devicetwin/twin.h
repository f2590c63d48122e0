#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/entry.h"
#include "schemas/hybrid_time.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// A device's twin: what it shall be (desired, in two layers), what it says it is (reported), and what is known about it.
// Pure functions of live state: no clock, no log, no node's own opinion, so that nodes which hold the same events show the
// same twin (README.md has the rules).

// "<name>" in namespace default, else "<namespace>/<name>": each part 1 to 128 of [A-Za-z0-9-_.,:@#]. Errors: `out_of_range`.
struct DeviceName {
  std::string space = "default", name;
  std::string text() const { return space == "default" ? name : space + "/" + name; }
  friend auto operator<=>(const DeviceName&, const DeviceName&) = default;
};
Result<DeviceName> parse_device(std::string_view text);
// 1 to 128 of [A-Za-z0-9-_.,:/@#], as in KubeEdge's contract.
bool is_property_name(std::string_view name);

// Objects in the log's state.
std::string twin_object(std::string_view device);    // streams desired and reported: "twin/<device>"
std::string device_object(std::string_view device);  // stream document: "device/<device>"

// Which of the two layers of desired state a write belongs to: cloud for what is written at a hub, edge for an override
// written aboard.
enum class Layer : std::uint8_t { cloud, edge };
std::string_view to_string(Layer layer);

// Which of the live writes of a property is effective. What is not effective is kept and shown.
enum class Policy : std::uint8_t {
  cloud_wins,  // the override holds while it was made knowing every live cloud write; a cloud write it did not know wins
  edge_sticky,  // the override holds until it is released, whatever the cloud says: safety, local control
  latest,       // the later by what each knew of the other, and by clock only where they are concurrent
  safe_min,     // the least of all live values (numbers)
  safe_max,     // the greatest
  manual,       // more than one live value: nothing is effective, the device holds what it last applied
};
std::string_view to_string(Policy policy);  // "cloud-wins", ...
Result<Policy> parse_policy(std::string_view text);

// What of a reported property travels: every value, or only those that are not superseded when their turn on the link comes
// (latest.h). Aboard every one is kept.
enum class History : std::uint8_t { keep, latest };

// What is known of a property beside its values. Written by whoever defines the device; in stream document.
struct PropertyDefinition {
  std::string type = "string";  // KubeEdge's: string, int, integer, float, double, boolean, bytes, stream
  Policy policy = Policy::cloud_wins;
  History history = History::keep;
  bool optional = true;    // may be deleted by the device
  bool read_only = false;  // refuses desired values
  std::string unit = {}, minimum = {}, maximum = {}, description = {};
  friend bool operator==(const PropertyDefinition&, const PropertyDefinition&) = default;
};
// {"type":"float","policy":"latest",...}, defaults left out. Unknown members are skipped when read.
// Errors: `out_of_range` naming the member, or what makes no sense as a definition.
std::string definition_json(const PropertyDefinition& definition);
Result<PropertyDefinition> parse_definition(std::string_view json);

// One live write of a desired value.
struct Setting {
  std::string value;  // JSON text
  Layer layer = Layer::cloud;
  Dot dot;
  HybridTime time;
  ClockClass clock = ClockClass::untrusted;
  std::string actor, reason;
  std::vector<Dot> seen;  // live writes of the other layer that its author saw
};

// What the device said last.
struct Report {
  std::string value;  // JSON text
  Dot dot;
  HybridTime time;
  std::uint64_t owner_term = 0;
  std::optional<Dot> applied;       // the desired write it answers: equality with the effective one is "in sync"
  std::string status = "applied";   // applied, rejected, pending
  std::string error;                // with rejected
  std::int64_t device_time_ms = 0;  // as the device stamped it, 0 where it did not
};

struct PropertyView {
  std::string name;
  PropertyDefinition definition;   // with an empty type where nobody defined it
  std::optional<Setting> desired;  // the effective one
  std::vector<Setting> others;     // live and not effective, newest first: one command away
  bool conflict = false;           // the policy had to decide between writes that did not know of each other
  std::optional<Report> reported;
  std::vector<Report> other_reports;  // of another owner with a lower term, or of two owners at once
  bool in_sync = false;               // nothing desired, or the device reported having applied exactly that
};

struct TwinView {
  std::string device;
  std::string version;  // of its desired state: reports do not spoil a conditional write
  std::map<std::string, PropertyView> properties;
  std::string state;  // as the device's mapper said: online, offline, ...; empty: never
  std::int64_t last_online_ms = 0;
  std::vector<std::string> tags;
  std::map<std::string, std::string> attributes;  // name -> JSON text
  bool registered = false;  // there is a registry entry; without, it is known from its own reports only, or
  // from what somebody wrote who did not see its delete: the newest writer of tags, attributes and the like.
  struct Writer {
    std::string actor;
    HybridTime time;
  };
  std::optional<Writer> described_by;
};

// What desired, reported and document hold of the device (twin_object, device_object). A value that cannot be read, of a
// newer version say, is left out and counted in `unreadable`.
TwinView view_twin(std::string_view device, const Entries& desired, const Entries& reported, const Entries& document,
                   std::size_t* unreadable = nullptr);

// {"device":...,"version":...,"properties":{name:{...}}}: what HTTP, CLI, MQTT and landfall.twin-state show. Canonical:
// keys in order, no spaces. schemas/openapi.yaml has the shape.
std::string twin_json(const TwinView& view);

}  // namespace landfall
