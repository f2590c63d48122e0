#include "eventlog/log_impl.h"

// Chunks that nobody needs from here are deleted from the bottom; what they amount to stays.

namespace landfall {
namespace {

// Read, and deleted in one batch, before the loop turns again.
constexpr std::size_t chunks_per_step = 8;

}  // namespace

std::uint64_t LogImpl::floor(const RunStream& of) const {
  const auto at = floors_.find(of);
  return at == floors_.end() ? 0 : at->second.last;
}

void LogImpl::prune(const RunStream& of, std::uint64_t upto, std::function<void(Status)> done) {
  Status status = failed_ ? Status(*failed_) : ok();
  if (status && upto > received_.base(of))
    status = Error{Code::out_of_range, to_string(Dot{of.run, of.stream, upto}) + ": not all is here up to it"};
  if (!status) return later([done = std::move(done), status] { done(status); });
  later([this, of, upto, done = std::move(done)]() mutable { prune_step(of, upto, std::move(done)); });
}

// The floor rises in the batch that deletes what lies below it: whatever a crash leaves, the chunks begin above the floor.
void LogImpl::prune_step(const RunStream& of, std::uint64_t upto, std::function<void(Status)> done) {
  if (gate_.closed) {
    gate_.held.push_back([this, of, upto, done = std::move(done)]() mutable { prune_step(of, upto, std::move(done)); });
    return;
  }
  Batch batch;
  Floor floor;
  const RunTable::Run* run = failed_ ? nullptr : runs_.find(of.run);
  Status status = failed_ ? Status(*failed_) : ok();
  std::size_t chunks = 0;
  if (run != nullptr) {
    Status bad = ok();
    status = store_.scan(Table::chunks, layout::chunk_key(run->handle, of.stream, 0), Store::Order::forward,
                         [&](std::string_view key, std::string_view value) {
                           const auto at = layout::parse_chunk_key(key);
                           if (!at || at->handle != run->handle || at->stream != of.stream || at->last > upto)
                             return false;
                           bad = prune_chunk(key, value, batch, floor);
                           return bad.ok() && ++chunks < chunks_per_step;
                         });
    if (status) status = bad;
  }
  if (!status || chunks == 0) return done(status);
  batch.put(Table::meta, layout::floor_key(run->handle, of.stream), encode_floor(floor));
  ++submitted_;
  auto next = [this, alive = alive_, of, upto, done = std::move(done)](const Status& committed) mutable {
    if (!committed) return done(committed);
    prune_step(of, upto, std::move(done));
  };
  store_.commit(std::move(batch), [this, alive = alive_, of, floor, next = std::move(next)](Status committed) mutable {
    if (!*alive) return;
    if (committed) floors_[of] = floor;
    if (!committed && !failed_) failed_ = committed.error();
    tell_later({std::move(committed), std::move(next), {}, {}});
  });
}

Status LogImpl::prune_chunk(std::string_view key, std::string_view value, Batch& batch, Floor& floor) const {
  Result<DecodedChunk> chunk = decode_chunk(value);
  if (!chunk) return std::move(chunk).error().in("stored chunk " + to_hex(key));
  const ChunkHeader& header = chunk->header;
  SubjectSet subjects;
  RowReader reader(chunk->rows);
  for (std::string_view row = reader.next(); !row.empty(); row = reader.next()) {
    Result<Event> event = decode_row(row);
    if (!event) return std::move(event).error();
    subjects.add(event->subject);
  }
  const layout::Handle handle = runs_.find(header.of.run)->handle;
  if (subjects.overflowed()) batch.erase(Table::index, layout::index_key({}, handle, header.of.stream, header.last));
  if (!subjects.overflowed()) {
    for (const std::string& subject : subjects.names())
      batch.erase(Table::index, layout::index_key(subject, handle, header.of.stream, header.last));
  }
  batch.erase(Table::chunks, std::string(key));
  floor = {header.last, header.chain_after};
  return ok();
}

}  // namespace landfall
