#include "edgeruntime/event_json.h"

#include <openssl/evp.h>
#include <nlohmann/json.hpp>

#include "cloudsync/hub/cloud_event.h"
#include "crdt/exact_json.h"
#include "crdt/json_text.h"
#include "edgeruntime/metrics.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

using Json = nlohmann::ordered_json;

// Payloads come from whoever may publish. What goes deeper is no JSON here, but a text; so is what holds a byte 00, behind
// which the parser does not look.
constexpr std::size_t depth_max = 4 * document_depth_max;
Json read(std::string_view text) {
  const bool taken = json_nesting(text) <= depth_max && text.find('\0') == std::string_view::npos;
  return taken ? read_exact<Json>(text) : Json(Json::value_t::discarded);
}

std::string base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

bool from_base64(const std::string& text, std::string& out) {
  if (text.size() % 4 != 0) return false;
  out.assign(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return false;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  out.resize(static_cast<std::size_t>(size) - padding);
  return true;
}

bool is_utf8(const std::string& text) {
  try {
    (void)Json(text).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

void put_payload(Json& out, const Event& event) {
  const std::string payload(event.payload);
  if (event.content_type.find("json") != std::string_view::npos || payload.starts_with('{') ||
      payload.starts_with('[')) {
    auto nested = read(payload);
    if (!nested.is_discarded()) {
      out["payload"] = std::move(nested);
      return;
    }
  }
  if (is_utf8(payload)) {
    out["payload"] = payload;
  } else {
    out["payload_base64"] = base64(payload);
  }
}

Kind kind_of(Stream stream) {
  switch (stream) {
    case Stream::alarm: return Kind::alarm;
    case Stream::telemetry: return Kind::telemetry;
    default: return Kind::message;
  }
}

Error wrong(const std::string& key, const std::string& why) { return {Code::out_of_range, "'" + key + "': " + why}; }

}  // namespace

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::run_start: return "run_start";
    case Kind::audit: return "audit";
    case Kind::telemetry: return "telemetry";
    case Kind::alarm: return "alarm";
    case Kind::message: return "message";
    case Kind::change: return "change";
    case Kind::voided: return "void";
  }
  return "kind";
}

std::string event_json(const Dot& dot, const Event& event) {
  Json out = {{"dot", to_string(dot)},
              {"stream", to_string(dot.stream)},
              {"seq", dot.seq},
              {"time", rfc3339(event.time.unix_ms())},
              {"kind", kind_name(event.kind)}};
  const auto put = [&](const char* key, std::string_view value) {
    if (!value.empty()) out[key] = value;
  };
  put("subject", event.subject);
  put("content_type", event.content_type);
  put("source", event.source);
  put("id", event.id);
  put("device", event.device);
  put("actor", event.actor);
  if (event.retained) out["retained"] = true;
  if (event.kind == Kind::run_start) {
    if (const auto start = decode_run_start(event.payload)) {
      Json heads = Json::array();
      for (const auto& head : start->parent_heads) {
        heads.push_back({{"stream", to_string(head.stream)}, {"last", head.last}, {"chain", to_hex(head.chain)}});
      }
      out["payload"] = {{"parent", start->parent.is_none() ? Json(nullptr) : Json(to_string(start->parent))},
                        {"parent_heads", heads},
                        {"software", start->software},
                        {"boot_id", start->boot_id},
                        {"degraded", start->degraded}};
    }
  } else if (const auto change =
                 has_ops(event.kind) ? change_json({dot.run, dot.stream}, event) : Result<std::string>(std::string());
             change && !change->empty()) {
    out["payload"] = read_exact<Json>(*change);
  } else {
    put_payload(out, event);
  }
  return write_exact(out);
}

Event EventInput::event() const {
  Event event;
  event.kind = kind;
  event.subject = subject;
  event.content_type = content_type;
  event.source = source;
  event.id = id;
  event.device = device;
  event.payload = payload;
  return event;
}

Result<EventInput> parse_event_input(std::string_view json) {
  if (json_nesting(json) > depth_max)
    return Error{Code::out_of_range, "nested deeper than " + std::to_string(depth_max) + " levels"};
  const auto in = read(json);
  if (!in.is_object())
    return Error{Code::out_of_range, "the body is not a JSON object: {\"subject\": ..., \"payload\": ...}"};
  EventInput out;
  std::string stream = "telemetry", encoded;
  const std::pair<const char*, std::string*> texts[] = {
      {"subject", &out.subject}, {"stream", &stream},     {"content_type", &out.content_type}, {"source", &out.source},
      {"id", &out.id},           {"device", &out.device}, {"payload_base64", &encoded}};
  for (const auto& [key, value] : in.items()) {
    if (key == "payload") continue;
    const auto known = std::ranges::find_if(texts, [&](const auto& text) { return key == text.first; });
    if (known == std::end(texts)) return wrong(key, "unknown key");
    if (!value.is_string()) return wrong(key, "expected a string");
    *known->second = value.get<std::string>();
  }
  if (out.subject.empty()) return wrong("subject", "is missing: name the device or topic");
  const auto parsed = parse_stream(stream);
  if (!parsed) return wrong("stream", parsed.error().detail);
  if (*parsed == Stream::control) return wrong("stream", "control belongs to the node itself");
  out.stream = *parsed;
  out.kind = kind_of(out.stream);
  if (in.contains("payload_base64")) {
    if (in.contains("payload")) return wrong("payload_base64", "give either this or payload");
    if (!from_base64(encoded, out.payload)) return wrong("payload_base64", "is not base64");
  } else if (in.contains("payload")) {
    const auto& payload = in["payload"];
    out.payload = payload.is_string() ? payload.get<std::string>() : write_exact(payload);
    if (out.content_type.empty()) out.content_type = payload.is_string() ? "text/plain" : "application/json";
  }
  return out;
}

}  // namespace landfall
