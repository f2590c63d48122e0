#include <charconv>
#include <cstring>
#include <ctime>

#include "cloudsync/hub/cloud_event.h"
#include "schemas/limits.h"
#include "schemas/varint.h"

// A record of a data topic, read back.

namespace landfall {
namespace {

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// As append_rfc3339 writes it: "2025-06-15T15:06:40.001Z".
bool read_rfc3339(std::string_view text, std::int64_t& unix_ms) {
  if (text.size() != 24 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':' ||
      text[19] != '.' || text[23] != 'Z') {
    return false;
  }
  unsigned year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, ms = 0;
  if (!read_number(text.substr(0, 4), year) || !read_number(text.substr(5, 2), month) ||
      !read_number(text.substr(8, 2), day) || !read_number(text.substr(11, 2), hour) ||
      !read_number(text.substr(14, 2), minute) || !read_number(text.substr(17, 2), second) ||
      !read_number(text.substr(20, 3), ms)) {
    return false;
  }
  if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59)
    return false;
  std::tm utc{};
  utc.tm_year = static_cast<int>(year) - 1900;
  utc.tm_mon = static_cast<int>(month) - 1;
  utc.tm_mday = static_cast<int>(day);
  utc.tm_hour = static_cast<int>(hour);
  utc.tm_min = static_cast<int>(minute);
  utc.tm_sec = static_cast<int>(second);
  unix_ms = static_cast<std::int64_t>(timegm(&utc)) * 1000 + ms;
  return true;
}

bool read_hex(std::string_view hex, std::string& bytes) {
  if (hex.size() % 2 != 0) return false;
  bytes.clear();
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(hex.data() + i, hex.data() + i + 2, value, 16);
    if (error != std::errc() || end != hex.data() + i + 2) return false;
    bytes.push_back(static_cast<char>(value));
  }
  return true;
}

// What a type says of an event that is no change.
bool read_kind(std::string_view type, Kind& kind) {
  static constexpr std::pair<std::string_view, Kind> kinds[] = {{"landfall.control.run_start", Kind::run_start},
                                                                {"landfall.control.audit", Kind::audit},
                                                                {"landfall.telemetry", Kind::telemetry},
                                                                {"landfall.alarm", Kind::alarm},
                                                                {"landfall.message", Kind::message}};
  for (const auto& [name, known] : kinds) {
    if (type == name) return kind = known, true;
  }
  constexpr std::string_view other = "landfall.kind.";
  std::uint8_t number = 0;
  if (!type.starts_with(other) || !read_number(type.substr(other.size()), number)) return false;
  kind = static_cast<Kind>(number);
  return true;
}

bool read_clock(std::string_view name, ClockClass& clock) {
  static constexpr std::string_view names[] = {"untrusted", "holdover", "synced", "authenticated"};
  for (std::size_t i = 0; i < 4; ++i) {
    if (name == names[i]) return clock = static_cast<ClockClass>(i), true;
  }
  return false;
}

}  // namespace

Result<RecordedEvent> read_record(std::string_view key, std::string_view value, const RecordHeaders& headers) {
  Event event;
  event.clock = ClockClass::synced;
  event.payload = value;
  std::string_view id, type, content_type, payload_type, row, chain;
  std::string deps;
  std::int64_t unix_ms = -1;
  std::uint16_t tick = 0;
  bool change = false, named = false, good = true;
  for (const auto& [name, text] : headers) {
    if (name == "ce_id") id = text;
    if (name == "ce_type") type = text;
    if (name == "ce_time") good = good && read_rfc3339(text, unix_ms);
    if (name == "ce_tick") good = good && read_number(text, tick);
    if (name == "ce_clock") good = good && read_clock(text, event.clock);
    if (name == "ce_subject") event.subject = text;
    if (name == "ce_actor") event.actor = text;
    if (name == "ce_senderid") event.id = text;
    if (name == "ce_sendersource") event.source = text;
    if (name == "ce_retained") event.retained = text == "true";
    if (name == "ce_device") event.device = text, named = true;
    if (name == "ce_deps") good = good && read_hex(text, deps);
    if (name == "ce_payloadtype") payload_type = text;
    if (name == "content-type") content_type = text;
    if (name == payload_header) event.payload = text, change = true;
    if (name == row_header) row = text;
    if (name == chain_header) chain = text;
  }
  const auto bad = [&](std::string_view what) {
    return Error{Code::corrupt, "record " + std::string(id.substr(0, 128)) + ": " + std::string(what)};
  };
  const auto dot = parse_dot(id);
  if (!dot || dot->seq == 0) return bad("ce_id names no event");
  RecordedEvent recorded{{dot->run, dot->stream}, dot->seq, {}, {}, {}};
  if (!chain.empty()) {
    if (chain.size() != sizeof(Digest)) return bad("landfall-chain is not a chain");
    std::memcpy(recorded.chain.emplace().data(), chain.data(), chain.size());
  }
  if (!row.empty()) {
    if (row.size() > event_row_bytes_max) return bad("landfall-row is too long");
    const auto whole = decode_row(row);
    if (!whole) return bad(whole.error().detail);
    recorded.time = whole->time;
    append_varint(recorded.row, row.size());
    recorded.row += row;
    return recorded;
  }
  if (!good || unix_ms < 0) return bad("a header is not as a hub writes it");
  event.kind = Kind::change;
  if (!change && (!read_kind(type, event.kind) || event.kind == Kind::change)) return bad("ce_type is none of ours");
  event.content_type = change ? payload_type : content_type;
  event.deps = deps;
  event.time.value = HybridTime::from_unix_ms(unix_ms).value | tick;
  recorded.time = event.time;
  const std::string node = to_string(dot->run.node);
  if (!named && key != (event.subject.empty() ? std::string_view(node) : event.subject)) event.device = key;
  if (Status encoded = encode_row(event, recorded.row); !encoded) return bad(encoded.error().detail);
  return recorded;
}

}  // namespace landfall
