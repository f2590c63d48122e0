// Property: the compacted topics hold the newest state of each key and a tombstone where it is gone, never of an event
// that is not committed, wherever the projector was ended.
#include "cloudsync/hub/state_projector.h"

#include <gtest/gtest.h>

#include <random>

#include "crdt/entry.h"
#include "schemas/op.h"
#include "tests/hub/broker.h"
#include "tests/hub/hub_rig.h"
#include "tests/hub/made_events.h"
#include "tests/hub/made_rows.h"
#include "tests/hub/topic_reader.h"

namespace landfall {
namespace {

using std::chrono::seconds;

KafkaWriterOptions options_for(const std::string& prefix) {
  KafkaWriterOptions options;
  options.bootstrap = Broker::shared().bootstrap();
  options.topic_prefix = prefix;
  options.shards = 2;
  return options;
}

class Projector : public testing::Test {
 protected:
  void open(const std::string& prefix) {
    prefix_ = prefix;
    rig_ = std::make_unique<HubRig>(scratch_.path(), options_for(prefix));
    rig_->start([this](const RunStream&) {
      if (projector_) projector_->committed_advanced();
    });
    ASSERT_TRUE(rig_->until([&] { return rig_->writer().status().shards_connected == 2; }));
  }

  void start(std::function<const ReceivedContext&()> committed = nullptr) {
    ProjectorOptions options;
    options.bootstrap = Broker::shared().bootstrap();
    options.topic_prefix = prefix_;
    options.committed =
        committed ? std::move(committed) : [this]() -> const ReceivedContext& { return rig_->writer().committed(); };
    options.key_of = [](Stream, std::string_view object) -> std::optional<ProjectedKey> {
      const auto slash = object.find('/');
      const auto noun = object.substr(0, slash), name = object.substr(slash + 1);
      if (noun == "doc") return ProjectedKey{StateTopic::documents, std::string(name)};
      if (noun == "alarm") return ProjectedKey{StateTopic::alarms, std::string(name)};
      if (noun == "twin" || noun == "device") return ProjectedKey{StateTopic::twins, std::string(name)};
      return std::nullopt;
    };
    // As the twin of a device is shown from its desired and its reported values and its entry in the registry.
    options.show = [this](const ProjectedKey& key) -> std::optional<std::string> { return shown(key); };
    auto projector = StateProjector::create(rig_->loop(), rig_->log(), std::move(options));
    ASSERT_TRUE(projector.ok()) << projector.error().detail;
    projector_ = std::move(*projector);
  }

  std::optional<std::string> shown(const ProjectedKey& key) {
    std::string text;
    const auto add = [&](Stream stream, const std::string& object) {
      const Entries entries = rig_->log().state(stream, object).value();
      for (const Entry& entry : entries) text += entry.path + "=" + entry.value + ";";
    };
    switch (key.topic) {
      case StateTopic::twins:
        add(Stream::desired, "twin/" + key.key);
        add(Stream::reported, "twin/" + key.key);
        add(Stream::document, "device/" + key.key);
        break;
      case StateTopic::alarms: add(Stream::alarm, "alarm/" + key.key); break;
      case StateTopic::documents: add(Stream::document, "doc/" + key.key); break;
    }
    return text.empty() ? std::nullopt : std::optional(text);
  }

  // Puts a value, or takes all away; returns once it is A1.
  Dot write(Stream stream, const std::string& object, std::optional<std::string> value) {
    std::vector<Op> ops;
    Op put{"/v", value, {}};
    const Entries entries = rig_->log().state(stream, object).value();
    for (const Entry& entry : entries) put.supersedes.push_back(entry.dot);
    ops.push_back(std::move(put));
    const std::string payload = encode_ops(ops, {rig_->log().run(), stream}).value();
    Event event;
    event.kind = Kind::change;
    event.subject = object;
    event.payload = payload;
    std::optional<Dot> dot;
    rig_->log().append(stream, {&event, 1}, [&](const Result<Log::Appended>& done) { dot = done.value().first; });
    LANDFALL_CHECK(rig_->until([&] { return dot.has_value(); }));
    return *dot;
  }

  bool settled() {
    return rig_->until([&] { return projector_->waiting() == 0; }) &&
           rig_->until([&] { return rig_->log().get_meta("x/projected").ok() && marked_all(); });
  }
  bool marked_all() {
    const auto marked = ReceivedContext::decode(rig_->log().get_meta("x/projected").value()).value();
    for (const RunStream& of : rig_->log().received().streams()) {
      if (of.stream == Stream::control || of.stream == Stream::telemetry) continue;
      if (marked.base(of) < rig_->log().received().base(of)) return false;
    }
    return true;
  }

  // The last record of each key; none for a tombstone.
  std::map<std::string, std::optional<std::string>> topic(const std::string& suffix) {
    std::map<std::string, std::optional<std::string>> newest;
    for (const auto& record : read_topics(Broker::shared().bootstrap(), prefix_, {suffix}))
      newest[record.key] = record.tombstone ? std::nullopt : std::optional(record.value);
    return newest;
  }

