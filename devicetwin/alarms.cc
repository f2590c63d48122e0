#include "devicetwin/alarms.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "crdt/register.h"
#include "devicetwin/deadlines.h"
#include "devicetwin/json_value.h"
#include "devicetwin/twin.h"
#include "schemas/limits.h"

// Paths of an alarm's object:
//   /r                live raises, each an occurrence under its own dot; never one in the place of another that is open
//   /d                register {"severity","text"} of the alarm as a whole
//   /c/<occurrence>   it was cleared
//   /a/<occurrence>   its acknowledgements {"actor"}: each lives under its own dot, none supersedes another
//   /s                register {"until","actor"}: shelved
// <occurrence> is "<run>.<seq>" of the raise.

namespace landfall {
namespace {

constexpr std::string_view prefix = "alarm/";
constexpr std::string_view severities[] = {"critical", "major", "minor", "warning"};
constexpr std::string_view raises = "/r", details = "/d", clears = "/c/", acks = "/a/", shelf = "/s";

std::string object_of(std::string_view device, std::string_view name) {
  return std::string(prefix).append(device).append("/").append(name);
}
// Of a name below `prefix`; false where the object is no alarm.
bool split_object(std::string_view object, std::string& device, std::string& name) {
  if (!object.starts_with(prefix)) return false;
  object.remove_prefix(prefix.size());
  const auto slash = object.rfind('/');
  if (slash == std::string_view::npos) return false;
  device = object.substr(0, slash);
  name = object.substr(slash + 1);
  return true;
}

std::string token_of(const Dot& dot) { return to_string(dot.run) + "." + std::to_string(dot.seq); }
std::optional<Dot> dot_of(std::string_view token) {
  const auto point = token.rfind('.');
  if (point == std::string_view::npos) return std::nullopt;
  std::string text(token.substr(0, point));
  text.append("/").append(to_string(Stream::alarm)).append("/").append(token.substr(point + 1));
  const auto dot = parse_dot(text);
  return dot ? std::optional(*dot) : std::nullopt;
}

Status check(std::string_view device, std::string_view name) {
  LANDFALL_TRY(parse_device(device));
  if (is_alarm_name(name)) return ok();
  return Error{Code::out_of_range, shown_name(name) + ": an alarm's name is 1 to 128 of A-Z a-z 0-9 - _ . , : @"};
}

bool is_acknowledged(const AlarmView::Occurrence& occurrence) { return !occurrence.acks.empty(); }

// A raise takes the place of what is over: occurrences that were cleared and acknowledged, and the oldest of those that
// were cleared and never acknowledged where there are too many: the alarm stays unacknowledged by the new one.
void supersede_what_is_over(const AlarmView& view, const Entries& now, const Log& log, std::vector<Op>& ops,
                            Op& raise) {
  std::set<Dot> over;
  std::size_t kept = 0;
  for (const auto& occurrence : view.occurrences) {
    if (occurrence.cleared && (is_acknowledged(occurrence) || kept + 1 >= alarm_occurrences_max))
      over.insert(occurrence.dot);
    else
      ++kept;
  }
  raise.supersedes.assign(over.begin(), over.end());
  // What speaks of an occurrence goes with it. An ack may have come before its raise: that one stays.
  std::string last;
  for (const Entry& entry : now) {
    const std::string_view path = entry.path;
    if ((!path.starts_with(clears) && !path.starts_with(acks)) || path == last) continue;
    last = path;
    const auto of = dot_of(path.substr(clears.size()));
    const bool alive = of && std::ranges::any_of(view.occurrences, [&](const auto& o) { return o.dot == *of; });
    if (!of || over.contains(*of) || (!alive && log.received().contains(*of))) ops.push_back(erase_op(now, path));
  }
}

}  // namespace

bool is_alarm_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 &&
         name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.,:@") ==
             std::string_view::npos;
}

AlarmView view_alarm(std::string_view device, std::string_view name, const Entries& entries) {
  AlarmView view;
  view.device = device;
  view.name = name;
  view.acknowledged = true;
  for (const Entry& raised : at(entries, raises)) {
    AlarmView::Occurrence occurrence{raised.dot, raised.time, raised.clock, false, {}};
    const std::string token = token_of(raised.dot);
    occurrence.cleared = !at(entries, std::string(clears) + token).empty();
    for (const Entry& ack : at(entries, std::string(acks) + token))
      occurrence.acks.push_back({text_of(stored_json(ack.value), "actor"), ack.time, ack.dot});
    std::ranges::sort(occurrence.acks,
                      [](const auto& a, const auto& b) { return std::tie(a.time, a.dot) < std::tie(b.time, b.dot); });
    view.active |= !occurrence.cleared;
    view.acknowledged &= is_acknowledged(occurrence);
    view.occurrences.push_back(std::move(occurrence));
  }
  std::ranges::sort(view.occurrences,
                    [](const auto& a, const auto& b) { return std::tie(a.raised, a.dot) > std::tie(b.raised, b.dot); });
  if (const Entry* entry = latest(at(entries, details))) {
    const Json json = stored_json(entry->value);
    view.severity = text_of(json, "severity");
    view.text = text_of(json, "text");
  }
  if (const Entry* entry = latest(at(entries, shelf))) {
    view.shelved = true;
    view.shelved_until_ms = number_of(stored_json(entry->value), "until");
  }
  view.version = version_of(object_of(device, name), entries);
  return view;
}

