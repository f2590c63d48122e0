// Property: the state of a log is a function of the set of its events, and rides in their batches.
#include <gtest/gtest.h>

#include <algorithm>

#include "eventlog/digest_ranges.h"
#include "eventlog/object_cache.h"
#include "eventlog/state_digest.h"
#include "schemas/op.h"
#include "tests/eventlog/log_fixture.h"

namespace landfall {
namespace {

using test::LogMachine;

constexpr Stream stream = Stream::desired;
const std::string object = "twin/pump-1";

std::string payload(std::vector<Op> ops, const RunStream& of) {
  Result<std::string> bytes = encode_ops(ops, of);
  EXPECT_TRUE(bytes.ok());
  return bytes ? *bytes : std::string();
}

Event change(std::string_view payload, std::string_view subject = object) {
  Event e;
  e.kind = Kind::change;
  e.subject = subject;
  e.payload = payload;
  return e;
}

// One change event, appended.
Dot write(LogMachine& at, std::vector<Op> ops, std::string_view subject = object) {
  const std::string bytes = payload(std::move(ops), at.own(stream));
  auto appended = at.append(stream, {change(bytes, subject)});
  EXPECT_TRUE(appended.ok());
  return appended ? appended->first : Dot{};
}

std::vector<std::string> live(const LogMachine& at, std::string_view name = object) {
  auto entries = at.log->state(stream, name);
  EXPECT_TRUE(entries.ok());
  std::vector<std::string> texts;
  for (const Entry& entry : *entries) texts.push_back(entry.path + "=" + entry.value);
  return texts;
}

std::vector<Dot> dots_at(const LogMachine& at, std::string_view path) {
  std::vector<Dot> dots;
  const auto entries = at.log->state(stream, object);
  for (const Entry& entry : landfall::at(*entries, path)) dots.push_back(entry.dot);
  return dots;
}

using Texts = std::vector<std::string>;

TEST(State, ShowsWhatWasPutAndNotSuperseded) {
  LogMachine a;
  const Dot first = write(a, {{"/p", "1", {}}, {"/q", "1", {}}});
  const Dot second = write(a, {{"/p", "2", {first}}});
  EXPECT_EQ(live(a), (Texts{"/p=2", "/q=1"}));
  EXPECT_EQ(dots_at(a, "/p"), std::vector{second});
  write(a, {{"/q", std::nullopt, {first}}});
  EXPECT_EQ(live(a), (Texts{"/p=2"}));
  // It is there after the next open, with its time and clock.
  const auto before = a.log->state(stream, object);
  a.reopen();
  EXPECT_EQ(*a.log->state(stream, object), *before);
  EXPECT_EQ(before->at(0).clock, ClockClass::synced);
}

TEST(State, AWriteSupersededInItsOwnChunkIsNowhere) {
  LogMachine a;
  const RunStream own = a.own(stream);
  const std::string first = payload({{"/p", "1", {}}}, own);
  const std::string second = payload({{"/p", "2", {{own.run, stream, 1}}}}, own);
  ASSERT_TRUE(a.append(stream, {change(first), change(second)}).ok());
  ASSERT_EQ(a.chunks(own).size(), 1u);
  EXPECT_EQ(live(a), (Texts{"/p=2"}));
}

TEST(State, SupersedesByPathAndObjectOnly) {
  LogMachine a;
  const Dot first = write(a, {{"/p", "1", {}}, {"/q", "1", {}}});
  write(a, {{"/q", "2", {first}}}, "twin/other");
  write(a, {{"/r", std::nullopt, {first}}});
  EXPECT_EQ(live(a), (Texts{"/p=1", "/q=1"}));
  EXPECT_EQ(live(a, "twin/other"), (Texts{"/q=2"}));
}

TEST(State, NamesItsObjectsInOrder) {
  LogMachine a;
  for (const char* name : {"twin/b", "twin/a", "twin/a1", "doc/x", "twin/a~"}) {
    std::vector<Op> ops;
    for (int i = 0; i < 40; ++i) ops.push_back({"/" + std::to_string(i), "v", {}});
    write(a, std::move(ops), name);
  }
  const auto names = [&](std::string_view prefix, std::string_view after, std::size_t limit) {
    return *a.log->objects(stream, prefix, after, limit);
  };
  EXPECT_EQ(names("", "", 10), (Texts{"doc/x", "twin/a", "twin/a1", "twin/a~", "twin/b"}));
  EXPECT_EQ(names("twin/", "", 2), (Texts{"twin/a", "twin/a1"}));
  EXPECT_EQ(names("twin/", "twin/a1", 2), (Texts{"twin/a~", "twin/b"}));
  EXPECT_EQ(names("twin/", "doc", 1), (Texts{"twin/a"}));
  EXPECT_EQ(names("twin/b", "twin/b", 1), Texts{});
  EXPECT_EQ(names("", "", 0), Texts{});
  EXPECT_EQ(*a.log->objects(Stream::document, "", "", 9), Texts{});
  // Gone with its last entry.
  const auto entries = *a.log->state(stream, "twin/a1");
  std::vector<Op> removal;
  for (const Entry& entry : entries) removal.push_back({entry.path, std::nullopt, {entry.dot}});
  write(a, removal, "twin/a1");
  EXPECT_EQ(names("twin/a", "", 10), (Texts{"twin/a", "twin/a~"}));
}

TEST(State, ConcurrentWritesLiveSideBySideInOrderOfDot) {
  LogMachine a(1), b(2);
  const Dot at_b = write(b, {{"/p", "b", {}}});
  const Dot at_a = write(a, {{"/p", "a", {}}});
  for (auto& chunk : b.chunks(b.own(stream))) ASSERT_TRUE(a.ingest(chunk.bytes).ok());
  for (auto& chunk : a.chunks(a.own(stream))) ASSERT_TRUE(b.ingest(chunk.bytes).ok());
  EXPECT_EQ(dots_at(a, "/p"), (std::vector{at_a, at_b}));
  EXPECT_EQ(dots_at(b, "/p"), (std::vector{at_a, at_b}));
  EXPECT_EQ(*a.log->state_digest(stream), *b.log->state_digest(stream));
  EXPECT_NE(*a.log->state_digest(stream), Digest{});
  EXPECT_EQ(*a.log->state_digest(Stream::document), Digest{});
}

// Three chunks of one writer, each superseding the one before, in any order and twice.
TEST(State, OrderAndDoublesOfChunksDoNotMatter) {
  LogMachine a(1);
  const RunStream of = a.own(stream);
  Dot last{};
  for (int i = 0; i < 3; ++i) {
    std::vector<Dot> seen;
    if (i > 0) seen.push_back(last);
    last = write(a, {{"/p", std::to_string(i), seen}, {"/q" + std::to_string(i), "1", {}}});
  }
  const auto chunks = a.chunks(of);
  ASSERT_EQ(chunks.size(), 3u);
  std::vector<std::size_t> order{0, 1, 2};
  do {
    LogMachine b(2);
    for (int twice = 0; twice < 2; ++twice) {
      for (const std::size_t i : order) ASSERT_TRUE(b.ingest(chunks[i].bytes).ok());
    }
    EXPECT_EQ(live(b), live(a));
    EXPECT_EQ(b.log->pending_supersedes(), 0u);
    EXPECT_EQ(*b.log->state_digest(stream), *a.log->state_digest(stream));
  } while (std::ranges::next_permutation(order).found);
}

TEST(State, RemembersThroughAnOpenWhatIsSupersededAndHasNotCome) {
  LogMachine a(1), b(2);
  const Dot first = write(a, {{"/p", "1", {}}, {"/q", "1", {}}});
  write(a, {{"/p", "2", {first}}});
  const auto chunks = a.chunks(a.own(stream));
  ASSERT_TRUE(b.ingest(chunks[1].bytes).ok());
  EXPECT_EQ(b.log->pending_supersedes(), 1u);
  EXPECT_EQ(live(b), (Texts{"/p=2"}));
  b.reopen();
  EXPECT_EQ(b.log->pending_supersedes(), 1u);
  ASSERT_TRUE(b.ingest(chunks[0].bytes).ok());
  EXPECT_EQ(b.log->pending_supersedes(), 0u);
  EXPECT_EQ(live(b), (Texts{"/p=2", "/q=1"}));
  b.reopen();
  EXPECT_EQ(b.log->pending_supersedes(), 0u);
  EXPECT_EQ(live(b), (Texts{"/p=2", "/q=1"}));
}

// What is here already of a chunk is not applied again, and what it superseded here stays superseded.
TEST(State, OfAChunkThatIsPartlyHereOnlyTheRestIsApplied) {
  LogMachine a(1), b(2), c(3);
  const RunStream of = a.own(stream);
  std::vector<std::string> payloads;
  for (std::uint64_t i = 1; i <= 4; ++i) {
    std::vector<Dot> seen;
    if (i > 1) seen.push_back({of.run, stream, i - 1});
    payloads.push_back(payload({{"/p", std::to_string(i), seen}, {"/q" + std::to_string(i), "1", {}}}, of));
  }
  std::vector<Event> events;
  for (const auto& bytes : payloads) events.push_back(change(bytes));
  ASSERT_TRUE(a.append(stream, events).ok());
  const std::string whole = a.chunks(of)[0].bytes;
  ChainHasher hasher;
  ASSERT_TRUE(b.ingest(*cut_chunk(whole, 2, 3, hasher)).ok());
  EXPECT_EQ(live(b), (Texts{"/p=3", "/q2=1", "/q3=1"}));
  EXPECT_EQ(b.log->pending_supersedes(), 1u);
  ASSERT_TRUE(b.ingest(whole).ok());
  EXPECT_EQ(live(b), live(a));
  EXPECT_EQ(b.log->pending_supersedes(), 0u);
  EXPECT_EQ(b.chunks(of).size(), 3u);
}

TEST(State, RefusesAChangeThatDoesNotDecode) {
  LogMachine a(1), b(2);
  auto broken = a.append(stream, {change("\x07nonsense")});
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().code, Code::corrupt);
  const std::string future = payload({{"/p", "1", {{a.log->run(), stream, 1}}}}, a.own(stream));
  auto early = a.append(stream, {change(future)});
  ASSERT_FALSE(early.ok());
  EXPECT_EQ(early.error().code, Code::out_of_range);
  EXPECT_EQ(a.log->received().max(a.own(stream)), 0u);
  EXPECT_EQ(live(a), Texts{});

