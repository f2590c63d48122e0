// Properties of snapshots over a session: what chunks no longer bring a snapshot does, once, over whatever link; alarms
// overtake it; nobody but a hub may send one, nobody who was not offered one may ask, and nothing of one that lies is joined.
#include <gtest/gtest.h>

#include <algorithm>

#include "cloudsync/snapshot_taker.h"
#include "eventlog/chain.h"
#include "schemas/op.h"
#include "tests/cloudsync/joined.h"
#include "tests/sim/world.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

std::string page(std::uint64_t i) { return "doc/page-" + std::to_string(i); }

// A value of `bytes` for each of these documents, that does not compress well.
void write(Log& log, sim::Rng& rng, Stream stream, std::uint64_t first, std::uint64_t count, std::size_t bytes) {
  std::vector<std::string> subjects, payloads;
  for (std::uint64_t i = first; i < first + count; ++i) {
    subjects.push_back(page(i));
    const auto seen = log.state(stream, subjects.back());
    Op op{"/text", "\"", {}};
    while (op.value->size() < bytes) op.value->push_back(static_cast<char>('a' + rng.below(26)));
    op.value->push_back('"');
    for (const Entry& entry : *seen) op.supersedes.push_back(entry.dot);
    std::vector<Op> ops{std::move(op)};
    payloads.push_back(*encode_ops(ops, {log.run(), stream}));
  }
  std::vector<Event> events(count);
  for (std::size_t i = 0; i < count; ++i) {
    events[i].kind = Kind::change;
    events[i].subject = subjects[i];
    events[i].payload = payloads[i];
  }
  log.append(stream, events, [](const Result<Log::Appended>& appended) { ASSERT_TRUE(appended.ok()); });
}

void write(Joined& pair, Side& side, std::uint64_t first, std::uint64_t count, std::size_t bytes = 200) {
  write(*side.log, pair.schedule.rng, Stream::document, first, count, bytes);
  pair.run_for(1s);
}

void prune_all(Log& log) {
  for (const RunStream& of : log.received().streams()) {
    if (of.stream != Stream::document && of.stream != Stream::desired) continue;
    log.prune(of, log.received().base(of), [](const Status& status) { ASSERT_TRUE(status.ok()); });
  }
}

void wipe(Side& side) {
  side.log.reset();
  side.disk.image() = {};
  side.disk.boot(side.loop);
  auto empty = Log::open(side.loop, side.disk, {.node = side.self.node, .boot_id = "test", .software = "test"});
  ASSERT_TRUE(empty.ok());
  side.log = std::move(*empty);
}

void expect_alike(const Joined& pair) {
  EXPECT_TRUE(pair.edge.session->in_sync());
  EXPECT_TRUE(pair.hub.session->in_sync());
  EXPECT_EQ(*pair.edge.log->state_digest(Stream::document), *pair.hub.log->state_digest(Stream::document));
  EXPECT_EQ(*pair.edge.log->objects(Stream::document, "", "", 1 << 20),
            *pair.hub.log->objects(Stream::document, "", "", 1 << 20));
}

std::uint64_t snapshot_bytes(const Side& hub) { return (*hub.log->snapshot(Stream::document))->manifest().bytes(); }

struct Snapshots : testing::Test {
  Snapshots() { write(pair, pair.hub, 0, 400); }
  void prune() {
    prune_all(*pair.hub.log);
    pair.run_for(1s);
    ASSERT_EQ(pair.hub.log->floor(of), pair.hub.log->received().max(of));
  }
  Joined pair;
  RunStream of{pair.hub.log->run(), Stream::document};
};

