#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/eventlog/log_fixture.h"

namespace landfall {
namespace {

using test::event;
using test::LogMachine;

// Real processes, real kills: what a log has reported as durable is there afterwards.

// In the child: appends for ever and writes the seq of each event to `out` once it is A1.
[[noreturn]] void append_until_killed(const std::filesystem::path& dir, int out, std::uint64_t nonce) {
  test::TestLoop loop;
  for (std::uint64_t i = 0; i < nonce; ++i) loop.random();
  auto store = open_rocks_store(
      loop, {.directory = dir / "log", .anchor = dir / "anchor", .memory_bytes = 1 << 20, .on_fatal = {}});
  if (!store) ::_exit(3);
  auto log = Log::open(loop, **store, {.node = test::node(1), .boot_id = "boot", .software = "test"});
  if (!log) ::_exit(4);
  const RunId run = (*log)->run();
  std::function<void()> next = [&] {
    const std::string payload(200, static_cast<char>('a' + loop.random() % 26));
    std::vector<Event> events(1 + loop.random() % 40, event("d1", payload));
    (*log)->append(Stream::telemetry, events, [&](const Result<Log::Appended>& appended) {
      if (!appended) ::_exit(5);
      const Dot last{run, Stream::telemetry, appended->first.seq + appended->count - 1};
      // One write is whole or absent.
      if (::write(out, &last, sizeof last) != sizeof last) ::_exit(6);
      next();
    });
  };
  for (int writers = 0; writers < 4; ++writers) next();
  loop.run_until([] { return false; });
  ::_exit(0);
}

TEST(Crash, NothingReportedIsMissingAfterKills) {
  test::TempDir dir;
  std::vector<Dot> reported;
  int lives_that_reported = 0;
  for (std::uint64_t life = 0; life < 20; ++life) {
    int pipe[2];
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) append_until_killed(dir.path(), pipe[1], life);
    ::close(pipe[1]);
    // After so many reports, at whatever instant that is; what the pipe still holds was reported, too.
    const std::size_t enough = reported.size() + (life * 37) % 101;
    bool killed = false;
    Dot dot;
    while (::read(pipe[0], &dot, sizeof dot) == sizeof dot) {
      reported.push_back(dot);
      if (!killed && reported.size() >= enough) killed = ::kill(child, SIGKILL) == 0;
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed by itself: " << WEXITSTATUS(status);
    ::close(pipe[0]);
    lives_that_reported += !reported.empty() && reported.back().run.counter == life + 1 ? 1 : 0;
  }
  EXPECT_GE(lives_that_reported, 19);
  EXPECT_GT(reported.size(), 500u);

  test::TestLoop loop;
  auto store =
      open_rocks_store(loop, {.directory = dir.path() / "log", .anchor = dir.path() / "anchor", .on_fatal = {}});
  ASSERT_TRUE(store.ok());
  auto report = verify_log(**store, {});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->faults, std::vector<std::string>{});
  auto log = Log::open(loop, **store, {.node = test::node(1), .boot_id = "boot", .software = "test"});
  ASSERT_TRUE(log.ok());
  EXPECT_FALSE((*log)->degraded());
  EXPECT_EQ((*log)->runs().size(), 21u);
  for (const Dot& dot : reported) ASSERT_TRUE((*log)->received().contains(dot)) << to_string(dot);
}

// A disk that takes no more, played by the limit on file size.
TEST(Crash, AFullDiskEndsTheLogWithAClearError) {
  test::TempDir dir;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{2 << 20, 2 << 20};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    test::TestLoop loop;
    std::optional<Error> fatal;
    auto store = open_rocks_store(loop, {.directory = dir.path() / "log",
                                         .anchor = dir.path() / "anchor",
                                         .memory_bytes = 64 << 20,
                                         .on_fatal = [&](const Error& error) { fatal = error; }});
    if (!store) ::_exit(3);
    auto log = Log::open(loop, **store, {.node = test::node(1), .boot_id = "boot", .software = "test"});
    if (!log) ::_exit(4);
    std::optional<Error> refused;
    std::uint64_t stored = 0;
    std::string noise(100 << 10, '\0');
    while (!refused) {
      for (char& c : noise) c = static_cast<char>(loop.random());
      bool done = false;
      (*log)->append(Stream::blob, std::vector{event("d1", noise)}, [&](const Result<Log::Appended>& appended) {
        done = true;
        if (appended)
          ++stored;
        else
          refused = appended.error();
      });
      loop.run_until([&] { return done; });
    }
    loop.run_until([&] { return fatal.has_value(); });
    // Everything after the first failure fails as well: nothing is tried again.
    std::optional<Error> again;
    (*log)->append(Stream::alarm, std::vector{event("d1", "x")},
                   [&](const Result<Log::Appended>& a) { again = a.error(); });
    loop.run_until([&] { return again.has_value(); });
    const bool clear = refused->code == Code::disk && fatal->code == Code::disk && again->code == Code::disk &&
                       refused->detail.find((dir.path() / "log").string()) != std::string::npos;
    std::fprintf(stderr, "stored %d, then: %s\n", static_cast<int>(stored), refused->detail.c_str());
    ::_exit(!clear ? 5 : stored < 10 ? 6 : (*log)->received().base({(*log)->run(), Stream::blob}) != stored ? 7 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  ASSERT_EQ(WEXITSTATUS(status), 0);

  // Nothing half-written is found once there is room again.
  test::TestLoop loop;
  auto store =
      open_rocks_store(loop, {.directory = dir.path() / "log", .anchor = dir.path() / "anchor", .on_fatal = {}});
  ASSERT_TRUE(store.ok()) << store.error().detail;
  auto report = verify_log(**store, {});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->faults, std::vector<std::string>{});
  EXPECT_GE(report->events, 11u);
}

}  // namespace
}  // namespace landfall
