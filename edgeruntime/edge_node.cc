#include <algorithm>

#include <spdlog/spdlog.h>

#include "edgeruntime/enrolment.h"
#include "edgeruntime/mqtt/broker.h"
#include "edgeruntime/mqtt/ingest.h"
#include "edgeruntime/node.h"
#include "edgeruntime/node_body.h"
#include "edgeruntime/pending_invite.h"
#include "edgeruntime/renewal.h"

namespace landfall {
namespace {

class EdgeNode final : public NodeBody {
 public:
  EdgeNode(const NodePaths& paths, const EdgeConfig& config)
      : NodeBody({paths, "edge", config.name, config.api, config.log}), config_(config) {}
  ~EdgeNode() override { close_parts(); }

 private:
  // An edge logs from its first start on: its key makes its name, the hub's answer may come weeks later.
  Result<NodeId> load_identity() override {
    auto identity = landfall::load_identity(options_.paths.identity());
    if (identity) {
      identity_ = std::move(*identity);
      LANDFALL_TRY(prove_own_certificate(*identity_));
      LANDFALL_TRY(forget_invite(options_.paths));
      return node_of_key(identity_->key_pem);
    }
    if (identity.error().code != Code::not_found) return Error{identity.error()}.in("identity");
    auto pending = load_pending_invite(options_.paths);
    if (!pending) return std::move(pending).error();
    pending_ = std::move(*pending);
    return node_of_key(pending_->key_pem);
  }

  Status open_parts() override {
    if (config_.mqtt.enabled) LANDFALL_TRY(open_mqtt());
    return identity_ ? open_link() : open_first_contact();
  }

  Status open_mqtt() {
    auto rules = capture_rules(config_.mqtt.capture, config_.mqtt.durability);
    if (!rules) return Error{rules.error()}.in("[mqtt] capture");
    const auto dir = options_.paths.mqtt();
    MqttIngestOptions ingest;
    ingest.ring = dir / "ring";
    ingest.wake_socket = dir / "wake.sock";
    ingest.on_error = [](const Error& error) { spdlog::error("event=mqtt_capture reason=\"{}\"", error.detail); };
    ingest.on_retained = [this] {
      if (broker_) broker_->save_retained();
    };
    BrokerOptions broker;
    broker.dir = dir;
    broker.program = config_.mqtt.broker;
    broker.plugin = config_.mqtt.plugin;
    broker.ring = ingest.ring;
    broker.wake_socket = ingest.wake_socket;
    broker.rules = std::move(*rules);
    broker.listen = config_.mqtt.listen;
    broker.port = static_cast<std::uint16_t>(config_.mqtt.port);
    if (config_.mqtt.websocket_port != 0)
      broker.websocket_port = static_cast<std::uint16_t>(config_.mqtt.websocket_port);
    broker.password_file = config_.mqtt.password_file;
    broker.on_line = [](std::string_view line) { spdlog::info("event=broker what=\"{}\"", line); };

    std::error_code error;
    std::filesystem::create_directories(dir, error);
    if (error) return Error{Code::disk, dir.string() + ": " + error.message()};
    std::filesystem::permissions(dir, std::filesystem::perms::owner_all, error);
    auto opened = MqttIngest::open(loop_, *log_, std::move(ingest));
    if (!opened) return Error{opened.error()}.in("mqtt ring");
    ingest_ = std::move(*opened);
    auto started = Broker::start(loop_, std::move(broker));
    if (!started) return Error{started.error()}.in("mqtt broker");
    broker_ = std::move(*started);
    return ok();
  }

  Status open_link() {
    LANDFALL_TRY(open_network(*identity_));
    renewal_ = std::make_unique<Renewal>(loop_, *network_, *identity_,
                                         [this](const Identity& identity) { return renewed(identity); });
    ReplicatorOptions options;
    options.role = ReplicatorOptions::Role::edge;
    options.session.link_bytes_per_second = config_.link.bytes_per_second;
    options.session.heartbeat = config_.link.heartbeat;
    options.session.software = software_name();
    replicator_ = Replicator::create(loop_, *log_, *renewal_, std::move(options));
    return ok();
  }

  Status open_first_contact() {
    LANDFALL_TRY(open_network(pending_->invite.identity));
    first_contact_ = std::make_unique<FirstContact>(loop_, pending_->invite, pending_->key_pem,
                                                    [this](Identity identity) { enrolled(std::move(identity)); });
    return ok();
  }

  Status open_network(const Identity& identity) {
    UvNetworkOptions network;
    network.identity = identity;
    network.dial = {config_.hub_address};
    auto opened = UvNetwork::create(loop_, std::move(network));
    if (!opened) return Error{opened.error()}.in("[hub] address");
    network_ = std::move(*opened);
    network_->hold(held_at_start());
    return ok();
  }

