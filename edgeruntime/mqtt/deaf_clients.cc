#include "edgeruntime/mqtt/deaf_clients.h"

#include <algorithm>

#include "schemas/limits.h"

namespace landfall {

void DeafClients::note(const CapturedMessage& message) {
  ++notes_;
  switch (message.outcome) {
    case Outcome::request:
      if (message.subscriptions == 0) return add(message);
      [[fallthrough]];
    case Outcome::subscribed:
    case Outcome::disconnected: {
      const auto found = clients_.find(message.client);
      if (found != clients_.end()) clients_.erase(found);
      return;
    }
    case Outcome::broker_started: clients_.clear(); return;
    default: return;
  }
}

void DeafClients::add(const CapturedMessage& message) {
  if (!message.topic.starts_with("$hw/")) return;  // not KubeEdge's: a sensor that only publishes
  const auto topic = parse_device_topic(message.topic);
  if (!topic || message.client.empty()) return;
  auto found = clients_.find(message.client);
  if (found == clients_.end()) {
    if (clients_.size() >= mqtt_deaf_clients_max) {
      clients_.erase(std::ranges::min_element(clients_, {}, [](const auto& entry) { return entry.second.noted; }));
    }
    found = clients_.emplace(std::string(message.client), Client{{}, notes_}).first;
  }
  auto& devices = found->second.devices;
  if (devices.size() >= mqtt_deaf_devices_max && !devices.contains(topic->device)) devices.erase(devices.begin());
  devices.insert(topic->device);
}

std::vector<std::string> DeafClients::of_device(std::string_view device) const {
  std::vector<std::string> ids;
  for (const auto& [id, client] : clients_) {
    if (client.devices.contains(device)) ids.push_back(id);
  }
  return ids;
}

std::vector<std::pair<std::string, std::vector<std::string>>> DeafClients::all() const {
  std::vector<std::pair<std::string, std::vector<std::string>>> all;
  for (const auto& [id, client] : clients_) all.push_back({id, {client.devices.begin(), client.devices.end()}});
  return all;
}

}  // namespace landfall
