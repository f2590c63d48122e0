#include "devicetwin/device_topics.h"

#include <map>
#include <optional>
#include <utility>

#include "devicetwin/device_requests.h"
#include "devicetwin/json_value.h"
#include "schemas/limits.h"
#include "schemas/text.h"

namespace landfall {
namespace {

using What = DeviceRequestTopic::What;

std::string topic_of(std::string_view level, std::string_view rest) {
  return std::string("landfall/").append(level).append("/").append(rest);
}

// RFC 9457, as the HTTP API answers.
std::string problem_json(const Error& error, std::string_view topic) {
  const auto [status, title] = [&]() -> std::pair<int, const char*> {
    switch (error.code) {
      case Code::not_found: return {404, "Not found"};
      case Code::out_of_range: return {400, "Out of range"};
      case Code::conflict: return {409, "Conflict"};
      case Code::denied: return {403, "Denied"};
      case Code::unavailable: return {503, "Unavailable"};
      case Code::disk: return {507, "Storage failed"};
      case Code::corrupt: return {500, "Corrupt"};
    }
    return {500, "Error"};
  }();
  return write_json({{"type", "about:blank"},
                     {"title", title},
                     {"status", status},
                     {"detail", error.detail},
                     {"instance", std::string(topic)}});
}

void append_member(std::string& object, std::string_view key, std::string_view json) {
  object += object.size() == 1 ? "" : ",";
  object.append(write_json(std::string(key))).append(":").append(json);
}

// An actor is what an event may say of one.
std::string actor_of(std::string_view client) {
  return client.size() <= text_bytes_max && is_clean_text(client) ? std::string(client) : "a client of the broker";
}

}  // namespace

struct DeviceTopics::Impl {
  Impl(Twins& over, Commands& of, Options given) : twins(over), commands(of), options(std::move(given)) {}

  void send(std::string topic, std::string payload, bool retain) {
    options.send({std::move(topic), std::move(payload), retain, 1, {}});
  }
  void refuse(std::string_view topic, std::string_view level, const Error& error) {
    send(topic_of(level, "twin/error"), problem_json(error, topic), false);
  }
  void publish(const std::string& device, bool whatever_was);
  void answer_get(const std::string& device, const std::string& topic, const std::string& level);
  void write(const DeviceRequestTopic& at, DeviceRequest request, std::string client, std::vector<Log::Meta> position,
             OnWritten done);

