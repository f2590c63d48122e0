#include "cloudsync/hub/kafka_writer.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "cloudsync/hub/kafka_client.h"
#include "cloudsync/hub/rebuild.h"
#include "cloudsync/hub/shard.h"
#include "cloudsync/hub/topics.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

bool is_urgent(Stream stream) { return stream <= Stream::desired; }

// Makes sure of the topics on a thread of its own, trying again for as long as no broker answers.
class TopicCheck {
 public:
  using Report = std::function<void(Status)>;  // `unavailable` means: still trying
  TopicCheck(Loop& loop, TopicPlan plan, KafkaSettings extra, Report report)
      : report_(std::make_shared<Report>(std::move(report))),
        thread_([this, &loop, plan = std::move(plan), extra = std::move(extra)] { run(loop, plan, extra); }) {}
  ~TopicCheck() {
    stop_ = true;
    {
      const std::lock_guard lock(mutex_);
      changed_.notify_one();
    }
    thread_.join();
  }

 private:
  void run(Loop& loop, const TopicPlan& plan, const KafkaSettings& extra) {
    while (!stop_) {
      Status status = ok();
      // One producer per try: nothing of a bad try is left for the next. Made as a shard's is, so that settings which
      // no transaction can have are refused here, by name.
      auto client = make_producer(plan.bootstrap, extra, transactional_settings(plan.prefix + ".hub.check"), talk_);
      status = client ? ensure_topics(client->get(), plan, stop_) : Status(client.error());
      if (stop_) return;
      loop.post([report = std::weak_ptr(report_), status] {
        if (const auto there = report.lock()) (*there)(status);
      });
      if (status.ok() || status.error().code != Code::unavailable) return;
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::seconds(1), [this] { return stop_.load(); });
    }
  }

  std::shared_ptr<Report> report_;
  KafkaTalk talk_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
};

class Writer final : public KafkaWriter {
 public:
  Writer(Loop& loop, Log& log, KafkaWriterOptions options)
      : loop_(loop), log_(log), options_(std::move(options)), alive_(std::make_shared<int>(0)) {
    const std::uint64_t name = loop_.random();
    instance_ = to_hex({reinterpret_cast<const char*>(&name), sizeof name});
  }

  ~Writer() override {
    rebuild_.reset();
    if (subscription_) log_.unsubscribe(*subscription_);
    loop_.cancel(watchdog_);
    // All at once, then each: they end their transactions side by side.
    for (Lane& lane : lanes_) lane.shard->ask_to_stop();
    for (Lane& lane : lanes_) lane.shard->join();
  }

  void start(OnStarted started, OnCommitted committed) override {
    LANDFALL_CHECK(!topic_check_ && options_.shards > 0);
    on_started_ = std::move(started);
    on_committed_ = std::move(committed);
    if (Status status = check_extra_settings(options_.extra); !status) {
      loop_.post([this, alive = std::weak_ptr(alive_), status] {
        if (!alive.expired()) on_topics(status);
      });
      return;
    }
    topic_check_ =
        std::make_unique<TopicCheck>(loop_,
                                     TopicPlan{options_.bootstrap, options_.topic_prefix, options_.shards,
                                               options_.replication > 0 ? options_.replication : -1},
                                     options_.extra, [this](Status status) { on_topics(std::move(status)); });
  }

  const ReceivedContext& committed() const override { return committed_; }
  KafkaStatus status() const override;

 private:
  // What is to be read of one (run, stream).
  struct Cursor {
    std::uint64_t next = 1;   // first seq not fed
    std::uint64_t known = 0;  // last seq known to be in the log
    std::uint64_t committed = 0;
    bool queued = false;  // in one of the lane's queues: there may be more to read
    bool fork = false;
  };
  // A shard as the loop sees it.
  struct Lane {
    std::shared_ptr<Shard> shard;
    std::uint64_t generation = 0;  // 0: not owned yet
    bool connected = false, fenced = false, pump_posted = false;
    bool heard = false;  // its progress was read once
    std::string last_error;
    std::map<RunStream, Cursor> cursors;
    std::deque<RunStream> urgent, bulk;  // with more to read; bulk in turn
    std::uint64_t beat = 0;
    int silent_checks = 0;
  };

