#include <malloc.h>

#include <algorithm>

#include <spdlog/spdlog.h>

#include "devicetwin/latest.h"
#include "edgeruntime/enrolment.h"
#include "edgeruntime/event_bus.h"
#include "edgeruntime/node.h"
#include "edgeruntime/node_body.h"
#include "edgeruntime/pending_invite.h"
#include "edgeruntime/profile_file.h"
#include "edgeruntime/renewal.h"

namespace landfall {
namespace {

class EdgeNode final : public NodeBody {
 public:
  EdgeNode(const NodePaths& paths, const EdgeConfig& config)
      : NodeBody({paths, "edge", config.name, config.api, config.log}), config_(config) {
    // An arena per thread and a threshold that rises with the largest block keep 6 MiB of 48 for nobody.
    ::mallopt(M_ARENA_MAX, 2);
    ::mallopt(M_TRIM_THRESHOLD, 128 << 10);
  }
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
    if (!config_.mqtt.device_profile.empty()) {
      profile_ = std::make_unique<ProfileFile>(
          loop_, meaning_->twins, meaning_->devices,
          ProfileFile::Options{options_.paths.dir / config_.mqtt.device_profile,
                               [this](const DeviceRecord& record) { return runs(record); }});
    }
    if (config_.mqtt.enabled) LANDFALL_TRY(open_mqtt());
    return identity_ ? open_link() : open_first_contact();
  }

  Status open_mqtt() {
    EventBus::Options options;
    options.config = config_.mqtt;
    options.dir = options_.paths.mqtt();
    options.node_name = config_.name;
    options.audit = [this](std::string what) { audit(std::move(what)); };
    options.runs = [this](const DeviceRecord& record) { return runs(record); };
    auto opened = EventBus::open(
        loop_, *log_, {meaning_->twins, meaning_->devices, meaning_->commands, meaning_->alarms}, std::move(options));
    if (!opened) return std::move(opened).error();
    bus_ = std::move(*opened);
    return ok();
  }

  Layer layer() const override { return Layer::edge; }

  // Registered for this node, or for none in particular and known here by its own reports: two edges never both send.
  bool runs(const DeviceRecord& record) const override {
    if (!record.node.empty()) return record.node == config_.name || record.node == to_string(log_->run().node);
    const auto reported = log_->state(Stream::reported, twin_object(record.device));
    return reported && !reported->empty();
  }

  Commands::Options command_options() override {
    return {[this](const std::string& device) {
              const auto known = meaning_->devices.get(device);
              DeviceRecord record;
              record.device = device;
              return runs(known ? *known : record);
            },
            [this](const CommandView& command) {
              if (bus_) bus_->send_command(command);
            }};
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
    options.session.voids = 1u << static_cast<int>(Stream::reported);
    options.session.may_void = superseded_latest(*log_);
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
    if (bus_) bus_->stop();
  }

  bool stopped() const override {
    if (bus_ && !bus_->stopped()) return false;
    if (!replicator_) return true;
    const auto peers = replicator_->peers();
    return std::ranges::none_of(peers, [](const auto& peer) { return peer.connected; });
  }

  void close_parts() override {
    profile_.reset();
    bus_.reset();
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
    if (bus_) bus_->add_status(status);
    if (profile_ && !profile_->fault().empty()) {
      status.reasons.push_back("mappers start from an old device profile: " + profile_->fault() +
                               ": mend that, or name another file in [mqtt] device_profile");
    }
  }

  EdgeConfig config_;
  std::optional<Identity> identity_;
  std::optional<PendingInvite> pending_;
  std::unique_ptr<FirstContact> first_contact_;
  std::unique_ptr<Renewal> renewal_;
  std::unique_ptr<EventBus> bus_;
  std::unique_ptr<ProfileFile> profile_;
  std::string enrolment_failure_;
  bool stopping_parts_ = false;
};

}  // namespace

std::unique_ptr<NodeBody> make_edge(const NodePaths& paths, const EdgeConfig& config) {
  return std::make_unique<EdgeNode>(paths, config);
}

}  // namespace landfall