  Twins& twins;
  Commands& commands;
  Options options;
  struct Published {
    std::string desired, delta;
  };
  std::map<std::string, Published> published;
};

DeviceTopics::DeviceTopics(Twins& twins, Commands& commands, Options options)
    : impl_(std::make_shared<Impl>(twins, commands, std::move(options))) {
  twins.watch([weak = std::weak_ptr(impl_)](const std::string& device, Stream) {
    if (const auto impl = weak.lock()) impl->publish(device, false);
  });
}
DeviceTopics::~DeviceTopics() = default;

bool DeviceTopics::handles(std::string_view topic) {
  const auto at = read_request_topic(topic);
  return at && at->what != What::alarm;
}
bool DeviceTopics::handles_alarm(std::string_view topic) {
  const auto at = read_request_topic(topic);
  return at && at->what == What::alarm;
}
bool DeviceTopics::is_alarm(std::string_view topic, std::string_view payload) {
  const auto at = read_request_topic(topic);
  if (!at || at->what != What::alarm || !is_alarm_name(at->name)) return false;
  if (payload.find("\"active\"") == std::string_view::npos || !device_of_level(at->level)) return false;
  const auto body = read_json(payload, "alarm");
  return body && body->is_object() && body->contains("active");
}

// What is retained, where it is not what it was.
void DeviceTopics::Impl::publish(const std::string& device, bool whatever_was) {
  const std::string level = device_level(device);
  if (options.runs && !options.runs(device)) {
    // Handed over: what stands here would be true no more.
    if (published.erase(device) == 0) return;
    send(topic_of(level, "twin/desired"), "", true);
    return send(topic_of(level, "twin/delta"), "", true);
  }
  const auto view = twins.view(device);
  if (!view && view.error().code != Code::not_found) return;
  std::string desired = "{", delta = "{";
  if (view) {
    for (const auto& [name, property] : view->properties) {
      if (!property.desired) continue;
      append_member(desired, name, property.desired->value);
      if (!property.in_sync) append_member(delta, name, property.desired->value);
    }
  }
  desired = desired.size() == 1 ? "" : desired + "}";
  delta = delta.size() == 1 ? "" : delta + "}";
  Published& was = published[device];
  if (whatever_was || was.desired != desired) send(topic_of(level, "twin/desired"), desired, true);
  if (whatever_was || was.delta != delta) send(topic_of(level, "twin/delta"), delta, true);
  was = {std::move(desired), std::move(delta)};
  if (was.desired.empty() && was.delta.empty()) published.erase(device);
}

void DeviceTopics::publish_all() {
  std::string after;
  while (true) {
    const auto some = impl_->twins.devices(after, 256);
    if (!some || some->empty()) return;
    for (const std::string& device : *some) impl_->publish(device, true);
    after = some->back();
  }
}

void DeviceTopics::Impl::answer_get(const std::string& device, const std::string& topic, const std::string& level) {
  const auto view = twins.view(device);
  if (!view) return refuse(topic, level, view.error());
  send(topic_of(level, "twin/state"), twin_json(*view), false);
}

void DeviceTopics::Impl::write(const DeviceRequestTopic& at, DeviceRequest request, std::string client,
                               std::vector<Log::Meta> position, OnWritten done) {
  switch (at.what) {
    case What::desired: {
      Twins::Desire desire;
      desire.device = std::move(request.device);
      desire.values = std::move(request.desired);
      desire.actor = std::move(client);
      desire.meta = std::move(position);
      return twins.set_desired(std::move(desire), std::move(done));
    }
    case What::reported: {
      Twins::Report report;
      report.device = std::move(request.device);
      report.values = std::move(request.reported);
      report.actor = std::move(client);
      report.meta = std::move(position);
      return twins.report(std::move(report), std::move(done));
    }
    case What::result: {
      const auto command = commands.view(at.name);
      if (!command || command->device != request.device) {
        return done(
            Error{Code::not_found, "no command " + std::string(at.name) + " of " + request.device + " is known"});
      }
      return commands.complete(std::string(at.name), request.yes, std::move(request.result), std::move(client),
                               Commands::Another::dropped, std::move(position), std::move(done));
    }
    case What::alarm: {
      if (options.alarms == nullptr) return done(Error{Code::not_found, "no alarms are kept here"});
      if (!request.yes) {
        return options.alarms->clear(std::move(request.device), std::string(at.name), std::move(client),
                                     std::move(position), std::move(done));
      }
      return options.alarms->raise({std::move(request.device), std::string(at.name), std::move(request.severity),
                                    std::move(request.text), std::move(client), std::move(position)},
                                   std::move(done));
    }
    case What::get: return;
  }
}

void DeviceTopics::on_message(std::string_view topic, std::string_view client, std::string_view payload,
                              std::vector<Log::Meta> position, std::function<void()> done) {
  const auto at = read_request_topic(topic);
  if (!at) return done();
  auto request = read_request(*at, payload);
  if (!request) {
    impl_->refuse(topic, at->level, request.error());
    return done();
  }
  if (at->what == What::get) {
    impl_->answer_get(request->device, std::string(topic), std::string(at->level));
    return done();
  }
  impl_->write(*at, std::move(*request), actor_of(client), std::move(position),
               [weak = std::weak_ptr(impl_), topic = std::string(topic), level = std::string(at->level),
                done = std::move(done)](const Result<Written>& written) {
                 const auto impl = weak.lock();
                 if (!impl) return;
                 if (!written) impl->refuse(topic, level, written.error());
                 done();
               });
}

void DeviceTopics::send_command(const CommandView& command) {
  std::string payload = "{";
  append_member(payload, "id", write_json(command.id));
  append_member(payload, "name", write_json(command.name));
  append_member(payload, "arguments", command.arguments);
  append_member(payload, "expires", write_json(time_text(command.expires_ms)));
  payload += "}";
  // Not retained: who subscribes again must not hear of it twice.
  impl_->send(topic_of(device_level(command.device), "command"), std::move(payload), false);
}

}  // namespace landfall
