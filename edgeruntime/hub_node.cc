#include <algorithm>

#include <sys/resource.h>

#include <spdlog/spdlog.h>

#include "cloudsync/hub/kafka_writer.h"
#include "cloudsync/hub/progress.h"
#include "cloudsync/hub/state_projector.h"
#include "edgeruntime/enrolment.h"
#include "edgeruntime/node.h"
#include "edgeruntime/node_body.h"
#include "edgeruntime/state_json.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

constexpr Duration watch_kafka_every = std::chrono::seconds(5);
// Sessions wait for what Kafka has, so that no edge sends it again; without a broker they begin all the same.
constexpr Duration links_wait = std::chrono::seconds(10);
// Before the API gives up (HttpApiOptions::answer_within): who wrote is told what became of it.
constexpr Duration settle_wait = std::chrono::seconds(8);
constexpr std::int64_t renew_before_ms = 30LL * 24 * 3600 * 1000;

// A link is a descriptor, and most systems begin with 1,024 of them: beyond, not even RocksDB could open its files.
void allow_descriptors() {
  constexpr rlim_t wanted = links_max + 1024;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == wanted) return;
  spdlog::warn("event=few_descriptors limit={} wanted={} remedy=\"raise the hard limit (ulimit -Hn, LimitNOFILE)\"",
               limit.rlim_cur, wanted);
}

class HubNode final : public NodeBody {
 public:
  HubNode(const NodePaths& paths, const HubConfig& config)
      : NodeBody({paths, "hub", config.name, config.api, config.log}), config_(config) {}
  ~HubNode() override { close_parts(); }

 private:
  Result<NodeId> load_identity() override {
    auto root = load_trust_root(options_.paths.identity());
    if (!root) return Error{root.error()}.in("trust root");
    root_ = std::move(*root);
    auto identity = landfall::load_identity(options_.paths.identity());
    if (!identity) return Error{identity.error()}.in("identity");
    identity_ = std::move(*identity);
    LANDFALL_TRY(renew_own_certificate());
    LANDFALL_TRY(prove_own_certificate(identity_));
    return node_of_key(identity_.key_pem);
  }

  // The hub holds the root, so its own certificate need not depend on anybody: a fresh one near its end.
  Status renew_own_certificate() {
    const auto expires = expires_unix_ms(identity_.chain_pem);
    if (expires && *expires - loop_.unix_ms() > renew_before_ms) return ok();
    const auto csr = make_csr(identity_.key_pem);
    if (!csr) return csr.error();
    const auto chain = issue_svid(root_, *csr, Peer::Role::hub, loop_.unix_ms());
    if (!chain) return chain.error();
    identity_.chain_pem = *chain;
    spdlog::info("event=renewed what=\"certificate of the hub\"");
    return save_identity(options_.paths.identity(), identity_);
  }

  // A hub may run for longer than its certificate lives.
  void renew_daily() {
    loop_.after(std::chrono::hours(24), [this] {
      const std::string before = identity_.chain_pem;
      auto renewed = renew_own_certificate();
      if (renewed && identity_.chain_pem != before) {
        renewed = network_->set_identity(identity_);
        if (renewed) renewed = prove_own_certificate(identity_);
      }
      if (!renewed) spdlog::error("event=not_renewed reason=\"{}\"", renewed.error().detail);
      renew_daily();
    });
  }

  Status open_parts() override {
    allow_descriptors();
    UvNetworkOptions network;
    network.identity = identity_;
    network.listen = config_.listen;
    auto opened = UvNetwork::create(loop_, std::move(network));
    if (!opened) return Error{opened.error()}.in("[hub] listen");
    network_ = std::move(*opened);
    network_->hold(held_at_start());
    door_ = std::make_unique<EnrolmentDoor>(loop_, *log_, *network_, root_);

    ReplicatorOptions options;
    options.role = ReplicatorOptions::Role::hub;
    options.session.software = std::string(software_name());
    if (!config_.kafka.bootstrap.empty()) {
      open_kafka();
      options.committed = [this]() -> const ReceivedContext& { return kafka_->committed(); };
    }
    replicator_ = Replicator::create(loop_, *log_, *door_, std::move(options));
    return ok();
  }

