#include "eventlog/state_replay.h"

#include "eventlog/layout.h"
#include "eventlog/log.h"

namespace landfall {
namespace {

constexpr std::size_t rows_per_batch = 4096;
constexpr std::uint64_t progress_events = 8192;

std::string_view object_of(std::string_view target) { return target.substr(0, target.find('\0')); }

std::string name_of(const RunTable& runs, std::string_view key) {
  const auto at = layout::parse_state_key(key);
  const RunTable::Run* run = at ? runs.find(at->handle) : nullptr;
  if (run == nullptr) return "state row " + to_hex(key);
  return "state of " + std::string(at->object) + " at '" + std::string(at->path) + "' by " +
         to_string(Dot{run->id, at->stream, at->seq});
}

// In slices, so that no batch is as large as the table.
Status erase_all(Store& store, Table table, std::string_view prefix) {
  for (bool more = true; more;) {
    Batch batch;
    LANDFALL_TRY(store.scan(table, prefix, Store::Order::forward, [&](std::string_view key, std::string_view) {
      if (!key.starts_with(prefix)) return false;
      batch.erase(table, std::string(key));
      return batch.ops.size() < rows_per_batch;
    }));
    more = batch.ops.size() == rows_per_batch;
    if (!batch.ops.empty()) LANDFALL_TRY(store.write(std::move(batch)));
  }
  return ok();
}

}  // namespace

Result<bool> state_is_current(const Store& store) {
  Result<std::string> version = store.get(Table::meta, layout::state_version_key);
  if (!version && version.error().code != Code::not_found) return std::move(version).error();
  return version && *version == layout::state_version;
}

Status rebuild_state(Store& store, const RunTable& runs, PendingWrites& pending,
                     const std::function<void(std::uint64_t)>& progress) {
  Result<Floors> floors = load_floors(store, runs);
  if (!floors) return std::move(floors).error();
  if (!floors->empty()) return Error{Code::corrupt, "state: not whole, and chunks that could tell it were pruned"};
  Batch begin;
  begin.erase(Table::meta, std::string(layout::state_version_key));
  LANDFALL_TRY(store.write(std::move(begin)));
  LANDFALL_TRY(erase_all(store, Table::state, {}));
  LANDFALL_TRY(erase_all(store, Table::meta, layout::pending_prefix));
  pending = {};
  ReceivedContext received;
  Batch batch;
  std::uint64_t events = 0;
  Status bad = ok();
  LANDFALL_TRY(store.scan(Table::chunks, {}, Store::Order::forward, [&](std::string_view, std::string_view value) {
    // One that does not decode is for verify to name: the rest of the state is still worth having.
    Result<DecodedChunk> chunk = decode_chunk(value);
    if (!chunk || runs.find(chunk->header.of.run) == nullptr) return true;
    const ChunkHeader& header = chunk->header;
    Result<StateDelta> delta = make_state_delta(header.of, header.first, chunk->rows);
    if (!delta) return true;
    bad = received.add(header.of, header.first, header.last);
    if (!bad) return false;
    apply_delta({received, runs, pending}, header, *delta, batch, nullptr);
    if (progress && (events + header.count()) / progress_events != events / progress_events)
      progress(events + header.count());
    events += header.count();
    if (batch.ops.size() < rows_per_batch) return true;
    bad = store.write(std::move(batch));
    batch = {};
    return bad.ok();
  }));
  LANDFALL_TRY(bad);
  batch.put(Table::meta, std::string(layout::state_version_key), std::string(layout::state_version));
  return store.write(std::move(batch));
}

Status forget_state(Store& store) {
  RunTable runs;
  LANDFALL_TRY(runs.load(store));
  Result<Floors> floors = load_floors(store, runs);
  if (!floors) return std::move(floors).error();
  if (!floors->empty()) return Error{Code::unavailable, "state: chunks that could tell it were pruned"};
  Batch batch;
  batch.erase(Table::meta, std::string(layout::state_version_key));
  return store.write(std::move(batch));
}

StateReplay::StateReplay(const RunTable& runs, const Floors& floors, std::size_t part, std::size_t parts)
    : runs_(runs), floors_(floors), part_(part), parts_(parts) {
  for (const auto& [of, floor] : floors_) {
    with_floors_.insert(of.stream);
    LANDFALL_CHECK(received_.add(of, 1, floor.last).ok());
  }
}

bool StateReplay::pruned(const layout::StateKey& at) const {
  const RunTable::Run* run = runs_.find(at.handle);
  const auto floor = run == nullptr ? floors_.end() : floors_.find({run->id, at.stream});
  return floor != floors_.end() && at.seq <= floor->second.last;
}

bool StateReplay::mine(std::string_view object) const {
  return parts_ == 1 || std::hash<std::string_view>{}(object) % parts_ == part_;
}

Status StateReplay::add(const ChunkHeader& header, std::string_view rows) {
  Result<StateDelta> delta = make_state_delta(header.of, header.first, rows);
  if (!delta) return std::move(delta).error();
  const auto other = [this](const auto& row) { return !mine(object_of(StateDelta::target(row.key))); };
  std::erase_if(delta->rows, other);
  LANDFALL_TRY(received_.add(header.of, header.first, header.last));
  Batch batch;
  apply_delta({received_, runs_, pending_}, header, *delta, batch, nullptr);
  for (Batch::Op& op : batch.ops) {
    if (op.table != Table::state) continue;
    if (op.value)
      rows_.insert_or_assign(std::move(op.key), std::move(*op.value));
    else if (rows_.erase(op.key) == 0 && !floors_.empty() && pruned(*layout::parse_state_key(op.key)))
      erased_.insert(std::move(op.key));
  }
  return ok();
}

bool StateReplay::expects(std::string_view key, std::string_view value,
                          const std::function<void(std::string)>& fault) const {
  const auto row = rows_.find(std::string(key));
  if (row == rows_.end()) {
    const auto at = layout::parse_state_key(key);
    if (at && pruned(*at) && !erased_.contains(key)) return false;
    fault(name_of(runs_, key) + ": is here and not live in the log");
    return false;
  }
  if (row->second != value) fault(name_of(runs_, key) + ": differs from the log");
  return true;
}

Status StateReplay::compare(const Store& store, const std::function<void(std::string)>& fault) const {
  std::unordered_map<std::string_view, bool> found;
  LANDFALL_TRY(store.scan(Table::state, {}, Store::Order::forward, [&](std::string_view key, std::string_view value) {
    const auto at = layout::parse_state_key(key);
    if (at && !mine(at->object)) return true;
    if (!at && part_ > 0) return true;
    if (expects(key, value, fault)) found[rows_.find(std::string(key))->first] = true;
    return true;
  }));
  if (found.size() < rows_.size()) {
    for (const auto& [key, value] : rows_) {
      const bool told = !with_floors_.contains(static_cast<Stream>(key[0]));  // by chunks that are all here
      if (told && !found.contains(key)) fault(name_of(runs_, key) + ": is live in the log and not here");
    }
  }
  std::size_t waiting = 0;
  LANDFALL_TRY(store.scan(Table::meta, layout::pending_prefix, Store::Order::forward,
                          [&](std::string_view key, std::string_view) {
                            if (!key.starts_with(layout::pending_prefix)) return false;
                            const auto row = layout::parse_pending_key(key);
                            if (row && !mine(object_of(row->target))) return true;
                            if (row && pending_.contains(row->dot, row->target))
                              ++waiting;
                            else if (row ? !with_floors_.contains(row->dot.stream) : part_ == 0)
                              fault("pending row " + to_hex(key) + ": is here and not in the log");
                            return true;
                          }));
  if (waiting < pending_.size())
    fault(std::to_string(pending_.size() - waiting) + " superseded writes that have not come are not noted");
  return ok();
}

}  // namespace landfall
