#include "eventlog/log.h"

#include <algorithm>
#include <tuple>

#include "eventlog/log_impl.h"
#include "eventlog/state_replay.h"

namespace landfall {
namespace {

// Idle foreign streams are forgotten above this; their state is read again when it is needed.
constexpr std::size_t stream_states_max = 4096;

AnchorRecord anchor_record(const RunStream& of, std::uint64_t seq, const Digest& chain) {
  AnchorRecord record{of.run, of.stream, seq, {}};
  std::copy_n(chain.begin(), record.chain_prefix.size(), record.chain_prefix.begin());
  return record;
}

Result<ChunkHeader> header_of(std::string_view key, std::string_view value) {
  Result<ChunkHeader> header = read_chunk_header(value);
  if (!header) return std::move(header).error().in("stored chunk " + to_hex(key));
  return header;
}

}  // namespace

void SubjectSet::add(std::string_view subject) {
  if (subject.empty() || overflowed_ || (last_ < names_.size() && names_[last_] == subject)) return;
  for (last_ = 0; last_ < names_.size(); ++last_) {
    if (names_[last_] == subject) return;
  }
  if (names_.size() == index_subjects_per_chunk_max) {
    overflowed_ = true;
    return;
  }
  names_.emplace_back(subject);
}

Result<std::unique_ptr<Log>> Log::open(Loop& loop, Store& store, LogOptions options) {
  auto log = std::make_unique<LogImpl>(loop, store, std::move(options));
  if (Status status = log->open(); !status) return std::move(status).error().in("open log");
  return std::unique_ptr<Log>(std::move(log));
}

Result<std::vector<Loss>> anchor_losses(const Store& store, const RunTable& runs, const ReceivedContext& received,
                                        const std::vector<AnchorRecord>& anchors) {
  std::vector<Loss> losses;
  for (const AnchorRecord& record : anchors) {
    const Dot dot{record.run, record.stream, record.seq};
    if (!received.contains(dot)) {
      losses.push_back({record, to_string(dot) + " was acknowledged and is not here"});
      continue;
    }
    const RunTable::Run* run = runs.find(record.run);
    if (run == nullptr || record.chain_prefix == decltype(record.chain_prefix){}) continue;
    Result<std::string> chunk = store.get(Table::chunks, layout::chunk_key(run->handle, record.stream, record.seq));
    if (!chunk && chunk.error().code == Code::not_found) continue;  // cut elsewhere
    if (!chunk) return std::move(chunk).error();
    Result<ChunkHeader> header = header_of(to_string(dot), *chunk);
    if (!header) return std::move(header).error();
    if (!std::equal(record.chain_prefix.begin(), record.chain_prefix.end(), header->chain_after.begin())) {
      losses.push_back({record, to_string(dot) + " differs from what was acknowledged"});
    }
  }
  return losses;
}

// What the anchor proves: empty for nothing. `parent` becomes a run that only the anchor remembers, where there is one.
Result<std::string> LogImpl::find_loss(std::optional<RunId>& parent, bool& parent_lost) const {
  Result<std::vector<AnchorRecord>> anchors = store_.anchors();
  if (!anchors && anchors.error().code != Code::not_found && anchors.error().code != Code::corrupt)
    return std::move(anchors).error();
  if (!anchors && store_.was_empty()) return std::string();
  if (!anchors) {
    parent_lost = true;
    return "restored: " + anchors.error().detail + ", beside a log that is not empty";
  }
  for (const AnchorRecord& record : *anchors) {
    if (record.run.node == options_.node && runs_.find(record.run) == nullptr &&
        (!parent || record.run.counter > parent->counter)) {
      parent = record.run;
    }
  }
  Result<std::vector<Loss>> losses = anchor_losses(store_, runs_, received_, *anchors);
  if (!losses) return std::move(losses).error();
  if (losses->empty()) return std::string();
  for (const Loss& loss : *losses) parent_lost = parent_lost || (parent && loss.record.run == *parent);
  return "lost: " + losses->front().what +
         (losses->size() > 1 ? ", and " + std::to_string(losses->size() - 1) + " more streams" : "");
}

Status LogImpl::name_parent(const RunId& parent, RunStart& start) const {
  start.parent = parent;
  if (runs_.find(parent) == nullptr) return ok();
  for (std::size_t i = 0; i < stream_count; ++i) {
    const RunStream of{parent, static_cast<Stream>(i)};
    const layout::Handle handle = runs_.find(parent)->handle;
    Status bad = ok();
    LANDFALL_TRY(store_.scan(Table::chunks, layout::chunk_key(handle, of.stream, ~0ull), Store::Order::backward,
                             [&](std::string_view key, std::string_view value) {
                               auto at = layout::parse_chunk_key(key);
                               if (!at || at->handle != handle || at->stream != of.stream) return false;
                               Result<ChunkHeader> header = header_of(key, value);
                               if (!header)
                                 bad = std::move(header).error();
                               else
                                 start.parent_heads.push_back({of.stream, header->last, header->chain_after});
                               return false;
                             }));
    LANDFALL_TRY(bad);
    const auto floor = floors_.find(of);
    if (floor != floors_.end() && (start.parent_heads.empty() || start.parent_heads.back().stream != of.stream))
      start.parent_heads.push_back({of.stream, floor->second.last, floor->second.chain});
  }
  return ok();
}

Status LogImpl::open() {
  LANDFALL_TRY(runs_.load(store_));
  Result<StoredContext> stored = load_context(store_, runs_);
  if (!stored) return std::move(stored).error();
  clock_ = HybridClock(stored->clock);
  received_ = std::move(stored->context);
  Result<Floors> floors = load_floors(store_, runs_);
  if (!floors) return std::move(floors).error();
  floors_ = std::move(*floors);
  Result<bool> current = state_is_current(store_);
  if (!current) return std::move(current).error();
  state_version_due_ = store_.was_empty();
  if (*current) LANDFALL_TRY(pending_writes_.load(store_));
  LANDFALL_TRY(kept_.load(store_));
  if (!*current && !state_version_due_)
    LANDFALL_TRY(rebuild_state(store_, runs_, pending_writes_, options_.rebuilding));

  std::optional<RunId> parent;
  if (const RunTable::Run* last = runs_.last_opened_here()) parent = last->id;
  bool parent_lost = false;
  Result<std::string> loss = find_loss(parent, parent_lost);
  if (!loss) return std::move(loss).error();
  degraded_ = !loss->empty();

  run_ = {options_.node, 1, static_cast<std::uint32_t>(loop_.random())};
  if (parent) run_.counter = std::max(run_.counter, parent->counter + 1);
  for (const RunId& id : runs_.ids()) {
    if (id.node == run_.node) run_.counter = std::max(run_.counter, id.counter + 1);
  }
  RunStart start;
  start.boot_id = options_.boot_id;
  start.software = options_.software;
  start.clock = options_.clock;
  start.degraded = parent_lost;
  if (parent) LANDFALL_TRY(name_parent(*parent, start));
  runs_.add(run_, true);
  runs_.set_start(run_, start);
  planned_ = received_;
  LANDFALL_TRY(load_forks());

  Event first;
  first.kind = Kind::run_start;
  const std::string payload = encode_run_start(start);
  first.payload = payload;
  std::vector<Event> events{first};
  std::replace_if(
      loss->begin(), loss->end(), [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20; },
      '_');
  const std::string audit = "{\"audit\":\"degraded\",\"reason\":\"" + *loss + "\"}";
  if (degraded_) {
    Event event;
    event.kind = Kind::audit;
    event.payload = audit;
    events.push_back(event);
  }
  append(Stream::control, events, [](const Result<Appended>&) {});
  for (const RunId& id : runs_.parents()) note_fork(id);
  flush();  // before anything that the caller appends
  return ok();
}

Status LogImpl::load_forks() {
  return store_.scan(Table::meta, layout::fork_prefix, Store::Order::forward,
                     [this](std::string_view key, std::string_view) {
                       if (!key.starts_with(layout::fork_prefix)) return false;
                       if (const auto run = layout::parse_fork_key(key)) forks_.insert(*run);
                       return true;
                     });
}

// Both histories are stored. That there are two is for people to know: somebody cloned a disk or went back to a backup.
void LogImpl::note_fork(const RunId& run) {
  const std::string reason = forks_.contains(run) ? std::string() : runs_.fork(planned_, run);
  if (reason.empty()) return;
  forks_.insert(run);
  const std::string audit = "{\"audit\":\"fork\",\"run\":\"" + to_string(run) + "\",\"reason\":\"" + reason + "\"}";
  Event event;
  event.kind = Kind::audit;
  event.payload = audit;
  accept(Stream::control, {&event, 1}, {{layout::fork_key(run), {}}}, [this, run](const Result<Appended>& noted) {
    if (!noted) forks_.erase(run);  // the next chunk of the run, or the next open, tries again
  });
}

LogImpl::StreamState& LogImpl::stream_state(const RunStream& of) {
  auto at = streams_.find(of);
  if (at != streams_.end()) return at->second;
  if (streams_.size() >= stream_states_max) {
    std::erase_if(streams_, [this](const auto& s) {
      return s.first.run != run_ && s.second.lane->jobs == 0 && s.second.in_flight.empty();
    });
  }
  StreamState& fresh = streams_[of];
  fresh.lane = std::make_shared<Lane>();
  fresh.lane->id = next_lane_++;
  fresh.lane->encoding_id = next_lane_++;
  if (of.run == run_) fresh.lane->chain = chain_start(of);
  return fresh;
}

void LogImpl::later(std::function<void()> task) {
  loop_.post([alive = alive_, task = std::move(task)] {
    if (*alive) task();
  });
}

// One chunk, its index rows, the received context that it makes true, the callers' facts and the anchor: one batch.
void LogImpl::submit(Prepared prepared, std::function<void(Status)> done) {
  const ChunkHeader& header = prepared.header;
  const RunStream& of = header.of;
  Batch batch;
  const RunTable::Run* run = runs_.find(of.run);
  const bool fresh = run == nullptr || of == RunStream{run_, Stream::control};
  if (run == nullptr) run = &runs_.add(of.run, false);
  if (prepared.start) runs_.set_start(of.run, *prepared.start);
  if (fresh || prepared.start) batch.put(Table::meta, layout::run_key(run->handle), RunTable::encode(*run));

  const std::string value = layout::index_value(header);
  if (prepared.subjects.overflowed()) {
    batch.put(Table::index, layout::index_key({}, run->handle, of.stream, header.last), value);
  } else {
    for (const std::string& subject : prepared.subjects.names()) {
      batch.put(Table::index, layout::index_key(subject, run->handle, of.stream, header.last), value);
    }
  }
#ifdef LANDFALL_MUTANT_CONTEXT_AHEAD_OF_STATE  // tests/sim must notice
  Batch ahead;
  add_context_row(of, ahead);
  store_.commit(std::move(ahead), [](const Status&) {});
#else
  add_context_row(of, batch);
#endif
  const bool settles = pending_writes_.count(of, header.first, header.last) > 0;
  if (settles) ++settling_[static_cast<std::size_t>(of.stream)];
#ifdef LANDFALL_MUTANT_STATE_IN_ANOTHER_BATCH  // tests/eventlog must notice
  Batch later_state;
  ObjectCache::Changes changes = change_state(header, prepared.delta, later_state);
#else
  ObjectCache::Changes changes = change_state(header, prepared.delta, batch);
#endif
  if (std::exchange(state_version_due_, false))
    batch.put(Table::meta, std::string(layout::state_version_key), std::string(layout::state_version));
  for (Meta& meta : prepared.meta) batch.put(Table::meta, std::move(meta.key), std::move(meta.value));

  const std::uint64_t base = planned_.base(of);
  if (base == header.last)
    batch.anchors.push_back(anchor_record(of, header.last, header.chain_after));
  else if (base > 0)
    batch.anchors.push_back(anchor_record(of, base, Digest{}));  // a gap was filled: the chain there is another chunk's

  batch.put(Table::chunks, layout::chunk_key(run->handle, of.stream, header.last), std::move(prepared.bytes));
  note_fork(of.run);
  if (prepared.start) note_fork(prepared.start->parent);
  stream_state(of).in_flight.push_back(
      {header.first, header.last, header.chain_before, header.chain_after, prepared.voids});
  ++submitted_;
  auto complete = [this, alive = alive_, header, settles, objects = std::move(prepared.delta.objects),
                   changes = std::move(changes), done = std::move(done)](Status status) mutable {
    if (!*alive) return;
    committed(header, status);
    const auto stream = static_cast<std::size_t>(header.of.stream);
    if (settles) --settling_[stream];
    std::vector<Range> ranges;
    if (status) {
      ranges.push_back({header.of, header.first, header.last});
      cache_.apply(header.of.stream, objects, std::move(changes));
      digests_[stream].changed(objects);
      snapshots_[stream].reset();
    }
    tell_later({std::move(status), std::move(done), std::move(ranges), std::move(objects), header.of.stream});
  };
#ifdef LANDFALL_MUTANT_ACK_BEFORE_COMMIT  // tests/sim must notice
  later([complete]() mutable { complete(ok()); });
  store_.commit(std::move(batch), [](const Status&) {});
#else
  store_.commit(std::move(batch), std::move(complete));
#endif
#ifdef LANDFALL_MUTANT_STATE_IN_ANOTHER_BATCH
  store_.commit(std::move(later_state), [](const Status&) {});
#endif
}

// planned_ has the new range already.
void LogImpl::add_context_row(const RunStream& of, Batch& batch) const {
  std::string value;
  layout::append_u64_le(value, clock_.last().value);
  batch.put(Table::meta, layout::context_key(runs_.find(of.run)->handle, of.stream), value + planned_.encode_entry(of));
}

void LogImpl::committed(const ChunkHeader& header, const Status& status) {
  StreamState& stream = stream_state(header.of);
  auto at = std::find_if(stream.in_flight.begin(), stream.in_flight.end(),
                         [&](const InFlight& f) { return f.last == header.last; });
  LANDFALL_CHECK(at != stream.in_flight.end());
  if (status.ok()) {
    stream.newest = *at;
    LANDFALL_CHECK(received_.add(header.of, header.first, header.last).ok());
  } else if (!failed_) {
    failed_ = status.error();
  }
  stream.in_flight.erase(at);
}

void LogImpl::tell_later(Finished finished) {
  finished_.push_back(std::move(finished));
  if (tell_posted_) return;
  tell_posted_ = true;
  later([this] {
    tell_posted_ = false;
    tell();
  });
}

void LogImpl::tell() {
  auto alive = alive_;
  while (*alive && !finished_.empty()) {
    Finished finished = std::move(finished_.front());
    finished_.pop_front();
    ++completed_;
    finished.done(finished.status);
    for (std::size_t i = 0; *alive && i < finished.ranges.size(); ++i)
      notify(subscribers_, finished.stream, finished.ranges[i]);
    if (*alive && finished.status && !finished.objects.empty()) {
      const Range range = finished.ranges.empty() ? Range{{{}, finished.stream}, 0, 0} : finished.ranges.front();
      notify(watchers_, finished.stream, Changed{range, std::move(finished.objects)});
    }
    if (*alive) release_waiters();
    if (*alive) join_if_ready();
  }
}

void LogImpl::release_waiters() {
  while (!waiters_.empty() && waiters_.begin()->first <= completed_) {
    auto task = std::move(waiters_.begin()->second);
    waiters_.erase(waiters_.begin());
    auto alive = alive_;
    task();
    if (!*alive) return;
  }
}

template <class What>
void LogImpl::notify(const Followers<What>& followers, Stream stream, const What& what) {
  std::vector<Subscription> ids;
  for (const auto& [id, follower] : followers) {
    if ((follower.first >> static_cast<int>(stream) & 1) != 0) ids.push_back(id);
  }
  auto alive = alive_;
  for (Subscription id : ids) {
    auto at = followers.find(id);
    if (at == followers.end()) continue;
    auto call = at->second.second;  // may unsubscribe itself
    (*call)(what);
    if (!*alive) return;
  }
}

Log::Subscription LogImpl::subscribe(std::uint8_t streams, std::function<void(const Range&)> notify) {
  subscribers_[next_subscription_] = {streams, std::make_shared<std::function<void(const Range&)>>(std::move(notify))};
  return next_subscription_++;
}

void LogImpl::put_meta(std::vector<Meta> meta, std::function<void(Status)> done) {
  Batch batch;
  for (Meta& m : meta) {
    LANDFALL_CHECK(m.key.substr(0, 2) == "x/");
    batch.put(Table::meta, std::move(m.key), std::move(m.value));
  }
  if (failed_) return later([done = std::move(done), error = *failed_] { done(error); });
  ++submitted_;
  store_.commit(std::move(batch), [this, alive = alive_, done = std::move(done)](Status status) {
    if (!*alive) return;
    if (!status && !failed_) failed_ = status.error();
    tell_later({std::move(status), std::move(done), {}, {}});
  });
}

Result<std::string> LogImpl::get_meta(std::string_view key) const {
  LANDFALL_CHECK(key.substr(0, 2) == "x/");
  return store_.get(Table::meta, key);
}

Result<std::vector<Log::StoredChunk>> LogImpl::read(const RunStream& of, std::uint64_t from,
                                                    std::size_t bytes_max) const {
  std::vector<StoredChunk> chunks;
  const RunTable::Run* run = runs_.find(of.run);
  if (run == nullptr) return chunks;
  std::size_t bytes = 0;
  Status bad = ok();
  LANDFALL_TRY(store_.scan(Table::chunks, layout::chunk_key(run->handle, of.stream, from), Store::Order::forward,
                           [&](std::string_view key, std::string_view value) {
                             auto at = layout::parse_chunk_key(key);
                             if (!at || at->handle != run->handle || at->stream != of.stream) return false;
                             Result<ChunkHeader> header = header_of(key, value);
                             if (!header) return bad = std::move(header).error(), false;
                             if (!received_.contains(of, header->first, header->last)) return true;
                             bytes += value.size();
                             chunks.push_back({std::move(*header), std::string(value)});
                             return bytes < bytes_max;
                           }));
  LANDFALL_TRY(bad);
  return chunks;
}

Status LogImpl::find(std::string_view subject_prefix, const VisitChunk& visit) const {
  using Place = std::tuple<RunId, Stream, std::uint64_t>;
  std::vector<Place> places;
  auto collect = [&](std::string_view prefix, bool whole) {
    return store_.scan(Table::index, prefix, Store::Order::forward, [&](std::string_view key, std::string_view) {
      if (key.substr(0, prefix.size()) != prefix) return false;
      auto row = layout::parse_index_key(key);
      const RunTable::Run* run = row && (!whole || row->subject.empty()) ? runs_.find(row->chunk.handle) : nullptr;
      if (run != nullptr) places.emplace_back(run->id, row->chunk.stream, row->chunk.last);
      return true;
    });
  };
  LANDFALL_TRY(collect(std::string_view("\0", 1), true));  // chunks of many subjects
  LANDFALL_TRY(collect(subject_prefix, false));
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    const auto& [id, stream, last] = *place;
    Result<std::string> bytes = store_.get(Table::chunks, layout::chunk_key(runs_.find(id)->handle, stream, last));
    if (!bytes && bytes.error().code == Code::not_found && last <= floor({id, stream})) continue;
    if (!bytes) return std::move(bytes).error();
    Result<ChunkHeader> header = header_of("of the index", *bytes);
    if (!header) return std::move(header).error();
    if (!received_.contains(header->of, header->first, header->last)) continue;
    if (!visit({std::move(*header), std::move(*bytes)})) break;
  }
  return ok();
}

// The stored chunk that holds `seq`, if any.
Result<std::optional<ChunkHeader>> LogImpl::holding(const RunStream& of, std::uint64_t seq) const {
  std::optional<ChunkHeader> found;
  const RunTable::Run* run = runs_.find(of.run);
  if (run == nullptr) return found;
  Status bad = ok();
  LANDFALL_TRY(store_.scan(Table::chunks, layout::chunk_key(run->handle, of.stream, seq), Store::Order::forward,
                           [&](std::string_view key, std::string_view value) {
                             auto at = layout::parse_chunk_key(key);
                             if (!at || at->handle != run->handle || at->stream != of.stream) return false;
                             Result<ChunkHeader> header = header_of(key, value);
                             if (!header)
                               bad = std::move(header).error();
                             else if (header->first <= seq)
                               found = std::move(*header);
                             return false;
                           }));
  LANDFALL_TRY(bad);
  return found;
}

}  // namespace landfall
