#include "edgeruntime/spiffe_id.h"

#include <algorithm>

namespace landfall {
namespace {

constexpr std::string_view scheme = "spiffe://";
constexpr std::size_t uri_bytes_max = 2048;

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_mark(char c) { return c == '.' || c == '-' || c == '_'; }

std::string_view word(Peer::Role role) {
  switch (role) {
    case Peer::Role::hub: return "hub";
    case Peer::Role::node: return "node";
    case Peer::Role::invite: return "invite";
  }
  return "";
}

}  // namespace

bool is_trust_domain(std::string_view text) {
  return !text.empty() && text.size() <= 255 &&
         std::ranges::all_of(text, [](char c) { return is_lower_or_digit(c) || is_mark(c); });
}

bool is_path_segment(std::string_view text) {
  return !text.empty() && text != "." && text != ".." &&
         std::ranges::all_of(text, [](char c) { return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || is_mark(c); });
}

std::string trust_domain_uri(std::string_view trust_domain) { return std::string(scheme) + std::string(trust_domain); }

std::string spiffe_uri(std::string_view trust_domain, Peer::Role role, std::string_view name) {
  return trust_domain_uri(trust_domain) + "/" + std::string(word(role)) + "/" + std::string(name);
}

Result<SpiffeId> parse_spiffe_uri(std::string_view uri, std::string_view trust_domain) {
  auto refuse = [uri](const std::string& why) {
    return Error{Code::denied, "SPIFFE id " + printable(uri) + ": " + why};
  };
  if (uri.size() > uri_bytes_max) return refuse("longer than 2048 bytes; have the certificate issued again");
  if (!uri.starts_with(scheme)) return refuse("does not begin with spiffe://; have the certificate issued by a hub");
  auto rest = uri.substr(scheme.size());
  auto slash = rest.find('/');
  auto domain = rest.substr(0, slash);
  if (!is_trust_domain(domain)) return refuse("trust domain is malformed; have the certificate issued by a hub");
  if (domain != trust_domain) {
    return refuse("wrong trust domain, ours is " + std::string(trust_domain) + "; invite the node to this fleet");
  }
  if (slash == rest.npos) return refuse("has no path, so it names no node; have the certificate issued by a hub");
  auto path = rest.substr(slash + 1);
  auto cut = path.find('/');
  auto kind = path.substr(0, cut);
  auto name = cut == path.npos ? std::string_view() : path.substr(cut + 1);
  for (auto role : {Peer::Role::hub, Peer::Role::node, Peer::Role::invite}) {
    if (kind != word(role)) continue;
    if (!is_path_segment(name)) {
      return refuse("path is not /" + std::string(kind) + "/<name>; have the certificate issued by a hub");
    }
    return SpiffeId{role, std::string(name)};
  }
  return refuse("only hubs, nodes and invites may open links; use the identity of one");
}

std::string printable(std::string_view text) {
  std::string clean(text.substr(0, 100));
  std::ranges::replace_if(
      clean, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  if (text.size() > 100) clean += "...";
  return clean;
}

}  // namespace landfall