TEST_F(Snapshots, BringWhatTheHubPrunedAndChunksGoOnFromThere) {
  prune();
  const std::uint64_t bytes = snapshot_bytes(pair.hub);
  pair.open();
  pair.run_for(5s);
  expect_alike(pair);
  const auto& ashore = pair.hub.session->totals();
  const auto& aboard = pair.edge.session->totals();
  EXPECT_EQ(ashore.snapshots_offered, 1u);
  EXPECT_EQ(ashore.snapshots_joined, 1u);
  EXPECT_EQ(aboard.snapshots_joined, 1u);
  EXPECT_EQ(ashore.parts_sent, aboard.parts_received);
  EXPECT_EQ(ashore.snapshot_bytes_sent, aboard.snapshot_bytes_received);
  EXPECT_LT(ashore.snapshot_bytes_sent, bytes + bytes / 50 + 500) << "each part once, and a manifest";
  EXPECT_EQ(ashore.resent, 0u);

  write(pair, pair.hub, 100, 3);
  pair.run_for(5s);
  expect_alike(pair);
  EXPECT_EQ(pair.hub.session->totals().snapshots_offered, 1u);
  EXPECT_TRUE(pair.edge.log->received().contains(of, 1, pair.hub.log->received().max(of)));
  pair.close();
  pair.open();
  pair.run_for(60s);
  expect_alike(pair);
  EXPECT_EQ(pair.hub.session->totals().snapshots_offered, 0u);
  EXPECT_EQ(pair.hub.session->totals().chunks_sent, 0u);
}

// All that came before the snapshot was made rides in it, whether it is still in chunks or not.
TEST_F(Snapshots, ChunksThatTheyCoverAreNotSentBeside) {
  prune();
  write(pair, pair.hub, 1000, 50);
  ASSERT_LT(pair.hub.log->floor(of), pair.hub.log->received().max(of));
  pair.open();
  pair.run_for(5s);
  expect_alike(pair);
  for (const Side* side : {&pair.edge, &pair.hub}) EXPECT_EQ(side->session->totals().duplicates, 0u);
  EXPECT_TRUE(pair.edge.log->read(of, 1, 1 << 20)->empty());
}

TEST_F(Snapshots, WhatWasPrunedWhileASessionRunsComesAsOne) {
  pair.latency = 500ms;
  pair.hub.options.link_bytes_per_second = 2000;
  pair.open();
  pair.run_for(3s);
  ASSERT_LT(pair.edge.log->received().max(of), 400u);
  prune();
  pair.run_for(10min);
  expect_alike(pair);
  EXPECT_EQ(pair.edge.session->totals().snapshots_joined, 1u);
}

// Deleted at the hub, and the events that say so are gone; what only the edge wrote stays, and goes up.
TEST_F(Snapshots, DeletesHoldAndWhatIsOnlyHereStays) {
  pair.open();
  pair.run_for(5s);
  expect_alike(pair);
  pair.close();
  write(pair, pair.edge, 2000, 5);
  std::vector<Op> ops;
  const auto seen = pair.hub.log->state(Stream::document, page(7));
  for (const Entry& entry : *seen) ops.push_back({entry.path, std::nullopt, {entry.dot}});
  const auto payload = encode_ops(ops, of);
  const std::string object = page(7);
  Event event;
  event.kind = Kind::change;
  event.subject = object;
  event.payload = *payload;
  pair.hub.log->append(Stream::document, {&event, 1}, [](const Result<Log::Appended>&) {});
  pair.run_for(1s);
  prune();
  pair.open();
  pair.run_for(5s);
  expect_alike(pair);
  EXPECT_EQ(pair.edge.session->totals().snapshots_joined, 1u);
  for (const Side* side : {&pair.edge, &pair.hub}) {
    EXPECT_TRUE(side->log->state(Stream::document, page(7))->empty());
    EXPECT_FALSE(side->log->state(Stream::document, page(2004))->empty());
  }
}

