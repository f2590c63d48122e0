#include "edgeruntime/node_body.h"

#include <csignal>
#include <cstdlib>
#include <fstream>

#include <sys/timex.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "edgeruntime/address.h"
#include "edgeruntime/node.h"
#include "edgeruntime/state_json.h"
#include "eventlog/rocks_store.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr Duration stop_patience = 10s;
constexpr std::string_view hold_key = "x/hold";
constexpr std::int64_t day_ms = 24LL * 3600 * 1000;

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

std::uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// Whether somebody keeps the system's clock: the kernel knows since NTP tells it.
ClockClass clock_class() {
  timex state{};
  return ::adjtimex(&state) == TIME_ERROR ? ClockClass::untrusted : ClockClass::synced;
}

Status check_folder(const NodePaths& paths) {
  if (::access(paths.dir.c_str(), R_OK | W_OK | X_OK) == 0) return ok();
  return Error{
      Code::denied,
      paths.dir.string() +
          ": this user may not write here: chown the folder to the user who runs the node, or run as its owner"};
}

}  // namespace

NodeBody::NodeBody(Options options) : options_(std::move(options)) {}
NodeBody::~NodeBody() = default;

Result<int> NodeBody::run() {
  started_ = loop_.now();
  LANDFALL_TRY(check_folder(options_.paths));
  const auto node = load_identity();
  if (!node) return node.error();
  LANDFALL_TRY(open_log(*node));
  meaning_ = std::make_unique<Meaning>(loop_, *log_, layer(), settle(), command_options(),
                                       [this](const DeviceRecord& record) { return runs(record); });
  auto opened = open_parts();
  if (opened) opened = open_api();
  if (!opened) {
    api_.reset();
    close_parts();
    meaning_.reset();
    counts_.reset();
    log_.reset();
    return std::move(opened).error();
  }
  loop_.on_signal(SIGTERM, [this] { begin_stop(0); });
  loop_.on_signal(SIGINT, [this] { begin_stop(0); });
  start_parts();
  meaning_->commands.start();
  meaning_->alarms.start(loop_, command_options().owns);
  spdlog::info("event=ready role={} name={} node={} run={} dir={}{}", options_.role, options_.name, to_string(*node),
               to_string(log_->run()), options_.paths.dir.string(), log_->degraded() ? " degraded=true" : "");
  loop_.run();
  api_.reset();
  close_parts();
  meaning_.reset();
  counts_.reset();
  log_.reset();
  store_.reset();
  spdlog::info("event=stopped role={} name={} status={}", options_.role, options_.name, exit_code_);
  return exit_code_;
}

Status NodeBody::open_log(const NodeId& node) {
  RocksStoreOptions store;
  store.directory = options_.paths.store();
  store.anchor = options_.paths.anchor();
  store.memory_bytes = options_.log.memory_bytes;
  store.anchor_sync =
      options_.log.anchor_strict ? RocksStoreOptions::AnchorSync::strict : RocksStoreOptions::AnchorSync::standard;
  store.on_fatal = [this](const Error& error) {
    spdlog::critical(
        "event=storage_failed reason=\"{}\" remedy=\"free or mend the disk; the node starts again by its supervisor\"",
        error.detail);
    exit_code_ = exit_storage_failed;
    loop_.stop();
  };
  auto opened = open_rocks_store(loop_, std::move(store));
  if (!opened) {
    if (opened.error().code != Code::conflict) return std::move(opened).error();
    return Error{Code::conflict,
                 options_.paths.dir.string() +
                     ": another process has this folder open: end it first (see `landfall status --dir " +
                     options_.paths.dir.string() + "`), or give this node a folder of its own"};
  }
  store_ = std::move(*opened);
  auto log = Log::open(loop_, *store_, {node, boot_id(), std::string(software_name()), clock_class()});
  if (!log) return Error{log.error()}.in("open log in " + options_.paths.store().string());
  log_ = std::move(*log);
  counts_ = std::make_unique<EventCounts>(*log_);
  if (log_->degraded()) {
    spdlog::error(
        "event=degraded reason=\"the anchor shows that acknowledged events of the last run are missing\" "
        "remedy=\"what was committed is still at the hub; check this disk before trusting it again\"");
  }
  return ok();
}

