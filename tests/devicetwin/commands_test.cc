// Property: a device hears of a command at most once, whatever crashes when, and everybody learns what became of it.
#include "devicetwin/commands.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "schemas/limits.h"
#include "tests/devicetwin/state_node.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using test::StateNode;
using State = CommandView::State;

// A node with its commands. What its devices heard is theirs: it outlives the node's crashes.
struct Party {
  Party(sim::Schedule& schedule, std::uint8_t number, bool owner) : node(schedule, number), is_owner(owner) { begin(); }
  ~Party() { commands.reset(); }
  void begin() {
    commands = std::make_unique<Commands>(
        node.loop, *node.objects,
        Commands::Options{[this](const std::string& device) { return is_owner && device == "pump-1"; },
                          [this](const CommandView& command) {
                            EXPECT_EQ(command.state, State::sent);
                            ++heard[command.id];
                            if (on_sent) on_sent(command);
                          }});
    commands->start();
  }
  void crash() {
    commands.reset();
    node.crash();
    begin();
  }

  Result<CommandView> issue(std::string id = "", std::string name = "start", Duration valid = 1h,
                            std::string arguments = R"({"speed": 3})", std::string device = "pump-1") {
    return node.wait<CommandView>([&](auto done) {
      commands->issue({device, name, arguments, "office", id, valid}, std::move(done));
    });
  }
  Result<Written> cancel(const std::string& id) {
    return node.wait([&](OnWritten done) { commands->cancel(id, "office", std::move(done)); });
  }
  using Another = Commands::Another;
  Result<Written> complete(const std::string& id, bool succeeded = true, std::string result = R"({"rpm":1})",
                           Another another = Another::dropped) {
    return node.wait(
        [&](OnWritten done) { commands->complete(id, succeeded, result, "pump-1", another, {}, std::move(done)); });
  }
  CommandView view(const std::string& id) {
    auto view = commands->view(id);
    EXPECT_TRUE(view.ok());
    return view ? *view : CommandView{};
  }
  State state(const std::string& id) { return view(id).state; }

  StateNode node;
  bool is_owner;
  std::map<std::string, int> heard;
  std::function<void(const CommandView&)> on_sent;
  std::unique_ptr<Commands> commands;
};

class CommandsTest : public ::testing::Test {
 protected:
  sim::Schedule schedule{7};
  Party ship{schedule, 1, true}, office{schedule, 2, false};
  void meet() { exchange(ship.node, office.node); }
};
using ACommand = CommandsTest;

TEST_F(ACommand, IsSentByTheOwnerAndAnsweredByTheDevice) {
  const auto issued = office.issue();
  ASSERT_TRUE(issued.ok());
  const std::string id = issued->id;
  EXPECT_EQ(id.size(), 32u);
  EXPECT_EQ(issued->state, State::pending);
  EXPECT_EQ(issued->arguments, R"({"speed":3})");
  schedule.run_for(1min);
  EXPECT_TRUE(office.heard.empty());
  meet();
  schedule.run_for(1s);
  EXPECT_EQ(ship.heard[id], 1);
  EXPECT_EQ(ship.state(id), State::sent);
  ASSERT_TRUE(ship.complete(id).ok());
  meet();
  const CommandView view = office.view(id);
  EXPECT_EQ(view.state, State::succeeded);
  EXPECT_EQ(view.result, R"({"rpm":1})");
  EXPECT_TRUE(view.from_device);
  EXPECT_EQ(view.actor, "office");
  EXPECT_GE(view.ended_ms, view.sent_ms);
  EXPECT_GE(view.sent_ms, view.issued_ms);
  EXPECT_EQ(command_json(view), command_json(ship.view(id)));
  schedule.run_for(2h);
  EXPECT_EQ(ship.heard[id], 1);
  EXPECT_EQ(ship.state(id), State::succeeded) << "its time being over changes nothing";
}

