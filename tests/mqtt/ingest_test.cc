// The stored positions of requests, with ring, log and ingest of production in one process: whatever the order in which
// requests are done, the next edge sees those again that were not, and no other.

#include "edgeruntime/mqtt/ingest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "edgeruntime/mqtt/ring.h"
#include "eventlog/log.h"
#include "eventlog/rocks_store.h"
#include "tests/conformance/temp_dir.h"

namespace landfall::test {
namespace {

// One life of the edge: from opening log and ring to a crash, which is to be dropped with requests not done.
class Life {
 public:
  Life(const std::filesystem::path& dir, RingWriter*& writer, std::unique_ptr<RingWriter>& owner) {
    store_ = *open_rocks_store(loop_, {.directory = dir / "log", .anchor = dir / "anchor", .on_fatal = {}});
    NodeId node;
    node.bytes[0] = 1;
    log_ = *Log::open(loop_, *store_, {.node = node, .boot_id = "test", .software = "test"});
    MqttIngestOptions options{.ring = dir / "ring", .wake_socket = dir / "sock", .bytes = 128 << 10};
    options.on_request = [this](const CapturedMessage& message, std::vector<Log::Meta> position,
                                std::function<void()> done) {
      handed.emplace_back(message.payload);
      open_.emplace(std::string(message.payload), Open{std::move(position), std::move(done)});
    };
    ingest_ = *MqttIngest::open(loop_, *log_, std::move(options));
    if (!owner) owner = *RingWriter::open(dir / "ring", dir / "sock");
    writer = owner.get();
  }

  // Turns of the loop until the condition holds; false where it never does.
  bool run_until(const std::function<bool()>& condition) {
    for (int turns = 0; turns < 20'000 && !condition(); ++turns) {
      loop_.after(std::chrono::microseconds(100), [this] { loop_.stop(); });
      loop_.run();
    }
    return condition();
  }
  bool run_until_handed(std::size_t count) {
    return run_until([&] { return handed.size() >= count; });
  }

  // Appends what the request asks for, with its position, and is done once that is A1.
  void finish(const std::string& name) {
    auto taken = open_.extract(name);
    Event event;
    event.subject = "applied";
    event.payload = name;
    log_->append(Stream::reported, {&event, 1}, std::move(taken.mapped().position),
                 [this, done = std::move(taken.mapped().done)](const Result<Log::Appended>& result) {
                   ASSERT_TRUE(result.ok());
                   ++finished_;
                   done();
                 });
    ++finishing_;
  }
  bool settle() {
    return run_until([&] { return finished_ == finishing_; });
  }
  bool is_open(const std::string& name) const { return open_.contains(name); }
  std::vector<std::string> open() const {
    std::vector<std::string> names;
    for (const auto& [name, request] : open_) names.push_back(name);
    return names;
  }
  const MqttIngest& ingest() const { return *ingest_; }

  std::vector<std::string> handed;  // in their order

 private:
  struct Open {
    std::vector<Log::Meta> position;
    std::function<void()> done;
  };
  UvLoop loop_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<MqttIngest> ingest_;
  std::map<std::string, Open> open_;
  int finishing_ = 0, finished_ = 0;
};

class Positions : public ::testing::Test {
 protected:
  void begin() { life = std::make_unique<Life>(dir.path(), writer, owner); }
  void crash() { life = nullptr; }
  void request(const std::string& name, Outcome outcome = Outcome::request) {
    CapturedMessage message;
    message.outcome = outcome;
    message.topic = "landfall/d/twin/desired";
    message.client = "c";
    message.payload = name;
    CapturedHead head;
    ASSERT_TRUE(writer->write(encode_captured(message, head), RingWriter::Urgency::urgent).ok());
  }

  TempDir dir;
  std::unique_ptr<RingWriter> owner;
  RingWriter* writer = nullptr;
  std::unique_ptr<Life> life;
};

TEST_F(Positions, RequestsDoneOutOfOrderAreNotHandedOverAgain) {
  begin();
  for (const char* name : {"a", "b", "c"}) request(name);
  ASSERT_TRUE(life->run_until_handed(3));
  EXPECT_EQ(life->handed, (std::vector<std::string>{"a", "b", "c"}));
  life->finish("b");
  ASSERT_TRUE(life->settle());
  crash();

  begin();
  request("d");
  ASSERT_TRUE(life->run_until_handed(3));
  EXPECT_EQ(life->handed, (std::vector<std::string>{"a", "c", "d"}));
  EXPECT_EQ(life->ingest().metrics().skipped, 1u);
  life->finish("c");
  ASSERT_TRUE(life->settle());
  crash();

  begin();
  ASSERT_TRUE(life->run_until_handed(2));
  EXPECT_EQ(life->handed, (std::vector<std::string>{"a", "d"}));
  life->finish("a");
  life->finish("d");
  ASSERT_TRUE(life->settle());
  ASSERT_TRUE(life->run_until([&] { return life->ingest().metrics().ring_used_bytes == 0; }));
  crash();

  begin();
  request("e");
  ASSERT_TRUE(life->run_until_handed(1));
  EXPECT_EQ(life->handed, (std::vector<std::string>{"e"}));
}

// Against a plain account of what was finished: over many lives, more requests than can be open at once, in any order.
TEST_F(Positions, OverManyLivesEachIsAppliedOnce) {
  std::mt19937 random(7);
  std::map<std::string, int> applied;
  int written = 0;
  for (int round = 0; round < 25; ++round) {
    begin();
    std::set<std::string> wanted;
    for (int i = 0; i < 1 + written; ++i) {
      if (const auto name = std::to_string(i); i < written && applied[name] == 0) wanted.insert(name);
    }
    for (const int upto = written + static_cast<int>(random() % 150); written < upto && wanted.size() < 700;
         ++written) {
      request(std::to_string(written));
      wanted.insert(std::to_string(written));
    }
    ASSERT_TRUE(life->run_until_handed(std::min<std::size_t>(wanted.size(), 1))) << "round " << round;
    auto open = life->open();
    ASSERT_LE(open.size(), mqtt_requests_max);
    std::shuffle(open.begin(), open.end(), random);
    open.resize(open.size() * 3 / 4);
    for (const auto& name : open) {
      ASSERT_TRUE(wanted.contains(name)) << name << " was applied before";
      ++applied[name];
      life->finish(name);
    }
    ASSERT_TRUE(life->settle());
    crash();
  }
  begin();
  for (;;) {
    const auto open = life->open();
    for (const auto& name : open) {
      ++applied[name];
      life->finish(name);
    }
    ASSERT_TRUE(life->settle());
    if (life->run_until([&] { return !life->open().empty() || life->ingest().metrics().ring_used_bytes == 0; }) &&
        life->open().empty())
      break;
  }
  for (int i = 0; i < written; ++i) EXPECT_EQ(applied[std::to_string(i)], 1) << i;
}

TEST_F(Positions, NothingIsReadBeyondTheOpenRequestsUntilOneIsDone) {
  begin();
  for (std::size_t i = 0; i < mqtt_requests_max + 3; ++i) request(std::to_string(i));
  ASSERT_TRUE(life->run_until_handed(mqtt_requests_max));
  EXPECT_FALSE(life->is_open(std::to_string(mqtt_requests_max)));
  life->finish("0");
  life->finish("1");
  ASSERT_TRUE(life->settle());
  // The first drain is not through, and so holds what it has.
  for (std::size_t i = 2; i < mqtt_requests_max; ++i) life->finish(std::to_string(i));
  ASSERT_TRUE(life->run_until_handed(mqtt_requests_max + 3));
}

}  // namespace
}  // namespace landfall::test
