#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "eventlog/chain.h"
#include "eventlog/digest_ranges.h"
#include "eventlog/floors.h"
#include "eventlog/join_gate.h"
#include "eventlog/kept_parts.h"
#include "eventlog/log.h"
#include "eventlog/object_cache.h"
#include "eventlog/pending_writes.h"
#include "eventlog/run_table.h"
#include "eventlog/state_delta.h"
#include "eventlog/subject_set.h"

// The one implementation of Log, spread over log.cc (open, read, follow), log_append.cc, log_ingest.cc,
// log_prune.cc, log_state.cc, log_snapshot.cc and log_join.cc. Private.

namespace landfall {

class LogImpl final : public Log {
 public:
  LogImpl(Loop& loop, Store& store, LogOptions options) : loop_(loop), store_(store), options_(std::move(options)) {}
  ~LogImpl() override { *alive_ = false; }
  Status open();

  using Log::append;
  void append(Stream stream, std::span<const Event> events, std::vector<Meta> meta, OnAppended done) override;
  void ingest(std::string chunk, OnIngested done) override;
  void prune(const RunStream& of, std::uint64_t upto, std::function<void(Status)> done) override;
  std::uint64_t floor(const RunStream& of) const override;
  void put_meta(std::vector<Meta> meta, std::function<void(Status)> done) override;
  Result<std::string> get_meta(std::string_view key) const override;

  const ReceivedContext& received() const override { return received_; }
  const RunId& run() const override { return run_; }
  std::vector<RunId> runs() const override { return runs_.ids(); }
  bool degraded() const override { return degraded_; }
  Result<std::vector<StoredChunk>> read(const RunStream& of, std::uint64_t from, std::size_t bytes_max) const override;
  Status find(std::string_view subject_prefix, const VisitChunk& visit) const override;

  Result<Entries> state(Stream stream, std::string_view object) const override;
  Result<std::vector<std::string>> objects(Stream stream, std::string_view prefix, std::string_view after,
                                           std::size_t limit) const override;
  Result<Digest> state_digest(Stream stream) override;
  std::size_t pending_supersedes() const override { return pending_writes_.size(); }

  Result<std::shared_ptr<const Snapshot>> snapshot(Stream stream) override;
  std::vector<std::uint32_t> missing_parts(const SnapshotManifest& manifest) const override;
  void keep_part(Stream stream, std::string part, std::function<void(Status)> done) override;
  void join(SnapshotManifest manifest, std::function<void(Status)> done) override;

  Subscription subscribe(std::uint8_t streams, std::function<void(const Range&)> notify) override;
  Subscription watch(std::uint8_t streams, std::function<void(const Changed&)> notify) override;
  void unsubscribe(Subscription subscription) override {
    subscribers_.erase(subscription);
    watchers_.erase(subscription);
  }
  std::size_t pending_bytes() const override { return pending_bytes_; }

 private:
  // State that the jobs of one (run, stream) carry from one to the next. While jobs > 0 only the running job touches
  // hasher and chain.
  struct Lane {
    Loop::Lane id, encoding_id;
    ChainHasher hasher;
    Digest chain{};  // own streams: after the last event handed to the lane
    int jobs = 0;
  };
  struct InFlight {
    std::uint64_t first, last;
    Digest before, after;
    VoidEdges voids;
  };
  struct StreamState {
    std::shared_ptr<Lane> lane;
    std::deque<InFlight> in_flight;  // given to the store and not yet A1
    std::optional<InFlight> newest;  // the last that became A1: most chunks follow it
  };

  struct Ending {  // of one call, inside a chunk
    OnAppended done;
    Appended appended;
  };
  struct Gathered {  // what waits to become one own chunk
    std::string rows;
    std::uint64_t first = 0, count = 0;
    HybridTime time_min{~0ull}, time_max;
    SubjectSet subjects;
    bool changes = false;  // holds change events
    std::size_t state_bytes = 0;
    std::vector<Meta> meta;
    std::vector<Ending> endings;
  };
  struct OwnStream {
    std::uint64_t next_seq = 1;
    std::deque<Gathered> waiting;
    int started = 0;  // chunks in preparation or commit
  };
  struct Prepared {  // a chunk with all that goes into its batch
    ChunkHeader header;
    std::string bytes;
    SubjectSet subjects;
    std::vector<Meta> meta;
    std::optional<RunStart> start;  // the chunk holds its run's first event
    StateDelta delta;
    VoidEdges voids = {};
  };
  // A commit that is through, and what is to be told of it.
  struct Finished {
    Status status;
    std::function<void(Status)> done;
    std::vector<Range> ranges;  // that became A1, of one stream
    std::vector<std::string> objects;
    Stream stream = Stream::control;  // of both
  };
  template <class What>
  using Followers = std::map<Subscription, std::pair<std::uint8_t, std::shared_ptr<std::function<void(const What&)>>>>;
  struct OwnJob;
  struct IngestJob;
  struct JoinWork;

