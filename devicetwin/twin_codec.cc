#include "devicetwin/twin_codec.h"

#include <algorithm>

#include "devicetwin/twin_json.h"
#include "devicetwin/twin_paths.h"
#include "schemas/event.h"
#include "schemas/limits.h"
#include "schemas/text.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

constexpr char version = 1;
enum Tag : std::uint8_t {
  tag_actor = 1,
  tag_reason,
  tag_seen,
  tag_applied,
  tag_status,
  tag_error,
  tag_owner_term,
  tag_time,
  tag_secret
};

Error over(const char* what) { return {Code::out_of_range, std::string("twin value: ") + what}; }
Error corrupt(const char* what) { return {Code::corrupt, std::string("twin value: ") + what}; }

void append_field(std::string& to, Tag tag, std::string_view bytes) {
  if (bytes.empty()) return;
  to += static_cast<char>(tag);
  append_varint(to, bytes.size());
  to += bytes;
}

std::string number_bytes(std::uint64_t number) {
  std::string bytes;
  if (number != 0) append_varint(bytes, number);
  return bytes;
}
bool read_number(std::string_view bytes, std::uint64_t& number) {
  return take_varint(bytes, number) && bytes.empty() && number != 0;
}

bool is_note(std::string_view text) { return text.size() <= twin_note_bytes_max && is_clean_text(text); }
bool is_desired(const std::vector<Dot>& dots) {
  return std::all_of(dots.begin(), dots.end(), [](const Dot& dot) { return dot.stream == Stream::desired; });
}

// Nothing where the field is what it should be, else what is wrong with it.
const char* read_field(std::uint8_t tag, std::string_view bytes, TwinValue& value) {
  switch (tag) {
    case tag_actor: return value.actor = bytes, is_note(bytes) ? nullptr : "bad actor";
    case tag_reason: return value.reason = bytes, is_note(bytes) ? nullptr : "bad reason";
    case tag_status: return value.status = bytes, is_note(bytes) ? nullptr : "bad status";
    case tag_error: return value.error = bytes, is_note(bytes) ? nullptr : "bad error";
    case tag_secret: return value.secret = bytes, is_note(bytes) ? nullptr : "bad secret";
    case tag_owner_term: return read_number(bytes, value.owner_term) ? nullptr : "bad owner term";
    case tag_time: {
      std::uint64_t time;
      if (!read_number(bytes, time) || time > INT64_MAX) return "bad time";
      return value.time_ms = static_cast<std::int64_t>(time), nullptr;
    }
    case tag_seen: {
      auto dots = decode_deps(bytes);
      if (!dots || dots->size() > twin_seen_max || !is_desired(*dots)) return "bad dots seen";
      return value.seen = std::move(*dots), nullptr;
    }
    case tag_applied: {
      const auto dots = decode_deps(bytes);
      if (!dots || dots->size() != 1 || !is_desired(*dots)) return "bad dot applied";
      return value.applied = dots->front(), nullptr;
    }
    default: return nullptr;
  }
}

}  // namespace

Result<std::string> encode_twin_value(const TwinValue& value) {
  for (const auto* note : {&value.actor, &value.reason, &value.status, &value.error, &value.secret}) {
    if (!is_note(*note)) return over("actor, reason, status or error over 1024 bytes, or not clean text");
  }
  if (value.seen.size() > twin_seen_max) return over("more than 100 concurrent writes of the other layer: end some");
  if (!is_json(value.json)) return over("not JSON, or nested too deep");
  std::string bytes = value.json;
  bytes += '\0';
  bytes += version;
  const std::size_t bare = bytes.size();
  append_field(bytes, tag_actor, value.actor);
  append_field(bytes, tag_reason, value.reason);
  append_field(bytes, tag_seen, encode_deps(value.seen));
  if (value.applied) append_field(bytes, tag_applied, encode_deps({*value.applied}));
  append_field(bytes, tag_status, value.status);
  append_field(bytes, tag_error, value.error);
  append_field(bytes, tag_owner_term, number_bytes(value.owner_term));
  append_field(bytes, tag_time, number_bytes(value.time_ms > 0 ? static_cast<std::uint64_t>(value.time_ms) : 0));
  append_field(bytes, tag_secret, value.secret);
  if (bytes.size() == bare) bytes.resize(value.json.size());
  if (bytes.size() > op_value_bytes_max) return over("over 65536 bytes");
  return bytes;
}

Result<TwinValue> decode_twin_value(std::string_view bytes) {
  if (bytes.size() > op_value_bytes_max) return corrupt("over 65536 bytes");
  TwinValue value;
  const auto end = bytes.find('\0');
  value.json = bytes.substr(0, end);
  if (!is_json(value.json)) return corrupt("not JSON, or nested too deep");
  if (end == std::string_view::npos) return value;
  bytes.remove_prefix(end + 1);
  if (bytes.empty() || bytes[0] != version) return corrupt("unknown version");
  bytes.remove_prefix(1);
  for (std::uint8_t last = 0; !bytes.empty();) {
    const auto tag = static_cast<std::uint8_t>(bytes[0]);
    if (tag <= last) return corrupt("fields out of order");
    last = tag;
    bytes.remove_prefix(1);
    std::uint64_t length;
    if (!take_varint(bytes, length) || length == 0 || length > bytes.size()) return corrupt("field cut off");
    if (const char* wrong = read_field(tag, bytes.substr(0, length), value)) return corrupt(wrong);
    bytes.remove_prefix(length);
  }
  return value;
}

std::uint64_t owner_term_in(const Entries& document) {
  std::uint64_t term = 0;
  for (const Entry& entry : at(document, owner_term_path)) {
    const auto value = decode_twin_value(entry.value);
    if (value) term = std::max(term, value->owner_term);
  }
  return term;
}

}  // namespace landfall
