// Properties: a received context answers as the plain set of dots would; join is a join; what is encoded decodes to an
// equal value and equal values encode to equal bytes; replicas of a forked node hold what came and nothing else.

#include "crdt/received_context.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "schemas/limits.h"

namespace landfall {
namespace {

using Rng = std::mt19937_64;

NodeId node(std::uint8_t n) {
  NodeId id;
  id.bytes.fill(n);
  return id;
}
RunId run(std::uint8_t n, std::uint32_t counter, std::uint32_t nonce = 7) { return {node(n), counter, nonce}; }
RunStream stream_of(std::uint8_t n, std::uint32_t counter = 1, Stream stream = Stream::telemetry) {
  return {run(n, counter), stream};
}

std::uint64_t below(Rng& rng, std::uint64_t n) { return rng() % n; }

ReceivedContext joined(ReceivedContext a, const ReceivedContext& b) { return a.join(b), a; }

// Adds a few ranges of every shape: near the base, over container borders, far away.
void add_random(ReceivedContext& context, const RunStream& of, Rng& rng) {
  const int ranges = 1 + static_cast<int>(below(rng, 6));
  for (int i = 0; i < ranges; ++i) {
    const std::uint64_t spans[] = {20, 300, 70'000, 200'000, std::uint64_t{1} << 33};
    const std::uint64_t first = 1 + below(rng, spans[below(rng, 5)]);
    const std::uint64_t length = below(rng, 3) == 0 ? 1 : 1 + below(rng, 5000);
    if (!context.add(of, first, first + length - 1).ok()) ADD_FAILURE() << "refused";
  }
}

ReceivedContext random_context(Rng& rng) {
  ReceivedContext context;
  for (int i = static_cast<int>(below(rng, 5)); i > 0; --i) {
    const auto of =
        stream_of(static_cast<std::uint8_t>(1 + below(rng, 3)), 1 + static_cast<std::uint32_t>(below(rng, 3)),
                  static_cast<Stream>(below(rng, stream_count)));
    add_random(context, of, rng);
  }
  return context;
}

TEST(ReceivedContextLaws, JoinIsCommutativeAssociativeAndIdempotent) {
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const ReceivedContext a = random_context(rng), b = random_context(rng), c = random_context(rng);
    ASSERT_EQ(joined(a, b), joined(b, a));
    ASSERT_EQ(joined(joined(a, b), c), joined(a, joined(b, c)));
    ASSERT_EQ(joined(joined(a, b), b), joined(a, b));
    ASSERT_EQ(joined(a, ReceivedContext{}), a);
    ASSERT_EQ(joined(a, b).encode(), joined(b, a).encode());
  }
}

TEST(ReceivedContextCodec, EveryValueComesBackAndEqualValuesHaveEqualBytes) {
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const ReceivedContext context = random_context(rng);
    const std::string bytes = context.encode();
    auto decoded = ReceivedContext::decode(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
    ASSERT_EQ(*decoded, context);
    ASSERT_EQ(decoded->encode(), bytes);

    ReceivedContext rows;
    for (const RunStream& of : context.streams()) ASSERT_TRUE(rows.decode_entry(of, context.encode_entry(of)).ok());
    ASSERT_EQ(rows, context);
  }
}

std::vector<ReceivedContext::Range> missing_of(const std::set<std::uint64_t>& here, std::uint64_t first,
                                               std::uint64_t last) {
  std::vector<ReceivedContext::Range> ranges;
  for (std::uint64_t seq = first; seq <= last; ++seq) {
    if (here.contains(seq)) continue;
    if (!ranges.empty() && ranges.back().last + 1 == seq) {
      ranges.back().last = seq;
    } else {
      ranges.push_back({seq, seq});
    }
  }
  return ranges;
}

TEST(ReceivedContext, AnswersAsASetOfSeqsWould) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    // Near a container's border, so that both sides of it are in play.
    const std::uint64_t origin = seed % 2 == 0 ? 0 : 65'300, span = 500;
    ReceivedContext context;
    std::set<std::uint64_t> model;
    const RunStream of = stream_of(1);
    if (origin != 0) {
      ASSERT_TRUE(context.add(of, 1, origin).ok());
      model.insert(origin);  // stands for all before it: no question reaches below
    }
    for (int step = 0; step < 600; ++step) {
      const std::uint64_t first = origin + 1 + below(rng, span), last = first + below(rng, below(rng, 4) == 0 ? 40 : 3);
      if (below(rng, 3) == 0) {
        ASSERT_TRUE(context.add(of, first, last).ok());
        for (std::uint64_t seq = first; seq <= last; ++seq) model.insert(seq);
      }
      bool all = true;
      for (std::uint64_t seq = first; seq <= last; ++seq) all = all && model.contains(seq);
      ASSERT_EQ(context.contains(of, first, last), all) << first << ".." << last;
      ASSERT_EQ(context.contains({of.run, of.stream, first}), model.contains(first));
      ASSERT_EQ(context.missing(of, first, last), missing_of(model, first, last));
      ASSERT_EQ(context.max(of), model.empty() ? 0 : *model.rbegin());
    }
    std::uint64_t base = origin;
    while (model.contains(base + 1)) ++base;
    ASSERT_EQ(context.base(of), base);
    ASSERT_EQ(ReceivedContext::decode(context.encode()).value(), context);
  }
}

