#pragma once

#include <optional>
#include <string>
#include <vector>

#include "devicetwin/objects.h"
#include "devicetwin/twin.h"

namespace landfall {

// A device as registered: stream document, object device_object(), paths /name-of-field. A field is a register.
struct DeviceRecord {
  std::string device;  // DeviceName::text()
  std::string node;    // node id or name of the edge that runs it; empty: any edge that hears of it
  std::string description, model, protocol;
  std::string configuration;  // JSON text: protocol and visitors, as imported
  std::string password_hash;  // of mosquitto_passwd ($7$...), for the broker; never shown by any API. To put: empty
                              // leaves what is there, "*" takes it away
  std::string certificate_subject;  // a client certificate that may speak for it
  std::uint64_t owner_term = 0;     // rises with each hand-over to another node; reports of lower terms lose. Not put
  bool registered = true;  // false: deleted, and somebody wrote who did not see that (TwinView::described_by). Not put
  std::string version;     // of registry entry, definitions, attributes and tags. Not put
};
// {"device":...,"registered":...,"version":...}, canonical; without the password's hash.
std::string device_json(const DeviceRecord& record);

// The registry: which devices there are, and what they may do. Errors as Twins.
class Devices {
 public:
  explicit Devices(Objects& objects) : objects_(objects) {}
  ~Devices();

  Result<DeviceRecord> get(std::string_view device) const;
  Result<std::vector<DeviceRecord>> list(std::string_view after, std::size_t limit) const;
  // Creates or changes. Fields that equal what is there are not written; empty ones are taken away, definitions that are not
  // listed stay. Another node than before is a hand-over. if_match: DeviceRecord::version, or "*" for any that exists.
  void put(DeviceRecord record, std::map<std::string, PropertyDefinition> properties, std::string actor,
           std::optional<std::string> if_match, OnWritten done);
  // Deletes all that is seen here of registry, desired, reported: what somebody writes who did not see the delete survives
  // and shows as a device again, with its author.
  void remove(std::string device, std::string actor, OnWritten done);
  // Gives the device to another node: owner_term rises by one.
  void hand_over(std::string device, std::string node, std::string actor, OnWritten done);

  using OnChanged = std::function<void(const std::string& device, bool exists)>;
  void watch(OnChanged changed);

 private:
  Objects& objects_;
  std::vector<Log::Subscription> subscriptions_;
};

// KubeEdge Device and DeviceModel (devices.kubeedge.io/v1beta1, YAML or JSON, any number of documents in one text) as
// records and definitions with the desired values they carry. Errors: `out_of_range` naming document, field and remedy.
struct ImportedDevice {
  DeviceRecord record;
  std::map<std::string, PropertyDefinition> properties;
  std::map<std::string, std::string> desired;  // JSON text
  std::vector<std::string> warnings;
};
Result<std::vector<ImportedDevice>> import_kubeedge(std::string_view yaml);

}  // namespace landfall