// A link that ends after every few frames. Where the process ends with it only what the log kept is left, so a session must
// last for one part; where it goes on, every piece counts.
TEST_F(Snapshots, LinkThatFallsEveryFewFramesBringsThemPartByPart) {
  write(pair, pair.hub, 1000, 600);
  prune();
  const auto snapshot = *pair.hub.log->snapshot(Stream::document);
  std::uint64_t largest = 0;
  for (const auto& part : snapshot->manifest().parts) largest = std::max<std::uint64_t>(largest, part.bytes);
  ASSERT_GT(snapshot->manifest().parts.size(), 10u);
  const std::uint64_t manifest = encode(snapshot->manifest()).size();
  for (const bool remembers : {false, true}) {
    SCOPED_TRACE(remembers);
    wipe(pair.edge);
    pair.run_for(1s);
    pair.edge.options.taker = remembers ? std::make_shared<SnapshotTaker>(*pair.edge.log) : nullptr;
    pair.hub.options.link_bytes_per_second = 3000;  // parts travel in pieces
    std::uint64_t sessions = 0, bytes = 0;
    for (; sessions < 200; ++sessions) {
      pair.cut_at = pair.frames + (remembers ? 14 : 26) + sessions % 3;
      pair.open();
      std::uint64_t taken = 0;
      for (int i = 0; i < 600 && pair.edge.session && !pair.edge.session->in_sync(); ++i) {
        taken = pair.edge.session->totals().snapshot_bytes_received;
        pair.run_for(100ms);
      }
      bytes += pair.edge.session ? pair.edge.session->totals().snapshot_bytes_received : taken;
      if (pair.edge.session && pair.edge.session->in_sync()) break;
      if (pair.edge.session) pair.close();
    }
    pair.cut_at.reset();
    ASSERT_TRUE(pair.edge.session);
    pair.run_for(60s);
    expect_alike(pair);
    EXPECT_GT(sessions, 2u);
    EXPECT_LE(bytes, snapshot->manifest().bytes() + (sessions + 1) * (manifest + largest));
    pair.close();
    pair.edge.options.taker = nullptr;
  }
}

TEST_F(Snapshots, PartsOfAnOlderOneServeTheNewer) {
  write(pair, pair.hub, 1000, 600);
  prune();
  const std::uint64_t whole = snapshot_bytes(pair.hub);
  pair.hub.options.link_bytes_per_second = 20'000;
  pair.latency = 100ms;
  pair.open();
  while (pair.edge.session->totals().parts_received < 8) pair.run_for(10ms);
  const std::uint64_t first = pair.hub.session->totals().snapshot_bytes_sent;
  pair.close();
  write(pair, pair.hub, 500, 2);
  prune();
  pair.open();
  pair.run_for(60s);
  expect_alike(pair);
  EXPECT_EQ(pair.edge.session->totals().snapshots_joined, 1u);
  EXPECT_GT(first, whole / 10);
  EXPECT_LT(pair.hub.session->totals().snapshot_bytes_sent, whole - first / 2) << "unchanged parts are not sent again";
}

TEST(SnapshotLink, AlarmOvertakesAndLossOnlyDelays) {
  for (const double loss : {0.0, 0.2}) {
    for (const Stream stream : {Stream::desired, Stream::document}) {
      SCOPED_TRACE(std::string(to_string(stream)) + ", loss " + std::to_string(loss));
      sim::World world(11, {.edges = 1, .link_bytes_per_second = 4000});
      world.run_for(10s);
      world.edge(0).network.hold(true);
      write(*world.hub().log, world.rng(), stream, 0, 600, 300);
      world.run_for(1s);
      prune_all(*world.hub().log);
      world.run_for(1s);
      world.medium().faults = {.loss = loss,
                               .duplicate = loss / 4,
                               .delay_min = 300ms,
                               .delay_max = loss > 0 ? 900ms : 301ms,
                               .in_order = loss == 0,
                               .bytes_per_second = 4000};
      world.edge(0).network.hold(false);
      const auto totals = [&] { return world.edge(0).replicator->peers().at(0).totals; };
      Duration worst{};
      const RunStream alarms{world.hub().log->run(), Stream::alarm};
      std::uint64_t sent = 0;
      for (int i = 0; i < 20 && totals().snapshots_joined == 0; ++i) {
        world.run_for(3s);
        Event alarm;
        alarm.subject = "alarm/pump/hot";
        world.hub().log->append(Stream::alarm, {&alarm, 1}, [](const Result<Log::Appended>&) {});
        const Instant raised = world.now();
        ++sent;
        while (world.edge(0).log->received().max(alarms) < sent && world.now() - raised < 60s) world.run_for(10ms);
        worst = std::max(worst, world.now() - raised);
      }
      EXPECT_GT(sent, 5u);
      if (loss == 0) {
        EXPECT_LE(worst, 2500ms) << "one way, and about a second and a round trip of parts";
      }
      for (int i = 0; i < 360 && totals().snapshots_joined == 0; ++i) world.run_for(10s);
      world.run_for(1min);
      EXPECT_EQ(*world.edge(0).log->state_digest(stream), *world.hub().log->state_digest(stream));
      EXPECT_EQ(totals().snapshots_joined, 1u);
    }
  }
}

