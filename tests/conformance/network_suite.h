#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/conformance/talker.h"

// What every Network promises while nothing fails, as one suite: the real one and the simulated one pass it.
//
// A Pair is default constructible: two networks, not yet started, of which the edge dials the hub. It has
//   Network& hub(); Network& edge();
//   NodeId hub_node(); NodeId edge_node();
//   void run_until(std::function<bool()> reached);   // turns of the loop; fails the test where it is never reached
// To join: INSTANTIATE_TYPED_TEST_SUITE_P(Name, NetworkSuite, Pair);

namespace landfall {

template <class Pair>
class NetworkSuite : public testing::Test {
 protected:
  Talker ashore, aboard;
  Pair pair;  // goes before the talkers

  void connect() {
    pair.hub().start(ashore);
    pair.edge().start(aboard);
    pair.run_until([this] { return ashore.open.size() == 1 && aboard.open.size() == 1; });
  }
};
TYPED_TEST_SUITE_P(NetworkSuite);

TYPED_TEST_P(NetworkSuite, NamesTheProvenPeers) {
  this->connect();
  const Peer& hub = this->aboard.open[0]->peer();
  const Peer& edge = this->ashore.open[0]->peer();
  EXPECT_EQ(hub.role, Peer::Role::hub);
  EXPECT_EQ(hub.node, this->pair.hub_node());
  EXPECT_EQ(edge.role, Peer::Role::node);
  EXPECT_EQ(edge.node, this->pair.edge_node());
}

TYPED_TEST_P(NetworkSuite, CarriesWholeFramesOfAnySizeBothWays) {
  this->connect();
  // The first frame is small: what may come before it was accepted is bounded more tightly.
  std::vector<std::string> bodies = {"hello", "", std::string(frame_bytes_max, 'x'), std::string(33'000, 'y'), "z"};
  for (const auto& body : bodies) {
    this->aboard.send(body);
    this->ashore.send(body);
  }
  this->pair.run_until([&] { return this->aboard.frames.size() == 5 && this->ashore.frames.size() == 5; });
  EXPECT_EQ(this->ashore.frames, bodies);
  EXPECT_EQ(this->aboard.frames, bodies);
  EXPECT_EQ(this->pair.hub().totals().frames_in, 5u);
  EXPECT_EQ(this->pair.hub().totals().frames_out, 5u);
  EXPECT_GE(this->pair.edge().totals().bytes_out, frame_bytes_max);
}

TYPED_TEST_P(NetworkSuite, SaysWhatIsUnsentAndWhenItDrained) {
  this->connect();
  this->aboard.send("hello");
  for (int i = 0; i < 50; ++i) this->aboard.send(std::string(100'000, 'x'));
  EXPECT_GE(this->aboard.open[0]->unsent_bytes(), 5'000'000u);
  this->pair.run_until([&] { return this->ashore.frames.size() == 51 && this->aboard.open[0]->unsent_bytes() == 0; });
  EXPECT_GE(this->aboard.drained, 1u);
}

TYPED_TEST_P(NetworkSuite, ClosesBothEndsOnceInALaterTurn) {
  this->connect();
  this->aboard.send("the last words");
  this->aboard.close();
  this->aboard.send("nobody hears this");
  this->aboard.close();
  EXPECT_EQ(this->aboard.open.size(), 1u);
  this->pair.run_until([&] { return !this->aboard.closed.empty() && !this->ashore.closed.empty(); });
  EXPECT_EQ(this->aboard.closed[0].detail, "the test closes it");
  EXPECT_EQ(this->ashore.frames, std::vector<std::string>{"the last words"});
}

TYPED_TEST_P(NetworkSuite, DialsAgainByItself) {
  this->connect();
  for (std::size_t round = 2; round <= 3; ++round) {
    this->ashore.close();
    this->pair.run_until([&] { return this->aboard.links == round && this->ashore.links == round; });
  }
  this->pair.run_until([&] { return this->aboard.closed.size() == 2 && this->ashore.closed.size() == 2; });
}

TYPED_TEST_P(NetworkSuite, AHeldEdgeHasNoLinkUntilReleased) {
  this->connect();
  this->pair.edge().hold(true);
  EXPECT_TRUE(this->pair.edge().held());
  this->pair.run_until([&] { return this->aboard.closed.size() == 1 && this->ashore.closed.size() == 1; });
  this->pair.edge().hold(false);
  this->pair.run_until([&] { return this->aboard.links == 2 && this->ashore.links == 2; });
}

TYPED_TEST_P(NetworkSuite, AHeldHubAcceptsNobodyUntilReleased) {
  this->connect();
  this->pair.hub().hold(true);
  this->pair.run_until([&] { return this->aboard.closed.size() == 1 && this->ashore.closed.size() == 1; });
  EXPECT_EQ(this->ashore.links, 1u);
  this->pair.hub().hold(false);
  this->pair.run_until([&] { return this->aboard.links == 2 && this->ashore.links == 2; });
}

REGISTER_TYPED_TEST_SUITE_P(NetworkSuite, NamesTheProvenPeers, CarriesWholeFramesOfAnySizeBothWays,
                            SaysWhatIsUnsentAndWhenItDrained, ClosesBothEndsOnceInALaterTurn, DialsAgainByItself,
                            AHeldEdgeHasNoLinkUntilReleased, AHeldHubAcceptsNobodyUntilReleased);

}  // namespace landfall