  Scratch scratch_;
  std::string prefix_;
  std::unique_ptr<HubRig> rig_;
  std::unique_ptr<StateProjector> projector_;  // before what it looks at
};

using Newest = std::map<std::string, std::optional<std::string>>;

TEST_F(Projector, HoldsTheNewestOfEachKeyAndATombstoneWhereItIsGone) {
  open("newest");
  write(Stream::document, "doc/before", "1");  // before it is there
  start();
  write(Stream::desired, "twin/pump-1", "80");
  write(Stream::reported, "twin/pump-1", "79");
  write(Stream::document, "device/pump-1", "d");
  write(Stream::alarm, "alarm/pump-1/hot", "on");
  write(Stream::alarm, "command/1", "not shown");
  write(Stream::document, "doc/gone", "1");
  ASSERT_TRUE(rig_->until([&] { return projector_->waiting() == 0; }));
  write(Stream::desired, "twin/pump-1", "90");
  write(Stream::document, "doc/gone", std::nullopt);
  ASSERT_TRUE(settled());
  EXPECT_EQ(topic("twin-state"), (Newest{{"pump-1", "/v=90;/v=79;/v=d;"}}));
  EXPECT_EQ(topic("alarm-state"), (Newest{{"pump-1/hot", "/v=on;"}}));
  EXPECT_EQ(topic("document-state"), (Newest{{"before", "/v=1;"}, {"gone", std::nullopt}}));
  EXPECT_EQ(projector_->last_error(), "");
}

// A void puts nothing, and takes away as much as the change that it stands for.
TEST_F(Projector, ShowsWhatVoidsLeave) {
  open("left-by-voids");
  const RunStream reported{made_run(3), Stream::reported};
  const std::string sent = with_voids(chunk_of(reported, made_reports(40)), 2, 39);
  const auto ingest = [&](std::uint64_t first, std::uint64_t last) {
    bool done = false;
    rig_->log().ingest(cut(sent, first, last), [&](const Status& status) { done = status.ok(); });
    ASSERT_TRUE(rig_->until([&] { return done; }));
    ASSERT_TRUE(rig_->until_committed(reported, last));
  };
  const auto value = [](std::uint64_t seq) { return "/p/speed=" + std::to_string(seq * 0x9e3779b97f4a7c15u) + ";"; };
  ingest(1, 1);
  start();
  ASSERT_TRUE(settled());
  EXPECT_EQ(topic("twin-state"), (Newest{{"pump-1", value(1)}}));
  projector_.reset();
  ingest(2, 20);  // while nobody looks
  start();
  ASSERT_TRUE(settled());
  EXPECT_EQ(topic("twin-state"), (Newest{{"pump-1", std::nullopt}}));
  ingest(21, 40);
  ASSERT_TRUE(settled());
  EXPECT_EQ(topic("twin-state"), (Newest{{"pump-1", value(40)}}));
}

TEST_F(Projector, ShowsNothingWhoseCauseIsNotCommitted) {
  open("ahead");
  ReceivedContext committed;
  start([&]() -> const ReceivedContext& { return committed; });
  const Dot first = write(Stream::document, "doc/a", "1");
  const Dot second = write(Stream::document, "doc/a", "2");
  const Dot deleted = write(Stream::document, "doc/a", std::nullopt);
  EXPECT_FALSE(rig_->until([&] { return projector_->written() > 0; }, seconds(1)));
  for (const Dot& dot : {first, second}) {
    ASSERT_TRUE(committed.add(dot).ok());
    projector_->committed_advanced();
    EXPECT_FALSE(rig_->until([&] { return projector_->written() > 0; }, seconds(1)));
  }
  ASSERT_TRUE(committed.add(deleted).ok());
  projector_->committed_advanced();
  ASSERT_TRUE(settled());
  EXPECT_EQ(topic("document-state"), (Newest{{"a", std::nullopt}}));
}

// Ended at any moment, by what it looks like from outside: nothing more of it is written, and nothing remembered.
TEST_F(Projector, CatchesUpWhereverItWasEnded) {
  std::mt19937 chance(20260202);  // NOLINT: a fixed seed, to be run again
  std::set<std::string> names;
  for (int round = 0; round < 12; ++round) {
    open("ended");
    const bool sees = round % 3 != 2;  // else all of it changes while nobody looks
    if (sees) start();
    for (int change = 0; change < 40; ++change) {
      const std::string name = std::to_string(chance() % 30);
      names.insert(name);
      write(Stream::document, "doc/" + name,
            chance() % 3 == 0 ? std::nullopt : std::optional(std::to_string(round * 100 + change)));
    }
    const std::uint64_t enough = chance() % 40;
    if (sees) rig_->until([&] { return projector_->written() >= enough; });
    projector_.reset();
    rig_.reset();
  }
  open("ended");
  start();
  ASSERT_TRUE(settled());
  const auto newest = topic("document-state");
  EXPECT_GT(names.size(), 20u);
  for (const auto& name : names) {
    const auto there = newest.find(name);
    const auto wanted = shown({StateTopic::documents, name});
    if (!wanted && there == newest.end()) continue;  // came and went unseen
    ASSERT_NE(there, newest.end()) << name;
    EXPECT_EQ(there->second, wanted) << name;
  }
  // With nothing new nothing is written again.
  projector_.reset();
  start();
  EXPECT_FALSE(rig_->until([&] { return projector_->written() > 0; }, seconds(1)));
}

TEST_F(Projector, HasTopicsThatKeepWhatTheyPromise) {
  open("settings");
  const auto setting = [](const char* topic, const char* name) {
    return topic_setting(Broker::shared().bootstrap(), std::string("settings.") + topic, name);
  };
  for (const char* kept : {"control", "alarms", "twins", "documents"}) {
    EXPECT_EQ(setting(kept, "retention.ms"), "-1") << kept;
    EXPECT_EQ(setting(kept, "retention.bytes"), "-1") << kept;
    EXPECT_EQ(setting(kept, "cleanup.policy"), "delete") << kept;
  }
  for (const char* compacted : {"twin-state", "alarm-state", "document-state", "progress"})
    EXPECT_EQ(setting(compacted, "cleanup.policy"), "compact") << compacted;
  for (const char* passing : {"telemetry", "blobs"}) EXPECT_NE(setting(passing, "retention.ms"), "-1") << passing;
}

}  // namespace
}  // namespace landfall
