#include "edgeruntime/mqtt/ingest.h"

#include <uv.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "edgeruntime/mqtt/capture.h"
#include "edgeruntime/mqtt/deaf_clients.h"
#include "edgeruntime/mqtt/dedupe_window.h"
#include "edgeruntime/mqtt/ring.h"
#include "schemas/chunk.h"
#include "schemas/text.h"

namespace landfall {
namespace {

// One drain hands the log at most this much, and so many may wait for A1: enough to go on at 100,000 messages a second
// where a sync takes 100 ms, as it does on a busy disk.
constexpr std::size_t drain_events_max = chunk_events_max;
constexpr std::size_t drain_bytes_max = chunk_rows_bytes_max / 8 * 7;  // most drains are one chunk then
constexpr std::size_t drains_max = 8;
// Far below log_pending_bytes_max: an append of ours is never refused for want of room.
constexpr std::size_t log_pending_bytes_busy = log_pending_bytes_max / 4;
// Between drains of messages that wait for nobody. Fewer and larger commits: less flash wear, less work per message.
constexpr std::chrono::milliseconds pause_between_drains{10};
constexpr int idle_pauses_before_sleep = 5;

std::string position_key(Stream stream) { return "x/ring/" + std::string(to_string(stream)); }
std::string request_key(std::size_t slot) { return "x/ring/request/" + std::to_string(slot); }

std::string encode_position(std::uint64_t generation, std::uint64_t position) {
  std::string value(16, '\0');
  std::memcpy(value.data(), &generation, 8);
  std::memcpy(value.data() + 8, &position, 8);
  return value;
}

struct Position {
  std::uint64_t generation = 0, end = 0;
};
Position read_position(const Log& log, const std::string& key) {
  Position position;
  const auto value = log.get_meta(key);
  if (!value.ok() || value->size() != 16) return {};
  std::memcpy(&position.generation, value->data(), 8);
  std::memcpy(&position.end, value->data() + 8, 8);
  return position;
}

bool is_text(std::string_view payload) {
  // find_first_of calls memchr for each character: that was 8 % of the time. is_clean_text stops at the first break.
  const auto is_break = [](char c) { return c == '\n' || c == '\r' || c == '\t'; };
  while (!is_clean_text(payload)) {
    const auto end = std::find_if(payload.begin(), payload.end(), is_break);
    const auto line = payload.substr(0, static_cast<std::size_t>(end - payload.begin()));
    if (line.size() == payload.size()) return false;
    if (!is_clean_text(line)) return false;
    payload.remove_prefix(line.size() + 1);
  }
  return true;
}

std::string_view guess_content_type(std::string_view payload) {
  constexpr std::string_view space = " \t\r\n";
  const auto first = payload.find_first_not_of(space);
  if (first == payload.npos || !is_text(payload)) return {};
  const char begin = payload[first], end = payload[payload.find_last_not_of(space)];
  if ((begin == '{' && end == '}') || (begin == '[' && end == ']')) return "application/json";
  return "text/plain";
}

// Lengths, tags and what else a row has beside its values take 29 bytes at most.
std::size_t row_bytes_at_most(const Event& event) {
  return event.subject.size() + event.content_type.size() + event.source.size() + event.id.size() +
         event.device.size() + event.payload.size() + 32;
}

// Where few events have a name, the window is not looked for through the whole log: no message is taken meanwhile.
constexpr std::size_t rebuild_events_max = 16 * dedupe_window_events;

struct Named {
  HybridTime time;
  DedupeWindow::Hash name;
};

// Calls `visit` for the events from..last of one (run, stream).
template <class Visit>
Status each_event(const Log& log, const RunStream& of, std::uint64_t from, std::uint64_t last, const Visit& visit) {
  while (from <= last) {
    auto chunks = log.read(of, from, 1 << 20);
    if (!chunks.ok()) return std::move(chunks).error();
    if (chunks->empty()) break;
    for (const auto& stored : *chunks) {
      auto chunk = decode_chunk(stored.bytes);
      if (!chunk.ok()) return std::move(chunk).error();
      RowReader rows(chunk->rows);
      for (auto row = rows.next(); !row.empty(); row = rows.next()) {
        auto event = decode_row(row);
        if (event.ok()) visit(*event);
      }
      from = stored.header.last + 1;
    }
  }
  return ok();
}

// Names of the newest events of the node's own runs, oldest first: as they were added before the restart.
Status rebuild(DedupeWindow& window, const Log& log) {
  std::vector<Named> found;
  std::size_t read = 0;
  const auto runs = log.runs();
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    if (found.size() >= dedupe_window_events || read >= rebuild_events_max) break;
    if (run->node != log.run().node) continue;
    for (const Stream stream : {Stream::alarm, Stream::telemetry}) {
      const RunStream of{*run, stream};
      const std::uint64_t last = log.received().base(of);
      const std::uint64_t from = last > dedupe_window_events ? last - dedupe_window_events + 1 : 1;
      LANDFALL_TRY(each_event(log, of, from, last, [&](const Event& event) {
        ++read;
        if (!event.id.empty()) found.push_back({event.time, window.hash(event.source, event.id)});
      }));
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const Named& a, const Named& b) { return a.time < b.time; });
  const std::size_t surplus = found.size() > dedupe_window_events ? found.size() - dedupe_window_events : 0;
  for (std::size_t i = surplus; i < found.size(); ++i) window.add(found[i].name);
  return ok();
}

}  // namespace