  // The same from outside, under a chain that is right.
  const RunStream of{{test::node(9), 1, 1}, stream};
  ChunkHeader header;
  header.of = of;
  header.first = header.last = 1;
  std::string rows;
  ASSERT_TRUE(encode_row(change("\x07nonsense"), rows).ok());
  header.chain_before = header.chain_after = chain_start(of);
  ChainHasher().extend_rows(header.chain_after, rows);
  const Status refused = b.ingest(encode_chunk(header, rows));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::corrupt);
  EXPECT_EQ(b.log->received().max(of), 0u);
}

// A few bytes of a payload name a dot, and each takes a row's key to delete.
TEST(State, BoundsTheRowsOfAChunk) {
  LogMachine a(1), b(2);
  const std::string subject(1000, 's');
  const auto superseding = [&](int ops) {
    std::vector<Op> list;
    for (int i = 0; i < ops; ++i) {
      Op op{"/" + std::to_string(i) + std::string(990, 'p'), std::nullopt, {}};
      for (std::uint64_t seq = 1; seq <= 2000; ++seq) op.supersedes.push_back({{test::node(9), 1, 1}, stream, seq});
      list.push_back(std::move(op));
    }
    return payload(std::move(list), a.own(stream));
  };
  const std::string fits = superseding(3), over = superseding(5);  // 4 MB of keys each op
  ASSERT_LT(over.size(), event_payload_bytes_max / 4);
  auto refused = a.append(stream, {change(over, subject)});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::out_of_range);
  ASSERT_TRUE(a.append(stream, {change(fits, subject), change(fits, subject), test::event("d", "x")}).ok());
  const auto chunks = a.chunks(a.own(stream));
  ASSERT_EQ(chunks.size(), 2u) << "one of 24 MB is not made";
  EXPECT_EQ(chunks[1].header.count(), 2u);
  EXPECT_EQ(a.log->pending_supersedes(), 6000u);
  for (const auto& chunk : chunks) ASSERT_TRUE(b.ingest(chunk.bytes).ok());
  EXPECT_EQ(b.log->pending_supersedes(), 6000u);

  const RunStream of{{test::node(8), 1, 1}, stream};
  ChunkHeader header;
  header.of = of;
  header.first = header.last = 1;
  std::string rows;
  ASSERT_TRUE(encode_row(change(over, subject), rows).ok());
  header.chain_before = header.chain_after = chain_start(of);
  ChainHasher().extend_rows(header.chain_after, rows);
  const Status foreign = b.ingest(encode_chunk(header, rows));
  ASSERT_FALSE(foreign.ok());
  EXPECT_EQ(foreign.error().code, Code::out_of_range);
}

