#include "edgeruntime/config.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <sstream>

#include <toml++/toml.h>

#include "edgeruntime/address.h"
#include "edgeruntime/mqtt/capture.h"

namespace landfall {
namespace {

// ---- values as text. A reader returns what is wrong, or nothing.

using Fault = std::optional<std::string>;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr Unit byte_units[] = {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
constexpr Unit second_units[] = {{"s", 1}, {"min", 60}, {"h", 3600}};

template <std::size_t N>
Fault read_quantity(const toml::node& node, const Unit (&units)[N], std::uint64_t& out) {
  const auto text = node.value_exact<std::string>();
  std::string names;
  for (const auto& unit : units) names += (names.empty() ? "" : ", ") + std::string(unit.name);
  const std::string expected = "expected a number with a unit (" + names + "), for example \"10 " +
                               std::string(units[N > 2 ? 1 : 0].name) + "\"";
  if (!text) return expected;
  std::uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc()) return expected;
  std::string_view unit(rest, static_cast<std::size_t>(text->data() + text->size() - rest));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  for (const auto& known : units) {
    if (unit != known.name) continue;
    if (number > UINT64_MAX / known.factor) return "'" + *text + "' is too large";
    out = number * known.factor;
    return std::nullopt;
  }
  return "unknown unit '" + std::string(unit) + "': " + expected;
}

template <std::size_t N>
std::string quantity_text(std::uint64_t value, const Unit (&units)[N]) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < N; ++i) {
    if (value != 0 && value % units[i].factor == 0) best = i;
  }
  return "\"" + std::to_string(value / units[best].factor) + " " + std::string(units[best].name) + "\"";
}

std::string toml_text(std::string_view text) {
  std::ostringstream out;
  out << toml::toml_formatter{toml::value<std::string>{std::string(text)}, toml::format_flags::none};
  return out.str();
}

Fault range_fault(std::uint64_t value, std::uint64_t min, std::uint64_t max, const std::string& shown_min,
                  const std::string& shown_max) {
  if (value >= min && value <= max) return std::nullopt;
  return "out of range: " + shown_min + " to " + shown_max + " is allowed";
}

// ---- one key of the file: what it means, how it is read and written.

template <class C>
struct Field {
  std::string section, key;
  std::string comment;
  std::function<std::string(const C&)> show;  // as TOML; for a table of free keys the lines of the table
  std::function<Fault(const toml::node&, C&)> read;
  bool free_table = false;
  std::string example = {};  // free table: a commented line where it is empty
};

template <class C>
using Check = std::function<Fault(const C&)>;

template <class C, class F>
Field<C> text(std::string section, std::string key, F member, std::string comment,
              std::function<Fault(const std::string&)> check = {}) {
  return {std::move(section), std::move(key), std::move(comment),
          [member](const C& c) { return toml_text(member(const_cast<C&>(c))); },
          [member, check](const toml::node& node, C& c) -> Fault {
            const auto value = node.value_exact<std::string>();
            if (!value) return "expected a text in quotes";
            if (check) {
              if (auto fault = check(*value)) return fault;
            }
            member(c) = *value;
            return std::nullopt;
          }};
}

template <class C, class F>
Field<C> number(std::string section, std::string key, F member, std::uint64_t min, std::uint64_t max,
                std::string comment) {
  return {std::move(section), std::move(key), std::move(comment),
          [member](const C& c) { return std::to_string(member(const_cast<C&>(c))); },
          [=](const toml::node& node, C& c) -> Fault {
            const auto value = node.value_exact<std::int64_t>();
            if (!value || *value < 0) return "expected a whole number";
            if (auto fault =
                    range_fault(static_cast<std::uint64_t>(*value), min, max, std::to_string(min), std::to_string(max)))
              return fault;
            member(c) = static_cast<std::uint64_t>(*value);
            return std::nullopt;
          }};
}

