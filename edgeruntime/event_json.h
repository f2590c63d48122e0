#pragma once

#include <string>
#include <string_view>

#include "schemas/event.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// An event as people and programs see it, one JSON object without a line break: the API and `landfall log show --json`
// print the same. A payload that is JSON by its content type or its form is nested under "payload", text is a string,
// anything else is "payload_base64". Of a change, and of a void which stands for one, it is what change_json gives.
std::string event_json(const Dot& dot, const Event& event);

std::string_view kind_name(Kind kind);  // "telemetry"; "kind" for one that this version does not know

// An event that an operator or a local program hands in: {"subject": ..., "stream": "telemetry", "payload": any JSON,
// or "payload_base64": ..., "content_type", "source", "id", "device"}. Without a content type a JSON object or list is
// application/json and a string is text/plain.
struct EventInput {
  Stream stream = Stream::telemetry;
  Kind kind = Kind::telemetry;
  std::string subject, payload, content_type, source, id, device;
  Event event() const;  // borrows from this
};
// Errors: `out_of_range`, naming the key that is wrong. The log's own limits are not checked here.
Result<EventInput> parse_event_input(std::string_view json);

}  // namespace landfall
