#include <algorithm>
#include <utility>

#include "devicetwin/kubeedge_impl.h"
#include "schemas/limits.h"

namespace landfall {

using namespace kubeedge;

namespace {

int code_of(const Error& error) {
  switch (error.code) {
    case Code::out_of_range:
    case Code::denied: return 400;
    case Code::not_found: return 404;
    default: return 500;
  }
}

bool is_same(const std::optional<Value>& now, const std::string& told, std::int64_t told_at) {
  if (!now) return told_at < 0;
  return now->timestamp == told_at && now->value == told;
}
bool has_value(const Told& told) { return told.expected_at >= 0 || told.actual_at >= 0; }

Property property_of(const Told& told) {
  Property property;
  if (told.expected_at >= 0) property.expected = Value{told.expected, told.expected_at};
  if (told.actual_at >= 0) property.actual = Value{told.actual, told.actual_at};
  return property;
}

std::optional<Property> part_of(const Twin& twin, const std::string& name) {
  const auto found = twin.find(name);
  return found == twin.end() ? std::nullopt : std::optional<Property>(found->second);
}

// Properties with another value, or none, than clients were told. Both are in the order of names.
void add_changes(const std::vector<Told>& told, const Twin& now, std::map<std::string, BeforeAfter>& document) {
  for (const auto& before : told) {
    const auto after = part_of(now, before.name);
    if (!after && !has_value(before)) continue;
    if (after && is_same(after->expected, before.expected, before.expected_at) &&
        is_same(after->actual, before.actual, before.actual_at))
      continue;
    auto last = property_of(before);
    last.optional = after ? after->optional : std::nullopt;
    last.type = after ? after->type : std::nullopt;
    document.try_emplace(before.name, BeforeAfter{std::move(last), after});
  }
  for (const auto& [name, after] : now) {
    const bool is_new = !std::ranges::binary_search(told, name, {}, &Told::name);
    if (is_new && (after.expected || after.actual)) document.try_emplace(name, BeforeAfter{{}, after});
  }
}

// Mappers look for their property in every document of their device and end where its expected value is not there: so
// what did not change and has one comes along.
void add_unchanged(const Twin& now, std::map<std::string, BeforeAfter>& document) {
  for (const auto& [name, property] : now) {
    if (document.size() >= kubeedge_update_properties_max) return;
    if (property.expected) document.try_emplace(name, BeforeAfter{property, property});
  }
}

// Whether a mapper that has just subscribed may be shown the whole device: one that waits for its first desired value
// would not survive a document without it. What is read-only, or reported without being desired, waits for none.
bool is_presentable(const TwinView& view) {
  bool any = false;
  for (const auto& [name, property] : view.properties) {
    any = any || property.desired;
    if (!property.desired && !property.reported && !property.definition.read_only) return false;
  }
  return any;
}

}  // namespace

// ---- D/twin/update, D/twin/cloud_updated

struct KubeEdge::Impl::Work {
  std::string name;
  Message message;
  std::string event_id;
  Plan plan;
  // The last one carries the message's position: what it says is then wholly written, or not at all.
  std::deque<std::function<void(std::vector<Log::Meta>, OnWritten)>> steps;
};

void KubeEdge::Impl::update_twin(const std::string& name, Device& device, Message message) {
  const auto source = message.action == Action::twin_update ? Source::device : Source::cloud;
  auto work = std::make_shared<Work>();
  const auto update = read_update(message.payload, work->event_id);
  const auto now = update ? twins.view(name) : Result<TwinView>(update.error());
  auto plan = now ? make_plan(*now, *update, source) : Result<Plan>(now.error());
  if (!plan) {
    send_error(message, "twin/update/result", code_of(plan.error()), work->event_id, plan.error().detail);
    return message.done();
  }
  work->name = name;
  work->plan = std::move(*plan);
  work->message = std::move(message);
  add_steps(*work);
  device.busy = true;
  write_next(std::move(work));
}

// A definition before the first value, and gone after the last.
void KubeEdge::Impl::add_steps(Work& work) {
  const auto actor = actor_of(work.message, work.name);
  Twins::Describe define, forget;
  define.device = forget.device = work.name;
  define.actor = forget.actor = actor;
  for (const auto& [name, definition] : work.plan.define) (definition ? define : forget).define[name] = definition;
  const auto describe = [&](Twins::Describe& what) {
    if (what.define.empty()) return;
    work.steps.push_back([this, what = std::move(what)](std::vector<Log::Meta> meta, OnWritten done) mutable {
      what.meta = std::move(meta);
      twins.describe(std::move(what), std::move(done));
    });
  };
  describe(define);
  if (!work.plan.desired.empty()) {
    Twins::Desire desire;
    desire.device = work.name;
    desire.values = work.plan.desired;
    desire.actor = actor;
    desire.reason = work.message.action == Action::twin_update ? "twin/update" : "twin/cloud_updated";
    work.steps.push_back([this, desire = std::move(desire)](std::vector<Log::Meta> meta, OnWritten done) mutable {
      desire.meta = std::move(meta);
      twins.set_desired(std::move(desire), std::move(done));
    });
  }
  if (!work.plan.reported.empty()) {
    Twins::Report report;
    report.device = work.name;
    report.values = work.plan.reported;
    report.actor = actor;
    work.steps.push_back([this, report = std::move(report)](std::vector<Log::Meta> meta, OnWritten done) mutable {
      report.meta = std::move(meta);
      twins.report(std::move(report), std::move(done));
    });
  }
  describe(forget);
}

void KubeEdge::Impl::write_next(std::shared_ptr<Work> work) {
  if (work->steps.empty()) return finish(*work, ok());
  auto step = std::move(work->steps.front());
  work->steps.pop_front();
  auto position = work->steps.empty() ? std::move(work->message.position) : std::vector<Log::Meta>{};
  step(std::move(position), [this, still = alive, work](const Result<Written>& written) {
    if (!*still) return;
    if (written && !work->steps.empty()) return write_next(work);
    finish(*work, written ? ok() : Status(written.error()));
    serve(work->name);
  });
}

// Result, document, delta: in this order. A failed log answers and keeps the message: it comes again.
void KubeEdge::Impl::finish(const Work& work, const Status& written) {
  auto& device = devices.at(work.name);
  device.busy = false;
  const auto& message = work.message;
  const auto view = written ? twins.view(work.name) : Result<TwinView>(written.error());
  if (!view) {
    send_error(message, "twin/update/result", code_of(view.error()), work.event_id, view.error().detail);
  } else {
    if (message.action == Action::twin_update) {
      send(device_topic(message.id, "twin/update/result"),
           write_result({work.event_id, loop.unix_ms()}, result_of(work.plan, twin_of(*view))));
    }
    if (device.here) tell(work.name, device, *view, &work.plan, work.event_id);
    if (changed.erase(work.name) > 0) (void)was_and_is_here(work.name);
  }
  if (view || view.error().code != Code::disk) message.done();
}

// ---- what clients are told

void KubeEdge::Impl::tell(const std::string& name, Device& device, const TwinView& view, const Plan* plan,
                          std::string_view document_id) {
  const Twin now = twin_of(view);
  std::map<std::string, BeforeAfter> document;
  if (plan != nullptr) {
    for (const auto& [property, touched] : plan->touched) {
      const auto after = part_of(now, property);
      if (touched.changes() && (touched.before || after)) document[property] = {touched.before, after};
    }
  }
  add_changes(device.told, now, document);
  const auto ids = ids_of(name);
  if (!document.empty()) {
    add_unchanged(now, document);
    const auto payload = write_document({document_id, loop.unix_ms()}, document);
    for (const auto& id : ids) send(device_topic(id, "twin/update/document"), payload);
  }
  if (plan != nullptr || !document.empty()) {
    const auto delta = write_delta({options.make_event_id(), loop.unix_ms()}, now);
    for (const auto& id : ids) {
      if (!delta.empty()) send(device_topic(id, "twin/update/delta"), delta);
    }
  }
  tell_attributes(name, device, view);
  remember(device, view);
}

void KubeEdge::Impl::tell_attributes(const std::string& name, const Device& device, const TwinView& view) const {
  std::map<std::string, std::optional<std::string>> differing;
  for (const auto& [attribute, json] : view.attributes) {
    const auto before = device.attributes.find(attribute);
    if (before == device.attributes.end() || before->second != json) differing[attribute] = json;
  }
  for (const auto& [attribute, json] : device.attributes) {
    if (!view.attributes.contains(attribute)) differing[attribute] = std::nullopt;
  }
  if (differing.empty()) return;
  const auto payload = write_attributes({options.make_event_id(), loop.unix_ms()}, differing);
  for (const auto& id : ids_of(name)) send(device_topic(id, "updated"), payload);
}

// KubeEdge leaves a mapper that starts late without what was desired before.
void KubeEdge::Impl::tell_present(const std::string& name, const std::string& id, bool document,
                                  std::string_view client) {
  if (find(name) == nullptr) return;
  const auto view = twins.view(name);
  if (!view) return;
  const Twin now = twin_of(*view);
  const auto event_id = options.make_event_id();
  const Base base{event_id, loop.unix_ms()};
  if (!document) {
    const auto delta = write_delta(base, now);
    if (!delta.empty()) send(device_topic(id, "twin/update/delta"), delta, client);
  } else if (is_presentable(*view)) {
    std::map<std::string, BeforeAfter> present;
    add_unchanged(now, present);
    send(device_topic(id, "twin/update/document"), write_document(base, present), client);
  }
}

void KubeEdge::Impl::remember(Device& device, const TwinView& view) {
  device.told.clear();
  device.told.reserve(view.properties.size());
  for (const auto& [name, property] : view.properties) {
    const auto now = kubeedge::property_of(property);
    auto& told = device.told.emplace_back();
    told.name = name;
    if (now.expected) told.expected = now.expected->value, told.expected_at = now.expected->timestamp;
    if (now.actual) told.actual = now.actual->value, told.actual_at = now.actual->timestamp;
  }
  device.attributes = view.attributes;
  device.state = view.state;
  device.last_online_stored_ms = view.last_online_ms;
  device.last_online_ms = std::max(device.last_online_ms, view.last_online_ms);
}

// ---- D/state/update

// A mapper says OK each second, also when its device has gone: what is new in it is written, and once a minute that the
// mapper lives.
void KubeEdge::Impl::update_state(const std::string& name, Device& device, Message message) {
  const auto state = read_state(message.payload);
  if (!state) return message.done();
  const std::int64_t now = loop.unix_ms();
  const std::int64_t since = now - device.last_online_stored_ms;
  const bool online = is_online(*state);
  if (online) device.last_online_ms = now;
  if (*state == device.state && (!online || (since >= 0 && since < kubeedge_online_interval.count()))) {
    answer_state(name, device, message.id);
    return message.done();
  }
  Twins::Report report;
  report.device = name;
  report.state = *state;
  report.last_online_ms = online ? now : 0;
  report.actor = actor_of(message, name);
  report.meta = std::move(message.position);
  device.busy = true;
  const auto held = std::make_shared<Message>(std::move(message));
  twins.report(std::move(report), [this, still = alive, name, held, state = *state](const Result<Written>& written) {
    if (!*still) return;
    auto& known = devices.at(name);
    known.busy = false;
    if (written) {
      known.state = state;
      known.last_online_stored_ms = std::max(known.last_online_stored_ms, known.last_online_ms);
      answer_state(name, known, held->id);
    }
    if (written || written.error().code != Code::disk) held->done();
    serve(name);
  });
}

void KubeEdge::Impl::answer_state(const std::string& name, const Device& device, const std::string& id) {
  send(device_topic(id, "state/update/result"),
       write_state({options.make_event_id(), loop.unix_ms()}, entry_of(name, device)));
}

}  // namespace landfall
