#include "edgeruntime/mqtt/capture.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "schemas/limits.h"
#include "schemas/text.h"

namespace landfall {
namespace {

constexpr std::string_view own_prefix = "landfall/";
constexpr std::string_view twin_prefix = "$hw/events/device/";
constexpr std::string_view series_prefix = "$ke/events/device/";
constexpr std::string_view default_namespace = "default";

// What the node answers: twins, states and membership as KubeEdge has them, by one and by two levels, and our own form.
constexpr std::string_view request_filters[] = {
    "$hw/events/device/+/twin/update",
    "$hw/events/device/+/+/twin/update",
    "$hw/events/device/+/twin/get",
    "$hw/events/device/+/+/twin/get",
    "$hw/events/device/+/twin/cloud_updated",
    "$hw/events/device/+/+/twin/cloud_updated",
    "$hw/events/device/+/state/update",
    "$hw/events/device/+/+/state/update",
    "$hw/events/node/+/membership/get",
    "landfall/+/twin/desired",
    "landfall/+/twin/reported",
    "landfall/+/twin/get",
    "landfall/+/command/+/result",
};
constexpr std::string_view upload_filters[] = {
    "$hw/events/upload/#",
    "SYS/dis/upload_records",
    "+/user/#",
};
constexpr std::string_view series_filters[] = {
    "$ke/events/device/+/data/update",
    "$ke/events/device/+/+/data/update",
};
// Client ids come from devices. With an event they are only kept for people: cut. Who asks must be named in full to be
// answered: one that is too long is nobody.
constexpr std::size_t client_bytes_max = 128, asking_client_bytes_max = 1024;
constexpr int event_kind_min = 16;  // numbers below are those of outcomes
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
  const bool begins_with_wildcard = filter.starts_with('#') || filter.starts_with('+');
  if (begins_with_wildcard && topic.starts_with('$')) return false;
  // Most rules are told from most topics by one byte.
  if (!begins_with_wildcard && filter.substr(0, 1) != topic.substr(0, 1)) return false;
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
  for (const auto filter : request_filters) {
    rules.push_back({.filter = std::string(filter), .outcome = Outcome::request});
  }
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
  for (const auto filter : upload_filters) rules.push_back({std::string(filter)});
  for (const auto filter : series_filters) rules.push_back({std::string(filter)});
  std::vector<CaptureRule> narrower_requests, narrower;
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
    // A narrower filter than the list has: becomes of its messages what the rule says that would take them.
    for (const auto& rule : rules) {
      if (!topic_matches(rule.filter, filter)) continue;
      auto same = rule;
      same.filter = filter;
      same.durability = *wanted;
      (rule.outcome == Outcome::request ? narrower_requests : narrower).push_back(std::move(same));
      named = true;
      break;
    }
    if (!named) return Error{Code::out_of_range, "durability: \"" + filter + "\" is not captured; add it to capture"};
  }
  // Requests come before all else: a wide filter of the list must not make plain messages of them.
  rules.insert(rules.begin() + std::size(request_filters), narrower.begin(), narrower.end());
  rules.insert(rules.begin(), narrower_requests.begin(), narrower_requests.end());
  return rules;
}

std::string to_string(const CaptureRule& rule) {
  const bool is_event = rule.outcome == Outcome::event;
  return (is_event ? std::string(to_string(rule.stream)) : "request") + " " +
         std::to_string(is_event ? static_cast<int>(rule.kind) : 0) + " " +
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
  const auto durability = parse_durability(words[2]);
  if (!durability || !is_topic_filter(line)) return bad;
  if (words[0] == "request") {
    if (words[1] != "0") return bad;
    return CaptureRule{.filter = std::string(line), .durability = *durability, .outcome = Outcome::request};
  }
  auto stream = parse_stream(words[0]);
  int kind = 0;
  const auto [end, error] = std::from_chars(words[1].data(), words[1].data() + words[1].size(), kind);
  if (!stream.ok() || error != std::errc() || end != words[1].data() + words[1].size() || kind < event_kind_min ||
      kind > 255) {
    return bad;
  }
  return CaptureRule{std::string(line), *stream, static_cast<Kind>(kind), *durability};
}

bool is_upload_topic(std::string_view topic) {
  return std::ranges::any_of(upload_filters, [&](const auto filter) { return topic_matches(filter, topic); });
}

bool is_storable(const CapturedMessage& message) {
  return (!message.topic.empty() || is_notice(message.outcome)) && message.topic.size() <= event_subject_bytes_max &&
         is_clean_text(message.topic) && message.payload.size() <= event_payload_bytes_max &&
         message.content_type.size() + message.source.size() + message.id.size() + message.user.size() <=
             properties_bytes_max &&
         is_clean_text(message.content_type) && is_clean_text(message.source) && is_clean_text(message.id) &&
         is_clean_text(message.user);
}

