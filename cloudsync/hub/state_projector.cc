#include "cloudsync/hub/state_projector.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <set>
#include <utility>

#include "cloudsync/hub/kafka_client.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view mark_key = "x/projected";
constexpr Stream shown_streams[] = {Stream::alarm, Stream::desired, Stream::reported, Stream::document};
constexpr Duration pass_wait = 50ms, mark_wait = 5s, retry_wait = 5s;
constexpr std::size_t catch_up_bytes = 256 << 10;
// Objects looked at in one turn of the loop.
constexpr std::size_t pass_objects_max = 256;

std::uint8_t shown_mask() {
  std::uint8_t mask = 0;
  for (const Stream stream : shown_streams) mask |= static_cast<std::uint8_t>(1u << static_cast<unsigned>(stream));
  return mask;
}

}  // namespace

struct StateProjector::State : std::enable_shared_from_this<State> {
  State(Loop& its_loop, Log& its_log, ProjectorOptions its_options)
      : loop(its_loop), log(its_log), options(std::move(its_options)) {}

  // Events that changed an object since it was shown.
  struct Span {
    std::uint64_t first, last;
  };
  using Causes = std::map<RunStream, Span>;

  Loop& loop;
  Log& log;
  ProjectorOptions options;
  KafkaTalk talk;
  KafkaClient producer;
  Log::Subscription subscription = 0;
  std::map<ProjectedKey, Causes> dirty;
  std::set<ProjectedKey> looked_at;  // of `dirty`: not committed when committed() last advanced
  ReceivedContext marked;            // all that these events amount to is delivered
  std::vector<Log::Range> unread;    // events beyond it whose objects are not in `dirty` yet, last first
  Loop::Timer pass_timer = 0, mark_timer = 0;
  std::uint64_t written = 0, failures = 0;
  std::string trouble;
  std::map<ProjectedKey, std::string> refused;  // records that no broker takes

  void soon(Duration wait = pass_wait) {
    if (pass_timer != 0) return;
    pass_timer = loop.after(wait, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->pass_timer = 0;
        self->pass();
      }
    });
  }

  void touch(const RunStream& of, std::string_view object, Span by) {
    auto key = options.key_of(of.stream, object);
    if (!key) return;
    looked_at.erase(*key);
    auto [at, fresh] = dirty[*key].try_emplace(of, by);
    if (fresh) return;
    at->second.first = std::min(at->second.first, by.first);
    at->second.last = std::max(at->second.last, by.last);
  }

  // What is live and was made by events that no chunk holds any more: they are in Kafka for long.
  void touch_live() {
    for (const Stream stream : shown_streams) {
      for (std::string after;;) {
        const auto names = log.objects(stream, "", after, 1000);
        if (!names) return talk.say(names.error().detail);
        for (const auto& name : *names) {
          if (auto key = options.key_of(stream, name)) dirty.try_emplace(std::move(*key));
        }
        if (names->size() < 1000) break;
        after = names->back();
      }
    }
  }

  // From the log, not from the state: what was deleted since has to have its tombstone.
  void catch_up() {
    unread.clear();
    bool pruned = false;
    for (const RunStream& of : log.received().streams()) {
      if ((shown_mask() >> static_cast<unsigned>(of.stream) & 1) == 0) continue;
      for (const auto& range : marked.missing(of, 1, log.received().max(of))) {
        pruned = pruned || range.first <= log.floor(of);
        unread.push_back({of, range.first, range.last});
      }
    }
    if (pruned) touch_live();
    soon();
  }

  // One slice of the log per turn.
  Status read_on() {
    Log::Range& range = unread.back();
    const auto chunks = log.read(range.of, range.first, catch_up_bytes);
    if (!chunks) return chunks.error();
    std::uint64_t last = range.last;
    for (const auto& chunk : *chunks) {
      last = chunk.header.last;
      if (chunk.header.first > range.last) break;
      const auto decoded = decode_chunk(chunk.bytes);
      if (!decoded) return decoded.error();
      RowReader rows(decoded->rows);
      for (std::uint64_t seq = chunk.header.first; seq <= chunk.header.last; ++seq) {
        const auto event = decode_row(rows.next());
        if (!event) return event.error();
        if (has_ops(event->kind) && seq >= range.first) touch(range.of, event->subject, {seq, seq});
      }
    }
    range.first = last + 1;
    if (range.first > range.last) unread.pop_back();
    return ok();
  }

  bool is_committed(const Causes& causes) const {
    return std::ranges::all_of(
        causes, [&](const auto& cause) { return options.committed().base(cause.first) >= cause.second.last; });
  }

  void pass() {
    rd_kafka_poll(producer.get(), 0);
    if (const auto failed = talk.failures(); failed != failures) {
      // Whatever it was, it is not to be met at full speed again.
      failures = failed;
      trouble = talk.last();
      catch_up();
      loop.cancel(std::exchange(pass_timer, 0));
      return soon(retry_wait);
    }
    if (!unread.empty()) {
      if (Status read = read_on(); !read) {
        trouble = read.error().detail;
        return soon(retry_wait);
      }
      return soon(Duration(0));
    }
    std::size_t looked = 0;
    bool full = false;
    for (auto at = dirty.begin(); at != dirty.end() && looked < pass_objects_max && !full;) {
      if (looked_at.contains(at->first)) {
        ++at;
        continue;
      }
      ++looked;
      if (!is_committed(at->second)) {
        looked_at.insert(at->first);
        ++at;
        continue;
      }
      full = !write(at->first);
      if (!full) at = dirty.erase(at);
    }
    if (dirty.size() > looked_at.size() || rd_kafka_outq_len(producer.get()) > 0)
      soon(full ? pass_wait : Duration(2ms));
    mark_later();
  }

  // False where the producer's queue is full.
  bool write(const ProjectedKey& at) {
    const auto shown = options.show(at);
    const std::string topic = state_topic(options.topic_prefix, at.topic);
    void* const value = shown ? const_cast<char*>(shown->data()) : nullptr;  // null: a tombstone
    const std::size_t bytes = shown ? shown->size() : 0;
    const auto error =
        rd_kafka_producev(producer.get(), RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
                          RD_KAFKA_V_KEY(at.key.data(), at.key.size()), RD_KAFKA_V_VALUE(value, bytes),
                          RD_KAFKA_V_HEADER("content-type", "application/json", 16),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) return false;
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
      refused[at] = topic + " " + at.key + ": " + rd_kafka_err2str(error);
      return true;
    }
    refused.erase(at);
    ++written;
    return true;
  }

  // All that is here but for what waits in `dirty`.
  ReceivedContext shown_so_far() const {
    std::map<RunStream, std::uint64_t> waiting;
    for (const auto& [key, causes] : dirty) {
      for (const auto& [of, span] : causes) {
        const auto at = waiting.try_emplace(of, span.first).first;
        at->second = std::min(at->second, span.first);
      }
    }
    ReceivedContext shown;
    for (const RunStream& of : log.received().streams()) {
      if ((shown_mask() >> static_cast<unsigned>(of.stream) & 1) == 0) continue;
      const auto first = waiting.find(of);
      std::uint64_t last = log.received().base(of);
      if (first != waiting.end()) last = std::min(last, first->second - 1);
      if (last > 0) LANDFALL_CHECK(shown.add(of, 1, last).ok());
    }
    return shown;
  }

  // What the records were made from, once they are delivered: the next start begins there.
  void mark_later() {
    if (mark_timer != 0) return;
    mark_timer = loop.after(mark_wait, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->mark_timer = 0;
      rd_kafka_poll(self->producer.get(), 0);
      if (rd_kafka_outq_len(self->producer.get()) > 0) return self->mark_later();
      if (!self->unread.empty() || self->talk.failures() != self->failures) return;
      self->trouble.clear();
      ReceivedContext now = self->shown_so_far();
      if (now == self->marked) return;
      self->marked = std::move(now);
      self->log.put_meta({{std::string(mark_key), self->marked.encode()}}, [](const Status&) {});
    });
  }
};

