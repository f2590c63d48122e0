// Property: joining a snapshot is receiving the events that it is the sum of.
#include <gtest/gtest.h>

#include "eventlog/chain.h"
#include "eventlog/kept_parts.h"
#include "eventlog/layout.h"
#include "schemas/limits.h"
#include "tests/eventlog/sim_site.h"

namespace landfall {
namespace {

using test::SimSite;

constexpr Stream stream = Stream::desired;

class SnapshotTest : public testing::Test {
 protected:
  static std::string name(int object) { return "twin/pump-" + std::to_string(100 + object); }
  // Every property of some objects.
  void fill(SimSite& at, int objects, int properties = 4) {
    for (int o = 0; o < objects; ++o) {
      std::vector<Op> ops;
      for (int p = 0; p < properties; ++p)
        ops.push_back({"/p/" + std::to_string(p), std::to_string(o * 100 + p) + std::string(60, 'v'), {}});
      at.write(stream, name(o), ops);
    }
  }
  static void expect_same(SimSite& left, SimSite& right) {
    EXPECT_EQ(*left.log->state_digest(stream), *right.log->state_digest(stream));
    EXPECT_EQ(left.received(stream), right.received(stream));
    const auto names = left.log->objects(stream, {}, {}, 10'000);
    EXPECT_EQ(*names, *right.log->objects(stream, {}, {}, 10'000));
    for (const std::string& object : *names)
      EXPECT_EQ(*left.log->state(stream, object), *right.log->state(stream, object));
  }

  sim::Schedule schedule{1};
};

TEST_F(SnapshotTest, GivesAnEmptySiteEverythingAndWhatFollowsGoesOn) {
  SimSite a(schedule, 1), b(schedule, 2);
  fill(a, 50);
  a.write(stream, name(3), "/p/1", std::nullopt);
  const RunStream of{a.log->run(), stream};
  ASSERT_TRUE(a.prune(of, 40).ok());
  const auto snapshot = a.snapshot(stream);
  EXPECT_EQ(snapshot->manifest().received.base(of), 51u);
  std::vector<Log::Range> ranges;
  std::vector<std::string> changed;
  b.log->subscribe(0x7f, [&](const Log::Range& range) { ranges.push_back(range); });
  b.log->watch(0x7f, [&](const Log::Changed& now) {
    EXPECT_EQ(now.range.of, of);
    changed = now.objects;
  });
  ASSERT_TRUE(b.take(*snapshot).ok());
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].of, of);
  EXPECT_EQ(ranges[0].first, 1u);
  EXPECT_EQ(ranges[0].last, 51u);
  EXPECT_EQ(changed, *a.log->objects(stream, {}, {}, 100));
  expect_same(a, b);
  EXPECT_EQ(b.log->floor(of), 51u);
  EXPECT_TRUE(b.log->read(of, 1, 1 << 20)->empty());
  // Over what the snapshot brought, by an event that comes after it; and what the snapshot has comes once more.
  const auto old = a.chunks(stream);
  a.write(stream, name(3), "/p/2", "new");
  a.write(stream, name(4), "/p/0", std::nullopt);
  const auto chunks = a.log->read(of, 52, 1 << 20);
  for (const auto& chunk : old) EXPECT_TRUE(b.ingest(chunk.bytes).ok());
  for (const auto& chunk : *chunks) ASSERT_TRUE(b.ingest(chunk.bytes).ok());
  expect_same(a, b);
  b.restart();
  expect_same(a, b);
  EXPECT_EQ(b.log->floor(of), 51u);
  EXPECT_EQ(a.faults(), std::vector<std::string>{});
  EXPECT_EQ(b.faults(), std::vector<std::string>{});
  b.log.reset();
  const Status refused = forget_state(b.disk);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::unavailable);
}

TEST_F(SnapshotTest, IsTheSameWhileNothingChangesAndAnotherAfterwards) {
  SimSite a(schedule, 1);
  fill(a, 3);
  const auto first = a.snapshot(stream);
  EXPECT_EQ(a.snapshot(stream), first);
  a.write(Stream::reported, "twin/x", "/p", "1");
  EXPECT_EQ(a.snapshot(stream), first) << "of another stream";
  Event event;
  event.kind = Kind::message;
  event.subject = "d";
  a.log->append(stream, {&event, 1}, [](const auto&) {});
  a.settle();
  const auto second = a.snapshot(stream);
  EXPECT_NE(second, first) << "received more";
  EXPECT_EQ(second->manifest().parts, first->manifest().parts);
  EXPECT_EQ(a.snapshot(Stream::document)->manifest(), (SnapshotManifest{Stream::document, {}, {}, {}}));
}

TEST_F(SnapshotTest, EqualStatesMakeEqualPartsWhateverTheOrderAndTheHandles) {
  SimSite a(schedule, 1), b(schedule, 2), c(schedule, 3), d(schedule, 4);
  fill(a, 60);
  a.restart();
  fill(b, 40);
  a.write(stream, name(7), "/p/1", "second run");
  std::vector<std::string> all;
  for (SimSite* site : {&a, &b}) {
    for (const auto& chunk : site->chunks(stream)) all.push_back(chunk.bytes);
  }
  for (const std::string& chunk : all) ASSERT_TRUE(c.ingest(chunk).ok());
  for (auto chunk = all.rbegin(); chunk != all.rend(); ++chunk) ASSERT_TRUE(d.ingest(*chunk).ok());
  const auto left = c.snapshot(stream), right = d.snapshot(stream);
  EXPECT_EQ(left->manifest(), right->manifest());
  ASSERT_GT(left->manifest().parts.size(), 1u);
  // One that joined it makes it again.
  ASSERT_TRUE(a.take(*left).ok());
  EXPECT_EQ(a.snapshot(stream)->manifest(), left->manifest());
  // A small change later most parts are the ones that are kept already.
  c.write(stream, name(30), "/p/3", "changed");
  const auto later = c.snapshot(stream);
  for (std::size_t i = 0; i < left->manifest().parts.size(); ++i) ASSERT_TRUE(b.keep(stream, left->part(i)).ok());
  EXPECT_LE(b.log->missing_parts(later->manifest()).size(), 2u);
  ASSERT_TRUE(b.take(*later).ok());
  expect_same(b, c);
}

TEST_F(SnapshotTest, IsRefusedWhileWhatItWouldClaimIsNotHere) {
  SimSite a(schedule, 1), b(schedule, 2), c(schedule, 3);
  a.write(stream, name(1), "/p", "1");
  a.write(stream, name(1), "/p", "2");
  a.write(stream, name(2), "/p", "3");
  const auto chunks = a.chunks(stream);
  ASSERT_TRUE(b.ingest(chunks[2].bytes).ok());
  EXPECT_EQ(b.log->snapshot(stream).error().code, Code::unavailable) << "a gap";
  EXPECT_TRUE(b.log->snapshot(Stream::reported).ok());
  ASSERT_TRUE(b.ingest(chunks[0].bytes).ok());
  ASSERT_TRUE(b.ingest(chunks[1].bytes).ok());
  EXPECT_TRUE(b.log->snapshot(stream).ok());
  // c deletes what b wrote; who has c's event alone does not know what else b superseded.
  b.write(stream, name(9), "/p", "b");
  const auto from_b = b.log->read({b.log->run(), stream}, 1, 1 << 20);
  ASSERT_TRUE(c.ingest(from_b->at(0).bytes).ok());
  c.write(stream, name(9), "/p", std::nullopt);
  const auto from_c = c.log->read({c.log->run(), stream}, 1, 1 << 20);
  ASSERT_TRUE(a.ingest(from_c->at(0).bytes).ok());
  EXPECT_EQ(a.log->snapshot(stream).error().code, Code::unavailable) << "pending";
  ASSERT_TRUE(a.ingest(from_b->at(0).bytes).ok());
  EXPECT_TRUE(a.log->snapshot(stream).ok());
}

TEST_F(SnapshotTest, KeepsWhatOnlyTheTakerWroteAndDropsWhatWasDeleted) {
  SimSite a(schedule, 1), b(schedule, 2);
  fill(a, 4);
  for (const auto& chunk : a.chunks(stream)) ASSERT_TRUE(b.ingest(chunk.bytes).ok());
  a.write(stream, name(0), "/p/0", std::nullopt);
  a.write(stream, name(1), "/p/0", "from a");
  b.write(stream, name(1), "/p/0", "from b");
  b.write(stream, name(2), "/p/0", std::nullopt);  // over a's, which the snapshot holds live
  b.write(stream, "twin/own", "/p/0", "own");
  const RunStream own{b.log->run(), stream};
  ASSERT_TRUE(a.prune({a.log->run(), stream}, 6).ok());
  ASSERT_TRUE(b.take(*a.snapshot(stream)).ok());
  EXPECT_EQ(at(*b.log->state(stream, name(0)), "/p/0").size(), 0u);
  EXPECT_EQ(at(*b.log->state(stream, name(1)), "/p/0").size(), 2u) << "concurrent";
  EXPECT_EQ(at(*b.log->state(stream, name(2)), "/p/0").size(), 0u);
  EXPECT_EQ(b.log->state(stream, "twin/own")->size(), 1u);
  EXPECT_EQ(b.log->read(own, 1, 1 << 20)->front().header.first, 1u) << "its chunks are there to be sent";
  EXPECT_EQ(b.log->floor(own), 0u);
  for (const auto& chunk : b.read(own, 1)) ASSERT_TRUE(a.ingest(chunk.bytes).ok());
  expect_same(a, b);
  EXPECT_EQ(b.faults(), std::vector<std::string>{});
}

TEST_F(SnapshotTest, OlderThanWhatIsHereChangesNothing) {
  SimSite a(schedule, 1), b(schedule, 2);
  fill(a, 3);
  const auto old = a.snapshot(stream);
  a.write(stream, name(0), "/p/0", std::nullopt);
  a.write(stream, name(1), "/p/0", "new");
  for (const auto& chunk : a.chunks(stream)) ASSERT_TRUE(b.ingest(chunk.bytes).ok());
  bool told = false;
  b.log->subscribe(0x7f, [&](const auto&) { told = true; });
  b.log->watch(0x7f, [&](const auto&) { told = true; });
  ASSERT_TRUE(b.take(*old).ok());
  EXPECT_FALSE(told);
  expect_same(a, b);
  EXPECT_EQ(b.log->floor({a.log->run(), stream}), 0u);
  EXPECT_EQ(b.log->missing_parts(old->manifest()).size(), old->manifest().parts.size()) << "kept parts went";
  ASSERT_TRUE(a.take(*old).ok()) << "its own";
  expect_same(a, b);
}

// What waits for writes that the snapshot brought, and what does not.
TEST_F(SnapshotTest, SettlesWhatWasSupersededBeforeItCame) {
  SimSite a(schedule, 1), b(schedule, 2), c(schedule, 3);
  fill(a, 2);
  for (const auto& chunk : a.chunks(stream)) ASSERT_TRUE(c.ingest(chunk.bytes).ok());
  c.write(stream, name(0), "/p/0", "c");
  c.write(stream, name(1), "/p/1", std::nullopt);
  for (const auto& chunk : c.read({c.log->run(), stream}, 1)) ASSERT_TRUE(b.ingest(chunk.bytes).ok());
  ASSERT_EQ(b.log->pending_supersedes(), 2u);
  ASSERT_TRUE(b.take(*a.snapshot(stream)).ok());
  EXPECT_EQ(b.log->pending_supersedes(), 0u);
  expect_same(b, c);
  b.restart();
  EXPECT_EQ(b.log->pending_supersedes(), 0u);
  expect_same(b, c);
  EXPECT_EQ(b.faults(), std::vector<std::string>{});
}

// Chunks above a gap: inside the snapshot's range they go, across its end they stay with the floor right below them.
TEST_F(SnapshotTest, TheFloorGoesUnderTheChunkThatTheSnapshotEndsIn) {
  SimSite a(schedule, 1), b(schedule, 2);
  const RunStream of{a.log->run(), stream};
  fill(a, 9);
  const auto apart = *a.log->read(of, 1, 1 << 20);
  ASSERT_EQ(apart.size(), 9u);
  const auto snapshot = a.snapshot(stream);
  fill(a, 3);
  // Seqs 8 to 11 as one chunk, as another replica may have cut them.
  ChunkHeader header;
  header.of = of;
  header.first = 8;
  header.last = 11;
  std::string rows;
  for (const auto& chunk : a.read(of, 8)) {
    if (chunk.header.last > 11) break;
    if (chunk.header.first == 8)
      header.chain_before = chunk.header.chain_before, header.time_min = chunk.header.time_min;
    header.chain_after = chunk.header.chain_after;
    header.time_max = chunk.header.time_max;
    rows += decode_chunk(chunk.bytes)->rows;
  }
  for (const int i : {0, 4}) ASSERT_TRUE(b.ingest(apart[static_cast<std::size_t>(i)].bytes).ok());
  ASSERT_TRUE(b.ingest(encode_chunk(header, rows)).ok());
  ASSERT_TRUE(b.take(*snapshot).ok());
  EXPECT_EQ(b.log->received().base(of), 11u);
  EXPECT_EQ(b.log->floor(of), 7u);
  ASSERT_EQ(b.log->read(of, 1, 1 << 20)->size(), 1u);
  EXPECT_EQ(b.log->read(of, 1, 1 << 20)->front().header.first, 8u);
  EXPECT_EQ(b.faults(), std::vector<std::string>{});
  b.restart();
  ASSERT_TRUE(b.ingest(a.log->read(of, 12, 1 << 20)->front().bytes).ok());
  expect_same(a, b);
  std::size_t found = 0;
  EXPECT_TRUE(b.log->find("twin/", [&](const auto&) { return ++found, true; }).ok());
  EXPECT_EQ(found, 2u);
  EXPECT_EQ(b.faults(), std::vector<std::string>{});
}

TEST_F(SnapshotTest, RefusesAChainThatContradictsWhatIsHere) {
  SimSite a(schedule, 1), b(schedule, 2);
  const RunStream of{a.log->run(), stream};
  fill(a, 5);
  const auto snapshot = a.snapshot(stream);
  fill(a, 1);
  const auto chunks = *a.log->read(of, 1, 1 << 20);
  SnapshotManifest forged = snapshot->manifest();
  forged.chains.at(of.run)[0] ^= 1;
  const auto refused = [&](SimSite& at, const SnapshotManifest& manifest) {
    for (const std::uint32_t part : at.log->missing_parts(manifest))
      EXPECT_TRUE(at.keep(stream, snapshot->part(part)).ok());
    const std::uint64_t before = at.log->received().base(of);
    const Status status = at.join(manifest);
    EXPECT_TRUE(status.ok() || at.log->received().base(of) == before);
    return status.ok() ? std::string("taken") : std::string(to_string(status.error().code));
  };
  ASSERT_TRUE(b.ingest(chunks[5].bytes).ok());
  EXPECT_EQ(refused(b, forged), "corrupt") << "the chunk that goes on";
  SimSite c(schedule, 3);
  ASSERT_TRUE(c.ingest(chunks[4].bytes).ok());
  EXPECT_EQ(refused(c, forged), "corrupt") << "the chunk that it ends with";
  EXPECT_EQ(refused(a, forged), "corrupt") << "all of it is here";
  forged.chains.clear();
  EXPECT_EQ(refused(c, forged), "corrupt") << "nothing to go on from";
  SnapshotManifest ahead = snapshot->manifest();
  ASSERT_TRUE(ahead.received.add(of, 1, 9).ok());
  EXPECT_EQ(refused(a, ahead), "conflict") << "of the open run";
  EXPECT_EQ(refused(c, snapshot->manifest()), "taken");
  EXPECT_EQ(c.log->received().base(of), 5u) << "after all";
}

TEST_F(SnapshotTest, PartsThatAreMissingSwappedOrWrongJoinNothing) {
  SimSite a(schedule, 1), b(schedule, 2), c(schedule, 3);
  fill(a, 120, 8);
  const auto snapshot = a.snapshot(stream);
  const SnapshotManifest& manifest = snapshot->manifest();
  ASSERT_GT(manifest.parts.size(), 3u);
  b.write(stream, "twin/own", "/p", "1");
  const Digest before = *b.log->state_digest(stream);
  const auto refused = [&](const SnapshotManifest& bad) {
    const Status status = b.join(bad);
    EXPECT_EQ(*b.log->state_digest(stream), before);
    EXPECT_TRUE(b.log->received().base({a.log->run(), stream}) == 0);
    return status.ok() ? std::string("taken") : std::string(to_string(status.error().code));
  };
  EXPECT_EQ(refused(manifest), "unavailable");
  EXPECT_EQ(b.keep(stream, "nonsense").error().code, Code::corrupt);
  std::string bent = snapshot->part(0);
  bent[bent.size() / 2] ^= 1;
  EXPECT_EQ(b.keep(stream, bent).error().code, Code::corrupt);
  for (std::size_t i = 0; i + 1 < manifest.parts.size(); ++i) ASSERT_TRUE(b.keep(stream, snapshot->part(i)).ok());
  EXPECT_EQ(b.log->missing_parts(manifest), std::vector{static_cast<std::uint32_t>(manifest.parts.size() - 1)});
  EXPECT_EQ(refused(manifest), "unavailable");
  b.restart();
  EXPECT_EQ(b.log->missing_parts(manifest).size(), 1u) << "they are there after a restart";
  ASSERT_TRUE(b.keep(stream, snapshot->part(manifest.parts.size() - 1)).ok());
  SnapshotManifest bad = manifest;
  std::swap(bad.parts[0], bad.parts[1]);
  EXPECT_EQ(refused(bad), "corrupt") << "swapped";
  bad = manifest;
  bad.parts[1] = bad.parts[0];
  EXPECT_EQ(refused(bad), "corrupt") << "one twice";
  bad = manifest;
  ++bad.parts[0].bytes;
  EXPECT_EQ(refused(bad), "corrupt") << "of another size";
  bad = manifest;
  bad.received = {};
  ASSERT_TRUE(bad.received.add({a.log->run(), stream}, 1, 100).ok());
  EXPECT_EQ(refused(bad), "corrupt") << "live and not received";
  // One that rotted where it lay is not joined, and is asked for again.
  Batch rot;
  std::string key = layout::part_key(stream, manifest.parts[1].id);
  std::string value = *b.disk.get(Table::meta, key);
  value.back() ^= 1;
  rot.put(Table::meta, std::move(key), std::move(value));
  ASSERT_TRUE(b.disk.write(std::move(rot)).ok());
  EXPECT_EQ(refused(manifest), "corrupt");
  b.settle();
  EXPECT_EQ(b.log->missing_parts(manifest), std::vector<std::uint32_t>{1});
  ASSERT_TRUE(b.take(*snapshot).ok());
  EXPECT_EQ(b.log->objects(stream, {}, {}, 1000)->size(), 121u);
  EXPECT_EQ(b.log->missing_parts(manifest).size(), manifest.parts.size()) << "no longer kept";
  Result<std::string> row = b.disk.get(Table::meta, layout::part_key(stream, manifest.parts[0].id));
  ASSERT_FALSE(row.ok());
  EXPECT_EQ(row.error().code, Code::not_found);
  EXPECT_EQ(b.faults(), std::vector<std::string>{});
}

// A dot with two contents is never one of them in silence.
TEST_F(SnapshotTest, RefusesAnotherContentUnderADotThatIsHere) {
  SimSite a(schedule, 1), b(schedule, 2);
  fill(a, 2);
  const auto chunks = a.chunks(stream);
  for (const auto& chunk : chunks) ASSERT_TRUE(b.ingest(chunk.bytes).ok());
  Batch bent;
  ASSERT_TRUE(b.disk
                  .scan(Table::state, {}, Store::Order::forward,
                        [&](std::string_view key, std::string_view value) {
                          bent.put(Table::state, std::string(key), std::string(value) + "x");
                          return false;
                        })
                  .ok());
  ASSERT_TRUE(b.disk.write(std::move(bent)).ok());
  fill(a, 1);
  const Status status = b.take(*a.snapshot(stream));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::corrupt);
}

// A run that was lost with the disk's tail, and comes back with what it amounted to.
TEST_F(SnapshotTest, BringsBackAnOwnRunThatWasLost) {
  SimSite a(schedule, 1), b(schedule, 2);
  fill(b, 2);
  b.settle();
  const sim::Disk::Image backup = b.disk.image();
  fill(b, 5);
  const RunStream lost{b.log->run(), stream};
  for (const auto& chunk : b.chunks(stream)) ASSERT_TRUE(a.ingest(chunk.bytes).ok());
  ASSERT_EQ(a.log->received().base(lost), 7u);
  b.settle();
  b.crash();
  const auto anchors = b.disk.image().anchors;
  b.disk.image() = backup;
  b.disk.image().anchors = anchors;
  b.open();
  ASSERT_TRUE(b.log->degraded());
  ASSERT_EQ(b.log->received().base(lost), 2u);
  b.write(stream, name(1), "/p/0", "since");
  ASSERT_TRUE(b.take(*a.snapshot(stream)).ok());
  EXPECT_EQ(b.log->received().base(lost), 7u);
  EXPECT_EQ(b.log->floor(lost), 7u);
  EXPECT_EQ(b.log->objects(stream, {}, {}, 100)->size(), 5u);
  for (const auto& chunk : b.read({b.log->run(), stream}, 1)) ASSERT_TRUE(a.ingest(chunk.bytes).ok());
  expect_same(a, b);
  b.restart();
  EXPECT_EQ(b.faults(), std::vector<std::string>{});
  expect_same(a, b);
}

// What is appended, ingested, pruned and joined in one turn is all there, in an order that loses nothing.
TEST_F(SnapshotTest, JoinsBetweenWhatIsUnderWay) {
  SimSite a(schedule, 1), b(schedule, 2), c(schedule, 3);
  fill(a, 30);
  const auto snapshot = a.snapshot(stream);
  fill(c, 20);
  const auto reported = c.snapshot(stream);
  fill(a, 10);
  const auto chunks = *a.log->read({a.log->run(), stream}, 25, 1 << 20);
  for (const auto* one : {snapshot.get(), reported.get()}) {
    for (std::size_t i = 0; i < one->manifest().parts.size(); ++i) ASSERT_TRUE(b.keep(stream, one->part(i)).ok());
  }
  fill(b, 5);
  int done = 0, joined = 0;
  const auto append = [&] {
    std::vector<Op> ops{{"/q", std::string(8000, 'q'), {}}};
    const auto payload = encode_ops(ops, {b.log->run(), stream});
    Event event;
    event.kind = Kind::change;
    const std::string object = "twin/own-" + std::to_string(done);
    event.subject = object;
    event.payload = *payload;
    b.log->append(stream, {&event, 1}, [&](const auto& result) { done += result.ok() ? 1 : 0; });
  };
  const auto join = [&](const Snapshot& what, const SnapshotManifest& manifest) {
    (void)what;
    b.log->join(manifest, [&](const Status& status) { joined += status.ok() ? 1 : 0; });
  };
  for (int i = 0; i < 20; ++i) append();
  for (std::size_t i = 0; i < chunks.size(); i += 2)
    b.log->ingest(chunks[i].bytes, [&](const Status& status) { done += status.ok() ? 1 : 0; });
  b.log->prune({b.log->run(), stream}, 3, [&](const Status& status) { done += status.ok() ? 1 : 0; });
  join(*snapshot, snapshot->manifest());
  for (int i = 0; i < 20; ++i) append();
  for (std::size_t i = 1; i < chunks.size(); i += 2)
    b.log->ingest(chunks[i].bytes, [&](const Status& status) { done += status.ok() ? 1 : 0; });
  schedule.run_for(std::chrono::seconds(5));
  EXPECT_EQ(joined, 1);
  EXPECT_EQ(done, 41 + static_cast<int>(chunks.size()));
  EXPECT_EQ(b.log->pending_bytes(), 0u);
  ASSERT_TRUE(b.take(*reported).ok());
  EXPECT_EQ(b.log->received().base({a.log->run(), stream}), 40u);
  EXPECT_EQ(b.log->received().base({b.log->run(), stream}), 45u);
  EXPECT_EQ(b.log->received().base({c.log->run(), stream}), 20u);
  EXPECT_EQ(b.faults(), std::vector<std::string>{});
  const auto whole = b.snapshot(stream);
  b.restart();
  EXPECT_EQ(b.snapshot(stream)->manifest(), whole->manifest());
}

// 30,000 runs cannot be named in what the next open reads.
TEST_F(SnapshotTest, RefusesAContextThatWouldPassItsBounds) {
  SimSite b(schedule, 2);
  SnapshotManifest manifest;
  manifest.stream = stream;
  for (std::uint32_t i = 1; i <= 30'000; ++i) {
    RunId run{{{3}}, i, i * 2654435761U};
    for (std::size_t byte = 1; byte < 5; ++byte)
      run.node.bytes[byte] = static_cast<std::uint8_t>(run.nonce >> 8 * (byte - 1));
    ASSERT_TRUE(manifest.received.add({run, stream}, 1, i).ok());
    manifest.chains[run] = {};
  }
  const Status status = b.join(manifest);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::out_of_range);
  EXPECT_TRUE(b.received(stream).empty());
  EXPECT_EQ(b.log->runs().size(), 1u);
}