std::string alarm_json(const AlarmView& view) {
  Json occurrences = Json::array();
  for (const auto& occurrence : view.occurrences) {
    Json given = Json::array();
    for (const auto& ack : occurrence.acks)
      given.push_back({{"actor", ack.actor}, {"time", time_text(ack.time.unix_ms())}, {"dot", to_string(ack.dot)}});
    occurrences.push_back({{"dot", to_string(occurrence.dot)},
                           {"raised", time_text(occurrence.raised.unix_ms())},
                           {"clock", clock_text(occurrence.clock)},
                           {"cleared", occurrence.cleared},
                           {"acks", std::move(given)}});
  }
  Json json = {{"device", view.device},   {"name", view.name},
               {"active", view.active},   {"acknowledged", view.acknowledged},
               {"shelved", view.shelved}, {"severity", view.severity},
               {"text", view.text},       {"occurrences", std::move(occurrences)},
               {"version", view.version}};
  if (view.shelved) json["shelved_until"] = time_text(view.shelved_until_ms);
  return write_json(json);
}

// Ends the shelving of alarms of owned devices. Deadlines go by object.
struct Alarms::Shelf {
  Shelf(Alarms& of, Loop& on, std::function<bool(const std::string&)> owned)
      : alarms(of),
        loop(on),
        owns(std::move(owned)),
        deadlines(on, [this](const std::string& object) { end(object); }) {}

  void look_at(const std::string& device, const std::string& name) {
    const auto view = alarms.view(device, name);
    if (view && view->shelved && owns(device)) {
      deadlines.set(object_of(device, name), view->shelved_until_ms);
    } else {
      deadlines.erase(object_of(device, name));
    }
  }
  void end(const std::string& object) {
    std::string device, name;
    if (!split_object(object, device, name)) return;
    auto decide = [now_ms = loop.unix_ms()](const Entries& now) -> Result<std::vector<Op>> {
      const Entry* entry = latest(at(now, shelf));
      if (entry == nullptr || number_of(stored_json(entry->value), "until") > now_ms) return std::vector<Op>{};
      return std::vector<Op>{erase_op(now, shelf)};
    };
    alarms.change(std::move(device), std::move(name), "", {}, std::move(decide), [](const Result<Written>&) {});
  }

  Alarms& alarms;
  Loop& loop;
  std::function<bool(const std::string&)> owns;
  Deadlines deadlines;
};

Alarms::Alarms(Objects& objects) : objects_(objects) {}
Alarms::~Alarms() {
  for (const auto subscription : subscriptions_) objects_.log().unsubscribe(subscription);
}

void Alarms::start(Loop& loop, std::function<bool(const std::string& device)> owns) {
  const bool first = shelf_ == nullptr;
  shelf_ = std::make_unique<Shelf>(*this, loop, std::move(owns));
  if (first) watch([this](const std::string& device, const std::string& name) { shelf_->look_at(device, name); });
  std::string after;
  while (true) {
    const auto some = list(Which::all, "", after, 256);
    if (!some || some->empty()) return;
    for (const auto& view : *some) {
      if (view.shelved) shelf_->look_at(view.device, view.name);
    }
    after = some->back().device + "/" + some->back().name;
  }
}

Result<AlarmView> Alarms::view(std::string_view device, std::string_view name) const {
  const auto entries = objects_.log().state(Stream::alarm, object_of(device, name));
  if (!entries) return entries.error();
  if (entries->empty()) {
    return Error{Code::not_found, "no alarm " + std::string(name) + " of " + std::string(device) + " is known"};
  }
  return view_alarm(device, name, *entries);
}

Result<std::vector<AlarmView>> Alarms::list(Which which, std::string_view device_prefix, std::string_view after,
                                            std::size_t limit) const {
  std::vector<AlarmView> found;
  const std::string begin = std::string(prefix).append(device_prefix);
  std::string from = after.empty() ? std::string() : std::string(prefix).append(after);
  while (found.size() < limit) {
    const auto objects = objects_.log().objects(Stream::alarm, begin, from, 256);
    if (!objects) return objects.error();
    if (objects->empty()) break;
    for (const std::string& object : *objects) {
      std::string device, name;
      if (!split_object(object, device, name)) continue;
      auto view = this->view(device, name);
      if (!view) return view.error();
      if (which == Which::all || view->is_open()) found.push_back(std::move(*view));
      if (found.size() == limit) break;
    }
    from = objects->back();
  }
  return found;
}

