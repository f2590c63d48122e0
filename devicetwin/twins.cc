#include "devicetwin/twins.h"

#include <algorithm>
#include <set>

#include "crdt/register.h"
#include "crdt/set.h"
#include "devicetwin/json_value.h"
#include "devicetwin/twin_codec.h"
#include "devicetwin/twin_json.h"
#include "devicetwin/twin_paths.h"
#include "schemas/limits.h"
#include "schemas/text.h"

namespace landfall {
namespace {

using Ops = Result<std::vector<Op>>;

Error refused(std::string what) { return {Code::out_of_range, std::move(what)}; }
Error unknown(std::string_view device) {
  return {Code::not_found,
          "device " + std::string(device) + " is not known: register it first, or look at how it is written"};
}

// All that is live of a device.
struct Seen {
  Entries desired, reported, document;
  bool any() const { return !desired.empty() || !reported.empty() || !document.empty(); }
  TwinView view(std::string_view device) const { return view_twin(device, desired, reported, document); }
};

Result<Seen> see(const Log& log, std::string_view device) {
  Seen seen;
  for (const auto& [stream, object, to] : {std::tuple{Stream::desired, twin_object(device), &seen.desired},
                                           std::tuple{Stream::reported, twin_object(device), &seen.reported},
                                           std::tuple{Stream::document, device_object(device), &seen.document}}) {
    auto entries = log.state(stream, object);
    if (!entries) return entries.error();
    *to = std::move(*entries);
  }
  return seen;
}

// The parts of a device that concern some of its properties: a report costs by what it names.
template <class Values>
Result<TwinView> view_some(const Log& log, std::string_view device, const Values& values, const Entries& reported,
                           std::uint64_t& owner_term) {
  auto desired = log.state(Stream::desired, twin_object(device));
  if (!desired) return desired.error();
  auto document = log.state(Stream::document, device_object(device));
  if (!document) return document.error();
  Seen some;
  const auto take = [](Entries& to, std::span<const Entry> from) { to.insert(to.end(), from.begin(), from.end()); };
  for (const auto& [name, value] : values) {
    take(some.desired, at(*desired, desired_path(name, Layer::cloud)));
    take(some.desired, at(*desired, desired_path(name, Layer::edge)));
    take(some.reported, at(reported, reported_path(name)));
    take(some.document, at(*document, definition_path(name)));
  }
  owner_term = owner_term_in(*document);
  for (Entries* of : {&some.desired, &some.reported, &some.document})
    std::ranges::sort(*of, {}, [](const Entry& e) { return std::tie(e.path, e.dot); });
  return some.view(device);
}

Status check_match(const std::optional<std::string>& if_match, std::string_view version, bool exists) {
  if (!if_match || *if_match == version || (*if_match == "*" && exists)) return ok();
  return Error{Code::conflict, "the version is " + std::string(version) + " by now: read it again"};
}

Status check_text(std::string_view what, std::string_view text, std::size_t bytes_max) {
  if (!text.empty() && text.size() <= bytes_max && is_clean_text(text)) return ok();
  return refused(std::string(what) + " is empty, over " + std::to_string(bytes_max) + " bytes or not clean text");
}

// One write at `path`, in place of all that is seen there.
Status put(std::vector<Op>& ops, const Entries& now, std::string_view path, const TwinValue& value) {
  auto bytes = encode_twin_value(value);
  if (!bytes) return bytes.error();
  ops.push_back(put_op(now, path, std::move(*bytes)));
  return ok();
}
void erase(std::vector<Op>& ops, const Entries& now, std::string_view path) {
  Op op = erase_op(now, path);
  if (!op.supersedes.empty()) ops.push_back(std::move(op));
}
// True where `path` holds this value already, and nothing beside it.
bool holds(const Entries& now, std::string_view path, std::string_view json) {
  const auto there = at(now, path);
  if (there.size() != 1) return false;
  const auto value = decode_twin_value(there.front().value);
  return value && value->json == json;
}

std::vector<Dot> dots_at(const Entries& now, std::string_view path) {
  std::vector<Dot> dots;
  for (const Entry& entry : at(now, path)) dots.push_back(entry.dot);
  return dots;
}

Layer other(Layer layer) { return layer == Layer::cloud ? Layer::edge : Layer::cloud; }

// A value as it is stored, if it may be the property's.
Result<std::string> fitting(const PropertyView* property, std::string_view json, bool desired) {
  auto value = canonical_json(json);
  if (!value) return value.error();
  const PropertyDefinition undefined{.type = ""};
  const auto& definition = property != nullptr ? property->definition : undefined;
  LANDFALL_TRY(check_type(definition, *value));
  if (desired) LANDFALL_TRY(check_limits(definition, *value));
  return value;
}

const PropertyView* find(const TwinView& twin, const std::string& name) {
  const auto found = twin.properties.find(name);
  return found == twin.properties.end() ? nullptr : &found->second;
}

// Whether the layer says exactly this already, knowing all there is, and the device has not refused it since.
bool is_settled(const Entries& now, const PropertyView& property, const std::string& name, Layer layer,
                const std::string& json, bool take_back) {
  const auto own = at(now, desired_path(name, layer));
  const auto others = dots_at(now, desired_path(name, other(layer)));
  if (!holds(now, desired_path(name, layer), json) || (take_back && !others.empty())) return false;
  if (property.reported && property.reported->status == "rejected" && property.reported->applied == own.front().dot)
    return false;
  const auto value = decode_twin_value(own.front().value);
  return std::ranges::all_of(others,
                             [&](const Dot& dot) { return std::ranges::find(value->seen, dot) != value->seen.end(); });
}

// ---- what a change does, given what is live

Status desire_one(std::vector<Op>& ops, const Entries& now, const TwinView& twin, const std::string& name,
                  const std::optional<std::string>& json, const Twins::Desire& desire, Layer layer) {
  const PropertyView* property = find(twin, name);
  if (property == nullptr) return Error{Code::not_found, "not known: define it first"};
  const std::string own = desired_path(name, layer), overrides = desired_path(name, Layer::edge);
  const bool take_back = desire.take_back && layer == Layer::cloud;
  if (!json) {
    erase(ops, now, own);
    if (take_back) erase(ops, now, overrides);
    return ok();
  }
  if (property->definition.read_only) return Error{Code::denied, "read-only: only the device says what it is"};
  auto value = fitting(property, *json, true);
  if (!value) return value.error();
  if (is_settled(now, *property, name, layer, *value, take_back)) return ok();
  TwinValue written{.json = *value, .actor = desire.actor, .reason = desire.reason};
  if (!take_back) written.seen = dots_at(now, desired_path(name, other(layer)));
  LANDFALL_TRY(put(ops, now, own, written));
  if (take_back) erase(ops, now, overrides);
  return ok();
}

Ops decide_desired(const Log& log, const std::string& device, const Twins::Desire& desire, Layer layer,
                   const Entries& now) {
  auto seen = see(log, device);
  if (!seen) return seen.error();
  if (!seen->any()) return unknown(device);
  const TwinView twin = seen->view(device);
  LANDFALL_TRY(check_match(desire.if_match, twin.version, !now.empty()));
  std::vector<Op> ops;
  for (const auto& [name, json] : desire.values) {
    if (auto one = desire_one(ops, now, twin, name, json, desire, layer); !one)
      return std::move(one).error().in("property " + name);
  }
  return ops;
}

Ops decide_release(const Log& log, const std::string& device, const std::string& property,
                   const std::optional<Dot>& dot, const Entries& now) {
  auto seen = see(log, device);
  if (!seen) return seen.error();
  if (!seen->any()) return unknown(device);
  if (find(seen->view(device), property) == nullptr)
    return Error{Code::not_found, "property " + property + " is not known"};
  Op op = erase_op(now, desired_path(property, Layer::edge));
  if (dot) std::erase_if(op.supersedes, [&](const Dot& live) { return live != *dot; });
  if (op.supersedes.empty()) return std::vector<Op>{};
  return std::vector<Op>{std::move(op)};
}

// The live write that shall be effective again; null where it is already.
Result<const Setting*> find_lost(const PropertyView& property, const std::optional<Dot>& dot) {
  if (!dot && property.others.empty()) return Error{Code::not_found, "property " + property.name + ": nothing lost"};
  if (!dot) return &property.others.front();
  if (property.desired && property.desired->dot == *dot) return nullptr;
  const auto found = std::ranges::find(property.others, *dot, &Setting::dot);
  if (found != property.others.end()) return &*found;
  return Error{Code::not_found, "property " + property.name + ": " + to_string(*dot) + " is not live any more"};
}

Ops decide_restore(const Log& log, const std::string& device, const std::string& name, const std::optional<Dot>& dot,
                   const std::string& actor, Layer layer, const Entries& now) {
  auto seen = see(log, device);
  if (!seen) return seen.error();
  if (!seen->any()) return unknown(device);
  const TwinView twin = seen->view(device);
  const PropertyView* property = find(twin, name);
  if (property == nullptr) return Error{Code::not_found, "property " + name + " is not known"};
  const auto lost = find_lost(*property, dot);
  if (!lost) return lost.error();
  std::vector<Op> ops;
  if (*lost == nullptr) return ops;
  const std::string own = desired_path(name, layer), others = desired_path(name, other(layer));
  const Policy policy = property->definition.policy;
  if (policy == Policy::edge_sticky && layer == Layer::cloud && !at(now, others).empty())
    return Error{Code::denied, "property " + name + ": the override holds until it is released"};
  TwinValue value{.json = (*lost)->value, .actor = actor, .reason = "restores " + to_string((*lost)->dot)};
  if (policy == Policy::manual) {
    // Whoever decides by hand ends what there was to decide between.
    erase(ops, now, others);
  } else {
    value.seen = dots_at(now, others);
  }
  LANDFALL_TRY(put(ops, now, own, value));
  return ops;
}

Result<TwinValue> reported_value(const PropertyView* property, const Twins::Reported& said, std::uint64_t owner_term) {
  auto json = fitting(property, said.value, false);
  if (!json) return json.error();
  if (said.status != "applied" && said.status != "rejected" && said.status != "pending")
    return refused("status " + said.status + " is none of applied, rejected, pending");
  TwinValue value{.json = std::move(*json),
                  .applied = said.applied,
                  .error = said.error,
                  .owner_term = owner_term,
                  .time_ms = said.device_time_ms};
  if (said.status != "applied") value.status = said.status;
  // A device that does not name what it answers: what it cannot do is the effective one, what it did it shows by its value.
  if (!said.applied && property != nullptr && property->desired &&
      (said.status != "applied" || same_value(property->definition, property->desired->value, value.json)))
    value.applied = property->desired->dot;
  return value;
}

// What a report of this term takes the place of: nothing that a later owner said.
std::vector<Dot> ended_by(const Entries& now, std::string_view path, std::uint64_t owner_term) {
  std::vector<Dot> dots;
  for (const Entry& entry : at(now, path)) {
    const auto value = decode_twin_value(entry.value);
    if (!value || value->owner_term <= owner_term) dots.push_back(entry.dot);
  }
  return dots;
}
void erase_reported(std::vector<Op>& ops, const Entries& now, std::string_view path, std::uint64_t owner_term) {
  auto ended = ended_by(now, path, owner_term);
  if (!ended.empty()) ops.push_back({std::string(path), {}, std::move(ended)});
}

std::set<std::string_view> reported_paths(const Entries& now) {
  std::set<std::string_view> paths;
  for (const Entry& entry : now) {
    if (entry.path.starts_with(property_prefix)) paths.insert(entry.path);
  }
  return paths;
}

Status report_state(std::vector<Op>& ops, const Entries& now, const Twins::Report& report) {
  if (!report.state) return ok();
  LANDFALL_TRY(check_text("state", *report.state, text_bytes_max));
  TwinValue value{.json = json_string(*report.state), .time_ms = report.last_online_ms};
  const Entry* before = latest(at(now, state_path));
  const auto said = before == nullptr ? Result<TwinValue>(TwinValue{}) : decode_twin_value(before->value);
  if (value.time_ms == 0 && said) value.time_ms = said->time_ms;
  if (said && holds(now, state_path, value.json) && said->time_ms == value.time_ms) return ok();
  return put(ops, now, state_path, value);
}

Ops decide_report(const Log& log, const std::string& device, const Twins::Report& report, const Entries& now) {
  std::uint64_t owner_term = 0;
  const auto twin = view_some(log, device, report.values, now, owner_term);
  if (!twin) return twin.error();
  std::vector<Op> ops;
  const auto paths = reported_paths(now);
  std::size_t properties = paths.size();
  for (const auto& [name, said] : report.values) {
    if (!is_property_name(name))
      return refused(shown_name(name) + ": property names are 1 to 128 of A-Z, a-z, 0-9 and -_.,:/@#");
    const std::string path = reported_path(name);
    if (!said) {
      erase_reported(ops, now, path, owner_term);
      continue;
    }
    if (!paths.contains(path) && ++properties > twin_properties_max) return refused("more than 1024 properties");
    const auto value = reported_value(find(*twin, name), *said, owner_term);
    auto bytes = value ? encode_twin_value(*value) : Result<std::string>(value.error());
    if (!bytes) return std::move(bytes).error().in("property " + name);
    ops.push_back({path, std::move(*bytes), ended_by(now, path, owner_term)});
  }
  for (const auto path : paths) {
    const bool named = report.values.contains(unescape_token(path.substr(property_prefix.size())));
    if (report.full && !named) erase_reported(ops, now, path, owner_term);
  }
  LANDFALL_TRY(report_state(ops, now, report));
  return ops;
}

Status describe_attributes(std::vector<Op>& ops, const Entries& now, const Twins::Describe& describe) {
  for (const auto& [name, patch] : describe.attributes) {
    LANDFALL_TRY(check_text("attribute name", name, document_key_bytes_max));
    const std::string path = attribute_path(name);
    auto json = patch ? canonical_json(*patch) : Result<std::string>(std::string("null"));
    if (!json) return std::move(json).error().in("attribute " + name);
    if (*json == "null") {
      erase(ops, now, path);
      continue;
    }
    if (json->starts_with('{')) {
      const Entry* before = latest(at(now, path));
      const auto value = before == nullptr ? Result<TwinValue>(TwinValue{}) : decode_twin_value(before->value);
      *json = merge_patch(value && !value->json.empty() ? value->json : "null", *json);
    }
    if (holds(now, path, *json)) continue;
    auto written = put(ops, now, path, {.json = *json, .actor = describe.actor});
    if (!written) return std::move(written).error().in("attribute " + name);
  }
  return ok();
}

Status describe_tags(std::vector<Op>& ops, const Entries& now, const Twins::Describe& describe) {
  const std::set<std::string> add(describe.add_tags.begin(), describe.add_tags.end());
  const std::set<std::string> remove(describe.remove_tags.begin(), describe.remove_tags.end());
  for (const auto& tag : add) {
    LANDFALL_TRY(check_text("tag", tag, twin_tag_bytes_max));
    if (remove.contains(tag)) return refused("tag " + tag + " is to be added and removed");
    if (has_element(now, tags_path, tag)) continue;
    // An element with its author: a device that outlives its delete by a tag says by whose.
    auto bytes = encode_twin_value({.json = std::string(set_element_value), .actor = describe.actor});
    if (!bytes) return bytes.error();
    Op op = add_element_op(now, tags_path, tag);
    op.value = std::move(*bytes);
    ops.push_back(std::move(op));
  }
  for (const auto& tag : remove) {
    Op op = remove_element_op(now, tags_path, tag);
    if (!op.supersedes.empty()) ops.push_back(std::move(op));
  }
  return ok();
}

Status describe_properties(std::vector<Op>& ops, const Entries& now, const Twins::Describe& describe) {
  for (const auto& [name, definition] : describe.define) {
    if (!is_property_name(name))
      return refused(shown_name(name) + ": property names are 1 to 128 of A-Z, a-z, 0-9 and -_.,:/@#");
    const std::string path = definition_path(name);
    if (!definition) {
      erase(ops, now, path);
      continue;
    }
    auto sense = check_definition(*definition);
    if (!sense) return std::move(sense).error().in("property " + name);
    const std::string json = definition_json(*definition);
    if (holds(now, path, json)) continue;
    LANDFALL_TRY(put(ops, now, path, {.json = json, .actor = describe.actor}));
  }
  return ok();
}

// Whether `ops` leave more below `prefix` than may be.
bool too_many(const std::vector<Op>& ops, const Entries& now, std::string_view prefix, std::size_t most) {
  std::set<std::string_view> paths;
  for (const Entry* entry : under(now, prefix)) paths.insert(entry->path);
  const std::size_t before = paths.size();
  for (const Op& op : ops) {
    if (op.value && op.path.starts_with(std::string(prefix) + "/")) paths.insert(op.path);
  }
  return paths.size() > most && paths.size() > before;
}

Ops decide_describe(const Log& log, const std::string& device, const Twins::Describe& describe, const Entries& now) {
  auto seen = see(log, device);
  if (!seen) return seen.error();
  if (!seen->any()) return unknown(device);
  LANDFALL_TRY(check_match(describe.if_match, version_of(device_object(device), now), !now.empty()));
  std::vector<Op> ops;
  LANDFALL_TRY(describe_attributes(ops, now, describe));
  LANDFALL_TRY(describe_tags(ops, now, describe));
  LANDFALL_TRY(describe_properties(ops, now, describe));
  if (too_many(ops, now, "/attributes", twin_tags_max) || too_many(ops, now, tags_path, twin_tags_max) ||
      too_many(ops, now, "/def", twin_properties_max))
    return refused("more than 1024 attributes, tags or properties");
  return ops;
}

// Begins a change of one object of a device, whose name is held against the alphabet first.
template <class Decided>
void change(Objects& objects, Stream stream, const std::string& device, const std::string& actor,
            std::vector<Log::Meta> meta, Decided decide, OnWritten done) {
  const auto name = parse_device(device);
  const std::string text = name ? name->text() : std::string();
  const std::string object = stream == Stream::document ? device_object(text) : twin_object(text);
  Objects::Change to_make{stream, object, text, actor, {}, std::move(meta)};
  if (name) {
    to_make.decide = [decide = std::move(decide), text](const Entries& now) { return decide(text, now); };
  } else {
    to_make.decide = [error = name.error()](const Entries&) -> Ops { return error; };
  }
  objects.change(std::move(to_make), std::move(done));
}

}  // namespace

Twins::~Twins() {
  for (const auto subscription : subscriptions_) objects_.log().unsubscribe(subscription);
}

Result<TwinView> Twins::view(std::string_view device) const {
  const auto name = parse_device(device);
  if (!name) return name.error();
  const auto seen = see(objects_.log(), name->text());
  if (!seen) return seen.error();
  if (!seen->any()) return unknown(name->text());
  return seen->view(name->text());
}

Result<std::vector<std::string>> Twins::devices(std::string_view after, std::size_t limit) const {
  std::set<std::string> all;
  for (const auto& [stream, prefix] :
       {std::pair{Stream::desired, twin_prefix}, std::pair{Stream::reported, twin_prefix},
        std::pair{Stream::document, device_prefix}}) {
    auto objects =
        objects_.log().objects(stream, prefix, after.empty() ? "" : std::string(prefix) + std::string(after), limit);
    if (!objects) return objects.error();
    for (const auto& object : *objects) all.insert(object.substr(prefix.size()));
  }
  std::vector<std::string> devices(all.begin(), all.end());
  if (devices.size() > limit) devices.resize(limit);
  return devices;
}

void Twins::set_desired(Desire desire, OnWritten done) {
  const std::string device = desire.device, actor = desire.actor;
  auto meta = std::move(desire.meta);
  change(
      objects_, Stream::desired, device, actor, std::move(meta),
      [log = &objects_.log(), layer = layer_, desire = std::move(desire)](const std::string& name, const Entries& now) {
        return decide_desired(*log, name, desire, layer, now);
      },
      std::move(done));
}

void Twins::release(std::string device, std::string property, std::optional<Dot> dot, std::string actor,
                    OnWritten done) {
  change(
      objects_, Stream::desired, device, actor, {},
      [log = &objects_.log(), property, dot](const std::string& name, const Entries& now) {
        return decide_release(*log, name, property, dot, now);
      },
      std::move(done));
}

void Twins::restore(std::string device, std::string property, std::optional<Dot> dot, std::string actor,
                    OnWritten done) {
  change(
      objects_, Stream::desired, device, actor, {},
      [log = &objects_.log(), layer = layer_, property, dot, actor](const std::string& name, const Entries& now) {
        return decide_restore(*log, name, property, dot, actor, layer, now);
      },
      std::move(done));
}

void Twins::report(Report report, OnWritten done) {
  const std::string device = report.device, actor = report.actor;
  auto meta = std::move(report.meta);
  change(
      objects_, Stream::reported, device, actor, std::move(meta),
      [log = &objects_.log(), report = std::move(report)](const std::string& name, const Entries& now) {
        return decide_report(*log, name, report, now);
      },
      std::move(done));
}

void Twins::describe(Describe describe, OnWritten done) {
  const std::string device = describe.device, actor = describe.actor;
  auto meta = std::move(describe.meta);
  change(
      objects_, Stream::document, device, actor, std::move(meta),
      [log = &objects_.log(), describe = std::move(describe)](const std::string& name, const Entries& now) {
        return decide_describe(*log, name, describe, now);
      },
      std::move(done));
}

void Twins::watch(OnChanged changed) {
  constexpr auto bit = [](Stream stream) { return 1u << static_cast<unsigned>(stream); };
  const auto streams = static_cast<std::uint8_t>(bit(Stream::desired) | bit(Stream::reported) | bit(Stream::document));
  subscriptions_.push_back(objects_.log().watch(streams, [changed = std::move(changed)](const Log::Changed& now) {
    const Stream stream = now.range.of.stream;
    const auto prefix = stream == Stream::document ? device_prefix : twin_prefix;
    for (const auto& object : now.objects) {
      if (object.starts_with(prefix)) changed(object.substr(prefix.size()), stream);
    }
  }));
}

}  // namespace landfall
