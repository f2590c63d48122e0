#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "devicetwin/devices.h"
#include "devicetwin/twins.h"

namespace landfall {

// deviceProfile.json, from which mappers of KubeEdge up to 1.14 learn their devices: instances with what they shall be now,
// protocol and visitors as imported, models as defined. Their parsers give up the whole file over one thing that is
// missing, so what would not be whole is left out and said.
class KubeEdgeProfile {
 public:
  // A device's name is its id in topics: the last level in namespace default, else both.
  // Errors: `out_of_range` for a device that has no protocol or no configuration, with the remedy; nothing is added then.
  Status add(const DeviceRecord& record, const TwinView& twin);
  void warn(std::string what) { warnings_.push_back(std::move(what)); }

  std::string json() const;
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  using Properties = std::map<std::string, std::string>;  // name -> JSON
  std::string model_for(const DeviceRecord& record, const Properties& properties);

  std::vector<std::string> instances_, protocols_;  // JSON
  std::map<std::string, Properties> models_;
  std::vector<std::string> warnings_;
};

// All registered devices that are `wanted` and have a protocol; one that lacks its configuration is left out, with a warning.
// Errors: as Devices and Twins.
Result<KubeEdgeProfile> export_kubeedge(const Devices& devices, const Twins& twins,
                                        const std::function<bool(const DeviceRecord&)>& wanted);
// These alone. Errors: also `not_found`, and what KubeEdgeProfile::add refuses.
Result<KubeEdgeProfile> export_kubeedge(const Devices& devices, const Twins& twins,
                                        const std::vector<std::string>& names);

}  // namespace landfall
