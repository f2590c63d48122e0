#include <nlohmann/json.hpp>
#include <string>

#include "edgeruntime/event_json.h"
#include "edgeruntime/state_json.h"
#include "schemas/check.h"
#include "targets.h"

// The bodies of the HTTP API: what programs on the node, operators' tools and proxies send.

namespace landfall::fuzz {

// A body that is taken is written as JSON, and read again as the same.
void api_body(std::string_view bytes) {
  const auto read = [](const std::string& body) {
    return parse_body(
        body, {"desired",   "reported", "full",  "state", "attributes",    "add_tags", "define",    "reason",
               "take_back", "release",  "raise", "clear", "succeeded",     "result",   "arguments", "annotate",
               "settle",    "device",   "name",  "id",    "valid_seconds", "node",     "hand_over", "configuration"});
  };
  const auto body = read(std::string(bytes));
  if (!body) {
    LANDFALL_CHECK(body.error().code == Code::out_of_range);
    return;
  }
  LANDFALL_CHECK(bytes.find('\0') == std::string_view::npos);  // behind it is what the answer would say nothing of
  const std::string text = json_text(*body);
  const auto again = read(text);
  LANDFALL_CHECK(again.ok() && *again == *body && json_text(*again) == text);
  for (const auto& [key, value] : body->items()) {
    LANDFALL_CHECK(flag_member(*body, key.c_str()).ok() == value.is_boolean());
    LANDFALL_CHECK(text_member(*body, key.c_str(), "").ok() == value.is_string());
    (void)known_members(value, key.c_str(), {"severity", "text", "path", "type"});
  }
}

// An event that is taken is shown as JSON, and what is shown of it is taken as the same event.
void event_input(std::string_view bytes) {
  const auto in = parse_event_input(bytes);
  if (!in) {
    LANDFALL_CHECK(in.error().code == Code::out_of_range);
    return;
  }
  LANDFALL_CHECK(!in->subject.empty() && in->stream != Stream::control && !has_ops(in->kind));
  const std::string line = event_json({{{}, 1, 1}, in->stream, 1}, in->event());
  LANDFALL_CHECK(line.find('\n') == std::string::npos);
  const auto shown = nlohmann::json::parse(line);
  LANDFALL_CHECK(bytes.find('\0') == std::string_view::npos);
  nlohmann::json body = {{"subject", in->subject}, {"stream", shown.at("stream")}};
  for (const char* key : {"content_type", "source", "id", "device", "payload_base64"}) {
    if (shown.contains(key)) body[key] = shown[key];
  }
  // As a text: JSON that is nested may be shown with other white space.
  if (!shown.contains("payload_base64")) body["payload"] = in->payload;
  const auto again = parse_event_input(body.dump());
  LANDFALL_CHECK(again.ok() && again->stream == in->stream && again->kind == in->kind);
  LANDFALL_CHECK(again->subject == in->subject && again->payload == in->payload && again->source == in->source);
  LANDFALL_CHECK(again->id == in->id && again->device == in->device);
  LANDFALL_CHECK(in->content_type.empty() || again->content_type == in->content_type);
}

}  // namespace landfall::fuzz
