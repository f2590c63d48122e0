#include "eventlog/rocks_store.h"

#include <malloc.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/perf_level.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/table_properties_collectors.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "eventlog/anchor.h"

namespace landfall {
namespace {

namespace fs = std::filesystem;

constexpr const char* table_names[table_count] = {"chunks", "index", "state", "meta"};
// One Write: enough to fill the disk's queue, little enough that the first of the group does not wait for the last.
constexpr std::size_t group_bytes_max = 4 << 20;
constexpr std::chrono::seconds anchor_sync_interval{1};
constexpr std::size_t trim_after_bytes = 4 << 20;

rocksdb::Slice slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view view(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

Error to_error(const rocksdb::Status& status, const fs::path& directory) {
  std::string where = "log " + directory.string() + ": ";
  if (status.IsNoSpace())
    return {Code::disk, where + "no space left on its disk: free some or move the folder, then start again"};
  std::string text = status.ToString();
  if (status.IsCorruption()) return {Code::corrupt, where + text};
  if (text.find("lock") != std::string::npos && text.find("LOCK") != std::string::npos) {
    return {Code::conflict, where + "another process holds it: stop that one first (fuser " +
                                (directory / "LOCK").string() + " names it)"};
  }
  return {Code::disk, where + text};
}

// A folder that RocksDB can be trusted with: its lock and its sync mean nothing on a network file system.
Status check_directory(const fs::path& directory, bool read_only) {
  std::error_code error;
  if (!read_only) fs::create_directories(directory, error);
  if (error) return Error{Code::disk, "log " + directory.string() + ": cannot be made: " + error.message()};
  if (!fs::is_directory(directory, error)) {
    return Error{Code::disk, "log " + directory.string() + ": no such folder: check --dir"};
  }
  if (::access(directory.c_str(), read_only ? R_OK | X_OK : R_OK | W_OK | X_OK) != 0) {
    return Error{Code::disk, "log " + directory.string() + ": not " + (read_only ? "readable" : "writable") +
                                 " for this user: run as its owner or chown it"};
  }
  struct statfs info {};
  constexpr unsigned nfs = 0x6969, cifs = 0xff534d42, smb2 = 0xfe534d42, smb = 0x517b;
  if (::statfs(directory.c_str(), &info) != 0) return ok();
  auto type = static_cast<unsigned>(info.f_type);
  if (type == nfs || type == cifs || type == smb2 || type == smb) {
    return Error{Code::disk,
                 "log " + directory.string() +
                     ": lies on a network file system, where locks and syncs do not hold: use a local disk"};
  }
  return ok();
}

rocksdb::Options database_options(std::size_t memory_bytes, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::Options o;
  o.create_if_missing = true;
  o.create_missing_column_families = true;
  o.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;  // what it drops, the anchor finds
  o.recycle_log_file_num = 0;  // before 9.2 stale records of the old file could be replayed
  o.manual_wal_flush = false;  // a buffered WAL is lost on kill -9
  o.wal_compression = rocksdb::kNoCompression;
  o.track_and_verify_wals_in_manifest = false;  // false alarms before 7.10
  o.avoid_flush_during_recovery = false;
  o.paranoid_checks = true;
  o.max_bgerror_resume_count = 0;  // a failed sync is never retried
  o.max_background_jobs = 2;
  o.max_open_files = 64;
  o.max_total_wal_size = std::max<std::uint64_t>(16 << 20, memory_bytes);
  o.max_manifest_file_size = 1 << 20;
  o.keep_log_file_num = 2;
  o.max_log_file_size = 1 << 20;
  o.info_log_level = rocksdb::WARN_LEVEL;
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  o.skip_stats_update_on_db_open = true;
  o.table_cache_numshardbits = 2;
  o.write_buffer_manager = std::make_shared<rocksdb::WriteBufferManager>(memory_bytes * 6 / 10, cache);
  return o;
}

rocksdb::ColumnFamilyOptions table_options(Table table, std::size_t memory_bytes,
                                           const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions o;
  const bool chunks = table == Table::chunks;
  o.compaction_style = rocksdb::kCompactionStyleLevel;
  o.level_compaction_dynamic_level_bytes = false;  // its default changed between versions
  const std::size_t share = chunks                  ? memory_bytes * 4 / 10
                            : table == Table::state ? memory_bytes / 4
                                                    : memory_bytes / 16;
  o.write_buffer_size = std::max<std::size_t>(share, 256 << 10);
  o.max_write_buffer_number = 2;
  o.compression = chunks ? rocksdb::kNoCompression : rocksdb::kZSTD;  // chunks come compressed
  o.compression_opts.level = 1;
  o.force_consistency_checks = true;
  rocksdb::BlockBasedTableOptions t;
  t.format_version = 5;  // 9.10's own default is one that 7.8 refuses
  t.block_cache = cache;
  t.block_size = 16 << 10;
  t.cache_index_and_filter_blocks = true;
  t.checksum = rocksdb::kCRC32c;
  if (table == Table::state) {
    t.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    // Each write deletes the row of the one before: files of such rows are not left for scans to pass.
    // The rows of a chunk come in order: each is found from the one before.
    o.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(1));
    o.table_properties_collector_factories.push_back(rocksdb::NewCompactOnDeletionCollectorFactory(1024, 512));
  }
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(t));
  return o;
}

class RocksStore final : public Store {
 public:
  RocksStore(Loop& loop, RocksStoreOptions options, AnchorRing anchor)
      : loop_(loop), options_(std::move(options)), anchor_(std::move(anchor)) {}

