#include "devicetwin/twin.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "crdt/register.h"
#include "devicetwin/json_value.h"
#include "devicetwin/objects.h"
#include "devicetwin/twin_codec.h"
#include "devicetwin/twin_json.h"
#include "schemas/limits.h"
#include "schemas/op.h"

namespace landfall {
namespace {

constexpr std::array<std::string_view, 6> policy_names = {"cloud-wins", "edge-sticky", "latest",
                                                          "safe-min",   "safe-max",    "manual"};

bool is_name(std::string_view text, std::string_view marks) {
  const auto fits = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           marks.find(c) != std::string_view::npos;
  };
  return !text.empty() && text.size() <= device_name_part_bytes_max && std::ranges::all_of(text, fits);
}

// ---- which of the live writes of a property is effective

using Live = std::vector<Setting>;  // newest first

bool newer(const Setting& a, const Setting& b) {
  const auto rank = [](const Setting& s) { return std::tie(s.clock, s.time, s.dot.run, s.dot.seq); };
  return rank(a) > rank(b);
}
bool knows(const Setting& writer, const Setting& other) {
  return std::ranges::find(writer.seen, other.dot) != writer.seen.end();
}
bool concurrent(const Setting& a, const Setting& b) { return !knows(a, b) && !knows(b, a); }

struct Choice {
  const Setting* effective = nullptr;
  bool conflict = false;
};

const Setting* newest_of(const Live& live, Layer layer) {
  const auto found = std::ranges::find(live, layer, &Setting::layer);
  return found == live.end() ? nullptr : &*found;
}

bool any_other(const Live& live, const Setting& than, bool (*is)(const Setting&, const Setting&)) {
  return std::ranges::any_of(live, [&](const Setting& s) { return &s != &than && is(than, s); });
}

bool knows_the_cloud(const Setting& override_, const Live& live) {
#ifdef LANDFALL_MUTANT_CLOUD_WINS_BY_CLOCK
  return std::ranges::all_of(live, [&](const Setting& s) { return s.layer != Layer::cloud || newer(override_, s); });
#else
  return std::ranges::all_of(live, [&](const Setting& s) { return s.layer != Layer::cloud || knows(override_, s); });
#endif
}

Choice cloud_wins(const Live& live) {
  const auto fresh =
      std::ranges::find_if(live, [&](const Setting& s) { return s.layer == Layer::edge && knows_the_cloud(s, live); });
  const Setting* effective = fresh != live.end() ? &*fresh : newest_of(live, Layer::cloud);
  return {effective, any_other(live, *effective, concurrent)};
}

Choice edge_sticky(const Live& live) {
  const Setting* held = newest_of(live, Layer::edge);
  if (held == nullptr) return {&live.front(), live.size() > 1};
  return {held, any_other(live, *held, [](const Setting& e, const Setting& other) { return !knows(e, other); })};
}

Choice latest_known(const Live& live) {
  const auto is_known = [&](const Setting& s) {
    return std::ranges::any_of(live, [&](const Setting& other) { return knows(other, s); });
  };
  const auto found = std::ranges::find_if_not(live, is_known);
  // Honest writers never know of each other both ways.
  const Setting& effective = found != live.end() ? *found : live.front();
  return {&effective, any_other(live, effective, concurrent)};
}

Choice extreme(const Live& live, bool greatest) {
  std::vector<std::string> numbers;
  for (const Setting& s : live) numbers.push_back(plain_text(s.value));
  if (!std::ranges::all_of(numbers, is_decimal)) {
    const bool distinct = std::ranges::any_of(live, [&](const Setting& s) { return s.value != live.front().value; });
    return {latest_known(live).effective, distinct};
  }
  std::size_t best = 0;
  bool distinct = false;
  for (std::size_t i = 1; i < live.size(); ++i) {
    const auto order = *compare_decimals(numbers[i], numbers[best]);
    distinct |= order != 0;
    if (greatest ? order > 0 : order < 0) best = i;
  }
  return {&live[best], distinct};
}

Choice choose(Policy policy, const Live& live) {
  if (live.empty()) return {};
  switch (policy) {
    case Policy::cloud_wins: return cloud_wins(live);
    case Policy::edge_sticky: return edge_sticky(live);
    case Policy::latest: return latest_known(live);
    case Policy::safe_min: return extreme(live, false);
    case Policy::safe_max: return extreme(live, true);
    case Policy::manual: break;
  }
  return {live.size() == 1 ? &live.front() : nullptr, live.size() > 1};
}

// ---- what the device said

// Of one node the later by its own count; of several the later by clock, as nothing else orders them.
void order_reports(std::vector<std::pair<Report, ClockClass>>& reports) {
  const auto by_node = [](const auto& a, const auto& b) {
    return std::tie(a.first.dot.run.node, a.first.owner_term, a.first.dot) <
           std::tie(b.first.dot.run.node, b.first.owner_term, b.first.dot);
  };
  std::ranges::sort(reports, by_node);
  const auto is_last_of_node = [&](std::size_t i) {
    return i + 1 == reports.size() || reports[i + 1].first.dot.run.node != reports[i].first.dot.run.node;
  };
  std::size_t shown = reports.size();
  const auto rank = [](const auto& r) { return std::tie(r.first.owner_term, r.second, r.first.time, r.first.dot); };
  for (std::size_t i = 0; i < reports.size(); ++i) {
    if (is_last_of_node(i) && (shown == reports.size() || rank(reports[i]) > rank(reports[shown]))) shown = i;
  }
  if (!reports.empty()) std::swap(reports.front(), reports[shown]);
}

// ---- entries to views

// The tokens of a path, at most three; the last one takes what is left.
std::array<std::string_view, 3> tokens_of(std::string_view path) {
  std::array<std::string_view, 3> tokens;
  for (std::size_t i = 0; i < tokens.size() && path.starts_with('/'); ++i) {
    const auto end = i + 1 < tokens.size() ? std::min(path.find('/', 1), path.size()) : path.size();
    tokens[i] = path.substr(1, end - 1);
    path.remove_prefix(end);
  }
  return tokens;
}

class Viewer {
 public:
  explicit Viewer(TwinView& view) : view_(view) {}

