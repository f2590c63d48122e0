#pragma once

#include <string>
#include <string_view>

#include "cloudsync/network.h"
#include "schemas/result.h"

// The text rules of identities: SPIFFE ids, and what of a stranger's text may go into a log line.

namespace landfall {

bool is_trust_domain(std::string_view text);  // [a-z0-9.-_]{1,255}
bool is_path_segment(std::string_view text);  // [A-Za-z0-9._-]+, neither "." nor ".."

std::string trust_domain_uri(std::string_view trust_domain);
std::string spiffe_uri(std::string_view trust_domain, Peer::Role role, std::string_view name);

struct SpiffeId {
  Peer::Role role;
  std::string name;
};
// Reads spiffe://<trust_domain>/{hub,node,invite}/<name>, comparing bytes. Errors: `denied`, with the rule broken.
Result<SpiffeId> parse_spiffe_uri(std::string_view uri, std::string_view trust_domain);

// At most 100 characters, anything but printable ASCII as '?'.
std::string printable(std::string_view text);

}  // namespace landfall