template <class C, class F>
Field<C> flag(std::string section, std::string key, F member, std::string comment) {
  return {std::move(section), std::move(key), std::move(comment),
          [member](const C& c) { return member(const_cast<C&>(c)) ? "true" : "false"; },
          [member](const toml::node& node, C& c) -> Fault {
            const auto value = node.value_exact<bool>();
            if (!value) return "expected true or false";
            member(c) = *value;
            return std::nullopt;
          }};
}

template <class C, class F>
Field<C> bytes(std::string section, std::string key, F member, std::uint64_t min, std::uint64_t max,
               std::string comment) {
  return {
      std::move(section), std::move(key), std::move(comment),
      [member](const C& c) { return quantity_text(member(const_cast<C&>(c)), byte_units); },
      [=](const toml::node& node, C& c) -> Fault {
        std::uint64_t value = 0;
        if (auto fault = read_quantity(node, byte_units, value)) return fault;
        if (auto fault = range_fault(value, min, max, quantity_text(min, byte_units), quantity_text(max, byte_units)))
          return fault;
        member(c) = value;
        return std::nullopt;
      }};
}

template <class C, class F>
Field<C> seconds(std::string section, std::string key, F member, std::uint64_t min, std::uint64_t max,
                 std::string comment) {
  return {std::move(section), std::move(key), std::move(comment),
          [member](const C& c) {
            return quantity_text(static_cast<std::uint64_t>(member(const_cast<C&>(c)).count()), second_units);
          },
          [=](const toml::node& node, C& c) -> Fault {
            std::uint64_t value = 0;
            if (auto fault = read_quantity(node, second_units, value)) return fault;
            if (auto fault =
                    range_fault(value, min, max, quantity_text(min, second_units), quantity_text(max, second_units)))
              return fault;
            member(c) = std::chrono::seconds(value);
            return std::nullopt;
          }};
}

template <class C, class F>
Field<C> table(std::string section, F member, std::string comment, std::string example,
               std::function<Fault(const std::string& key, const std::string& value)> check) {
  return {std::move(section),
          "",
          std::move(comment),
          [member](const C& c) {
            std::string lines;
            for (const auto& [key, value] : member(const_cast<C&>(c)))
              lines += toml_text(key) + " = " + toml_text(value) + "\n";
            return lines;
          },
          [member, check](const toml::node& node, C& c) -> Fault {
            for (const auto& [key, value] : *node.as_table()) {
              std::string shown;
              if (const auto as_text = value.template value_exact<std::string>()) {
                shown = *as_text;
              } else if (const auto as_number = value.template value_exact<std::int64_t>()) {
                shown = std::to_string(*as_number);
              } else if (const auto as_flag = value.template value_exact<bool>()) {
                shown = *as_flag ? "true" : "false";
              } else {
                return "'" + std::string(key.str()) + "': expected a text in quotes";
              }
              const std::string name(key.str());
              if (auto fault = check(name, shown)) return fault;
              member(c)[name] = shown;
            }
            return std::nullopt;
          },
          true,
          std::move(example)};
}

// ---- checks

Fault check_name(const std::string& name) {
  const bool clean =
      std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
  if (name.empty() || name.size() > 64 || !clean) return "expected 1 to 64 letters, digits, '-', '_' or '.'";
  return std::nullopt;
}

Fault check_host_port(const std::string& text) {
  const auto parsed = parse_address(text);
  if (!parsed) return parsed.error().detail;
  return std::nullopt;
}

Fault check_host_port_or_none(const std::string& text) { return text.empty() ? std::nullopt : check_host_port(text); }

Fault check_file_or_none(const std::string& text) {
  if (text.ends_with('/')) return "expected the name of a file, for example \"mappers/deviceProfile.json\"";
  return std::nullopt;
}

Fault check_filter(std::string_view filter) {
  if (is_topic_filter(filter)) return std::nullopt;
  return "'" + std::string(filter) +
         "' is not a topic filter: '+' and '#' stand alone in their level, '#' in the last one";
}

Fault check_durability(const std::string& filter, const std::string& value) {
  if (auto fault = check_filter(filter)) return fault;
  if (value != "process" && value != "power") return "'" + filter + "': expected \"process\" or \"power\"";
  return std::nullopt;
}