  void read_desired(const Entries& entries) {
    for (const Entry& entry : entries) {
      const auto [kind, name, layer] = tokens_of(entry.path);
      if (kind != "p" || (layer != "c" && layer != "e")) continue;
      auto value = read(entry);
      if (!value) continue;
      desired_[unescape_token(name)].push_back({std::move(value->json), layer == "c" ? Layer::cloud : Layer::edge,
                                                entry.dot, entry.time, entry.clock, std::move(value->actor),
                                                std::move(value->reason), std::move(value->seen)});
    }
  }

  void read_reported(const Entries& entries) {
    for (const Entry& entry : entries) {
      const auto [kind, name, rest] = tokens_of(entry.path);
      if (kind != "p" || name.empty() || !rest.empty()) continue;
      auto value = read(entry);
      if (!value) continue;
      Report report{std::move(value->json), entry.dot, entry.time, value->owner_term, value->applied, {}, {}, 0};
      report.status = value->status.empty() ? "applied" : std::move(value->status);
      report.error = std::move(value->error);
      report.device_time_ms = value->time_ms;
      reported_[unescape_token(name)].emplace_back(std::move(report), entry.clock);
    }
    if (const auto state = read_latest(entries, "/s")) {
      view_.state = string_of(state->json).value_or("");
      view_.last_online_ms = state->time_ms;
    }
  }

  void read_document(const Entries& entries) {
    view_.registered = !at(entries, "/device").empty();
    const Entry* newest = view_.registered ? nullptr : latest(entries);
    for (std::size_t i = 0, end; i < entries.size(); i = end) {
      for (end = i + 1; end < entries.size() && entries[end].path == entries[i].path;) ++end;
      const auto [kind, name, rest] = tokens_of(entries[i].path);
      if (name.empty() || !rest.empty()) continue;
      if (kind == "tags") view_.tags.push_back(unescape_token(name));
      if (kind != "def" && kind != "attributes") continue;
      const auto value = read(*latest({&entries[i], end - i}));
      if (!value) continue;
      if (kind == "attributes") view_.attributes[unescape_token(name)] = value->json;
      if (kind == "def") define(unescape_token(name), value->json);
    }
    std::ranges::sort(view_.tags);
    if (newest == nullptr) return;
    const auto value = decode_twin_value(newest->value);
    view_.described_by = {value ? value->actor : std::string(), newest->time};
  }