TEST(ReceivedContext, EqualsTheSameSeqsHoweverTheyCame) {
  // The first makes CRoaring keep 2,240 values in a bitmap container, where the second keeps an array.
  ReceivedContext one, other;
  const RunStream of = stream_of(1);
  ASSERT_TRUE(one.add(of, 100, 199).ok());
  for (std::uint64_t i = 0; i < 2100; ++i) ASSERT_TRUE(one.add(of, 300 + 2 * i, 300 + 2 * i).ok());
  ASSERT_TRUE(one.add(of, 5000, 5039).ok());
  for (std::uint64_t seq = 5039; seq >= 5000; --seq) ASSERT_TRUE(other.add(of, seq, seq).ok());
  for (std::uint64_t i = 0; i < 2100; ++i) ASSERT_TRUE(other.add(of, 300 + 2 * i, 300 + 2 * i).ok());
  for (std::uint64_t seq = 100; seq <= 199; ++seq) ASSERT_TRUE(other.add(of, seq, seq).ok());
  EXPECT_EQ(one, other);
  EXPECT_EQ(one.encode(), other.encode());
  EXPECT_EQ(joined(one, other), one);
  EXPECT_EQ(ReceivedContext::decode(one.encode()).value(), one);
}

TEST(ReceivedContext, RefusesWhatIsNoRangeAndWhatPassesTheLimitAndAddsNothing) {
  ReceivedContext context;
  const RunStream of = stream_of(1);
  EXPECT_EQ(context.add(of, 0, 5).error().code, Code::out_of_range);
  EXPECT_EQ(context.add(of, 5, 4).error().code, Code::out_of_range);
  EXPECT_EQ(context.add(of, 1, UINT64_MAX).error().code, Code::out_of_range);
  EXPECT_EQ(context.add(of, 10, 10 + received_context_above_max).error().code, Code::out_of_range);
  EXPECT_TRUE(context.empty());
  ASSERT_TRUE(context.add(of, 10, 9 + received_context_above_max).ok());
  EXPECT_TRUE(context.add(of, 10, 12).ok());
  EXPECT_EQ(context.add(of, 2 * received_context_above_max, 2 * received_context_above_max).error().code,
            Code::out_of_range);
  EXPECT_TRUE(context.add(of, 1, 9).ok());
  EXPECT_EQ(context.base(of), 9 + received_context_above_max);
  EXPECT_TRUE(context.add(of, 2 * received_context_above_max, 2 * received_context_above_max).ok());
}

// A node of many runs and its clones: each run was copied at some seq and then written on by one of the copies, and each
// replica has met some of it, in any order. The plain sets of dots say what must be here after each join.
struct Replica {
  ReceivedContext context;
  std::map<RunStream, std::set<std::uint64_t>> model;

