#include <algorithm>
#include <cstring>
#include <set>

#include "crdt/received_context.h"
#include "crdt/roaring_format.h"
#include "schemas/limits.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

constexpr char version = 1;
enum Form : std::uint8_t { form_base, form_intervals, form_received, form_gaps };
// Each container of a bitmap takes at least this much: four bytes of key and count, two of content.
constexpr std::size_t container_bytes_min = 6;

using Intervals = std::vector<SeqSet::Interval>;

Error corrupt(const char* what) { return {Code::corrupt, std::string("received context: ") + what}; }
Error over(const char* what) {
  return {Code::out_of_range, std::string("received context: more than the limit of ") + what};
}

// Bitmaps count from the start of the container that holds the base.
std::uint64_t anchor_of(std::uint64_t base) { return base & ~std::uint64_t{0xffff}; }

Intervals gaps_between(std::uint64_t base, const Intervals& received) {
  Intervals gaps;
  std::uint64_t next = base + 1;
  for (const auto& interval : received) {
    gaps.push_back({next, interval.first - 1});
    next = interval.last + 1;
  }
  return gaps;
}

std::string intervals_form(std::uint64_t base, const Intervals& received) {
  std::string bytes(1, static_cast<char>(form_intervals));
  append_varint(bytes, base);
  append_varint(bytes, received.size());
  std::uint64_t last = base;
  for (const auto& interval : received) {
    append_varint(bytes, interval.first - last - 2);
    append_varint(bytes, interval.last - interval.first);
    last = interval.last;
  }
  return bytes;
}

// A bitmap form, where it can be shorter than `shortest` bytes; empty where it cannot.
std::string bitmap_form(Form form, std::uint64_t base, std::uint64_t max, const Intervals& intervals,
                        std::size_t shortest) {
  const std::uint64_t anchor = anchor_of(base);
  std::size_t containers = 0;
  std::uint64_t last_key = UINT64_MAX;
  std::vector<Interval32> relative;
  for (const auto& interval : intervals) {
    const std::uint64_t first_key = (interval.first - anchor) >> 16;
    containers += ((interval.last - anchor) >> 16) - first_key + (first_key == last_key ? 0 : 1);
    last_key = (interval.last - anchor) >> 16;
    if (last_key > 0xffff || containers * container_bytes_min >= shortest) return {};
    relative.push_back(
        {static_cast<std::uint32_t>(interval.first - anchor), static_cast<std::uint32_t>(interval.last - anchor)});
  }
  const std::string bitmap = encode_roaring(relative);
  std::string bytes(1, static_cast<char>(form));
  append_varint(bytes, base);
  if (form == form_gaps) append_varint(bytes, max);
  append_varint(bytes, bitmap.size());
  return bytes += bitmap;
}

// Collects what is received above a base, in order, and counts against the limit.
class Above {
 public:
  explicit Above(std::uint64_t base) : last_(base) {}
  // False where the interval does not fit; error() says why.
  bool add(std::uint64_t first, std::uint64_t last) {
    // An interval that touches the one before is the same run of seqs in two containers; the base has no neighbour.
    const bool touches = first == last_ + 1 && !set_.empty();
    if (first > last || (first <= last_ + 1 && !touches) || last > seq_max)
      return error_ = corrupt("seqs out of order"), false;
    if (last - first >= received_context_above_max - set_.count()) return error_ = over("events above a gap"), false;
    set_.add(first, last);
    last_ = last;
    return true;
  }
  const std::optional<Error>& error() const { return error_; }
  SeqSet take() { return std::move(set_); }

 private:
  SeqSet set_;
  std::uint64_t last_;
  std::optional<Error> error_;
};

Status read_intervals(std::string_view& bytes, std::uint64_t base, Above& above) {
  std::uint64_t count, gap, length, last = base;
  if (!take_varint(bytes, count) || count == 0) return corrupt("no intervals");
  for (; count > 0; --count) {
    if (!take_varint(bytes, gap) || !take_varint(bytes, length)) return corrupt("intervals cut off");
    if (gap > seq_max || length > seq_max) return corrupt("seqs out of order");
    const std::uint64_t first = last + gap + 2;
    last = first + length;
    if (!above.add(first, last)) return *above.error();
  }
  return ok();
}