  void finish() {
    for (auto& [name, live] : desired_) settle(property(name), std::move(live));
    for (auto& [name, reports] : reported_) {
      order_reports(reports);
      PropertyView& property = this->property(name);
      property.reported = std::move(reports.front().first);
      for (std::size_t i = 1; i < reports.size(); ++i) property.other_reports.push_back(std::move(reports[i].first));
    }
    for (auto& [name, property] : view_.properties) {
      property.name = name;
      property.in_sync = !property.desired || (property.reported && property.reported->status == "applied" &&
                                               property.reported->applied == property.desired->dot);
    }
  }

  std::size_t unreadable() const { return unreadable_; }

 private:
  std::optional<TwinValue> read(const Entry& entry) {
    auto value = decode_twin_value(entry.value);
    if (value) return std::move(*value);
    ++unreadable_;
    return {};
  }
  std::optional<TwinValue> read_latest(const Entries& entries, std::string_view path) {
    const Entry* entry = latest(at(entries, path));
    return entry == nullptr ? std::nullopt : read(*entry);
  }

  PropertyView& property(const std::string& name) {
    const auto [at, is_new] = view_.properties.try_emplace(name);
    if (is_new) at->second.definition.type.clear();
    return at->second;
  }
  void define(const std::string& name, std::string_view json) {
    auto definition = parse_definition(json);
    if (definition) {
      property(name).definition = std::move(*definition);
    } else {
      ++unreadable_;
    }
  }

  static void settle(PropertyView& property, Live live) {
    std::ranges::sort(live, newer);
    const Choice choice = choose(property.definition.policy, live);
    property.conflict = choice.conflict;
    const std::size_t effective =
        choice.effective == nullptr ? live.size() : static_cast<std::size_t>(choice.effective - live.data());
    for (std::size_t i = 0; i < live.size(); ++i) {
      if (i == effective) {
        property.desired = std::move(live[i]);
      } else {
        property.others.push_back(std::move(live[i]));
      }
    }
  }

  TwinView& view_;
  std::map<std::string, Live> desired_;
  std::map<std::string, std::vector<std::pair<Report, ClockClass>>> reported_;
  std::size_t unreadable_ = 0;
};

}  // namespace

Result<DeviceName> parse_device(std::string_view text) {
  DeviceName device;
  const auto slash = text.find('/');
  if (slash != std::string_view::npos) device.space = text.substr(0, slash);
  device.name = slash == std::string_view::npos ? text : text.substr(slash + 1);
  constexpr std::string_view marks = "-_.,:@#";
  if (is_name(device.space, marks) && is_name(device.name, marks)) return device;
  return Error{
      Code::out_of_range,
      "device " + shown_name(text) + ": a name is NAME or NAMESPACE/NAME, each 1 to 128 of A-Z, a-z, 0-9 and -_.,:@#"};
}

bool is_property_name(std::string_view name) { return is_name(name, "-_.,:/@#"); }

std::string twin_object(std::string_view device) { return "twin/" + std::string(device); }
std::string device_object(std::string_view device) { return "device/" + std::string(device); }

std::string_view to_string(Layer layer) { return layer == Layer::cloud ? "cloud" : "edge"; }
std::string_view to_string(Policy policy) { return policy_names[static_cast<std::size_t>(policy)]; }

Result<Policy> parse_policy(std::string_view text) {
  const auto found = std::ranges::find(policy_names, text);
  if (found != policy_names.end()) return static_cast<Policy>(found - policy_names.begin());
  return Error{Code::out_of_range, "policy " + std::string(text) +
                                       " is none of cloud-wins, edge-sticky, latest, safe-min, safe-max, manual"};
}

TwinView view_twin(std::string_view device, const Entries& desired, const Entries& reported, const Entries& document,
                   std::size_t* unreadable) {
  TwinView view;
  view.device = device;
  view.version = version_of(twin_object(device), desired);
  Viewer viewer(view);
  viewer.read_desired(desired);
  viewer.read_reported(reported);
  viewer.read_document(document);
  viewer.finish();
  if (unreadable != nullptr) *unreadable += viewer.unreadable();
  return view;
}

}  // namespace landfall
