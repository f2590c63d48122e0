#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cloudsync/network.h"
#include "eventlog/log.h"

namespace landfall {

struct SessionOptions {
  std::uint8_t wants = 0;             // streams of the peer's runs to subscribe to
  std::uint8_t offers = 0x7f;         // streams of own runs the peer may have
  std::size_t credit_bytes = session_credit_bytes;
  std::uint64_t link_bytes_per_second = 0;  // configured rate; 0: measured
  Duration heartbeat = session_heartbeat;
  Duration dead_after = std::chrono::seconds(120);  // nothing heard while something is due
  std::string software;
};

// One anti-entropy session with one peer, the same on both ends (crdt.md 3.1): hello with received context, optimistic
// push of what the peer lacked when last heard of, chunks by stream priority, durable acks, credits, heartbeats. It may
// be cut at any byte and starts anew with a hello.
//
// Sans-I/O: frames and ticks in, frames and effects out; reads the Log, never a clock. Loop thread only.
class Session {
 public:
  // What the session asks of its owner, to be done after each call in.
  struct Effects {
    std::vector<std::string> frames;      // to send, in order
    std::vector<std::string> ingest;      // chunks for Log::ingest; report each with on_ingested
    std::optional<Error> close;           // the session is over
    std::optional<Instant> wake;          // call on_tick then at the latest
  };

  // `committed` names what of the peer's runs is A2 here; `peer_had` is what the peer had committed of our runs when we
  // last spoke, from the log's meta. Both ends may start at once.
  Session(const Log& log, Peer peer, SessionOptions options, std::function<const ReceivedContext&()> committed,
          ReceivedContext peer_had);

  Effects on_open(Instant now, HybridTime time, ClockClass clock);
  Effects on_frame(FrameView frame, Instant now);
  Effects on_tick(Instant now);
  Effects on_ingested(const RunStream& of, const Status& status, Instant now);
  Effects on_committed(const RunStream& of, Instant now);      // A2 advanced here
  Effects on_appended(const Log::Range& range, Instant now);   // new A1 events to offer
  Effects on_drained(std::size_t unsent_bytes, Instant now);

  // What the peer has committed (A2) of our runs, as it said: the edge's ack mark.
  const ReceivedContext& peer_committed() const;
  bool in_sync() const;  // nothing to send, nothing in flight, nothing announced and missing

  struct Totals {
    std::uint64_t chunks_sent = 0, chunks_received = 0, events_sent = 0, events_received = 0, chunk_bytes_sent = 0,
                  chunk_bytes_received = 0, duplicates = 0, resent = 0;
  };
  const Totals& totals() const;
};

}  // namespace landfall