Fault check_kafka_option(const std::string& key, const std::string&) {
  for (const std::string_view owned : {"transactional.id", "enable.idempotence", "acks", "bootstrap.servers"}) {
    if (key == owned) return "'" + key + "' is set by Landfall itself: its promises rest on it";
  }
  return std::nullopt;
}

// ---- the tables: the manual of the configuration

template <class C>
void add_api_and_log(std::vector<Field<C>>& fields) {
  fields.push_back(text<C>(
      "api", "listen", [](C & c) -> auto& { return c.api.listen; },
      "Address and port for the HTTP API (schemas/openapi.yaml, /metrics, /healthz), besides the unix socket\n"
      "landfall.sock in this folder, which is always there. Empty: only the socket. A loopback address speaks HTTP; "
      "any\n"
      "other speaks HTTPS with this node's own certificate, and needs tokens.",
      check_host_port_or_none));
  fields.push_back(text<C>(
      "api", "tokens", [](C & c) -> auto& { return c.api.tokens; },
      "File in this folder that says who may use `listen`: lines \"<name> reader|operator <sha256 of the token>\", or "
      "the\n"
      "SPIFFE id of a client certificate of this fleet in place of the sum. Empty: whoever can reach that address, "
      "which\n"
      "must be loopback then. The unix socket is this user's and needs none."));
  fields.push_back(bytes<C>(
      "log", "memory", [](C & c) -> auto& { return c.log.memory_bytes; }, 4 << 20, std::uint64_t{4} << 30,
      "Memory for the log's write buffers and block cache, \"4 MiB\" to \"4 GiB\". Units: B, KiB, MiB, GiB."));
  fields.push_back(Field<C>{
      "log", "anchor_sync",
      "When the anchor file, which proves after a crash that nothing acknowledged is missing, is synced: \"standard\"\n"
      "within a second of the event, \"strict\" before each acknowledgement (one more disk sync per group of events).",
      [](const C& c) { return toml_text(c.log.anchor_strict ? "strict" : "standard"); },
      [](const toml::node& node, C& c) -> Fault {
        const auto value = node.value_exact<std::string>();
        if (value != "standard" && value != "strict") return "expected \"standard\" or \"strict\"";
        c.log.anchor_strict = value == "strict";
        return std::nullopt;
      }});
}

const std::vector<Field<HubConfig>>& hub_fields() {
  using C = HubConfig;
  static const std::vector<Field<C>> fields = [] {
    std::vector<Field<C>> f;
    f.push_back(text<C>(
        "hub", "name", [](C & c) -> auto& { return c.name; }, "Name of this hub in logs and metrics.", check_name));
    f.push_back(text<C>(
        "hub", "listen", [](C & c) -> auto& { return c.listen; },
        "Address and port on which edges connect (TLS 1.3, both sides with certificates).", check_host_port));
    f.push_back(text<C>(
        "hub", "advertise", [](C & c) -> auto& { return c.advertise; },
        "Host and port that invites tell edges to dial: what this hub is called from outside.", check_host_port));
    f.push_back(text<C>(
        "hub", "trust_domain", [](C & c) -> auto& { return c.trust_domain; },
        "First part of every identity this hub issues (spiffe://<trust_domain>/node/...). Fixed once `hub init` has "
        "run.",
        check_name));
    f.push_back(text<C>(
        "kafka", "bootstrap", [](C & c) -> auto& { return c.kafka.bootstrap; },
        "Kafka brokers, \"host:port,host:port\". Empty: no Kafka; the embedded log is the log.\n"
        "Set: an edge's events count as committed once a Kafka transaction holds them."));
    f.push_back(number<C>(
        "kafka", "shards", [](C & c) -> auto& { return c.kafka.shards; }, 1, 1024,
        "Shards, and so partitions of each topic, 1 to 1024: one commits while another produces. Fixed once the topics "
        "exist."));
    f.push_back(number<C>(
        "kafka", "replication", [](C & c) -> auto& { return c.kafka.replication; }, 0, 16,
        "Replication factor of the topics that this hub makes, 1 to 16. 0: the broker's default."));
    f.push_back(text<C>(
        "kafka", "topic_prefix", [](C & c) -> auto& { return c.kafka.topic_prefix; },
        "First part of the topics' names: <prefix>.telemetry, <prefix>.alarms, ...", check_name));
    f.push_back(table<C>(
        "kafka.options", [](C & c) -> auto& { return c.kafka.options; },
        "Further librdkafka options, for example for SASL or TLS to the brokers.", "# \"security.protocol\" = \"ssl\"",
        check_kafka_option));
    add_api_and_log(f);
    return f;
  }();
  return fields;
}