  Status open() {
    cache_ = rocksdb::NewLRUCache(options_.memory_bytes, 0);
    rocksdb::Options db_options = database_options(options_.memory_bytes, cache_);
    std::vector<rocksdb::ColumnFamilyDescriptor> families{
        {rocksdb::kDefaultColumnFamilyName, rocksdb::ColumnFamilyOptions()}};
    families[0].options.write_buffer_size = 64 << 10;
    for (std::size_t i = 0; i < table_count; ++i) {
      families.emplace_back(table_names[i], table_options(static_cast<Table>(i), options_.memory_bytes, cache_));
    }
    const std::string path = options_.directory.string();
    rocksdb::DB* db = nullptr;
    rocksdb::Status status = options_.read_only
                                 ? rocksdb::DB::OpenForReadOnly(db_options, path, families, &handles_, &db)
                                 : rocksdb::DB::Open(db_options, path, families, &handles_, &db);
    if (!status.ok()) return to_error(status, options_.directory);
    db_.reset(db);
    was_empty_ = true;
    for (std::size_t i = 0; i < table_count && was_empty_; ++i) {
      LANDFALL_TRY(scan(static_cast<Table>(i), {}, Order::forward, [this](auto, auto) { return was_empty_ = false; }));
    }
    if (!options_.read_only && anchor_.missing() && was_empty_) LANDFALL_TRY(anchor_.create());
    if (!options_.read_only) shown_ = db_->GetSnapshot();
    if (!options_.read_only) writer_ = std::thread([this] { write_groups(); });
    return ok();
  }

  // Writes what waits; completions that were not delivered yet never are.
  ~RocksStore() override {
    *alive_ = false;
    if (writer_.joinable()) {
      {
        std::lock_guard lock(mutex_);
        stopping_ = true;
      }
      wake_.notify_one();
      writer_.join();
    }
    for (const rocksdb::Snapshot* snapshot : taken_) db_->ReleaseSnapshot(snapshot);
    if (shown_ != nullptr) db_->ReleaseSnapshot(shown_);
    for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
    if (db_) db_->Close().PermitUncheckedError();
  }

  void commit(Batch batch, Committed done) override {
    LANDFALL_CHECK(!options_.read_only);
    ++waiting_;
    {
      std::lock_guard lock(mutex_);
      queue_.push_back({std::move(batch), std::move(done), nullptr});
    }
    wake_.notify_one();
  }
  Status write(Batch batch) override {
    LANDFALL_CHECK(!options_.read_only && waiting_ == 0);
    std::promise<Status> written;
    {
      std::lock_guard lock(mutex_);
      queue_.push_back({std::move(batch), {}, &written});
    }
    wake_.notify_one();
    Status status = written.get_future().get();
    if (status) show_next();
    return status;
  }
  std::size_t commits_waiting() const override { return waiting_; }