  void open_kafka() {
    KafkaWriterOptions options;
    options.bootstrap = config_.kafka.bootstrap;
    options.trust_domain = config_.trust_domain;
    options.topic_prefix = config_.kafka.topic_prefix;
    options.shards = static_cast<std::uint32_t>(config_.kafka.shards);
    options.replication = config_.kafka.replication == 0 ? -1 : static_cast<int>(config_.kafka.replication);
    options.extra = config_.kafka.options;
    options.on_whole = [this](const Rebuilt& rebuilt) { on_whole(rebuilt); };
    kafka_ = KafkaWriter::create(loop_, *log_, std::move(options));
  }

  // What is, for readers who do not want to fold a history: landfall.twin-state and its like.
  Status open_projector() {
    ProjectorOptions options;
    options.bootstrap = config_.kafka.bootstrap;
    options.topic_prefix = config_.kafka.topic_prefix;
    options.extra = config_.kafka.options;
    options.committed = [this]() -> const ReceivedContext& { return kafka_->committed(); };
    options.key_of = [](Stream stream, std::string_view object) { return projected_key(stream, object); };
    options.show = [this](const ProjectedKey& key) { return show(key); };
    auto projector = StateProjector::create(loop_, *log_, std::move(options));
    if (!projector) return std::move(projector).error();
    projector_ = std::move(*projector);
    return ok();
  }

  static std::optional<ProjectedKey> projected_key(Stream stream, std::string_view object) {
    const auto behind = [&](std::string_view prefix) { return std::string(object.substr(prefix.size())); };
    if (object.starts_with("twin/")) return ProjectedKey{StateTopic::twins, behind("twin/")};
    if (stream == Stream::document && object.starts_with("device/"))
      return ProjectedKey{StateTopic::twins, behind("device/")};
    if (stream == Stream::document && object.starts_with("doc/"))
      return ProjectedKey{StateTopic::documents, behind("doc/")};
    if (stream == Stream::alarm && object.starts_with("alarm/"))
      return ProjectedKey{StateTopic::alarms, behind("alarm/")};
    return std::nullopt;
  }

  std::optional<std::string> show(const ProjectedKey& key) const {
    const auto shown = meaning_->api.show(key.topic == StateTopic::twins    ? StateApi::Noun::twins
                                          : key.topic == StateTopic::alarms ? StateApi::Noun::alarms
                                                                            : StateApi::Noun::documents,
                                          key.key);
    if (!shown) return std::nullopt;
    return shown->first;
  }

  void start_parts() override {
    if (kafka_) {
      kafka_->start(
          [this](const Status& started) {
            if (started) return spdlog::info("event=kafka_ready bootstrap={}", config_.kafka.bootstrap);
            refuse_kafka(started.error());
            start_links();
          },
          [this](const RunStream& of) {
            replicator_->committed_advanced(of);
            settle_committed(of);
            if (projector_) projector_->committed_advanced();
          });
      kafka_watch_ = loop_.after(watch_kafka_every, [this] { watch_kafka(); });
      links_wait_ = loop_.after(links_wait, [this] {
        if (!kafka_->status().rebuilding) start_links();
      });
    } else {
      start_links();
    }
    renew_daily();
  }

  void start_links() {
    if (std::exchange(links_begun_, true)) return;
    replicator_->start();
    spdlog::info("event=listening address={} advertise={}{}", config_.listen, config_.advertise,
                 network_->held() ? " held=true" : "");
  }

  void refuse_kafka(const Error& why) {
    kafka_refusal_ = why.detail;
    spdlog::error("event=kafka_refused reason=\"{}\"", kafka_refusal_);
  }