  // log.cc
  StreamState& stream_state(const RunStream& of);
  Result<std::optional<ChunkHeader>> holding(const RunStream& of, std::uint64_t seq) const;
  Result<std::string> find_loss(std::optional<RunId>& parent, bool& parent_lost) const;
  Status name_parent(const RunId& parent, RunStart& start) const;
  void submit(Prepared prepared, std::function<void(Status)> done);
  void add_context_row(const RunStream& of, Batch& batch) const;
  Status load_forks();
  void note_fork(const RunId& run);
  void committed(const ChunkHeader& header, const Status& status);
  void tell_later(Finished finished);
  void tell();
  template <class What>
  void notify(const Followers<What>& followers, Stream stream, const What& what);
  void release_waiters();
  void later(std::function<void()> task);

  // log_append.cc
  struct Row {
    std::size_t end;  // in scratch_
    HybridTime time;
    std::size_t state_bytes;  // from the call's first row to here
  };
  void accept(Stream stream, std::span<const Event> events, std::vector<Meta> meta, OnAppended done);
  Status encode(Stream stream, std::span<const Event> events);
  void gather(Stream stream, std::span<const Event> events, std::vector<Meta> meta, OnAppended done);
  bool may_start(const OwnStream& own) const;
  void flush_soon();
  void flush();
  void flush(Stream stream);
  void start(Stream stream, Gathered gathered);
  void finish_own(const std::shared_ptr<OwnJob>& job);
  void complete(std::vector<Ending> endings, const Status& status);

  // log_ingest.cc
  void admit(const std::shared_ptr<IngestJob>& job);
  Result<std::vector<Prepared>> fit(IngestJob& job);
  Status check_gap_before(const ChunkHeader& header) const;
  Status check_overlap(const ChunkHeader& header, const VoidEdges& voids);
  Status check_neighbours(const ChunkHeader& header, const VoidEdges& voids);
  Result<VoidEdges> voids_at(const RunStream& of, std::uint64_t seq) const;
  Result<std::optional<Digest>> chain_known_at(const RunStream& of, std::uint64_t seq);
  void finish_ingest(const std::shared_ptr<IngestJob>& job, const Status& status);

  // log_prune.cc
  void prune_step(const RunStream& of, std::uint64_t upto, std::function<void(Status)> done);
  Status prune_chunk(std::string_view key, std::string_view value, Batch& batch, Floor& floor) const;

  // log_snapshot.cc
  Status snapshot_may_be_made(Stream stream) const;
  Result<std::map<RunId, Digest>> chains_of(const ReceivedContext& received);

  // log_join.cc
  void begin_join();
  void join_if_ready();
  void run_join();
  void end_join(const Status& status);
  Status prepare_join(const SnapshotManifest& manifest, JoinWork& work);
  Status join_run(const RunStream& of, const SnapshotManifest& manifest, JoinWork& work);
  Status drop_chunks(const RunStream& of, std::uint64_t upto, Batch& batch) const;
  void put_join(const SnapshotManifest& manifest, JoinWork& work);
  void joined(const JoinWork& work);

  // log_state.cc
  Result<std::size_t> check_change(const Event& event, std::uint64_t own_seq) const;
  Status check_pending(const std::vector<Prepared>& parts) const;
  ObjectCache::Changes change_state(const ChunkHeader& header, StateDelta& delta, Batch& batch);

  Loop& loop_;
  Store& store_;
  LogOptions options_;
  RunId run_;
  RunTable runs_;
  HybridClock clock_;
  bool degraded_ = false;
  std::optional<Error> failed_;  // the store's first failure: the log is finished

  ReceivedContext received_;  // what is A1
  ReceivedContext planned_;   // with what was given to the store: the next batch carries this
  std::set<RunId> forks_;     // runs whose two histories are in the audit, or on their way there
  Floors floors_;
  bool state_version_due_ = false;  // a new log says so with its first batch
  PendingWrites pending_writes_;    // with what was given to the store
  mutable ObjectCache cache_;       // of what is A1
  std::array<DigestRanges, stream_count> digests_;
  std::array<std::shared_ptr<const Snapshot>, stream_count> snapshots_;  // of what is A1
  std::array<int, stream_count> settling_{};  // commits under way that bring what was superseded before it came
  KeptParts kept_;                            // with what was given to the store
  JoinGate gate_;
  std::map<RunStream, StreamState> streams_;
  std::array<OwnStream, stream_count> own_;
  std::size_t pending_bytes_ = 0;
  std::string scratch_;  // rows of one append
  std::vector<Row> scratch_rows_;
  bool flush_posted_ = false;
  Loop::Lane next_lane_ = 1;
  ChainHasher hasher_;  // for the loop thread; lanes have their own

  // Commits complete in the order in which they were submitted. The store shows all that it made durable together at
  // once: callers hear of none before received_ has all, so that what they read belongs to one set of events.
  std::deque<Finished> finished_;
  bool tell_posted_ = false;
  std::uint64_t submitted_ = 0, completed_ = 0;
  std::multimap<std::uint64_t, std::function<void()>> waiters_;  // for commit number

  Followers<Range> subscribers_;
  Followers<Changed> watchers_;
  Subscription next_subscription_ = 1;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Loss that the anchor proves, one line each; also for `landfall log verify`.
struct Loss {
  AnchorRecord record;
  std::string what;
};
Result<std::vector<Loss>> anchor_losses(const Store& store, const RunTable& runs, const ReceivedContext& received,
                                        const std::vector<AnchorRecord>& anchors);

}  // namespace landfall
