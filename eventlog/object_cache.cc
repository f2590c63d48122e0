#include "eventlog/object_cache.h"

#include <algorithm>
#include <tuple>

namespace landfall {
namespace {

// Entries moved for one chunk's changes before reading the object anew is cheaper.
constexpr std::size_t moves_max = 1 << 16;

std::string name_of(Stream stream, std::string_view object) {
  std::string name(1, static_cast<char>(stream));
  return name += object;
}
std::size_t bytes_of(const Entry& entry) { return sizeof(Entry) + entry.path.size() + entry.value.size(); }
std::size_t bytes_of(std::string_view name, const Entries& entries) {
  std::size_t bytes = sizeof(Entries) + 128 + name.size();
  for (const Entry& entry : entries) bytes += bytes_of(entry);
  return bytes;
}

}  // namespace

ObjectCache::Slots::iterator ObjectCache::find_slot(Stream stream, std::string_view object) {
  if (slots_.empty()) return slots_.end();
  const auto at = by_name_.find(name_of(stream, object));
  return at == by_name_.end() ? slots_.end() : at->second;
}

bool ObjectCache::holds(Stream stream, std::string_view object) const {
  return !slots_.empty() && by_name_.contains(name_of(stream, object));
}

const Entries* ObjectCache::find(Stream stream, std::string_view object) {
  const auto slot = find_slot(stream, object);
  if (slot == slots_.end()) return nullptr;
  slots_.splice(slots_.begin(), slots_, slot);
  return &slot->entries;
}

void ObjectCache::drop(Slots::iterator slot) {
  bytes_ -= slot->bytes;
  by_name_.erase(slot->name);
  slots_.erase(slot);
}

void ObjectCache::insert(Stream stream, std::string_view object, Entries entries) {
  if (const auto old = find_slot(stream, object); old != slots_.end()) drop(old);
  std::string name = name_of(stream, object);
  const std::size_t bytes = bytes_of(name, entries);
  if (bytes > bytes_max_ / 4) return;
  while (bytes_ + bytes > bytes_max_) drop(std::prev(slots_.end()));
  bytes_ += bytes;
  slots_.push_front({std::move(name), std::move(entries), bytes});
  by_name_.emplace(slots_.front().name, slots_.begin());
}

void ObjectCache::apply(Stream stream, const std::vector<std::string>& objects, Changes changes) {
  for (const std::string& object : objects) {
    const auto slot = find_slot(stream, object);
    if (slot == slots_.end()) continue;
    const auto found = changes.find(object);
    if (found == changes.end() || found->second.size() * slot->entries.size() > moves_max) {
      drop(slot);
      continue;
    }
    Entries entries = std::move(slot->entries);
    for (Change& change : found->second) {
      const auto at = std::lower_bound(entries.begin(), entries.end(), change, [](const Entry& e, const Change& c) {
        return std::tie(e.path, e.dot) < std::tie(c.path, c.dot);
      });
      if (change.put)
        entries.insert(at, std::move(*change.put));
      else if (at != entries.end() && at->path == change.path && at->dot == change.dot)
        entries.erase(at);
    }
    insert(stream, object, std::move(entries));
  }
}

}  // namespace landfall
