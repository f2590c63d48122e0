#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cloudsync/network.h"
#include "eventlog/log.h"
#include "eventlog/voids.h"
#include "schemas/sync_messages.h"

namespace landfall {

class Outbox;
class SnapshotTaker;

// What is here of one stream, for comparing with a peer that received the same (schemas/sync.capnp, Digests).
struct StreamDigests {
  Digest context, state;
};

struct SessionOptions {
  std::uint8_t wants = 0;           // streams of the peer's runs to subscribe to
  std::uint8_t offers = 0x7f;       // streams of own runs the peer may have
  std::uint8_t peer_wanted = 0x07;  // what the peer subscribed to when we last spoke: for the optimistic push
  std::uint8_t relays = 0;          // streams of which to subscribe to all runs that the peer has, where it is a hub
  std::uint8_t relay_offers = 0;    // streams of other nodes' runs the peer may have: a hub's
  bool gives_back = false;          // the peer gets what it lost of its own runs: a hub's
  std::function<Result<StreamDigests>(Stream)> digests;  // of the log; unset: nothing is compared
  // Of a relayed stream, for a peer that lacks what is pruned here; unset: it keeps a gap. An older one will do that misses
  // nothing pruned.
  std::function<Result<std::shared_ptr<const Snapshot>>(Stream)> snapshot;
  // Own changes of streams `voids` that may go as voids to a peer that knows what these are; unset: none.
  std::uint8_t voids = 0;
  MayVoid may_void;
  // What was taken of snapshots in earlier sessions with this peer; unset: nothing.
  std::shared_ptr<SnapshotTaker> taker;
  std::size_t credit_bytes = session_credit_bytes;
  std::uint64_t link_bytes_per_second = 0;  // configured rate; 0: measured
  Duration heartbeat = session_heartbeat;
  Duration dead_after =
      std::chrono::seconds(120);  // nothing heard while something is due, beside what the flight takes
  std::string software;
};

// One anti-entropy session with one peer, the same on both ends (README.md): hello with received context, optimistic
// push of what the peer lacked when last heard of, chunks by stream priority, durable acks, credits, heartbeats. It may
// be cut at any byte and starts anew with a hello. Each end sends runs of its own node; a hub relays other nodes' runs of
// the streams that its peer subscribes to, and gives a node back what that lost of its own. From a peer that is no hub,
// and of the open run from anybody, such chunks are refused.
//
// Sans-I/O: frames and ticks in, frames and effects out; reads the Log, never a clock. Loop thread only.
class Session {
 public:
  // What the session asks of its owner, to be done after each call in.
  struct Ingest {
    Log::Range range;
    std::string chunk;
  };
  // Where both ends had received the same of a stream: the digests of their states.
  struct Comparison {
    Stream stream;
    Digest ours, theirs;
    bool equal() const { return ours == theirs; }  // otherwise one of the two has a defect
  };
  struct Keep {  // for Log::keep_part; report with on_kept
    Stream stream;
    SnapshotId id;
    std::uint32_t part;
    std::string bytes;
  };
  struct Join {  // for Log::join; report with on_joined
    SnapshotId id;
    SnapshotManifest manifest;
  };
  struct Effects {
    std::vector<std::string> frames;  // to send, in order
    std::vector<Ingest> ingest;       // for Log::ingest; report each with on_ingested
    std::vector<Keep> keep;
    std::vector<Join> join;
    std::vector<Comparison> compared;
    std::optional<Error> close;   // the session is over, after `frames` (the last of which is a bye)
    std::optional<Instant> wake;  // call on_tick then at the latest
  };

  // `committed` names what of the peer's runs is A2 here; `peer_had` is what the peer had committed of our runs when we
  // last spoke, from the log's meta. Both ends may start at once. Log and committed() must outlive the session.
  Session(const Log& log, Peer peer, SessionOptions options, std::function<const ReceivedContext&()> committed,
          ReceivedContext peer_had);
  ~Session();

  Effects on_open(Instant now, HybridTime time, ClockClass clock);
  // Any bytes may come. Faults of the peer close the session: `corrupt` and `out_of_range` for what does not decode or
  // passes a limit, `denied` for a node or a run that is not the peer's.
  Effects on_frame(FrameView frame, Instant now);
  Effects on_tick(Instant now);
  Effects on_ingested(const Log::Range& range, const Status& status, Instant now);
  Effects on_kept(Stream stream, const SnapshotId& id, std::uint32_t part, const Status& status, Instant now);
  Effects on_joined(Stream stream, const SnapshotId& id, const Status& status, Instant now);
  Effects on_committed(const RunStream& of, Instant now);     // A2 advanced here
  Effects on_appended(const Log::Range& range, Instant now);  // new A1 events to offer
  Effects on_drained(std::size_t unsent_bytes, Instant now);
  Effects on_stop(Error why);  // says bye and closes