struct MqttIngest::State : std::enable_shared_from_this<MqttIngest::State> {
  State(UvLoop& l, Log& g, MqttIngestOptions o)
      : loop(l), log(g), options(std::move(o)), window({l.random(), l.random()}) {}

  struct Drain {
    std::uint64_t end;
    std::size_t left;  // appends and requests that are not done, and one while it is read
    bool retained;
  };
  // Where the position of one request is stored. Another one may have it once the tail is behind the record: until then
  // what is stored there tells the next edge to skip it.
  struct Slot {
    std::uint64_t end = 0;  // of the record, 0: free
    bool is_handed_over = false;
  };

  UvLoop& loop;
  Log& log;
  MqttIngestOptions options;
  std::unique_ptr<RingReader> ring;
  DedupeWindow window;
  uv_poll_t* poll = nullptr;  // freed by its close callback
  Loop::Timer timer = 0;
  int idle_pauses = 0;
  bool failed = false;

  std::uint64_t stored_generation = 0;
  std::array<std::uint64_t, stream_count> stored_before{};  // of stored_generation: below is in the log
  std::array<Slot, mqtt_requests_max> slots;
  std::size_t slots_taken = 0;
  std::optional<RingReader::Record> held;  // read, but there was no slot for it
  std::set<std::uint64_t> done_before;     // ends of requests of stored_generation that are dealt with
  DeafClients deaf;
  std::deque<Drain> drains;
  bool reading = false;
  std::array<std::vector<Event>, stream_count> events;        // views into the ring; empty between drains
  std::array<std::vector<std::uint64_t>, stream_count> ends;  // of their records
  std::deque<std::string> devices;                            // that are no part of their topic as it is
  Metrics counts;

  Status start();
  void turn();
  bool drain();
  bool take(const RingReader::Record& record, Drain& drain);
  void take_event(const RingReader::Record& record, const CapturedMessage& message);
  void hand_over(const RingReader::Record& record, const CapturedMessage& message);
  void on_done(std::uint64_t drain, std::size_t slot);
  std::string_view device_of(std::string_view topic);
  void append(Stream stream);
  void on_appended(std::uint64_t drain, Result<Log::Appended> result);
  void finish_one(std::uint64_t drain);
  void release();
  std::uint64_t position() const { return held ? held->position : ring->position(); }  // where reading goes on
  bool is_held_up() const { return held && slots_taken == slots.size(); }
  bool is_full() const { return drains.size() >= drains_max || is_held_up(); }
  void rest(bool drained);
  void report(const Error& error) {
    if (options.on_error) options.on_error(error);
  }

