#include "cloudsync/hub/cloud_event.h"

#include <algorithm>
#include <charconv>
#include <ctime>

#include <nlohmann/json.hpp>

#include "crdt/exact_json.h"
#include "crdt/json_text.h"
#include "schemas/limits.h"
#include "schemas/op.h"

namespace landfall {
namespace {

constexpr std::int64_t rfc3339_ms_max = 253'402'300'799'999;

// What a change is of follows from its stream and the name of its object (devicetwin/README.md).
std::string_view type_of_change(Stream stream, std::string_view object) {
  switch (stream) {
    case Stream::desired: return "landfall.twin.desired";
    case Stream::reported: return "landfall.twin.reported";
    case Stream::alarm: return object.starts_with("command/") ? "landfall.command" : "landfall.alarm.state";
    case Stream::document: return object.starts_with("device/") ? "landfall.device" : "landfall.document";
    default: return "landfall.change";
  }
}

std::string_view type_of_void(Stream stream) {
  return stream == Stream::desired || stream == Stream::reported ? "landfall.twin.void" : "landfall.void";
}

std::string_view type_of(Stream stream, const Event& event, std::string& other) {
  switch (event.kind) {
    case Kind::run_start: return "landfall.control.run_start";
    case Kind::audit: return "landfall.control.audit";
    case Kind::telemetry: return "landfall.telemetry";
    case Kind::alarm: return "landfall.alarm";
    case Kind::message: return "landfall.message";
    case Kind::change: return type_of_change(stream, event.subject);
    case Kind::voided: return type_of_void(stream);
  }
  // A newer node's kind: relayed under its number.
  other = "landfall.kind." + std::to_string(static_cast<unsigned>(event.kind));
  return other;
}

std::string_view name_of(ClockClass clock) {
  switch (clock) {
    case ClockClass::untrusted: return "untrusted";
    case ClockClass::holdover: return "holdover";
    case ClockClass::synced: return "synced";
    case ClockClass::authenticated: return "authenticated";
  }
  return "untrusted";
}

std::string_view in_decimal(std::uint64_t value, std::string& out) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.assign(digits, end);
  return out;
}

std::string base64(std::string_view bytes) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out.push_back(i + k > bytes.size() ? '=' : digits[group >> (18 - 6 * k) & 63]);
  }
  return out;
}

enum class Detail : std::uint8_t { all, values, paths, none };

Result<std::string> change_json(const RunStream& of, const Event& event, Detail detail) {
  using Json = nlohmann::ordered_json;
  Json changes = Json::array();
  OpReader reader(event.payload, of.run);
  OpReader::View op;
  while (detail != Detail::none && reader.next(op)) {
    Json change = {{"path", op.path}};
    if (op.value && detail <= Detail::values) {
      const auto text = op.value->substr(0, op.value->find('\0'));
      // Nobody's value nests deeper (document_depth_max), and to write JSON takes stack for each level.
      Json value =
          json_nesting(text) > 4 * document_depth_max ? Json(Json::value_t::discarded) : read_exact<Json>(text);
      change["value"] = value.is_discarded() ? Json{{"base64", base64(*op.value)}} : std::move(value);
    }
    if (detail == Detail::all) {
      Json dots = Json::array();
      for (const auto& dot : op.supersedes) dots.push_back(to_string(Dot{reader.run(dot.run), of.stream, dot.seq}));
      change["supersedes"] = std::move(dots);
    }
    changes.push_back(std::move(change));
  }
  if (!reader.status()) return reader.status().error();
  Json all = {{"object", event.subject}, {"changes", std::move(changes)}};
  if (detail != Detail::all) all[abridged_key] = true;
  return write_exact(all);
}

}  // namespace

// A dot is three bytes in a payload and seventy as text: one event may say what no broker takes as one record.
Result<std::string> change_json(const RunStream& of, const Event& event) {
  for (const Detail detail : {Detail::all, Detail::values, Detail::paths}) {
    auto json = change_json(of, event, detail);
    if (!json || json->size() <= kafka_change_json_bytes_max) return json;
  }
  return change_json(of, event, Detail::none);
}

std::string_view kafka_topic_suffix(KafkaTopic topic) {
  static constexpr std::string_view suffixes[kafka_topic_count] = {"control",   "alarms",    "twins",
                                                                   "documents", "telemetry", "blobs"};
  return suffixes[static_cast<std::size_t>(topic)];
}

KafkaTopic kafka_topic(Stream stream) {
  switch (stream) {
    case Stream::control: return KafkaTopic::control;
    case Stream::alarm: return KafkaTopic::alarms;
    case Stream::desired:
    case Stream::reported: return KafkaTopic::twins;
    case Stream::document: return KafkaTopic::documents;
    case Stream::telemetry: return KafkaTopic::telemetry;
    case Stream::blob: return KafkaTopic::blobs;
  }
  LANDFALL_CHECK(false);
}

