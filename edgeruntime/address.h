#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "schemas/result.h"

namespace landfall {

// A place on the network as written in configuration and invites.
struct Address {
  std::string host;  // name, IPv4 or IPv6 without brackets
  std::uint16_t port = 0;
};

// "host:port" or "[v6]:port"; names of at most 253 letters, digits, dots, minus signs and underscores.
// Errors: `out_of_range`.
Result<Address> parse_address(std::string_view text);
std::string to_string(const Address& address);
// 127.0.0.0/8, ::1 or "localhost": nobody on another machine reaches it.
bool is_loopback(const std::string& host);

}  // namespace landfall