TEST(State, TellsOncePerChunkWhichObjectsChanged) {
  LogMachine a(1), b(2);
  std::vector<std::string> told;
  const auto follow = [&](LogMachine& at) {
    return at.log->watch(1u << static_cast<int>(stream), [&](const Log::Changed& changed) {
      std::string line = std::to_string(changed.range.first) + "-" + std::to_string(changed.range.last);
      for (const auto& name : changed.objects) {
        line += " " + name + ":" + std::to_string(at.log->state(stream, name)->size());
      }
      EXPECT_TRUE(at.log->received().contains(changed.range.of, changed.range.first, changed.range.last));
      told.push_back(line);
    });
  };
  const auto watching = follow(a);
  follow(b);
  const std::string one = payload({{"/p", "1", {}}}, a.own(stream));
  ASSERT_TRUE(a.append(stream, {change(one, "y"), change(one, "x"), change(one, "y")}).ok());
  ASSERT_TRUE(a.append(stream, {test::event("x", "no change")}).ok());
  ASSERT_TRUE(a.append(Stream::document, {change(payload({{"/p", "1", {}}}, a.own(Stream::document)))}).ok());
  EXPECT_EQ(told, (Texts{"1-3 x:1 y:2"}));
  a.log->unsubscribe(watching);
  write(a, {{"/p", "1", {}}});
  EXPECT_EQ(told.size(), 1u);
  for (const auto& chunk : a.chunks(a.own(stream))) ASSERT_TRUE(b.ingest(chunk.bytes).ok());
  EXPECT_EQ(told, (Texts{"1-3 x:1 y:2", "1-3 x:1 y:2", "5-5 " + object + ":1"}));
}

