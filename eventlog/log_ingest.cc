#include <algorithm>

#include "eventlog/log_impl.h"
#include "schemas/varint.h"

// Foreign events: a chunk is proven in its stream's lane, fitted to what is here, and stored as received.

namespace landfall {
namespace {

constexpr std::size_t inline_rows_bytes = 4 << 10;

}  // namespace

struct LogImpl::IngestJob {
  std::string bytes;
  std::size_t counted;  // in pending_bytes_
  std::uint64_t number;
  OnIngested done;
  std::shared_ptr<Lane> lane;

  // Filled by prove().
  Status status = ok();
  DecodedChunk decoded;
  SubjectSet subjects;
  std::optional<RunStart> start;
  StateDelta delta;
  VoidEdges voids;
  HybridTime believed;  // highest stamp of a clock that may be believed
  ClockClass believed_class = ClockClass::untrusted;

  void prove() {
    Result<DecodedChunk> verified = verify_chunk(bytes, lane->hasher);
    if (!verified) {
      status = std::move(verified).error();
      return;
    }
    decoded = std::move(*verified);
    status = read_rows(decoded);
  }

  Status read_rows(const DecodedChunk& chunk) {
    RowReader reader(chunk.rows);
    StateDeltaMaker changes(chunk.header.of);
    for (std::uint64_t seq = chunk.header.first; seq <= chunk.header.last; ++seq) {
      Result<Event> event = decode_row(reader.next());
      if (!event) return std::move(event).error();
      subjects.add(event->subject);
      if (Status added = changes.add(seq, *event); !added)
        return std::move(added).error().in(to_string(Dot{chunk.header.of.run, chunk.header.of.stream, seq}));
      if (event->clock != ClockClass::untrusted && event->time > believed)
        believed = event->time, believed_class = event->clock;
      if (chunk.header.of.stream != Stream::control || seq != 1) continue;
      if (event->kind != Kind::run_start)
        return Error{Code::corrupt, to_string(chunk.header.of.run) + ": does not begin with its start"};
      Result<RunStart> run_start = decode_run_start(event->payload);
      if (!run_start) return std::move(run_start).error();
      start = std::move(*run_start);
    }
    delta = changes.take();
    voids = void_edges(chunk.rows);
    return ok();
  }
};

void LogImpl::ingest(std::string chunk, OnIngested done) {
  Result<ChunkHeader> header = failed_ ? Result<ChunkHeader>(*failed_) : read_chunk_header(chunk);
  Status status = header ? ok() : Status(header.error());
  if (status && pending_bytes_ > log_pending_bytes_max) {
    status = Error{Code::unavailable, "log: " + std::to_string(pending_bytes_ >> 20) + " MiB wait for the disk"};
  }
  if (!status) {
    return later([done = std::move(done), status] { done(status); });
  }
  auto job = std::make_shared<IngestJob>();
  job->counted = chunk.size();
  job->number = gate_.next_ingest++;
  job->bytes = std::move(chunk);
  job->done = std::move(done);
  job->lane = stream_state(header->of).lane;
  pending_bytes_ += job->counted;
  gate_.proving.insert(job->number);
  if (job->lane->jobs++ == 0 && header->rows_bytes < inline_rows_bytes) {
    job->prove();
    return admit(job);
  }
  loop_.work(
      job->lane->id, [job] { job->prove(); },
      [this, alive = alive_, job] {
        if (*alive) admit(job);
      });
}

// Takes what is new of a proven chunk. The lane's hasher is not used here: its next job may be running.
void LogImpl::admit(const std::shared_ptr<IngestJob>& job) {
  if (gate_.holds_ingest(job->number)) {
    gate_.held.push_back([this, job] { admit(job); });
    return;
  }
  --job->lane->jobs;
  gate_.proving.erase(job->number);
  if (gate_.closed) later([this] { join_if_ready(); });
  auto finish = [this, job](const Status& status) { finish_ingest(job, status); };
  auto refuse = [&](const Error& error) { later([finish, error] { finish(error); }); };
  if (failed_) return refuse(*failed_);
  if (!job->status) return refuse(job->status.error());
  Result<std::vector<Prepared>> parts = fit(*job);
  if (parts) {
    if (Status bounded = check_pending(*parts); !bounded) return refuse(bounded.error());
  }
  // A few hundred bytes on the wire may be 770 KiB of rows, and thousands of chunks may wait for one commit.
  job->decoded.rows = std::string();
  if (!parts) return refuse(parts.error());
  if (parts->empty()) {
    // Here already, or on its way: then it is A1 once all that was submitted before is.
    if (completed_ == submitted_) return later([finish] { finish(ok()); });
    waiters_.emplace(submitted_, [this, finish] { finish(failed_ ? Status(*failed_) : ok()); });
    return;
  }
  clock_.observe(job->believed, job->believed_class, loop_.unix_ms());
  struct Outcome {
    std::size_t left;
    Status status = ok();
  };
  auto outcome = std::make_shared<Outcome>(Outcome{parts->size()});
  auto part_done = [finish, outcome](const Status& status) {
    if (!status && outcome->status) outcome->status = status;
    if (--outcome->left == 0) finish(outcome->status);
  };
  for (Prepared& part : *parts) {
    Status added = planned_.add(part.header.of, part.header.first, part.header.last);
    if (!added)
      later([part_done, added] { part_done(added); });
    else
      submit(std::move(part), part_done);
  }
}

// The parts of the chunk that are not here: itself, or what is left of it, after checking that the rest is the same.
Result<std::vector<LogImpl::Prepared>> LogImpl::fit(IngestJob& job) {
  const ChunkHeader& header = job.decoded.header;
  std::vector<Prepared> parts;
  const auto missing = planned_.missing(header.of, header.first, header.last);
  const bool all_new = missing.size() == 1 && missing[0] == ReceivedContext::Range{header.first, header.last};
  if (!missing.empty() && header.of.run == run_) {
    return Error{Code::conflict,
                 to_string(Dot{run_, header.of.stream, missing[0].first}) +
                     ": a peer has events of our open run that we never wrote: two nodes run on one key"};
  }
  if (all_new) {
    LANDFALL_TRY(check_gap_before(header));
    LANDFALL_TRY(check_neighbours(header, job.voids));
    parts.push_back({header,
                     std::move(job.bytes),
                     std::move(job.subjects),
                     {},
                     std::move(job.start),
                     std::move(job.delta),
                     job.voids});
    return parts;
  }
  LANDFALL_TRY(check_overlap(header, job.voids));
  for (const auto& range : missing) {
    Result<std::string> cut = cut_chunk(job.bytes, range.first, range.last, hasher_);
    if (!cut) return std::move(cut).error();
    Result<ChunkHeader> cut_header = read_chunk_header(*cut);
    if (!cut_header) return std::move(cut_header).error();
    LANDFALL_TRY(check_gap_before(*cut_header));
    StateDelta delta;
    VoidEdges voids;
    if (!job.delta.empty()) {  // what is here of the chunk counts as any other event
      Result<DecodedChunk> rows = decode_chunk(*cut);
      if (!rows) return std::move(rows).error();
      voids = void_edges(rows->rows);
      Result<StateDelta> made = make_state_delta(header.of, range.first, rows->rows);
      if (!made) return std::move(made).error();
      delta = std::move(*made);
    }
    LANDFALL_TRY(check_neighbours(*cut_header, voids));
    parts.push_back({std::move(*cut_header),
                     std::move(*cut),
                     job.subjects,
                     {},
                     range.first == 1 ? job.start : std::nullopt,
                     std::move(delta),
                     voids});
  }
  return parts;
}

// A peer that leaves a gap before each event would make the row of its received context longer than the next open
// reads, and each commit slower than the one before. One that sends from the first gap on is never refused.
Status LogImpl::check_gap_before(const ChunkHeader& header) const {
  const RunStream& of = header.of;
  if (header.first == 1 || planned_.contains(Dot{of.run, of.stream, header.first - 1})) return ok();
  if (planned_.encode_entry(of).size() <= received_context_bytes_max / 8) return ok();
  return Error{Code::out_of_range, to_string(Dot{of.run, of.stream, header.first}) +
                                       ": too many gaps before it; send from seq " +
                                       std::to_string(planned_.base(of) + 1) + " on"};
}

// The chain at a seq covers every row up to it: where it is equal, all is equal. Inside a range of voids it says nothing of
// the changes that these stand for, which another peer may have sent.
Status LogImpl::check_overlap(const ChunkHeader& header, const VoidEdges& voids) {
  Result<std::optional<Digest>> known = chain_known_at(header.of, header.last);
  if (!known) return std::move(known).error();
  if (!*known || **known == header.chain_after || voids.after) return ok();
  Result<VoidEdges> here = voids_at(header.of, header.last);
  if (!here) return std::move(here).error();
  if (here->after) return ok();
  return Error{Code::conflict, to_string(Dot{header.of.run, header.of.stream, header.last}) +
                                   ": a second history under known dots (fork)"};
}

Status LogImpl::check_neighbours(const ChunkHeader& header, const VoidEdges& voids) {
  const RunStream& of = header.of;
  auto fork = [&](std::uint64_t seq) {
    return Error{Code::conflict,
                 to_string(Dot{of.run, of.stream, seq}) + ": its chain does not join what is here (fork)"};
  };
  if (header.first > 1 && planned_.contains(Dot{of.run, of.stream, header.first - 1}) && !voids.before) {
    Result<std::optional<Digest>> before = chain_known_at(of, header.first - 1);
    if (!before) return std::move(before).error();
    if (*before && **before != header.chain_before) {
      Result<VoidEdges> here = voids_at(of, header.first - 1);
      if (!here) return std::move(here).error();
      if (!here->after) return fork(header.first);
    }
  }
  if (voids.after || !planned_.contains(Dot{of.run, of.stream, header.last + 1})) return ok();
  for (const InFlight& f : stream_state(of).in_flight) {
    if (f.first == header.last + 1)
      return f.before == header.chain_after || f.voids.before ? ok() : Status(fork(f.first));
  }
  Result<std::optional<ChunkHeader>> after = holding(of, header.last + 1);
  if (!after) return std::move(after).error();
  if (!*after || (*after)->first != header.last + 1 || (*after)->chain_before == header.chain_after) return ok();
  Result<VoidEdges> there = voids_at(of, (*after)->last);
  if (!there) return std::move(there).error();
  return there->before ? ok() : Status(fork(header.last + 1));
}

// Of the chunk that ends at `seq`, or else whether seq itself lies inside a range of voids.
Result<VoidEdges> LogImpl::voids_at(const RunStream& of, std::uint64_t seq) const {
  const auto streams = streams_.find(of);
  if (streams != streams_.end()) {
    for (const InFlight& f : streams->second.in_flight) {
      if (f.last == seq) return f.voids;
    }
  }
  Result<std::optional<ChunkHeader>> header = holding(of, seq);
  if (!header) return std::move(header).error();
  if (!*header) return VoidEdges();
  Result<std::string> bytes =
      store_.get(Table::chunks, layout::chunk_key(runs_.find(of.run)->handle, of.stream, (*header)->last));
  if (!bytes) return std::move(bytes).error();
  Result<DecodedChunk> chunk = decode_chunk(*bytes);
  if (!chunk) return std::move(chunk).error();
  if ((*header)->last == seq) return void_edges(chunk->rows);
  RowReader reader(chunk->rows);
  std::string_view row;
  for (std::uint64_t s = (*header)->first; s <= seq; ++s) row = reader.next();
  std::string sized;
  append_varint(sized, row.size());
  return VoidEdges{false, void_edges(sized.append(row)).after};
}

// The chain after `seq` as far as it can be told: none for a seq that is not here or lies inside a chunk in flight.
Result<std::optional<Digest>> LogImpl::chain_known_at(const RunStream& of, std::uint64_t seq) {
  const StreamState& stream = stream_state(of);
  if (stream.newest && stream.newest->last == seq) return std::optional(stream.newest->after);
  // From the newest on: that is the one a chunk nearly always follows.
  for (auto f = stream.in_flight.rbegin(); f != stream.in_flight.rend(); ++f) {
    if (f->last == seq) return std::optional(f->after);
  }
  const auto floor = floors_.find(of);
  if (floor != floors_.end() && floor->second.last == seq) return std::optional(floor->second.chain);
  Result<std::optional<ChunkHeader>> header = holding(of, seq);
  if (!header) return std::move(header).error();
  if (!*header) return std::optional<Digest>();
  if ((*header)->last == seq) return std::optional((*header)->chain_after);
  Result<std::string> bytes =
      store_.get(Table::chunks, layout::chunk_key(runs_.find(of.run)->handle, of.stream, (*header)->last));
  if (!bytes) return std::move(bytes).error();
  Result<DecodedChunk> chunk = decode_chunk(*bytes);
  if (!chunk) return std::move(chunk).error();
  RowReader reader(chunk->rows);
  Digest chain = chunk->header.chain_before;
  for (std::uint64_t s = chunk->header.first; s <= seq; ++s) hasher_.extend(chain, reader.next());
  return std::optional(chain);
}

void LogImpl::finish_ingest(const std::shared_ptr<IngestJob>& job, const Status& status) {
  pending_bytes_ -= job->counted;
  job->done(status);
}

}  // namespace landfall
