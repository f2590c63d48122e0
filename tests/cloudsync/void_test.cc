// Property: own changes that are superseded go as voids where the owner of the log allows it and the peer knows them.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "schemas/frame.h"
#include "schemas/op.h"
#include "tests/cloudsync/joined.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr Stream stream = Stream::reported;
const std::string object = "twin/d", path = "/p/rpm";

void report(Side& side, int value) {
  Op op{path, std::to_string(value), {}};
  const auto seen = side.log->state(stream, object);
  ASSERT_TRUE(seen.ok());
  for (const Entry& entry : *seen) op.supersedes.push_back(entry.dot);
  std::vector<Op> ops{op};
  const std::string payload = *encode_ops(ops, {side.log->run(), stream});
  Event event;
  event.kind = Kind::change;
  event.subject = object;
  event.actor = "mapper";
  event.payload = payload;
  bool done = false;
  side.log->append(stream, {&event, 1}, [&](const Result<Log::Appended>& appended) { done = appended.ok(); });
  while (!done) side.loop.schedule().run_for(1ms);
}

void allow(Side& side) {
  side.options.voids = 1u << static_cast<int>(stream);
  side.options.may_void = [&side](const Dot& dot, const Event& event) {
    const auto live = side.log->state(stream, event.subject);
    return live.ok() && std::ranges::none_of(*live, [&](const Entry& entry) { return entry.dot == dot; });
  };
}

std::map<Kind, std::size_t> kinds_of(const std::string& chunk) {
  std::map<Kind, std::size_t> kinds;
  const auto decoded = decode_chunk(chunk);
  if (!decoded.ok()) return kinds;
  RowReader reader(decoded->rows);
  for (std::string_view row = reader.next(); !row.empty(); row = reader.next()) ++kinds[decode_row(row)->kind];
  return kinds;
}

std::map<Kind, std::size_t> kinds_at(const Side& side, const RunStream& of) {
  std::map<Kind, std::size_t> kinds;
  const auto chunks = side.log->read(of, 1, 1 << 30);
  EXPECT_TRUE(chunks.ok());
  for (const auto& chunk : *chunks) {
    for (const auto& [kind, count] : kinds_of(chunk.bytes)) kinds[kind] += count;
  }
  return kinds;
}

TEST(SessionVoids, ReconnectCostsWhatIsLiveNotWhatWasSaid) {
  std::map<int, std::uint64_t> bytes;
  for (const int reports : {1000, 4000}) {
    Joined pair;
    allow(pair.edge);
    for (int i = 0; i < reports; ++i) report(pair.edge, i);
    pair.open();
    pair.run_for(10s);
    ASSERT_TRUE(pair.in_sync());
    EXPECT_TRUE(pair.equal());
    const RunStream of{pair.edge.log->run(), stream};
    const auto ashore = kinds_at(pair.hub, of), aboard = kinds_at(pair.edge, of);
    EXPECT_EQ(ashore, (std::map<Kind, std::size_t>{{Kind::change, 1}, {Kind::voided, reports - 1}}));
    EXPECT_EQ(aboard, (std::map<Kind, std::size_t>{{Kind::change, reports}})) << "aboard everything is kept";
    EXPECT_EQ(*pair.hub.log->state(stream, object), *pair.edge.log->state(stream, object));
    EXPECT_EQ(pair.edge.session->totals().voids_sent, static_cast<std::uint64_t>(reports) - 1);
    bytes[reports] = pair.edge.session->totals().chunk_bytes_sent;
  }
  EXPECT_LT(bytes[1000], 2000u);
  EXPECT_LT(bytes[4000], bytes[1000] + 1000) << "three thousand more reports of the same value";
}

TEST(SessionVoids, WhatIsLiveWhenItsTurnComesGoesAsItWasMade) {
  Joined pair;
  allow(pair.edge);
  pair.open();
  pair.run_for(5s);
  for (int i = 0; i < 50; ++i) {
    report(pair.edge, i);
    pair.run_for(1s);
  }
  const RunStream of{pair.edge.log->run(), stream};
  EXPECT_EQ(kinds_at(pair.hub, of), (std::map<Kind, std::size_t>{{Kind::change, 50}}));
  EXPECT_TRUE(pair.equal());
}

TEST(SessionVoids, APeerThatDoesNotKnowThemGetsTheChanges) {
  for (const bool knows : {false, true}) {
    Joined pair;
    allow(pair.edge);
    for (int i = 0; i < 40; ++i) report(pair.edge, i);
    const ReceivedContext none;
    Session session(*pair.edge.log, pair.hub.self, pair.edge.options, [&]() -> const ReceivedContext& { return none; },
                    {});
    (void)session.on_open(pair.schedule.now(), {1}, ClockClass::synced);
    Hello hello;
    hello.node = pair.hub.self.node;
    hello.run = pair.hub.log->run();
    hello.wants = 0x7f;
    hello.credit_bytes = 1 << 20;
    hello.understands_voids = knows;
    const std::string body = encode(hello);
    std::size_t voids = 0, changes = 0;
    for (const std::string& frame : session.on_frame({FrameType::hello, body}, pair.schedule.now()).frames) {
      FrameReader reader(1 << 20);
      std::string_view bytes = frame;
      const auto read = reader.next(bytes);
      ASSERT_TRUE(read.ok());
      if (read->type != FrameType::chunk) continue;
      auto kinds = kinds_of(std::string(read->body));
      voids += kinds[Kind::voided];
      changes += kinds[Kind::change];
    }
    EXPECT_EQ(voids, knows ? 39u : 0u);
    EXPECT_EQ(changes, knows ? 1u : 40u);
  }
}

}  // namespace
}  // namespace landfall