Status take_bitmap(std::string_view& bytes, std::string_view& bitmap) {
  std::uint64_t length;
  if (!take_varint(bytes, length) || length > bytes.size()) return corrupt("bitmap cut off");
  bitmap = bytes.substr(0, length);
  bytes.remove_prefix(length);
  return ok();
}

Status read_received(std::string_view& bytes, std::uint64_t base, Above& above) {
  std::string_view bitmap;
  LANDFALL_TRY(take_bitmap(bytes, bitmap));
  const std::uint64_t anchor = anchor_of(base);
  const bool good = decode_roaring(bitmap, [&](Interval32 i) { return above.add(anchor + i.first, anchor + i.last); });
  if (above.error()) return *above.error();
  return good ? ok() : Status(corrupt("bad bitmap"));
}

Status read_gaps(std::string_view& bytes, std::uint64_t base, Above& above) {
  std::uint64_t max;
  std::string_view bitmap;
  if (!take_varint(bytes, max) || max > seq_max || max <= base + 1) return corrupt("gaps without an end");
  LANDFALL_TRY(take_bitmap(bytes, bitmap));
  const std::uint64_t anchor = anchor_of(base);
  std::uint64_t next = base + 1;  // after the last gap
  bool fits = true;
  const bool good = decode_roaring(bitmap, [&](Interval32 gap) {
    const std::uint64_t first = anchor + gap.first, last = anchor + gap.last;
    fits = first >= next && last < max && (next > base + 1 || first == base + 1);
    if (!fits || (first > next && !above.add(next, first - 1))) return false;
    next = last + 1;
    return true;
  });
  if (above.error()) return *above.error();
  if (!good || !fits || next == base + 1) return corrupt("bad bitmap of gaps");
  if (!above.add(next, max)) return *above.error();
  return ok();
}

}  // namespace

void ReceivedContext::encode_entry_to(const Entry& entry, std::string& bytes) {
  if (entry.above.empty()) {
    bytes += static_cast<char>(form_base);
    append_varint(bytes, entry.base);
    return;
  }
  Intervals received;
  entry.above.visit(entry.base + 1, seq_max,
                    [&](SeqSet::Interval interval) { return received.push_back(interval), true; });
  const std::uint64_t max = received.back().last;
  std::string shortest = intervals_form(entry.base, received);
  const auto consider = [&](const std::string& form) {
    if (!form.empty() && form.size() < shortest.size()) shortest = form;
  };
  consider(bitmap_form(form_received, entry.base, max, received, shortest.size()));
  consider(bitmap_form(form_gaps, entry.base, max, gaps_between(entry.base, received), shortest.size()));
  bytes += shortest;
}

Status ReceivedContext::decode_entry_from(std::string_view& bytes, Entry& entry) {
  if (bytes.empty()) return corrupt("entry cut off");
  const auto form = static_cast<std::uint8_t>(bytes[0]);
  bytes.remove_prefix(1);
  if (!take_varint(bytes, entry.base) || entry.base > seq_max) return corrupt("bad base");
  if (form == form_base) return ok();
  Above above(entry.base);
  switch (form) {
    case form_intervals: LANDFALL_TRY(read_intervals(bytes, entry.base, above)); break;
    case form_received: LANDFALL_TRY(read_received(bytes, entry.base, above)); break;
    case form_gaps: LANDFALL_TRY(read_gaps(bytes, entry.base, above)); break;
    default: return corrupt("unknown form of an entry");
  }
  entry.above = above.take();
  if (entry.above.empty()) return corrupt("empty bitmap");
  return ok();
}

void ReceivedContext::encode_names_to(const std::vector<Name>& names, std::string& bytes) {
  append_varint(bytes, names.size());
  std::uint32_t counter = 0;
  for (const Name& name : names) {
    append_varint(bytes, name.counter - counter);
    for (int i = 0; i < 4; ++i) bytes += static_cast<char>(name.nonce >> (8 * i));
    counter = name.counter;
  }
}

Status ReceivedContext::decode_names_from(std::string_view& bytes, std::vector<Name>& names) {
  std::uint64_t count, step;
  if (!take_varint(bytes, count)) return corrupt("names cut off");
  if (count > received_context_entries_max) return over("entries");
  Name name{};
  for (; count > 0; --count) {
    if (!take_varint(bytes, step) || bytes.size() < 4) return corrupt("names cut off");
    if (step > UINT32_MAX - name.counter) return corrupt("bad counter of a run");
    name.counter += static_cast<std::uint32_t>(step);
    name.nonce = 0;
    for (std::size_t i = 0; i < 4; ++i)
      name.nonce |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    bytes.remove_prefix(4);
    if (name.counter == 0 || (!names.empty() && name <= names.back())) return corrupt("names of runs out of order");
    names.push_back(name);
  }
  return ok();
}