  std::uint64_t drains_begun = 0;  // index of drains.back() plus one; drains.front() is drains_begun - drains.size()
};

Result<std::unique_ptr<MqttIngest>> MqttIngest::open(UvLoop& loop, Log& log, MqttIngestOptions options) {
  auto state = std::make_shared<State>(loop, log, std::move(options));
  LANDFALL_TRY(state->start());
  return std::unique_ptr<MqttIngest>(new MqttIngest(std::move(state)));
}

MqttIngest::MqttIngest(std::shared_ptr<State> state) : state_(std::move(state)) {}

MqttIngest::~MqttIngest() {
  state_->failed = true;
  state_->loop.cancel(state_->timer);
  uv_poll_stop(state_->poll);
  uv_close(reinterpret_cast<uv_handle_t*>(state_->poll),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
}

Status MqttIngest::State::start() {
  if (auto rebuilt = rebuild(window, log); !rebuilt.ok())
    return std::move(rebuilt).error().in("names for deduplication");
  auto opened = RingReader::open({options.ring, options.wake_socket, loop.random(), options.bytes});
  if (!opened.ok()) return std::move(opened).error();
  ring = std::move(*opened);
  stored_generation = ring->generation();
  for (std::size_t i = 0; i < stream_count; ++i) {
    const auto position = read_position(log, position_key(static_cast<Stream>(i)));
    if (position.generation == stored_generation) stored_before[i] = position.end;
  }
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const auto position = read_position(log, request_key(i));
    if (position.generation != stored_generation || position.end <= ring->position()) continue;
    slots[i].end = position.end;
    ++slots_taken;
    done_before.insert(position.end);
  }
  poll = new uv_poll_t;
  poll->data = this;
  LANDFALL_CHECK(uv_poll_init(loop.handle(), poll, ring->wake_fd()) == 0);
  uv_poll_start(poll, UV_READABLE, [](uv_poll_t* handle, int, int) {
    auto* self = static_cast<State*>(handle->data);
    self->loop.new_turn();
    self->ring->clear_wakes();
    self->turn();
  });
  timer = loop.after(Duration(0), [this] { timer = 0, turn(); });
  return ok();
}

void MqttIngest::State::turn() {
  if (failed) return;
  const std::uint64_t before = drains_begun;
  // A drain that met its bounds left records behind. After any other the rest can wait for the pause to end.
  while (!is_full() && log.pending_bytes() < log_pending_bytes_busy && drain()) {}
  rest(drains_begun != before);
}

// While drains or requests are at their bound, the completion of one brings the next turn.
void MqttIngest::State::rest(bool drained) {
  loop.cancel(timer);
  timer = 0;
  if (is_full()) return;
  if (drained) idle_pauses = 0;
  const bool busy = log.pending_bytes() >= log_pending_bytes_busy || !drains.empty();
  if (!busy && ++idle_pauses > idle_pauses_before_sleep) {
    if (ring->announce(RingReader::Rest::sleep)) return;
    timer = loop.after(Duration(0), [this] { timer = 0, turn(); });
    return;
  }
  const bool may_pause = ring->announce(RingReader::Rest::pause) || log.pending_bytes() >= log_pending_bytes_busy;
  timer = loop.after(may_pause ? Duration(pause_between_drains) : Duration(0), [this] { timer = 0, turn(); });
}

