#include "devicetwin/kubeedge.h"

#include <utility>

#include "devicetwin/kubeedge_impl.h"
#include "schemas/limits.h"
#include "schemas/text.h"

namespace landfall {

using namespace kubeedge;

namespace {

constexpr std::size_t devices_per_read = 1000;

std::string name_in(std::string_view device) { return std::string(device.substr(device.find('/') + 1)); }
std::string space_of(std::string_view device) {
  const auto slash = device.find('/');
  return slash == std::string_view::npos ? "default" : std::string(device.substr(0, slash));
}

}  // namespace

KubeEdge::Impl::Impl(Loop& l, Twins& t, Devices& d, Options o) : loop(l), twins(t), registry(d), options(std::move(o)) {
  if (!options.runs) options.runs = [](const DeviceRecord&) { return true; };
  for (std::string after;;) {
    const auto page = registry.list(after, devices_per_read);
    if (!page) break;
    for (const auto& record : *page) {
      if (record.registered && options.runs(record)) add(record.device, record);
    }
    if (page->size() < devices_per_read) break;
    after = page->back().device;
  }
}

KubeEdge::KubeEdge(Loop& loop, Twins& twins, Devices& devices, Options options)
    : impl_(std::make_unique<Impl>(loop, twins, devices, std::move(options))) {
  const auto note = [impl = impl_.get(), alive = impl_->alive](const std::string& device) {
    if (*alive) impl->note_change(device);
  };
  devices.watch([note](const std::string& device, bool) { note(device); });
  twins.watch([note](const std::string& device, Stream) { note(device); });
}

KubeEdge::~KubeEdge() { *impl_->alive = false; }

bool KubeEdge::handles(std::string_view topic) { return parse_request(topic).has_value(); }

void KubeEdge::on_message(std::string_view topic, std::string_view client, std::string_view payload,
                          std::vector<Log::Meta> position, std::function<void()> done) {
  const auto request = parse_request(topic);
  LANDFALL_CHECK(request);
  impl_->look_at_changes();
  if (request->action == Action::membership_get) {
    impl_->get_membership(request->id, payload);
    return done();
  }
  const std::string name = impl_->resolve(request->id);
  Impl::Message message{request->action,      std::string(request->id), std::string(client),
                        std::string(payload), std::move(position),      std::move(done)};
  auto* device = impl_->find(name);
  if (device == nullptr) {
    impl_->answer_unknown(message);
    return message.done();
  }
  device->waiting.push_back(std::move(message));
  impl_->serve(name);
}

void KubeEdge::on_subscribed(std::string_view client, std::string_view filter) {
  const auto asked = parse_twin_filter(filter);
  if (!asked) return;
  impl_->look_at_changes();
  const bool one_level = asked->form == Form::one_level;
  if (asked->name != "+" && asked->space != "+") {
    const auto id = (one_level ? "" : std::string(asked->space) + "/") + std::string(asked->name);
    return impl_->tell_present(impl_->resolve(id), id, asked->document, client);
  }
  for (const auto& [name, device] : impl_->devices) {
    if (asked->name != "+" && asked->name != name_in(name)) continue;
    if (!one_level && asked->space != "+" && asked->space != space_of(name)) continue;
    for (const auto& id : impl_->ids_of(name)) {
      if ((id.find('/') == std::string::npos) == one_level) impl_->tell_present(name, id, asked->document, client);
    }
  }
}

// ---- who is addressed

std::string KubeEdge::Impl::resolve(std::string_view id) const {
  const auto name = parse_device(id);
  if (!name) return {};
  const std::string device = name->text();
  if (id.find('/') != std::string_view::npos || by_name.find(device) == by_name.end()) return device;
  const auto& same = by_name.find(device)->second;
  return same.contains(device) || same.size() != 1 ? device : *same.begin();
}

KubeEdge::Impl::Device* KubeEdge::Impl::find(std::string_view device) {
  const auto known = devices.find(device);
  return known != devices.end() && known->second.here ? &known->second : nullptr;
}

std::vector<std::string> KubeEdge::Impl::ids_of(std::string_view device) const {
  std::vector<std::string> ids;
  const auto name = name_in(device);
  if (resolve(name) == device) ids.push_back(name);
  ids.push_back(space_of(device) + "/" + name);
  return ids;
}

// ---- messages

// Client ids may be anything; what cannot stand in an event is not taken into it.
std::string KubeEdge::Impl::actor_of(const Message& message, const std::string& device) {
  const auto& client = message.client;
  return client.empty() || client.size() > text_bytes_max || !is_clean_text(client) ? device : client;
}

// One after the other, until one of them has to wait for the disk.
void KubeEdge::Impl::serve(const std::string& name) {
  for (;;) {
    const auto known = devices.find(name);
    if (known == devices.end() || known->second.busy) return;
    if (known->second.waiting.empty()) {
      if (!known->second.here) devices.erase(known);
      return;
    }
    Message message = std::move(known->second.waiting.front());
    known->second.waiting.pop_front();
    look_at(name);
    if (auto* device = find(name)) {
      handle(name, *device, std::move(message));
    } else {
      answer_unknown(message);
      message.done();
    }
  }
}

void KubeEdge::Impl::handle(const std::string& name, Device& device, Message message) {
  switch (message.action) {
    case Action::twin_update:
    case Action::cloud_updated: return update_twin(name, device, std::move(message));
    case Action::state_update: return update_state(name, device, std::move(message));
    case Action::twin_get: get_twin(name, message); break;
    default: break;  // state/get has no answer in the contract
  }
  message.done();
}

void KubeEdge::Impl::answer_unknown(const Message& message) {
  std::string event_id;
  if (message.action == Action::twin_get) {
    const auto read = read_get(message.payload, event_id);
    const std::string reason = read ? "Device " + message.id + " not found while getting twin" : read.error().detail;
    return send_error(message, "twin/get/result", read ? 404 : 400, event_id, reason);
  }
  if (message.action != Action::twin_update && message.action != Action::cloud_updated) return;
  const auto read = read_update(message.payload, event_id);
  send_error(message, "twin/update/result", read ? 404 : 400, event_id,
             read ? "update rejected due to the device is not existed" : read.error().detail);
}

void KubeEdge::Impl::get_twin(const std::string& name, const Message& message) {
  std::string event_id;
  if (const auto read = read_get(message.payload, event_id); !read)
    return send_error(message, "twin/get/result", 400, event_id, read.error().detail);
  const auto view = twins.view(name);
  if (!view) return send_error(message, "twin/get/result", 500, event_id, view.error().detail);
  send(device_topic(message.id, "twin/get/result"), write_twin({event_id, loop.unix_ms()}, twin_of(*view)));
}

// Any node's name is answered, where it was asked: the number in `timestamp` keeps mappers that take every message of
// strings below $hw/events/node/ for their own from doing so.
void KubeEdge::Impl::get_membership(std::string_view node, std::string_view payload) {
  std::string event_id;
  if (!read_get(payload, event_id)) return;
  std::vector<DeviceEntry> list;
  for (const auto& [name, device] : devices) {
    if (device.here) list.push_back(entry_of(name, device));
  }
  send(node_topic(node, "membership/get/result"), write_devices({event_id, loop.unix_ms()}, list));
}

// ---- changes of the registry and of twins, whoever made them

// Several commits of one turn are one change; what is told is what is true then.
void KubeEdge::Impl::note_change(const std::string& device) {
  changed.insert(device);
  if (std::exchange(look_due, true)) return;
  loop.post([this, still = alive] {
    if (*still) look_at_changes();
  });
}

void KubeEdge::Impl::look_at_changes() {
  look_due = false;
  for (const auto names = changed; const auto& name : names) look_at(name);
}

void KubeEdge::Impl::look_at(const std::string& name) {
  const auto known = devices.find(name);
  if (known != devices.end() && known->second.busy) return;
  if (changed.erase(name) == 0 || !was_and_is_here(name)) return;
  if (const auto view = twins.view(name)) tell(name, devices.at(name), *view, nullptr, options.make_event_id());
}

bool KubeEdge::Impl::was_and_is_here(const std::string& name) {
  auto* device = find(name);
  const auto record = registry.get(name);
  if (!record && record.error().code != Code::not_found) return false;
  const bool here = record && record->registered && options.runs(*record);
  if (here && device != nullptr) {
    device->description = record->description;
    return true;
  }
  if (here) {
    add(name, *record);
    auto entry = entry_of(name, devices.at(name));
    if (const auto view = twins.view(name)) entry.twin = twin_of(*view);
    send(node_topic(options.node_name, "membership/updated"),
         write_membership({options.make_event_id(), loop.unix_ms()}, entry, true));
  } else if (device != nullptr) {
    remove(name, *device);
  }
  return false;
}

void KubeEdge::Impl::add(const std::string& name, const DeviceRecord& record) {
  auto& device = devices[name];
  device.here = true;
  device.description = record.description;
  by_name[name_in(name)].insert(name);
  if (const auto view = twins.view(name)) remember(device, *view);
}

void KubeEdge::Impl::remove(const std::string& name, Device& device) {
  const auto entry = entry_of(name, device);
  device.here = false;
  const auto same = by_name.find(name_in(name));
  same->second.erase(name);
  if (same->second.empty()) by_name.erase(same);
  send(node_topic(options.node_name, "membership/updated"),
       write_membership({options.make_event_id(), loop.unix_ms()}, entry, false));
  if (!device.busy && device.waiting.empty()) devices.erase(name);
}

// ---- out

DeviceEntry KubeEdge::Impl::entry_of(const std::string& name, const Device& device) const {
  return {name, device.description, device.state, device.last_online_ms, device.attributes, {}};
}

void KubeEdge::Impl::send(std::string topic, std::string payload, std::string_view client) const {
  options.send({.topic = std::move(topic), .payload = std::move(payload), .to_client = std::string(client)});
}

void KubeEdge::Impl::send_error(const Message& message, std::string_view suffix, int code, std::string_view event_id,
                                std::string_view reason) const {
  send(device_topic(message.id, suffix), write_error({event_id, loop.unix_ms()}, code, reason));
}

}  // namespace landfall