std::string ReceivedContext::encode() const {
  std::set<NodeId> nodes;
  for (const auto& [of, entry] : entries_) nodes.insert(of.run.node);

  std::string bytes(1, version);
  append_varint(bytes, nodes.size());
  auto at = entries_.begin();
  for (const NodeId& node : nodes) {
    bytes.append(reinterpret_cast<const char*>(node.bytes.data()), node.bytes.size());
    std::vector<Name> runs;
    for (auto run = at; run != entries_.end() && run->first.run.node == node; ++run) {
      const Name name{run->first.run.counter, run->first.run.nonce};
      if (runs.empty() || runs.back() != name) runs.push_back(name);
    }
    encode_names_to(runs, bytes);
    for (const Name& name : runs) {
      const std::size_t mask = bytes.size();
      bytes += '\0';
      for (; at != entries_.end() && at->first.run == RunId{node, name.counter, name.nonce}; ++at) {
        bytes[mask] = static_cast<char>(bytes[mask] | 1 << static_cast<int>(at->first.stream));
        encode_entry_to(at->second, bytes);
      }
    }
  }
  return bytes;
}

// Reads what follows a node's id.
Status ReceivedContext::decode_node_from(std::string_view& bytes, const NodeId& node, ReceivedContext& context) {
  std::vector<Name> runs;
  LANDFALL_TRY(decode_names_from(bytes, runs));
  for (const Name& name : runs) {
    if (bytes.empty()) return corrupt("run cut off");
    const auto mask = static_cast<std::uint8_t>(bytes[0]);
    bytes.remove_prefix(1);
    if (mask == 0 || mask >= 1u << stream_count) return corrupt("run without known streams");
    for (std::size_t stream = 0; stream < stream_count; ++stream) {
      if ((mask >> stream & 1) == 0) continue;
      Entry entry;
      LANDFALL_TRY(decode_entry_from(bytes, entry));
      if (entry == Entry{}) return corrupt("empty entry");
      if (context.entries_.size() == received_context_entries_max) return over("entries");
      const RunStream of{{node, name.counter, name.nonce}, static_cast<Stream>(stream)};
      context.entries_.emplace_hint(context.entries_.end(), of, std::move(entry));
    }
  }
  if (runs.empty()) return corrupt("node without runs");
  return ok();
}

Result<ReceivedContext> ReceivedContext::decode(std::string_view bytes) {
  ReceivedContext context;
  if (bytes.empty()) return context;
  if (bytes.size() > received_context_bytes_max) return over("bytes");
  if (bytes[0] != version) return corrupt("unknown version");
  bytes.remove_prefix(1);
  std::uint64_t nodes;
  if (!take_varint(bytes, nodes)) return corrupt("cut off");
  std::optional<NodeId> last;
  for (; nodes > 0; --nodes) {
    NodeId node;
    if (bytes.size() < node.bytes.size()) return corrupt("node cut off");
    std::memcpy(node.bytes.data(), bytes.data(), node.bytes.size());
    bytes.remove_prefix(node.bytes.size());
    if (last && node <= *last) return corrupt("nodes out of order");
    last = node;
    LANDFALL_TRY(decode_node_from(bytes, node, context));
  }
  if (!bytes.empty()) return corrupt("bytes after the end");
  return context;
}

std::string ReceivedContext::encode_entry(const RunStream& of) const {
  std::string bytes;
  const Entry* entry = find(of);
  encode_entry_to(entry == nullptr ? Entry{} : *entry, bytes);
  return bytes;
}

Status ReceivedContext::decode_entry(const RunStream& of, std::string_view bytes) {
  if (bytes.size() > received_context_bytes_max) return over("bytes");
  if (of.run.is_none()) return corrupt("entry of no run");
  Entry entry;
  LANDFALL_TRY(decode_entry_from(bytes, entry));
  if (!bytes.empty()) return corrupt("bytes after the end of an entry");
  if (entry == Entry{}) return ok();
  join_entry(of, entry);
  return ok();
}

}  // namespace landfall
