#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/result.h"

namespace landfall {

// Who may connect to the broker and which topics he may use.

struct ClientAccess {
  // The MQTT user name. Of a device its name, "name" or "namespace/name": it has the topics landfall/<name>/#,
  // $hw/events/device/<name>/... and $ke/events/device/<name>/..., both forms, and may upload.
  std::string name;
  std::string password_hash = {};  // make_password_hash, or a line of mosquitto_passwd; empty: no password is good
  std::string certificate_subject = {};  // common name, where the listener asks for certificates; empty: none
  bool is_mapper = false;                // speaks for every device: all topics, wildcards too
  std::vector<std::string> topics = {};  // further topic filters that it may publish and subscribe to
  friend bool operator==(const ClientAccess&, const ClientAccess&) = default;
};

struct BrokerAccess {
  // open: whoever reaches the listener may do everything, without a name or with any name that is not listed. Good for
  // loopback only. closed: only those listed, with their password or certificate.
  enum class Mode : std::uint8_t { open, closed };
  Mode mode = Mode::open;
  std::vector<ClientAccess> clients;
  friend bool operator==(const BrokerAccess&, const BrokerAccess&) = default;
};

struct BrokerLogin {
  std::string host;
  std::uint16_t port = 0;
  std::string client_id, user, password;
};

// PBKDF2 with HMAC-SHA-512, as mosquitto_passwd writes it: "$7$<iterations>$<salt>$<hash>". `salt` is 12 or more random
// bytes. The broker has one thread and computes it at each connect, so few iterations: passwords are to be long.
std::string make_password_hash(std::string_view password, std::string_view salt);
// Errors: `out_of_range` for a hash that is none or costs too much (mqtt_password_iterations_max).
Status check_password_hash(std::string_view hash);
bool password_matches(std::string_view hash, std::string_view password);

}  // namespace landfall