// Each waits for what came before it, the second for the first.
TEST_F(SnapshotTest, JoinsOfTwoStreamsInOneTurnAreBothThere) {
  SimSite a(schedule, 1), b(schedule, 2);
  fill(a, 5);
  a.write(Stream::document, "doc/x", "/p", "1");
  const auto desired = a.snapshot(stream), document = a.snapshot(Stream::document);
  a.write(Stream::document, "doc/x", "/p", "2");
  for (const auto& one : {desired, document}) ASSERT_TRUE(b.keep(one->manifest().stream, one->part(0)).ok());
  std::vector<std::string> order;
  const auto ended = [&](const char* what) {
    return [&order, what](const auto& result) { order.push_back(result.ok() ? what : "failed"); };
  };
  Event event;
  event.kind = Kind::message;
  event.subject = "d";
  b.log->append(stream, {&event, 1}, ended("append 1"));
  b.log->join(desired->manifest(), ended("join 1"));
  b.log->append(stream, {&event, 1}, ended("append 2"));
  b.log->join(document->manifest(), ended("join 2"));
  b.log->ingest(a.chunks(Stream::document).back().bytes, ended("ingest"));
  b.settle();
  // What came behind the second may go before it, but not before the first.
  EXPECT_EQ(order, (std::vector<std::string>{"append 1", "join 1", "ingest", "append 2", "join 2"}));
  EXPECT_EQ(b.log->objects(stream, {}, {}, 100)->size(), 5u);
  EXPECT_EQ(*b.log->state(Stream::document, "doc/x"), *a.log->state(Stream::document, "doc/x"));
  EXPECT_EQ(b.faults(), std::vector<std::string>{});
}