  void start_parts() override {
    if (replicator_) return replicator_->start();
    spdlog::info("event=enrolling invite={} hub={}", pending_->invite.name, config_.hub_address);
    network_->start(*first_contact_);
  }

  void enrolled(Identity identity) {
    const auto saved = save_identity(options_.paths.identity(), identity);
    if (!saved) return fail_enrolment(saved.error());
    const auto forgotten = forget_invite(options_.paths);
    if (!forgotten) spdlog::warn("event=invite_kept reason=\"{}\"", forgotten.error().detail);
    identity_ = std::move(identity);
    spdlog::info("event=enrolled node={} trust_domain={}", to_string(log_->run().node), identity_->trust_domain);
    // Out of the network's own callback: the links of the invite go, those of the node come.
    loop_.post([this] {
      if (stopping_parts_) return;
      const bool held = network_->held();
      network_.reset();
      first_contact_.reset();
      auto opened = prove_own_certificate(*identity_);
      if (opened) opened = open_link();
      if (!opened) return fail_enrolment(opened.error());
      network_->hold(held);
      replicator_->start();
    });
  }

  Status renewed(const Identity& identity) {
    LANDFALL_TRY(save_identity(options_.paths.identity(), identity));
    identity_ = identity;
    LANDFALL_TRY(prove_own_certificate(identity));
    return network_->set_identity(identity);
  }

  void fail_enrolment(const Error& error) {
    enrolment_failure_ = error.detail;
    spdlog::error("event=enrolment_failed reason=\"{}\"", error.detail);
  }

  void stop_parts() override {
    stopping_parts_ = true;
    if (replicator_) replicator_->stop();
    if (!broker_) return;
    broker_gone_ = false;
    broker_->stop([this] { broker_gone_ = true; });
  }

  bool stopped() const override {
    if (!broker_gone_ || (ingest_ && ingest_->metrics().ring_used_bytes != 0)) return false;
    if (!replicator_) return true;
    const auto peers = replicator_->peers();
    return std::ranges::none_of(peers, [](const auto& peer) { return peer.connected; });
  }

  void close_parts() override {
    broker_.reset();
    ingest_.reset();
    replicator_.reset();
    renewal_.reset();
    network_.reset();
    first_contact_.reset();
  }

  void add_status(NodeStatus& status) const override {
    status.enrolled = identity_.has_value();
    status.trust_domain = identity_ ? identity_->trust_domain : pending_->invite.identity.trust_domain;
    if (first_contact_ && !first_contact_->refusal().empty())
      status.reasons.push_back("enrolment refused: " + first_contact_->refusal());
    if (!enrolment_failure_.empty()) status.reasons.push_back("enrolment failed: " + enrolment_failure_);
    if (ingest_) add_mqtt(status);
  }

  void add_mqtt(NodeStatus& status) const {
    const auto m = ingest_->metrics();
    const auto report = broker_->report();
    const auto number = [](auto value) { return static_cast<double>(value); };
    status.mqtt = {
        {"port", "Port of the broker.", number(report.port)},
        {"websocket_port", "Port of the broker for WebSocket, 0 for none.", number(report.websocket_port)},
        {"broker_pid", "Process of the broker, 0 for none.", number(report.pid)},
        {"broker_attached", "1 where the broker's plugin holds the ring.", number(m.broker_attached)},
        {"broker_restarts_total", "Deaths of the broker that nobody asked for.", number(report.restarts), true},
        {"captured_total", "Messages made durable events.", number(m.captured), true},
        {"duplicates_total", "Messages named like one in the dedupe window, not stored again.", number(m.duplicates),
         true},
        {"skipped_total", "Records that were in the log already at the start.", number(m.skipped), true},
        {"refused_full_total", "Messages refused as the ring was full.", number(m.refused_full), true},
        {"refused_size_total", "Messages refused as too large.", number(m.refused_size), true},
        {"refused_invalid_total", "Messages refused as no event could be made of them.", number(m.refused_invalid),
         true},
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
  }

  EdgeConfig config_;
  std::optional<Identity> identity_;
  std::optional<PendingInvite> pending_;
  std::unique_ptr<FirstContact> first_contact_;
  std::unique_ptr<Renewal> renewal_;
  std::unique_ptr<MqttIngest> ingest_;
  std::unique_ptr<Broker> broker_;
  std::string enrolment_failure_;
  bool broker_gone_ = true, stopping_parts_ = false;
};

}  // namespace

std::unique_ptr<NodeBody> make_edge(const NodePaths& paths, const EdgeConfig& config) {
  return std::make_unique<EdgeNode>(paths, config);
}

}  // namespace landfall
