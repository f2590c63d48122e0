#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloudsync/session.h"
#include "tests/sim/disk.h"

namespace landfall {

// One end of a session, with its own log on a simulated disk.
struct Side {
  Side(sim::Schedule& schedule, std::uint8_t id, Peer::Role role);
  // Appends and runs the schedule until it is A1.
  void append(Stream stream, std::size_t events, std::size_t payload_bytes);

  Peer self;
  sim::Loop loop;
  sim::Disk disk;
  std::unique_ptr<Log> log;
  std::optional<ReceivedContext> committed;  // A2 where it is not the log's A1
  SessionOptions options;
  std::unique_ptr<Session> session;
  std::optional<Error> closed;
  std::uint64_t session_id = 0;
};

// Two sessions back to back: what one sends the other gets after `latency`, in order.
class Joined {
 public:
  explicit Joined(std::uint64_t seed = 1);
  void open();   // new sessions; each remembers what the other had committed when the last ones ended
  void close();  // what is on its way is lost
  void run_for(Duration duration) { schedule.run_for(duration); }
  bool in_sync() const { return edge.session->in_sync() && hub.session->in_sync(); }
  bool equal() const;  // each holds all of the other's runs
  void apply(Side& from, Session::Effects effects);

  sim::Schedule schedule;
  Side edge, hub;
  Duration latency = std::chrono::milliseconds(5);
  std::uint64_t frames = 0;             // delivered
  std::optional<std::uint64_t> cut_at;  // closes both before this frame is delivered
  std::function<void(Side& from, FrameView frame)> watch;

 private:
  Side& other(Side& side) { return &side == &edge ? hub : edge; }
  ReceivedContext edge_had_, hub_had_;
  std::uint64_t generation_ = 0;
};

}  // namespace landfall
