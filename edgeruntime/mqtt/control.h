#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "edgeruntime/mqtt/access.h"
#include "edgeruntime/mqtt/capture.h"
#include "schemas/result.h"

namespace landfall {

// What the edge tells the plugin while the broker runs: one file, replaced whole, read again when it has changed. A file
// and not a socket, as it is there for a broker that starts before the edge, or after the edge has died, and as nobody has
// to ask for it.
struct BrokerControl {
  // deferred: who may connect is decided by the configuration of a broker that is not ours, what he may do is not limited.
  enum class Mode : std::uint8_t { open, closed, deferred };
  std::uint64_t version = 0;  // another for each content; compared for equality only
  Mode mode = Mode::closed;
  std::string edge_client_id, edge_user, edge_password;  // of the edge's own client
  std::vector<CaptureRule> rules;
  std::vector<ClientAccess> clients;
  friend bool operator==(const BrokerControl&, const BrokerControl&) = default;
};

// Lines of fields with tabs between; README.md has an example.
// Errors: `out_of_range` for values over a limit or that are no clean text.
Result<std::string> encode_control(const BrokerControl& control);
Result<BrokerControl> decode_control(std::string_view text);  // Errors: `corrupt`.

// Who may do what, of one BrokerControl, which it keeps.
class AccessList {
 public:
  explicit AccessList(BrokerControl control);
  AccessList(const AccessList&) = delete;
  AccessList& operator=(const AccessList&) = delete;
  const BrokerControl& control() const { return control_; }

  enum class Login : std::uint8_t { accepted, denied, deferred };
  // `why` is set where it is denied. A client with a proven certificate never comes here.
  Login check_login(std::string_view client_id, std::string_view user, std::optional<std::string_view> password,
                    std::string& why) const;
  bool is_edge(std::string_view client_id, std::string_view user) const {
    return client_id == control_.edge_client_id && user == control_.edge_user;
  }

  // Of a client that is connected under `user` and is not the edge.
  bool may_publish(std::string_view user, std::string_view topic) const;
  bool may_subscribe(std::string_view user, std::string_view filter) const;
  bool may_receive(std::string_view user, std::string_view topic) const;

  // Users of `before` that must not stay connected: gone from this list, or with another password or certificate.
  std::vector<std::string> revoked(const AccessList& before) const;

 private:
  struct Rights {
    const ClientAccess* client;
    std::vector<std::string> filters;
  };
  const Rights* find(std::string_view user) const;

  BrokerControl control_;
  std::map<std::string_view, Rights> by_user_;  // by certificate subject as well
};

// Of the edge's client to one other: the plugin unpacks a message on this topic, which nobody else may use.
inline constexpr std::string_view directed_topic = "$landfall/to";
struct Directed {
  int qos = 0;
  std::string_view client = {}, topic = {}, payload = {};
};
std::string encode_directed(const Directed& message);
Result<Directed> decode_directed(std::string_view bytes);  // Errors: `corrupt`.

}  // namespace landfall