const std::vector<Field<EdgeConfig>>& edge_fields() {
  using C = EdgeConfig;
  static const std::vector<Field<C>> fields = [] {
    std::vector<Field<C>> f;
    f.push_back(text<C>(
        "edge", "name", [](C & c) -> auto& { return c.name; }, "Name of this edge in logs and metrics.", check_name));
    f.push_back(text<C>(
        "hub", "address", [](C & c) -> auto& { return c.hub_address; }, "Host and port of the hub, as its invite said.",
        check_host_port));
    f.push_back(flag<C>(
        "mqtt", "enabled", [](C & c) -> auto& { return c.mqtt.enabled; },
        "Whether this edge has an MQTT broker. Without it events come over the HTTP API only."));
    f.push_back(text<C>(
        "mqtt", "broker", [](C & c) -> auto& { return c.mqtt.broker; },
        "The broker: the Mosquitto program (2.0 or newer) that the edge starts and supervises, or \"external\" for one "
        "that\n"
        "runs by itself with our plugin loaded (`landfall check` prints the lines for its configuration)."));
    f.push_back(text<C>(
        "mqtt", "plugin", [](C & c) -> auto& { return c.mqtt.plugin; },
        "Path of liblandfall_mosquitto.so. Empty: where the installation has it."));
    f.push_back(text<C>(
        "mqtt", "listen", [](C & c) -> auto& { return c.mqtt.listen; },
        "Address on which the broker listens. \"0.0.0.0\" lets devices on the ship's network in; it needs "
        "password_file."));
    f.push_back(number<C>(
        "mqtt", "port", [](C & c) -> auto& { return c.mqtt.port; }, 1, 65535, "MQTT port, 1 to 65535."));
    f.push_back(number<C>(
        "mqtt", "websocket_port", [](C & c) -> auto& { return c.mqtt.websocket_port; }, 0, 65535,
        "Port for MQTT over WebSocket, for browsers. 0: none."));
    f.push_back(text<C>(
        "mqtt", "password_file", [](C & c) -> auto& { return c.mqtt.password_file; },
        "Users and passwords of devices, a file made by mosquitto_passwd; needed for any address that is not "
        "loopback.\n"
        "Empty: who is on this machine may publish without a name."));
    f.push_back(Field<C>{"mqtt", "capture",
                         "Topic filters whose messages become events. '+' is one level, '#' all below.",
                         [](const C& c) {
                           std::string list;
                           for (const auto& filter : c.mqtt.capture)
                             list += (list.empty() ? "" : ", ") + toml_text(filter);
                           return "[" + list + "]";
                         },
                         [](const toml::node& node, C& c) -> Fault {
                           const auto* list = node.as_array();
                           if (list == nullptr) return "expected a list of topic filters";
                           std::vector<std::string> filters;
                           for (const auto& entry : *list) {
                             const auto filter = entry.value_exact<std::string>();
                             if (!filter) return "expected a list of topic filters in quotes";
                             if (auto fault = check_filter(*filter)) return fault;
                             filters.push_back(*filter);
                           }
                           c.mqtt.capture = std::move(filters);
                           return std::nullopt;
                         }});
    f.push_back(text<C>(
        "mqtt", "device_profile", [](C & c) -> auto& { return c.mqtt.device_profile; },
        "File to keep for mappers of KubeEdge up to 1.14: the deviceProfile.json of the devices that this edge runs, "
        "in this\n"
        "folder unless it begins with '/'. Mount the folder that it is in, not the file, which is replaced. Empty: "
        "none.",
        check_file_or_none));
    f.push_back(table<C>(
        "mqtt.durability", [](C & c) -> auto& { return c.mqtt.durability; },
        "What an acknowledged message (QoS 1 and 2) survives, by topic filter: \"process\" is kill -9 of anything of "
        "ours\n"
        "or of the broker, \"power\" is a power cut as well and costs a disk sync. Unnamed topics: alarms \"power\", "
        "all else\n"
        "\"process\".",
        "# \"landfall/+/telemetry/engine/#\" = \"power\"", check_durability));
    f.push_back(number<C>(
        "link", "bytes_per_second", [](C & c) -> auto& { return c.link.bytes_per_second; }, 0, std::uint64_t{1} << 40,
        "Rate of the link to the hub in bytes per second; no chunk is longer than a second of it, so that an alarm "
        "overtakes\n"
        "a backlog. 0: measured."));
    f.push_back(seconds<C>(
        "link", "heartbeat", [](C & c) -> auto& { return c.link.heartbeat; }, 5, 3600,
        "How long an idle link stays silent, \"5 s\" to \"1 h\". Units: s, min, h."));
    add_api_and_log(f);
    return f;
  }();
  return fields;
}

