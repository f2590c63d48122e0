// Property: whatever the histories of two sites, one that takes the other's snapshot is where one that received the events
// of both would be; and a crash leaves all of a join or nothing. Also built over a log with a bug planted in it
// (LANDFALL_MUTANT_JOIN_REPLACES), which must be noticed.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "crdt/state.h"
#include "eventlog/state_digest.h"
#include "tests/eventlog/sim_site.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;
using test::SimSite;

constexpr Stream stream = Stream::document;
constexpr int objects = 6, paths = 4;

// Sites that write, delete, restart and hand chunks to one another in any order. Every event that was ever written is kept
// aside, so that what is pruned at all sites can still be told.
class History {
 public:
  explicit History(std::uint64_t seed) : schedule(seed) {
    for (std::uint8_t number = 1; number <= 3; ++number) sites.push_back(std::make_unique<SimSite>(schedule, number));
  }

  sim::Rng& rng() { return schedule.rng; }
  SimSite& any() { return *sites[rng().below(sites.size())]; }

  void write(SimSite& site) {
    const std::string name = "doc/" + std::to_string(rng().below(objects));
    const auto seen = site.log->state(stream, name);
    std::vector<Op> ops;
    for (int p = 0; p < paths; ++p) {
      if (rng().chance(0.6)) continue;
      Op op{"/p" + std::to_string(p), std::nullopt, {}};
      for (const Entry& entry : at(*seen, op.path)) {
        if (rng().chance(0.8)) op.supersedes.push_back(entry.dot);
      }
      if (op.supersedes.empty() || rng().chance(0.7)) op.value = std::to_string(rng().next());
      ops.push_back(std::move(op));
    }
    if (!ops.empty()) site.write(stream, name, ops);
    for (const auto& chunk : site.chunks(stream)) {
      if (chunk.header.of.run.node != site.log->run().node) continue;
      all.try_emplace({chunk.header.of.run, stream, chunk.header.first}, chunk.bytes);
    }
  }
  void give(SimSite& site) {
    if (all.empty()) return;
    const auto chunk = std::next(all.begin(), static_cast<std::ptrdiff_t>(rng().below(all.size())));
    (void)site.ingest(chunk->second);
  }
  void live(int actions) {
    for (; actions > 0; --actions) {
      if (rng().chance(0.55))
        write(any());
      else if (rng().chance(0.9))
        give(any());
      else
        any().restart();
    }
  }
  // A site that fills its gaps: what it knows of a run it knows from the start.
  void fill_gaps(SimSite& site) {
    for (bool again = true; again;) {
      again = false;
      const ReceivedContext received = site.received(stream);
      for (const auto& [dot, chunk] : all) {
        const RunStream of{dot.run, stream};
        const bool below = dot.seq < received.max(of) && !received.contains(dot);
        if (!below && (site.log->pending_supersedes() == 0 || received.contains(dot))) continue;
        EXPECT_TRUE(site.ingest(chunk).ok());
        again = true;
      }
    }
  }
  void prune_something(SimSite& site) {
    for (const RunStream& of : site.received(stream).streams()) {
      if (!rng().chance(0.5)) continue;
      EXPECT_TRUE(site.prune(of, rng().below(site.log->received().base(of) + 1)).ok());
    }
  }

  // What a site that received exactly these events holds.
  State model(const ReceivedContext& received) const {
    State state;
    for (const auto& [dot, chunk] : all) {
      const auto decoded = decode_chunk(chunk);
      RowReader rows(decoded->rows);
      for (std::uint64_t seq = dot.seq; seq <= decoded->header.last; ++seq) {
        const auto event = decode_row(rows.next());
        if (!received.contains({dot.run, stream, seq})) continue;
        EXPECT_TRUE(state.apply({dot.run, stream, seq}, *event).ok());
      }
    }
    return state;
  }

  void check(SimSite& site, const ReceivedContext& received, const std::string& when) {
    const auto complain = [&](const std::string& what) { violations.push_back(when + ": " + what); };
    if (!(site.received(stream) == received)) complain("received context");
    const State wanted = model(received);
    Digest sum{};
    for (int o = 0; o < objects; ++o) {
      const std::string name = "doc/" + std::to_string(o);
      const auto live = site.log->state(stream, name);
      if (!live.ok() || *live != wanted.object(stream, name)) complain("state of " + name);
      add_digest(sum, object_digest(name, wanted.object(stream, name)));
    }
    if (*site.log->state_digest(stream) != sum) complain("digest");
    if (site.log->pending_supersedes() != wanted.pending()) complain("pending");
    for (const std::string& fault : site.faults()) complain(fault);
  }

  sim::Schedule schedule;
  std::vector<std::unique_ptr<SimSite>> sites;
  std::map<Dot, std::string> all;  // chunks, by first event
  std::vector<std::string> violations;
};