void append_rfc3339(std::int64_t unix_ms, std::string& out) {
  unix_ms = std::clamp<std::int64_t>(unix_ms, 0, rfc3339_ms_max);
  const std::time_t second = static_cast<std::time_t>(unix_ms / 1000);
  std::tm utc{};
  gmtime_r(&second, &utc);
  char text[80];
  const int length =
      std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                    utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, static_cast<int>(unix_ms % 1000));
  out.append(text, static_cast<std::size_t>(length));
}

CloudEventHeaders::CloudEventHeaders(const RunStream& of, std::string_view trust_domain)
    : run_(to_string(of.run)),
      node_(to_string(of.run.node)),
      source_("spiffe://" + std::string(trust_domain) + "/node/" + node_),
      stream_(to_string(of.stream)),
      of_(of) {
  id_ = run_ + "/" + std::string(stream_) + "/";
  id_prefix_ = id_.size();
}

// Whether the row follows from headers, key and payload.
bool CloudEventHeaders::tells(const Event& event, std::string_view row) {
  if (event.kind == Kind::voided) return false;
  if (event.time.unix_ms() > rfc3339_ms_max) return false;
  again_.clear();
  if (!encode_row(event, again_)) return false;
  RowReader reader(again_);
  return reader.next() == row;
}

const std::vector<CloudEventHeaders::Header>& CloudEventHeaders::of(const Event& event, std::string_view row,
                                                                    std::uint64_t seq, bool backfill,
                                                                    const Digest* chain) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, seq).ptr;
  id_.resize(id_prefix_);
  id_.append(digits, end);

  const std::int64_t ms = event.time.unix_ms();
  if (ms / 1000 == time_second_) {
    // Most events share their second with the one before.
    const int rest = static_cast<int>(ms % 1000);
    time_[20] = static_cast<char>('0' + rest / 100);
    time_[21] = static_cast<char>('0' + rest / 10 % 10);
    time_[22] = static_cast<char>('0' + rest % 10);
  } else {
    time_.clear();
    append_rfc3339(ms, time_);
    time_second_ = ms / 1000;
  }

  headers_.clear();
  headers_.push_back({"ce_specversion", "1.0"});
  headers_.push_back({"ce_id", id_});
  headers_.push_back({"ce_source", source_});
  headers_.push_back({"ce_type", type_of(of_.stream, event, type_)});
  headers_.push_back({"ce_time", time_});
  if (!event.subject.empty()) headers_.push_back({"ce_subject", event.subject});
  const bool ops = has_ops(event.kind);
  if (ops) headers_.push_back({"content-type", "application/json"});
  if (!event.actor.empty()) headers_.push_back({"ce_actor", event.actor});
  if (!ops && !event.content_type.empty()) headers_.push_back({"content-type", event.content_type});
  headers_.push_back({"ce_stream", stream_});
  headers_.push_back({"ce_run", run_});
  headers_.push_back({"ce_sequence", std::string_view(id_).substr(id_prefix_)});
  if (!event.id.empty()) headers_.push_back({"ce_senderid", event.id});
  if (!event.source.empty()) headers_.push_back({"ce_sendersource", event.source});
  if (backfill) headers_.push_back({"ce_backfill", "true"});
  // With these an auditor rebuilds the row, and so proves the hash chain, from the topic alone. Left out where they say
  // nothing: most events have the first tick of their millisecond and a synced clock.
  if (const auto tick = event.time.value & 0xffff; tick != 0) headers_.push_back({"ce_tick", in_decimal(tick, tick_)});
  if (event.clock != ClockClass::synced) headers_.push_back({"ce_clock", name_of(event.clock)});
  if (event.retained) headers_.push_back({"ce_retained", "true"});
  if (!event.device.empty() && event.device == (event.subject.empty() ? std::string_view(node_) : event.subject))
    headers_.push_back({"ce_device", event.device});
  if (!event.deps.empty()) {
    deps_ = to_hex(event.deps);
    headers_.push_back({"ce_deps", deps_});
  }
  const bool told = tells(event, row);
  if (!told) headers_.push_back({row_header, row});
  if (chain != nullptr)
    headers_.push_back({chain_header, {reinterpret_cast<const char*>(chain->data()), chain->size()}});
  if (!ops) return headers_;
  if (!event.content_type.empty()) headers_.push_back({"ce_payloadtype", event.content_type});
  if (told) headers_.push_back({payload_header, event.payload});
  return headers_;
}

std::string_view CloudEventHeaders::value(const Event& event) {
  if (!has_ops(event.kind)) return event.payload;
  auto rendered = change_json(of_, event);
  // No log takes a change that it cannot read; one that a newer node wrote is shown as it is.
  if (!rendered) return event.payload;
  rendered_ = std::move(*rendered);
  return rendered_;
}

std::string_view CloudEventHeaders::key(const Event& event) const {
  if (!event.device.empty()) return event.device;
  if (!event.subject.empty()) return event.subject;
  return node_;
}

}  // namespace landfall
