#include <algorithm>

#include "eventlog/log_impl.h"
#include "eventlog/state_digest.h"
#include "schemas/op.h"

// What change events amount to: rows of live writes, and the writes that are superseded and have not come.

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
  std::ranges::sort(entries,
                    [](const Entry& a, const Entry& b) { return a.path != b.path ? a.path < b.path : a.dot < b.dot; });
}

}  // namespace

// Before it gets a dot: what its decoder says, and that it supersedes nothing that this run has still to write.
Status LogImpl::check_change(const Event& event, std::uint64_t own_seq) const {
  if (event.kind != Kind::change) return ok();
  OpReader reader(event.payload, run_);
  OpReader::View op;
  while (reader.next(op)) {
    for (const OpReader::Superseded& dot : op.supersedes) {
      if (dot.run == 0 && dot.seq >= own_seq)
        return Error{Code::out_of_range, "change: supersedes a write that is still to come"};
    }
  }
  return reader.status();
}

Status LogImpl::check_pending(const std::vector<Prepared>& parts) const {
  std::size_t added = 0, settled = 0;
  for (const Prepared& part : parts) {
    const RunStream& of = part.header.of;
    settled += pending_writes_.count(of, part.header.first, part.header.last);
    for (const StateDelta::Erase& erase : part.delta.erases) {
      const Dot dot{part.delta.runs[erase.run], of.stream, erase.seq};
      const bool inside = erase.run == 0 && erase.seq >= part.header.first && erase.seq <= part.header.last;
      if (!inside && !planned_.contains(dot) && !pending_writes_.contains(dot, StateDelta::target(erase.key))) ++added;
    }
  }
  if (added <= settled) return ok();
  if (pending_writes_.size() + added - settled <= pending_supersedes_max &&
      pending_writes_.bytes() <= pending_supersedes_bytes_max)
    return ok();
  return Error{Code::unavailable, "log: " + std::to_string(pending_writes_.size()) +
                                      " superseded writes have not come: fill the gaps first"};
}

// planned_ has the chunk already.
ObjectCache::Changes LogImpl::change_state(const ChunkHeader& header, StateDelta& delta, Batch& batch) {
  const RunStream& of = header.of;
  const layout::Handle own = runs_.find(of.run)->handle;
  ObjectCache::Changes cached;
  if (!cache_.empty()) {
    for (const std::string& object : delta.objects) {
      if (cache_.holds(of.stream, object)) cached[object];
    }
  }
  const auto note = [&](const std::string& key, const Dot& dot, const std::string* value) {
    if (cached.empty()) return;
    const auto at = layout::parse_state_key(key);
    const auto object = cached.find(at->object);
    if (object == cached.end()) return;
    auto& change = object->second.emplace_back(ObjectCache::Change{std::string(at->path), dot, {}});
    if (value == nullptr) return;
    const auto stored = layout::parse_state_value(*value);
    change.put = Entry{change.path, dot, stored->time, stored->clock, std::string(stored->value)};
  };
  for (StateDelta::Put& put : delta.puts) {
    const Dot dot{of.run, of.stream, put.seq};
    if (pending_writes_.contains(dot, StateDelta::target(put.key))) continue;
    note(put.key, dot, &put.value);
    layout::set_state_handle(put.key, own);
    batch.put(Table::state, std::move(put.key), std::move(put.value));
  }
  pending_writes_.settle(of, header.first, header.last, batch);
  for (StateDelta::Erase& erase : delta.erases) {
    const Dot dot{delta.runs[erase.run], of.stream, erase.seq};
    if (!planned_.contains(dot)) {
      pending_writes_.add(dot, StateDelta::target(erase.key), batch);
      continue;
    }
    note(erase.key, dot, nullptr);
    layout::set_state_handle(erase.key, runs_.find(dot.run)->handle);
    batch.erase(Table::state, std::move(erase.key));
  }
  return cached;
}

Result<Entries> LogImpl::state(Stream stream, std::string_view object) const {
  if (const Entries* cached = cache_.find(stream, object)) return *cached;
  Entries entries;
  Status bad = ok();
  const std::string prefix = layout::state_prefix(stream, object);
  LANDFALL_TRY(
      store_.scan(Table::state, prefix, Store::Order::forward, [&](std::string_view key, std::string_view value) {
        if (!key.starts_with(prefix)) return false;
        const auto at = layout::parse_state_key(key);
        if (!at) return bad = bad_row(key), false;
        Result<Entry> entry = entry_of(runs_, *at, key, value);
        if (!entry) return bad = std::move(entry).error(), false;
        entries.push_back(std::move(*entry));
        return true;
      }));
  LANDFALL_TRY(bad);
  order(entries);
  cache_.insert(stream, object, entries);
  return entries;
}

Result<std::vector<std::string>> LogImpl::objects(Stream stream, std::string_view prefix, std::string_view after,
                                                  std::size_t limit) const {
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
    LANDFALL_TRY(store_.scan(Table::state, from, Store::Order::forward, [&](std::string_view key, std::string_view) {
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

Result<Digest> LogImpl::state_digest(Stream stream) {
  Digest sum{};
  Entries entries;
  std::string name;
  Status bad = ok();
  const auto close = [&] {
    order(entries);
    add_digest(sum, object_digest(name, entries));
    entries.clear();
  };
  const std::string from(1, static_cast<char>(stream));
  LANDFALL_TRY(
      store_.scan(Table::state, from, Store::Order::forward, [&](std::string_view key, std::string_view value) {
        const auto at = layout::parse_state_key(key);
        if (!at) return bad = bad_row(key), false;
        if (at->stream != stream) return false;
        if (!entries.empty() && name != at->object) close();
        Result<Entry> entry = entry_of(runs_, *at, key, value);
        if (!entry) return bad = std::move(entry).error(), false;
        name = at->object;
        entries.push_back(std::move(*entry));
        return true;
      }));
  LANDFALL_TRY(bad);
  if (!entries.empty()) close();
  return sum;
}

Log::Subscription LogImpl::watch(std::uint8_t streams, std::function<void(const Changed&)> notify) {
  watchers_[next_subscription_] = {streams, std::make_shared<std::function<void(const Changed&)>>(std::move(notify))};
  return next_subscription_++;
}

}  // namespace landfall