  // The log has all that Kafka had of it: its state may be shown, and changed.
  void on_whole(const Rebuilt& rebuilt) {
    whole_ = true;
    rebuilt_ = rebuilt;
    if (rebuilt.streams > 0)
      spdlog::info("event=rebuilt_from_kafka streams={} events={}", rebuilt.streams, rebuilt.events);
    for (const auto& [of, why] : rebuilt.refused) {
      const std::string name = progress_key(of);
      spdlog::error("event=rebuild_refused of={} reason=\"{}\"", name, why.detail);
      audit(json_text({{"audit", "rebuild_refused"}, {"of", name}, {"reason", why.detail}}));
    }
    for (const RunStream& of : rebuilt.gone)
      spdlog::warn("event=rebuild_incomplete of={} reason=\"kafka has not all of it any more\"", progress_key(of));
    if (Status opened = open_projector(); !opened) refuse_kafka(opened.error());
    if (rebuilt.streams == 0) return start_links();
    door_->recall([this](const Status& known) {
      if (!known) return spdlog::error("event=invites_not_recalled reason=\"{}\"", known.error().detail);
      start_links();
    });
  }

  std::optional<std::string> not_yet(bool to_change) const override {
    if (!kafka_ || whole_) return std::nullopt;
    const auto kafka = kafka_->status();
    if (kafka.rebuilding) {
      return "this hub reads back from Kafka what its log lacks, " + std::to_string(kafka.rebuilt_events) + " of " +
             std::to_string(kafka.rebuild_events) + " events so far: ask again";
    }
    if (!to_change) return std::nullopt;
    if (!kafka_refusal_.empty()) return "kafka: " + kafka_refusal_ + "; nothing was written";
    return "Kafka at " + config_.kafka.bootstrap +
           " has not said yet what is committed there, and this hub has just started: nothing was written, ask again";
  }

  void stop_parts() override {
    links_begun_ = true;  // none from here on
    replicator_->stop();
  }

  bool stopped() const override {
    const auto peers = replicator_->peers();
    return std::ranges::none_of(peers, [](const auto& peer) { return peer.connected; });
  }

  void close_parts() override {
    loop_.cancel(kafka_watch_);
    loop_.cancel(links_wait_);
    for (const auto& [dot, waiting] : unsettled_) loop_.cancel(waiting.late);
    unsettled_.clear();
    projector_.reset();
    kafka_.reset();
    replicator_.reset();
    door_.reset();
    network_.reset();
  }

  // Empty where Kafka answers.
  std::string kafka_trouble(const KafkaStatus& kafka) const {
    if (!kafka.last_error.empty()) return kafka.last_error;
    if (!kafka_refusal_.empty() || kafka.topics_ready) return {};
    return "no broker of " + config_.kafka.bootstrap + " has answered yet: edges keep their events";
  }

  // A line when Kafka goes and one when it is back.
  void watch_kafka() {
    kafka_watch_ = loop_.after(watch_kafka_every, [this] { watch_kafka(); });
    const auto kafka = kafka_->status();
    if (kafka.rebuilding)
      spdlog::info("event=rebuilding_from_kafka events={} of={}", kafka.rebuilt_events, kafka.rebuild_events);
    const auto trouble = kafka_trouble(kafka);
    if (trouble.empty() == !kafka_away_) return;
    kafka_away_ = !trouble.empty();
    if (kafka_away_) {
      spdlog::warn("event=kafka_away reason=\"{}\" meanwhile=\"links stay, edges keep what is not committed\"",
                   trouble);
    } else {
      spdlog::info("event=kafka_back bootstrap={}", config_.kafka.bootstrap);
    }
  }

  Layer layer() const override { return Layer::cloud; }
  Commands::Options command_options() override {
    // A hub runs no devices: it issues commands, the edge that has the device sends them.
    return {[](const std::string&) { return false; }, [](const CommandView&) {}};
  }

