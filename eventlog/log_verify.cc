#include <algorithm>

#include "eventlog/chain.h"
#include "eventlog/log_impl.h"
#include "eventlog/state_replay.h"

namespace landfall {
namespace {

constexpr std::size_t faults_max = 100;
constexpr std::uint64_t progress_events = 8192;
// Of the state, in memory at once: a larger one is compared in several readings of the log.
constexpr std::size_t replay_bytes_max = 256 << 20;

class Verifier {
 public:
  Verifier(const Store& store, const std::function<void(std::uint64_t)>& progress)
      : store_(store), progress_(progress) {}

  Result<VerifyReport> run() {
    if (Status loaded = runs_.load(store_); !loaded) fault(loaded.error().detail);
    Result<StoredContext> stored = load_context(store_, runs_);
    if (!stored) fault(stored.error().detail);
    Result<Floors> floors = load_floors(store_, runs_);
    if (!floors) fault(floors.error().detail);
    if (floors) floors_ = std::move(*floors);
    for (const auto& [of, floor] : floors_) {
      if (!rebuilt_.add(of, 1, floor.last)) fault(to_string(Dot{of.run, of.stream, floor.last}) + ": no floor");
    }
    LANDFALL_TRY(plan_replay());
    LANDFALL_TRY(
        store_.scan(Table::chunks, {}, Store::Order::forward, [this](std::string_view key, std::string_view value) {
          check_chunk(key, value);
          return true;
        }));
    for (const RunTable::Run* run : runs_.in_order()) check_run(*run);
    if (stored) check_context(stored->context);
    LANDFALL_TRY(check_state());
    LANDFALL_TRY(check_anchor());
    if (progress_) progress_(report_.events);
    return std::move(report_);
  }

 private:
  void fault(std::string text) {
    if (report_.faults.size() < faults_max) report_.faults.push_back(std::move(text));
  }

  void check_chunk(std::string_view key, std::string_view value) {
    auto at = layout::parse_chunk_key(key);
    const RunTable::Run* run = at ? runs_.find(at->handle) : nullptr;
    if (run == nullptr) return fault("chunk key " + to_hex(key) + ": names no known run");
    const RunStream of{run->id, at->stream};
    const std::string name = to_string(Dot{of.run, of.stream, at->last});
    report_.chunks += 1;
    report_.bytes_stored += value.size();
    Result<DecodedChunk> chunk = verify_chunk(value, hasher_);
    if (!chunk) return fault("chunk up to " + name + ": " + chunk.error().detail);
    const ChunkHeader& header = chunk->header;
    if (header.of != of || header.last != at->last)
      return fault("chunk up to " + name + ": lies under a key that is not its own");
    const VoidEdges voids = void_edges(chunk->rows);
    check_place(*run, header, voids);
    if (of.stream == Stream::control && header.first == 1) check_start(*run, *chunk);
    before_ = header;
    ends_in_voids_ = voids.after;
    if (replay_) replay(*chunk);
    if (Status added = rebuilt_.add(of, header.first, header.last); !added) fault(name + ": " + added.error().detail);
    report_.events_by_stream[of] += header.count();
    if ((report_.events + header.count()) / progress_events != report_.events / progress_events && progress_) {
      progress_(report_.events + header.count());
    }
    report_.events += header.count();
  }

  void check_place(const RunTable::Run& run, const ChunkHeader& header, const VoidEdges& voids) {
    const std::string name = to_string(Dot{header.of.run, header.of.stream, header.first});
    const bool follows = before_ && before_->of == header.of;
    const auto floor = follows ? floors_.end() : floors_.find(header.of);
    const std::uint64_t last = follows ? before_->last : floor != floors_.end() ? floor->second.last : 0;
    if (header.first <= last) return fault(name + ": in two chunks");
    if (header.first > last + 1) {
      if (run.opened_here && !lost_and_refilled(run))
        fault(name + ": seq " + std::to_string(last + 1) + " is missing before it");
      return;
    }
    // Parts of one range may have come as voids and as the changes themselves.
    if (voids.before || (follows && ends_in_voids_)) return;
    if ((follows && header.chain_before != before_->chain_after) ||
        (floor != floors_.end() && header.chain_before != floor->second.chain))
      fault(name + ": its chain does not join the chunk before");
  }

  // A later run that found a loss: the hub sends the tail back, in any order.
  bool lost_and_refilled(const RunTable::Run& run) const {
    for (const RunTable::Run* other : runs_.in_order()) {
      if (other->start && other->start->degraded && other->id.node == run.id.node) return true;
    }
    return false;
  }

