#include "eventlog/kept_parts.h"

#include <algorithm>

#include "eventlog/layout.h"
#include "eventlog/snapshot_part.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

constexpr std::size_t number_bytes = 8;

}  // namespace

Status KeptParts::load(const Store& store) {
  Status bad = ok();
  LANDFALL_TRY(store.scan(Table::meta, layout::part_prefix, Store::Order::forward,
                          [&](std::string_view key, std::string_view value) {
                            if (!key.starts_with(layout::part_prefix)) return false;
                            const auto at = layout::parse_part_key(key);
                            if (!at || value.size() < number_bytes)
                              return bad = Error{Code::corrupt, "meta: bad row of a part " + to_hex(key)}, false;
                            const std::uint64_t number = layout::read_u64_le(value);
                            next_ = std::max(next_, number + 1);
                            note(streams_[at->stream], at->id, {number, value.size() - number_bytes});
                            return true;
                          }));
  return bad;
}

void KeptParts::note(OfStream& of, const PartId& id, const Kept& kept) {
  of.parts.emplace(id, kept);
  of.by_number.emplace(kept.number, id);
  of.bytes += kept.bytes;
}

bool KeptParts::contains(Stream stream, const PartId& id) const {
  const auto of = streams_.find(stream);
  return of != streams_.end() && of->second.parts.contains(id);
}

void KeptParts::add(Stream stream, const PartId& id, std::string_view part, Batch& batch) {
  OfStream& of = streams_[stream];
  while (!of.parts.empty() && of.bytes + part.size() > snapshot_bytes_max)
    drop(stream, of.by_number.begin()->second, batch);
  std::string value;
  layout::append_u64_le(value, next_);
  value += part;
  batch.put(Table::meta, layout::part_key(stream, id), std::move(value));
  note(of, id, {next_++, part.size()});
}

void KeptParts::drop(Stream stream, const PartId& id, Batch& batch) {
  OfStream& of = streams_[stream];
  const auto at = of.parts.find(id);
  if (at == of.parts.end()) return;
  batch.erase(Table::meta, layout::part_key(stream, id));
  of.bytes -= at->second.bytes;
  of.by_number.erase(at->second.number);
  of.parts.erase(at);
}

void KeptParts::clear(Stream stream, Batch& batch) {
  const auto of = streams_.find(stream);
  if (of == streams_.end()) return;
  for (const auto& [id, kept] : of->second.parts) batch.erase(Table::meta, layout::part_key(stream, id));
  streams_.erase(of);
}

Result<std::string> KeptParts::read(const Store& store, Stream stream, const PartId& id) {
  Result<std::string> value = store.get(Table::meta, layout::part_key(stream, id));
  if (!value) return value;
  value->erase(0, number_bytes);
  if (part_id(*value) != id) return Error{Code::corrupt, "snapshot: a part that was kept has changed"};
  return value;
}

}  // namespace landfall
