// Properties: a received context answers as the plain set of dots would; join is a join; what is encoded decodes to an
// equal value and equal values encode to equal bytes; a folded run is known for ever and a clone is never taken for it.

#include "crdt/received_context.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "schemas/limits.h"

namespace landfall {
namespace {

using Rng = std::mt19937_64;
using Finals = std::array<std::uint64_t, stream_count>;

NodeId node(std::uint8_t n) {
  NodeId id;
  id.bytes.fill(n);
  return id;
}
RunId run(std::uint8_t n, std::uint32_t counter, std::uint32_t nonce = 7) { return {node(n), counter, nonce}; }
RunStream stream_of(std::uint8_t n, std::uint32_t counter = 1, Stream stream = Stream::telemetry) {
  return {run(n, counter), stream};
}
Finals finals(Stream stream, std::uint64_t last) {
  Finals f{};
  f[static_cast<std::size_t>(stream)] = last;
  return f;
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
    const auto of = stream_of(static_cast<std::uint8_t>(1 + below(rng, 3)), 1 + static_cast<std::uint32_t>(below(rng, 3)),
                              static_cast<Stream>(below(rng, stream_count)));
    add_random(context, of, rng);
  }
  // Names of runs and their parents are the same in every replica; what each has of them is not.
  for (std::uint32_t counter = 1; counter <= 3; ++counter) {
    if (below(rng, 3) != 0) continue;
    context.seal(run(1, counter), counter == 1 ? RunId{} : run(1, counter - 1), finals(Stream::alarm, counter));
    if (below(rng, 2) == 0 && !context.add({run(1, counter), Stream::alarm}, 1, counter).ok()) ADD_FAILURE() << "refused";
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
    for (std::uint8_t n = 1; n <= 3; ++n) ASSERT_TRUE(rows.decode_folded(node(n), context.encode_folded(node(n))).ok());
    ASSERT_EQ(rows, context);
  }
}

std::vector<ReceivedContext::Range> missing_of(const std::set<std::uint64_t>& here, std::uint64_t first, std::uint64_t last) {
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
  EXPECT_EQ(context.add(of, 1 << 22, 1 << 22).error().code, Code::out_of_range);
  EXPECT_TRUE(context.add(of, 1, 9).ok());
  EXPECT_EQ(context.base(of), 9 + received_context_above_max);
  EXPECT_TRUE(context.add(of, 1 << 22, 1 << 22).ok());
}

TEST(Folding, ARunFoldsOnceItIsCompleteAndItsParentHasFolded) {
  ReceivedContext context;
  ASSERT_TRUE(context.add({run(1, 1), Stream::alarm}, 1, 4).ok());
  ASSERT_TRUE(context.add({run(1, 2), Stream::alarm}, 1, 9).ok());
  EXPECT_FALSE(context.seal(run(1, 2), run(1, 1), finals(Stream::alarm, 9))) << "the parent has not folded";
  EXPECT_FALSE(context.seal(run(1, 1), {}, finals(Stream::alarm, 5))) << "seq 5 is missing";
  EXPECT_EQ(context.streams().size(), 2u);
  ASSERT_TRUE(context.add({run(1, 1), Stream::alarm}, 5, 5).ok());
  EXPECT_TRUE(context.folded(run(1, 1)));
  EXPECT_TRUE(context.folded(run(1, 2))) << "the child waited for its parent";
  EXPECT_TRUE(context.streams().empty());
  EXPECT_TRUE(context.contains({run(1, 1), Stream::alarm, 3}));
  EXPECT_TRUE(context.missing({run(1, 2), Stream::alarm}, 1, 9).empty());
  EXPECT_TRUE(context.seal(run(1, 1), {}, finals(Stream::alarm, 5))) << "sealing again says so";
  ASSERT_TRUE(context.add({run(1, 1), Stream::alarm}, 2, 3).ok());
  EXPECT_TRUE(context.streams().empty()) << "what is folded gets no entry again";
}

TEST(Folding, AJoinThatCompletesARememberedRunFoldsIt) {
  ReceivedContext here, there;
  ASSERT_TRUE(here.add(stream_of(1), 1, 4).ok());
  ASSERT_TRUE(there.add(stream_of(1), 5, 8).ok());
  EXPECT_FALSE(here.seal(run(1, 1), {}, finals(Stream::telemetry, 8)));
  here.join(there);
  EXPECT_TRUE(here.folded(run(1, 1)));
}

TEST(Folding, ACloneWithTheSameCounterIsNotTakenForTheFoldedRun) {
  ReceivedContext context;
  const RunId original = run(1, 2, 0xaaaa), clone = run(1, 2, 0xbbbb);
  ASSERT_TRUE(context.seal(run(1, 1), {}, {}));
  ASSERT_TRUE(context.add({original, Stream::alarm}, 1, 3).ok());
  ASSERT_TRUE(context.seal(original, run(1, 1), finals(Stream::alarm, 3)));
  EXPECT_FALSE(context.folded(clone));
  EXPECT_FALSE(context.contains({clone, Stream::alarm, 1}));
  ASSERT_TRUE(context.add({clone, Stream::alarm}, 2, 2).ok());
  EXPECT_EQ(context.missing({clone, Stream::alarm}, 1, 3), (std::vector<ReceivedContext::Range>{{1, 1}, {3, 3}}));
  EXPECT_EQ(ReceivedContext::decode(context.encode()).value(), context);
}

TEST(Folding, ForksThatNameDifferentEndsFoldTheirParentOnlyWhereAllOfThemAreHere) {
  ReceivedContext context;
  ASSERT_TRUE(context.add(stream_of(1), 1, 4).ok());
  EXPECT_FALSE(context.seal(run(1, 1), {}, finals(Stream::telemetry, 9)));
  EXPECT_FALSE(context.seal(run(1, 1), {}, finals(Stream::telemetry, 4)));
  ASSERT_TRUE(context.add(stream_of(1), 5, 9).ok());
  EXPECT_TRUE(context.folded(run(1, 1)));
}

}  // namespace
}  // namespace landfall