  void check_start(const RunTable::Run& run, const DecodedChunk& chunk) {
    RowReader reader(chunk.rows);
    Result<Event> event = decode_row(reader.next());
    if (!event || event->kind != Kind::run_start) return fault(to_string(run.id) + ": does not begin with its start");
    if (!run.start || encode_run_start(*run.start) != event->payload)
      fault(to_string(run.id) + ": the run's row differs from its first event");
  }

  // The parent's heads that a run names are what the parent has.
  void check_run(const RunTable::Run& run) {
    report_.runs += 1;
    if (!run.start) return;
    const RunTable::Run* parent = runs_.find(run.start->parent);
    if (parent == nullptr) return;
    for (const RunStart::Head& head : run.start->parent_heads) {
      Result<std::string> bytes = store_.get(Table::chunks, layout::chunk_key(parent->handle, head.stream, head.last));
      Result<ChunkHeader> header = bytes ? read_chunk_header(*bytes) : Result<ChunkHeader>(bytes.error());
      const auto floor = floors_.find({parent->id, head.stream});
      const bool pruned = floor != floors_.end() && floor->second.last == head.last;
      if ((header && header->chain_after != head.chain) || (pruned && floor->second.chain != head.chain)) {
        fault(to_string(Dot{parent->id, head.stream, head.last}) + ": its chain is not what the next run names");
      }
    }
  }

  void check_context(const ReceivedContext& stored) {
    if (rebuilt_ == stored) return;
    std::size_t named = 0;
    for (const RunTable::Run* run : runs_.in_order()) {
      for (std::size_t i = 0; i < stream_count; ++i) {
        const RunStream of{run->id, static_cast<Stream>(i)};
        if (stored.encode_entry(of) == rebuilt_.encode_entry(of)) continue;
        fault(to_string(Dot{of.run, of.stream, stored.max(of)}) + ": received context up to here, chunks up to " +
              std::to_string(rebuilt_.max(of)));
        ++named;
      }
    }
    if (named == 0) fault("received context differs from the chunks");
  }

  // A state that is not of this form is made anew at the next open: there is nothing to compare.
  Status plan_replay() {
    Result<bool> current = state_is_current(store_);
    if (!current) return std::move(current).error();
    if (!*current) return ok();
    std::size_t bytes = 0;
    LANDFALL_TRY(
        store_.scan(Table::state, {}, Store::Order::forward, [&](std::string_view key, std::string_view value) {
          bytes += key.size() + value.size() + 64;
          return true;
        }));
    parts_ = 1 + bytes / replay_bytes_max;
    replay_.emplace(runs_, floors_, 0, parts_);
    return ok();
  }

  void replay(const DecodedChunk& chunk) {
    if (Status added = replay_->add(chunk.header, chunk.rows); !added)
      fault(to_string(Dot{chunk.header.of.run, chunk.header.of.stream, chunk.header.first}) + ": " +
            added.error().detail);
  }

  Status check_state() {
    if (!replay_) return ok();
    const auto named = [this](std::string text) { fault(std::move(text)); };
    LANDFALL_TRY(replay_->compare(store_, named));
    for (std::size_t part = 1; part < parts_; ++part) {
      replay_.emplace(runs_, floors_, part, parts_);
      LANDFALL_TRY(store_.scan(Table::chunks, {}, Store::Order::forward, [&](std::string_view, std::string_view value) {
        Result<DecodedChunk> chunk = decode_chunk(value);  // what is wrong with it was said
        if (chunk && runs_.find(chunk->header.of.run) != nullptr) replay(*chunk);
        return true;
      }));
      LANDFALL_TRY(replay_->compare(store_, named));
    }
    return ok();
  }

  Status check_anchor() {
    Result<std::vector<AnchorRecord>> anchors = store_.anchors();
    if (!anchors) {
      const bool new_node = store_.was_empty() && anchors.error().code == Code::not_found;
      if (!new_node)
        fault(anchors.error().detail + ": nothing proves that this log is whole (restored from a backup?)");
      return ok();
    }
    Result<std::vector<Loss>> losses = anchor_losses(store_, runs_, rebuilt_, *anchors);
    if (!losses) {
      fault(losses.error().detail);
      return ok();
    }
    for (const Loss& loss : *losses) fault("anchor: " + loss.what);
    return ok();
  }

  const Store& store_;
  const std::function<void(std::uint64_t)>& progress_;
  RunTable runs_;
  Floors floors_;
  ReceivedContext rebuilt_;
  std::optional<StateReplay> replay_;
  std::size_t parts_ = 1;
  ChainHasher hasher_;
  std::optional<ChunkHeader> before_;
  bool ends_in_voids_ = false;
  VerifyReport report_;
};

}  // namespace

Result<VerifyReport> verify_log(const Store& store, const std::function<void(std::uint64_t)>& progress) {
  return Verifier(store, progress).run();
}

}  // namespace landfall