TEST_F(SnapshotTest, KeepsPartsUpToItsBoundTheNewestOnes) {
  KeptParts kept;
  Batch batch;
  const auto id = [](std::size_t i) { return PartId{static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i >> 8)}; };
  constexpr std::size_t bytes = 8 << 20, fit = snapshot_bytes_max / bytes;
  for (std::size_t i = 0; i < fit + 2; ++i) kept.add(stream, id(i), std::string(bytes, 'p'), batch);
  for (std::size_t i = 0; i < fit + 2; ++i) EXPECT_EQ(kept.contains(stream, id(i)), i >= 2) << i;
  EXPECT_EQ(batch.ops.size(), fit + 4);
  EXPECT_FALSE(kept.contains(Stream::reported, id(3)));
}

TEST_F(SnapshotTest, KeepsAPartOncePerStreamUntilTheJoin) {
  SimSite a(schedule, 1), b(schedule, 2);
  a.write(stream, "twin/x", "/p", "1");
  const auto snapshot = a.snapshot(stream);
  ASSERT_TRUE(b.keep(stream, snapshot->part(0)).ok());
  ASSERT_TRUE(b.keep(stream, snapshot->part(0)).ok()) << "again";
  ASSERT_TRUE(b.keep(Stream::reported, snapshot->part(0)).ok());
  std::size_t rows = 0;
  const auto count = [&] {
    rows = 0;
    EXPECT_TRUE(b.disk
                    .scan(Table::meta, layout::part_prefix, Store::Order::forward,
                          [&](std::string_view key, std::string_view) {
                            if (!key.starts_with(layout::part_prefix)) return false;
                            return ++rows, true;
                          })
                    .ok());
    return rows;
  };
  EXPECT_EQ(count(), 2u) << "one of each stream";
  ASSERT_TRUE(b.join(snapshot->manifest()).ok());
  EXPECT_EQ(count(), 1u) << "of the other stream";
}

TEST_F(SnapshotTest, ADiskThatFailsEndsTheJoinAndAllAfterIt) {
  SimSite a(schedule, 1), b(schedule, 2);
  fill(a, 3);
  const auto snapshot = a.snapshot(stream);
  for (std::size_t i = 0; i < snapshot->manifest().parts.size(); ++i)
    ASSERT_TRUE(b.keep(stream, snapshot->part(i)).ok());
  int failed = 0;
  b.disk.fail("full");
  const auto count = [&](const Status& status) { failed += !status && status.error().code == Code::disk ? 1 : 0; };
  b.log->join(snapshot->manifest(), count);
  b.log->join(snapshot->manifest(), count);
  b.log->ingest(a.chunks(stream)[0].bytes, count);
  b.settle();
  EXPECT_EQ(failed, 3);
  EXPECT_TRUE(b.received(stream).empty());
}

}  // namespace
}  // namespace landfall
