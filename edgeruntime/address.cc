#include "edgeruntime/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>

#include "edgeruntime/spiffe_id.h"

namespace landfall {

Result<Address> parse_address(std::string_view text) {
  auto refuse = [text](const char* why) {
    return Error{Code::out_of_range,
                 "address \"" + printable(text) + "\": " + why + "; write host:port or [IPv6]:port"};
  };
  auto colon = text.rfind(':');
  if (colon == text.npos) return refuse("no port");
  auto host = text.substr(0, colon);
  auto digits = text.substr(colon + 1);
  Address address;
  auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (failed != std::errc() || end != digits.data() + digits.size()) return refuse("the port is not 0 to 65535");
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || host.size() > 253) return refuse("the host must have 1 to 253 characters");
  bool clean = std::ranges::all_of(host, [bracketed](char c) {
    bool name =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
    return name || (bracketed && (c == ':' || c == '%'));
  });
  if (!clean) return refuse("the host holds other characters than a name or an IP address");
  address.host = host;
  return address;
}

std::string to_string(const Address& address) {
  bool v6 = address.host.find(':') != address.host.npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

bool is_loopback(const std::string& host) {
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  if (::inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return host == "localhost";
}

}  // namespace landfall