  void add(const RunStream& of, std::uint64_t first, std::uint64_t last) {
    if (!context.add(of, first, last).ok()) ADD_FAILURE() << "refused";
    for (std::uint64_t seq = first; seq <= last; ++seq) model[of].insert(seq);
  }
  void join(const Replica& other) {
    context.join(other.context);
    for (const auto& [of, seqs] : other.model) model[of].insert(seqs.begin(), seqs.end());
  }
};

constexpr std::uint64_t run_seqs = 60;

void check(const Replica& replica, const RunStream& of) {
  const auto found = replica.model.find(of);
  const std::set<std::uint64_t> here = found == replica.model.end() ? std::set<std::uint64_t>{} : found->second;
  std::uint64_t base = 0;
  while (here.contains(base + 1)) ++base;
  ASSERT_EQ(replica.context.base(of), base);
  ASSERT_EQ(replica.context.max(of), here.empty() ? 0 : *here.rbegin());
  ASSERT_EQ(replica.context.missing(of, 1, run_seqs + 5), missing_of(here, 1, run_seqs + 5));
  for (std::uint64_t seq = 1; seq <= run_seqs + 5; ++seq)
    ASSERT_EQ(replica.context.contains(of, seq, seq), here.contains(seq)) << seq;
}

TEST(Clones, ReplicasOfAForkedNodeHoldWhatCameAndNothingElse) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    std::vector<RunStream> streams;
    for (std::uint32_t counter = 1; counter <= 3; ++counter) {
      for (const std::uint32_t nonce : {0xaaaau, 0xbbbbu})
        streams.push_back({run(1, counter, nonce), rng() % 2 == 0 ? Stream::alarm : Stream::control});
    }
    std::vector<std::uint64_t> copied_at;
    for (std::size_t i = 0; i < streams.size(); ++i) copied_at.push_back(1 + below(rng, run_seqs));
    std::array<Replica, 3> replicas;
    for (int step = 0; step < 60; ++step) {
      Replica& replica = replicas[below(rng, 3)];
      const std::size_t i = below(rng, streams.size());
      const std::uint64_t first = 1 + below(rng, run_seqs);
      switch (below(rng, 4)) {
        case 0: replica.add(streams[i], 1, copied_at[i]); break;  // by the clone: as far as it knows, this is all
        case 1: replica.add(streams[i], 1, run_seqs); break;      // by the original
        case 2: replica.add(streams[i], first, std::min(run_seqs, first + below(rng, 8))); break;
        default: replica.join(replicas[below(rng, 3)]);
      }
    }
    for (const Replica& replica : replicas) {
      for (const RunStream& of : streams) check(replica, of);
    }
    for (const Replica& a : replicas) {
      for (const Replica& b : replicas) {
        ASSERT_EQ(a.context == b.context, a.model == b.model);
        ASSERT_EQ(a.context.encode() == b.context.encode(), a.model == b.model) << "one representation for each set";
      }
    }
    ASSERT_EQ(joined(joined(replicas[0].context, replicas[1].context), replicas[2].context),
              joined(replicas[2].context, joined(replicas[1].context, replicas[0].context)));
  }
}

TEST(Clones, ARunIsNotTakenForTheOneWithTheSameCounter) {
  ReceivedContext context;
  const RunId original = run(1, 2, 0xaaaa), clone = run(1, 2, 0xbbbb);
  ASSERT_TRUE(context.add({original, Stream::alarm}, 1, 3).ok());
  EXPECT_FALSE(context.contains({clone, Stream::alarm, 1}));
  ASSERT_TRUE(context.add({clone, Stream::alarm}, 2, 2).ok());
  EXPECT_EQ(context.missing({clone, Stream::alarm}, 1, 3), (std::vector<ReceivedContext::Range>{{1, 1}, {3, 3}}));
  EXPECT_EQ(ReceivedContext::decode(context.encode()).value(), context);
}

}  // namespace
}  // namespace landfall
