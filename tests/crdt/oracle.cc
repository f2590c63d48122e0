#include "tests/crdt/oracle.h"

namespace landfall::crdt_test {

void Oracle::apply(const Made& event) {
  if (received.contains(event.dot)) return;
  for (const Op& op : event.ops) {
    for (const Dot& dot : op.supersedes) {
      if (received.contains(dot)) {
        live.erase({event.object, op.path, dot});
      } else {
        pending.insert({event.object, op.path, dot});
      }
    }
    const Place place{event.object, op.path, event.dot};
    if (op.value && !pending.contains(place)) live[place] = {op.path, event.dot, event.time, event.clock, *op.value};
  }
  received.insert(event.dot);
  std::erase_if(pending, [&](const Place& place) { return std::get<Dot>(place) == event.dot; });
}

void Oracle::join(const Oracle& other) {
  std::map<Place, Entry> kept;
  const auto keep = [&](const Oracle& from, const Oracle& by) {
    for (const auto& [place, entry] : from.live) {
      const bool known = by.received.contains(entry.dot) || by.pending.contains(place);
      if (by.live.contains(place) || !known) kept[place] = entry;
    }
  };
  keep(*this, other);
  keep(other, *this);
  live = std::move(kept);
  received.insert(other.received.begin(), other.received.end());
  pending.insert(other.pending.begin(), other.pending.end());
  std::erase_if(pending, [&](const Place& place) { return received.contains(std::get<Dot>(place)); });
}

Entries Oracle::see(const std::string& object) const {
  Entries entries;
  for (auto at = live.lower_bound({object, "", {}}); at != live.end() && std::get<0>(at->first) == object; ++at) {
    entries.push_back(at->second);
  }
  return entries;
}

}  // namespace landfall::crdt_test
