// Property: whatever a crash leaves on the disk, received context, state, pending writes and chunks are of one set of
// events. Also built over a log with a bug planted in it (LANDFALL_MUTANT_STATE_IN_ANOTHER_BATCH), which must be noticed.
#include <gtest/gtest.h>

#include <iostream>

#include "crdt/state.h"
#include "eventlog/log.h"
#include "eventlog/state_digest.h"
#include "schemas/op.h"
#include "tests/sim/disk.h"
#include "tests/sim/loop.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr Stream stream = Stream::document;
constexpr int objects = 3, paths = 4;

// A node whose machine crashes, and another whose chunks it is given.
class Shaken {
 public:
  explicit Shaken(std::uint64_t seed)
      : schedule_(seed), loop_(schedule_), disk_(loop_), far_(schedule_), far_disk_(far_) {
    open_far();
    open();
  }

  std::vector<std::string> violations;
  std::uint64_t crashes_inside_commit() const { return disk_.stats().crashes_inside_commit; }

  void live_once() {
    const int actions = 5 + static_cast<int>(rng().below(30));
    for (int i = 0; i < actions; ++i) {
      if (rng().chance(0.5))
        write(*log_, loop_);
      else if (rng().chance(0.6))
        write(*far_log_, far_);
      else
        give();
      if (rng().chance(0.5)) schedule_.run_for(rng().spread(1us, 20ms));
    }
    log_.reset();
    loop_.crash();
    disk_.crash(rng());
    check_at_rest();
    open();
    schedule_.run_for(1s);
    check();
  }

 private:
  sim::Rng& rng() { return schedule_.rng; }
  void complain(const std::string& what) {
    if (violations.size() < 5) violations.push_back(what);
  }

  void open() {
    disk_.boot(loop_);
    auto log = Log::open(loop_, disk_, {.node = {{1}}, .boot_id = "sim", .software = "sim"});
    ASSERT_TRUE(log.ok()) << log.error().detail;
    log_ = std::move(*log);
  }
  void open_far() {
    far_disk_.boot(far_);
    auto log = Log::open(far_, far_disk_, {.node = {{2}}, .boot_id = "sim", .software = "sim"});
    ASSERT_TRUE(log.ok());
    far_log_ = std::move(*log);
  }

  // Some paths of an object, superseding most of what is seen there.
  void write(Log& log, Loop&) {
    const std::string name = "o" + std::to_string(rng().below(objects));
    const auto seen = log.state(stream, name);
    ASSERT_TRUE(seen.ok());
    std::vector<Op> ops;
    for (int p = 0; p < paths; ++p) {
      if (rng().chance(0.6)) continue;
      Op op{"/p" + std::to_string(p), std::nullopt, {}};
      for (const Entry& entry : at(*seen, op.path)) {
        if (rng().chance(0.8)) op.supersedes.push_back(entry.dot);
      }
      if (op.supersedes.empty() || rng().chance(0.8)) op.value = std::to_string(rng().next());
      ops.push_back(std::move(op));
    }
    if (ops.empty()) return;
    const auto payload = encode_ops(ops, {log.run(), stream});
    ASSERT_TRUE(payload.ok());
    Event event;
    event.kind = Kind::change;
    event.subject = name;
    event.payload = *payload;
    log.append(stream, {&event, 1}, [](const Result<Log::Appended>&) {});
  }

  // Any chunk of the far node, whatever came before it; and sometimes ours back to it.
  void give() {
    const RunStream of{far_log_->run(), stream};
    const std::uint64_t last = far_log_->received().max(of);
    if (last == 0) return;
    const auto chunks = far_log_->read(of, 1 + rng().below(last), 1);
    ASSERT_TRUE(chunks.ok());
    for (const auto& chunk : *chunks) log_->ingest(chunk.bytes, [](const Status&) {});
    if (!rng().chance(0.3)) return;
    const auto own = log_->read({log_->run(), stream}, 1, 1 << 20);
    ASSERT_TRUE(own.ok());
    for (const auto& chunk : *own) far_log_->ingest(chunk.bytes, [](const Status&) {});
  }

  void check_at_rest() {
    sim::Disk at_rest = disk_;
    at_rest.boot(loop_);
    const auto report = verify_log(at_rest, {});
    if (!report.ok()) return complain(report.error().detail);
    for (const std::string& fault : report->faults) complain(fault);
  }

  // Against the model of the same events.
  void check() {
    State model;
    for (const RunId& run : log_->runs()) {
      const RunStream of{run, stream};
      const auto chunks = log_->read(of, 1, 1 << 30);
      ASSERT_TRUE(chunks.ok());
      for (const auto& chunk : *chunks) {
        const auto decoded = decode_chunk(chunk.bytes);
        ASSERT_TRUE(decoded.ok());
        ASSERT_TRUE(model.apply_rows(of, chunk.header.first, decoded->rows).ok());
      }
      if (!(model.received().of_stream(of) == log_->received().of_stream(of))) complain("received context and chunks");
    }
    Digest sum{};
    for (int o = 0; o < objects; ++o) {
      const std::string name = "o" + std::to_string(o);
      const auto live = log_->state(stream, name);
      ASSERT_TRUE(live.ok());
      if (*live != model.object(stream, name)) complain("state of " + name);
      add_digest(sum, object_digest(name, model.object(stream, name)));
    }
    if (*log_->state_digest(stream) != sum) complain("digest");
    if (log_->pending_supersedes() != model.pending()) complain("pending");
    if (*log_->objects(stream, {}, {}, 100) != model.objects(stream)) complain("objects");
  }

