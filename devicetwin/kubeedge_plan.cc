#include "devicetwin/kubeedge_plan.h"

#include <utility>

#include "devicetwin/twin_json.h"

namespace landfall::kubeedge {
namespace {

Error refused(std::string reason) { return {Code::out_of_range, std::move(reason)}; }

Status add_values(Plan& plan, const std::string& name, const PropertyDefinition& definition, const Change& change) {
  for (const auto* value : {&change.expected, &change.actual}) {
    if (!*value) continue;
    if (auto reason = refuse_value(definition, **value)) return refused(std::move(*reason));
  }
  auto& touched = plan.touched[name];
  const auto is_written = [&](const auto& value) { return value && (touched.before || !value->empty()); };
  if (is_written(change.expected)) {
    const std::string json = json_of(definition.type, *change.expected);
    if (definition.read_only) return refused("the property " + name + " is read-only");
    auto within = check_limits(definition, json);
    if (!within) return std::move(within).error();
    plan.desired[name] = json;
    touched.expected = true;
  }
  if (is_written(change.actual)) {
    Twins::Reported reported;
    reported.value = json_of(definition.type, *change.actual);
    plan.reported[name] = std::move(reported);
    touched.actual = true;
  }
  return ok();
}

Status add_property(Plan& plan, const std::string& name, const Change& change) {
  PropertyDefinition definition;
  if (change.type && !change.type->empty()) definition.type = *change.type;
  if (auto reason = refuse_type(definition.type)) return refused(std::move(*reason));
  definition.optional = change.optional.value_or(true);
  plan.define[name] = definition;
  plan.touched[name];
  return add_values(plan, name, definition, change);
}

Status change_property(Plan& plan, const PropertyView& now, const Change& change) {
  auto& touched = plan.touched[now.name];
  touched.before = property_of(now);
  if (now.definition.optional && change.optional == false) {
    PropertyDefinition definition = now.definition;
    definition.optional = false;
    plan.define[now.name] = std::move(definition);
    touched.optional = true;
  }
  return add_values(plan, now.name, now.definition, change);
}

void delete_property(Plan& plan, const PropertyView& now) {
  auto& touched = plan.touched[now.name];
  touched.before = property_of(now);
  touched.deleted = true;
  plan.define[now.name] = std::nullopt;
  plan.reported[now.name] = std::nullopt;
  if (!now.definition.read_only) plan.desired[now.name] = std::nullopt;
}

}  // namespace

Result<Plan> make_plan(const TwinView& now, const Update& update, Source source) {
  Plan plan;
  for (const auto& [name, change] : update.twin) {
    const auto known = now.properties.find(name);
    const bool is_cloud = source == Source::cloud;
    if (!change || (is_cloud && change->type == "deleted")) {
      const bool may_go = known != now.properties.end() && (is_cloud || known->second.definition.optional);
      if (may_go) delete_property(plan, known->second);
      continue;
    }
    LANDFALL_TRY(known == now.properties.end() ? add_property(plan, name, *change)
                                               : change_property(plan, known->second, *change));
  }
  return plan;
}

std::map<std::string, std::optional<Property>> result_of(const Plan& plan, const Twin& after) {
  std::map<std::string, std::optional<Property>> result;
  for (const auto& [name, touched] : plan.touched) {
    auto& part = result[name];
    const auto now = after.find(name);
    if (now == after.end()) continue;
    if (!touched.before || touched.deleted) {
      part = now->second;
      continue;
    }
    part.emplace();
    if (touched.expected) part->expected = now->second.expected;
    if (touched.actual) part->actual = now->second.actual;
    const bool has_value = touched.expected || touched.actual;
    if (has_value || touched.optional) part->optional = now->second.optional;
    if (has_value) part->type = now->second.type;
  }
  return result;
}

}  // namespace landfall::kubeedge