  // What the peer has committed (A2) of our runs, as it said: the edge's ack mark.
  const ReceivedContext& peer_committed() const { return peer_committed_; }
  // What it subscribed to; nothing before its hello.
  std::optional<std::uint8_t> peer_wants() const { return peer_wants_; }
  bool in_sync() const;  // the peer said hello; nothing to send, nothing in flight, nothing received and not yet A1

  struct Totals {
    std::uint64_t chunks_sent = 0, chunks_received = 0, events_sent = 0, events_received = 0, chunk_bytes_sent = 0,
                  chunk_bytes_received = 0, duplicates = 0, resent = 0;
    std::uint64_t voids_sent = 0;  // of events_sent
    // Joined: here, or by the peer. Parts and bytes as sent and as taken, manifests included in the bytes.
    std::uint64_t snapshots_offered = 0, snapshots_joined = 0, parts_sent = 0, parts_received = 0,
                  snapshot_bytes_sent = 0, snapshot_bytes_received = 0;
  };
  const Totals& totals() const;

 private:
  struct Ingesting {
    std::uint64_t first, last;
    std::size_t bytes;
  };
  void take_hello(std::string_view body, Instant now, Effects& effects);
  void take_chunk(std::string_view body, Instant now, Effects& effects);
  void take_ack(std::string_view body, Instant now, Effects& effects);
  void take_digest(std::string_view body, Effects& effects);
  void take_offer(std::string_view body, Instant now, Effects& effects);
  void take_part(std::string_view body, Instant now, Effects& effects);
  void take_want(std::string_view body, Instant now, Effects& effects);
  bool may_come(const RunStream& of) const;
  bool subscribed(const RunStream& of) const;
  ReceivedContext subscribed_of(const ReceivedContext& context) const;
  ReceivedContext lost() const;
  bool arriving(const ChunkHeader& header) const;
  void feed_log(Effects& effects);
  void send_ack(Instant now, Effects& effects);
  void send(FrameType type, std::string_view body, Instant now, Effects& effects);
  void fail(Error why, Effects& effects);
  std::string hello_body(HybridTime time) const;
  // What every call in ends with: acks, chunks, hello, heartbeat, silence; sets effects.wake.
  Effects& settle(Instant now, Effects& effects);
  void settle_ack(Instant now, Effects& effects);
  void settle_lost(Instant now, Effects& effects);
  void settle_taker(Instant now, Effects& effects);
  void settle_starving(Instant now, Effects& effects);
  void settle_digest(Instant now, Effects& effects);
  void settle_liveness(Instant now, Effects& effects);

  const Log& log_;
  Peer peer_;
  SessionOptions options_;
  std::function<const ReceivedContext&()> committed_;
  std::unique_ptr<Outbox> outbox_;
  ReceivedContext peer_committed_, acked_here_;
  ReceivedContext peer_has_;  // of our ended runs, when it said hello
  std::optional<std::uint8_t> peer_wants_;
  bool over_ = false;

  std::string hello_;  // as first sent, and sent again to a peer that asks
  HybridTime hello_time_;
  ClockClass clock_ = ClockClass::untrusted;
  HybridTime peer_hello_time_;
  Instant hello_again_;
  Duration hello_wait_{};
  std::optional<Instant> ask_lost_;  // when to ask for what we lost, again or first
  Duration ask_wait_{};

  std::shared_ptr<SnapshotTaker> taker_;
  std::uint8_t feedable_ = 0;                           // streams of which the peer takes snapshots
  std::uint8_t offered_ = 0, without_ = 0, moved_ = 0;  // of them: was offered one; there was none; moved since
  std::array<Instant, stream_count> next_snapshot_{};   // when to try again

  struct Suspicion {
    Digest context{}, ours{}, theirs{};
    int seen = 0;
  };
  std::array<Suspicion, stream_count> suspicions_;
  std::uint8_t comparable_ = 0;  // streams of which both ends get all runs
  std::uint8_t digest_due_ = 0;  // of them, those that changed since their digests were sent
  Instant next_digest_;

  std::deque<Ingest> held_;  // received, waiting for room in the log
  std::size_t held_bytes_ = 0, ingesting_bytes_ = 0, bytes_before_hello_ = 0;
  std::map<RunStream, std::deque<Ingesting>> ingesting_;
  std::map<RunStream, std::uint64_t> highest_arrived_;
  std::set<RunStream> ack_due_;
  std::size_t bytes_since_ack_ = 0;

  Instant opened_, last_ack_, last_sent_, last_heard_;
  mutable Totals totals_;
};

}  // namespace landfall