ReceivedContext joined(ReceivedContext left, const ReceivedContext& right) {
  left.join(right);
  return left;
}

std::vector<std::string> one_history(std::uint64_t seed) {
  History history(seed);
  history.live(60);
  SimSite &giver = *history.sites[0], &taker = *history.sites[1];
  history.fill_gaps(giver);
  history.prune_something(giver);
  if (history.rng().chance(0.3)) history.prune_something(taker);
  const auto snapshot = giver.snapshot(stream);
  if (snapshot == nullptr) return {"no snapshot"};
  // What goes on meanwhile, at both.
  for (int i = 0; i < 10; ++i) history.write(i % 2 == 0 ? giver : taker);
  const ReceivedContext wanted = joined(taker.received(stream), snapshot->manifest().received);
  if (const Status taken = taker.take(*snapshot); !taken) return {taken.error().detail};
  history.check(taker, wanted, "after the join");
  if (history.rng().chance(0.3)) taker.restart();
  history.check(taker, wanted, "after a restart");
  // Once more, and back: nothing changes at one, the other gets all.
  if (const Status taken = taker.take(*snapshot); !taken) return {taken.error().detail};
  history.check(taker, wanted, "after the same join");
  history.live(20);
  std::vector<std::string> rest;
  for (const auto& [dot, chunk] : history.all) rest.push_back(chunk);
  for (std::size_t i = rest.size(); i > 1; --i) std::swap(rest[i - 1], rest[history.rng().below(i)]);
  ReceivedContext everything;
  for (const auto& [dot, chunk] : history.all) {
    const auto header = read_chunk_header(chunk);
    EXPECT_TRUE(everything.add({dot.run, stream}, header->first, header->last).ok());
  }
  for (const std::string& chunk : rest) {
    if (const Status given = taker.ingest(chunk); !given) return {given.error().detail};
  }
  history.check(taker, everything, "after all events");
  if (const Status taken = giver.take(*taker.snapshot(stream)); !taken) return {"back: " + taken.error().detail};
  history.check(giver, everything, "after the join back");
  return history.violations;
}

struct Outcome {
  int bad = 0;
  std::string first;
};
Outcome histories(int seeds) {
  Outcome outcome;
  for (int seed = 1; seed <= seeds; ++seed) {
    const auto violations = one_history(static_cast<std::uint64_t>(seed));
    if (violations.empty()) continue;
    ++outcome.bad;
    if (outcome.first.empty()) outcome.first = "seed " + std::to_string(seed) + ": " + violations.front();
  }
  return outcome;
}

#ifdef LANDFALL_MUTANT_JOIN_REPLACES

TEST(Mutant, IsKilled) {
  const Outcome outcome = histories(30);
  std::cout << "killed by " << outcome.bad << " of 30 seeds; " << outcome.first << "\n";
  EXPECT_GE(outcome.bad, 10);
}

#else

TEST(SnapshotJoin, IsWhereOneThatReceivedTheEventsOfBothWouldBe) {
  const Outcome outcome = histories(80);
  EXPECT_EQ(outcome.bad, 0) << outcome.first;
}

// Wherever the crash comes, parts and join are all there or not at all; and what is there is of one set of events.
TEST(SnapshotJoin, ACrashLeavesAllOfItOrNothing) {
  int none = 0, whole = 0, parts_only = 0;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    History history(seed);
    history.live(40);
    SimSite &giver = *history.sites[0], &taker = *history.sites[1];
    history.fill_gaps(giver);
    const auto snapshot = giver.snapshot(stream);
    ASSERT_NE(snapshot, nullptr);
    const ReceivedContext before = taker.received(stream), after = joined(before, snapshot->manifest().received);
    for (std::size_t i = 0; i < snapshot->manifest().parts.size(); ++i)
      taker.log->keep_part(stream, snapshot->part(i), [](const Status&) {});
    taker.log->join(snapshot->manifest(), [](const Status&) {});
    history.schedule.run_for(history.rng().spread(10us, 100ms));
    taker.crash();
    sim::Disk at_rest = taker.disk;
    at_rest.boot(taker.loop);
    const auto report = verify_log(at_rest, {});
    ASSERT_TRUE(report.ok());
    EXPECT_EQ(report->faults, std::vector<std::string>{}) << seed;
    taker.open();
    if (taker.received(stream) == before && !(before == after)) {
      ++none;
      parts_only += taker.log->missing_parts(snapshot->manifest()).empty() ? 1 : 0;
      history.check(taker, before, "nothing joined");
      ASSERT_TRUE(taker.take(*snapshot).ok());
    } else {
      ++whole;
    }
    history.check(taker, after, "joined");
    EXPECT_EQ(history.violations, std::vector<std::string>{}) << seed;
  }
  EXPECT_GT(none, 10);
  EXPECT_GT(whole, 10);
  EXPECT_GT(parts_only, 2);
}

#endif

}  // namespace
}  // namespace landfall
