#include <algorithm>

#include "eventlog/log_impl.h"

// Own events: gathered during one turn of the loop, cut into chunks, hashed and compressed in a lane per stream, stored.

namespace landfall {
namespace {

// Shorter rows are hashed and encoded at once where the lane is idle: a trip to a worker costs more than the work.
constexpr std::size_t inline_rows_bytes = 4 << 10;
// Chunks of one stream in preparation or commit. Two keep the disk busy while small events gather behind them; more are
// only worth their index rows when they are large.
constexpr int small_chunks_max = 2, large_chunks_max = 4;
constexpr std::size_t large_rows_bytes = 64 << 10;

}  // namespace

struct LogImpl::OwnJob {
  Gathered gathered;
  std::size_t rows_bytes;
  ChunkHeader header;
  std::string bytes;
  StateDelta delta;
  std::shared_ptr<Lane> lane;

  void hash() {
    header.chain_before = lane->chain;
    lane->hasher.extend_rows(lane->chain, gathered.rows);
    header.chain_after = lane->chain;
  }
  void encode() {
    bytes = encode_chunk(header, gathered.rows);
    if (gathered.changes) {
      Result<StateDelta> made = make_state_delta(header.of, header.first, gathered.rows);
      LANDFALL_CHECK(made.ok());  // as check_change found
      delta = std::move(*made);
    }
    gathered.rows = std::string();
  }
};

void LogImpl::append(Stream stream, std::span<const Event> events, std::vector<Meta> meta, OnAppended done) {
  LANDFALL_CHECK(!events.empty());
  for (const Meta& m : meta) LANDFALL_CHECK(m.key.substr(0, 2) == "x/");
  accept(stream, events, std::move(meta), std::move(done));
}

void LogImpl::accept(Stream stream, std::span<const Event> events, std::vector<Meta> meta, OnAppended done) {
  Status status = failed_ ? Status(*failed_) : ok();
  if (status && pending_bytes_ > log_pending_bytes_max) {
    status = Error{Code::unavailable, "log: " + std::to_string(pending_bytes_ >> 20) + " MiB wait for the disk"};
  }
  if (status) status = encode(stream, events);
  if (!status) {
    return later([done = std::move(done), error = std::move(status).error()] { done(error); });
  }
  pending_bytes_ += scratch_.size();
  gather(stream, events, std::move(meta), std::move(done));
  flush_soon();
}

// All of the call or nothing: rows go to scratch_ first.
Status LogImpl::encode(Stream stream, std::span<const Event> events) {
  scratch_.clear();
  scratch_rows_.clear();
  const std::int64_t now = loop_.unix_ms();
  std::uint64_t seq = own_[static_cast<std::size_t>(stream)].next_seq;
  for (const Event& given : events) {
    Event event = given;
    event.time = clock_.tick(now);
    event.clock = options_.clock;
    LANDFALL_TRY(encode_row(event, scratch_));
    Result<std::size_t> state_bytes = check_change(event, seq++);
    if (!state_bytes) return std::move(state_bytes).error();
    const std::size_t before = scratch_rows_.empty() ? 0 : scratch_rows_.back().state_bytes;
    scratch_rows_.push_back({scratch_.size(), event.time, before + *state_bytes});
  }
  return ok();
}

void LogImpl::gather(Stream stream, std::span<const Event> events, std::vector<Meta> meta, OnAppended done) {
  OwnStream& own = own_[static_cast<std::size_t>(stream)];
  const Appended appended{{run_, stream, own.next_seq}, events.size()};
  std::size_t from = 0;    // bytes of scratch_ that are placed
  std::size_t placed = 0;  // of the call's state_bytes
  for (std::size_t i = 0; i < events.size();) {
    auto fits = [&](const Gathered& g, std::size_t rows) {
      const Row& last = scratch_rows_[i + rows - 1];
      return g.count + rows <= chunk_events_max && g.rows.size() + (last.end - from) <= chunk_rows_bytes_max &&
             g.state_bytes + (last.state_bytes - placed) <= chunk_state_bytes_max;
    };
    const std::size_t rest = events.size() - i;
    // A call is not split over two chunks where one can hold it.
    const bool whole_elsewhere = fits(Gathered(), rest);
    if (own.waiting.empty() || !fits(own.waiting.back(), 1) ||
        gate_.holds_own(stream, own.next_seq) != gate_.holds_own(stream, own.waiting.back().first) ||
        (whole_elsewhere && !fits(own.waiting.back(), rest))) {
      own.waiting.emplace_back().first = own.next_seq;
    }
    Gathered& g = own.waiting.back();
    std::size_t n = 1;
    while (n < rest && fits(g, n + 1)) ++n;
    for (std::size_t k = i; k < i + n; ++k) {
      g.subjects.add(events[k].subject);
      g.changes |= events[k].kind == Kind::change;
    }
    g.rows.append(scratch_, from, scratch_rows_[i + n - 1].end - from);
    g.time_min = std::min(g.time_min, scratch_rows_[i].time);
    g.time_max = scratch_rows_[i + n - 1].time;
    g.count += n;
    own.next_seq += n;
    from = scratch_rows_[i + n - 1].end;
    g.state_bytes += scratch_rows_[i + n - 1].state_bytes - placed;
    placed = scratch_rows_[i + n - 1].state_bytes;
    i += n;
  }
  Gathered& last = own.waiting.back();
  last.meta.insert(last.meta.end(), std::make_move_iterator(meta.begin()), std::make_move_iterator(meta.end()));
  last.endings.push_back({std::move(done), appended});
}

void LogImpl::flush_soon() {
  if (flush_posted_) return;
  flush_posted_ = true;
  later([this] {
    flush_posted_ = false;
    flush();
  });
}

void LogImpl::flush() {
  auto alive = alive_;
  for (std::size_t i = 0; i < stream_count && *alive; ++i) flush(static_cast<Stream>(i));
}

bool LogImpl::may_start(const OwnStream& own) const {
  if (own.waiting.empty()) return false;
  if (own.started < small_chunks_max) return true;
  const bool large = own.waiting.size() > 1 || own.waiting.front().rows.size() >= large_rows_bytes;
  return large && own.started < large_chunks_max;
}

void LogImpl::flush(Stream stream) {
  OwnStream& own = own_[static_cast<std::size_t>(stream)];
  auto alive = alive_;
  while (*alive && failed_ && !own.waiting.empty()) {
    Gathered gathered = std::move(own.waiting.front());
    own.waiting.pop_front();
    pending_bytes_ -= gathered.rows.size();
    complete(std::move(gathered.endings), *failed_);
  }
  while (*alive && may_start(own) && !gate_.holds_own(stream, own.waiting.front().first)) {
    Gathered gathered = std::move(own.waiting.front());
    own.waiting.pop_front();
    start(stream, std::move(gathered));
  }
}

void LogImpl::start(Stream stream, Gathered gathered) {
  auto job = std::make_shared<OwnJob>();
  job->header.of = {run_, stream};
  job->header.first = gathered.first;
  job->header.last = gathered.first + gathered.count - 1;
  job->header.time_min = gathered.time_min;
  job->header.time_max = gathered.time_max;
  job->rows_bytes = gathered.rows.size();
  job->gathered = std::move(gathered);
  job->lane = stream_state(job->header.of).lane;
  ++own_[static_cast<std::size_t>(stream)].started;
  if (job->lane->jobs++ == 0 && job->rows_bytes < inline_rows_bytes) {
    job->hash();
    job->encode();
    return finish_own(job);
  }
  // Two lanes, so that one chunk is hashed while the one before it is compressed; each keeps their order.
  loop_.work(
      job->lane->id, [job] { job->hash(); },
      [this, alive = alive_, job] {
        if (!*alive) return;
        loop_.work(
            job->lane->encoding_id, [job] { job->encode(); },
            [this, alive, job] {
              if (*alive) finish_own(job);
            });
      });
}

void LogImpl::finish_own(const std::shared_ptr<OwnJob>& job) {
  --job->lane->jobs;
  auto end = [this, of = job->header.of, rows_bytes = job->rows_bytes,
              endings = std::make_shared<std::vector<Ending>>(std::move(job->gathered.endings))](const Status& status) {
    --own_[static_cast<std::size_t>(of.stream)].started;
    pending_bytes_ -= rows_bytes;
    auto alive = alive_;
    complete(std::move(*endings), status);
    if (*alive) flush_soon();
  };
  if (failed_) return later([end = std::move(end), error = *failed_] { end(error); });
  Result<ChunkHeader> header = read_chunk_header(job->bytes);  // with what encoding decided
  LANDFALL_CHECK(header.ok());
  LANDFALL_CHECK(planned_.add(header->of, header->first, header->last).ok());
  // Our run's first event ends its parent here as it does at every other node: equal logs, equal contexts.
  std::optional<RunStart> run_start;
  if (header->of.stream == Stream::control && header->first == 1) run_start = runs_.find(run_)->start;
  submit({std::move(*header), std::move(job->bytes), std::move(job->gathered.subjects), std::move(job->gathered.meta),
          std::move(run_start), std::move(job->delta)},
         std::move(end));
}

void LogImpl::complete(std::vector<Ending> endings, const Status& status) {
  auto alive = alive_;
  for (Ending& ending : endings) {
    if (!*alive) return;
    ending.done(status.ok() ? Result<Appended>(ending.appended) : Result<Appended>(status.error()));
  }
}

}  // namespace landfall