// A store that counts how often its state is read.
class CountingStore final : public Store {
 public:
  explicit CountingStore(Store& store) : store_(store) {}
  void commit(Batch batch, Committed done) override { store_.commit(std::move(batch), std::move(done)); }
  Status write(Batch batch) override { return store_.write(std::move(batch)); }
  std::size_t commits_waiting() const override { return store_.commits_waiting(); }
  Result<std::string> get(Table table, std::string_view key) const override { return store_.get(table, key); }
  Status scan(Table table, std::string_view from, Order order, const Visit& visit) const override {
    scans += table == Table::state ? 1 : 0;
    return store_.scan(table, from, order, visit);
  }
  Result<std::vector<AnchorRecord>> anchors() const override { return store_.anchors(); }
  bool was_empty() const override { return store_.was_empty(); }
  mutable int scans = 0;

 private:
  Store& store_;
};

TEST(State, AHotPropertyIsReadFromTheStoreOnce) {
  LogMachine a;
  a.log.reset();
  CountingStore counting(*a.store);
  auto log = Log::open(a.loop, counting, {.node = test::node(1), .boot_id = "boot", .software = "test"});
  ASSERT_TRUE(log.ok());
  a.log = std::move(*log);
  a.settle();
  Dot last = write(a, {{"/hot", "0", {}}, {"/cold", "c", {}}});
  for (int i = 1; i <= 100; ++i) {
    last = write(a, {{"/hot", std::to_string(i), {last}}});
    ASSERT_EQ(live(a), (Texts{"/cold=c", "/hot=" + std::to_string(i)}));
  }
  EXPECT_EQ(counting.scans, 1);
  a.log.reset();
}