Status NodeBody::open_api() {
  HttpApiOptions options;
  options.socket = options_.paths.socket();
  if (!options_.api.listen.empty()) {
    const auto address = parse_address(options_.api.listen);
    if (!address) return address.error();
    options.tcp_host = address->host;
    options.tcp_port = address->port;
    options.tls = !is_loopback(address->host);
  }
  if (!options_.api.tokens.empty()) {
    auto tokens = load_api_tokens(options_.paths.dir / options_.api.tokens);
    if (!tokens) return Error{tokens.error()}.in("[api] tokens");
    options.tokens = std::move(*tokens);
  }
  options.on_refused = [this](const HttpApiOptions::Refusal& refusal) {
    audit(json_text({{"audit", "refused"},
                     {"door", "api"},
                     {"from", refusal.from},
                     {"actor", refusal.actor},
                     {"what", refusal.what},
                     {"status", refusal.status}}));
  };
  auto api = HttpApi::start(loop_, std::move(options), [this](const ApiRequest& request, HttpApi::Reply reply) {
    answer(request, std::move(reply));
  });
  if (!api) return std::move(api).error();
  api_ = std::move(*api);
  return own_identity_ ? api_->set_identity(*own_identity_) : ok();
}

NodeBody::Meaning::Meaning(Loop& loop, Log& log, Layer layer, Objects::Settle settle, Commands::Options options,
                           std::function<bool(const DeviceRecord&)> runs)
    : objects(log, std::move(settle)),
      twins(objects, layer),
      devices(objects),
      documents(objects),
      alarms(objects),
      commands(loop, objects, std::move(options)),
      api({twins, devices, documents, alarms, commands, std::move(runs)}) {}

void NodeBody::audit(std::string what) {
  if (loop_.now() - audits_since_ > 1min) {
    if (audits_ > audits_per_minute_max) spdlog::warn("event=audits_dropped count={}", audits_ - audits_per_minute_max);
    audits_since_ = loop_.now();
    audits_ = 0;
  }
  if (++audits_ > audits_per_minute_max) return;
  Event event;
  event.kind = Kind::audit;
  event.payload = what;
  log_->append(Stream::control, {&event, 1}, [](const Result<Log::Appended>&) {});
}

bool NodeBody::held_at_start() const {
  const auto held = log_->get_meta(hold_key);
  return held && *held == "1";
}

Status NodeBody::prove_own_certificate(const Identity& identity) {
  const auto expires = expires_unix_ms(identity.chain_pem);
  if (!expires) return Error{expires.error()}.in(options_.paths.identity().string());
  certificate_not_after_ = *expires;
  own_identity_ = identity;
  if (api_) LANDFALL_TRY(api_->set_identity(identity));
  const auto proven = verify_chain(identity.chain_pem, identity.bundle_pem, identity.trust_domain, loop_.unix_ms());
  // A wrong clock must not keep a node from logging: the peer refuses, and status says why.
  if (!proven) spdlog::warn("event=own_certificate reason=\"{}\"", proven.error().detail);
  return ok();
}

// ---- stopping

void NodeBody::begin_stop(int exit_code) {
  if (stopping_) {
    spdlog::warn("event=stop reason=\"asked twice: not waiting any longer\"");
    return loop_.stop();
  }
  stopping_ = true;
  exit_code_ = exit_code;
  stop_before_ = loop_.now() + stop_patience;
  spdlog::info("event=stopping role={} name={}", options_.role, options_.name);
  stop_parts();
  finish_stop();
}

void NodeBody::finish_stop() {
  const bool flushed = log_->pending_bytes() == 0 && store_->commits_waiting() == 0;
  if ((flushed && stopped()) || loop_.now() > stop_before_) return loop_.stop();
  loop_.after(10ms, [this] { finish_stop(); });
}

