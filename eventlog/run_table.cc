#include "eventlog/run_table.h"

#include <algorithm>
#include <cstring>

namespace landfall {
namespace {

constexpr std::size_t run_row_bytes_min = 16 + 4 + 4 + 1;
constexpr char flag_opened_here = 1;

Result<RunTable::Run> decode(layout::Handle handle, std::string_view value) {
  const std::string what = "run with handle " + std::to_string(handle);
  if (value.size() < run_row_bytes_min) return Error{Code::corrupt, what + ": row too short"};
  RunTable::Run run;
  run.handle = handle;
  std::memcpy(run.id.node.bytes.data(), value.data(), 16);
  run.id.counter = layout::read_u32_le(value.substr(16));
  run.id.nonce = layout::read_u32_le(value.substr(20));
  run.opened_here = (value[24] & flag_opened_here) != 0;
  if (value.size() > run_row_bytes_min) {
    Result<RunStart> start = decode_run_start(value.substr(run_row_bytes_min));
    if (!start) return std::move(start).error().in(what);
    run.start = std::move(*start);
  }
  return run;
}

}  // namespace

Status RunTable::load(const Store& store) {
  Status bad = ok();
  LANDFALL_TRY(store.scan(Table::meta, "r/", Store::Order::forward, [&](std::string_view key, std::string_view value) {
    if (key.substr(0, 2) != "r/") return false;
    if (key.size() != 6)
      return bad = Error{Code::corrupt, "meta: a run key of " + std::to_string(key.size()) + " bytes"}, false;
    Result<Run> run = decode(layout::read_u32_be(key.substr(2)), value);
    if (!run) return bad = std::move(run).error(), false;
    by_handle_[run->handle] = run->id;
    next_ = std::max(next_, run->handle + 1);
    if (run->start) children_.emplace(run->start->parent, run->id);
    RunId id = run->id;
    if (!runs_.emplace(id, std::move(*run)).second)
      return bad = Error{Code::corrupt, "run " + to_string(id) + ": two handles"}, false;
    return true;
  }));
  return bad;
}

const RunTable::Run* RunTable::find(const RunId& id) const {
  auto at = runs_.find(id);
  return at == runs_.end() ? nullptr : &at->second;
}

const RunTable::Run* RunTable::find(layout::Handle handle) const {
  auto at = by_handle_.find(handle);
  return at == by_handle_.end() ? nullptr : find(at->second);
}

const RunTable::Run& RunTable::add(const RunId& id, bool opened_here) {
  auto [at, fresh] = runs_.try_emplace(id, Run{id, next_, opened_here, std::nullopt});
  LANDFALL_CHECK(fresh);
  by_handle_[next_++] = id;
  return at->second;
}

void RunTable::set_start(const RunId& id, RunStart start) {
  Run& run = runs_.at(id);
  if (run.start) return;
  children_.emplace(start.parent, id);
  run.start = std::move(start);
}

std::string RunTable::encode(const Run& run) {
  std::string value(reinterpret_cast<const char*>(run.id.node.bytes.data()), run.id.node.bytes.size());
  layout::append_u32_le(value, run.id.counter);
  layout::append_u32_le(value, run.id.nonce);
  value.push_back(run.opened_here ? flag_opened_here : '\0');
  if (run.start) value += encode_run_start(*run.start);
  return value;
}

std::vector<RunId> RunTable::ids() const {
  std::vector<RunId> ids;
  for (const auto& [id, run] : runs_) ids.push_back(id);
  return ids;
}

std::vector<const RunTable::Run*> RunTable::in_order() const {
  std::vector<const Run*> runs;
  for (const auto& [handle, id] : by_handle_) runs.push_back(&runs_.at(id));
  return runs;
}

const RunTable::Run* RunTable::last_opened_here() const {
  for (auto at = by_handle_.rbegin(); at != by_handle_.rend(); ++at) {
    const Run& run = runs_.at(at->second);
    if (run.opened_here) return &run;
  }
  return nullptr;
}

std::string RunTable::fork(const ReceivedContext& received, const RunId& id) const {
  if (id.is_none()) return {};
  const RunId* next = nullptr;
  auto [begin, end] = children_.equal_range(id);
  for (auto child = begin; child != end; ++child) {
    if (child->second.node != id.node || runs_.at(child->second).start->degraded) continue;
    if (next != nullptr) return to_string(*next) + " and " + to_string(child->second) + " both go on from it";
    next = &child->second;
  }
  if (next == nullptr) return {};
  std::array<std::uint64_t, stream_count> ends{};
  for (const RunStart::Head& head : runs_.at(*next).start->parent_heads)
    ends[static_cast<std::size_t>(head.stream)] = head.last;
  for (std::size_t i = 0; i < stream_count; ++i) {
    const std::uint64_t last = received.max({id, static_cast<Stream>(i)});
    if (last <= ends[i]) continue;
    return to_string(Dot{id, static_cast<Stream>(i), last}) + " is here, and " + to_string(*next) +
           " goes on from seq " + std::to_string(ends[i]);
  }
  return {};
}

std::vector<RunId> RunTable::parents() const {
  std::vector<RunId> parents;
  for (auto at = children_.begin(); at != children_.end(); at = children_.upper_bound(at->first))
    parents.push_back(at->first);
  return parents;
}

Result<StoredContext> load_context(const Store& store, const RunTable& runs) {
  StoredContext stored;
  Status bad = ok();
  LANDFALL_TRY(store.scan(Table::meta, "c/", Store::Order::forward, [&](std::string_view key, std::string_view value) {
    if (!key.starts_with("c/")) return false;
    if (key.size() != 2 + 5 || value.size() < 8) {
      return bad = Error{Code::corrupt, "meta: bad received context row " + to_hex(key)}, false;
    }
    const layout::Handle handle = layout::read_u32_be(key.substr(2));
    const RunTable::Run* run = runs.find(handle);
    if (run == nullptr || static_cast<unsigned char>(key[6]) >= stream_count) {
      return bad = Error{Code::corrupt, "meta: received context of an unknown run, handle " + std::to_string(handle)},
             false;
    }
    stored.clock = std::max(stored.clock, HybridTime{layout::read_u64_le(value)});
    bad = stored.context.decode_entry({run->id, static_cast<Stream>(key[6])}, value.substr(8));
    return bad.ok();
  }));
  LANDFALL_TRY(bad);
  return stored;
}

}  // namespace landfall
