#include "cloudsync/hub/shard.h"

#include <librdkafka/rdkafka.h>

#include <array>
#include <chrono>

#include "cloudsync/hub/cloud_event.h"
#include "cloudsync/hub/topics.h"
#include "eventlog/chain.h"
#include "schemas/event.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

// A transactional call waits this long before the thread looks whether it should stop, then goes on waiting.
constexpr int call_ms = 1000;
// Calls until an unanswered commit is indefinite: by then the coordinator has given up, at transaction.timeout.ms, 30 s.
constexpr int commit_calls_max = 25;
constexpr int stopping_calls_max = 3;

bool is_urgent(Stream stream) { return stream <= Stream::desired; }

KafkaVerdict recycle(std::string why) { return {KafkaOutcome::recycle, std::move(why)}; }

}  // namespace

// Handles of one producer's topics.
struct Shard::Topics {
  std::array<rd_kafka_topic_t*, kafka_topic_count> data{};
  rd_kafka_topic_t* progress = nullptr;

  Topics(rd_kafka_t* producer, const std::string& prefix) {
    for (std::size_t i = 0; i < data.size(); ++i) {
      const std::string name = prefix + "." + std::string(kafka_topic_suffix(static_cast<KafkaTopic>(i)));
      data[i] = rd_kafka_topic_new(producer, name.c_str(), nullptr);
    }
    progress = rd_kafka_topic_new(producer, progress_topic(prefix).c_str(), nullptr);
  }
  ~Topics() {
    for (auto* topic : data) rd_kafka_topic_destroy(topic);
    rd_kafka_topic_destroy(progress);
  }
  Topics(const Topics&) = delete;
  Topics& operator=(const Topics&) = delete;
};

// One transaction's events. The rows are what librdkafka sends from: they outlive the transaction or its producer.
struct Shard::Batch {
  struct Part {
    DecodedChunk chunk;
    std::uint64_t skip;           // seqs up to here are committed already
    std::optional<Digest> chain;  // behind them, where it is not the chain that Kafka has there
  };
  std::vector<Part> parts;
  std::map<RunStream, Progress> touched;
  std::vector<FedChunk> taken;
};

namespace {

// Where a chunk goes on behind `last`, which is in it or just before it.
struct Joint {
  Digest chain;
  bool in_voids = false;  // it says nothing of changes in whose place there may be voids
};
Joint joint_behind(const DecodedChunk& chunk, std::uint64_t last) {
  Joint joint{chunk.header.chain_before};
  if (last < chunk.header.first) {
    joint.in_voids = void_edges(chunk.rows).before;
    return joint;
  }
  ChainHasher hasher;
  RowReader rows(chunk.rows);
  std::size_t bytes = 0;
  for (std::uint64_t seq = chunk.header.first; seq <= last; ++seq) {
    const std::string_view row = rows.next();
    hasher.extend(joint.chain, row);
    bytes = static_cast<std::size_t>(row.data() + row.size() - chunk.rows.data());
  }
  joint.in_voids = void_edges(std::string_view(chunk.rows).substr(0, bytes)).after;
  return joint;
}

}  // namespace

std::shared_ptr<Shard> Shard::start(Loop& loop, ShardOptions options, ShardReports reports) {
  std::shared_ptr<Shard> shard(new Shard(loop, std::move(options), std::move(reports)));
  shard->thread_ = std::thread([shard] { shard->run(); });
  return shard;
}

Shard::Shard(Loop& loop, ShardOptions options, ShardReports reports)
    : options_(std::move(options)), loop_(&loop), reports_(std::make_shared<const ShardReports>(std::move(reports))) {
  unix_ms_ = options_.unix_ms;
}

bool Shard::room() {
  const std::lock_guard lock(mutex_);
  full_ = fed_bytes_ >= kafka_prefetch_bytes_max;
  return !full_;
}

