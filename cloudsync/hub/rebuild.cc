#include "cloudsync/hub/rebuild.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "cloudsync/hub/cloud_event.h"
#include "eventlog/chain.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr int query_ms = 5000, consume_ms = 100;
constexpr int silent_turns_max = 600;
// The log is full, or waits for what supersedes: other streams may bring that.
constexpr Duration again_wait = 100ms;
constexpr int tries_max = 600;

struct TopicDestroy {
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
};
struct QueueDestroy {
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};
using Message = std::unique_ptr<rd_kafka_message_t, void (*)(rd_kafka_message_t*)>;

Error unavailable(const std::string& what) { return {Code::unavailable, "rebuild: " + what}; }

// The partitions that are read, each to the end that it had when the reading began.
class Reading {
 public:
  explicit Reading(rd_kafka_t* consumer) : consumer_(consumer), queue_(rd_kafka_queue_new(consumer)) {}
  ~Reading() {
    for (const auto& part : parts_) rd_kafka_consume_stop(part.topic, part.partition);
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

  Status add(const std::string& name, std::int32_t partition) {
    auto& topic = topics_[name];
    if (!topic) topic.reset(rd_kafka_topic_new(consumer_, name.c_str(), nullptr));
    std::int64_t low = 0, high = 0;
    const auto error = rd_kafka_query_watermark_offsets(consumer_, name.c_str(), partition, &low, &high, query_ms);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return unavailable(name + ": " + rd_kafka_err2str(error));
    if (low >= high) return ok();
    if (rd_kafka_consume_start_queue(topic.get(), partition, RD_KAFKA_OFFSET_BEGINNING, queue_.get()) != 0)
      return unavailable(name + ": " + rd_kafka_err2str(rd_kafka_last_error()));
    parts_.push_back({topic.get(), partition, high});
    open_.insert({topic.get(), partition});
    return ok();
  }

  bool at_end() const { return open_.empty(); }

  // None where nothing came for now, or only an end.
  Result<Message> next() {
    Message message(rd_kafka_consume_queue(queue_.get(), consume_ms), rd_kafka_message_destroy);
    if (!message) {
      if (++silent_ < silent_turns_max) return message;
      return unavailable("no answer from kafka");
    }
    silent_ = 0;
    const bool end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && !end)
      return unavailable(std::string(rd_kafka_topic_name(message->rkt)) + ": " +
                         rd_kafka_message_errstr(message.get()));
    for (const auto& part : parts_) {
      if (part.topic != message->rkt || part.partition != message->partition) continue;
      if (message->offset + (end ? 0 : 1) >= part.high) open_.erase({part.topic, part.partition});
    }
    if (end) message.reset();
    return message;
  }

 private:
  struct Part {
    rd_kafka_topic_t* topic;
    std::int32_t partition;
    std::int64_t high;
  };
  rd_kafka_t* consumer_;
  std::unique_ptr<rd_kafka_queue_t, QueueDestroy> queue_;
  std::map<std::string, std::unique_ptr<rd_kafka_topic_t, TopicDestroy>> topics_;
  std::vector<Part> parts_;
  std::set<std::pair<rd_kafka_topic_t*, std::int32_t>> open_;
  int silent_ = 0;
};

void read_headers(const rd_kafka_message_t& message, RecordHeaders& out) {
  out.clear();
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; ++i)
    out.emplace_back(name, std::string_view(static_cast<const char*>(value), value == nullptr ? 0 : size));
}

}  // namespace

// What the loop does with the chunks.
struct Rebuild::Store : std::enable_shared_from_this<Store> {
  Store(Loop& its_loop, Log& its_log, std::function<void(Rebuilt)> its_done)
      : loop(its_loop), log(its_log), done(std::move(its_done)) {}

  Loop& loop;
  Log& log;
  std::function<void(Rebuilt)> done;
  Rebuilt rebuilt;
  std::map<RunStream, Error> refused;
  std::uint64_t events = 0;
  bool read = false;  // nothing comes any more

  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::size_t waiting_bytes = 0;
  bool stop = false;
  std::string trouble;

  void take(const RunStream& of, std::shared_ptr<const std::string> chunk, std::uint64_t count, int tries) {
    if (refused.contains(of)) return settle(chunk->size());
    log.ingest(*chunk, [weak = weak_from_this(), of, chunk, count, tries](const Status& stored) {
      const auto self = weak.lock();
      if (!self) return;
      if (!stored && stored.error().code == Code::unavailable && tries < tries_max) {
        self->loop.after(again_wait, [weak, of, chunk, count, tries] {
          if (const auto there = weak.lock()) there->take(of, chunk, count, tries + 1);
        });
        return;
      }
      if (stored) self->events += count;
      if (!stored) self->refused.emplace(of, stored.error());
      self->settle(chunk->size());
    });
  }

