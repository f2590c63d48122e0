#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "crdt/entry.h"
#include "crdt/received_context.h"
#include "eventlog/loop.h"
#include "eventlog/snapshot.h"
#include "eventlog/store.h"
#include "schemas/chunk.h"
#include "schemas/event.h"

namespace landfall {

struct LogOptions {
  NodeId node;
  std::string boot_id;  // of the machine, as the caller read it
  std::string software;
  ClockClass clock = ClockClass::synced;
  // Called every few thousand events, with their number so far, where open makes the state anew from the log: it was
  // written in an older form, or given up (forget_state).
  std::function<void(std::uint64_t)> rebuilding = {};
};

// A durable, append-only set of events, own and foreign, each named by its dot, stored as chunks.
//
// Invariants:
//   - an own stream's events have seqs 1..n without a gap; a foreign one may have gaps, which received() names;
//   - a dot names one row for ever: a second row under a known dot is `conflict`, never a merge;
//   - chunk, index, state and received context of one commit are one batch: never one without the others.
// Cutting is not identity: two replicas may hold the same events in different chunks.
//
// Loop thread only. The Loop and the Store must outlive the Log.
class Log {
 public:
  // Mints a new run, whose first event (stream control) names the parent run, its heads and whether the anchor proved a
  // loss, and reads what is needed to go on: cost is one seek per known (run, stream).
  // Errors: `corrupt` naming the first bad thing, `disk`.
  static Result<std::unique_ptr<Log>> open(Loop& loop, Store& store, LogOptions options);
  virtual ~Log() = default;

  // ---- writing

  struct Appended {
    Dot first;
    std::uint64_t count;
  };
  using OnAppended = std::function<void(Result<Appended>)>;
  // Names the events with the next own dots of `stream` and stores them, stamping HybridTime and clock class (those in
  // `events` are ignored). Copies what it needs before it returns. `done` runs on the loop once they are A1, in order
  // per stream and never inside this call: only then may anybody outside this node hear of them. `meta` rides in the
  // same batch as the last event, under the caller's own key prefix ("x/...").
  // Errors passed to `done`: `out_of_range` (no event of the call is stored), `unavailable` (log_pending_bytes_max),
  // `disk` (the log is finished until reopened).
  struct Meta {
    std::string key, value;
  };
  virtual void append(Stream stream, std::span<const Event> events, std::vector<Meta> meta, OnAppended done) = 0;
  void append(Stream stream, std::span<const Event> events, OnAppended done) {
    append(stream, events, {}, std::move(done));
  }

  using OnIngested = std::function<void(Status)>;
  // Stores a foreign chunk as received, after proving its rows, chain and fit with its neighbours; what is already here
  // is cut off, and a chunk that is here altogether completes at once. `done` runs when it is A1.
  // Errors passed to `done`: `corrupt` or `out_of_range` (the bytes), `conflict` (a dot with two contents: a fork),
  // `unavailable` (bounds), `disk`.
  virtual void ingest(std::string chunk, OnIngested done) = 0;

  // Deletes the chunks of `of` that end at or below `upto`, from the bottom: what they amount to stays in received() and in
  // the state, and the chain goes on from floor(of). Only for what the caller knows to be safe elsewhere (A3): nobody gets
  // those events from here again. What is left of a prune that was interrupted, a later one goes on with.
  // Errors passed to `done`: `out_of_range` where not every event up to `upto` is here, `corrupt`, `disk`.
  virtual void prune(const RunStream& of, std::uint64_t upto, std::function<void(Status)> done) = 0;
  // The last event of `of` that no chunk holds any more; 0 where none was pruned.
  virtual std::uint64_t floor(const RunStream& of) const = 0;

  // Own small facts beside the log ("x/..." keys), durable like events.
  virtual void put_meta(std::vector<Meta> meta, std::function<void(Status)> done) = 0;
  virtual Result<std::string> get_meta(std::string_view key) const = 0;

  // ---- reading: only what is A1

  virtual const ReceivedContext& received() const = 0;  // own runs included
  virtual const RunId& run() const = 0;                 // the open one
  virtual std::vector<RunId> runs() const = 0;          // all known, own and foreign, ordered
  virtual bool degraded() const = 0;  // the anchor proved a loss at open, or is missing: a restored backup

  struct StoredChunk {
    ChunkHeader header;
    std::string bytes;
  };
  // Chunks of one (run, stream) in order, from the one that holds `from` or the next after it, as stored: the first may
  // begin before `from`, or after it where it lies at or below floor(of). Stops once bytes_max is passed (at least one chunk comes if there is one).
  // Errors: `disk`, `corrupt`.
  virtual Result<std::vector<StoredChunk>> read(const RunStream& of, std::uint64_t from,
                                                std::size_t bytes_max) const = 0;