// ---- status

NodeStatus NodeBody::status() const {
  NodeStatus status;
  status.role = options_.role;
  status.name = options_.name;
  status.node = to_string(log_->run().node);
  status.run = to_string(log_->run());
  status.software = software_name();
  status.uptime_s = std::chrono::duration<double>(loop_.now() - started_).count();
  status.resident_bytes = resident_bytes();
  status.degraded = log_->degraded();
  status.certificate_not_after_unix_ms = certificate_not_after_;
  status.log_pending_bytes = log_->pending_bytes();
  status.runs = log_->runs().size();
  if (status.degraded)
    status.reasons.push_back(
        "acknowledged events of the last run are missing here (the anchor proves it): check the disk");
  if (certificate_not_after_) {
    const auto left = *certificate_not_after_ - loop_.unix_ms();
    if (left < 0) {
      status.reasons.push_back("the certificate ended at " + rfc3339(*certificate_not_after_) +
                               ": check the clock, or enrol again with a new invite (landfall edge enrol)");
    } else if (left < 7 * day_ms) {
      status.reasons.push_back("the certificate ends at " + rfc3339(*certificate_not_after_));
    }
  }
  count_events(status);
  add_links(status);
  add_warnings(status);
  add_status(status);
  return status;
}

void NodeBody::count_events(NodeStatus& status) const {
  const auto held = counts_->held();
  const auto backlog = replicator_ ? replicator_->backlog() : held.own;
  for (std::size_t i = 0; i < stream_count; ++i) {
    status.streams[i] = {counts_->appended()[i], counts_->received()[i], held.own[i], held.foreign[i], backlog[i]};
  }
}

void NodeBody::add_warnings(NodeStatus& status) const {
  constexpr std::size_t shown_max = 8;
  if (!meaning_ || not_yet(false)) return;
  const auto& troubles = meaning_->documents.troubles();
  for (const auto& [name, what] : troubles) {
    if (status.warnings.size() == shown_max) {
      status.warnings.push_back("and " + std::to_string(troubles.size() - shown_max) + " more documents");
      break;
    }
    status.warnings.push_back("document " + name + " " + what);
  }
}

void NodeBody::add_links(NodeStatus& status) const {
  if (network_) {
    const auto totals = network_->totals();
    status.held = network_->held();
    status.bytes_in = totals.bytes_in;
    status.bytes_out = totals.bytes_out;
    status.links_opened = totals.links_opened;
    status.links_refused = totals.links_refused;
    if (network_->last_failure()) status.link_failure = network_->last_failure()->detail;
  }
  if (!replicator_) return;
  for (const auto& peer : replicator_->peers()) {
    const auto& totals = peer.totals;
    status.peers.push_back({to_string(peer.peer.node),
                            peer.peer.role == Peer::Role::hub ? "hub" : "node",
                            peer.peer.name,
                            peer.connected,
                            peer.in_sync,
                            std::chrono::duration<double>(loop_.now() - peer.since).count(),
                            totals.events_sent,
                            totals.events_received,
                            totals.chunks_sent,
                            totals.chunks_received,
                            totals.chunk_bytes_sent,
                            totals.chunk_bytes_received,
                            totals.duplicates,
                            totals.resent,
                            totals.voids_sent,
                            totals.snapshots_offered,
                            totals.snapshots_joined,
                            totals.parts_sent,
                            totals.parts_received,
                            totals.snapshot_bytes_sent,
                            totals.snapshot_bytes_received,
                            peer.compared,
                            peer.divergences,
                            peer.diverged});
    if (peer.diverged != 0) {
      status.reasons.push_back("the state here is not that of " +
                               (peer.peer.name.empty() ? to_string(peer.peer.node) : peer.peer.name) +
                               ", though both received the same: see the audit events on control (divergence)");
    }
  }
}

}  // namespace landfall
