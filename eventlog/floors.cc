#include "eventlog/floors.h"

#include <algorithm>

namespace landfall {

std::string encode_floor(const Floor& floor) {
  std::string value;
  layout::append_u64_le(value, floor.last);
  value.append(reinterpret_cast<const char*>(floor.chain.data()), floor.chain.size());
  return value;
}

Result<Floors> load_floors(const Store& store, const RunTable& runs) {
  Floors floors;
  Status bad = ok();
  LANDFALL_TRY(store.scan(
      Table::meta, layout::floor_prefix, Store::Order::forward, [&](std::string_view key, std::string_view value) {
        if (!key.starts_with(layout::floor_prefix)) return false;
        const auto at = layout::parse_floor_key(key);
        const RunTable::Run* run = at ? runs.find(at->handle) : nullptr;
        if (run == nullptr || value.size() != 8 + sizeof(Digest))
          return bad = Error{Code::corrupt, "meta: bad floor row " + to_hex(key)}, false;
        Floor& floor = floors[{run->id, at->stream}];
        floor.last = layout::read_u64_le(value);
        std::copy_n(value.begin() + 8, floor.chain.size(), reinterpret_cast<char*>(floor.chain.data()));
        return true;
      }));
  LANDFALL_TRY(bad);
  return floors;
}

}  // namespace landfall