Result<std::unique_ptr<StateProjector>> StateProjector::create(Loop& loop, Log& log, ProjectorOptions options) {
  auto state = std::make_shared<State>(loop, log, std::move(options));
  // No time limit: what cannot be delivered now is delivered when the broker is back.
  auto producer = make_producer(state->options.bootstrap, state->options.extra,
                                {{"enable.idempotence", "true"},
                                 {"message.timeout.ms", "0"},
                                 {"message.max.bytes", std::to_string(kafka_state_bytes_max)}},
                                state->talk);
  if (!producer) return std::move(producer).error();
  state->producer = std::move(*producer);
  state->subscription = log.watch(shown_mask(), [s = state.get()](const Log::Changed& changed) {
    const auto& range = changed.range;
    for (const auto& object : changed.objects) s->touch(range.of, object, {range.first, range.last});
    s->soon();
  });
  if (const auto mark = log.get_meta(mark_key)) {
    if (auto marked = ReceivedContext::decode(*mark)) state->marked = std::move(*marked);
  }
  state->catch_up();
  return std::unique_ptr<StateProjector>(new StateProjector(std::move(state)));
}

StateProjector::StateProjector(std::shared_ptr<State> state) : state_(std::move(state)) {}

StateProjector::~StateProjector() {
  state_->log.unsubscribe(state_->subscription);
  state_->loop.cancel(state_->pass_timer);
  state_->loop.cancel(state_->mark_timer);
  rd_kafka_purge(state_->producer.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

void StateProjector::committed_advanced() {
  if (state_->dirty.empty()) return;
  state_->looked_at.clear();
  state_->soon();
}

std::size_t StateProjector::waiting() const { return state_->dirty.size() + state_->unread.size(); }
std::uint64_t StateProjector::written() const { return state_->written; }
std::string StateProjector::last_error() const {
  if (!state_->trouble.empty() || state_->refused.empty()) return state_->trouble;
  return state_->refused.begin()->second;
}

}  // namespace landfall
