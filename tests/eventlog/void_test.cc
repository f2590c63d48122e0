// Property: voids stand for the changes they were made of. Whoever gets some events as changes and others as voids, cut and
// ordered in whatever way, ends with the same received context, chain and state.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "eventlog/voids.h"
#include "schemas/op.h"
#include "tests/eventlog/sim_site.h"

namespace landfall {
namespace {

using test::SimSite;

constexpr Stream stream = Stream::reported;

struct Sites {
  explicit Sites(std::uint64_t seed) : schedule(seed), edge(schedule, 1), hub(schedule, 2) {}
  RunStream of() const { return {edge.log->run(), stream}; }
  void report(std::uint64_t device, std::uint64_t path) {
    edge.write(stream, "twin/d" + std::to_string(device), "/p/" + std::to_string(path),
               std::to_string(schedule.rng.below(1000)));
  }
  std::set<Dot> live() const {
    std::set<Dot> dots;
    const auto objects = edge.log->objects(stream, "", "", 1000);
    EXPECT_TRUE(objects.ok());
    for (const std::string& object : *objects) {
      const auto entries = edge.log->state(stream, object);
      EXPECT_TRUE(entries.ok());
      for (const Entry& entry : *entries) dots.insert(entry.dot);
    }
    return dots;
  }
  sim::Schedule schedule;
  SimSite edge, hub;
};

// All of `chunks` as one where that can be.
std::optional<Voided> voided(const std::vector<Log::StoredChunk>& chunks, const MayVoid& may) {
  ChainHasher hasher;
  auto made = make_voids(chunks, may, hasher);
  EXPECT_TRUE(made.ok()) << made.error().detail;
  return made ? std::move(*made) : std::nullopt;
}

void expect_equal(const Sites& sites, const char* what) {
  EXPECT_EQ(sites.hub.log->received().base(sites.of()), sites.edge.log->received().base(sites.of())) << what;
  EXPECT_EQ(*sites.hub.log->state_digest(stream), *sites.edge.log->state_digest(stream)) << what;
  EXPECT_EQ(sites.hub.log->pending_supersedes(), 0u) << what;
  EXPECT_EQ(sites.hub.faults(), std::vector<std::string>{}) << what;
}

TEST(Voids, StandForTheChanges) {
  Sites sites(1);
  for (std::uint64_t i = 0; i < 200; ++i) sites.report(i % 3, i % 7);
  const auto live = sites.live();
  const auto chunks = sites.edge.chunks(stream);
  ASSERT_EQ(chunks.size(), 200u);
  const auto made = voided(chunks, [&](const Dot& dot, const Event&) { return !live.contains(dot); });
  ASSERT_TRUE(made);
  EXPECT_EQ(made->taken, 200u);
  EXPECT_EQ(made->voids, 200u - live.size());
  EXPECT_EQ(made->chunk.header.chain_after, chunks.back().header.chain_after);
  const auto decoded = decode_chunk(made->chunk.bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
  EXPECT_EQ(decoded->header.count(), 200u);
  RowReader reader(decoded->rows);
  std::size_t chains = 0;
  for (std::uint64_t seq = 1; seq <= 200; ++seq) {
    const auto event = decode_row(reader.next());
    ASSERT_TRUE(event.ok());
    const bool is_live = live.contains({sites.of().run, stream, seq});
    EXPECT_EQ(event->kind, is_live ? Kind::change : Kind::voided) << seq;
    EXPECT_EQ(event->subject, "twin/d" + std::to_string((seq - 1) % 3));
    chains += event->chain.empty() ? 0 : 1;
  }
  EXPECT_EQ(chains, 1u) << "one range, one chain";
  ASSERT_TRUE(sites.hub.ingest(made->chunk.bytes).ok());
  expect_equal(sites, "voids");
  EXPECT_EQ(sites.edge.faults(), std::vector<std::string>{});
  // What comes behind them joins them, and what they stand for says nothing new.
  sites.report(0, 0);
  ASSERT_TRUE(sites.hub.ingest(sites.edge.chunks(stream).back().bytes).ok());
  for (const auto& chunk : chunks) EXPECT_TRUE(sites.hub.ingest(chunk.bytes).ok());
  expect_equal(sites, "and changes");
  sites.hub.restart();
  expect_equal(sites, "opened again");
}

TEST(Voids, SaveWhatTheValuesAndSmallChunksCost) {
  Sites sites(2);
  for (std::uint64_t i = 0; i < 1000; ++i) sites.report(0, i % 2);
  const auto live = sites.live();
  const auto chunks = sites.edge.chunks(stream);
  std::size_t bytes = 0;
  for (const auto& chunk : chunks) bytes += chunk.bytes.size();
  const auto made = voided(chunks, [&](const Dot& dot, const Event&) { return !live.contains(dot); });
  ASSERT_TRUE(made);
  std::cout << bytes << " bytes in chunks of one, " << made->chunk.bytes.size() << " as voids\n";
  EXPECT_LT(made->chunk.bytes.size() * 100, bytes) << made->chunk.bytes.size() << " of " << bytes;
}

// Cut at random, as changes or as voids of one or another look at what is live, doubled and in any order.
TEST(Voids, AnyMixComesToOneState) {
  std::size_t with_voids = 0, refused = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    Sites sites(seed);
    sim::Rng& rng = sites.schedule.rng;
    const std::uint64_t paths = 1 + rng.below(6), count = 30 + rng.below(60);
    std::vector<std::string> pieces;
    ChainHasher hasher;
    const auto take = [&](const std::string& chunk) {
      const auto header = read_chunk_header(chunk);
      ASSERT_TRUE(header.ok());
      const std::uint64_t first = header->first + rng.below(header->count());
      const std::uint64_t last = first + rng.below(header->last - first + 1);
      const auto cut = rng.chance(0.5) ? Result<std::string>(chunk) : cut_chunk(chunk, first, last, hasher);
      ASSERT_TRUE(cut.ok()) << cut.error().detail;
      pieces.push_back(*cut);
    };
    for (std::uint64_t i = 0; i < count; ++i) {
      sites.report(rng.below(2), rng.below(paths));
      if (!rng.chance(0.1) && i + 1 < count) continue;
      const auto live = sites.live();
      const double kept = rng.unit() * 0.1;  // by some other rule
      auto chunks = sites.edge.chunks(stream);
      chunks.erase(chunks.begin(), chunks.begin() + static_cast<std::ptrdiff_t>(rng.below(chunks.size())));
      const auto made =
          voided(chunks, [&](const Dot& dot, const Event&) { return !live.contains(dot) && !rng.chance(kept); });
      if (!made) continue;
      ++with_voids;
      for (int k = 0; k < 3; ++k) take(made->chunk.bytes);
    }
    for (const auto& chunk : sites.edge.chunks(stream)) take(chunk.bytes);
    for (std::size_t i = pieces.size(); i > 1; --i) std::swap(pieces[i - 1], pieces[rng.below(i)]);
    for (const auto& chunk : sites.edge.chunks(stream)) pieces.push_back(chunk.bytes);  // so that all came
    for (const std::string& piece : pieces) {
      const Status taken = sites.hub.ingest(piece);
      EXPECT_TRUE(taken.ok()) << "seed " << seed << ": " << taken.error().detail;
      refused += taken.ok() ? 0 : 1;
    }
    expect_equal(sites, ("seed " + std::to_string(seed)).c_str());
    if (HasFailure()) return;
  }
  EXPECT_GT(with_voids, 300u);
  EXPECT_EQ(refused, 0u);
}

TEST(Voids, AreOnlyMadeWhereTheySave) {
  Sites sites(3);
  for (std::uint64_t i = 0; i < 40; ++i) sites.report(0, 0);
  const auto chunks = sites.edge.chunks(stream);
  EXPECT_FALSE(voided(chunks, [](const Dot&, const Event&) { return false; }));
  // Ranges of seven.
  EXPECT_FALSE(voided(chunks, [](const Dot& dot, const Event&) { return dot.seq % 8 != 0; }));
  EXPECT_TRUE(voided(chunks, [](const Dot& dot, const Event&) { return dot.seq % 9 != 0; }));
  // A chunk that holds voids is nobody's to void again.
  const auto made = voided(chunks, [](const Dot& dot, const Event&) { return dot.seq < 20; });
  ASSERT_TRUE(made);
  EXPECT_FALSE(voided({made->chunk}, [](const Dot&, const Event&) { return true; }));
}

// Three bytes of a dot are two kilobytes of key to whoever applies it.
TEST(Voids, NoChunkNamesMoreRowsThanAReceiverTakes) {
  Sites sites(7);
  const std::string object = "twin/" + std::string(900, 'd'), path = "/p/" + std::string(900, 'x');
  const RunStream other{{{{7}}, 1, 1}, stream};
  for (std::uint64_t i = 0; i < 8; ++i) {
    Op op{path, "1", {}};
    for (std::uint64_t k = 0; k < op_supersedes_max; ++k)
      op.supersedes.push_back({other.run, stream, i * 5000 + k + 1});
    sites.edge.write(stream, object, {op});
  }
  const auto chunks = sites.edge.chunks(stream);
  ASSERT_EQ(chunks.size(), 8u);
  std::size_t at = 0;
  while (at < chunks.size()) {
    ChainHasher hasher;
    const auto made = make_voids(
        std::span(chunks).subspan(at), [](const Dot&, const Event&) { return true; }, hasher);
    ASSERT_TRUE(made.ok());
    const Status taken = sites.hub.ingest(*made ? (*made)->chunk.bytes : chunks[at].bytes);
    EXPECT_TRUE(taken.ok()) << taken.error().detail;
    at += *made ? (*made)->taken : 1;
  }
  EXPECT_EQ(sites.hub.log->received().base(sites.of()), 8u);
}

TEST(Voids, NobodyWritesThemAndNoneHoldsAValue) {
  Sites sites(4);
  std::vector<Op> ops{{"/p/0", "1", {}}};
  const std::string payload = *encode_ops(ops, sites.of());
  Event event;
  event.kind = Kind::voided;
  event.subject = "twin/d0";
  event.payload = payload;
  std::optional<Code> code;
  sites.edge.log->append(stream, {&event, 1}, [&](const Result<Log::Appended>& done) { code = done.error().code; });
  sites.schedule.run_for(std::chrono::seconds(1));
  EXPECT_EQ(code, Code::out_of_range);

  std::string rows;
  ASSERT_TRUE(encode_row(event, rows).ok());
  ChunkHeader header;
  header.of = {{{{9}}, 1, 1}, stream};
  header.first = header.last = 1;
  header.chain_before = header.chain_after = chain_start(header.of);
  const Status taken = sites.hub.ingest(encode_chunk(header, rows));
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code, Code::corrupt) << taken.error().detail;