void Shard::feed(std::uint64_t generation, FedChunk chunk) {
  const std::lock_guard lock(mutex_);
  if (generation != generation_) return;
  fed_bytes_ += chunk.charge();
  (is_urgent(chunk.header.of.stream) ? urgent_ : bulk_).push_back(std::move(chunk));
  changed_.notify_one();
}

void Shard::ask_to_stop() {
  stop_ = true;
  const std::lock_guard lock(mutex_);
  changed_.notify_one();
}

void Shard::join() {
  std::unique_lock lock(mutex_);
  const bool ended = changed_.wait_for(lock, std::chrono::seconds(10), [this] { return ended_; });
  loop_ = nullptr;
  reports_.reset();
  lock.unlock();
  if (ended) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

void Shard::abandon() {
  stop_ = true;
  const std::lock_guard lock(mutex_);
  loop_ = nullptr;
  reports_.reset();
  thread_.detach();
}

void Shard::report(std::function<void(const ShardReports&)> what) {
  const std::lock_guard lock(mutex_);
  if (loop_ == nullptr) return;
  loop_->post([reports = std::weak_ptr(reports_), what = std::move(what)] {
    if (const auto there = reports.lock()) what(*there);
  });
}

void Shard::pause() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(500), [this] { return stop_.load(); });
}

