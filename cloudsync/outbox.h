#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eventlog/chain.h"
#include "eventlog/log.h"
#include "eventlog/voids.h"
#include "schemas/sync_messages.h"

namespace landfall {

// The sending half of a session: which events the peer lacks, in what order their chunks leave, what is in flight and how
// much may be. Streams 0-2 by strict priority, 3-6 share what is left by bytes as 8:4:2:1, and none of them waits longer
// than a minute. Within a stream our own runs go first.
//
// The window is about what the link carries in a round trip and one second, found by watching how long acks take; a
// chunk is cut to one second of link time. So an alarm waits behind about one second of bulk, and a fast link sees
// chunks as they are stored.
//
// Of a stream of which the peer lacks events that no chunk here holds any more, a snapshot leaves instead (feed), cut into
// pieces as chunks are. The stream's chunks wait until the peer has joined it: it covers those that are here by then, so
// they would travel twice, and what comes later fits onto it without a gap. Loop thread only.
class Outbox {
 public:
  struct Totals {
    std::uint64_t chunks = 0, events = 0, bytes = 0, resent = 0;
    std::uint64_t voids = 0;  // of the events, as they were made ready
    std::uint64_t snapshots = 0, snapshots_joined = 0, parts = 0, snapshot_bytes = 0;
  };

  // `link_bytes_per_second` 0: measured.
  Outbox(const Log& log, const NodeId& peer, std::uint64_t link_bytes_per_second, ReceivedContext peer_had);

  // Sends from now on what the peer lacks of our own runs in streams `own` and of other nodes' runs in streams `others`
  // (bit per stream), and nothing else: never runs of the peer's.
  void offer(std::uint8_t own, std::uint8_t others, Instant now);
  // Sends what we hold of these events of runs that are the peer's, who lost them. Replaces what it asked for before.
  void give_back(const ReceivedContext& lost, Instant now);
  // From now on what our own runs have to send of these streams goes with voids where `may_void` allows (eventlog/voids.h).
  void set_voids(std::uint8_t streams, MayVoid may_void);
  void set_credit(std::size_t bytes) { credit_ = bytes; }
  // What the peer said it holds, all of it: replaces what we thought.
  void peer_holds(ReceivedContext have, Instant now);
  void acked(const ReceivedContext& more, Instant now);
  void appended(const Log::Range& range, Instant now);

  // Streams of `streams` of which the peer lacks what only a snapshot can bring.
  std::uint8_t short_of(std::uint8_t streams) const;
  // Of these streams the peer takes snapshots. Those of them that starve send nothing until feed or go_without.
  void set_feedable(std::uint8_t streams);
  std::uint8_t starving() const { return starving_; }
  // Offers it. False where it is too large to be offered, or brings the peer nothing.
  bool feed(Stream stream, std::shared_ptr<const Snapshot> snapshot, Instant now);
  void go_without(Stream stream);  // what is here of it is sent, with gaps, until set_feedable
  // Errors: `out_of_range` for what the snapshot does not have.
  Status wanted(const SnapshotWant& want, Instant now);

  // Takes back what was lost on the way: what later acks skipped, and, long after, the oldest of each lane.
  void expire(Instant now);
  // Adds chunk frames up to window and credit. Errors: those of Log::read.
  Status pump(Instant now, std::vector<std::string>& frames);

  std::optional<Instant> deadline() const;  // when expire() will have something to do
  bool nothing_to_send() const;
  std::size_t flight_bytes() const { return flight_bytes_; }
  Instant flight_since() const { return flight_since_; }  // when something was last acknowledged, or the flight began
  Duration flight_time() const { return transfer_time(flight_bytes_); }  // about how long the link needs for it
  const Totals& totals() const { return totals_; }