// One that a session still holds serves those that come after.
TEST(SnapshotLink, FleetThatComesBackTogetherGetsTheSameOne) {
  sim::World world(12, {.edges = 3});
  world.run_for(10s);
  for (std::size_t i = 0; i < 3; ++i) world.edge(i).network.hold(true);
  write(*world.hub().log, world.rng(), Stream::document, 0, 600, 300);
  world.run_for(1s);
  prune_all(*world.hub().log);
  world.medium().faults.bytes_per_second = 50'000;
  for (std::size_t i = 0; i < 3; ++i) world.edge(i).network.hold(false);
  for (int i = 0; i < 5; ++i) {
    world.run_for(1s);
    write(*world.hub().log, world.rng(), Stream::document, 10, 1, 20);
  }
  world.run_for(5min);
  ASSERT_TRUE(world.in_sync());
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(*world.edge(i).log->state_digest(Stream::document), *world.hub().log->state_digest(Stream::document));
    EXPECT_EQ(world.edge(i).replicator->peers().at(0).totals.snapshots_joined, 1u);
  }
}

TEST_F(Snapshots, NoneWhileTheHubHasGapsAndOneOnceTheyAreFilled) {
  Side third(pair.schedule, 3, Peer::Role::node);
  for (int i = 0; i < 3; ++i)
    write(*third.log, pair.schedule.rng, Stream::document, 3000u + static_cast<unsigned>(i), 1, 20);
  pair.run_for(1s);
  const RunStream theirs{third.log->run(), Stream::document};
  std::vector<std::string> chunks;
  for (std::uint64_t seq = 1; seq <= 3; ++seq) {
    ChainHasher hasher;
    const auto read = third.log->read(theirs, seq, 1);
    chunks.push_back(*cut_chunk(read->front().bytes, seq, seq, hasher));
  }
  prune();
  const auto give = [&](std::size_t i) {
    pair.hub.log->ingest(chunks[i], [](const Status& status) { ASSERT_TRUE(status.ok()); });
    pair.run_for(1s);
  };
  give(2);
  pair.open();
  pair.run_for(60s);
  EXPECT_EQ(pair.hub.session->totals().snapshots_offered, 0u);
  EXPECT_EQ(pair.edge.log->received().base(of), 0u);
  EXPECT_TRUE(pair.edge.log->received().contains(theirs, 3, 3)) << "what is there comes, as it did before";
  give(0);
  pair.run_for(30s);
  EXPECT_EQ(pair.hub.session->totals().snapshots_offered, 0u);
  give(1);
  pair.run_for(30s);
  expect_alike(pair);
  EXPECT_EQ(pair.hub.session->totals().snapshots_offered, 1u);
  EXPECT_EQ(pair.edge.log->received().base(of), 400u);
}

// ---- who may, and what must be

SnapshotOffer offer_of(const SnapshotManifest& manifest) {
  const std::string bytes = encode(manifest);
  return {manifest.stream, part_id(bytes), static_cast<std::uint32_t>(bytes.size()), 0, bytes};
}