// Reads once through what is there, up to the bounds, and appends it. True where it met the bounds.
bool MqttIngest::State::drain() {
  const std::uint64_t from = position();
  drains.push_back({from, 1, false});
  const std::uint64_t index = drains_begun++;
  reading = true;
  std::size_t count = 0;
  while (count < drain_events_max && position() - from < drain_bytes_max && !is_held_up()) {
    auto record = held ? Result<std::optional<RingReader::Record>>(std::exchange(held, std::nullopt)) : ring->next();
    if (!record.ok()) {
      ++counts.corrupt;
      report(record.error());
      break;
    }
    if (!record->has_value()) break;
    if (take(**record, drains.back())) ++count;
  }
  const std::uint64_t end = drains.back().end = position();
  if (end == from) {
    drains.pop_back();
    --drains_begun;
    reading = false;
    return false;
  }
  for (std::size_t i = 0; i < stream_count; ++i) {
    if (!events[i].empty()) append(static_cast<Stream>(i));
  }
  devices.clear();
  finish_one(index);
  reading = false;
  return count == drain_events_max || end - from >= drain_bytes_max;
}

// True where somebody has work from the record.
bool MqttIngest::State::take(const RingReader::Record& record, Drain& now) {
  auto message = decode_captured(record.body);
  if (!message.ok() || !is_storable(*message)) {
    ++counts.corrupt;
    report(message.ok() ? Error{Code::corrupt, "ring record cannot be an event: is the plugin of this version?"}
                        : message.error());
    return false;
  }
  const bool is_known_generation = ring->generation() == stored_generation;
  const bool is_event = message->outcome == Outcome::event;
  if (!is_event || (options.is_request && options.is_request(*message))) {
    if (is_known_generation && done_before.contains(record.end)) {
      ++counts.skipped;
      return false;
    }
    if (slots_taken == slots.size()) {
      held = record;
      return false;
    }
    if (is_event && !message->id.empty() && !window.add(message->source, message->id)) {
      ++counts.duplicates;
      return false;
    }
    deaf.note(*message);
    now.retained |= message->retained;
    hand_over(record, *message);
    return true;
  }
  if (is_known_generation && record.end <= stored_before[static_cast<std::size_t>(message->stream)]) {
    ++counts.skipped;
    return false;
  }
  if (!message->id.empty() && !window.add(message->source, message->id)) {
    ++counts.duplicates;
    return false;
  }
  now.retained |= message->retained;
  take_event(record, *message);
  return true;
}

void MqttIngest::State::take_event(const RingReader::Record& record, const CapturedMessage& message) {
  Event event;
  event.kind = message.kind;
  event.retained = message.retained;
  event.subject = message.topic;
  event.content_type = message.content_type.empty() ? guess_content_type(message.payload) : message.content_type;
  event.source = message.source;
  event.id = message.id;
  event.device = device_of(message.topic);
  event.payload = message.payload;
  const auto stream = static_cast<std::size_t>(message.stream);
  events[stream].push_back(event);
  ends[stream].push_back(record.end);
}

// Of most topics a part of the topic itself.
std::string_view MqttIngest::State::device_of(std::string_view topic) {
  constexpr std::string_view own = "landfall/";
  if (topic.starts_with(own)) {
    const auto level = topic.substr(own.size(), topic.find('/', own.size()) - own.size());
    if (level.find('%') == level.npos) return level;
  } else if (!topic.starts_with('$')) {
    return {};
  }
  auto parsed = parse_device_topic(topic);
  return parsed ? std::string_view(devices.emplace_back(std::move(parsed->device))) : std::string_view();
}

void MqttIngest::State::hand_over(const RingReader::Record& record, const CapturedMessage& message) {
  const bool is_request = !is_notice(message.outcome);
  const auto& handler = is_request ? options.on_request : options.on_notice;
  if (!handler) return;
  ++(is_request ? counts.requests : counts.notices);
  std::size_t slot = 0;
  while (slots[slot].end != 0) ++slot;
  slots[slot] = {record.end, true};
  ++slots_taken;
  ++drains.back().left;
  handler(message, {{request_key(slot), encode_position(ring->generation(), record.end)}},
          [weak = weak_from_this(), drain = drains_begun - 1, slot] {
            const auto self = weak.lock();
            if (self && !self->failed) self->on_done(drain, slot);
          });
}

