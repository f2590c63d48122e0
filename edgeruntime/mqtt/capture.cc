#include "edgeruntime/mqtt/capture.h"

#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "schemas/limits.h"
#include "schemas/text.h"

namespace landfall {
namespace {

constexpr std::string_view own_prefix = "landfall/";
// Client ids come from devices and are only kept for people: cut, not refused.
constexpr std::size_t client_bytes_max = 128;
// Leaves room for tags and lengths and for the device, which is a part of the topic.
constexpr std::size_t properties_bytes_max = event_attributes_bytes_max - event_subject_bytes_max - 64;

std::string_view next_level(std::string_view& rest, bool& last) {
  const auto slash = rest.find('/');
  last = slash == rest.npos;
  const auto level = rest.substr(0, slash);
  rest.remove_prefix(last ? rest.size() : slash + 1);
  return level;
}

std::optional<Durability> parse_durability(std::string_view text) {
  if (text == "process") return Durability::process;
  if (text == "power") return Durability::power;
  return std::nullopt;
}

bool names_class(std::string_view filter, std::string_view word) {
  if (!filter.starts_with(own_prefix)) return false;
  filter.remove_prefix(own_prefix.size());
  bool last = false;
  next_level(filter, last);
  return !last && next_level(filter, last) == word;
}

}  // namespace

bool is_topic_filter(std::string_view filter) {
  if (filter.empty() || filter.size() > event_subject_bytes_max || !is_clean_text(filter)) return false;
  for (bool last = false; !last;) {
    const auto level = next_level(filter, last);
    if (level.size() > 1 && level.find_first_of("+#") != level.npos) return false;
    if (level == "#" && !last) return false;
  }
  return true;
}

bool topic_matches(std::string_view filter, std::string_view topic) {
  if (topic.starts_with('$') && (filter.starts_with('#') || filter.starts_with('+'))) return false;
  for (;;) {
    bool filter_last = false, topic_last = false;
    const auto wanted = next_level(filter, filter_last);
    if (wanted == "#") return true;
    const auto level = next_level(topic, topic_last);
    if (wanted != "+" && wanted != level) return false;
    // "a/#" takes "a" as well.
    if (topic_last) return filter_last || filter == "#";
    if (filter_last) return false;
  }
}

const CaptureRule* find_rule(const std::vector<CaptureRule>& rules, std::string_view topic) {
  if (topic == "$SYS" || topic.starts_with("$SYS/")) return nullptr;
  for (const auto& rule : rules) {
    if (topic_matches(rule.filter, topic)) return &rule;
  }
  return nullptr;
}

Result<std::vector<CaptureRule>> capture_rules(const std::vector<std::string>& filters,
                                               const std::map<std::string, std::string>& durability) {
  std::vector<CaptureRule> rules;
  for (const auto& filter : filters) {
    if (!is_topic_filter(filter)) {
      return Error{Code::out_of_range,
                   "capture \"" + filter + "\": not a topic filter ('+' and '#' stand alone, '#' last)"};
    }
    CaptureRule rule{filter};
    if (names_class(filter, "alarm")) {
      rule = {filter, Stream::alarm, Kind::alarm, Durability::power};
    } else if (names_class(filter, "telemetry")) {
      rule.kind = Kind::telemetry;
    }
    rules.push_back(std::move(rule));
  }
  std::vector<CaptureRule> narrower;
  for (const auto& [filter, text] : durability) {
    const auto wanted = parse_durability(text);
    if (!wanted)
      return Error{Code::out_of_range,
                   "durability of \"" + filter + "\": \"" + text + "\" is neither process nor power"};
    if (!is_topic_filter(filter))
      return Error{Code::out_of_range, "durability: \"" + filter + "\" is not a topic filter"};
    bool named = false;
    for (auto& rule : rules) {
      if (rule.filter != filter) continue;
      rule.durability = *wanted;
      named = true;
    }
    if (named) continue;
    // A narrower filter than the list has: the same stream and kind as the rule that would take it.
    for (const auto& rule : rules) {
      if (!topic_matches(rule.filter, filter)) continue;
      narrower.push_back({filter, rule.stream, rule.kind, *wanted});
      named = true;
      break;
    }
    if (!named) return Error{Code::out_of_range, "durability: \"" + filter + "\" is not captured; add it to capture"};
  }
  rules.insert(rules.begin(), narrower.begin(), narrower.end());
  return rules;
}

std::string to_string(const CaptureRule& rule) {
  return std::string(to_string(rule.stream)) + " " + std::to_string(static_cast<int>(rule.kind)) + " " +
         (rule.durability == Durability::power ? "power" : "process") + " " + rule.filter;
}

Result<CaptureRule> parse_capture_rule(std::string_view line) {
  const Error bad{Code::out_of_range, "not a capture rule (stream kind durability filter): " + std::string(line)};
  std::array<std::string_view, 3> words;
  for (auto& word : words) {
    const auto space = line.find(' ');
    if (space == line.npos) return bad;
    word = line.substr(0, space);
    line.remove_prefix(space + 1);
  }
  auto stream = parse_stream(words[0]);
  int kind = 0;
  const auto [end, error] = std::from_chars(words[1].data(), words[1].data() + words[1].size(), kind);
  const auto durability = parse_durability(words[2]);
  if (!stream.ok() || error != std::errc() || end != words[1].data() + words[1].size() || kind < 16 || kind > 255 ||
      !durability || !is_topic_filter(line)) {
    return bad;
  }
  return CaptureRule{std::string(line), *stream, static_cast<Kind>(kind), *durability};
}

bool is_storable(const CapturedMessage& message) {
  return !message.topic.empty() && message.topic.size() <= event_subject_bytes_max && is_clean_text(message.topic) &&
         message.payload.size() <= event_payload_bytes_max &&
         message.content_type.size() + message.source.size() + message.id.size() <= properties_bytes_max &&
         is_clean_text(message.content_type) && is_clean_text(message.source) && is_clean_text(message.id);
}

CapturedParts encode_captured(const CapturedMessage& message, CapturedHead& head) {
  const auto client = message.client.substr(0, client_bytes_max);
  const auto length = [](std::string_view view) { return static_cast<std::uint16_t>(view.size()); };
  head = {static_cast<std::uint8_t>(message.stream),
          static_cast<std::uint8_t>(message.kind),
          message.qos,
          message.retained,
          length(message.topic),
          length(client),
          length(message.content_type),
          length(message.source),
          length(message.id),
          0};
  return {std::string_view(reinterpret_cast<const char*>(&head), sizeof(head)),
          message.topic,
          client,
          message.content_type,
          message.source,
          message.id,
          message.payload};
}

Result<CapturedMessage> decode_captured(std::string_view body) {
  CapturedHead head;
  const Error bad{Code::corrupt,
                  "captured message of " + std::to_string(body.size()) + " bytes: lengths do not add up"};
  if (body.size() < sizeof(head)) return bad;
  std::memcpy(&head, body.data(), sizeof(head));
  body.remove_prefix(sizeof(head));
  CapturedMessage message;
  const std::pair<std::string_view*, std::size_t> fields[] = {{&message.topic, head.topic_bytes},
                                                              {&message.client, head.client_bytes},
                                                              {&message.content_type, head.content_type_bytes},
                                                              {&message.source, head.source_bytes},
                                                              {&message.id, head.id_bytes}};
  for (const auto& [view, size] : fields) {
    if (size > body.size()) return bad;
    *view = body.substr(0, size);
    body.remove_prefix(size);
  }
  message.payload = body;
  if (head.stream >= stream_count || head.kind < 16) return bad;
  message.stream = static_cast<Stream>(head.stream);
  message.kind = static_cast<Kind>(head.kind);
  message.qos = head.qos;
  message.retained = head.retained != 0;
  return message;
}

std::string_view device_of(std::string_view topic) {
  if (!topic.starts_with(own_prefix)) return {};
  topic.remove_prefix(own_prefix.size());
  return topic.substr(0, topic.find('/'));
}

}  // namespace landfall