  sim::Schedule schedule_;
  sim::Loop loop_;
  sim::Disk disk_;
  sim::Loop far_;
  sim::Disk far_disk_;
  std::unique_ptr<Log> log_, far_log_;
};

struct Outcome {
  std::uint64_t seeds_with_violations = 0, crashes_inside_commit = 0;
  std::string first;
};
Outcome shake(std::uint64_t seeds) {
  Outcome outcome;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Shaken node(seed);
    for (int life = 0; life < 8; ++life) node.live_once();
    outcome.crashes_inside_commit += node.crashes_inside_commit();
    if (node.violations.empty()) continue;
    ++outcome.seeds_with_violations;
    if (outcome.first.empty()) outcome.first = "seed " + std::to_string(seed) + ": " + node.violations.front();
  }
  return outcome;
}

#ifdef LANDFALL_MUTANT_STATE_IN_ANOTHER_BATCH

TEST(Mutant, IsKilled) {
  const Outcome outcome = shake(40);
  std::cout << "killed by " << outcome.seeds_with_violations << " of 40 seeds; " << outcome.first << "\n";
  EXPECT_GE(outcome.seeds_with_violations, 10u);
}

#else

TEST(StateCrash, WhatACrashLeavesIsOfOneSetOfEvents) {
  const Outcome outcome = shake(60);
  EXPECT_EQ(outcome.seeds_with_violations, 0u) << outcome.first;
  EXPECT_GT(outcome.crashes_inside_commit, 100u);
}

// Every write of a rebuild is where it may stop for good.
TEST(StateCrash, ARebuildThatIsInterruptedStartsAnew) {
  sim::Schedule schedule(1);
  sim::Loop loop(schedule);
  sim::Disk disk(loop);
  const auto open = [&] { return Log::open(loop, disk, {.node = {{1}}, .boot_id = "sim", .software = "sim"}); };
  const auto restart = [&] {
    loop.crash();
    disk.crash(schedule.rng);
    disk.boot(loop);
  };
  Digest whole{};
  std::uint64_t last = 0;
  {
    auto log = open();
    ASSERT_TRUE(log.ok());
    for (int i = 0; i < 6000; ++i) {
      std::vector<Op> ops{{"/p" + std::to_string(i % 5000), std::string("v"), {}}};
      const auto payload = encode_ops(ops, {(*log)->run(), stream});
      Event event;
      event.kind = Kind::change;
      event.subject = "o";
      event.payload = *payload;
      (*log)->append(stream, {&event, 1}, [&](const Result<Log::Appended>& appended) { last = appended->first.seq; });
    }
    schedule.run_for(60s);
    ASSERT_EQ(last, 6000u);
    whole = *(*log)->state_digest(stream);
  }
  restart();
  ASSERT_TRUE(forget_state(disk).ok());
  int interrupted = 0;
  for (int stop = 1;; ++stop) {
    int writes = 0;
    disk.on_commit([&] {
      if (++writes == stop) disk.fail("power lost");
    });
    auto log = open();
    disk.on_commit({});
    if (log.ok()) {
      schedule.run_for(1s);
      EXPECT_EQ(*(*log)->state_digest(stream), whole);
      break;
    }
    ++interrupted;
    restart();
  }
  EXPECT_GE(interrupted, 4);
  const auto report = verify_log(disk, {});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->faults, std::vector<std::string>{});
}

// Wherever a crash comes between, chunks begin right above the floor.
TEST(StateCrash, APruneThatIsInterruptedLeavesTheFloorUnderTheFirstChunk) {
  int between = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    sim::Schedule schedule(seed);
    sim::Loop loop(schedule);
    sim::Disk disk(loop);
    const auto open = [&] { return Log::open(loop, disk, {.node = {{1}}, .boot_id = "sim", .software = "sim"}); };
    auto log = open();
    ASSERT_TRUE(log.ok());
    const RunStream of{(*log)->run(), stream};
    Event event;
    event.kind = Kind::message;
    event.subject = "d";
    for (int i = 0; i < 40; ++i) {
      (*log)->append(stream, {&event, 1}, [](const Result<Log::Appended>&) {});
      schedule.run_for(100ms);
    }
    ASSERT_EQ((*log)->received().base(of), 40u);
    (*log)->prune(of, 35, [](const Status&) {});
    schedule.run_for(schedule.rng.spread(10us, 100ms));
    log->reset();
    loop.crash();
    disk.crash(schedule.rng);
    disk.boot(loop);
    const auto report = verify_log(disk, {});
    ASSERT_TRUE(report.ok());
    EXPECT_EQ(report->faults, std::vector<std::string>{});
    auto again = open();
    ASSERT_TRUE(again.ok());
    const std::uint64_t floor = (*again)->floor(of);
    between += floor > 0 && floor < 35 ? 1 : 0;
    EXPECT_TRUE((*again)->received().contains(of, 1, 40));
    EXPECT_EQ((*again)->read(of, 1, 1)->at(0).header.first, floor + 1);
  }
  EXPECT_GT(between, 3);
}

#endif

}  // namespace
}  // namespace landfall