TEST_F(ACommand, ThatHasEndedLeavesTheStateAndStaysInTheLog) {
  const std::string id = office.issue("", "start", 48h)->id;
  meet();
  schedule.run_for(1s);
  ASSERT_TRUE(ship.complete(id).ok());
  const auto open = office.issue("later", "start", 24h * 300);
  ASSERT_TRUE(office.issue("foreign", "start", 1h, "{}", "pump-of-nobody").ok());
  meet();
  schedule.run_for(1s);
  // Its expiry is later than its end, and counts.
  schedule.run_for(command_kept + 24h);
  ASSERT_TRUE(ship.commands->view(id).ok());
  const auto before = ship.node.log->received();
  schedule.run_for(25h);
  EXPECT_EQ(ship.commands->view(id).error().code, Code::not_found);
  EXPECT_EQ(ship.node.log->state(Stream::alarm, "command/" + id)->size(), 0u);
  EXPECT_NE(ship.node.log->received(), before) << "it goes by an event";
  EXPECT_EQ(ship.state("later"), State::sent);
  EXPECT_EQ(office.state(id), State::succeeded) << "until it hears of it";
  meet();
  EXPECT_EQ(office.commands->view(id).error().code, Code::not_found);
  EXPECT_EQ(*office.node.log->state_digest(Stream::alarm), *ship.node.log->state_digest(Stream::alarm));
  EXPECT_EQ(office.complete(id).error().code, Code::not_found) << "a result that comes now is of no command";
  EXPECT_EQ(office.state("foreign"), State::pending) << "nobody runs its device";
  const auto after = ship.node.log->received();
  schedule.run_for(24h);
  EXPECT_EQ(ship.node.log->received(), after) << "once";
}

TEST_F(ACommand, ThatHasEndedGoesAlsoAfterACrash) {
  const std::string id = ship.issue()->id;
  schedule.run_for(1s);
  ASSERT_TRUE(ship.complete(id).ok());
  ship.crash();
  schedule.run_for(command_kept + 2h);
  EXPECT_EQ(ship.commands->view(id).error().code, Code::not_found);
}

TEST_F(ACommand, HasOneResult) {
  ASSERT_TRUE(ship.issue("c1").ok());
  schedule.run_for(1s);
  ASSERT_TRUE(ship.complete("c1", false, R"("jammed")").ok());
  EXPECT_TRUE(ship.complete("c1", true)->dots.empty());
  EXPECT_EQ(ship.state("c1"), State::failed);
  EXPECT_EQ(ship.view("c1").result, R"("jammed")");
}

TEST_F(ACommand, TellsWhoAsksThatItHasAnotherOutcome) {
  constexpr auto another = Commands::Another::conflict;
  ASSERT_TRUE(ship.issue("c1", "start", 30min).ok());
  schedule.run_for(31min);
  EXPECT_EQ(ship.state("c1"), State::expired);
  ASSERT_TRUE(ship.complete("c1", true, R"({"rpm": 1.50, "at":"port"})", another).ok()) << "the owner's is no outcome";
  const auto version = ship.view("c1").version;
  for (const auto* same : {R"({"at":"port","rpm":1.50})", "null", ""}) {
    const auto again = ship.complete("c1", true, same, another);
    ASSERT_TRUE(again.ok()) << same;
    EXPECT_TRUE(again->dots.empty() && again->version == version) << same;
  }
  for (const auto& [succeeded, result] :
       {std::pair{false, ""}, {false, R"({"at":"port","rpm":1.50})"}, {true, R"({"at":"port","rpm":1.5})"}}) {
    const auto other = ship.complete("c1", succeeded, result, another);
    ASSERT_FALSE(other.ok()) << result;
    EXPECT_EQ(other.error().code, Code::conflict);
    EXPECT_NE(other.error().detail.find(R"(c1 has succeeded already, with the result {"at":"port","rpm":1.50})"),
              std::string::npos)
        << other.error().detail;
  }
  EXPECT_EQ(ship.view("c1").version, version);
  ASSERT_TRUE(ship.issue("c2").ok());
  ASSERT_TRUE(ship.complete("c2", false, "\"x" + std::string(1000, 'y') + "\"", another).ok());
  const auto other = ship.complete("c2", true, "", another);
  ASSERT_FALSE(other.ok());
  EXPECT_TRUE(other.error().detail.size() < 150 && other.error().detail.ends_with("yy...")) << other.error().detail;
}

