// Property: tasks run on the loop thread, in the order the seam promises, whatever threads they come from.

#include "edgeruntime/uv_loop.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <set>
#include <thread>

#include "tests/edgeruntime/fleet.h"

namespace landfall {
namespace {

using std::chrono::milliseconds;

TEST(UvLoop, RunsTimersByDueTimeAndEqualOnesInTheOrderSet) {
  UvLoop loop;
  std::string order;
  loop.post([&] {  // one turn, so that now() stands still
    loop.after(milliseconds(4), [&] {
      order += 'd';
      loop.stop();
    });
    loop.after(milliseconds(2), [&] { order += 'b'; });
    loop.after(milliseconds(1), [&] { order += 'a'; });
    loop.after(milliseconds(2), [&] { order += 'c'; });
  });
  loop.run();
  EXPECT_EQ(order, "abcd");
}

TEST(UvLoop, NeverRunsATimerEarlyOrInsideAfter) {
  UvLoop loop;
  auto set = loop.now();
  bool inside = true, inner = false;
  loop.after(milliseconds(3), [&] {
    EXPECT_GE(loop.now() - set, milliseconds(3));
    loop.after(Duration::zero(), [&] {
      inner = true;
      loop.stop();
    });
    EXPECT_FALSE(inner);
    EXPECT_FALSE(inside);
  });
  inside = false;
  loop.run();
}

TEST(UvLoop, ACancelledTimerStaysSilentAlsoWhereItIsDueInTheSameTurn) {
  UvLoop loop;
  int ran = 0;
  Loop::Timer second = 0;
  loop.post([&] {
    loop.after(milliseconds(1), [&] {
      ++ran;
      loop.cancel(second);
    });
    second = loop.after(milliseconds(1), [&] { ADD_FAILURE() << "cancelled, yet it ran"; });
    loop.after(milliseconds(2), [&] { loop.stop(); });
  });
  loop.run();
  loop.cancel(second);
  loop.cancel(12345);
  EXPECT_EQ(ran, 1);
}

TEST(UvLoop, TimeStandsStillInOneCallbackAndMovesOnBetween) {
  UvLoop loop;
  Instant first;
  loop.post([&] {
    first = loop.now();
    for (int i = 0; i < 10'000; ++i) loop.unix_ms();
    EXPECT_EQ(loop.now(), first);
    loop.post([&] {
      EXPECT_GT(loop.now(), first);
      loop.stop();
    });
  });
  loop.run();
}

TEST(UvLoop, KeepsTheOrderOfEachPostingThread) {
  constexpr int threads = 4, each = 20'000;
  UvLoop loop;
  std::vector<int> seen(threads, 0);
  int total = 0;
  auto loop_thread = std::this_thread::get_id();
  std::vector<std::thread> posters;
  for (int t = 0; t < threads; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        loop.post([&, t, i] {
          ASSERT_EQ(std::this_thread::get_id(), loop_thread);
          ASSERT_EQ(seen[static_cast<std::size_t>(t)]++, i);
          if (++total == threads * each) loop.stop();
        });
      }
    });
  }
  loop.run();
  for (auto& poster : posters) poster.join();
  EXPECT_EQ(total, threads * each);
}

TEST(UvLoop, APostFromATaskRunsInALaterTurn) {
  UvLoop loop;
  std::string order;
  loop.post([&] {
    loop.post([&] {
      order += 'c';
      loop.stop();
    });
    order += 'a';
  });
  loop.post([&] { order += 'b'; });
  loop.run();
  EXPECT_EQ(order, "abc");
}

TEST(UvLoop, ALaneRunsOneJobAtATimeInOrderAndSoDoItsCompletions) {
  constexpr int lanes = 5, each = 500;
  UvLoop loop;
  struct Lane {
    std::atomic<int> running = 0;
    int jobs = 0, done = 0;  // jobs: written by workers without a lock, which the lane's order alone makes right
  };
  std::vector<Lane> state(lanes);
  int total = 0;
  for (int i = 0; i < each; ++i) {
    for (int l = 0; l < lanes; ++l) {
      auto& lane = state[static_cast<std::size_t>(l)];
      loop.work(
          static_cast<Loop::Lane>(l),
          [&lane, i] {
            EXPECT_EQ(lane.running.fetch_add(1), 0);
            EXPECT_EQ(lane.jobs++, i);
            lane.running.fetch_sub(1);
          },
          [&, i] {
            EXPECT_EQ(lane.done++, i);
            if (++total == lanes * each) loop.stop();
          });
    }
  }
  loop.run();
  for (auto& lane : state) EXPECT_EQ(lane.jobs, each);
}

TEST(UvLoop, LanesOverlap) {
  UvLoop loop;
  std::atomic<int> arrived = 0;
  int done = 0;
  // Each job waits for the other: with one lane after the other this would never end.
  auto job = [&] {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  };
  auto completion = [&] {
    if (++done == 2) loop.stop();
  };
  loop.work(1, job, completion);
  loop.work(2, job, completion);
  loop.run();
  EXPECT_EQ(done, 2);
}

TEST(UvLoop, RunsItsTaskForASignal) {
  UvLoop loop;
  int caught = 0;
  loop.on_signal(SIGTERM, [&] {
    ++caught;
    loop.stop();
  });
  loop.post([] { ::raise(SIGTERM); });
  loop.run();
  EXPECT_EQ(caught, 1);
}

TEST(UvLoop, RandomNumbersDiffer) {
  UvLoop one, two;
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    seen.insert(one.random());
    seen.insert(two.random());
  }
  EXPECT_EQ(seen.size(), 2000u);
}

TEST(UvLoop, DropsWhatDidNotRunWhenItGoes) {
  auto held = std::make_shared<int>(1);
  {
    UvLoop loop;
    loop.post([held] { ADD_FAILURE(); });
    loop.after(milliseconds(1), [held] { ADD_FAILURE(); });
    loop.work(
        1, [held] {}, [held] { ADD_FAILURE(); });
  }
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace landfall
