#include "eventlog/voids.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "eventlog/state_delta.h"
#include "schemas/event.h"
#include "schemas/limits.h"
#include "schemas/op.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

// Rows of neighbouring chunks, and what becomes of them.
class Rows {
 public:
  Rows(const Log::StoredChunk& first, const MayVoid& may_void)
      : of_(first.header.of), next_(first.header.first), may_void_(may_void) {}

  // False, and nothing taken, where the chunk does not fit into the same one, or holds voids.
  Result<bool> add(const Log::StoredChunk& stored) {
    const ChunkHeader& header = stored.header;
    if (header.of != of_ || header.first != next_) return false;
    const bool fits =
        rows_.size() + header.count() <= chunk_events_max && bytes_ + header.rows_bytes <= chunk_rows_bytes_max;
    if (!rows_.empty() && !fits) return false;
    Result<DecodedChunk> decoded = decode_chunk(stored.bytes);
    if (!decoded) return std::move(decoded).error();
    const std::size_t before = rows_.size();
    std::size_t state_bytes = state_bytes_;
    const auto leave = [&] {
      rows_.resize(before);
      return false;
    };
    const std::string& kept = *decoded_.emplace_back(std::make_unique<std::string>(std::move(decoded->rows)));
    RowReader reader(kept);
    for (std::string_view row = reader.next(); !row.empty(); row = reader.next()) {
      Result<Event> event = decode_row(row);
      if (!event) return std::move(event).error();
      if (event->kind == Kind::voided) return leave();
      state_bytes += state_bytes_of(*event);
      if (before != 0 && state_bytes > chunk_state_bytes_max) return leave();
      const Dot dot{of_.run, of_.stream, next_ + rows_.size() - before};
      rows_.push_back({row, *event, event->kind == Kind::change && may_void_(dot, *event)});
    }
    state_bytes_ = state_bytes;
    next_ = header.last + 1;
    bytes_ += header.rows_bytes;
    return true;
  }

  std::size_t voids() const { return voids_; }  // written
  // None where no range is long enough.
  Result<std::optional<std::string>> write(Digest chain, ChainHasher& hasher) {
    ChunkHeader header;
    header.of = of_;
    header.first = next_ - rows_.size();
    header.last = next_ - 1;
    header.chain_before = chain;
    header.time_min = {~0ull};
    voids_ = 0;
    std::string out;
    for (std::size_t i = 0, end; i < rows_.size(); i = end) {
      Digest held = chain;  // by who has the range as voids
      for (end = i; end < rows_.size() && rows_[end].may == rows_[i].may; ++end) hasher.extend(chain, rows_[end].bytes);
      const bool range = rows_[i].may && end - i >= void_range_events_min;
      for (std::size_t k = i; k < end; ++k) {
        const HybridTime time = range ? rows_[i].event.time : rows_[k].event.time;
        header.time_min = std::min(header.time_min, time);
        header.time_max = std::max(header.time_max, time);
        if (range) {
          LANDFALL_TRY(write_void(rows_[k].event, time, k + 1 == end ? &chain : nullptr, held, hasher, out));
          ++voids_;
        } else {
          append_varint(out, rows_[k].bytes.size());
          out += rows_[k].bytes;
        }
      }
    }
    if (voids_ == 0) return std::optional<std::string>();
    header.chain_after = chain;
    return std::optional(encode_chunk(header, out));
  }

 private:
  struct Row {
    std::string_view bytes;
    Event event;
    bool may;
  };

  // A receiver refuses a chunk of more (limits.h).
  std::size_t state_bytes_of(const Event& event) const {
    std::size_t bytes = 0;
    if (event.kind != Kind::change) return bytes;
    OpReader reader(event.payload, of_.run);
    OpReader::View op;
    while (reader.next(op))
      bytes += (op.supersedes.size() + (op.value ? 1 : 0)) * state_row_bytes(event.subject, op.path);
    return bytes;
  }

  // The last of a range leads `held` to `after`.
  Status write_void(const Event& event, HybridTime time, const Digest* after, Digest& held, ChainHasher& hasher,
                    std::string& out) const {
    Result<std::vector<Op>> ops = decode_ops(event.payload, of_);
    if (!ops) return std::move(ops).error();
    for (Op& op : *ops) op.value.reset();
#ifdef LANDFALL_MUTANT_VOID_DROPS_SUPERSEDES  // tests/sim must notice
    for (Op& op : *ops) op.supersedes.clear();
#endif
    Result<std::string> payload = encode_ops(*ops, of_);
    if (!payload) return std::move(payload).error();
    Event made;
    made.time = time;
    made.clock = event.clock;
    made.kind = Kind::voided;
    made.subject = event.subject;
    made.device = event.device;
    made.payload = *payload;
    Digest mask{};
    if (after != nullptr) {
      made.chain = {reinterpret_cast<const char*>(mask.data()), mask.size()};
      std::string zeros;
      LANDFALL_TRY(encode_row(made, zeros));
      mask = hasher.chain_of_void(held, RowReader(zeros).next(), *after);
    }
    const std::size_t before = out.size();
    LANDFALL_TRY(encode_row(made, out));
    hasher.extend(held, RowReader(std::string_view(out).substr(before)).next());
    return ok();
  }

  const RunStream of_;
  std::uint64_t next_;
  const MayVoid& may_void_;
  std::vector<std::unique_ptr<std::string>> decoded_;  // what rows_ borrow from
  std::vector<Row> rows_;
  std::size_t bytes_ = 0, state_bytes_ = 0, voids_ = 0;
};

}  // namespace

Result<std::optional<Voided>> make_voids(std::span<const Log::StoredChunk> chunks, const MayVoid& may_void,
                                         ChainHasher& hasher) {
  Rows rows(chunks.front(), may_void);
  std::size_t taken = 0, bytes = 0;
  for (const Log::StoredChunk& chunk : chunks) {
    Result<bool> added = rows.add(chunk);
    if (!added) return std::move(added).error();
    if (!*added) break;
    ++taken;
    bytes += chunk.bytes.size();
  }
  if (taken == 0) return std::optional<Voided>();
  Result<std::optional<std::string>> made = rows.write(chunks.front().header.chain_before, hasher);
  if (!made) return std::move(made).error();
  if (!*made || (*made)->size() >= bytes) return std::optional<Voided>();
  Result<ChunkHeader> header = read_chunk_header(**made);
  LANDFALL_CHECK(header.ok());
  return std::optional(Voided{{*header, std::move(**made)}, taken, rows.voids()});
}

}  // namespace landfall