TEST_F(ACommand, IssuedAgainIsTheSameCommand) {
  const auto first = office.issue("c1");
  const auto again = office.issue("c1", "start", 1h, R"({"speed":3})");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->version, first->version);
  EXPECT_EQ(office.issue("c1", "stop").error().code, Code::conflict);
  meet();
  schedule.run_for(1s);
  ASSERT_TRUE(ship.complete("c1").ok());
  EXPECT_EQ(ship.issue("c1")->state, State::succeeded) << "answered, not sent again";
  EXPECT_EQ(ship.heard["c1"], 1);
}

TEST_F(ACommand, OfOneNameFromTwoSidesIsSentOnceAndShownAsItWasSent) {
  ASSERT_TRUE(office.issue("c1", "stop").ok());
  ASSERT_TRUE(ship.issue("c1", "start").ok());
  schedule.run_for(1s);
  meet();
  schedule.run_for(1min);
  EXPECT_EQ(ship.heard["c1"], 1);
  EXPECT_EQ(ship.view("c1").name, "start");
  EXPECT_EQ(office.view("c1").name, "start");
}

TEST_F(ACommand, IsRefusedByTheOwnerOnceItsTimeIsOver) {
  ASSERT_TRUE(office.issue("c1", "start", 30min).ok());
  schedule.run_for(31min);
  EXPECT_EQ(office.state("c1"), State::pending) << "only the owner knows";
  meet();
  schedule.run_for(1s);
  EXPECT_TRUE(ship.heard.empty());
  EXPECT_EQ(ship.state("c1"), State::expired);
  EXPECT_NE(ship.view("c1").result.find("not sent"), std::string::npos);
  meet();
  EXPECT_EQ(office.state("c1"), State::expired);
}

TEST_F(ACommand, SentAndNotAnsweredExpiresByTheOwnersTimer) {
  ASSERT_TRUE(ship.issue("c1", "start", 30min).ok());
  schedule.run_for(29min);
  EXPECT_EQ(ship.state("c1"), State::sent);
  schedule.run_for(3min);
  EXPECT_EQ(ship.state("c1"), State::expired);
  EXPECT_FALSE(ship.view("c1").from_device);
  EXPECT_NE(ship.view("c1").result.find("not known"), std::string::npos);
  // The device's own word counts, late as it is.
  ASSERT_TRUE(ship.complete("c1").ok());
  EXPECT_EQ(ship.state("c1"), State::succeeded);
}

TEST_F(ACommand, ExpiresAlsoWhereTheClockJumps) {
  ASSERT_TRUE(ship.issue("c1", "start", 24h).ok());
  schedule.run_for(1s);
  ship.node.loop.set_wall_skew_ms(25 * 3'600'000);
  schedule.run_for(2min);
  EXPECT_EQ(ship.state("c1"), State::expired);
}

TEST_F(ACommand, CancelledAshoreIsNotSentWhereTheOwnerHearsOfItInTime) {
  ASSERT_TRUE(office.issue("c1").ok());
  ASSERT_TRUE(office.cancel("c1").ok());
  EXPECT_EQ(office.state("c1"), State::pending);
  EXPECT_TRUE(office.view("c1").cancel_asked);
  EXPECT_TRUE(office.cancel("c1")->dots.empty());
  meet();
  schedule.run_for(1s);
  meet();
  EXPECT_TRUE(ship.heard.empty());
  EXPECT_EQ(office.state("c1"), State::cancelled);
}

TEST_F(ACommand, CancelledTooLateWasSent) {
  ASSERT_TRUE(office.issue("c1").ok());
  give(office.node, ship.node);
  schedule.run_for(1s);
  ASSERT_TRUE(office.cancel("c1").ok()) << "it does not know";
  meet();
  EXPECT_EQ(office.state("c1"), State::sent);
  EXPECT_EQ(office.cancel("c1").error().code, Code::conflict);
  EXPECT_EQ(ship.heard["c1"], 1);
  EXPECT_EQ(ship.cancel("nobody").error().code, Code::not_found);
}

