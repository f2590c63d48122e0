#include "eventlog/state_rows.h"

#include <algorithm>

#include "eventlog/layout.h"

namespace landfall {
namespace {

// Rows of one object passed over before a seek to the next name is cheaper.
constexpr int rows_passed_max = 32;

Error bad_row(std::string_view key) { return {Code::corrupt, "state: bad row " + to_hex(key)}; }

Result<Entry> entry_of(const RunTable& runs, const layout::StateKey& at, std::string_view key, std::string_view value) {
  const RunTable::Run* run = runs.find(at.handle);
  const auto stored = layout::parse_state_value(value);
  if (run == nullptr || !stored) return bad_row(key);
  return Entry{
      std::string(at.path), {run->id, at.stream, at.seq}, stored->time, stored->clock, std::string(stored->value)};
}

// Rows of one path lie by handle, which differs from log to log.
void order(Entries& entries) {
  const auto before = [](const Entry& a, const Entry& b) { return a.path != b.path ? a.path < b.path : a.dot < b.dot; };
  if (!std::ranges::is_sorted(entries, before)) std::ranges::sort(entries, before);
}

}  // namespace

Result<Entries> read_object(const Store& store, const RunTable& runs, Stream stream, std::string_view object) {
  Entries entries;
  Status bad = ok();
  const std::string prefix = layout::state_prefix(stream, object);
  LANDFALL_TRY(
      store.scan(Table::state, prefix, Store::Order::forward, [&](std::string_view key, std::string_view value) {
        if (!key.starts_with(prefix)) return false;
        const auto at = layout::parse_state_key(key);
        Result<Entry> entry = at ? entry_of(runs, *at, key, value) : bad_row(key);
        if (!entry) return bad = std::move(entry).error(), false;
        entries.push_back(std::move(*entry));
        return true;
      }));
  LANDFALL_TRY(bad);
  order(entries);
  return entries;
}

Status scan_objects(const Store& store, const RunTable& runs, Stream stream, std::string_view from, std::string_view to,
                    const VisitObject& visit) {
  std::string name;
  Entries entries;
  Status bad = ok();
  bool more = true;
  const auto close = [&] {
    if (entries.empty()) return;
    order(entries);
    more = visit(name, entries);
    entries.clear();
  };
  const std::string first = static_cast<char>(stream) + std::string(from);
  LANDFALL_TRY(
      store.scan(Table::state, first, Store::Order::forward, [&](std::string_view key, std::string_view value) {
        const auto at = layout::parse_state_key(key);
        if (!at) return bad = bad_row(key), false;
        const bool past = at->stream != stream || (!to.empty() && at->object >= to);
        if (past || name != at->object) close();
        if (past || !more) return more = false;
        if (entries.empty()) name = at->object;
        Result<Entry> entry = entry_of(runs, *at, key, value);
        if (!entry) return bad = std::move(entry).error(), false;
        entries.push_back(std::move(*entry));
        return true;
      }));
  LANDFALL_TRY(bad);
  if (more) close();
  return ok();
}

Result<std::vector<std::string>> object_names(const Store& store, Stream stream, std::string_view prefix,
                                              std::string_view after, std::size_t limit) {
  std::vector<std::string> names;
  const std::string stream_byte(1, static_cast<char>(stream));
  // 0x01 lies between a name's 0x00 and all that a longer name goes on with.
  const auto past = [&](std::string_view name) { return stream_byte + std::string(name) + '\1'; };
  const std::string within = stream_byte + std::string(prefix);
  std::string from = after.empty() ? within : std::max(within, past(after));
  for (bool more = limit > 0; more;) {
    Status bad = ok();
    int passed = 0;
    more = false;
    LANDFALL_TRY(store.scan(Table::state, from, Store::Order::forward, [&](std::string_view key, std::string_view) {
      if (!key.starts_with(within)) return false;
      const auto at = layout::parse_state_key(key);
      if (!at) return bad = bad_row(key), false;
      if (names.empty() || names.back() != at->object) {
        if (names.size() == limit) return false;
        names.emplace_back(at->object);
        passed = 0;
      } else if (++passed == rows_passed_max) {
        from = past(at->object);
        more = true;
        return false;
      }
      return true;
    }));
    LANDFALL_TRY(bad);
  }
  return names;
}

}  // namespace landfall
