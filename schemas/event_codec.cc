#include <algorithm>
#include <array>
#include <cstring>

#include "event.capnp.h"
#include "schemas/event.h"
#include "schemas/flat_message.h"
#include "schemas/text.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

enum Tag : std::uint8_t {
  tag_content_type = 1,
  tag_source,
  tag_id,
  tag_device,
  tag_deps,
  tag_actor,
  tag_chain,
  tag_after_last
};

constexpr std::uint8_t flags_clock = 0x03;
constexpr std::uint8_t flags_retained = 0x04;
constexpr std::size_t row_fixed_bytes = 10;

Error refused(const char* what) { return {Code::out_of_range, std::string("event: ") + what}; }
Error corrupt(const char* what) { return {Code::corrupt, std::string("event: ") + what}; }

std::string_view Event::*field_of(std::uint8_t tag) {
  switch (tag) {
    case tag_content_type: return &Event::content_type;
    case tag_source: return &Event::source;
    case tag_id: return &Event::id;
    case tag_device: return &Event::device;
    case tag_deps: return &Event::deps;
    case tag_actor: return &Event::actor;
    case tag_chain: return &Event::chain;
    default: return nullptr;
  }
}

std::size_t attributes_size(const Event& event) {
  std::size_t size = 0;
  for (std::uint8_t tag = tag_content_type; tag < tag_after_last; ++tag) {
    const std::size_t length = (event.*field_of(tag)).size();
    if (length != 0) size += 1 + varint_size(length) + length;
  }
  return size;
}

void store_le64(char* to, std::uint64_t value) {
  if constexpr (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) value = __builtin_bswap64(value);
  std::memcpy(to, &value, 8);
}
std::uint64_t load_le64(const char* from) {
  std::uint64_t value;
  std::memcpy(&value, from, 8);
  return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(value) : value;
}

char* put(char* to, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

// Only a void says where the chain goes on.
bool is_chain_in_place(const Event& event) {
  return event.chain.empty() || (event.kind == Kind::voided && event.chain.size() == sizeof(Digest));
}

bool is_clean_event(const Event& event) {
  return is_clean_text(event.subject) && is_clean_text(event.content_type) && is_clean_text(event.source) &&
         is_clean_text(event.id) && is_clean_text(event.device) && is_clean_text(event.actor);
}

// Takes `varint length, bytes` off the front of `from`.
bool take_sized(std::string_view& from, std::size_t length_max, std::string_view& bytes) {
  std::uint64_t length;
  if (!take_varint(from, length) || length > from.size() || length > length_max) return false;
  bytes = from.substr(0, length);
  from.remove_prefix(length);
  return true;
}

}  // namespace

Status encode_row(const Event& event, std::string& rows) {
  if (event.payload.size() > event_payload_bytes_max) return refused("payload over 262144 bytes");
  if (event.subject.size() > event_subject_bytes_max) return refused("subject over 1024 bytes");
  const std::size_t attributes = attributes_size(event);
  if (attributes > event_attributes_bytes_max) return refused("attributes over 4096 bytes");
  if (event.kind == Kind{}) return refused("kind 0");
  if (event.subject.empty() && event.kind >= Kind::telemetry) return refused("no subject");
  if (static_cast<std::uint8_t>(event.clock) > flags_clock) return refused("unknown clock class");
  if (!is_clean_event(event)) return refused("subject or attribute is not UTF-8 without control characters");
  if (!is_chain_in_place(event)) return refused("a chain that does not belong there");

  const std::size_t row = row_fixed_bytes + varint_size(event.subject.size()) + event.subject.size() +
                          varint_size(attributes) + attributes + event.payload.size();
  const std::size_t before = rows.size();
  rows.resize(before + varint_size(row) + row);
  char* to = put_varint(rows.data() + before, row);
  store_le64(to, event.time.value);
  to[8] = static_cast<char>(event.kind);
  to[9] = static_cast<char>(static_cast<std::uint8_t>(event.clock) | (event.retained ? flags_retained : 0));
  to = put_varint(to + row_fixed_bytes, event.subject.size());
  to = put(to, event.subject);
  to = put_varint(to, attributes);
  for (std::uint8_t tag = tag_content_type; attributes != 0 && tag < tag_after_last; ++tag) {
    const std::string_view value = event.*field_of(tag);
    if (value.empty()) continue;
    *to++ = static_cast<char>(tag);
    to = put(put_varint(to, value.size()), value);
  }
  to = put(to, event.payload);
  LANDFALL_CHECK(to == rows.data() + rows.size());
  return ok();
}