// ---- reading

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view name, const std::vector<std::string>& known) {
  const auto best = std::ranges::min_element(known, {}, [&](const std::string& k) { return edit_distance(name, k); });
  if (best == known.end() || edit_distance(name, *best) > std::max<std::size_t>(2, name.size() / 2)) return {};
  return *best;
}

class Reading {
 public:
  Reading(std::string_view file, std::vector<std::string>& faults) : file_(file), faults_(faults) {}
  void fault(const toml::source_region& where, const std::string& what) {
    faults_.push_back(std::string(file_) + ":" + std::to_string(where.begin.line) + ": " + what);
  }

  template <class C>
  void read(const toml::table& root, const std::vector<Field<C>>& fields, C& config) {
    read_table(root, "", fields, config);
  }

 private:
  template <class C>
  void read_table(const toml::table& values, const std::string& section, const std::vector<Field<C>>& fields,
                  C& config) {
    for (const auto& [key, node] : values) {
      const std::string name(key.str());
      const std::string path = section.empty() ? name : section + "." + name;
      const auto is_section = [&](const Field<C>& f) { return f.section == path || f.section.starts_with(path + "."); };
      const auto field = std::ranges::find_if(fields, [&](const Field<C>& f) {
        return f.free_table ? f.section == path : f.section == section && f.key == name;
      });
      if (field != fields.end()) {
        if (field->free_table && !node.is_table()) {
          fault(node.source(), "[" + path + "]: expected a table");
        } else if (auto wrong = field->read(node, config)) {
          fault(node.source(), (field->free_table ? "[" + path + "]: " : name + ": ") + *wrong);
        }
      } else if (std::ranges::any_of(fields, is_section)) {
        if (const auto* inner = node.as_table()) {
          read_table(*inner, path, fields, config);
        } else {
          fault(node.source(), "'" + path + "': expected a table [" + path + "]");
        }
      } else {
        unknown(key, name, section, fields);
      }
    }
  }

  template <class C>
  void unknown(const toml::key& key, const std::string& name, const std::string& section,
               const std::vector<Field<C>>& fields) {
    std::vector<std::string> keys;
    for (const auto& f : fields) {
      if (section.empty()) {
        keys.push_back(f.section.substr(0, f.section.find('.')));
      } else if (f.section == section && !f.free_table) {
        keys.push_back(f.key);
      }
    }
    const auto suggestion = nearest(name, keys);
    fault(key.source(), section.empty() ? "unknown table [" + name + "]" +
                                              (suggestion.empty() ? "" : ": did you mean [" + suggestion + "]?")
                                        : "unknown key '" + name + "' in [" + section + "]" +
                                              (suggestion.empty() ? "" : ": did you mean '" + suggestion + "'?"));
  }

