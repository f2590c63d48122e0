#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "eventlog/layout.h"
#include "tests/eventlog/log_fixture.h"

namespace landfall {
namespace {

namespace fs = std::filesystem;
using test::event;
using test::LogMachine;

// A cloned disk gives one run two histories. Each of them says in good faith where the run ended, and neither knows of the
// other. Whichever reaches the hub first, every event of both is there in the end, and one audit event says what happened.

std::vector<Event> events(const std::string& payload, std::size_t count) {
  return std::vector<Event>(count, event("d1", payload));
}

struct Forked {
  LogMachine original{1}, clone{1}, hub{2};
  RunId run;  // which both have

  // 100 events before the copy; then the original writes on in its run, the clone in one of its own.
  Forked() {
    run = original.log->run();
    EXPECT_TRUE(original.append(Stream::telemetry, events("before the copy", 100)).ok());
    clone.close();
    fs::remove_all(clone.directory());
    fs::copy(original.directory(), clone.directory(), fs::copy_options::recursive);
    fs::copy_file(original.anchor(), clone.anchor(), fs::copy_options::overwrite_existing);
    clone.open();
    EXPECT_TRUE(original.append(Stream::telemetry, events("original", 100)).ok());
    EXPECT_TRUE(original.append(Stream::alarm, events("original", 3)).ok());
    EXPECT_TRUE(clone.append(Stream::telemetry, events("clone", 50)).ok());
    EXPECT_FALSE(clone.log->degraded()) << "the copied anchor knows of nothing else";
  }
};

std::vector<std::string> all_chunks(const LogMachine& m) {
  std::vector<std::string> bytes;
  for (const RunStream& of : m.log->received().streams()) {
    for (auto& chunk : m.chunks(of)) bytes.push_back(std::move(chunk.bytes));
  }
  return bytes;
}

void send(LogMachine& hub, const std::vector<std::string>& chunks) {
  for (const std::string& chunk : chunks) {
    const Status status = hub.ingest(chunk);
    ASSERT_TRUE(status.ok()) << status.error().detail;
  }
}

void expect_all_of(const LogMachine& from, const LogMachine& hub) {
  for (const RunStream& of : from.log->received().streams()) {
    const auto sent = from.payloads(of), there = hub.payloads(of);
    ASSERT_GE(there.size(), sent.size()) << to_string(Dot{of.run, of.stream, 1});
    EXPECT_TRUE(std::equal(sent.begin(), sent.end(), there.begin())) << to_string(Dot{of.run, of.stream, 1});
    EXPECT_TRUE(hub.log->received().contains(of, 1, sent.size()));
  }
}

// The fork audits that `m` has written, in all its runs.
std::vector<std::string> fork_audits(const LogMachine& m) {
  std::vector<std::string> audits;
  for (const RunId& run : m.log->runs()) {
    if (run.node != m.log->run().node) continue;
    for (const std::string& payload : m.payloads({run, Stream::control})) {
      if (payload.starts_with(R"({"audit":"fork")")) audits.push_back(payload);
    }
  }
  return audits;
}

void expect_both_and_one_audit(Forked& f) {
  for (int opens = 0; opens < 2; ++opens) {
    f.hub.settle();
    expect_all_of(f.original, f.hub);
    expect_all_of(f.clone, f.hub);
    const auto audits = fork_audits(f.hub);
    ASSERT_EQ(audits.size(), 1u);
    EXPECT_NE(audits[0].find("\"run\":\"" + to_string(f.run) + "\""), std::string::npos) << audits[0];
    EXPECT_EQ(f.hub.verify().faults, std::vector<std::string>{});
    f.hub.reopen();
  }
  EXPECT_FALSE(f.hub.log->degraded());
}

TEST(Fork, LosesNothingOfTheOriginalWhereTheCloneComesFirst) {
  Forked f;
  const RunStream of{f.run, Stream::telemetry};
  send(f.hub, all_chunks(f.clone));
  EXPECT_EQ(f.hub.log->received().missing(of, 1, 200), (std::vector<ReceivedContext::Range>{{101, 200}}))
      << "the clone's word for the run's end hides nothing after it";
  EXPECT_TRUE(fork_audits(f.hub).empty()) << "so far there is one history";
  f.hub.reopen();
  EXPECT_EQ(f.hub.log->received().base(of), 100u);
  send(f.hub, all_chunks(f.original));
  EXPECT_EQ(f.hub.log->received().base(of), 200u);
  expect_both_and_one_audit(f);
}

TEST(Fork, LosesNothingOfTheCloneWhereTheOriginalComesFirst) {
  Forked f;
  send(f.hub, all_chunks(f.original));
  send(f.hub, all_chunks(f.clone));
  expect_both_and_one_audit(f);
}

TEST(Fork, LosesNothingInAnyOrderOfChunks) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 rng(seed);
    Forked f;
    if (seed % 2 == 0) f.original.reopen();  // then two runs go on from the one
    auto chunks = all_chunks(f.original);
    for (auto& chunk : all_chunks(f.clone)) chunks.push_back(std::move(chunk));
    std::shuffle(chunks.begin(), chunks.end(), rng);
    send(f.hub, chunks);
    expect_both_and_one_audit(f);
  }
}

// As a hub leaves it that dies between the chunk and the audit event: both histories, and no note of it.
TEST(Fork, IsNotedAtTheNextOpenWhereTheHubDiedBefore) {
  Forked f;
  send(f.hub, all_chunks(f.clone));
  send(f.hub, all_chunks(f.original));
  f.hub.settle();
  ASSERT_EQ(fork_audits(f.hub).size(), 1u);
  Batch batch;
  batch.erase(Table::meta, layout::fork_key(f.run));
  std::optional<Status> erased;
  f.hub.store->commit(std::move(batch), [&](const Status& status) { erased = status; });
  f.hub.loop.run_until([&] { return erased.has_value(); });
  for (int opens = 0; opens < 2; ++opens) {
    f.hub.reopen();
    EXPECT_EQ(fork_audits(f.hub).size(), 2u);
  }
}

TEST(Fork, IsNotSeenWhereANodeOnlyRestarts) {
  LogMachine edge(1), hub(2);
  for (int run = 0; run < 4; ++run) {
    ASSERT_TRUE(edge.append(Stream::telemetry, events("value", 20)).ok());
    edge.reopen();
  }
  auto chunks = all_chunks(edge);
  std::reverse(chunks.begin(), chunks.end());
  send(hub, chunks);
  hub.reopen();
  expect_all_of(edge, hub);
  EXPECT_TRUE(fork_audits(hub).empty());
  EXPECT_TRUE(fork_audits(edge).empty());
}

}  // namespace
}  // namespace landfall
