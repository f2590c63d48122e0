#include "tests/sim/disk.h"

#include <algorithm>

namespace landfall::sim {

std::uint64_t mix(std::uint64_t hash, std::string_view bytes) {
  for (const unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  return (hash ^ bytes.size()) * 0x100000001b3;
}

void Disk::boot(landfall::Loop& loop) {
  loop_ = &loop;
  syncing_ = false;
  waiting_.clear();
  sync_anchors(loop.now());
  broken_.reset();
  found_.clear();
  for (const auto& [of, record] : image_.anchors) found_.push_back(record);
  was_empty_ = std::ranges::all_of(image_.tables, [](const auto& table) { return table.empty(); });
  anchor_found_ = image_.anchor_made;
  image_.anchor_made |= was_empty_;  // a new database gets its anchor before its first commit
}

void Disk::set_commit_time(Duration least, Duration most) {
  commit_least_ = least;
  commit_most_ = most;
}

void Disk::crash(Rng& rng) {
  if (!waiting_.empty()) {
    ++stats_.crashes_inside_commit;
    const std::size_t reached = rng.below(waiting_.size() + 1);
    for (std::size_t i = 0; i < reached; ++i) apply(waiting_[i].batch, false);
    stats_.unreported_commits += reached;
    stats_.lost_commits += waiting_.size() - reached;
  }
  waiting_.clear();
  // What the anchor had not synced is lost from some point on.
  sync_anchors(loop_->now() + (-std::chrono::seconds(1)));
  unsynced_.resize(rng.below(unsynced_.size() + 1));
  sync_anchors(loop_->now());
}

void Disk::commit(Batch batch, Committed done) {
  ++stats_.commits;
  waiting_.push_back({std::move(batch), std::move(done)});
  if (!syncing_) sync();
  if (hook_) hook_();
}

Status Disk::write(Batch batch) {
  ++stats_.commits;
  if (hook_) hook_();
  if (broken_) return *broken_;
  apply(batch, true);
  return ok();
}

void Disk::sync() {
  syncing_ = true;
  const double unit = static_cast<double>(loop_->random() >> 11) * 0x1p-53;
  const auto most = static_cast<double>((commit_most_ - commit_least_).count());
  // Mostly short, seldom long: cubed.
  const Duration wait = commit_least_ + Duration(static_cast<std::int64_t>(most * unit * unit * unit));
  loop_->after(wait, [this, count = waiting_.size()] {
    std::vector<Waiting> group;
    for (std::size_t i = 0; i < count; ++i) {
      group.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    syncing_ = false;
    const auto broken = broken_;
    if (!broken) {
      for (Waiting& one : group) apply(one.batch, true);
    }
    if (!waiting_.empty()) sync();
    for (Waiting& one : group) one.done(broken ? Status(*broken) : ok());
  });
}

void Disk::apply(Batch& batch, bool anchors) {
  for (Batch::Op& op : batch.ops) {
    auto& table = image_.tables[static_cast<std::size_t>(op.table)];
    if (op.value) {
      table.insert_or_assign(std::move(op.key), std::move(*op.value));
    } else {
      table.erase(op.key);
    }
  }
  if (!anchors) return;
  for (const AnchorRecord& record : batch.anchors) unsynced_.push_back({loop_->now(), record});
  sync_anchors(loop_->now() + (-std::chrono::seconds(1)));
}

void Disk::sync_anchors(Instant until) {
  while (!unsynced_.empty() && unsynced_.front().at <= until) {
    const AnchorRecord& record = unsynced_.front().record;
    image_.anchors[{record.run, record.stream}] = record;
    unsynced_.pop_front();
  }
}

Result<std::string> Disk::get(Table table, std::string_view key) const {
  const auto& rows = image_.tables[static_cast<std::size_t>(table)];
  const auto it = rows.find(key);
  if (it == rows.end()) return Error{Code::not_found, "no such key"};
  return it->second;
}

Status Disk::scan(Table table, std::string_view from, Order order, const Visit& visit) const {
  const auto& rows = image_.tables[static_cast<std::size_t>(table)];
  if (order == Order::forward) {
    for (auto it = rows.lower_bound(from); it != rows.end() && visit(it->first, it->second); ++it) {}
    return ok();
  }
  for (auto it = rows.upper_bound(from); it != rows.begin();) {
    --it;
    if (!visit(it->first, it->second)) break;
  }
  return ok();
}

Result<std::vector<AnchorRecord>> Disk::anchors() const {
  if (!anchor_found_) return Error{Code::not_found, "no anchor"};
  return found_;
}

std::uint64_t Disk::hash() const {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const auto& table : image_.tables) {
    for (const auto& [key, value] : table) hash = mix(mix(hash, key), value);
  }
  return hash;
}

}  // namespace landfall::sim
