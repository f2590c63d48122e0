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
    if (key.size() != 6) return bad = Error{Code::corrupt, "meta: a run key of " + std::to_string(key.size()) + " bytes"}, false;
    Result<Run> run = decode(layout::read_u32_be(key.substr(2)), value);
    if (!run) return bad = std::move(run).error(), false;
    by_handle_[run->handle] = run->id;
    next_ = std::max(next_, run->handle + 1);
    if (run->start) children_.emplace(run->start->parent, run->id);
    RunId id = run->id;
    if (!runs_.emplace(id, std::move(*run)).second) return bad = Error{Code::corrupt, "run " + to_string(id) + ": two handles"}, false;
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

std::vector<RunId> RunTable::seal(ReceivedContext& context, const RunId& id) const {
  std::vector<RunId> folded, check{id};
  while (!check.empty()) {
    RunId of = check.back();
    check.pop_back();
    const Run* run = find(of);
    if (run == nullptr || !run->start) continue;
    auto [begin, end] = children_.equal_range(of);
    for (auto child = begin; child != end && !context.folded(of); ++child) {
      const RunStart& successor = *runs_.at(child->second).start;
      if (successor.degraded || child->second.node != of.node) continue;
      std::array<std::uint64_t, stream_count> finals{};
      for (const RunStart::Head& head : successor.parent_heads) finals[static_cast<std::size_t>(head.stream)] = head.last;
      context.seal(of, run->start->parent, finals);
    }
    if (!context.folded(of)) continue;
    folded.push_back(of);
    for (auto child = begin; child != end; ++child) check.push_back(child->second);
  }
  return folded;
}

Result<StoredContext> load_context(const Store& store, const RunTable& runs) {
  StoredContext stored;
  Status bad = ok();
  auto take = [&](std::string_view prefix, std::size_t key_bytes, auto decode_row) {
    return store.scan(Table::meta, prefix, Store::Order::forward, [&](std::string_view key, std::string_view value) {
      if (key.substr(0, 2) != prefix) return false;
      if (key.size() != key_bytes || value.size() < 8) {
        return bad = Error{Code::corrupt, "meta: bad received context row " + to_hex(key)}, false;
      }
      stored.clock = std::max(stored.clock, HybridTime{layout::read_u64_le(value)});
      bad = decode_row(key.substr(2), value.substr(8));
      return bad.ok();
    });
  };
  LANDFALL_TRY(take("f/", 2 + 16, [&](std::string_view key, std::string_view value) {
    NodeId node;
    std::memcpy(node.bytes.data(), key.data(), node.bytes.size());
    return stored.context.decode_folded(node, value);
  }));
  LANDFALL_TRY(bad);
  LANDFALL_TRY(take("c/", 2 + 5, [&](std::string_view key, std::string_view value) -> Status {
    const RunTable::Run* run = runs.find(layout::read_u32_be(key));
    if (run == nullptr || static_cast<unsigned char>(key[4]) >= stream_count) {
      return Error{Code::corrupt, "meta: received context of an unknown run, handle " + std::to_string(layout::read_u32_be(key))};
    }
    return stored.context.decode_entry({run->id, static_cast<Stream>(key[4])}, value);
  }));
  LANDFALL_TRY(bad);
  // What is sealed but not yet complete follows from the run starts.
  for (const RunTable::Run* run : runs.in_order()) {
    if (!stored.context.folded(run->id)) runs.seal(stored.context, run->id);
  }
  return stored;
}

}  // namespace landfall
