#include "edgeruntime/metrics.h"

#include <cstdio>
#include <ctime>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <nlohmann/json.hpp>

namespace landfall {
namespace {

using Json = nlohmann::ordered_json;

// Text from certificates and the system may not be UTF-8: replaced, never thrown.
std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json measures(const std::vector<Measure>& list) {
  Json out = Json::object();
  for (const auto& measure : list) {
    const auto whole = static_cast<std::int64_t>(measure.value);
    out[measure.name] = static_cast<double>(whole) == measure.value ? Json(whole) : Json(measure.value);
  }
  return out;
}

Json streams_of(std::uint8_t bits) {
  Json streams = Json::array();
  for (std::size_t i = 0; i < stream_count; ++i) {
    if ((bits >> i & 1) != 0) streams.push_back(std::string(to_string(static_cast<Stream>(i))));
  }
  return streams;
}

Json peer_json(const NodeStatus::PeerLine& peer) {
  return {{"node", peer.node},
          {"role", peer.role},
          {"name", peer.name},
          {"connected", peer.connected},
          {"in_sync", peer.in_sync},
          {"since_s", peer.since_s},
          {"events_sent", peer.events_sent},
          {"events_received", peer.events_received},
          {"chunks_sent", peer.chunks_sent},
          {"chunks_received", peer.chunks_received},
          {"chunk_bytes_sent", peer.chunk_bytes_sent},
          {"chunk_bytes_received", peer.chunk_bytes_received},
          {"duplicates", peer.duplicates},
          {"resent", peer.resent},
          {"voids_sent", peer.voids_sent},
          {"snapshots_offered", peer.snapshots_offered},
          {"snapshots_joined", peer.snapshots_joined},
          {"snapshot_parts_sent", peer.parts_sent},
          {"snapshot_parts_received", peer.parts_received},
          {"snapshot_bytes_sent", peer.snapshot_bytes_sent},
          {"snapshot_bytes_received", peer.snapshot_bytes_received},
          {"states_compared", peer.compared},
          {"divergences", peer.divergences},
          {"diverged", streams_of(peer.diverged)}};
}

class Families {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;
  void gauge(const std::string& name, const std::string& help, double value, const Labels& labels = {}) {
    auto& metric = add(name, help, prometheus::MetricType::Gauge, labels);
    metric.gauge.value = value;
  }
  void counter(const std::string& name, const std::string& help, double value, const Labels& labels = {}) {
    auto& metric = add(name, help, prometheus::MetricType::Counter, labels);
    metric.counter.value = value;
  }
  void part(const std::string& prefix, const std::optional<std::vector<Measure>>& list) {
    if (!list) return;
    for (const auto& measure : *list) {
      if (measure.counter) {
        counter(prefix + measure.name, measure.help, measure.value);
      } else {
        gauge(prefix + measure.name, measure.help, measure.value);
      }
    }
  }
  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  prometheus::ClientMetric& add(const std::string& name, const std::string& help, prometheus::MetricType type,
                                const Labels& labels) {
    if (families_.empty() || families_.back().name != name) {
      auto& family = families_.emplace_back();
      family.name = name;
      family.help = help;
      family.type = type;
    }
    auto& metric = families_.back().metric.emplace_back();
    for (const auto& [key, value] : labels) metric.label.push_back({key, value});
    return metric;
  }
  std::vector<prometheus::MetricFamily> families_;
};

template <class Value>
void by_stream(Families& out, const NodeStatus& status, const std::string& name, const std::string& help, bool counter,
               Value value) {
  for (std::size_t i = 0; i < stream_count; ++i) {
    const Families::Labels labels = {{"stream", std::string(to_string(static_cast<Stream>(i)))}};
    const auto number = static_cast<double>(value(status.streams[i]));
    if (counter) {
      out.counter(name, help, number, labels);
    } else {
      out.gauge(name, help, number, labels);
    }
  }
}

}  // namespace

std::string rfc3339(std::int64_t unix_ms) {
  const std::time_t seconds = static_cast<std::time_t>(unix_ms / 1000 - (unix_ms % 1000 < 0 ? 1 : 0));
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[96];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<int>(((unix_ms % 1000) + 1000) % 1000));
  return text;
}

std::string status_json(const NodeStatus& status) {
  Json out = {{"role", status.role},
              {"name", status.name},
              {"node", status.node},
              {"trust_domain", status.trust_domain},
              {"software", status.software},
              {"run", status.run},
              {"uptime_s", status.uptime_s},
              {"resident_bytes", status.resident_bytes},
              {"enrolled", status.enrolled},
              {"degraded", status.degraded},
              {"healthy", status.reasons.empty()},
              {"reasons", status.reasons},
              {"warnings", status.warnings}};
  out["certificate_not_after"] =
      status.certificate_not_after_unix_ms ? Json(rfc3339(*status.certificate_not_after_unix_ms)) : Json(nullptr);
  bool connected = false;
  Json peers = Json::array();
  for (const auto& peer : status.peers) {
    connected = connected || peer.connected;
    peers.push_back(peer_json(peer));
  }
  out["link"] = {{"held", status.held},
                 {"connected", connected},
                 {"bytes_in", status.bytes_in},
                 {"bytes_out", status.bytes_out},
                 {"opened", status.links_opened},
                 {"refused", status.links_refused},
                 {"failure", status.link_failure.empty() || connected ? Json(nullptr) : Json(status.link_failure)}};
  out["peers"] = std::move(peers);
  std::uint64_t own = 0, foreign = 0, backlog = 0;
  Json streams = Json::object();
  for (std::size_t i = 0; i < stream_count; ++i) {
    const auto& counts = status.streams[i];
    own += counts.own;
    foreign += counts.foreign;
    backlog += counts.backlog;
    streams[std::string(to_string(static_cast<Stream>(i)))] = {{"appended", counts.appended},
                                                               {"received", counts.received},
                                                               {"own", counts.own},
                                                               {"foreign", counts.foreign},
                                                               {"backlog", counts.backlog}};
  }
  out["log"] = {{"runs", status.runs},
                {"own", own},
                {"foreign", foreign},
                {"backlog", backlog},
                {"pending_bytes", status.log_pending_bytes}};
  out["streams"] = std::move(streams);
  out["mqtt"] = status.mqtt ? measures(*status.mqtt) : Json(nullptr);
  out["kafka"] = status.kafka ? measures(*status.kafka) : Json(nullptr);
  return dump(out);
}