  void settle(std::size_t bytes) {
    bool all = false;
    {
      const std::lock_guard lock(mutex);
      waiting_bytes -= bytes;
      all = read && waiting_bytes == 0;
      changed.notify_one();
    }
    if (all) finish();
  }

  void finish() {
    for (auto& [of, why] : refused) rebuilt.refused.emplace_back(of, why);
    rebuilt.streams -= std::min<std::uint64_t>(rebuilt.streams, refused.size());
    rebuilt.events = events;
    done(std::move(rebuilt));
  }
};

// The thread.
class Rebuild::Reader {
 public:
  Reader(Loop& loop, std::shared_ptr<Store> store, RebuildOptions options)
      : loop_(loop), store_(std::move(store)), options_(std::move(options)) {
    for (const auto& [of, upto] : options_.lacking) {
      Track& stream = streams_[of];
      stream.upto = upto;
      stream.base = store_->log.received().base(of);
    }
    thread_ = std::thread([this] { run(); });
  }
  ~Reader() {
    {
      const std::lock_guard lock(store_->mutex);
      store_->stop = true;
      store_->changed.notify_one();
    }
    thread_.join();
  }

 private:
  enum class Found : std::uint8_t { reading, proven, refused, gone };
  struct Track {
    Progress upto;
    std::uint64_t base = 0;  // every event up to here is in the log
    Found found = Found::reading;
    Error why{Code::corrupt, {}};
    std::uint64_t next = 1;
    Digest chain{};
    bool voids = false;  // read up to within a range of voids
    ChunkHeader open;    // of the chunk under way; its rows
    std::string rows;
  };

  void run() {
    bool proven = false, stored = false;
    while (!stored && !stopped()) {
      Status status = pass(proven);
      if (status) (proven ? stored : proven) = true;
      const std::string said = talk_.last();
      std::unique_lock lock(store_->mutex);
      store_->trouble = status ? "" : status.error().detail + (said.empty() ? "" : " (" + said + ")");
      if (!status) store_->changed.wait_for(lock, 1s, [&] { return store_->stop; });
    }
    if (!stored) return;
    Rebuilt rebuilt;
    for (const auto& [of, stream] : streams_) {
      if (stream.found == Found::proven) ++rebuilt.streams;
      if (stream.found == Found::refused) rebuilt.refused.emplace_back(of, stream.why);
      if (stream.found == Found::gone) rebuilt.gone.push_back(of);
    }
    loop_.post([weak = std::weak_ptr(store_), rebuilt = std::move(rebuilt)] {
      const auto store = weak.lock();
      if (!store) return;
      store->rebuilt = rebuilt;
      store->read = true;
      store->settle(0);
    });
  }

  bool stopped() {
    const std::lock_guard lock(store_->mutex);
    return store_->stop;
  }

  // All of it once: to prove, or to store what was proven.
  Status pass(bool storing) {
    auto consumer = make_consumer(options_.bootstrap, options_.extra, talk_);
    if (!consumer) return consumer.error();
    Reading reading(consumer->get());
    std::set<std::pair<KafkaTopic, std::uint32_t>> places;
    left_ = 0;
    open_bytes_ = 0;
    for (auto& [of, stream] : streams_) {
      if (stream.found != (storing ? Found::proven : Found::reading)) continue;
      ++left_;
      stream.next = 1;
      stream.chain = chain_start(of);
      stream.voids = false;
      stream.rows.clear();
      places.insert({kafka_topic(of.stream), kafka_shard(of.run.node, options_.shards)});
    }
    for (const auto& [topic, partition] : places) {
      LANDFALL_TRY(reading.add(options_.prefix + "." + std::string(kafka_topic_suffix(topic)),
                               static_cast<std::int32_t>(partition)));
    }
    while (left_ > 0 && !reading.at_end()) {
      if (!room()) return unavailable("stopped");
      rd_kafka_poll(consumer->get(), 0);
      const auto message = reading.next();
      if (!message) return message.error();
      if (*message) take(**message, storing);
    }
    for (auto& [of, stream] : streams_) {
      if (storing) send(stream);
      const bool ended = storing && stream.next > stream.upto.last;
      if (stream.found == (storing ? Found::proven : Found::reading) && !ended) stream.found = Found::gone;
    }
    return ok();
  }

  // Waits for the log. False once it is to stop.
  bool room() {
    std::unique_lock lock(store_->mutex);
    store_->changed.wait(lock, [&] { return store_->stop || store_->waiting_bytes < kafka_rebuild_bytes_max; });
    return !store_->stop;
  }