  void on_topics(Status status);
  std::shared_ptr<Shard> start_shard(std::uint32_t index);
  void on_ready(std::uint32_t index, std::uint64_t generation, const ShardProgress& progress);
  void on_appended(const Log::Range& range);
  void queue(Lane& lane, const RunStream& of, Cursor& cursor);
  void pump_later(std::uint32_t index);
  void pump(std::uint32_t index);
  bool feed_some(Lane& lane, const RunStream& of, Cursor& cursor);
  void commit(const RunStream& of, std::uint64_t last, std::vector<RunStream>& advanced);
  void watch();
  void look_for_lack(Lane& lane, const ShardProgress& progress);

  Loop& loop_;
  Log& log_;
  const KafkaWriterOptions options_;
  std::string instance_;
  OnStarted on_started_;
  OnCommitted on_committed_;
  std::unique_ptr<TopicCheck> topic_check_;
  bool topics_ready_ = false;
  std::string last_error_;
  std::vector<Lane> lanes_;
  std::optional<Log::Subscription> subscription_;
  Loop::Timer watchdog_ = 0;
  ReceivedContext committed_;
  std::map<RunStream, Progress> lacking_;  // at the start
  std::unique_ptr<Rebuild> rebuild_;
  bool whole_ = false;
  std::uint64_t committed_events_ = 0, transactions_ = 0, recycles_ = 0, stuck_ = 0;
  std::shared_ptr<int> alive_;  // posted functions look whether it is still there
};

void Writer::on_topics(Status status) {
  if (!status && status.error().code == Code::unavailable) {
    last_error_ = status.error().detail;
    return;
  }
  last_error_ = status ? "" : status.error().detail;
  if (status) {
    topics_ready_ = true;
    lanes_.resize(options_.shards);
    subscription_ = log_.subscribe(0x7f, [this](const Log::Range& range) { on_appended(range); });
    for (std::uint32_t i = 0; i < options_.shards; ++i) lanes_[i].shard = start_shard(i);
    watchdog_ = loop_.after(kafka_watch_interval, [this] { watch(); });
  }
  if (on_started_) std::exchange(on_started_, nullptr)(std::move(status));
}

std::shared_ptr<Shard> Writer::start_shard(std::uint32_t index) {
  ShardReports reports;
  reports.ready = [this, index](std::uint64_t generation, const ShardProgress& progress) {
    on_ready(index, generation, progress);
  };
  reports.committed = [this, index](const std::vector<ShardReports::Committed>& list) {
    ++transactions_;
    std::vector<RunStream> advanced;
    for (const auto& one : list) {
      committed_events_ += one.events;
      lanes_[index].cursors[one.of].committed = one.last;
      commit(one.of, one.last, advanced);
    }
    for (const RunStream& of : advanced) on_committed_(of);
  };
  reports.hungry = [this, index] { pump(index); };
  reports.connected = [this, index](bool connected) {
    lanes_[index].connected = connected;
    lanes_[index].last_error = connected ? "" : "no answer from kafka at " + options_.bootstrap;
  };
  reports.lost = [this, index](const Error& why) {
    lanes_[index].connected = false;
    lanes_[index].generation = 0;  // nothing is read for a shard that would drop it
    lanes_[index].last_error = why.detail;
  };
  reports.recycled = [this] { ++recycles_; };
  reports.fenced = [this, index](const Error& why) {
    lanes_[index].connected = false;
    lanes_[index].generation = 0;
    lanes_[index].fenced = true;
    lanes_[index].last_error = why.detail;
  };
  reports.fork = [this, index](const RunStream& of, const Error& why) {
    lanes_[index].cursors[of].fork = true;
    last_error_ = why.detail;
  };
  return Shard::start(
      loop_,
      {.bootstrap = options_.bootstrap,
       .prefix = options_.topic_prefix,
       .trust_domain = options_.trust_domain,
       .instance = instance_,
       .shard = index,
       .backfill_after_ms = std::chrono::duration_cast<std::chrono::milliseconds>(options_.backfill_after).count(),
       .unix_ms = loop_.unix_ms(),
       .extra = options_.extra},
      std::move(reports));
}