Result<Event> decode_row(std::string_view row) {
  if (row.size() < row_fixed_bytes + 2) return corrupt("row cut off");
  Event event;
  event.time.value = load_le64(row.data());
  event.kind = static_cast<Kind>(row[8]);
  const auto flags = static_cast<std::uint8_t>(row[9]);
  event.clock = static_cast<ClockClass>(flags & flags_clock);
  event.retained = (flags & flags_retained) != 0;
  row.remove_prefix(row_fixed_bytes);
  std::string_view attributes;
  if (!take_sized(row, event_subject_bytes_max, event.subject)) return corrupt("bad subject length");
  if (!take_sized(row, event_attributes_bytes_max, attributes)) return corrupt("bad length of attributes");
  if (row.size() > event_payload_bytes_max) return corrupt("payload over 262144 bytes");
  event.payload = row;
  if (event.kind == Kind{}) return corrupt("kind 0");
  if (event.subject.empty() && event.kind >= Kind::telemetry) return corrupt("no subject");

  for (std::uint8_t last = 0; !attributes.empty();) {
    const auto tag = static_cast<std::uint8_t>(attributes[0]);
    if (tag <= last) return corrupt("attributes out of order");
    last = tag;
    attributes.remove_prefix(1);
    std::string_view value;
    if (!take_sized(attributes, event_attributes_bytes_max, value)) return corrupt("bad attribute length");
    const auto field = field_of(tag);
    if (field == nullptr) continue;
    if (value.empty()) return corrupt("empty attribute");
    event.*field = value;
  }
  if (!is_clean_event(event)) return corrupt("subject or attribute is not UTF-8 without control characters");
  if (!is_chain_in_place(event)) return corrupt("a chain that does not belong there");
  return event;
}

std::string_view RowReader::next() {
  if (rest_.empty()) return {};
  std::string_view row;
  if (!take_sized(rest_, event_row_bytes_max, row) || row.empty()) {
    corrupt_ = true;
    rest_ = {};
    return {};
  }
  return row;
}

std::string encode_deps(const std::vector<Dot>& dots) {
  std::vector<Dot> sorted = dots;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::string bytes;
  for (const Dot& dot : sorted) {
    bytes.append(reinterpret_cast<const char*>(dot.run.node.bytes.data()), dot.run.node.bytes.size());
    append_varint(bytes, dot.run.counter);
    append_varint(bytes, dot.run.nonce);
    bytes += static_cast<char>(dot.stream);
    append_varint(bytes, dot.seq);
  }
  return bytes;
}

Result<std::vector<Dot>> decode_deps(std::string_view bytes) {
  if (bytes.size() > event_attributes_bytes_max) return corrupt("deps over 4096 bytes");
  std::vector<Dot> dots;
  while (!bytes.empty()) {
    Dot dot;
    if (bytes.size() < dot.run.node.bytes.size()) return corrupt("deps cut off");
    std::memcpy(dot.run.node.bytes.data(), bytes.data(), dot.run.node.bytes.size());
    bytes.remove_prefix(dot.run.node.bytes.size());
    std::uint64_t counter, nonce, stream;
    if (!take_varint(bytes, counter) || !take_varint(bytes, nonce) || !take_varint(bytes, stream) ||
        !take_varint(bytes, dot.seq)) {
      return corrupt("deps cut off");
    }
    if (counter == 0 || counter > UINT32_MAX || nonce > UINT32_MAX || stream >= stream_count || dot.seq == 0) {
      return corrupt("deps name no dot");
    }
    dot.run.counter = static_cast<std::uint32_t>(counter);
    dot.run.nonce = static_cast<std::uint32_t>(nonce);
    dot.stream = static_cast<Stream>(stream);
    if (!dots.empty() && dot <= dots.back()) return corrupt("deps out of order");
    dots.push_back(dot);
  }
  return dots;
}

