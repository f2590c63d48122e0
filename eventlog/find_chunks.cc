#include <set>

#include "eventlog/floors.h"
#include "eventlog/layout.h"
#include "eventlog/log.h"

namespace landfall {

Status find_chunks(const Store& store, std::string_view subject_prefix,
                   const std::function<bool(std::string_view)>& visit) {
  RunTable runs;
  LANDFALL_TRY(runs.load(store));
  const auto floors = load_floors(store, runs);
  if (!floors) return floors.error();
  const auto pruned = [&](const layout::ChunkKey& chunk) {
    const RunTable::Run* run = runs.find(chunk.handle);
    const auto floor = run == nullptr ? floors->end() : floors->find({run->id, chunk.stream});
    return floor != floors->end() && chunk.last <= floor->second.last;
  };
  std::set<std::string> keys;  // ordered as the chunks are
  const auto collect = [&](std::string_view prefix) {
    return store.scan(Table::index, prefix, Store::Order::forward, [&](std::string_view key, std::string_view) {
      if (!key.starts_with(prefix)) return false;
      if (const auto row = layout::parse_index_key(key); row && !pruned(row->chunk))
        keys.insert(layout::chunk_key(row->chunk.handle, row->chunk.stream, row->chunk.last));
      return true;
    });
  };
  LANDFALL_TRY(collect(std::string_view("\0", 1)));  // chunks of many subjects
  LANDFALL_TRY(collect(subject_prefix));
  for (const auto& key : keys) {
    const auto bytes = store.get(Table::chunks, key);
    if (!bytes) return bytes.error();
    if (!visit(*bytes)) break;
  }
  return ok();
}

}  // namespace landfall
