#include "edgeruntime/event_bus.h"

#include <cstdio>

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "edgeruntime/address.h"

namespace landfall {
namespace {

constexpr std::size_t devices_per_read = 1000;

// RFC 9562, version 4.
std::string make_uuid(Loop& loop) {
  const std::uint64_t high = (loop.random() & ~0xf000ull) | 0x4000ull;
  const std::uint64_t low = (loop.random() & ~(3ull << 62)) | (2ull << 62);
  char text[37];
  std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%012llx", static_cast<unsigned>(high >> 32),
                static_cast<unsigned>(high >> 16 & 0xffff), static_cast<unsigned>(high & 0xffff),
                static_cast<unsigned>(low >> 48), static_cast<unsigned long long>(low & 0xffffffffffffull));
  return text;
}

}  // namespace

EventBus::EventBus(UvLoop& loop, Parts parts, Options options)
    : loop_(loop), parts_(parts), options_(std::move(options)) {}

EventBus::~EventBus() { *alive_ = false; }

Result<std::unique_ptr<EventBus>> EventBus::open(UvLoop& loop, Log& log, Parts parts, Options options) {
  std::unique_ptr<EventBus> bus(new EventBus(loop, parts, std::move(options)));
  auto opened = bus->open_broker(log);
  if (!opened) return std::move(opened).error();
  return bus;
}

Status EventBus::open_broker(Log& log) {
  const auto& config = options_.config;
  auto rules = capture_rules(config.capture, config.durability);
  if (!rules) return Error{rules.error()}.in("[mqtt] capture");
  std::error_code error;
  std::filesystem::create_directories(options_.dir, error);
  if (error) return Error{Code::disk, options_.dir.string() + ": " + error.message()};
  std::filesystem::permissions(options_.dir, std::filesystem::perms::owner_all, error);

  const auto send_message = [this](const DeviceMessage& message) { send(message); };
  kubeedge_ = std::make_unique<KubeEdge>(
      loop_, parts_.twins, parts_.devices,
      KubeEdge::Options{options_.node_name, send_message, [this] { return make_uuid(loop_); },
                        // One that is for no node in particular becomes known by its first report, which is made here.
                        [this](const DeviceRecord& record) { return serves(record); }});
  topics_ = std::make_unique<DeviceTopics>(
      parts_.twins, parts_.commands,
      DeviceTopics::Options{send_message, [this](const std::string& device) { return serves(device); },
                            &parts_.alarms});

  MqttIngestOptions ingest;
  ingest.ring = options_.dir / "ring";
  ingest.wake_socket = options_.dir / "wake.sock";
  ingest.on_error = [](const Error& fault) { spdlog::error("event=mqtt_capture reason=\"{}\"", fault.detail); };
  ingest.on_retained = [this] {
    if (broker_) broker_->save_retained();
  };
  ingest.on_request = [this](const CapturedMessage& message, std::vector<Log::Meta> position,
                             std::function<void()> done) {
    take_request(message, std::move(position), std::move(done));
  };
  ingest.on_notice = [this](const CapturedMessage& message, std::vector<Log::Meta>, std::function<void()> done) {
    take_notice(message, std::move(done));
  };
  ingest.is_request = [](const CapturedMessage& message) {
    return message.stream == Stream::alarm && DeviceTopics::is_alarm(message.topic, message.payload);
  };

  BrokerOptions broker;
  broker.dir = options_.dir;
  broker.program = config.broker;
  broker.plugin = config.plugin;
  broker.ring = ingest.ring;
  broker.wake_socket = ingest.wake_socket;
  broker.rules = std::move(*rules);
  auto allowed = access();
  if (!allowed) return Error{allowed.error()}.in("devices");
  broker.access = std::move(*allowed);
  broker.client_id = "landfall-edge-" + to_string(log.run().node);
  broker.listen = config.listen;
  broker.port = static_cast<std::uint16_t>(config.port);
  if (config.websocket_port != 0) broker.websocket_port = static_cast<std::uint16_t>(config.websocket_port);
  broker.password_file = config.password_file;
  broker.on_line = [](std::string_view line) { spdlog::info("event=broker what=\"{}\"", line); };

  auto opened = MqttIngest::open(loop_, log, std::move(ingest));
  if (!opened) return Error{opened.error()}.in("mqtt ring");
  ingest_ = std::move(*opened);
  auto started = Broker::start(loop_, std::move(broker));
  if (!started) return Error{started.error()}.in("mqtt broker");
  broker_ = std::move(*started);
  auto client = MqttClient::create(
      loop_, {broker_->login(), [](std::string_view line) { spdlog::info("event=mqtt_client what=\"{}\"", line); }});
  if (!client) return Error{client.error()}.in("mqtt client");
  client_ = std::move(*client);
  // A broker that is new says so itself. One that went on holds what was true before this process.
  const auto found = broker_->report();
  if (found.taken_over || found.state == Broker::State::external) topics_->publish_all();
  parts_.devices.watch([this](const std::string&, bool) { access_changed(); });
  return ok();
}

void EventBus::take_request(const CapturedMessage& message, std::vector<Log::Meta> position,
                            std::function<void()> done) {
  const auto who = message.user.empty() ? message.client : message.user;
  if (KubeEdge::handles(message.topic))
    return kubeedge_->on_message(message.topic, message.client, message.payload, std::move(position), std::move(done));
  if (DeviceTopics::handles(message.topic) || DeviceTopics::handles_alarm(message.topic))
    return topics_->on_message(message.topic, who, message.payload, std::move(position), std::move(done));
  done();
}

