#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "schemas/result.h"

namespace landfall {

// One installation with one key pair: the first 16 bytes of SHA-256 of its public key (SPKI, DER).
struct NodeId {
  std::array<std::uint8_t, 16> bytes{};
  friend auto operator<=>(const NodeId&, const NodeId&) = default;
  bool is_zero() const { return bytes == std::array<std::uint8_t, 16>{}; }
};

// Minted every time a node opens its log for writing, so that a restored backup, a cloned disk or an amnesiac node
// can never reuse a name. Ordered by node, then counter: the order of a node's own history where it never forked.
struct RunId {
  NodeId node;
  std::uint32_t counter = 0;  // 1-based; 0 names no run
  std::uint32_t nonce = 0;    // random
  friend auto operator<=>(const RunId&, const RunId&) = default;
  bool is_none() const { return counter == 0; }
};

// The priority lanes, each its own gap-free sequence in a run. Lower numbers travel first.
enum class Stream : std::uint8_t { control, alarm, desired, reported, document, telemetry, blob };
inline constexpr std::size_t stream_count = 7;
std::string_view to_string(Stream stream);
Result<Stream> parse_stream(std::string_view name);

// One sequence of events: the unit of order and of the hash chain.
struct RunStream {
  RunId run;
  Stream stream = Stream::control;
  friend auto operator<=>(const RunStream&, const RunStream&) = default;
};

// The name of one event for ever. Same dot, same bytes.
struct Dot {
  RunId run;
  Stream stream = Stream::control;
  std::uint64_t seq = 0;  // 1-based, without gaps
  friend auto operator<=>(const Dot&, const Dot&) = default;
};

// Text forms: node "32 hex", run "<node>.<counter>-<8 hex nonce>", dot "<run>/<stream name>/<seq>". Parsing accepts
// exactly what to_string prints. Errors: `out_of_range`.
std::string to_string(const NodeId& node);
std::string to_string(const RunId& run);
std::string to_string(const Dot& dot);
Result<NodeId> parse_node(std::string_view text);
Result<RunId> parse_run(std::string_view text);
Result<Dot> parse_dot(std::string_view text);

// SHA-256 output; the value of a hash chain after one event.
using Digest = std::array<std::uint8_t, 32>;
std::string to_hex(std::string_view bytes);
inline std::string to_hex(const Digest& d) {
  return to_hex(std::string_view(reinterpret_cast<const char*>(d.data()), d.size()));
}

}  // namespace landfall
