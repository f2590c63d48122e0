#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "devicetwin/objects.h"
#include "eventlog/log.h"
#include "tests/sim/disk.h"
#include "tests/sim/loop.h"

namespace landfall::test {

// A node's log and objects over a simulated disk and loop. Meets others by exchange().
class StateNode {
 public:
  StateNode(sim::Schedule& on, std::uint8_t number) : schedule(on), loop(on), disk(loop), number_(number) { boot(); }
  ~StateNode() { stop(); }

  void boot() {
    disk.boot(loop);
    NodeId id;
    id.bytes.fill(number_);
    auto opened = Log::open(loop, disk, {.node = id, .boot_id = "sim", .software = "sim"});
    ASSERT_TRUE(opened.ok()) << opened.error().detail;
    log = std::move(*opened);
    objects = std::make_unique<Objects>(*log);
  }
  // What stands on `objects` must have gone before.
  void stop() {
    loop.crash();
    objects.reset();
    log.reset();
  }
  void crash() {
    stop();
    disk.crash(schedule.rng);
    boot();
  }

  void run_for(Duration duration) { schedule.run_for(duration); }
  // Calls `start` with a callback and gives what came back through it.
  template <class T = Written, class Start>
  Result<T> wait(Start start) {
    std::optional<Result<T>> result;
    start([&](Result<T> r) { result = std::move(r); });
    EXPECT_FALSE(result) << "completed inside the call";
    const Instant until = schedule.now() + std::chrono::seconds(50);
    while (!result && schedule.step(until)) {}
    EXPECT_TRUE(result) << "never completed";
    return result ? *result : Error{Code::unavailable, "never completed"};
  }

  sim::Schedule& schedule;
  sim::Loop loop;
  sim::Disk disk;
  std::unique_ptr<Log> log;
  std::unique_ptr<Objects> objects;

 private:
  std::uint8_t number_;
};

// Everything that `from` has and `to` has not.
inline void give(StateNode& from, StateNode& to) {
  for (const RunId& run : from.log->runs()) {
    for (std::size_t s = 0; s < stream_count; ++s) {
      const RunStream of{run, static_cast<Stream>(s)};
      const auto chunks = from.log->read(of, to.log->received().base(of) + 1, 1 << 30);
      ASSERT_TRUE(chunks.ok());
      for (const auto& chunk : *chunks)
        to.log->ingest(chunk.bytes, [](const Status& status) { EXPECT_TRUE(status.ok()); });
    }
  }
  to.run_for(std::chrono::seconds(1));
}
// Both ways until neither has news, and then their states are the same.
inline void exchange(StateNode& a, StateNode& b) {
  for (int round = 0; round == 0 || (round < 10 && !(a.log->received() == b.log->received())); ++round) {
    give(a, b);
    give(b, a);
  }
  for (std::size_t s = 0; s < stream_count; ++s) {
    const auto stream = static_cast<Stream>(s);
    const auto at_a = a.log->state_digest(stream), at_b = b.log->state_digest(stream);
    ASSERT_TRUE(at_a.ok() && at_b.ok());
    EXPECT_EQ(to_hex(*at_a), to_hex(*at_b)) << to_string(stream);
  }
}

}  // namespace landfall::test