// What is remembered of objects is what the store has, whatever was written, read and forgotten between.
TEST(State, RememberedObjectsAreAsStored) {
  LogMachine a, b(2);
  std::uint64_t seed = 5;
  const auto below = [&](std::uint64_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % n;
  };
  for (int i = 0; i < 150; ++i) {
    const std::string name = "o" + std::to_string(below(4));
    const auto entries = *a.log->state(stream, name);
    Op op{"/p" + std::to_string(below(5)), std::nullopt, {}};
    for (const Entry& entry : at(entries, op.path)) op.supersedes.push_back(entry.dot);
    if (below(4) != 0 || op.supersedes.empty()) op.value = std::to_string(i);
    if (below(3) == 0) op.supersedes.clear();
    if (op.value || !op.supersedes.empty()) write(a, {op}, name);
  }
  Digest remembered{};
  const auto names = *a.log->objects(stream, "", "", 100);
  for (const std::string& name : names) add_digest(remembered, object_digest(name, *a.log->state(stream, name)));
  EXPECT_EQ(remembered, *a.log->state_digest(stream));
  for (const auto& chunk : a.chunks(a.own(stream))) ASSERT_TRUE(b.ingest(chunk.bytes).ok());
  EXPECT_EQ(remembered, *b.log->state_digest(stream));
}

Digest digest_of(std::uint8_t number) {
  Digest digest{};
  digest[0] = number;
  return digest;
}

TEST(State, ADigestIsReadOnlyWhereSomethingChanged) {
  std::map<std::string, Digest> objects;
  for (int i = 1000; i < 3000; ++i) objects["o" + std::to_string(i)] = digest_of(static_cast<std::uint8_t>(i));
  std::size_t read = 0;
  const DigestRanges::Scan scan = [&](std::string_view from, std::string_view to, const DigestRanges::Each& each) {
    for (auto at = objects.lower_bound(std::string(from)); at != objects.end() && (to.empty() || at->first < to);
         ++at) {
      ++read;
      each(at->first, at->second);
    }
    return ok();
  };
  const auto whole = [&] {
    Digest sum{};
    for (const auto& [name, digest] : objects) add_digest(sum, digest);
    return sum;
  };
  DigestRanges ranges;
  EXPECT_EQ(*ranges.sum(scan), whole());
  EXPECT_EQ(ranges.ranges(), 8u);
  read = 0;
  objects["o1500"] = digest_of(99);
  objects.erase("o2999");
  ranges.changed({"o1500", "o2999"});
  EXPECT_EQ(*ranges.sum(scan), whole());
  EXPECT_LE(read, 3u * 256);
  // What nobody said to have changed is found in turn.
  objects["o1777"] = digest_of(1);
  int asked = 1;
  while (*ranges.sum(scan) != whole()) ASSERT_LE(++asked, 9);
  EXPECT_GT(asked, 1);
  // Names come and go in the middle and at the ends.
  std::vector<std::string> changed;
  for (int i = 0; i < 700; ++i) changed.push_back("o15" + std::to_string(i));
  for (const auto& name : changed) objects[name] = digest_of(7);
  objects["a"] = objects["z"] = digest_of(8);
  ranges.changed(changed);
  ranges.changed({"a", "z"});
  EXPECT_EQ(*ranges.sum(scan), whole());
  EXPECT_GT(ranges.ranges(), 9u);
  std::vector<std::string> all;
  for (const auto& [name, digest] : objects) all.push_back(name);
  objects.clear();
  ranges.changed(all);
  EXPECT_EQ(*ranges.sum(scan), Digest{});
  EXPECT_EQ(ranges.ranges(), 1u);
}

TEST(State, DigestsAddAndSubtract) {
  Digest high{};
  high.fill(0xff);
  Digest sum = high;
  add_digest(sum, digest_of(2));
  EXPECT_EQ(sum, digest_of(1)) << "carries through all bytes and over the end";
  subtract_digest(sum, digest_of(2));
  EXPECT_EQ(sum, high);
  EXPECT_EQ(object_digest("o", {}), Digest{});
}

// One bit of a stored value.
void flip_state_bit(LogMachine& at) {
  Batch batch;
  ASSERT_TRUE(at.store
                  ->scan(Table::state, {}, Store::Order::forward,
                         [&](std::string_view key, std::string_view value) {
                           std::string changed(value);
                           changed.back() = static_cast<char>(changed.back() ^ 1);
                           batch.put(Table::state, std::string(key), changed);
                           return false;
                         })
                  .ok());
  ASSERT_TRUE(at.store->write(std::move(batch)).ok());
}