TEST_F(ACommand, CancelledByTheOwnerEndsAtOnce) {
  ship.is_owner = false;
  ASSERT_TRUE(ship.issue("c1").ok());
  ship.is_owner = true;
  ASSERT_TRUE(ship.cancel("c1").ok());
  EXPECT_EQ(ship.state("c1"), State::cancelled);
  EXPECT_EQ(ship.cancel("c1").error().code, Code::conflict);
  ship.commands->start();
  schedule.run_for(1min);
  EXPECT_TRUE(ship.heard.empty());
}

TEST_F(ACommand, IsSentOnceTheNodeOwnsItsDevice) {
  ship.is_owner = false;
  ASSERT_TRUE(ship.issue("c1").ok());
  schedule.run_for(1min);
  EXPECT_TRUE(ship.heard.empty());
  ship.is_owner = true;
  ship.commands->start();
  schedule.run_for(1s);
  EXPECT_EQ(ship.heard["c1"], 1);
}

// A crash at any moment: inside the commit of the request, of the mark, between mark and device, behind it.
TEST(CommandUnderCrashes, IsHeardAtMostOnceAndEnds) {
  int unheard_marks = 0, resent_after_crash = 0, answered = 0;
  sim::Disk::Stats disk;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    sim::Schedule schedule(seed);
    Party ship(schedule, 1, true);
    ship.node.run_for(1s);
    const std::string id = "c" + std::to_string(seed);
    ship.commands->issue({"pump-1", "start", "{}", "office", id, 10min}, [](const Result<CommandView>&) {});
    int crashes = 0;
    const int most = 1 + static_cast<int>(schedule.rng.below(4));
    // The device answers after a while, if the node lives to hear it.
    ship.on_sent = [&](const CommandView& command) {
      if (!schedule.rng.chance(0.5)) return;
      ship.node.loop.after(schedule.rng.spread(1ms, 1s), [&ship, sent = command.id] {
        ship.commands->complete(sent, true, "", "pump-1", Commands::Another::dropped, {},
                                [](const Result<Written>&) {});
      });
    };
    while (crashes < most) {
      const auto tasks = schedule.rng.below(12);
      for (std::uint64_t i = 0; i < tasks && schedule.step(schedule.now() + 30s); ++i) {}
      const bool was_pending = ship.commands->view(id).ok() && ship.state(id) == State::pending;
      ship.crash();
      ++crashes;
      if (was_pending) ++resent_after_crash;
    }
    schedule.run_for(20min);
    EXPECT_LE(ship.heard[id], 1) << "seed " << seed;
    const auto view = ship.commands->view(id);
    if (!view) continue;  // lost with the crash before anybody was told
    EXPECT_FALSE(view->is_open()) << "seed " << seed << ": " << to_string(view->state);
    if (view->state == State::succeeded) ++answered;
    if (view->sent_ms != 0 && ship.heard[id] == 0) ++unheard_marks;
    disk.crashes_inside_commit += ship.node.disk.stats().crashes_inside_commit;
    disk.unreported_commits += ship.node.disk.stats().unreported_commits;
  }
  // Or it proves nothing.
  EXPECT_GT(unheard_marks, 3);
  EXPECT_GT(resent_after_crash, 3);
  EXPECT_GT(answered, 3);
  EXPECT_GT(disk.crashes_inside_commit, 10u);
  EXPECT_GT(disk.unreported_commits, 3u);
}