std::string health_json(const NodeStatus& status) {
  return dump(Json{{"status", status.reasons.empty() ? "ok" : "unhealthy"},
                   {"reasons", status.reasons},
                   {"warnings", status.warnings}});
}

std::string metrics_text(const NodeStatus& status) {
  Families out;
  out.gauge("landfall_build_info", "Always 1; the labels say what runs.", 1,
            {{"role", status.role}, {"software", status.software}});
  out.gauge("landfall_uptime_seconds", "Seconds since the process started.", status.uptime_s);
  out.gauge("landfall_resident_memory_bytes", "Resident memory of the process.",
            static_cast<double>(status.resident_bytes));
  out.gauge("landfall_healthy", "1 where /healthz says ok.", status.reasons.empty());
  out.gauge("landfall_degraded", "1 where the anchor proved that acknowledged events were lost.", status.degraded);
  if (status.certificate_not_after_unix_ms) {
    out.gauge("landfall_certificate_not_after_seconds", "End of life of the node's certificate, Unix time.",
              static_cast<double>(*status.certificate_not_after_unix_ms) / 1000);
  }
  using Counts = NodeStatus::StreamCounts;
  by_stream(out, status, "landfall_events_appended_total", "Own events made durable.", true,
            [](const Counts& c) { return c.appended; });
  by_stream(out, status, "landfall_events_received_total", "Events of other nodes made durable.", true,
            [](const Counts& c) { return c.received; });
  by_stream(out, status, "landfall_backlog_events", "Own events that no hub has committed yet.", false,
            [](const Counts& c) { return c.backlog; });
  out.gauge("landfall_log_pending_bytes", "Bytes accepted and not yet durable.",
            static_cast<double>(status.log_pending_bytes));
  out.gauge("landfall_link_held", "1 where an operator holds the link.", status.held);
  double connected = 0, sent = 0, voids = 0, received = 0, duplicates = 0, compared = 0, divergences = 0, diverged = 0,
         joined = 0, parts_out = 0, parts_in = 0;
  for (const auto& peer : status.peers) {
    connected += peer.connected;
    sent += static_cast<double>(peer.events_sent);
    voids += static_cast<double>(peer.voids_sent);
    received += static_cast<double>(peer.events_received);
    duplicates += static_cast<double>(peer.duplicates);
    compared += static_cast<double>(peer.compared);
    divergences += static_cast<double>(peer.divergences);
    diverged += peer.diverged != 0 ? 1 : 0;
    joined += static_cast<double>(peer.snapshots_joined);
    parts_out += static_cast<double>(peer.snapshot_bytes_sent);
    parts_in += static_cast<double>(peer.snapshot_bytes_received);
  }
  out.gauge("landfall_links_connected", "Peers with a link.", connected);
  out.gauge("landfall_session_events_sent", "Events sent in the present sessions.", sent);
  out.gauge("landfall_session_voids_sent",
            "Of them, changes that were superseded and of properties with history=latest: sent without their values.",
            voids);
  out.gauge("landfall_session_events_received", "Events received in the present sessions.", received);
  out.gauge("landfall_session_duplicate_events", "Events received in the present sessions that were here already.",
            duplicates);
  out.gauge("landfall_session_snapshots_joined", "Snapshots joined in the present sessions, here or by the peer.",
            joined);
  out.gauge("landfall_session_snapshot_sent_bytes", "Bytes of snapshots sent in the present sessions.", parts_out);
  out.gauge("landfall_session_snapshot_received_bytes", "Bytes of snapshots received in the present sessions.",
            parts_in);
  out.counter("landfall_states_compared_total", "States of streams compared with a peer that had received the same.",
              compared);
  out.counter("landfall_state_divergences_total", "Of them, those that differed: a defect at one of the two.",
              divergences);
  out.gauge("landfall_peers_diverged", "Peers whose state differed when last compared.", diverged);
  out.counter("landfall_link_received_bytes_total", "Bytes received on links, TLS records included.",
              static_cast<double>(status.bytes_in));
  out.counter("landfall_link_sent_bytes_total", "Bytes sent on links, TLS records included.",
              static_cast<double>(status.bytes_out));
  out.counter("landfall_links_opened_total", "Links opened.", static_cast<double>(status.links_opened));
  out.counter("landfall_links_refused_total", "Connections refused: certificate, TLS version, malformed frames.",
              static_cast<double>(status.links_refused));
  out.part("landfall_mqtt_", status.mqtt);
  out.part("landfall_kafka_", status.kafka);
  return out.text();
}

}  // namespace landfall