struct Hostile : Snapshots {
  Hostile() {
    prune();
    real = *pair.hub.log->snapshot(Stream::document);
    pair.hub.options.snapshot = nullptr;  // what it would send is said here
    pair.open();
    pair.run_for(2s);
    before = pair.edge.log->received();
  }
  std::optional<Error> tell(Side& to, FrameType type, const std::string& body) {
    auto effects = to.session->on_frame({type, body}, pair.schedule.now());
    const auto close = effects.close;
    effects.frames.clear();  // the other end, who offered nothing, would not understand
    pair.apply(to, std::move(effects));
    pair.run_for(1s);
    return close;
  }
  std::optional<Error> offer(const SnapshotManifest& manifest) {
    return tell(pair.edge, FrameType::snapshot_offer, encode(offer_of(manifest)));
  }
  std::optional<Error> part(std::uint32_t index, std::uint32_t offset, std::string bytes) {
    const SnapshotPart frame{Stream::document, offer_of(real->manifest()).id, index, offset, std::move(bytes)};
    return tell(pair.edge, FrameType::snapshot_part, encode(frame));
  }
  void expect_untouched() {
    EXPECT_EQ(pair.edge.log->received(), before);
    EXPECT_TRUE(pair.edge.log->objects(Stream::document, "", "", 10)->empty());
  }
  std::shared_ptr<const Snapshot> real;
  ReceivedContext before;
};

TEST_F(Hostile, NobodyButAHubMaySendThem) {
  for (const FrameType type : {FrameType::snapshot_offer, FrameType::snapshot_part}) {
    const std::string body = type == FrameType::snapshot_offer
                                 ? encode(offer_of(real->manifest()))
                                 : encode(SnapshotPart{Stream::document, {}, 0, 0, "bytes"});
    const auto close = tell(pair.hub, type, body);
    ASSERT_TRUE(close);
    EXPECT_EQ(close->code, Code::denied);
    pair.close();
    pair.open();
    pair.run_for(1s);
  }
}

TEST_F(Hostile, NotEvenAHubOfAStreamThatIsNotRelayed) {
  SnapshotOffer offer = offer_of(real->manifest());
  offer.stream = Stream::alarm;
  auto close = tell(pair.edge, FrameType::snapshot_offer, encode(offer));
  ASSERT_TRUE(close);
  EXPECT_EQ(close->code, Code::denied);
  pair.close();
  pair.open();
  close = tell(pair.edge, FrameType::snapshot_part, encode(SnapshotPart{Stream::telemetry, offer.id, 0, 0, "bytes"}));
  ASSERT_TRUE(close);
  EXPECT_EQ(close->code, Code::denied);
  expect_untouched();
}

TEST_F(Hostile, NobodyMayWantWhatHeWasNotOffered) {
  SnapshotWant want{Stream::document, offer_of(real->manifest()).id, true, {{0, 0}}, {}};
  const auto close = tell(pair.hub, FrameType::snapshot_want, encode(want));
  ASSERT_TRUE(close);
  EXPECT_EQ(close->code, Code::denied);
}

TEST_F(Hostile, WantsOfPartsThatAreNotThereEndTheSession) {
  for (const bool missing : {true, false}) {
    pair.close();
    pair.hub.options.snapshot = [&](Stream) { return Result(real); };
    SnapshotId id{};
    pair.watch = [&](Side&, FrameView frame) {
      if (frame.type == FrameType::snapshot_offer) id = decode_snapshot_offer(frame.body)->id;
    };
    pair.open();
    while (id == SnapshotId{}) pair.run_for(1ms);
    const auto parts = static_cast<std::uint32_t>(real->manifest().parts.size());
    SnapshotWant want{Stream::document, id, missing, {}, {}};
    if (missing) want.missing = {{0, parts}};
    if (!missing) want.got = {{0, 0, real->manifest().parts[0].bytes + 1}};
    // To one that still has it on offer.
    auto effects = pair.hub.session->on_frame({FrameType::snapshot_want, encode(want)}, pair.schedule.now());
    ASSERT_TRUE(effects.close) << missing;
    EXPECT_EQ(effects.close->code, Code::out_of_range);
    want.id[0] ^= 1;
  }
}

