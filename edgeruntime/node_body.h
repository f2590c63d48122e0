#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloudsync/replicator.h"
#include "devicetwin/alarms.h"
#include "devicetwin/commands.h"
#include "devicetwin/devices.h"
#include "devicetwin/documents.h"
#include "devicetwin/objects.h"
#include "devicetwin/twins.h"
#include "edgeruntime/config.h"
#include "edgeruntime/event_counts.h"
#include "edgeruntime/http_api.h"
#include "edgeruntime/identity.h"
#include "edgeruntime/metrics.h"
#include "edgeruntime/state_api.h"
#include "edgeruntime/uv_loop.h"
#include "edgeruntime/uv_network.h"
#include "eventlog/log.h"

namespace landfall {

// What hub and edge have in common: folder, store, log, API, status, signals, a clean stop. The roles add their links,
// their broker or their Kafka. Private to this folder. Loop thread only, but for construction and run().
class NodeBody {
 public:
  struct Options {
    NodePaths paths;
    std::string role, name;
    ApiConfig api;
    LogConfig log;
  };
  explicit NodeBody(Options options);
  virtual ~NodeBody();

  // As run_node.
  Result<int> run();

 protected:
  // In this order, around the life of the loop: who we are; the role's parts, which may use store and log; what begins
  // only once everything else stands.
  virtual Result<NodeId> load_identity() = 0;
  virtual Status open_parts() = 0;
  virtual void start_parts() = 0;
  // No new events and no links from here on; may need turns of the loop, until stopped().
  virtual void stop_parts() = 0;
  virtual bool stopped() const = 0;
  // Destroys what uses the log, before it goes.
  virtual void close_parts() = 0;
  virtual void add_status(NodeStatus& status) const = 0;
  // What the role makes of state: the layer it writes, when its writes are done, which commands it sends.
  virtual Layer layer() const = 0;
  virtual Objects::Settle settle() { return {}; }
  // Why state is not to be read, or changed, yet; none where it is.
  virtual std::optional<std::string> not_yet([[maybe_unused]] bool to_change) const { return std::nullopt; }
  virtual Commands::Options command_options() = 0;
  // Whether a device is this node's own, and so among those that it exports when none is named. A hub exports them all.
  virtual bool runs([[maybe_unused]] const DeviceRecord& record) const { return true; }

  // An event in the log of what this node refused, or found; `what` is a JSON object with the key "audit". At most
  // audits_per_minute_max; more are counted in the next one.
  void audit(std::string what);

  // Makes the replicator's links obey the operator's hold, which outlives the process.
  bool held_at_start() const;
  Status prove_own_certificate(const Identity& identity);

  UvLoop loop_;
  Options options_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<UvNetwork> network_;      // at present; an edge has another before it is enrolled
  std::unique_ptr<Replicator> replicator_;  // none on an edge that is not enrolled
  std::optional<std::int64_t> certificate_not_after_;

  // What the log's state means. Made with the log, before the role's parts.
  struct Meaning {
    Meaning(Loop& loop, Log& log, Layer layer, Objects::Settle settle, Commands::Options commands,
            std::function<bool(const DeviceRecord&)> runs);
    Objects objects;
    Twins twins;
    Devices devices;
    Documents documents;
    Alarms alarms;
    Commands commands;
    StateApi api;
  };
  std::unique_ptr<Meaning> meaning_;

 private:
  Status open_log(const NodeId& node);
  Status open_api();
  void begin_stop(int exit_code);
  void finish_stop();

  NodeStatus status() const;
  void count_events(NodeStatus& status) const;
  void add_links(NodeStatus& status) const;
  void add_warnings(NodeStatus& status) const;

  void answer(const ApiRequest& request, HttpApi::Reply reply);
  void answer_hold(bool held, HttpApi::Reply reply);
  void answer_append(const ApiRequest& request, HttpApi::Reply reply);
  ApiReply answer_events(const ApiRequest& request) const;

  std::unique_ptr<HttpApi> api_;
  std::optional<Identity> own_identity_;  // none on an edge that is not enrolled
  std::unique_ptr<EventCounts> counts_;
  Instant audits_since_;
  std::size_t audits_ = 0;
  Instant started_, stop_before_;
  bool stopping_ = false;
  int exit_code_ = 0;
};

std::unique_ptr<NodeBody> make_hub(const NodePaths& paths, const HubConfig& config);
std::unique_ptr<NodeBody> make_edge(const NodePaths& paths, const EdgeConfig& config);

}  // namespace landfall