void MqttIngest::State::on_done(std::uint64_t drain, std::size_t slot) {
  LANDFALL_CHECK(std::exchange(slots[slot].is_handed_over, false));
  finish_one(drain);
}

// In calls that one chunk holds: the log makes a longer one durable in parts, and the position rides with the last of
// them. Killed between the two, the next edge would take the first part from the ring again.
void MqttIngest::State::append(Stream stream) {
  const auto index = static_cast<std::size_t>(stream);
  const std::span<const Event> all = events[index];
  const std::uint64_t drain = drains_begun - 1;
  for (std::size_t from = 0; from < all.size();) {
    std::size_t to = from, bytes = 0;
    for (; to < all.size(); ++to) {
      bytes += row_bytes_at_most(all[to]);
      if (bytes > chunk_rows_bytes_max && to > from) break;
    }
    const std::uint64_t count = to - from;
    ++drains.back().left;
    log.append(stream, all.subspan(from, count),
               {{position_key(stream), encode_position(ring->generation(), ends[index][to - 1])}},
               [weak = weak_from_this(), drain, count](Result<Log::Appended> result) {
                 const auto self = weak.lock();
                 if (!self || self->failed) return;
                 if (result.ok()) self->counts.captured += count;
                 self->on_appended(drain, std::move(result));
               });
    from = to;
  }
  events[index].clear();
  ends[index].clear();
}

void MqttIngest::State::on_appended(std::uint64_t drain, Result<Log::Appended> result) {
  // Disk: the log is finished until the process restarts, and nothing more is taken from the ring or acknowledged. The
  // other codes cannot come: take() checked the limits, turn() the room. Stopping keeps what is in the ring either way.
  if (!result.ok()) {
    failed = true;
    report(std::move(result).error().in("captured messages"));
    return;
  }
  finish_one(drain);
}

void MqttIngest::State::finish_one(std::uint64_t drain) {
  const std::uint64_t front = drains_begun - drains.size();
  LANDFALL_CHECK(drain >= front && drains[drain - front].left > 0);
  --drains[drain - front].left;
  const bool was_full = is_full();
  release();
  if (was_full && !is_full() && !reading) turn();
}

void MqttIngest::State::release() {
  bool retained = false, released = false;
  std::uint64_t end = 0;
  for (; !drains.empty() && drains.front().left == 0; drains.pop_front()) {
    end = drains.front().end;
    retained |= drains.front().retained;
    released = true;
  }
  if (released) {
    if (slots_taken != 0) {
      for (auto& slot : slots) {
        if (slot.end == 0 || slot.end > end) continue;
        slot = {};
        --slots_taken;
      }
    }
    ring->release(end);
  }
  if (retained && options.on_retained) options.on_retained();
}

std::vector<std::string> MqttIngest::deaf_clients(std::string_view device) const {
  return state_->deaf.of_device(device);
}
std::vector<std::pair<std::string, std::vector<std::string>>> MqttIngest::deaf_clients() const {
  return state_->deaf.all();
}

MqttIngest::Metrics MqttIngest::metrics() const {
  Metrics all = state_->counts;
  const auto& ring = *state_->ring;
  const auto written = ring.counts();
  all.refused_full = written.refused_full;
  all.refused_size = written.refused_size;
  all.refused_invalid = written.refused_invalid;
  all.refused_access = written.refused_access;
  all.ring_used_bytes = ring.used_bytes();
  all.ring_bytes = ring.bytes();
  all.oldest_ms = ring.oldest_ms();
  all.window_names = state_->window.size();
  all.control_version = ring.control_version();
  all.deaf_clients = state_->deaf.size();
  all.broker_attached = ring.writer_alive();
  return all;
}

}  // namespace landfall