TEST_F(Hostile, WhatIsNotAsTheManifestSaysIsRefused) {
  const auto& parts = real->manifest().parts;
  struct Case {
    const char* name;
    std::function<std::optional<Error>()> send;
    Code code;
  };
  const std::vector<Case> cases = {
      {"a part beyond the last", [&] { return part(static_cast<std::uint32_t>(parts.size()), 0, "bytes"); },
       Code::out_of_range},
      {"bytes beyond a part", [&] { return part(0, parts[0].bytes - 2, "bytes"); }, Code::out_of_range},
      {"a part with a byte changed",
       [&] {
         std::string bytes = real->part(0);
         bytes[bytes.size() / 2] ^= 1;
         return part(0, 0, bytes);
       },
       Code::corrupt},
      {"another part's bytes, in pieces",
       [&] {
         std::string bytes(parts[0].bytes, 'x');
         const auto first = part(0, 0, bytes.substr(0, 10));
         EXPECT_FALSE(first);
         return part(0, 10, bytes.substr(10));
       },
       Code::corrupt},
      {"one manifest of two lengths",
       [&] {
         SnapshotOffer longer = offer_of(real->manifest());
         ++longer.total;
         return tell(pair.edge, FrameType::snapshot_offer, encode(longer));
       },
       Code::corrupt},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    ASSERT_FALSE(offer(real->manifest()));
    const auto close = one.send();
    ASSERT_TRUE(close);
    EXPECT_EQ(close->code, one.code) << close->detail;
    expect_untouched();
    pair.close();
    pair.open();
    pair.run_for(1s);
  }
}

TEST_F(Hostile, ManifestsThatLieAreRefused) {
  SnapshotOffer misnamed = offer_of(real->manifest());
  misnamed.id[3] ^= 1;
  auto close = tell(pair.edge, FrameType::snapshot_offer, encode(misnamed));
  ASSERT_TRUE(close);
  EXPECT_EQ(close->code, Code::corrupt);
  pair.close();
  pair.open();
  pair.run_for(1s);
  SnapshotOffer other = offer_of(real->manifest());
  other.stream = Stream::desired;
  close = tell(pair.edge, FrameType::snapshot_offer, encode(other));
  ASSERT_TRUE(close);
  EXPECT_EQ(close->code, Code::corrupt);
  expect_untouched();
}

TEST_F(Hostile, StrayAndDoubledFramesDoNothing) {
  EXPECT_FALSE(part(0, 0, real->part(0))) << "its offer was overtaken";
  ASSERT_FALSE(offer(real->manifest()));
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(part(0, 0, real->part(0)));
    EXPECT_FALSE(part(1, 0, real->part(1).substr(0, 100)));
    EXPECT_FALSE(part(2, 50, real->part(2).substr(50, 100))) << "while another is in assembly";
    EXPECT_FALSE(offer(real->manifest()));
  }
  expect_untouched();
  EXPECT_TRUE(pair.edge.session);
  EXPECT_EQ(pair.edge.session->totals().parts_received, 1u);
  EXPECT_FALSE(pair.edge.session->in_sync());
}

TEST(Pieces, InAnyOrderTwiceAndOverlapping) {
  std::string whole;
  for (int i = 0; i < 300; ++i) whole.push_back(static_cast<char>(i * 7));
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    sim::Rng rng(seed);
    Pieces pieces;
    pieces.begin(whole.size());
    std::vector<bool> have(whole.size());
    while (!pieces.complete()) {
      const auto offset = static_cast<std::uint32_t>(rng.below(whole.size()));
      const std::size_t size = rng.below(std::min<std::size_t>(40, whole.size() - offset) + 1);
      pieces.add(offset, std::string_view(whole).substr(offset, size));
      std::fill_n(have.begin() + offset, size, true);
      std::vector<bool> said(whole.size());
      for (const auto& [first, end] : pieces.ranges()) std::fill(said.begin() + first, said.begin() + end, true);
      ASSERT_EQ(said, have);
    }
    EXPECT_EQ(pieces.take(), whole);
  }
}

}  // namespace
}  // namespace landfall
