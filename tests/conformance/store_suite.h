#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "eventlog/store.h"

// What every Store promises, as one suite: the real one and the simulated one pass it, so that what is proven on the
// simulated one holds for the real one.
//
// A Machine is default constructible and has:
//   Store& store();                                  // opened
//   void run_until(std::function<bool()> reached);   // turns of its loop
//   void reopen();                                   // clean stop, then open again
//   void crash();                                    // as hard a stop as it can play, then open again
// To join: INSTANTIATE_TYPED_TEST_SUITE_P(Name, StoreSuite, Machine);

namespace landfall {

template <class Machine>
class StoreSuite : public testing::Test {
 protected:
  Machine machine;
  Store& store() { return machine.store(); }

  void commit(Batch batch) {
    bool done = false;
    store().commit(std::move(batch), [&](const Status& status) {
      EXPECT_TRUE(status.ok());
      done = true;
    });
    machine.run_until([&] { return done; });
  }
  void put(Table table, std::string key, std::string value) {
    Batch batch;
    batch.put(table, std::move(key), std::move(value));
    commit(std::move(batch));
  }
  std::string get(Table table, const std::string& key) {
    Result<std::string> value = store().get(table, key);
    return value ? *value : "<" + std::string(to_string(value.error().code)) + ">";
  }
  std::vector<std::string> keys(Table table, const std::string& from, Store::Order order, std::size_t most = 100) {
    std::vector<std::string> keys;
    Status status = store().scan(table, from, order, [&](std::string_view key, std::string_view) {
      keys.emplace_back(key);
      return keys.size() < most;
    });
    EXPECT_TRUE(status.ok());
    return keys;
  }
};
TYPED_TEST_SUITE_P(StoreSuite);

TYPED_TEST_P(StoreSuite, KeepsTablesApart) {
  this->put(Table::chunks, "k", "chunk");
  this->put(Table::meta, "k", "");
  EXPECT_EQ(this->get(Table::chunks, "k"), "chunk");
  EXPECT_EQ(this->get(Table::meta, "k"), "");
  EXPECT_EQ(this->get(Table::index, "k"), "<not_found>");
}

TYPED_TEST_P(StoreSuite, AppliesABatchInOrder) {
  Batch batch;
  batch.put(Table::state, "a", "1");
  batch.erase(Table::state, "a");
  batch.put(Table::state, "b", "1");
  batch.put(Table::state, "b", "2");
  batch.put(Table::meta, "c", "3");
  batch.erase(Table::meta, "never there");
  this->commit(std::move(batch));
  EXPECT_EQ(this->get(Table::state, "a"), "<not_found>");
  EXPECT_EQ(this->get(Table::state, "b"), "2");
  EXPECT_EQ(this->get(Table::meta, "c"), "3");
}

TYPED_TEST_P(StoreSuite, ScansBytewiseFromAnyKeyBothWays) {
  using Keys = std::vector<std::string>;
  const std::string zero("a\0b", 3), high("a\xff", 2);
  for (const std::string& key : {std::string("b"), high, std::string("a"), zero}) this->put(Table::index, key, "v");
  EXPECT_EQ(this->keys(Table::index, "", Store::Order::forward), (Keys{"a", zero, high, "b"}));
  EXPECT_EQ(this->keys(Table::index, zero, Store::Order::forward), (Keys{zero, high, "b"}));
  EXPECT_EQ(this->keys(Table::index, "a\x01", Store::Order::forward), (Keys{high, "b"}));
  EXPECT_EQ(this->keys(Table::index, "a\x01", Store::Order::backward), (Keys{zero, "a"}));
  EXPECT_EQ(this->keys(Table::index, "zz", Store::Order::backward, 2), (Keys{"b", high}));
  EXPECT_EQ(this->keys(Table::index, "", Store::Order::backward), Keys{});
}

TYPED_TEST_P(StoreSuite, CompletesInSubmissionOrderAndNeverInsideTheCall) {
  std::vector<int> completed;
  for (int i = 0; i < 50; ++i) {
    Batch batch;
    if (i % 7 != 3) batch.put(Table::state, "last", std::to_string(i));  // empty batches keep their place
    const std::size_t before = completed.size();
    this->store().commit(std::move(batch), [&, i](const Status& status) {
      EXPECT_TRUE(status.ok());
      completed.push_back(i);
    });
    EXPECT_EQ(completed.size(), before);
  }
  EXPECT_EQ(this->store().commits_waiting(), 50u);
  this->machine.run_until([&] { return completed.size() == 50; });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(completed[static_cast<std::size_t>(i)], i);
  EXPECT_EQ(this->store().commits_waiting(), 0u);
  EXPECT_EQ(this->get(Table::state, "last"), "49");
}

TYPED_TEST_P(StoreSuite, ReadsSeeNothingBeforeItsCompletion) {
  this->put(Table::state, "k", "old");
  int completed = 0;
  for (int i = 0; i < 2; ++i) {
    Batch batch;
    batch.put(Table::state, "k", "new");
    batch.put(Table::state, "l" + std::to_string(i), "");
    this->store().commit(std::move(batch), [&](const Status&) {
      ++completed;
      EXPECT_EQ(this->get(Table::state, "k"), "new");
    });
  }
  // Long enough for any writer, without one turn of the loop.
  for (int i = 0; i < 20000; ++i) ASSERT_EQ(this->get(Table::state, "k"), "old");
  EXPECT_EQ(this->keys(Table::state, "", Store::Order::forward), std::vector<std::string>{"k"});
  this->machine.run_until([&] { return completed == 2; });
  EXPECT_EQ(this->keys(Table::state, "", Store::Order::forward), (std::vector<std::string>{"k", "l0", "l1"}));
}

TYPED_TEST_P(StoreSuite, AWriteIsDurableWhenItReturns) {
  this->put(Table::state, "k", "old");
  for (int i = 0; i < 10; ++i) {
    Batch batch;
    batch.put(Table::state, "k", std::to_string(i));
    ASSERT_TRUE(this->store().write(std::move(batch)).ok());
    ASSERT_EQ(this->get(Table::state, "k"), std::to_string(i)) << "without a turn of the loop";
  }
  this->put(Table::meta, "k", "after");
  EXPECT_EQ(this->get(Table::state, "k"), "9");
  Batch last;
  last.put(Table::state, "k", "last");
  ASSERT_TRUE(this->store().write(std::move(last)).ok());
  this->machine.crash();
  EXPECT_EQ(this->get(Table::state, "k"), "last");
}

TYPED_TEST_P(StoreSuite, KeepsWhatWasAcknowledgedThroughACrash) {
  int acknowledged = 0;
  for (int i = 0; i < 200; ++i) {
    Batch batch;
    batch.put(Table::chunks, "k" + std::to_string(1000 + i), "v");
    batch.put(Table::meta, "count", std::to_string(i + 1));
    this->store().commit(std::move(batch), [&](const Status& status) { acknowledged += status.ok() ? 1 : 0; });
  }
  this->machine.run_until([&] { return acknowledged >= 20; });
  const int promised = acknowledged;
  this->machine.crash();
  // What is there is a prefix of what was submitted, whole batches, and no shorter than what was promised.
  const int count = std::stoi(this->get(Table::meta, "count"));
  EXPECT_GE(count, promised);
  EXPECT_EQ(this->keys(Table::chunks, "", Store::Order::forward, 1000).size(), static_cast<std::size_t>(count));
}

TYPED_TEST_P(StoreSuite, KnowsWhetherItBeganEmpty) {
  EXPECT_TRUE(this->store().was_empty());
  this->machine.reopen();
  EXPECT_TRUE(this->store().was_empty());
  this->put(Table::state, "k", "v");
  EXPECT_TRUE(this->store().was_empty()) << "it is about the moment of opening";
  this->machine.reopen();
  EXPECT_FALSE(this->store().was_empty());
}

TYPED_TEST_P(StoreSuite, HasNoAnchorBeforeTheFirstCommitWithOne) {
  Result<std::vector<AnchorRecord>> anchors = this->store().anchors();
  ASSERT_FALSE(anchors.ok());
  EXPECT_EQ(anchors.error().code, Code::not_found);
}

TYPED_TEST_P(StoreSuite, RemembersTheNewestAnchorOfEachStream) {
  RunId run{{}, 7, 9};
  for (std::uint64_t seq = 1; seq <= 3000; ++seq) {
    Batch batch;
    batch.put(Table::state, "k", std::to_string(seq));
    batch.anchors.push_back({run, Stream::telemetry, seq, {static_cast<std::uint8_t>(seq)}});
    if (seq <= 10) batch.anchors.push_back({run, Stream::alarm, seq, {1}});
    if (seq % 500 == 0) {
      this->commit(std::move(batch));
    } else {
      this->store().commit(std::move(batch), [](const Status& status) { EXPECT_TRUE(status.ok()); });
    }
  }
  this->machine.reopen();
  Result<std::vector<AnchorRecord>> anchors = this->store().anchors();
  ASSERT_TRUE(anchors.ok());
  std::vector<AnchorRecord> found = *anchors;
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.stream < b.stream; });
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0], (AnchorRecord{run, Stream::alarm, 10, {1}}));
  EXPECT_EQ(found[1], (AnchorRecord{run, Stream::telemetry, 3000, {static_cast<std::uint8_t>(3000)}}));
}

REGISTER_TYPED_TEST_SUITE_P(StoreSuite, KeepsTablesApart, AppliesABatchInOrder, ScansBytewiseFromAnyKeyBothWays,
                            CompletesInSubmissionOrderAndNeverInsideTheCall, ReadsSeeNothingBeforeItsCompletion,
                            AWriteIsDurableWhenItReturns, KeepsWhatWasAcknowledgedThroughACrash,
                            KnowsWhetherItBeganEmpty, HasNoAnchorBeforeTheFirstCommitWithOne,
                            RemembersTheNewestAnchorOfEachStream);

}  // namespace landfall
