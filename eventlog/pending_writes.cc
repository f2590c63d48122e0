#include "eventlog/pending_writes.h"

#include <algorithm>

#include "eventlog/layout.h"

namespace landfall {

Status PendingWrites::load(const Store& store) {
  Status bad = ok();
  LANDFALL_TRY(store.scan(Table::meta, layout::pending_prefix, Store::Order::forward,
                          [&](std::string_view key, std::string_view) {
                            if (!key.starts_with(layout::pending_prefix)) return false;
                            const auto row = layout::parse_pending_key(key);
                            if (!row) return bad = Error{Code::corrupt, "meta: bad pending row " + to_hex(key)}, false;
                            insert(row->dot, row->target);
                            return true;
                          }));
  return bad;
}

bool PendingWrites::insert(const Dot& dot, std::string_view target) {
  if (!writes_[dot].emplace(target).second) return false;
  ++size_;
  bytes_ += target.size();
  return true;
}

bool PendingWrites::contains(const Dot& dot, std::string_view target) const {
  if (writes_.empty()) return false;
  const auto at = writes_.find(dot);
  return at != writes_.end() && at->second.contains(target);
}

bool PendingWrites::any_of(Stream stream) const {
  return std::ranges::any_of(writes_, [stream](const auto& write) { return write.first.stream == stream; });
}

void PendingWrites::add(const Dot& dot, std::string_view target, Batch& batch) {
  if (insert(dot, target)) batch.put(Table::meta, layout::pending_key(dot, target), {});
}

void PendingWrites::settle(const RunStream& of, std::uint64_t first, std::uint64_t last, Batch& batch) {
#ifdef LANDFALL_MUTANT_PENDING_NEVER_CLEARS  // tests/sim must notice
  return;
#endif
  auto at = writes_.lower_bound({of.run, of.stream, first});
  while (at != writes_.end() && at->first <= Dot{of.run, of.stream, last}) {
    for (const std::string& target : at->second) {
      batch.erase(Table::meta, layout::pending_key(at->first, target));
      bytes_ -= target.size();
    }
    size_ -= at->second.size();
    at = writes_.erase(at);
  }
}

std::size_t PendingWrites::count(const RunStream& of, std::uint64_t first, std::uint64_t last) const {
  std::size_t count = 0;
  for (auto at = writes_.lower_bound({of.run, of.stream, first});
       at != writes_.end() && at->first <= Dot{of.run, of.stream, last}; ++at)
    count += at->second.size();
  return count;
}

}  // namespace landfall