// A node that went back to a backup has forgotten what it sent; the hub gives it the commands again.
TEST_F(ACommand, IsNotSentAgainByANodeThatLostItsMemory) {
  ship.node.run_for(10s);
  const sim::Disk::Image backup = ship.node.disk.image();
  ASSERT_TRUE(office.issue("c1", "start", 24h).ok());
  give(office.node, ship.node);
  schedule.run_for(10s);
  EXPECT_EQ(ship.heard["c1"], 1);
  // The office hears nothing of it. The anchor file is newer than the restored database, and says so.
  const auto anchors = ship.node.disk.image().anchors;
  ship.commands.reset();
  ship.node.stop();
  ship.node.disk.image() = backup;
  ship.node.disk.image().anchors = anchors;
  ship.node.boot();
  ship.begin();
  ASSERT_TRUE(ship.node.log->degraded());
  ship.node.run_for(1s);
  ship.crash();
  give(office.node, ship.node);
  schedule.run_for(1min);
  EXPECT_EQ(ship.heard["c1"], 1);
  EXPECT_EQ(ship.state("c1"), State::failed);
  EXPECT_NE(ship.view("c1").result.find("not known"), std::string::npos);
  schedule.run_for(10min);
  ASSERT_TRUE(office.issue("c2").ok());
  give(office.node, ship.node);
  schedule.run_for(1s);
  EXPECT_EQ(ship.heard["c2"], 1) << "what is newer is sent";
}

TEST_F(ACommand, IsListedAndTold) {
  std::vector<std::string> told;
  ship.commands->watch([&](const std::string& id) { told.push_back(id); });
  for (const char* id : {"b", "a", "d"}) ASSERT_TRUE(office.issue(id).ok());
  ASSERT_TRUE(office.issue("c", "start", 1h, "{}", "deck/light").ok());
  meet();
  schedule.run_for(1s);
  ASSERT_TRUE(ship.complete("a").ok());
  const auto ids = [&](std::string device, bool open_only, std::string after, std::size_t limit) {
    std::string found;
    const auto list = ship.commands->list(device, open_only, after, limit);
    EXPECT_TRUE(list.ok());
    for (const auto& view : *list) found += view.id;
    return found;
  };
  EXPECT_EQ(ids("", false, "", 10), "abcd");
  EXPECT_EQ(ids("", true, "", 10), "bcd");
  EXPECT_EQ(ids("pump-1", true, "b", 10), "d");
  EXPECT_EQ(ids("pump-1", false, "", 2), "ab");
  EXPECT_EQ(std::ranges::count(told, "a"), 3) << "issued, sent, answered";
  EXPECT_EQ(std::ranges::count(told, "c"), 1);
}

TEST_F(ACommand, RefusesWhatCannotBeAndWritesNothing) {
  ship.node.run_for(1s);
  const auto before = ship.node.log->received();
  EXPECT_EQ(ship.issue("a b").error().code, Code::out_of_range);
  EXPECT_EQ(ship.issue(std::string(65, 'a')).error().code, Code::out_of_range);
  EXPECT_EQ(ship.issue("c", "").error().code, Code::out_of_range);
  EXPECT_EQ(ship.issue("c", "start", 0s).error().code, Code::out_of_range);
  EXPECT_EQ(ship.issue("c", "start", command_valid_max + 1h).error().code, Code::out_of_range);
  EXPECT_EQ(ship.issue("c", "start", 1h, "{").error().code, Code::out_of_range);
  EXPECT_EQ(ship.issue("c", "start", 1h, '"' + std::string(op_value_bytes_max, 'x') + '"').error().code,
            Code::out_of_range);
  EXPECT_EQ(ship.issue("c", "start", 1h, std::string(100'000, '[')).error().code, Code::out_of_range);
  EXPECT_EQ(ship.issue("c", "start", 1h, "{}", "a/b/c").error().code, Code::out_of_range);
  EXPECT_EQ(ship.complete("c").error().code, Code::not_found);
  EXPECT_EQ(ship.commands->view("c").error().code, Code::not_found);
  EXPECT_EQ(ship.node.log->received(), before);
}

TEST_F(ACommand, CarriesArgumentsOfEveryDepthThatIsAllowed) {
  const std::string deep = std::string(document_depth_max, '[') + std::string(document_depth_max, ']');
  ASSERT_TRUE(ship.issue("c", "start", 1h, deep).ok());
  EXPECT_EQ(ship.view("c").arguments, deep);
  const json shown = json::parse(command_json(ship.view("c")));
  EXPECT_EQ(shown["arguments"].dump(), deep);
  EXPECT_EQ(shown["device"], "pump-1");
}

}  // namespace
}  // namespace landfall