void Alarms::change(std::string device, std::string name, std::string actor, std::vector<Log::Meta> meta,
                    Objects::Decide decide, OnWritten done) {
  std::string object = object_of(device, name);
  auto checked = [device, name, decide = std::move(decide)](const Entries& now) -> Result<std::vector<Op>> {
    LANDFALL_TRY(check(device, name));
    return decide(now);
  };
  objects_.change(
      {Stream::alarm, std::move(object), std::move(device), std::move(actor), std::move(checked), std::move(meta)},
      std::move(done));
}

void Alarms::raise(Raise raise, OnWritten done) {
  auto decide = [&log = objects_.log(), device = raise.device, name = raise.name, severity = raise.severity,
                 text = raise.text](const Entries& now) -> Result<std::vector<Op>> {
    if (std::ranges::find(severities, severity) == std::end(severities))
      return Error{Code::out_of_range, "severity is critical, major, minor or warning"};
    if (text.size() > alarm_text_bytes_max) {
      return Error{Code::out_of_range,
                   "an alarm's text is at most " + std::to_string(alarm_text_bytes_max) + " bytes long"};
    }
    const AlarmView view = view_alarm(device, name, now);
    std::vector<Op> ops;
    const std::string detail = write_json({{"severity", severity}, {"text", text}});
    const Entry* known = latest(at(now, details));
    if (known == nullptr || known->value != detail) ops.push_back(put_op(now, details, detail));
    if (view.active) return ops;
    Op raised{std::string(raises), "1", {}};
    supersede_what_is_over(view, now, log, ops, raised);
    ops.push_back(std::move(raised));
    return ops;
  };
  change(std::move(raise.device), std::move(raise.name), std::move(raise.actor), std::move(raise.meta),
         std::move(decide), std::move(done));
}

void Alarms::clear(std::string device, std::string name, std::string actor, std::vector<Log::Meta> meta,
                   OnWritten done) {
  auto decide = [device, name](const Entries& now) -> Result<std::vector<Op>> {
    std::vector<Op> ops;
    for (const auto& occurrence : view_alarm(device, name, now).occurrences) {
      if (!occurrence.cleared) ops.push_back({std::string(clears) + token_of(occurrence.dot), "1", {}});
    }
    return ops;
  };
  change(std::move(device), std::move(name), std::move(actor), std::move(meta), std::move(decide), std::move(done));
}

void Alarms::acknowledge(std::string device, std::string name, std::optional<Dot> occurrence, std::string actor,
                         OnWritten done) {
  auto decide = [device, name, occurrence, actor](const Entries& now) -> Result<std::vector<Op>> {
    std::vector<Op> ops;
    for (const auto& one : view_alarm(device, name, now).occurrences) {
      if (is_acknowledged(one) || (occurrence && *occurrence != one.dot)) continue;
      ops.push_back({std::string(acks) + token_of(one.dot), write_json({{"actor", actor}}), {}});
    }
    if (!ops.empty()) return ops;
    return Error{Code::not_found, "alarm " + name + " of " + device + ": " +
                                      (occurrence ? to_string(*occurrence) + " is no unacknowledged occurrence"
                                                  : std::string("nothing is unacknowledged"))};
  };
  change(std::move(device), std::move(name), std::move(actor), {}, std::move(decide), std::move(done));
}

void Alarms::shelve(std::string device, std::string name, std::int64_t until_unix_ms, std::string actor,
                    OnWritten done) {
  auto decide = [device, name, until_unix_ms, actor](const Entries& now) -> Result<std::vector<Op>> {
    if (now.empty()) return Error{Code::not_found, "no alarm " + name + " of " + device + " is known"};
    if (until_unix_ms <= 0) return Error{Code::out_of_range, "an alarm is shelved until a time"};
    return std::vector<Op>{put_op(now, shelf, write_json({{"until", until_unix_ms}, {"actor", actor}}))};
  };
  change(std::move(device), std::move(name), std::move(actor), {}, std::move(decide), std::move(done));
}

void Alarms::unshelve(std::string device, std::string name, std::string actor, OnWritten done) {
  auto decide = [](const Entries& now) -> Result<std::vector<Op>> {
    if (at(now, shelf).empty()) return std::vector<Op>{};
    return std::vector<Op>{erase_op(now, shelf)};
  };
  change(std::move(device), std::move(name), std::move(actor), {}, std::move(decide), std::move(done));
}

void Alarms::watch(OnChanged changed) {
  subscriptions_.push_back(objects_.log().watch(1u << static_cast<unsigned>(Stream::alarm),
                                                [changed = std::move(changed)](const Log::Changed& change) {
                                                  std::string device, name;
                                                  for (const std::string& object : change.objects) {
                                                    if (split_object(object, device, name)) changed(device, name);
                                                  }
                                                }));
}

}  // namespace landfall