void EventBus::take_notice(const CapturedMessage& message, std::function<void()> done) {
  switch (message.outcome) {
    case Outcome::subscribed: kubeedge_->on_subscribed(message.client, message.topic); break;
    case Outcome::broker_started: topics_->publish_all(); break;
    case Outcome::refused_connect:
    case Outcome::refused_publish:
    case Outcome::refused_subscribe:
      options_.audit(nlohmann::json{{"audit", "refused"},
                                    {"door", "mqtt"},
                                    {"client", message.client},
                                    {"user", message.user},
                                    {"topic", message.topic},
                                    {"what", message.payload}}
                         .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      break;
    default: break;
  }
  done();
}

// A client that a restarted broker has forgotten goes on publishing and hears nothing: what its device is told reaches it
// by its name.
void EventBus::send(const DeviceMessage& message) {
  if (!client_) return;
  const MqttClient::Message out{message.topic, message.payload, message.qos, message.retain};
  if (!message.to_client.empty()) return client_->publish_to(message.to_client, out);
  client_->publish(out);
  if (message.retain) broker_->save_retained();
  const auto about = parse_device_topic(message.topic);
  if (!about || about->form == DeviceTopic::Form::landfall) return;
  for (const auto& client : ingest_->deaf_clients(about->device))
    client_->publish_to(client, {message.topic, message.payload, message.qos, false});
}

bool EventBus::serves(const std::string& device) const {
  const auto record = parts_.devices.get(device);
  return !record || serves(*record);
}

Result<BrokerAccess> EventBus::access() const {
  BrokerAccess all;
  const bool closed = !is_loopback(options_.config.listen) || !options_.config.password_file.empty();
  all.mode = closed ? BrokerAccess::Mode::closed : BrokerAccess::Mode::open;
  for (std::string after;;) {
    const auto page = parts_.devices.list(after, devices_per_read);
    if (!page) return page.error();
    for (const auto& record : *page) {
      if (!options_.runs(record) || (record.password_hash.empty() && record.certificate_subject.empty())) continue;
      all.clients.push_back({record.device, record.password_hash, record.certificate_subject, false, {}});
    }
    if (page->size() < devices_per_read) return all;
    after = page->back().device;
  }
}

// Many devices change together when a link returns: one new list then, not one per device.
void EventBus::access_changed() {
  if (std::exchange(access_due_, true)) return;
  loop_.post([this, alive = alive_] {
    if (!*alive) return;
    access_due_ = false;
    auto changed = access();
    auto set = changed ? broker_->set_access(std::move(*changed)) : Status(changed.error());
    access_fault_ = set ? "" : set.error().detail;
    if (!set) spdlog::error("event=mqtt_access reason=\"{}\"", access_fault_);
  });
}

void EventBus::send_command(const CommandView& command) { topics_->send_command(command); }

void EventBus::stop() {
  gone_ = false;
  broker_->stop([this] { gone_ = true; });
}

bool EventBus::stopped() const { return gone_ && ingest_->metrics().ring_used_bytes == 0; }

void EventBus::add_status(NodeStatus& status) const {
  const auto m = ingest_->metrics();
  const auto sent = client_->metrics();
  const auto report = broker_->report();
  const auto number = [](auto value) { return static_cast<double>(value); };
  status.mqtt = {
      {"port", "Port of the broker.", number(report.port)},
      {"websocket_port", "Port of the broker for WebSocket, 0 for none.", number(report.websocket_port)},
      {"broker_pid", "Process of the broker, 0 for none.", number(report.pid)},
      {"broker_attached", "1 where the broker's plugin holds the ring.", number(m.broker_attached)},
      {"broker_restarts_total", "Deaths of the broker that nobody asked for.", number(report.restarts), true},
      {"captured_total", "Messages made durable events.", number(m.captured), true},
      {"requests_total", "Messages of devices to the node itself: twins, state, membership.", number(m.requests), true},
      {"published_total", "Messages of the node to devices.", number(sent.published), true},
      {"dropped_total", "Messages to devices dropped while the broker was away.", number(sent.dropped), true},
      {"client_connected", "1 where the node's own client is connected to the broker.", number(sent.connected)},
      {"deaf_clients", "Clients that publish for a device and lost their subscriptions with a broker that died.",
       number(m.deaf_clients)},
      {"duplicates_total", "Messages named like one in the dedupe window, not stored again.", number(m.duplicates),
       true},
      {"skipped_total", "Records that were in the log already at the start.", number(m.skipped), true},
      {"refused_full_total", "Messages refused as the ring was full.", number(m.refused_full), true},
      {"refused_size_total", "Messages refused as too large.", number(m.refused_size), true},
      {"refused_invalid_total", "Messages refused as no event could be made of them.", number(m.refused_invalid), true},
      {"corrupt_total", "Times that records were lost to a bad checksum.", number(m.corrupt), true},
      {"ring_used_bytes", "Bytes in the ring that are not durable events yet.", number(m.ring_used_bytes)},
      {"ring_size_bytes", "Size of the ring.", number(m.ring_bytes)},
      {"oldest_seconds", "Age of the oldest record in the ring.", number(m.oldest_ms) / 1000},
      {"dedupe_names", "Names in the dedupe window.", number(m.window_names)},
  };
  if (report.state != Broker::State::running && report.state != Broker::State::external &&
      report.state != Broker::State::starting) {
    status.reasons.push_back("the MQTT broker is " + std::string(to_string(report.state)) +
                             (report.last_failure.empty() ? "" : ": " + report.last_failure));
  }
  if (m.corrupt > 0)
    status.reasons.push_back("records of the MQTT ring were lost to a bad checksum: check memory and disk");
  if (!access_fault_.empty()) status.reasons.push_back("the broker's access list is an old one: " + access_fault_);
}

}  // namespace landfall