  void take(const rd_kafka_message_t& message, bool storing) {
    read_headers(message, headers_);
    const auto id = std::ranges::find(headers_, "ce_id", [](const auto& header) { return header.first; });
    if (id == headers_.end()) return;
    const auto dot = parse_dot(id->second);
    if (!dot) return;
    const auto at = streams_.find({dot->run, dot->stream});
    if (at == streams_.end()) return;
    Track& stream = at->second;
    if (stream.found != (storing ? Found::proven : Found::reading) || stream.next > stream.upto.last) return;
    // A copy of a topic may say a thing twice, the chain tells what it is.
    if (dot->seq < stream.next) return;
    if (dot->seq > stream.next) return end(stream, Found::gone);
    const auto record = read_record(view(message.key, message.key_len), view(message.payload, message.len), headers_);
    if (!record) {
      stream.why = record.error();
      return end(stream, Found::refused);
    }
    const VoidEdges voids = void_edges(record->row);
    if (record->chain) {
      if (!stream.voids && !voids.before) {
        stream.why = {Code::conflict, to_string(*dot) + ": a chain of its own, and no void there"};
        return end(stream, Found::refused);
      }
      stream.chain = *record->chain;
    }
    stream.voids = voids.after;
    const Digest before = stream.chain;
    hasher_.extend_rows(stream.chain, record->row);
    ++stream.next;
    if (storing) return keep(at->first, stream, *record, before);
    if (record->seq < stream.upto.last) return;
    if (stream.chain == stream.upto.chain) return end(stream, Found::proven);
    stream.why = {Code::conflict, progress_key(at->first) + ": the events in kafka up to seq " +
                                      std::to_string(stream.upto.last) +
                                      " are not those that its progress record names"};
    end(stream, Found::refused);
  }

  static std::string_view view(const void* bytes, std::size_t size) {
    return {static_cast<const char*>(bytes), bytes == nullptr ? 0 : size};
  }

  void end(Track& stream, Found found) {
    stream.found = found;
    --left_;
  }

  void keep(const RunStream& of, Track& stream, const RecordedEvent& record, const Digest& before) {
    if (record.seq > stream.base) {
      if (record.chain) send(stream);
      ChunkHeader& open = stream.open;
      if (stream.rows.empty()) {
        open = {};
        open.of = of;
        open.first = record.seq;
        open.time_min = open.time_max = record.time;
        open.chain_before = before;
      }
      stream.rows += record.row;
      open_bytes_ += record.row.size();
      open.last = record.seq;
      open.time_min = std::min(open.time_min, record.time);
      open.time_max = std::max(open.time_max, record.time);
      open.chain_after = stream.chain;
      if (stream.rows.size() >= kafka_rebuild_chunk_bytes || open.count() == chunk_events_max) send(stream);
    }
    if (record.seq == stream.upto.last) {
      send(stream);
      --left_;
    }
    if (open_bytes_ < kafka_rebuild_bytes_max) return;
    for (auto& [name, other] : streams_) send(other);
  }

  void send(Track& stream) {
    if (stream.rows.empty()) return;
    auto chunk = std::make_shared<const std::string>(encode_chunk(stream.open, stream.rows));
    open_bytes_ -= stream.rows.size();
    stream.rows.clear();
    {
      const std::lock_guard lock(store_->mutex);
      store_->waiting_bytes += chunk->size();
    }
    loop_.post([weak = std::weak_ptr(store_), of = stream.open.of, count = stream.open.count(), chunk] {
      if (const auto store = weak.lock()) store->take(of, chunk, count, 0);
    });
  }

  Loop& loop_;
  std::shared_ptr<Store> store_;
  const RebuildOptions options_;
  KafkaTalk talk_;
  std::map<RunStream, Track> streams_;
  std::size_t left_ = 0, open_bytes_ = 0;
  ChainHasher hasher_;
  RecordHeaders headers_;
  std::thread thread_;
};

bool is_kept(Stream stream) {
  const KafkaTopic topic = kafka_topic(stream);
  return topic != KafkaTopic::telemetry && topic != KafkaTopic::blobs;
}

Rebuild::Rebuild(Loop& loop, Log& log, RebuildOptions options, std::function<void(Rebuilt)> done)
    : store_(std::make_shared<Store>(loop, log, std::move(done))) {
  for (const auto& [of, upto] : options.lacking) wanted_ += upto.last - std::min(upto.last, log.received().base(of));
  reader_ = std::make_unique<Reader>(loop, store_, std::move(options));
}
Rebuild::~Rebuild() = default;

std::uint64_t Rebuild::events() const { return store_->events; }
std::uint64_t Rebuild::wanted() const { return wanted_; }
std::string Rebuild::trouble() const {
  const std::lock_guard lock(store_->mutex);
  return store_->trouble;
}

}  // namespace landfall