// The progress topic says what is committed: the log is read on from there, in every (run, stream) that it knows.
void Writer::on_ready(std::uint32_t index, std::uint64_t generation, const ShardProgress& progress) {
  Lane& lane = lanes_[index];
  lane.generation = generation;
  lane.connected = true;
  lane.last_error.clear();
  lane.urgent.clear();
  lane.bulk.clear();
  std::map<RunStream, Cursor> before = std::exchange(lane.cursors, {});
  std::vector<RunStream> advanced;
  for (const auto& [of, at] : progress.streams) {
    Cursor& cursor = lane.cursors[of];
    cursor.next = at.last + 1;
    cursor.committed = cursor.known = at.last;
    commit(of, at.last, advanced);
  }
  for (const RunStream& of : log_.received().streams()) {
    if (kafka_shard(of.run.node, options_.shards) != index) continue;
    Cursor& cursor = lane.cursors[of];
    cursor.known = std::max({cursor.known, before[of].known, log_.received().max(of)});
    cursor.fork = before[of].fork;
    if (cursor.known >= cursor.next) queue(lane, of, cursor);
  }
  pump_later(index);
  for (const RunStream& of : advanced) on_committed_(of);
  look_for_lack(lane, progress);
}

// Once, when every shard has said what Kafka has: what is not here is read back.
void Writer::look_for_lack(Lane& lane, const ShardProgress& progress) {
  if (std::exchange(lane.heard, true)) return;
  for (const auto& [of, at] : progress.streams) {
    if (at.last > 0 && is_kept(of.stream) && !log_.received().contains(of, 1, at.last)) lacking_.emplace(of, at);
  }
  if (!std::ranges::all_of(lanes_, &Lane::heard)) return;
  const auto whole = [this](const Rebuilt& rebuilt) {
    whole_ = true;
    if (options_.on_whole) options_.on_whole(rebuilt);
  };
  if (lacking_.empty()) return whole({});
  rebuild_ = std::make_unique<Rebuild>(
      loop_, log_,
      RebuildOptions{options_.bootstrap, options_.topic_prefix, options_.shards, options_.extra, std::move(lacking_)},
      whole);
}

void Writer::commit(const RunStream& of, std::uint64_t last, std::vector<RunStream>& advanced) {
  const std::uint64_t base = committed_.base(of);
  if (last <= base) return;
  const Status added = committed_.add(of, base + 1, last);
  LANDFALL_CHECK(added.ok());  // contiguous: nothing lies above the base
  advanced.push_back(of);
}

void Writer::on_appended(const Log::Range& range) {
  const std::uint32_t index = kafka_shard(range.of.run.node, options_.shards);
  Lane& lane = lanes_[index];
  if (lane.generation == 0) return;  // on_ready reads it from the log
  Cursor& cursor = lane.cursors[range.of];
  cursor.known = std::max(cursor.known, range.last);
  if (range.last < cursor.next) return;
  queue(lane, range.of, cursor);
  pump_later(index);
}

void Writer::queue(Lane& lane, const RunStream& of, Cursor& cursor) {
  if (cursor.queued || cursor.fork) return;
  cursor.queued = true;
  (is_urgent(of.stream) ? lane.urgent : lane.bulk).push_back(of);
}

// Many commits of the log may come in one turn: one look at it serves them all.
void Writer::pump_later(std::uint32_t index) {
  if (std::exchange(lanes_[index].pump_posted, true)) return;
  loop_.post([this, index, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    lanes_[index].pump_posted = false;
    pump(index);
  });
}

// Reads one slice of the log per turn, for as long as the shard has room.
void Writer::pump(std::uint32_t index) {
  Lane& lane = lanes_[index];
  auto& from = !lane.urgent.empty() ? lane.urgent : lane.bulk;
  if (lane.generation == 0 || from.empty() || !lane.shard->room()) return;
  const RunStream of = from.front();
  from.pop_front();
  Cursor& cursor = lane.cursors[of];
  cursor.queued = false;
  if (feed_some(lane, of, cursor)) queue(lane, of, cursor);
  if (!lane.urgent.empty() || !lane.bulk.empty()) pump_later(index);
}