  // With Kafka a write ashore is done once Kafka has it (A2). While Kafka is away the writer hears that his event stands.
  Objects::Settle settle() override {
    if (config_.kafka.bootstrap.empty()) return {};
    return [this](const Dot& dot, std::function<void(Status)> settled) {
      if (kafka_ && kafka_->committed().contains(dot)) return settled(ok());
      const auto at = unsettled_.emplace(dot, Unsettled{std::move(settled), 0});
      at->second.late = loop_.after(settle_wait, [this, at] {
        const auto late = std::move(at->second.settled);
        const std::string name = to_string(at->first);
        unsettled_.erase(at);
        late(Error{Code::unavailable, "event " + name +
                                          " is durable at this hub (A1) and not committed in Kafka yet, which gets it "
                                          "once it answers: do not write it again"});
      });
    };
  }
  void settle_committed(const RunStream& of) {
    if (unsettled_.empty() || of.run.node != log_->run().node) return;
    for (auto at = unsettled_.begin(); at != unsettled_.end();) {
      if (!kafka_->committed().contains(at->first)) {
        ++at;
        continue;
      }
      loop_.cancel(at->second.late);
      const auto settled = std::move(at->second.settled);
      at = unsettled_.erase(at);
      settled(ok());
    }
  }

  void add_status(NodeStatus& status) const override {
    status.trust_domain = root_.trust_domain;
    // Whatever the hub has durably is committed by itself; with Kafka the backlog is what Kafka lacks.
    for (auto& counts : status.streams) counts.backlog = 0;
    if (!kafka_) return;
    const auto kafka = kafka_->status();
    status.kafka = {
        {"ready", "1 where the topics are there.", static_cast<double>(kafka.topics_ready)},
        {"shards", "Shards of this hub.", static_cast<double>(kafka.shards)},
        {"shards_connected", "Shards that write.", static_cast<double>(kafka.shards_connected)},
        {"shards_fenced", "Shards that another hub has taken.", static_cast<double>(kafka.shards_fenced)},
        {"backlog_events", "Events in the hub's log and not committed in Kafka.",
         static_cast<double>(kafka.backlog_events)},
        {"committed_events_total", "Events committed in Kafka.", static_cast<double>(kafka.committed_events), true},
        {"transactions_total", "Transactions committed.", static_cast<double>(kafka.transactions), true},
        {"recycles_total", "Producers given up after an indefinite result.", static_cast<double>(kafka.recycles), true},
        {"rebuilding", "1 while events are read back from Kafka.", static_cast<double>(kafka.rebuilding)},
        {"rebuilt_events", "Events read back from Kafka at the start.", static_cast<double>(kafka.rebuilt_events)},
        {"stuck_total", "Shard threads given up by the watchdog.", static_cast<double>(kafka.stuck), true},
    };
    if (!kafka_refusal_.empty()) status.reasons.push_back("kafka: " + kafka_refusal_);
    if (const auto trouble = kafka_trouble(kafka); !trouble.empty()) status.reasons.push_back("kafka: " + trouble);
    if (kafka.rebuilding)
      status.reasons.push_back("kafka: reading back what the log lacks, " + std::to_string(kafka.rebuilt_events) +
                               " of " + std::to_string(kafka.rebuild_events) + " events");
    if (!rebuilt_.refused.empty())
      status.reasons.push_back("kafka: not read back: " + rebuilt_.refused.front().second.detail);
    if (projector_ && !projector_->last_error().empty())
      status.reasons.push_back("kafka: state topics: " + projector_->last_error());
    if (kafka.shards_fenced > 0)
      status.reasons.push_back("kafka: another hub has taken shards of this one: end it, or this one");
    if (!kafka.forks.empty())
      status.reasons.push_back("kafka: the log here contradicts what Kafka has of run " +
                               to_string(kafka.forks.front().run));
  }

  HubConfig config_;
  TrustRoot root_;
  Identity identity_;
  std::unique_ptr<EnrolmentDoor> door_;
  std::unique_ptr<KafkaWriter> kafka_;
  std::unique_ptr<StateProjector> projector_;
  std::string kafka_refusal_;
  struct Unsettled {
    std::function<void(Status)> settled;
    Loop::Timer late;
  };
  std::multimap<Dot, Unsettled> unsettled_;  // our own writes on their way to Kafka
  Loop::Timer kafka_watch_ = 0, links_wait_ = 0;
  bool kafka_away_ = false, whole_ = false, links_begun_ = false;
  Rebuilt rebuilt_;
};

}  // namespace

std::unique_ptr<NodeBody> make_hub(const NodePaths& paths, const HubConfig& config) {
  return std::make_unique<HubNode>(paths, config);
}

}  // namespace landfall