 private:
  struct Piece {  // what of a stored chunk is to be sent
    std::uint64_t first, last, chunk_first, chunk_last;
    std::string chunk;
  };
  struct Sent {
    std::uint64_t first, last, order;
    std::size_t bytes, flight_after;
    Instant at;
    bool again;
  };
  struct Lane {              // one (run, stream)
    std::uint64_t next = 1;  // first seq not yet read
    std::uint64_t end = 0;   // last seq there is
    std::deque<Piece> ready;
    std::deque<Log::Range> again;
    std::deque<Sent> sent;  // by order
    std::uint64_t acked_order = 0, highest_sent = 0;
    bool has_more() const { return !ready.empty() || !again.empty() || next <= end; }
  };
  using Lanes = std::map<RunId, Lane>;
  struct SentPiece {
    std::uint32_t part;
    Sent sent;  // from byte `first` to before `last`
  };
  struct Todo {
    std::uint32_t end;
    bool again;
  };
  struct Feed {
    std::shared_ptr<const Snapshot> snapshot;
    SnapshotId id{};
    std::string manifest;
    std::vector<RunStream> lacked;                                 // what it brings the peer
    std::map<std::pair<std::uint32_t, std::uint32_t>, Todo> todo;  // from (part, byte)
    std::deque<SentPiece> sent;                                    // by order
    std::uint64_t acked_order = 0;
    Instant probe_at;  // when to ask what came of it, while there is nothing else to send
    Duration probe_wait{};
    std::string_view bytes_of(std::uint32_t part) const;
    bool holds(std::uint32_t part) const;
    void done(std::uint32_t part, std::uint32_t first, std::uint32_t end);  // takes it out of `todo`
  };

  void rescan(Instant now);
  bool offered(const RunStream& of) const;
  // The first seq of from..end that is here and that the peer lacks.
  std::optional<std::uint64_t> first_owed(const RunStream& of, std::uint64_t from, std::uint64_t end) const;
  std::pair<const RunId, Lane>* lane_with_more(std::size_t stream);
  std::optional<std::size_t> choose(Instant now);
  bool room(std::size_t stream) const;
  bool has_more(std::size_t stream);
  void charge(std::size_t stream, std::size_t bytes);
  bool lost_any(const RunStream& of, std::uint64_t upto) const;
  bool is_short_of(const RunStream& of, std::uint64_t upto) const;
  void end_feeds();
  void drop_feed(std::size_t stream);
  // False where the peer's credit does not allow it.
  bool send_piece(std::size_t stream, Feed& feed, Instant now, std::vector<std::string>& frames);
  void probe(Instant now, std::vector<std::string>& frames);
  bool expire_pieces(std::size_t stream, Instant now);
  std::optional<Instant> feed_deadline() const;
  Instant late_at(const Sent& oldest, std::uint64_t acked_order) const;
  // False where the lane turned out to have nothing more.
  Result<bool> fill(const RunStream& of, Lane& lane);
  Status fill_again(const RunStream& of, Lane& lane);
  // As Log::read, with voids.
  Result<std::vector<Log::StoredChunk>> read(const RunStream& of, std::uint64_t from, std::size_t bytes_max);
  void add_missing(const RunStream& of, Lane& lane, Log::StoredChunk& chunk, std::uint64_t first, std::uint64_t last);
  // Makes the front piece of the lane a chunk of its own, cut to about `bytes_max`.
  Status shape(Lane& lane, std::size_t bytes_max);
  void send(std::size_t stream, Lane& lane, Instant now, std::vector<std::string>& frames);
  void release(Instant now);
  void progressed(const Sent& newest, std::size_t bytes, Instant now);
  void measure(const Sent& newest, std::size_t bytes, Instant now);
  void forget_flight(std::size_t stream, const Lane& lane);
  std::size_t chunk_bytes_max() const;
  Duration base_latency() const;
  Duration reorder_wait() const;
  Duration transfer_time(std::size_t bytes) const;
  Duration resend_wait(const Sent& oldest) const;

  const Log& log_;
  NodeId self_, peer_;
  std::uint64_t rate_;
  ReceivedContext peer_have_;
  std::uint8_t own_ = 0, others_ = 0;  // streams offered
  std::uint8_t voids_ = 0;
  MayVoid may_void_;
  std::array<Lanes, stream_count> lanes_;
  std::array<std::unique_ptr<Feed>, stream_count> feeds_;
  std::uint8_t feedable_ = 0, starving_ = 0;
  ReceivedContext lost_;  // as last asked for
  // Start-time fair queueing (Goyal et al., 1996): bytes sent by weight; the least goes first.
  std::array<std::uint64_t, stream_count> share_{};
  std::uint64_t share_now_ = 0;
  std::array<Instant, stream_count> waiting_since_{};
  std::size_t credit_, window_;
  std::size_t flight_bytes_ = 0, urgent_bytes_ = 0;  // in flight, of all streams and of streams 0-2
  Instant flight_since_, silent_at_;
  std::uint64_t order_ = 0;
  std::optional<Duration> latency_min_, latency_;  // from sending a chunk to its ack
  std::uint64_t carried_ = 0;                      // bytes/s that the link has shown it carries
  int silent_rounds_ = 0;                          // resends since an ack last took something out of flight
  ChainHasher hasher_;
  Totals totals_;
};

}  // namespace landfall