// Whether there may be more.
bool Writer::feed_some(Lane& lane, const RunStream& of, Cursor& cursor) {
  auto chunks = log_.read(of, cursor.next, kafka_read_bytes);
  if (!chunks) {
    last_error_ = chunks.error().detail;
    return false;
  }
  bool some = false;
  std::size_t bytes = 0;
  for (Log::StoredChunk& chunk : *chunks) {
    // Kafka gets no gap: a foreign stream may have one here until its node has sent the rest.
    if (chunk.header.first > cursor.next) return false;
    cursor.next = chunk.header.last + 1;
    cursor.known = std::max(cursor.known, chunk.header.last);
    bytes += chunk.bytes.size();
    lane.shard->feed(lane.generation, {chunk.header, std::move(chunk.bytes), loop_.unix_ms()});
    some = true;
  }
  return some && (bytes >= kafka_read_bytes || cursor.known >= cursor.next);
}

// A shard's thread beats at least every few seconds, whatever the broker does. One that does not hangs inside the
// library: its successor's init_transactions takes the shard away from it.
void Writer::watch() {
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    const std::uint64_t beat = lane.shard->beat();
    lane.silent_checks = beat == lane.beat && !lane.fenced ? lane.silent_checks + 1 : 0;
    lane.beat = beat;
    if (lane.silent_checks < kafka_silent_checks_max) continue;
    lane.silent_checks = 0;
    if (stuck_ >= kafka_stuck_threads_max) {
      lane.last_error = "kafka shard " + std::to_string(i) + ": its thread hangs again; restart the hub";
      continue;
    }
    ++stuck_;
    lane.shard->abandon();
    lane.generation = 0;
    lane.connected = false;
    lane.last_error = "kafka shard " + std::to_string(i) + ": its thread hung and was replaced";
    lane.shard = start_shard(i);
  }
  watchdog_ = loop_.after(kafka_watch_interval, [this] { watch(); });
}

KafkaStatus Writer::status() const {
  KafkaStatus status;
  status.topics_ready = topics_ready_;
  status.shards = options_.shards;
  status.last_error = last_error_;
  for (const Lane& lane : lanes_) {
    if (lane.connected && lane.generation != 0) ++status.shards_connected;
    if (lane.fenced) ++status.shards_fenced;
    if (!lane.last_error.empty()) status.last_error = lane.last_error;
    for (const auto& [of, cursor] : lane.cursors) {
      if (cursor.fork) status.forks.push_back(of);
      if (cursor.known > cursor.committed) status.backlog_events += cursor.known - cursor.committed;
    }
  }
  if (lanes_.empty() || status.shards_connected < lanes_.size()) {
    // Before a shard has read its progress nothing is known of what it has to write but what the log holds.
    status.backlog_events = 0;
    for (const RunStream& of : log_.received().streams()) {
      const std::uint64_t here = log_.received().max(of), there = committed_.base(of);
      if (here > there) status.backlog_events += here - there;
    }
  }
  if (rebuild_) {
    status.rebuilding = !whole_;
    status.rebuilt_events = rebuild_->events();
    status.rebuild_events = rebuild_->wanted();
    if (const auto trouble = rebuild_->trouble(); !whole_ && !trouble.empty()) status.last_error = trouble;
  }
  status.committed_events = committed_events_;
  status.transactions = transactions_;
  status.recycles = recycles_;
  status.stuck = stuck_;
  return status;
}

}  // namespace

std::uint32_t kafka_shard(const NodeId& node, std::uint32_t shards) {
  // The id is a digest already.
  const std::uint32_t spread = static_cast<std::uint32_t>(node.bytes[0]) << 24 |
                               static_cast<std::uint32_t>(node.bytes[1]) << 16 |
                               static_cast<std::uint32_t>(node.bytes[2]) << 8 | node.bytes[3];
  return spread % shards;
}

std::unique_ptr<KafkaWriter> KafkaWriter::create(Loop& loop, Log& log, KafkaWriterOptions options) {
  return std::make_unique<Writer>(loop, log, std::move(options));
}

}  // namespace landfall
