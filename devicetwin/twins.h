#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "devicetwin/objects.h"
#include "devicetwin/twin.h"

namespace landfall {

// The twins of one node: reads and writes over Objects. Writes answer when they are durable (Objects::Settle), work
// without any link, and are refused only for what they say: `out_of_range` for a name, value or type that cannot be,
// `not_found` for a device or property that is not known, `conflict` where if_match is not the version any more (the
// detail names the present one), `denied` for a read-only property.
//
// Loop thread only. `objects` must outlive it.
class Twins {
 public:
  Twins(Objects& objects, Layer layer) : objects_(objects), layer_(layer) {}

  Result<TwinView> view(std::string_view device) const;
  // Devices with a twin or a registry entry, ordered; from behind `after`.
  Result<std::vector<std::string>> devices(std::string_view after, std::size_t limit) const;

  // ---- desired: in the node's own layer

  struct Desire {
    std::string device = {};
    // property -> JSON text; none: deletes it in this layer
    std::map<std::string, std::optional<std::string>> values = {};
    std::string actor = {}, reason = {};
    std::optional<std::string> if_match = {};
    // Hub: supersedes the overrides it sees ("take back"). Without, they stay, and are stale where policy says so.
    bool take_back = false;
    std::vector<Log::Meta> meta = {};
  };
  void set_desired(Desire desire, OnWritten done);
  // Ends the override of a property: all that is seen here, or the one at `dot` if it is still live. Either role.
  void release(std::string device, std::string property, std::optional<Dot> dot, std::string actor, OnWritten done);
  // Writes the value of a live write that lost as a new write of this node's layer, knowing all that is live: it wins
  // under every policy but safe_min, safe_max and another layer's privilege. `dot` none: the newest that lost.
  void restore(std::string device, std::string property, std::optional<Dot> dot, std::string actor, OnWritten done);

  // ---- reported: by the node that runs the device

  struct Reported {
    std::string value;  // JSON text
    std::optional<Dot> applied = {};
    std::string status = "applied", error = {};
    std::int64_t device_time_ms = 0;
  };
  struct Report {
    std::string device = {};
    std::map<std::string, std::optional<Reported>> values = {};  // none: the property is gone
    bool full = false;                                           // properties that are not listed are gone
    std::optional<std::string> state = {};                       // online, offline, ...
    std::int64_t last_online_ms = 0;                             // with state; 0 leaves it
    std::string actor = {};
    std::vector<Log::Meta> meta = {};
  };
  // Where `applied` is not set and the value equals the effective desired one, that one counts as applied.
  void report(Report report, OnWritten done);

  // ---- what is known of it: stream document

  // RFC 7396 on attributes; tags are a set, add wins over a concurrent remove.
  struct Describe {
    std::string device = {};
    std::map<std::string, std::optional<std::string>> attributes = {};  // JSON text; none: deletes
    std::vector<std::string> add_tags = {}, remove_tags = {};
    std::map<std::string, std::optional<PropertyDefinition>> define = {};  // none: deletes the definition
    std::string actor = {};
    std::optional<std::string> if_match = {};
    std::vector<Log::Meta> meta = {};
  };
  void describe(Describe describe, OnWritten done);

  // After commits here or from a peer: which devices have another twin now. Unsubscribes when destroyed.
  using OnChanged = std::function<void(const std::string& device, Stream stream)>;
  void watch(OnChanged changed);
  ~Twins();

 private:
  Objects& objects_;
  Layer layer_;
  std::vector<Log::Subscription> subscriptions_;
};

}  // namespace landfall
