#pragma once

#include <map>
#include <optional>
#include <string>

#include "devicetwin/kubeedge_messages.h"
#include "devicetwin/twins.h"

// What an update of KubeEdge's contract comes to: private to this folder.

namespace landfall::kubeedge {

enum class Source : std::uint8_t { device, cloud };  // twin/update, twin/cloud_updated

// A property that an update is about, as far as it changes anything.
struct Touched {
  std::optional<Property> before;  // none: the update adds it
  bool expected = false, actual = false, optional = false, deleted = false;
  bool changes() const { return !before || expected || actual || optional || deleted; }
};

// All that is to be written, checked as a whole: an update is taken altogether or not at all.
struct Plan {
  std::map<std::string, Touched> touched;
  std::map<std::string, std::optional<PropertyDefinition>> define;
  std::map<std::string, std::optional<std::string>> desired;
  std::map<std::string, std::optional<Twins::Reported>> reported;
};

// What is stored decides: a known property keeps its type whatever the update says ("Updated"), and its value is held
// against that; an unknown one is added with the update's type, else string. Errors: `out_of_range` with the reason.
Result<Plan> make_plan(const TwinView& now, const Update& update, Source source);

// The parts of the result: what was written, as it is now; null for what is gone.
std::map<std::string, std::optional<Property>> result_of(const Plan& plan, const Twin& after);

}  // namespace landfall::kubeedge