  // Calls `visit` for chunks whose index names `subject` (prefix match): per node and stream the newest first.
  using VisitChunk = std::function<bool(const StoredChunk&)>;
  virtual Status find(std::string_view subject_prefix, const VisitChunk& visit) const = 0;

  // ---- state: what all events of kind change amount to (crdt/state.h); rides in the batch of their chunk

  // What is live of one object of a stream; nothing for one that nobody wrote, or that was deleted. Errors: `disk`,
  // `corrupt`.
  virtual Result<Entries> state(Stream stream, std::string_view object) const = 0;
  // Names of objects with live entries that begin with `prefix` and come after `after`, ordered, at most `limit`.
  virtual Result<std::vector<std::string>> objects(Stream stream, std::string_view prefix, std::string_view after,
                                                   std::size_t limit) const = 0;
  // Of all live entries of a stream (state_digest.h): equal received contexts, equal digests. Costs a read of the objects
  // changed since it was last asked.
  virtual Result<Digest> state_digest(Stream stream) = 0;
  // Writes that are superseded and have not come.
  virtual std::size_t pending_supersedes() const = 0;

  // ---- snapshots (snapshot.h)

  // The state of `stream` as of received(). The same object until that changes, however many hold it; made by reading every
  // object of the stream. Errors: `unavailable` while events of the stream are missing below others, or superseded writes
  // have not come; `out_of_range` over snapshot_bytes_max; `disk`, `corrupt`.
  virtual Result<std::shared_ptr<const Snapshot>> snapshot(Stream stream) = 0;
  // Indices of parts that are not here yet, ascending.
  virtual std::vector<std::uint32_t> missing_parts(const SnapshotManifest& manifest) const = 0;
  // Keeps a part of a snapshot of `stream` for a later join, over restarts, under the name of its bytes; at most
  // snapshot_bytes_max per stream, beyond which those kept longest go. Errors passed to `done`: `corrupt` for what is no
  // part; `disk`.
  virtual void keep_part(Stream stream, std::string part, std::function<void(Status)> done) = 0;
  // Joins the snapshot: state, received context and floors in one batch, after what was appended and ingested before. The
  // kept parts of the stream go with it. Watchers hear of every object that changed, subscribers of every range that came.
  // The floor of a run that it brought rises to the snapshot's last event, or to where a chunk that is here above goes on.
  // Errors passed to `done`, nothing joined: `unavailable` where parts are missing; `corrupt` where parts and manifest do
  // not belong together or a chain contradicts a chunk that is here; `conflict` where it received events of our open run
  // that we never wrote; `out_of_range` where the received context would pass its bounds; `disk`.
  virtual void join(SnapshotManifest manifest, std::function<void(Status)> done) = 0;

  // ---- following

  struct Range {
    RunStream of;
    std::uint64_t first, last;
  };
  using Subscription = std::uint64_t;
  // `notify` runs on the loop after each commit, for every range that became A1 in a stream of `streams` (bit per
  // stream), own and foreign. Readers then use read().
  virtual Subscription subscribe(std::uint8_t streams, std::function<void(const Range&)> notify) = 0;
  // The same for changes of state: called once per committed chunk that held change events, with the names of the objects
  // they changed, ordered.
  struct Changed {
    Range range;
    std::vector<std::string> objects;
  };
  virtual Subscription watch(std::uint8_t streams, std::function<void(const Changed&)> notify) = 0;
  virtual void unsubscribe(Subscription subscription) = 0;

  // Bytes accepted by append and ingest and not yet A1.
  virtual std::size_t pending_bytes() const = 0;
};

// Log::find without opening the log: calls `visit` with each stored chunk that may hold an event whose subject begins with
// `subject_prefix`, ordered by run as this log met them, stream and seq, until it returns false. Errors: `disk`, `corrupt`;
// `not_found` where the index names a chunk that is not there.
Status find_chunks(const Store& store, std::string_view subject_prefix,
                   const std::function<bool(std::string_view)>& visit);

// What `landfall log verify` proves, without opening the log for writing.
struct VerifyReport {
  std::uint64_t runs = 0, chunks = 0, events = 0, bytes_stored = 0;
  std::map<RunStream, std::uint64_t> events_by_stream;
  std::vector<std::string> faults;  // first 100, each naming run, stream and seq
};
// Reads every chunk: rows, chain, neighbours, received context, run starts and anchor agree, and the state is what the
// chunks make it, byte for byte (of a stream with pruned chunks, as far as the others tell). `progress` is called every few thousand events with the number so far.
Result<VerifyReport> verify_log(const Store& store, const std::function<void(std::uint64_t)>& progress);

// Has the next open make the state anew from the log. No Log may have the store. Errors: `disk`; `unavailable` where chunks
// were pruned: only they could tell all of it.
Status forget_state(Store& store);

}  // namespace landfall