  Result<std::string> get(Table table, std::string_view key) const override {
    std::string value;
    rocksdb::ReadOptions read;
    read.snapshot = shown_;
    rocksdb::Status status = db_->Get(read, family(table), slice(key), &value);
    if (status.IsNotFound())
      return Error{Code::not_found, std::string(table_names[static_cast<int>(table)]) + ": no such key"};
    if (!status.ok()) return to_error(status, options_.directory);
    return value;
  }

  Status scan(Table table, std::string_view from, Order order, const Visit& visit) const override {
    rocksdb::ReadOptions read;
    read.snapshot = shown_;
    read.fill_cache = table != Table::chunks;  // a resync must not push everything else out
    std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read, family(table)));
    if (order == Order::forward) {
      for (it->Seek(slice(from)); it->Valid() && visit(view(it->key()), view(it->value())); it->Next()) {}
    } else {
      for (it->SeekForPrev(slice(from)); it->Valid() && visit(view(it->key()), view(it->value())); it->Prev()) {}
    }
    return it->status().ok() ? ok() : Status(to_error(it->status(), options_.directory));
  }

  Result<std::vector<AnchorRecord>> anchors() const override { return anchor_.found(); }
  bool was_empty() const override { return was_empty_; }

 private:
  struct Waiting {
    Batch batch;
    Committed done;
    std::promise<Status>* written;  // for write(), which waits for it
  };
  using Group = std::vector<Waiting>;

  rocksdb::ColumnFamilyHandle* family(Table table) const { return handles_[1 + static_cast<std::size_t>(table)]; }

  static std::size_t bytes_of(const Batch& batch) {
    std::size_t bytes = 0;
    for (const Batch::Op& op : batch.ops) bytes += op.key.size() + (op.value ? op.value->size() : 0);
    return bytes;
  }

  // The writer thread: all that waits becomes one Write(sync), then its completions go to the loop together.
  void write_groups() {
    rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable);  // it counts every comparison of keys
    rocksdb::WriteBatch writes(1 << 20, 0, 8, 0);         // 8: a checksum per key from here into the memtable
    std::unique_lock lock(mutex_);
    for (;;) {
      auto due = [this] { return stopping_ || !queue_.empty(); };
      if (anchor_.dirty())
        wake_.wait_for(lock, anchor_sync_interval, due);
      else
        wake_.wait(lock, due);
      Group group;
      for (std::size_t bytes = 0; !queue_.empty() && (group.empty() || bytes < group_bytes_max);) {
        bytes += bytes_of(queue_.front().batch);
        group.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
      if (group.empty() && stopping_) return;
      lock.unlock();
      if (!failed_ && !group.empty()) write(group, writes);
      trim_memory(group);
      if (!failed_) sync_anchor(!group.empty() && options_.anchor_sync == RocksStoreOptions::AnchorSync::strict);
      deliver(std::move(group));
      lock.lock();
    }
  }

  void write(const Group& group, rocksdb::WriteBatch& writes) {
    writes.Clear();
    std::vector<AnchorRecord> anchors;
    rocksdb::Status status;
    for (const Waiting& waiting : group) {
      for (const Batch::Op& op : waiting.batch.ops) {
        status = op.value ? writes.Put(family(op.table), slice(op.key), slice(*op.value))
                          : writes.Delete(family(op.table), slice(op.key));
        if (!status.ok()) return fail(to_error(status, options_.directory));
      }
      for (const AnchorRecord& record : waiting.batch.anchors) {
        // Of one (run, stream) only the group's last counts.
        auto same = std::find_if(anchors.begin(), anchors.end(), [&](const AnchorRecord& a) {
          return a.stream == record.stream && a.run == record.run;
        });
        if (same == anchors.end())
          anchors.push_back(record);
        else
          *same = record;
      }
    }
    rocksdb::WriteOptions durable;
    durable.sync = true;
    status = db_->Write(durable, &writes);
    if (!status.ok()) return fail(to_error(status, options_.directory));
    if (anchors.empty() && anchor_.missing()) return;  // made once the note of its loss is durable
    if (Status anchored = anchor_.write(anchors); !anchored) fail(anchored.error());
  }

  void sync_anchor(bool now) {
    auto time = std::chrono::steady_clock::now();
    if (!anchor_.dirty() || (!now && time - anchor_synced_ < anchor_sync_interval)) return;
    if (Status synced = anchor_.sync(); !synced) fail(synced.error());
    anchor_synced_ = time;
  }

  // A burst leaves tens of MiB with the allocator; a second of quiet after it is the time to hand them back.
  void trim_memory(const Group& group) {
    for (const Waiting& waiting : group) written_since_trim_ += bytes_of(waiting.batch);
    if (!group.empty() || written_since_trim_ < trim_after_bytes) return;
    ::malloc_trim(0);
    written_since_trim_ = 0;
  }

  void fail(Error error) { failed_ = Error{Code::disk, error.detail}; }

  void take_snapshot() {
    const rocksdb::Snapshot* snapshot = db_->GetSnapshot();
    std::lock_guard lock(mutex_);
    taken_.push_back(snapshot);
  }

  void deliver(Group group) {
    if (group.size() == 1 && group[0].written != nullptr) {
      if (!failed_) take_snapshot();
      group[0].written->set_value(failed_ ? Status(*failed_) : ok());
      return;
    }
    if (group.empty() && (!failed_ || told_)) return;
    std::optional<Error> fatal = failed_ && !told_ ? failed_ : std::nullopt;
    told_ = told_ || failed_.has_value();
    const bool readable = !failed_;
    if (readable) take_snapshot();
    loop_.post(
        [this, alive = alive_, group = std::make_shared<Group>(std::move(group)), error = failed_, fatal, readable] {
          if (*alive && readable) show_next();
          for (Waiting& waiting : *group) {
            if (!*alive) return;
            --waiting_;
            waiting.done(error ? Status(*error) : ok());
          }
          if (*alive && fatal && options_.on_fatal) options_.on_fatal(*fatal);
        });
  }

  // Reads go on with what this group made durable.
  void show_next() {
    db_->ReleaseSnapshot(shown_);
    std::lock_guard lock(mutex_);
    shown_ = taken_.front();
    taken_.pop_front();
  }

  Loop& loop_;
  RocksStoreOptions options_;
  bool was_empty_ = false;
  std::size_t waiting_ = 0;                                     // loop thread
  const rocksdb::Snapshot* shown_ = nullptr;                    // loop thread: what reads see; none: all
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // loop thread
  std::shared_ptr<rocksdb::Cache> cache_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::unique_ptr<rocksdb::DB> db_;

  AnchorRing anchor_;                                      // writer thread, once it runs
  std::optional<Error> failed_;                            // writer thread: the first failure is the last word
  bool told_ = false;                                      // writer thread
  std::size_t written_since_trim_ = 0;                     // writer thread
  std::chrono::steady_clock::time_point anchor_synced_{};  // writer thread

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> queue_;
  std::deque<const rocksdb::Snapshot*> taken_;  // after a group each, not yet shown
  bool stopping_ = false;
  std::thread writer_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_rocks_store(Loop& loop, RocksStoreOptions options) {
  LANDFALL_TRY(check_directory(options.directory, options.read_only));
  if (!options.read_only && options.anchor.has_parent_path())
    LANDFALL_TRY(check_directory(options.anchor.parent_path(), false));
  Result<AnchorRing> anchor = AnchorRing::open(options.anchor, options.read_only);
  if (!anchor) return std::move(anchor).error();
  auto store = std::make_unique<RocksStore>(loop, std::move(options), std::move(*anchor));
  LANDFALL_TRY(store->open());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace landfall