TEST(State, AFlippedBitIsFoundByVerifyAndByDigestAndMendedFromTheLog) {
  LogMachine a(1), b(2);
  const Dot first = write(a, {{"/p", "1", {}}, {"/q", "1", {}}});
  write(a, {{"/p", "2", {first}}});
  const auto chunks = a.chunks(a.own(stream));
  ASSERT_TRUE(b.ingest(chunks[1].bytes).ok());  // one write is pending
  const Digest whole = *a.log->state_digest(stream), part = *b.log->state_digest(stream);
  EXPECT_EQ(a.verify().faults, Texts{});
  EXPECT_EQ(b.verify().faults, Texts{});
  flip_state_bit(a);
  flip_state_bit(b);
  EXPECT_NE(*a.log->state_digest(stream), whole) << "without any change in between";
  ASSERT_EQ(a.verify().faults.size(), 1u);
  EXPECT_EQ(a.verify().faults[0],
            "state of " + object + " at '/p' by " + to_string(Dot{first.run, stream, 2}) + ": differs from the log");
  for (LogMachine* machine : {&a, &b}) {
    machine->log.reset();
    ASSERT_TRUE(forget_state(*machine->store).ok());
    EXPECT_EQ(machine->verify().faults, Texts{}) << "given up: nothing to compare";
    machine->reopen();
    EXPECT_EQ(machine->verify().faults, Texts{});
  }
  EXPECT_EQ(*a.log->state_digest(stream), whole);
  EXPECT_EQ(*b.log->state_digest(stream), part);
  EXPECT_EQ(b.log->pending_supersedes(), 1u);
  ASSERT_TRUE(b.ingest(chunks[0].bytes).ok());
  EXPECT_EQ(*b.log->state_digest(stream), whole);
}

TEST(State, VerifyNamesRowsThatAreMissingOrTooMany) {
  LogMachine a;
  write(a, {{"/p", "1", {}}});
  Batch batch;
  ASSERT_TRUE(a.store
                  ->scan(Table::state, {}, Store::Order::forward,
                         [&](std::string_view key, std::string_view value) {
                           std::string other(key);
                           other[1] = 'u';
                           batch.put(Table::state, other, std::string(value));
                           batch.erase(Table::state, std::string(key));
                           return false;
                         })
                  .ok());
  ASSERT_TRUE(a.store->write(std::move(batch)).ok());
  const auto faults = a.verify().faults;
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_NE(faults[0].find("is here and not live in the log"), std::string::npos);
  EXPECT_NE(faults[1].find("is live in the log and not here"), std::string::npos);
}

TEST(State, LetsGoOfObjectsBeyondItsBound) {
  const auto entries_of = [](std::uint64_t seq) {
    return Entries{{"/p", {{test::node(1), 1, 1}, stream, seq}, {}, ClockClass::synced, std::string(1000, 'v')}};
  };
  ObjectCache cache(16 << 10);
  for (std::uint64_t i = 0; i < 100; ++i) {
    cache.insert(stream, "o" + std::to_string(i), entries_of(i));
    ASSERT_NE(cache.find(stream, "o0"), nullptr) << "read again and again";
  }
  EXPECT_FALSE(cache.holds(stream, "o1"));
  EXPECT_TRUE(cache.holds(stream, "o99"));
  EXPECT_FALSE(cache.holds(Stream::document, "o99"));
  cache.insert(stream, "large", Entries(20, entries_of(1)[0]));
  EXPECT_FALSE(cache.holds(stream, "large"));
  // One that came here while the chunk was on its way has nothing to follow it with.
  cache.apply(stream, {"o0", "o99"}, {{"o99", {{"/p", {{test::node(1), 1, 1}, stream, 99}, std::nullopt}}}});
  EXPECT_FALSE(cache.holds(stream, "o0"));
  ASSERT_TRUE(cache.holds(stream, "o99"));
  EXPECT_TRUE(cache.find(stream, "o99")->empty());
}

}  // namespace
}  // namespace landfall
