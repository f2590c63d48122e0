#include "cloudsync/hub/state_projector.h"

#include <librdkafka/rdkafka.h>

#include <set>

#include "cloudsync/hub/kafka_client.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view mark_key = "x/projected";
constexpr Stream shown_streams[] = {Stream::alarm, Stream::desired, Stream::reported, Stream::document};
constexpr Duration pass_wait = 50ms, mark_wait = 5s;
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

  Loop& loop;
  Log& log;
  ProjectorOptions options;
  KafkaTalk talk;
  KafkaClient producer;
  Log::Subscription subscription = 0;
  // Objects changed and not shown; those of `waiting` were looked at since committed() last advanced.
  std::map<ProjectedKey, std::set<std::pair<Stream, std::string>>> dirty;
  std::set<ProjectedKey> looked_at;
  Loop::Timer pass_timer = 0, mark_timer = 0;
  std::string marked;
  std::uint64_t written = 0, failures = 0;

  void soon(Duration wait = pass_wait) {
    if (pass_timer != 0) return;
    pass_timer = loop.after(wait, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->pass_timer = 0;
        self->pass();
      }
    });
  }

  void touch(Stream stream, const std::string& object) {
    auto key = options.key_of(stream, object);
    if (!key) return;
    looked_at.erase(*key);
    dirty[*key].insert({stream, object});
  }

  // Everything that is there, where it is not known what was written: a first start, a crash, a failed delivery.
  void touch_all() {
    for (const Stream stream : shown_streams) {
      for (std::string after;;) {
        const auto names = log.objects(stream, "", after, 1000);
        if (!names) return talk.say(names.error().detail);
        for (const auto& name : *names) touch(stream, name);
        if (names->size() < 1000) break;
        after = names->back();
      }
    }
    soon();
  }

  std::string context() const {
    ReceivedContext shown;
    for (const RunStream& of : log.received().streams()) {
      if ((shown_mask() >> static_cast<unsigned>(of.stream) & 1) != 0) shown.join(log.received().of_stream(of));
    }
    return shown.encode();
  }

  // The events behind every live entry are in Kafka.
  bool is_committed(const std::set<std::pair<Stream, std::string>>& objects) const {
    for (const auto& [stream, object] : objects) {
      const auto entries = log.state(stream, object);
      if (!entries) return false;
      for (const Entry& entry : *entries) {
        if (!options.committed().contains(entry.dot)) return false;
      }
    }
    return true;
  }

  void pass() {
    rd_kafka_poll(producer.get(), 0);
    if (const auto failed = talk.failures(); failed != failures) {
      failures = failed;
      marked.clear();
      touch_all();
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
    if (dirty.empty()) mark_later();
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
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) talk.say(at.key + ": " + rd_kafka_err2str(error));
    ++written;
    return true;
  }

  // What all records were made from, once all are delivered: the next start begins there.
  void mark_later() {
    if (mark_timer != 0) return;
    mark_timer = loop.after(mark_wait, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->mark_timer = 0;
      if (!self->dirty.empty()) return;
      rd_kafka_poll(self->producer.get(), 0);
      if (rd_kafka_outq_len(self->producer.get()) > 0) return self->mark_later();
      std::string now = self->context();
      if (now == self->marked || self->talk.failures() != self->failures) return;
      self->marked = now;
      self->log.put_meta({{std::string(mark_key), std::move(now)}}, [](const Status&) {});
    });
  }
};

Result<std::unique_ptr<StateProjector>> StateProjector::create(Loop& loop, Log& log, ProjectorOptions options) {
  auto state = std::make_shared<State>(loop, log, std::move(options));
  // No time limit: what cannot be delivered now is delivered when the broker is back.
  auto producer = make_producer(state->options.bootstrap, state->options.extra,
                                {{"enable.idempotence", "true"}, {"message.timeout.ms", "0"}}, state->talk);
  if (!producer) return std::move(producer).error();
  state->producer = std::move(*producer);
  state->subscription = log.watch(shown_mask(), [s = state.get()](const Log::Changed& changed) {
    for (const auto& object : changed.objects) s->touch(changed.range.of.stream, object);
    s->soon();
  });
  const auto mark = log.get_meta(mark_key);
  if (mark) state->marked = *mark;
  if (!mark || *mark != state->context()) state->touch_all();
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

std::size_t StateProjector::waiting() const { return state_->dirty.size(); }
std::uint64_t StateProjector::written() const { return state_->written; }

}  // namespace landfall