  std::string_view file_;
  std::vector<std::string>& faults_;
};

template <class C>
std::string render(const std::vector<Field<C>>& fields, const C& config, std::string out) {
  std::string section;
  for (const auto& field : fields) {
    if (field.section != section) {
      section = field.section;
      if (!field.free_table) out += "\n[" + section + "]\n";
    }
    if (field.free_table) out += "\n";
    std::istringstream lines(field.comment);
    for (std::string line; std::getline(lines, line);) out += "# " + line + "\n";
    if (field.free_table) {
      const auto shown = field.show(config);
      out += "[" + section + "]\n" + (shown.empty() ? field.example + "\n" : shown);
    } else {
      out += field.key + " = " + field.show(config) + "\n";
    }
  }
  return out;
}

// Off loopback whoever asks must prove who it is.
void check_api(const ApiConfig& api, const toml::table& root, Reading& reading) {
  const auto address = parse_address(api.listen);
  if (!address || is_loopback(address->host) || !api.tokens.empty()) return;
  reading.fault(root["api"]["listen"].node()->source(),
                "listen: '" + address->host +
                    "' is not a loopback address: name a token file in [api] tokens, or listen on 127.0.0.1 or ::1");
}

}  // namespace

Result<NodeConfig> parse_config(std::string_view text, std::string_view file_name, std::vector<std::string>& faults) {
  Reading reading(file_name, faults);
  NodeConfig config;
  try {
    const toml::table root = toml::parse(text, file_name);
    const auto* hub = root["hub"].as_table();
    if (root.contains("edge")) {
      config = EdgeConfig{};
      reading.read(root, edge_fields(), std::get<EdgeConfig>(config));
      check_api(std::get<EdgeConfig>(config).api, root, reading);
      if (std::get<EdgeConfig>(config).hub_address.empty() && faults.empty()) {
        faults.push_back(std::string(file_name) + ": [hub] address is missing: the edge does not know whom to dial");
      }
    } else if (hub != nullptr) {
      config = HubConfig{};
      reading.read(root, hub_fields(), std::get<HubConfig>(config));
      check_api(std::get<HubConfig>(config).api, root, reading);
    } else {
      faults.push_back(std::string(file_name) + ": neither [hub] nor [edge]: the role is missing");
    }
  } catch (const toml::parse_error& error) {
    reading.fault(error.source(), std::string(error.description()));
  }
  if (!faults.empty()) return Error{Code::out_of_range, faults.front()};
  return config;
}

Result<NodeConfig> load_config(const std::filesystem::path& file, std::vector<std::string>& faults) {
  std::error_code error;
  const auto type = std::filesystem::status(file, error).type();
  if (type == std::filesystem::file_type::not_found) {
    return Error{Code::not_found,
                 file.string() + ": no such file: run `landfall hub init` or `landfall edge init` first"};
  }
  if (type == std::filesystem::file_type::none) {
    return Error{Code::denied, file.string() + ": " + error.message() + ": run this as the user who runs the node"};
  }
  // Reading a folder through a stream throws.
  if (type == std::filesystem::file_type::directory) {
    return Error{Code::disk, file.string() + ": a folder, where the configuration file should be: move it away"};
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) return Error{Code::denied, file.string() + ": not readable: check its permissions"};
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return parse_config(text, file.string(), faults);
}

Result<NodeConfig> load_config(const std::filesystem::path& file) {
  std::vector<std::string> faults;
  return load_config(file, faults);
}

std::string config_text(const HubConfig& config) {
  return render(hub_fields(), config,
                "# Landfall hub. `landfall config check --dir <this folder>` says whether this file is right.\n"
                "# A key that is left out has the value that `landfall hub init` writes for it.\n");
}

std::string config_text(const EdgeConfig& config) {
  return render(edge_fields(), config,
                "# Landfall edge. `landfall config check --dir <this folder>` says whether this file is right.\n"
                "# A key that is left out has the value that `landfall edge init` writes for it.\n");
}

}  // namespace landfall