void Shard::run() {
  while (!stop_) {
    KafkaVerdict verdict = own();
    const bool owned = verdict.outcome == KafkaOutcome::done;
    if (owned) verdict = write_until_failure();
    {
      // Before the batch's rows go: librdkafka may be sending from them.
      topics_.reset();
      producer_.reset();
      const std::lock_guard lock(mutex_);
      ++generation_;
      urgent_.clear();
      bulk_.clear();
      fed_bytes_ = 0;
    }
    if (stop_) break;
    const std::string said = talk_.last();
    const Error why{Code::unavailable, "shard " + std::to_string(options_.shard) + ": " + verdict.why +
                                           (said.empty() ? "" : " (" + said + ")")};
    if (verdict.outcome == KafkaOutcome::fenced && !still_owner()) {
      if (stop_) break;
      report([why](const ShardReports& to) {
        to.fenced({Code::conflict, why.detail + "; another hub has taken this shard: stop one of the two"});
      });
      break;
    }
    report([why, owned](const ShardReports& to) {
      if (owned) to.recycled();
      to.lost(why);
    });
    pause();
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

// A fence may come from our own transaction's timeout, while the process was suspended or the broker away. The last
// owner record tells. Nobody may have taken the shard by more than init_transactions yet: then that one loses its fence
// to our next, reads us as the owner, and stays away.
bool Shard::still_owner() {
  while (!stop_) {
    auto consumer = make_consumer(options_.bootstrap, options_.extra, talk_);
    if (consumer) {
      const auto progress =
          read_progress(consumer->get(), progress_topic(options_.prefix), options_.shard, stop_, beat_);
      if (progress) return progress->owner == options_.instance;
    }
    pause();
  }
  return false;
}

KafkaVerdict Shard::own() {
  auto producer =
      make_producer(options_.bootstrap, options_.extra,
                    transactional_settings(options_.prefix + ".hub." + std::to_string(options_.shard)), talk_);
  if (!producer) return recycle(producer.error().detail);
  producer_ = std::move(*producer);
  topics_ = std::make_unique<Topics>(producer_.get(), options_.prefix);
  for (KafkaVerdict verdict{KafkaOutcome::again, {}}; verdict.outcome == KafkaOutcome::again;) {
    ++beat_;
    if (stop_) return recycle("stopped");
    verdict = judge(producer_.get(), rd_kafka_init_transactions(producer_.get(), call_ms));
    rd_kafka_poll(producer_.get(), 0);
    if (verdict.outcome == KafkaOutcome::again) {
      report([why = Error{Code::unavailable, "shard " + std::to_string(options_.shard) + ": " + verdict.why}](
                 const ShardReports& to) { to.lost(why); });
      pause();
    } else if (verdict.outcome != KafkaOutcome::done) {
      return recycle("init_transactions: " + verdict.why);
    }
  }
  auto consumer = make_consumer(options_.bootstrap, options_.extra, talk_);
  if (!consumer) return recycle(consumer.error().detail);
  auto progress = read_progress(consumer->get(), progress_topic(options_.prefix), options_.shard, stop_, beat_);
  if (!progress) return recycle(progress.error().detail);
  consumer->reset();
  if (progress->owner != options_.instance) {
    if (KafkaVerdict verdict = claim(); verdict.outcome != KafkaOutcome::done) return verdict;
  }
  positions_.clear();
  headers_.clear();
  for (const auto& [of, at] : progress->streams) positions_[of] = {at.last, at.chain, at.voids};
  connected_ = true;
  std::uint64_t generation = 0;
  {
    const std::lock_guard lock(mutex_);
    generation = ++generation_;
  }
  report([generation, progress = std::move(*progress)](const ShardReports& to) { to.ready(generation, progress); });
  return {};
}

KafkaVerdict Shard::begin() {
  KafkaVerdict verdict = judge(producer_.get(), rd_kafka_begin_transaction(producer_.get()));
  if (verdict.outcome == KafkaOutcome::again) verdict.outcome = KafkaOutcome::recycle;
  return verdict;
}

KafkaVerdict Shard::commit() {
  for (int calls = 0, stopping = 0; calls < commit_calls_max; ++calls) {
    ++beat_;
    KafkaVerdict verdict = judge(producer_.get(), rd_kafka_commit_transaction(producer_.get(), call_ms));
    if (verdict.outcome != KafkaOutcome::again) return verdict;
    if (stop_ && ++stopping == stopping_calls_max) break;
    if (connected_) {
      connected_ = false;
      report([](const ShardReports& to) { to.connected(false); });
    }
    pause();
  }
  return recycle("commit: no answer");
}

// The owner record, in a transaction of its own: from here on anybody fenced by us can tell.
KafkaVerdict Shard::claim() {
  if (KafkaVerdict verdict = begin(); verdict.outcome != KafkaOutcome::done) return verdict;
  const std::string value = encode_owner(options_.instance, unix_ms_);
  if (rd_kafka_produce(topics_->progress, static_cast<std::int32_t>(options_.shard), RD_KAFKA_MSG_F_COPY,
                       const_cast<char*>(value.data()), value.size(), owner_key.data(), owner_key.size(),
                       nullptr) != 0) {
    return recycle(std::string("produce: ") + rd_kafka_err2str(rd_kafka_last_error()));
  }
  return commit();
}

KafkaVerdict Shard::write_until_failure() {
  while (!stop_) {
    Batch batch;
    if (!take(batch)) {
      look_for_broker();
      continue;
    }
    for (const FedChunk& chunk : batch.taken) decode(batch, chunk);
    batch.taken.clear();
    if (KafkaVerdict verdict = write(batch); verdict.outcome != KafkaOutcome::done) {
      topics_.reset();
      producer_.reset();  // before the rows in `batch`
      return verdict;
    }
  }
  return {};
}

// Waits for chunks, a second at the most; then a little longer for more to share the transaction, unless an urgent one
// waits or enough is there. The longer a commit takes, the more has come meanwhile: the batch follows the backlog.
bool Shard::take(Batch& batch) {
  ++beat_;
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::seconds(1), [this] { return stop_ || fed_bytes_ > 0; });
  if (stop_ || fed_bytes_ == 0) return false;
  changed_.wait_for(lock, kafka_batch_wait,
                    [this] { return stop_ || !urgent_.empty() || fed_bytes_ >= kafka_batch_bytes_enough; });
  std::uint64_t events = 0;
  std::size_t bytes = 0;
  for (auto* queue : {&urgent_, &bulk_}) {
    while (!queue->empty()) {
      const ChunkHeader& next = queue->front().header;
      if (!batch.taken.empty() &&
          (events + next.count() > kafka_batch_events_max || bytes + next.rows_bytes > kafka_batch_bytes_max)) {
        break;
      }
      events += next.count();
      bytes += next.rows_bytes;
      fed_bytes_ -= queue->front().charge();
      batch.taken.push_back(std::move(queue->front()));
      queue->pop_front();
    }
  }
  const bool hungry = full_ && fed_bytes_ < kafka_prefetch_bytes_max / 2;
  if (hungry) full_ = false;
  lock.unlock();
  if (hungry) report([](const ShardReports& to) { to.hungry(); });
  return true;
}

void Shard::decode(Batch& batch, const FedChunk& fed) {
  const RunStream& of = fed.header.of;
  unix_ms_ = fed.unix_ms;
  if (forks_.contains(of)) return;
  const auto refuse = [&](Error why) {
    forks_.emplace(of, why);
    report([of, why](const ShardReports& to) { to.fork(of, why); });
  };
  const auto found = batch.touched.find(of);
  auto known = positions_.find(of);
  if (known == positions_.end()) known = positions_.emplace(of, Position{0, chain_start(of)}).first;
  Position at = known->second;
  if (found != batch.touched.end()) at = {found->second.last, found->second.chain, found->second.voids};
  if (fed.header.last <= at.last) return;
  LANDFALL_CHECK(fed.header.first <= at.last + 1);

  auto decoded = decode_chunk(fed.bytes);
  if (!decoded) return refuse(std::move(decoded).error().in(progress_key(of)));
  const Joint joint = joint_behind(*decoded, at.last);
  if (joint.chain != at.chain && !joint.in_voids && !at.voids) {
    return refuse({Code::conflict, progress_key(of) + ": the log's events up to seq " + std::to_string(at.last) +
                                       " are not the ones in Kafka: a fork"});
  }
  Progress progress;
  progress.last = fed.header.last;
  progress.chain = decoded->header.chain_after;
  progress.voids = void_edges(decoded->rows).after;
  progress.events = fed.header.last - at.last + (found != batch.touched.end() ? found->second.events : 0);
  batch.touched[of] = progress;
  batch.parts.push_back(
      {std::move(*decoded), at.last, joint.chain == at.chain ? std::nullopt : std::optional(joint.chain)});
}

KafkaVerdict Shard::write(Batch& batch) {
  if (batch.parts.empty()) return {};
  if (KafkaVerdict verdict = begin(); verdict.outcome != KafkaOutcome::done) return verdict;
  for (std::size_t i = 0; i < batch.parts.size(); ++i) {
    if (KafkaVerdict verdict = produce_chunk(batch, i); verdict.outcome != KafkaOutcome::done) return verdict;
  }
  if (KafkaVerdict verdict = produce_progress(batch); verdict.outcome != KafkaOutcome::done) return verdict;
  if (KafkaVerdict verdict = commit(); verdict.outcome != KafkaOutcome::done) return verdict;

  std::vector<ShardReports::Committed> committed;
  for (const auto& [of, progress] : batch.touched) {
    positions_[of] = {progress.last, progress.chain, progress.voids};
    committed.push_back({of, progress.last, progress.events});
  }
  const bool back = !connected_;
  connected_ = true;
  report([committed = std::move(committed), back](const ShardReports& to) {
    if (back) to.connected(true);
    to.committed(committed);
  });
  return {};
}

KafkaVerdict Shard::produce_chunk(Batch& batch, std::size_t index) {
  const Batch::Part& part = batch.parts[index];
  const RunStream& of = part.chunk.header.of;
  auto& headers = headers_[of];
  if (!headers) headers = std::make_unique<CloudEventHeaders>(of, options_.trust_domain);
  rd_kafka_topic_t* topic = topics_->data[static_cast<std::size_t>(kafka_topic(of.stream))];
  RowReader rows(part.chunk.rows);
  std::uint64_t seq = part.chunk.header.first;
  for (std::string_view row = rows.next(); !row.empty(); row = rows.next(), ++seq) {
    if (seq <= part.skip) continue;
    const auto event = decode_row(row);
    if (!event) return recycle("seq " + std::to_string(seq) + ": " + event.error().detail);
    const bool backfill = event->time.unix_ms() + options_.backfill_after_ms < unix_ms_;
    const Digest* const chain = part.chain && seq == part.skip + 1 ? &*part.chain : nullptr;
    const auto& list = headers->of(*event, row, seq, backfill, chain);
    rd_kafka_headers_t* carried = rd_kafka_headers_new(list.size());
    for (const auto& header : list) {
      rd_kafka_header_add(carried, header.name.data(), static_cast<ssize_t>(header.name.size()), header.value.data(),
                          static_cast<ssize_t>(header.value.size()));
    }
    const std::string_view key = headers->key(*event);
    // Null would be a tombstone.
    const std::string_view content = headers->value(*event);
    const char* value = content.empty() ? "" : content.data();
    std::array<rd_kafka_vu_t, 6> what{};
    what[0].vtype = RD_KAFKA_VTYPE_RKT, what[0].u.rkt = topic;
    what[1].vtype = RD_KAFKA_VTYPE_PARTITION, what[1].u.i32 = static_cast<std::int32_t>(options_.shard);
    what[2].vtype = RD_KAFKA_VTYPE_KEY, what[2].u.mem.ptr = const_cast<char*>(key.data()),
    what[2].u.mem.size = key.size();
    what[3].vtype = RD_KAFKA_VTYPE_VALUE, what[3].u.mem.ptr = const_cast<char*>(value);
    what[3].u.mem.size = content.size();
    // Neither copied nor freed, as the batch keeps it; what was made for this record is copied.
    const bool made = content.data() != event->payload.data();
    what[4].vtype = RD_KAFKA_VTYPE_MSGFLAGS, what[4].u.i = made ? RD_KAFKA_MSG_F_COPY : 0;
    what[5].vtype = RD_KAFKA_VTYPE_HEADERS, what[5].u.headers = carried;
    while (rd_kafka_error_t* error = rd_kafka_produceva(producer_.get(), what.data(), what.size())) {
      const bool full = rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL;
      if (!full || stop_) {
        rd_kafka_headers_destroy(carried);
        return judge(producer_.get(), error).outcome == KafkaOutcome::fenced
                   ? KafkaVerdict{KafkaOutcome::fenced, "produce: fenced"}
                   : recycle("produce failed");
      }
      rd_kafka_error_destroy(error);
      ++beat_;
      rd_kafka_poll(producer_.get(), 10);
    }
  }
  rd_kafka_poll(producer_.get(), 0);
  ++beat_;
  return {};
}

KafkaVerdict Shard::produce_progress(const Batch& batch) {
  for (auto [of, progress] : batch.touched) {
    progress.unix_ms = unix_ms_;
    const std::string key = progress_key(of), value = encode_progress(progress);
    if (rd_kafka_produce(topics_->progress, static_cast<std::int32_t>(options_.shard), RD_KAFKA_MSG_F_COPY,
                         const_cast<char*>(value.data()), value.size(), key.data(), key.size(), nullptr) != 0) {
      return recycle(std::string("produce progress: ") + rd_kafka_err2str(rd_kafka_last_error()));
    }
  }
  return {};
}

// Nothing to write: whether the broker is still there is asked only once librdkafka has said that it is not.
void Shard::look_for_broker() {
  rd_kafka_poll(producer_.get(), 0);
  if (!talk_.take_all_down() && connected_) return;
  const struct rd_kafka_metadata* metadata = nullptr;
  const bool there =
      rd_kafka_metadata(producer_.get(), 0, topics_->progress, &metadata, call_ms) == RD_KAFKA_RESP_ERR_NO_ERROR;
  if (metadata != nullptr) rd_kafka_metadata_destroy(metadata);
  if (there == connected_) return;
  connected_ = there;
  report([there](const ShardReports& to) { to.connected(there); });
}

}  // namespace landfall
