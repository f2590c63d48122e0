#pragma once

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "eventlog/store.h"
#include "tests/sim/loop.h"

namespace landfall::sim {

// A machine's disk. A commit becomes durable after a delay from the seed, together with those that waited; a crash
// forgets the rest, except that a part of what waited, in order, may have reached the disk without anybody hearing of
// it. The anchor lags by up to a second. Outlives the crashes of its machine: boot() opens it again.
class Disk final : public Store {
 public:
  explicit Disk(landfall::Loop& loop) : loop_(&loop) { boot(loop); }

  struct Stats {
    std::uint64_t commits = 0, crashes_inside_commit = 0, lost_commits = 0, unreported_commits = 0;
  };
  void boot(landfall::Loop& loop);
  void crash(Rng& rng);
  void set_commit_time(Duration least, Duration most);
  // From now on every commit fails.
  void fail(std::string why) { broken_ = Error{Code::disk, std::move(why)}; }
  // Called inside each commit; the crash it asks for must come in a later turn.
  void on_commit(std::function<void()> hook) { hook_ = std::move(hook); }
  const Stats& stats() const { return stats_; }
  std::uint64_t hash() const;  // of all that is durable
  // What bit rot and old backups are made of.
  struct Image {
    std::array<std::map<std::string, std::string, std::less<>>, table_count> tables;
    std::map<std::pair<RunId, Stream>, AnchorRecord> anchors;
    bool anchor_made = false;
  };
  Image& image() { return image_; }

  void commit(Batch batch, Committed done) override;
  Status write(Batch batch) override;
  std::size_t commits_waiting() const override { return waiting_.size(); }
  Result<std::string> get(Table table, std::string_view key) const override;
  Status scan(Table table, std::string_view from, Order order, const Visit& visit) const override;
  Result<std::vector<AnchorRecord>> anchors() const override;
  bool was_empty() const override { return was_empty_; }

 private:
  struct Waiting {
    Batch batch;
    Committed done;
  };
  struct Unsynced {
    Instant at;
    AnchorRecord record;
  };
  void sync();
  void apply(Batch& batch, bool anchors);
  void sync_anchors(Instant until);

  landfall::Loop* loop_;
  Image image_;
  std::deque<Waiting> waiting_;
  std::deque<Unsynced> unsynced_;
  bool syncing_ = false;
  Duration commit_least_ = std::chrono::microseconds(100), commit_most_ = std::chrono::milliseconds(20);
  std::optional<Error> broken_;
  std::function<void()> hook_;
  std::vector<AnchorRecord> found_;
  bool was_empty_ = true, anchor_found_ = false;
  Stats stats_;
};

// FNV-1a, for fingerprints of runs: not for anything that meets an adversary.
std::uint64_t mix(std::uint64_t hash, std::string_view bytes);

}  // namespace landfall::sim
