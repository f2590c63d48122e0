#include "eventlog/log_impl.h"
#include "eventlog/state_digest.h"
#include "eventlog/state_rows.h"
#include "schemas/op.h"

// What change events amount to: rows of live writes, and the writes that are superseded and have not come.

namespace landfall {

// Before it gets a dot: what its decoder says, and that it supersedes nothing that this run has still to write.
// Gives the bytes of its rows' keys.
Result<std::size_t> LogImpl::check_change(const Event& event, std::uint64_t own_seq) const {
  std::size_t bytes = 0;
  if (event.kind == Kind::voided) return Error{Code::out_of_range, "void: stands for a change, none is written"};
  if (event.kind != Kind::change) return bytes;
  OpReader reader(event.payload, run_);
  OpReader::View op;
  while (reader.next(op)) {
    bytes += (op.supersedes.size() + (op.value ? 1 : 0)) * state_row_bytes(event.subject, op.path);
    for (const OpReader::Superseded& dot : op.supersedes) {
      if (dot.run == 0 && dot.seq >= own_seq)
        return Error{Code::out_of_range, "change: supersedes a write that is still to come"};
    }
  }
  if (!reader.status()) return reader.status().error();
  if (bytes > chunk_state_bytes_max) return Error{Code::out_of_range, "change: over 16 MiB of rows: split it"};
  return bytes;
}

Status LogImpl::check_pending(const std::vector<Prepared>& parts) const {
  std::size_t added = 0, settled = 0;
  for (const Prepared& part : parts) {
    const RunStream& of = part.header.of;
    settled += pending_writes_.count(of, part.header.first, part.header.last);
    for (const StateDelta::Row& row : part.delta.rows) {
      const bool inside = row.run == 0 && row.seq >= part.header.first && row.seq <= part.header.last;
      const Dot dot{part.delta.runs[row.run], of.stream, row.seq};
      if (!inside && !planned_.contains(dot) && !pending_writes_.contains(dot, StateDelta::target(row.key))) ++added;
    }
  }
  if (added <= settled) return ok();
  if (pending_writes_.size() + added - settled <= pending_supersedes_max &&
      pending_writes_.bytes() <= pending_supersedes_bytes_max)
    return ok();
  return Error{Code::unavailable, "log: " + std::to_string(pending_writes_.size()) +
                                      " superseded writes have not come: fill the gaps first"};
}

// planned_ has the chunk already. What it does to objects in memory is told once it is A1.
ObjectCache::Changes LogImpl::change_state(const ChunkHeader& header, StateDelta& delta, Batch& batch) {
  ObjectCache::Changes cached;
  if (!cache_.empty()) {
    for (const std::string& object : delta.objects) {
      if (cache_.holds(header.of.stream, object)) cached[object];
    }
  }
  const auto note = [&](const std::string& key, const Dot& dot, const std::string* value) {
    const auto at = layout::parse_state_key(key);
    const auto object = cached.find(at->object);
    if (object == cached.end()) return;
    auto& change = object->second.emplace_back(ObjectCache::Change{std::string(at->path), dot, {}});
    if (value == nullptr) return;
    const auto stored = layout::parse_state_value(*value);
    change.put = Entry{change.path, dot, stored->time, stored->clock, std::string(stored->value)};
  };
  apply_delta({planned_, runs_, pending_writes_}, header, delta, batch, cached.empty() ? NoteRow() : note);
  return cached;
}

Result<Entries> LogImpl::state(Stream stream, std::string_view object) const {
  if (const Entries* cached = cache_.find(stream, object)) return *cached;
  Result<Entries> entries = read_object(store_, runs_, stream, object);
  if (entries) cache_.insert(stream, object, *entries);
  return entries;
}

Result<std::vector<std::string>> LogImpl::objects(Stream stream, std::string_view prefix, std::string_view after,
                                                  std::size_t limit) const {
  return object_names(store_, stream, prefix, after, limit);
}

Result<Digest> LogImpl::state_digest(Stream stream) {
  return digests_[static_cast<std::size_t>(stream)].sum(
      [&](std::string_view from, std::string_view to, const DigestRanges::Each& each) {
        return scan_objects(store_, runs_, stream, from, to, [&](const std::string& name, Entries& entries) {
          each(name, object_digest(name, entries));
          return true;
        });
      });
}

Log::Subscription LogImpl::watch(std::uint8_t streams, std::function<void(const Changed&)> notify) {
  watchers_[next_subscription_] = {streams, std::make_shared<std::function<void(const Changed&)>>(std::move(notify))};
  return next_subscription_++;
}

}  // namespace landfall