  event.chain = "short";
  EXPECT_FALSE(encode_row(event, rows).ok());
  event.kind = Kind::change;
  event.chain = std::string_view("0123456789abcdef0123456789abcdef");
  EXPECT_FALSE(encode_row(event, rows).ok()) << "only a void says where the chain goes on";
}

// A range whose chain is not that of the changes it stands for shows where both are known.
TEST(Voids, OfAnotherHistoryAreAFork) {
  Sites sites(5);
  for (std::uint64_t i = 0; i < 20; ++i) sites.report(0, 0);
  const auto chunks = sites.edge.chunks(stream);
  const auto made = voided(chunks, [](const Dot& dot, const Event&) { return dot.seq > 5 && dot.seq < 16; });
  ASSERT_TRUE(made);
  DecodedChunk forged = *decode_chunk(made->chunk.bytes);
  RowReader reader(forged.rows);
  std::string_view row;
  for (std::uint64_t seq = 1; seq <= 15; ++seq) row = reader.next();
  const Event last = *decode_row(row);
  ASSERT_EQ(last.chain.size(), sizeof(Digest));
  forged.rows[static_cast<std::size_t>(last.chain.data() - forged.rows.data())] ^= 1;
  ChainHasher hasher;
  forged.header.chain_after = forged.header.chain_before;
  hasher.extend_rows(forged.header.chain_after, forged.rows);
  for (const auto& chunk : chunks) ASSERT_TRUE(sites.hub.ingest(chunk.bytes).ok());
  EXPECT_TRUE(sites.hub.ingest(made->chunk.bytes).ok());
  const Status taken = sites.hub.ingest(encode_chunk(forged.header, forged.rows));
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code, Code::conflict) << taken.error().detail;
}

TEST(Voids, AChangedByteOfOneIsFound) {
  Sites sites(6);
  for (std::uint64_t i = 0; i < 40; ++i) sites.report(0, i % 2);
  const auto live = sites.live();
  const auto made =
      voided(sites.edge.chunks(stream), [&](const Dot& dot, const Event&) { return !live.contains(dot); });
  ASSERT_TRUE(made);
  // Of any byte that still makes rows: its time, its device, what it superseded, the chain that the last one carries.
  const DecodedChunk whole = *decode_chunk(made->chunk.bytes);
  ChainHasher hasher;
  std::size_t tried = 0;
  for (std::size_t i = 0; i < whole.rows.size(); ++i) {
    DecodedChunk changed = whole;
    changed.rows[i] ^= 1;
    const std::string bytes = encode_chunk(changed.header, changed.rows);
    if (!decode_chunk(bytes)) continue;
    ++tried;
    EXPECT_FALSE(verify_chunk(bytes, hasher).ok()) << "byte " << i;
  }
  EXPECT_GT(tried, 500u);
}

}  // namespace
}  // namespace landfall
