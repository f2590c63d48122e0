// Properties: a set holds what was added and not removed by somebody who saw it; a counter shows what no reset saw; a quota
// is never exceeded, in no union of what anybody did; and the scenarios of adversaries that values alone can play.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "crdt/counter.h"
#include "crdt/quota.h"
#include "crdt/register.h"
#include "crdt/set.h"
#include "schemas/limits.h"
#include "tests/crdt/replica.h"

namespace landfall::crdt_test {
namespace {

using Rng = std::mt19937_64;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t histories = 500;
#else
constexpr std::uint64_t histories = 5000;
#endif

std::uint64_t below(Rng& rng, std::uint64_t n) { return rng() % n; }

std::vector<Replica> replicas(std::uint8_t count) {
  std::vector<Replica> all;
  for (std::uint8_t n = 1; n <= count; ++n) all.emplace_back(n);
  return all;
}

void exchange_all(std::vector<Replica>& all) {
  std::vector<Replica*> pointers;
  for (Replica& replica : all) pointers.push_back(&replica);
  exchange(pointers);
  for (const Replica& replica : all) {
    ASSERT_EQ(replica.state, all[0].state);
    ASSERT_EQ(replica.state.pending(), 0u);
  }
}

// Half of what happens is that somebody hears everything of somebody else: all that anybody has is then causally whole.
void hear_of_any(std::vector<Replica>& all, Replica& to, Rng& rng) {
  Replica& from = all[below(rng, all.size())];
  if (&from != &to) to.state.join(from.state);
}

TEST(Set, HoldsWhatWasAddedAndNotRemovedByWhoSawIt) {
  for (std::uint64_t seed = 1; seed <= histories; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    auto all = replicas(3);
    // Adds by number: what each replica has heard of, and what somebody who had heard of it took away.
    struct Known {
      std::set<int> heard, gone;
    };
    std::vector<Known> known(all.size());
    std::vector<std::string> element_of;
    for (int step = 0; step < 30; ++step) {
      const auto i = below(rng, all.size()), j = below(rng, all.size());
      const std::string element(1, static_cast<char>('a' + below(rng, 3)));
      const auto what = below(rng, 10);
      if (what < 4) {
        all[i].state.join(all[j].state);
        known[i].heard.insert(known[j].heard.begin(), known[j].heard.end());
        known[i].gone.insert(known[j].gone.begin(), known[j].gone.end());
      } else if (what < 7) {
        all[i].write(add_element_op(all[i].see(), "/t", element));
        known[i].heard.insert(static_cast<int>(element_of.size()));
        element_of.push_back(element);
      } else if (has_element(all[i].see(), "/t", element)) {
        all[i].write(remove_element_op(all[i].see(), "/t", element));
        for (const int add : known[i].heard) {
          if (element_of[static_cast<std::size_t>(add)] == element) known[i].gone.insert(add);
        }
      }
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      std::set<std::string> there;
      for (const int add : known[i].heard) {
        if (!known[i].gone.contains(add)) there.insert(element_of[static_cast<std::size_t>(add)]);
      }
      ASSERT_EQ(elements(all[i].see(), "/t"), std::vector<std::string>(there.begin(), there.end()));
    }
  }
}

TEST(Set, TakesAnyTextThatAPathCanHold) {
  Replica a(1);
  for (const char* element : {"a/b", "~", "", "~1", "zwölf", "a"}) a.write(add_element_op(a.see(), "/t", element));
  a.write(put_op(a.see(), "/t/a/deeper", "1"));
  EXPECT_EQ(elements(a.see(), "/t"), (std::vector<std::string>{"", "a", "a/b", "zwölf", "~", "~1"}));
  EXPECT_TRUE(has_element(a.see(), "/t", "a/b"));
  EXPECT_FALSE(has_element(a.see(), "/t", "b"));
  std::vector<Op> unclean{add_element_op(a.see(), "/t", "line\nbreak")};
  EXPECT_EQ(encode_ops(unclean, {a.run(), Stream::document}).error().code, Code::out_of_range);
}

// Known bug of OR-sets: an element that both sides have, and both removed, stays (riak_dt, pull request 82).
TEST(Scenario01, AddAddRemoveOfThreeReplicasLeavesTheElementNowhere) {
  Replica a(1), b(2), c(3);
  a.write(add_element_op(a.see(), "/t", "bob"));
  b.write(add_element_op(b.see(), "/t", "bob"));
  c.state.join(a.state);
  a.state.join(b.state);
  a.write(remove_element_op(a.see(), "/t", "bob"));
  b.state.join(c.state);
  b.write(remove_element_op(b.see(), "/t", "bob"));
  for (Replica* to : {&a, &b, &c}) {
    for (const Replica* from : {&c, &b, &a}) to->state.join(from->state);
    EXPECT_FALSE(has_element(to->see(), "/t", "bob"));
    EXPECT_EQ(to->state.entries(), 0u);
  }
}

TEST(Scenario04, DeleteLeavesTheTagsThatItsAuthorNeverSawUntilItIsDoneAgain) {
  Replica cloud(1), edge(2);
  cloud.write(put_op(cloud.see(), "/name", "\"pump\""));
  cloud.write(add_element_op(cloud.see(), "/tags", "old"));
  edge.hear(cloud);
  const auto erase_all = [](Replica& by) {
    std::vector<Op> ops;
    for (const Entry& entry : by.see()) ops.push_back(erase_op(by.see(), entry.path));
    by.write(std::move(ops));
  };
  erase_all(cloud);
  edge.write(add_element_op(edge.see(), "/tags", "new"));
  edge.write(remove_element_op(edge.see(), "/tags", "old"));
  exchange({&cloud, &edge});
  for (const Replica* replica : {&cloud, &edge}) {
    ASSERT_EQ(replica->see().size(), 1u);
    EXPECT_EQ(replica->see()[0].path, "/tags/new");
    EXPECT_EQ(replica->see()[0].dot.run.node, node_id(2)) << "who brought it back is known";
  }
  erase_all(cloud);
  exchange({&cloud, &edge});
  EXPECT_EQ(edge.state.entries(), 0u);
  EXPECT_TRUE(edge.state.objects(Stream::document).empty());
}

// Increments by number; a reset takes those away that its author had heard of.
TEST(Counter, ShowsWhatNoResetSaw) {
  for (std::uint64_t seed = 1; seed <= histories; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    auto all = replicas(3);
    struct Known {
      std::set<std::size_t> heard, reset;
    };
    std::vector<Known> known(all.size());
    std::vector<std::int64_t> increments;
    for (int step = 0; step < 30; ++step) {
      const auto i = below(rng, all.size()), j = below(rng, all.size());
      const auto what = below(rng, 12);
      if (what < 4) {
        all[i].state.join(all[j].state);
        known[i].heard.insert(known[j].heard.begin(), known[j].heard.end());
        known[i].reset.insert(known[j].reset.begin(), known[j].reset.end());
      } else if (what < 9) {
        const auto by = static_cast<std::int64_t>(below(rng, 20)) - 8;
        all[i].write(count_op(all[i].see(), "/n", all[i].run(), by).value());
        known[i].heard.insert(increments.size());
        increments.push_back(by);
      } else if (what < 11) {
        all[i].write(what == 9 ? reset_ops(all[i].see(), "/n") : erase_counter_ops(all[i].see(), "/n"));
        known[i].reset.insert(known[i].heard.begin(), known[i].heard.end());
      } else {
        all[i].restart();
      }
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      std::int64_t value = 0;
      for (const auto increment : known[i].heard)
        value += known[i].reset.contains(increment) ? 0 : increments[increment];
      ASSERT_EQ(counter_value(all[i].see(), "/n").value_or(0), value);
    }
  }
}

TEST(Scenario17, IncrementsConcurrentWithAResetSurviveAndTwoResetsTakeNothingTwice) {
  Replica a(1), b(2), c(3);
  a.write(count_op(a.see(), "/n", a.run(), 5).value());
  b.hear(a);
  b.write(reset_ops(b.see(), "/n"));
  c.write(count_op(c.see(), "/n", c.run(), 3).value());
  for (int twice = 0; twice < 2; ++twice) exchange({&a, &b, &c});
  for (const Replica* replica : {&a, &b, &c}) EXPECT_EQ(counter_value(replica->see(), "/n"), 3);

  a.write(reset_ops(a.see(), "/n"));
  b.write(reset_ops(b.see(), "/n"));
  exchange({&a, &b, &c});
  EXPECT_EQ(counter_value(c.see(), "/n"), 0);
}

TEST(Counter, IsThereFromItsFirstCountUntilItsDeletion) {
  Replica a(1), b(2);
  EXPECT_FALSE(counter_value(a.see(), "/n"));
  a.write(count_op(a.see(), "/n", a.run(), 0).value());
  EXPECT_EQ(counter_value(a.see(), "/n"), 0);
  a.write(count_op(a.see(), "/n", a.run(), 7).value());
  b.hear(a);
  a.write(erase_counter_ops(a.see(), "/n"));
  EXPECT_FALSE(counter_value(a.see(), "/n"));
  b.write(count_op(b.see(), "/n", b.run(), 2).value());
  exchange({&a, &b});
  EXPECT_EQ(counter_value(a.see(), "/n"), 2);
  a.write(count_op(a.see(), "/n", a.run(), 1).value());
  EXPECT_EQ(counter_value(a.see(), "/n"), 3) << "what was deleted does not come back with the next count";
}

TEST(Counter, StandsAnythingThatReplicasSend) {
  Replica a(1);
  const std::string run = to_string(a.run());
  a.write(put_op(a.see(), "/n/" + run, "[4611686018427387904,0]"));
  EXPECT_EQ(counter_value(a.see(), "/n"), std::int64_t{1} << 62);
  EXPECT_EQ(count_op(a.see(), "/n", a.run(), 1).error().code, Code::out_of_range);
  for (const char* bad : {"", "[1,2", "[1,2]x", "[-1,2]", "[4611686018427387905,0]", "7", "null"}) {
    a.write(put_op(a.see(), "/n/" + run, bad));
    EXPECT_FALSE(counter_value(a.see(), "/n")) << bad;
  }
  for (std::uint8_t n = 1; n <= 5; ++n) {
    a.write(put_op(a.see(), "/n/" + to_string(RunId{node_id(n), 1, 7}), "[0,4611686018427387904]"));
  }
  EXPECT_EQ(counter_value(a.see(), "/n"), std::numeric_limits<std::int64_t>::min());
}

TEST(Quota, IsNeverExceededWhateverWhoHeard) {
  for (std::uint64_t seed = 1; seed <= histories; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    auto all = replicas(3);
    State everything;
    std::uint64_t in_use = 0, made = 0;
    for (int step = 0; step < 40; ++step) {
      Replica& one = all[below(rng, all.size())];
      const Entries entries = one.see();
      const std::uint64_t amount = 1 + below(rng, 40);
      const auto what = below(rng, 10);
      Result<Op> op = Error{Code::not_found, ""};
      if (what < 3) {
        hear_of_any(all, one, rng);
      } else if (what == 3) {
        op = grant_op(entries, "/q", one.run(), amount);
        made += amount;
      } else if (what < 7) {
        op = spend_op(entries, "/q", one.run(), amount);
        in_use += op ? amount : 0;
      } else if (what == 7) {
        op = give_back_op(entries, "/q", one.run(), amount);
        in_use -= op ? amount : 0;
      } else if (what == 8) {
        op = transfer_op(entries, "/q", one.run(), node_id(static_cast<std::uint8_t>(1 + below(rng, 3))), amount);
      } else {
        one.restart();
      }
      if (op) one.write(*std::move(op));
      everything.join(one.state);
      const Quota now = quota(everything.object(Stream::document, "o"), "/q");
      ASSERT_EQ(now.used(), in_use);
      ASSERT_EQ(now.made(), made);
      ASSERT_LE(in_use, made);
      for (const auto& [node, share] : now.shares) ASSERT_GE(share.left(), 0);
    }
  }
}

TEST(Scenario18, ThreeSitesSpendNoMoreThanTheirSharesAndSayWhatIsLeft) {
  auto sites = replicas(3);
  sites[0].write(grant_op(sites[0].see(), "/q", sites[0].run(), 100).value());
  for (std::uint8_t to : {2, 3})
    sites[0].write(transfer_op(sites[0].see(), "/q", sites[0].run(), node_id(to), 33).value());
  exchange_all(sites);
  for (Replica& site : sites) {
    const auto refused = spend_op(site.see(), "/q", site.run(), 60);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::out_of_range);
    const std::string left = &site == &sites[0] ? "34" : "33";
    EXPECT_EQ(refused.error().detail, "quota /q: 60 asked, " + left + " left at this node of 100 in all");
    site.write(spend_op(site.see(), "/q", site.run(), 30).value());
  }
  exchange_all(sites);
  EXPECT_EQ(quota(sites[1].see(), "/q").used(), 90u);
  // After the partition rights go where they are needed.
  sites[0].write(transfer_op(sites[0].see(), "/q", sites[0].run(), node_id(2), 4).value());
  EXPECT_FALSE(spend_op(sites[1].see(), "/q", sites[1].run(), 7).ok());
  exchange_all(sites);
  sites[1].write(spend_op(sites[1].see(), "/q", sites[1].run(), 7).value());
  EXPECT_EQ(quota(sites[1].see(), "/q").shares.at(node_id(2)).left(), 0);
}

TEST(Quota, CountsWhatANodeUsedTwiceAfterABackup) {
  Replica hub(1), edge(2);
  hub.write(grant_op(hub.see(), "/q", hub.run(), 50).value());
  hub.write(transfer_op(hub.see(), "/q", hub.run(), node_id(2), 50).value());
  edge.hear(hub);
  const State backup = edge.state;
  edge.write(spend_op(edge.see(), "/q", edge.run(), 40).value());
  hub.hear(edge);
  edge.state = backup;
  edge.restart();
  edge.write(spend_op(edge.see(), "/q", edge.run(), 30).value());
  exchange({&hub, &edge});
  EXPECT_EQ(quota(hub.see(), "/q").used(), 70u);
  EXPECT_EQ(quota(hub.see(), "/q").shares.at(node_id(2)).left(), -20);
  EXPECT_FALSE(spend_op(edge.see(), "/q", edge.run(), 1).ok());
}

}  // namespace
}  // namespace landfall::crdt_test
