#include "edgeruntime/mqtt/control.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "schemas/check.h"
#include "schemas/limits.h"
#include "schemas/text.h"

namespace landfall {
namespace {

constexpr std::string_view first_line = "landfall-control\t1", last_line = "end";
constexpr std::string_view private_prefix = "$landfall", shared_prefix = "$share/";
constexpr std::array<std::string_view, 3> modes = {"open", "closed", "deferred"};
// Publishing there is writing into KubeEdge's cloud's name: not for a device.
constexpr std::string_view cloud_write = "/twin/cloud_updated";

bool is_private(std::string_view topic) {
  return topic.starts_with(private_prefix) &&
         (topic.size() == private_prefix.size() || topic[private_prefix.size()] == '/');
}

// Whoever may use the topics of `allowed` may use those of `wanted`.
bool filter_covers(std::string_view allowed, std::string_view wanted) {
  // A '#' of `wanted` is not a level that '+' could stand for.
  if (wanted.ends_with('#') && !allowed.ends_with('#')) return false;
  if (wanted == "#" || (wanted.ends_with("/#") && allowed.size() > wanted.size())) return allowed == wanted;
  return topic_matches(allowed, wanted);
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Status check_client(const ClientAccess& client) {
  const auto bad = [&](const std::string& why) {
    return Error{Code::out_of_range, "broker access of \"" + client.name.substr(0, 100) + "\": " + why};
  };
  if (client.name.empty() || client.name.size() > text_bytes_max || !is_clean_text(client.name))
    return bad("a name is 1 to " + std::to_string(text_bytes_max) + " bytes of clean text");
  // A mapper's name stands in no topic.
  if (!client.is_mapper &&
      (client.name.find_first_of("+#$") != std::string::npos || std::ranges::count(client.name, '/') > 1 ||
       client.name.starts_with('/') || client.name.ends_with('/')))
    return bad("the name of a device has none of + # $ and at most one /, within");
  if (!client.password_hash.empty()) {
    auto checked = check_password_hash(client.password_hash);
    if (!checked.ok()) return bad(checked.error().detail);
  }
  if (client.certificate_subject.size() > text_bytes_max || !is_clean_text(client.certificate_subject))
    return bad("the certificate's subject is too long or no clean text");
  if (client.topics.size() > broker_client_topics_max)
    return bad("more than " + std::to_string(broker_client_topics_max) + " further topics");
  for (const auto& topic : client.topics) {
    if (!is_topic_filter(topic)) return bad("\"" + topic.substr(0, 100) + "\" is not a topic filter");
  }
  return ok();
}

std::vector<std::string> filters_of(const ClientAccess& client) {
  using Form = DeviceTopic::Form;
  std::vector<std::string> filters = client.topics;
  const auto add = [&](std::string_view prefix, Form form, std::string_view rest) {
    const auto topic = device_topic(form, client.name, rest);
    filters.push_back(form == Form::landfall ? topic : std::string(prefix) + topic.substr(prefix.size()));
  };
  add("", Form::landfall, "#");
  for (const std::string_view prefix : {"$hw/", "$ke/"}) {
    add(prefix, Form::two_levels, "#");
    // Not all below one level: a namespace may have the device's name.
    if (client.name.find('/') == std::string::npos) {
      for (const auto rest : {"twin/#", "state/#", "data/#", "updated"}) add(prefix, Form::one_level, rest);
    }
  }
  return filters;
}

}  // namespace

Result<std::string> encode_control(const BrokerControl& control) {
  const auto over = [](const char* what, std::size_t most) {
    return Error{Code::out_of_range, "broker: more than " + std::to_string(most) + " " + what};
  };
  if (control.clients.size() > broker_clients_max) return over("clients", broker_clients_max);
  if (control.rules.size() > broker_rules_max) return over("capture rules", broker_rules_max);
  std::string text(first_line);
  const auto line = [&](std::initializer_list<std::string_view> fields) {
    text += '\n';
    bool first = true;
    for (const auto field : fields) (std::exchange(first, false) ? text : text += '\t').append(field);
  };
  line({"version", std::to_string(control.version)});
  line({"mode", modes[static_cast<std::size_t>(control.mode)]});
  for (const auto* part : {&control.edge_client_id, &control.edge_user, &control.edge_password}) {
    if (part->empty() || part->size() > text_bytes_max || !is_clean_text(*part))
      return Error{Code::out_of_range, "broker: the login of the edge's client is no clean text"};
  }
  line({"edge", control.edge_client_id, control.edge_user, control.edge_password});
  for (const auto& rule : control.rules) {
    if (!is_topic_filter(rule.filter))
      return Error{Code::out_of_range, "capture rule: \"" + rule.filter + "\" is not a topic filter"};
    line({"rule", to_string(rule)});
  }
  for (const auto& client : control.clients) {
    LANDFALL_TRY(check_client(client));
    line({"client", client.name, client.is_mapper ? "mapper" : "device", client.password_hash,
          client.certificate_subject});
    for (const auto& topic : client.topics) (text += '\t').append(topic);
  }
  line({last_line});
  text += '\n';
  return text;
}

Result<BrokerControl> decode_control(std::string_view text) {
  int number = 1;
  const auto bad = [&] {
    return Error{Code::corrupt,
                 "control file, line " + std::to_string(number) + ": not as this plugin's edge writes it"};
  };
  // The last line stands for the whole: a file that was cut is none.
  if (!text.ends_with("\nend\n")) return bad();
  text.remove_suffix(5);
  const auto lines = split(text, '\n');
  if (lines[0] != first_line) return bad();
  BrokerControl control;
  bool has_version = false, has_mode = false;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    ++number;
    const auto fields = split(lines[i], '\t');
    if (fields[0] == "version" && fields.size() == 2) {
      const auto version = parse_number(fields[1]);
      if (!version) return bad();
      control.version = *version;
      has_version = true;
    } else if (fields[0] == "mode" && fields.size() == 2) {
      const auto mode = std::ranges::find(modes, fields[1]);
      if (mode == modes.end()) return bad();
      control.mode = static_cast<BrokerControl::Mode>(mode - modes.begin());
      has_mode = true;
    } else if (fields[0] == "edge" && fields.size() == 4) {
      control.edge_client_id = fields[1];
      control.edge_user = fields[2];
      control.edge_password = fields[3];
    } else if (fields[0] == "rule" && fields.size() == 2) {
      auto rule = parse_capture_rule(fields[1]);
      if (!rule.ok()) return bad();
      control.rules.push_back(std::move(*rule));
    } else if (fields[0] == "client" && fields.size() >= 5 && (fields[2] == "mapper" || fields[2] == "device")) {
      ClientAccess client{.name = std::string(fields[1]),
                          .password_hash = std::string(fields[3]),
                          .certificate_subject = std::string(fields[4]),
                          .is_mapper = fields[2] == "mapper",
                          .topics = {fields.begin() + 5, fields.end()}};
      if (!check_client(client).ok()) return bad();
      control.clients.push_back(std::move(client));
    } else {
      return bad();
    }
  }
  // It must encode again: that holds the limits, and that no one is nobody.
  if (!has_version || !has_mode || !encode_control(control).ok()) return bad();
  return control;
}

// The first of a name has it, and a name goes before a subject that is the same text.
AccessList::AccessList(BrokerControl control) : control_(std::move(control)) {
  const auto rights_of = [](const ClientAccess& client) {
    return Rights{&client, client.is_mapper ? std::vector<std::string>() : filters_of(client)};
  };
  for (const auto& client : control_.clients) by_user_.insert({client.name, rights_of(client)});
  for (const auto& client : control_.clients) {
    if (!client.certificate_subject.empty()) by_user_.insert({client.certificate_subject, rights_of(client)});
  }
}

const AccessList::Rights* AccessList::find(std::string_view user) const {
  const auto found = by_user_.find(user);
  return user.empty() || found == by_user_.end() ? nullptr : &found->second;
}

AccessList::Login AccessList::check_login(std::string_view client_id, std::string_view user,
                                          std::optional<std::string_view> password, std::string& why) const {
  if (user == control_.edge_user || client_id == control_.edge_client_id) {
    const bool same_length = password && password->size() == control_.edge_password.size();
    unsigned char differs = 0;
    for (std::size_t i = 0; same_length && i < password->size(); ++i) {
      differs |= static_cast<unsigned char>((*password)[i] ^ control_.edge_password[i]);
    }
    if (is_edge(client_id, user) && same_length && differs == 0) return Login::accepted;
    why = "takes the edge's own name";
    return Login::denied;
  }
  const auto* rights = find(user);
  // By its subject a client is known from its certificate alone.
  if (rights != nullptr && rights->client->name == user) {
    const auto& hash = rights->client->password_hash;
    if (!hash.empty() && password && password_matches(hash, *password)) return Login::accepted;
    why = hash.empty() ? "has no password to log in with" : "wrong password";
    return Login::denied;
  }
  if (control_.mode == BrokerControl::Mode::open) return Login::accepted;
  if (control_.mode == BrokerControl::Mode::deferred) return Login::deferred;
  why = user.empty() ? "no user name" : "unknown user";
  return Login::denied;
}

bool AccessList::may_publish(std::string_view user, std::string_view topic) const {
  if (is_private(topic)) return false;
  if (control_.mode != BrokerControl::Mode::closed) return true;
  const auto* rights = find(user);
  if (rights == nullptr) return false;
  if (rights->client->is_mapper) return true;
  const bool listed =
      std::ranges::any_of(rights->client->topics, [&](const auto& filter) { return topic_matches(filter, topic); });
  if (topic.starts_with("$hw/") && topic.ends_with(cloud_write)) return listed;
  if (std::ranges::any_of(rights->filters, [&](const auto& filter) { return topic_matches(filter, topic); }))
    return true;
  return is_upload_topic(topic);
}

bool AccessList::may_subscribe(std::string_view user, std::string_view filter) const {
  if (filter.starts_with(shared_prefix)) {
    filter.remove_prefix(shared_prefix.size());
    const auto slash = filter.find('/');
    filter.remove_prefix(slash == filter.npos ? filter.size() : slash + 1);
  }
  if (is_private(filter)) return false;
  if (control_.mode != BrokerControl::Mode::closed) return true;
  const auto* rights = find(user);
  if (rights == nullptr) return false;
  return rights->client->is_mapper ||
         std::ranges::any_of(rights->filters, [&](const auto& allowed) { return filter_covers(allowed, filter); });
}

bool AccessList::may_receive(std::string_view user, std::string_view topic) const {
  if (is_private(topic)) return false;
  if (control_.mode != BrokerControl::Mode::closed) return true;
  const auto* rights = find(user);
  if (rights == nullptr) return false;
  return rights->client->is_mapper ||
         std::ranges::any_of(rights->filters, [&](const auto& filter) { return topic_matches(filter, topic); });
}

std::vector<std::string> AccessList::revoked(const AccessList& before) const {
  std::vector<std::string> users;
  for (const auto& [user, rights] : before.by_user_) {
    const auto* now = find(user);
    if (now == nullptr || now->client->name != rights.client->name ||
        now->client->password_hash != rights.client->password_hash ||
        now->client->certificate_subject != rights.client->certificate_subject)
      users.emplace_back(user);
  }
  return users;
}

std::string encode_directed(const Directed& message) {
  LANDFALL_CHECK(message.client.size() <= 0xffff && message.topic.size() <= 0xffff);
  std::string bytes;
  bytes += static_cast<char>(message.qos);
  for (const auto part : {message.client, message.topic}) {
    bytes += static_cast<char>(part.size() & 0xff);
    bytes += static_cast<char>(part.size() >> 8);
    bytes += part;
  }
  return bytes.append(message.payload);
}

Result<Directed> decode_directed(std::string_view bytes) {
  const Error bad{Code::corrupt, "message to one client: lengths do not add up"};
  if (bytes.empty() || bytes[0] < 0 || bytes[0] > 2) return bad;
  Directed message{.qos = bytes[0]};
  bytes.remove_prefix(1);
  for (auto* part : {&message.client, &message.topic}) {
    if (bytes.size() < 2) return bad;
    const std::size_t size = static_cast<unsigned char>(bytes[0]) | static_cast<unsigned char>(bytes[1]) << 8;
    bytes.remove_prefix(2);
    if (bytes.size() < size) return bad;
    *part = bytes.substr(0, size);
    bytes.remove_prefix(size);
  }
  if (message.client.empty() || message.topic.empty()) return bad;
  message.payload = bytes;
  return message;
}

}  // namespace landfall
