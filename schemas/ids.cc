#include "schemas/ids.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>

namespace landfall {
namespace {

constexpr std::string_view stream_names[stream_count] = {"control",  "alarm",     "desired", "reported",
                                                         "document", "telemetry", "blob"};
constexpr char hex_digits[] = "0123456789abcdef";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Error bad(std::string_view what, std::string_view text) {
  constexpr std::size_t shown_max = 80;
  std::string shown;
  for (const char c : text.substr(0, shown_max)) shown += c >= ' ' && c <= '~' ? c : '?';
  return {Code::out_of_range, std::string(what) + " \"" + shown + "\""};
}

// Only what std::to_string prints: no sign, no leading zero.
template <class Integer>
std::optional<Integer> parse_decimal(std::string_view text) {
  Integer value{};
  if (text.empty() || (text[0] == '0' && text.size() > 1)) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string hex32(std::uint32_t value) {
  std::string text(8, '0');
  for (int i = 7; i >= 0; --i, value >>= 4) text[static_cast<std::size_t>(i)] = hex_digits[value & 15];
  return text;
}

}  // namespace

std::string_view to_string(Stream stream) {
  const auto index = static_cast<std::size_t>(stream);
  LANDFALL_CHECK(index < stream_count);
  return stream_names[index];
}

Result<Stream> parse_stream(std::string_view name) {
  const auto* found = std::find(std::begin(stream_names), std::end(stream_names), name);
  if (found == std::end(stream_names)) return bad("unknown stream", name);
  return static_cast<Stream>(found - std::begin(stream_names));
}

std::string to_hex(std::string_view bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char c : bytes) {
    text += hex_digits[static_cast<unsigned char>(c) >> 4];
    text += hex_digits[c & 15];
  }
  return text;
}

std::string to_string(const NodeId& node) {
  return to_hex(std::string_view(reinterpret_cast<const char*>(node.bytes.data()), node.bytes.size()));
}

std::string to_string(const RunId& run) {
  return to_string(run.node) + '.' + std::to_string(run.counter) + '-' + hex32(run.nonce);
}

std::string to_string(const Dot& dot) {
  return to_string(dot.run) + '/' + std::string(to_string(dot.stream)) + '/' + std::to_string(dot.seq);
}

Result<NodeId> parse_node(std::string_view text) {
  NodeId node;
  if (text.size() != 2 * node.bytes.size()) return bad("not a node id (32 lower-case hex digits):", text);
  for (std::size_t i = 0; i < node.bytes.size(); ++i) {
    const int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return bad("not a node id (32 lower-case hex digits):", text);
    node.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return node;
}

Result<RunId> parse_run(std::string_view text) {
  const std::size_t dot = text.find('.'), dash = text.rfind('-');
  constexpr std::string_view what = "not a run (node.counter-nonce):";
  if (dot == text.npos || dash == text.npos || dash < dot || text.size() - dash != 9) return bad(what, text);
  auto node = parse_node(text.substr(0, dot));
  const auto counter = parse_decimal<std::uint32_t>(text.substr(dot + 1, dash - dot - 1));
  if (!node.ok() || !counter) return bad(what, text);
  std::uint32_t nonce = 0;
  for (const char c : text.substr(dash + 1)) {
    if (hex_value(c) < 0) return bad(what, text);
    nonce = nonce << 4 | static_cast<std::uint32_t>(hex_value(c));
  }
  return RunId{*node, *counter, nonce};
}

Result<Dot> parse_dot(std::string_view text) {
  const std::size_t first = text.find('/'), second = text.rfind('/');
  constexpr std::string_view what = "not a dot (run/stream/seq):";
  if (first == text.npos || first == second) return bad(what, text);
  auto run = parse_run(text.substr(0, first));
  auto stream = parse_stream(text.substr(first + 1, second - first - 1));
  const auto seq = parse_decimal<std::uint64_t>(text.substr(second + 1));
  if (!run.ok() || !stream.ok() || !seq) return bad(what, text);
  return Dot{*run, *stream, *seq};
}

}  // namespace landfall
