#pragma once

#include <string>
#include <string_view>

#include "devicetwin/twin.h"
#include "schemas/op.h"

namespace landfall {

// Paths of the objects of a device: private to this folder, stored for ever.

// Stream desired, twin_object().
inline std::string desired_path(std::string_view property, Layer layer) {
  return "/p/" + escape_token(property) + (layer == Layer::cloud ? "/c" : "/e");
}
// Stream reported, twin_object().
inline std::string reported_path(std::string_view property) { return "/p/" + escape_token(property); }
inline constexpr std::string_view property_prefix = "/p/";
inline constexpr std::string_view state_path = "/s";
// Stream document, device_object(). Beside these, each field of a DeviceRecord is a register of its name.
inline constexpr std::string_view presence_path = "/device";
inline constexpr std::string_view owner_term_path = "/owner_term";
inline constexpr std::string_view tags_path = "/tags";
inline std::string definition_path(std::string_view property) { return "/def/" + escape_token(property); }
inline std::string attribute_path(std::string_view name) { return "/attributes/" + escape_token(name); }

inline constexpr std::string_view twin_prefix = "twin/";
inline constexpr std::string_view device_prefix = "device/";

}  // namespace landfall
