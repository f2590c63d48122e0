#pragma once

#include <map>
#include <memory>
#include <vector>

#include "cloudsync/network.h"
#include "tests/sim/loop.h"

namespace landfall::sim {

// What links do to frames. The seam allows all of it; TCP would only delay.
struct LinkFaults {
  double loss = 0, duplicate = 0;
  Duration delay_min = std::chrono::milliseconds(1),
           delay_max = std::chrono::milliseconds(5);  // each frame its own: they overtake
  bool in_order = false;
  std::uint64_t bytes_per_second = 0;  // each way; 0: no limit
};

class Network;

// The links between nodes: each pair joined with join() has one link whenever both are up, neither holds and no
// partition lies between them; the first of the pair dials.
class Medium {
 public:
  explicit Medium(Schedule& schedule);
  ~Medium();

  struct Stats {
    std::uint64_t frames = 0, bytes = 0, lost = 0, doubled = 0, overtaken = 0, partitions = 0, opened = 0;
  };
  LinkFaults faults;
  void join(Network& dialler, Network& listener);
  // No frame passes between the two until then. Their links die with it unless `link_survives`; each end hears of it
  // late or only by silence.
  void cut(Network& a, Network& b, Duration length, bool link_survives);
  void heal();  // ends all partitions and faults
  Schedule& schedule() { return schedule_; }
  const Stats& stats() const { return stats_; }

 private:
  friend class Network;
  struct Pair;
  class End;
  void up_or_down(Network& node);
  void dial_later(Pair& pair);
  void dial(Pair& pair);
  void drop(Network& node);
  void send(End& from, std::string frame);
  void deliver(End& to, std::string frame, Duration delay);
  void close(End& end, const Error& why);
  void tell_closed(End& end, const Error& why, Duration delay);
  Pair* pair_of(const Network& a, const Network& b);

  Schedule& schedule_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::vector<std::unique_ptr<End>> ends_;  // of all links ever: late tasks may name them
  Stats stats_;
};

// One node's side of a Medium.
class Network final : public landfall::Network {
 public:
  Network(Medium& medium, Loop& loop, Peer self) : medium_(medium), loop_(loop), self_(std::move(self)) {}

  void start(LinkUser& user) override;
  void hold(bool held) override;
  bool held() const override { return held_; }
  Totals totals() const override { return totals_; }
  // The machine dies, and its user with it.
  void crash();
  bool up() const { return user_ != nullptr && !held_; }
  const Peer& self() const { return self_; }

 private:
  friend class Medium;
  Medium& medium_;
  Loop& loop_;
  Peer self_;
  LinkUser* user_ = nullptr;
  bool held_ = false;
  Totals totals_;
};

}  // namespace landfall::sim