std::string encode_run_start(const RunStart& start) {
  LANDFALL_CHECK(start.boot_id.size() <= text_bytes_max && start.software.size() <= text_bytes_max);
  std::vector<RunStart::Head> heads;
  for (const auto& head : start.parent_heads) {
    if (head.last != 0) heads.push_back(head);
  }
  std::sort(heads.begin(), heads.end(), [](const auto& a, const auto& b) { return a.stream < b.stream; });

  const auto head_size = capnp::_::structSize<wire::RunStart::Head>();
  std::size_t words = wire::text_words(start.boot_id.size()) + wire::text_words(start.software.size());
  if (!heads.empty()) {
    words += 1 + heads.size() * (head_size.data + head_size.pointers + wire::data_words(sizeof(Digest)));
  }
  return wire::build_flat<wire::RunStart>(words, [&](wire::RunStart::Builder root) {
    root.setParentNodeHigh(wire::node_high(start.parent.node));
    root.setParentNodeLow(wire::node_low(start.parent.node));
    root.setParentCounter(start.parent.counter);
    root.setParentNonce(start.parent.nonce);
    root.setBootId(wire::text(start.boot_id));
    root.setSoftware(wire::text(start.software));
    root.setClock(static_cast<std::uint8_t>(start.clock));
    root.setDegraded(start.degraded);
    if (heads.empty()) return;
    auto list = root.initParentHeads(static_cast<unsigned>(heads.size()));
    for (unsigned i = 0; i < heads.size(); ++i) {
      list[i].setStream(static_cast<std::uint8_t>(heads[i].stream));
      list[i].setLast(heads[i].last);
      list[i].setChain({heads[i].chain.data(), heads[i].chain.size()});
    }
  });
}

Result<RunStart> decode_run_start(std::string_view payload) {
  RunStart start;
  auto status = wire::read_flat<wire::RunStart>("run start", payload, [&](wire::RunStart::Reader root) -> Status {
    const auto bad = [](const char* what) { return Error{Code::corrupt, std::string("run start: ") + what}; };
    start.parent = {wire::make_node(root.getParentNodeHigh(), root.getParentNodeLow()), root.getParentCounter(),
                    root.getParentNonce()};
    if (start.parent.is_none() && start.parent != RunId{}) return bad("parent without a counter");
    if (root.getClock() > static_cast<std::uint8_t>(ClockClass::authenticated)) return bad("unknown clock class");
    start.clock = static_cast<ClockClass>(root.getClock());
    start.degraded = root.getDegraded();
    const std::string_view boot_id = wire::view(root.getBootId()), software = wire::view(root.getSoftware());
    if (boot_id.size() > text_bytes_max || software.size() > text_bytes_max) return bad("text over 256 bytes");
    if (!is_clean_text(boot_id) || !is_clean_text(software)) return bad("text is not clean UTF-8");
    start.boot_id = boot_id;
    start.software = software;
    const auto heads = root.getParentHeads();
    if (heads.size() > stream_count) return bad("more heads than streams");
    for (const auto head : heads) {
      const auto chain = head.getChain();
      if (head.getStream() >= stream_count || head.getLast() == 0 || chain.size() != sizeof(Digest)) {
        return bad("bad head of the parent");
      }
      const auto stream = static_cast<Stream>(head.getStream());
      if (!start.parent_heads.empty() && stream <= start.parent_heads.back().stream) return bad("heads out of order");
      start.parent_heads.push_back({stream, head.getLast(), {}});
      std::copy(chain.begin(), chain.end(), start.parent_heads.back().chain.begin());
    }
    return ok();
  });
  if (!status.ok()) return std::move(status).error();
  return start;
}

}  // namespace landfall
