#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schemas/ids.h"

namespace landfall {

// One number of a part (broker, Kafka writer), as its owner named it: "captured_total", "ring_used_bytes".
struct Measure {
  std::string name, help;
  double value = 0;
  bool counter = false;  // only ever rises while the process lives
};

// What a node says about itself at one moment: the one value that /v1/status, /metrics and /healthz are made from.
struct NodeStatus {
  std::string role, name, node, trust_domain, software, run;
  double uptime_s = 0;
  std::uint64_t resident_bytes = 0;
  bool degraded = false;  // the anchor proved a loss when the log was opened
  bool enrolled = true;
  std::optional<std::int64_t> certificate_not_after_unix_ms;
  std::vector<std::string> reasons;   // why the node is not healthy; empty: it is
  std::vector<std::string> warnings;  // what somebody should look at, health or not

  struct StreamCounts {
    std::uint64_t appended = 0, received = 0;  // events, since the process started
    std::uint64_t own = 0, foreign = 0;        // events held
    std::uint64_t backlog = 0;                 // own, and no hub has committed them yet
  };
  std::array<StreamCounts, stream_count> streams{};
  std::uint64_t runs = 0, log_pending_bytes = 0;

  bool held = false;
  std::uint64_t bytes_in = 0, bytes_out = 0, links_opened = 0, links_refused = 0;
  std::string link_failure;  // why there is no link at present; empty: there is one, or it was never tried
  struct PeerLine {
    std::string node, role, name;
    bool connected = false, in_sync = false;
    double since_s = 0;
    std::uint64_t events_sent = 0, events_received = 0, chunks_sent = 0, chunks_received = 0, chunk_bytes_sent = 0,
                  chunk_bytes_received = 0, duplicates = 0, resent = 0, voids_sent = 0;
    std::uint64_t snapshots_offered = 0, snapshots_joined = 0, parts_sent = 0, parts_received = 0,
                  snapshot_bytes_sent = 0, snapshot_bytes_received = 0;
    std::uint64_t compared = 0, divergences = 0;
    std::uint8_t diverged = 0;  // bit per stream whose state is not the peer's
  };
  std::vector<PeerLine> peers;

  std::optional<std::vector<Measure>> mqtt, kafka;
};

std::string status_json(const NodeStatus& status);
std::string health_json(const NodeStatus& status);

// Prometheus text format. Labels are stream and role alone: the number of time series does not grow with the fleet.
std::string metrics_text(const NodeStatus& status);

// "2026-11-23T05:12:44.123Z".
std::string rfc3339(std::int64_t unix_ms);

}  // namespace landfall