CapturedParts encode_captured(const CapturedMessage& message, CapturedHead& head) {
  const bool is_event = message.outcome == Outcome::event;
  const auto client = is_event                                          ? message.client.substr(0, client_bytes_max)
                      : message.client.size() > asking_client_bytes_max ? std::string_view()
                                                                        : message.client;
  // What is no event has no CloudEvents source: the user stands in its place.
  const auto source = is_event ? message.source : message.user;
  const auto length = [](std::string_view view) { return static_cast<std::uint16_t>(view.size()); };
  head = {is_event ? static_cast<std::uint8_t>(message.stream) : std::uint8_t{0},
          is_event ? static_cast<std::uint8_t>(message.kind) : static_cast<std::uint8_t>(message.outcome),
          message.qos,
          message.retained,
          length(message.topic),
          length(client),
          length(message.content_type),
          length(source),
          length(message.id),
          message.subscriptions};
  return {std::string_view(reinterpret_cast<const char*>(&head), sizeof(head)),
          message.topic,
          client,
          message.content_type,
          source,
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
  const bool is_event = head.kind >= event_kind_min;
  const std::pair<std::string_view*, std::size_t> fields[] = {
      {&message.topic, head.topic_bytes},
      {&message.client, head.client_bytes},
      {&message.content_type, head.content_type_bytes},
      {is_event ? &message.source : &message.user, head.source_bytes},
      {&message.id, head.id_bytes}};
  for (const auto& [view, size] : fields) {
    if (size > body.size()) return bad;
    *view = body.substr(0, size);
    body.remove_prefix(size);
  }
  message.payload = body;
  if (head.stream >= stream_count) return bad;
  if (is_event) {
    message.stream = static_cast<Stream>(head.stream);
    message.kind = static_cast<Kind>(head.kind);
  } else {
    if (head.kind == 0 || head.kind > static_cast<std::uint8_t>(Outcome::broker_started)) return bad;
    message.outcome = static_cast<Outcome>(head.kind);
    message.subscriptions = head.subscriptions;
  }
  message.qos = head.qos;
  message.retained = head.retained != 0;
  return message;
}

namespace {

std::optional<std::string> percent_decode(std::string_view text) {
  std::string plain;
  for (; !text.empty(); text.remove_prefix(1)) {
    if (text.front() != '%') {
      plain += text.front();
      continue;
    }
    int code = 0;
    if (text.size() < 3) return std::nullopt;
    const auto [end, error] = std::from_chars(text.data() + 1, text.data() + 3, code, 16);
    if (error != std::errc() || end != text.data() + 3) return std::nullopt;
    plain += static_cast<char>(code);
    text.remove_prefix(2);
  }
  if (!is_clean_text(plain)) return std::nullopt;
  return plain;
}

std::string without_default_namespace(std::string device) {
  const auto slash = device.find('/');
  if (slash != device.npos && slash + 1 < device.size() &&
      std::string_view(device).substr(0, slash) == default_namespace)
    device.erase(0, slash + 1);
  return device;
}

// What KubeEdge has below a device: so a device of one level is told from one of two.
bool is_below_device(std::string_view rest, bool is_series) {
  if (is_series) return rest == "data/update";
  return rest == "updated" || rest.starts_with("twin/update") || rest.starts_with("twin/get") ||
         rest == "twin/cloud_updated" || rest.starts_with("state/update") || rest == "state/get";
}

}  // namespace

std::optional<DeviceTopic> parse_device_topic(std::string_view topic) {
  bool last = false;
  if (topic.starts_with(own_prefix)) {
    topic.remove_prefix(own_prefix.size());
    const auto level = next_level(topic, last);
    if (level.empty()) return std::nullopt;
    return DeviceTopic{DeviceTopic::Form::landfall,
                       without_default_namespace(percent_decode(level).value_or(std::string(level))), topic};
  }
  const bool is_series = topic.starts_with(series_prefix);
  if (!is_series && !topic.starts_with(twin_prefix)) return std::nullopt;
  topic.remove_prefix(is_series ? series_prefix.size() : twin_prefix.size());
  const auto whole = topic;
  const auto first = next_level(topic, last);
  if (last || first.empty()) return std::nullopt;
  if (is_below_device(topic, is_series)) return DeviceTopic{DeviceTopic::Form::one_level, std::string(first), topic};
  const auto second = next_level(topic, last);
  if (last || second.empty() || !is_below_device(topic, is_series)) return std::nullopt;
  return DeviceTopic{DeviceTopic::Form::two_levels,
                     without_default_namespace(std::string(whole.substr(0, first.size() + 1 + second.size()))), topic};
}

std::string device_topic(DeviceTopic::Form form, std::string_view device, std::string_view rest) {
  const auto slash = device.find('/');
  std::string topic;
  if (form == DeviceTopic::Form::landfall) {
    topic = own_prefix;
    for (const char c : device) {
      constexpr std::string_view hex = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      if (c == '/' || c == '%' || c == '+' || c == '#')
        topic += {'%', hex[byte >> 4], hex[byte & 15]};
      else
        topic += c;
    }
  } else {
    topic = twin_prefix;
    if (form == DeviceTopic::Form::two_levels && slash == device.npos) topic.append(default_namespace) += '/';
    topic += form == DeviceTopic::Form::one_level && slash != device.npos ? device.substr(slash + 1) : device;
  }
  return (topic += '/').append(rest);
}

}  // namespace landfall
