// Whatever is wrong is said by name, with the remedy, and ends in a non-zero exit; nothing is left half made.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "edgeruntime/http_api.h"
#include "edgeruntime/identity.h"
#include "tests/cli/fleet.h"

namespace landfall::cli {
namespace {

struct Port {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  explicit Port(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd, 1), 0);
  }
  ~Port() { ::close(fd); }
};

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

TEST(Faults, UnknownKeyIsRefusedWithTheNearestOne) {
  const Fleet fleet;
  replace_in_file(fleet.folder / "hub/landfall.toml", "listen = ", "lisen = ");
  const auto run = landfall({"hub", "run", "--dir", fleet.dir("hub")});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_TRUE(holds(run.err, {"landfall.toml:8: unknown key 'lisen' in [hub]", "did you mean 'listen'?"}));
  EXPECT_FALSE(std::filesystem::exists(fleet.folder / "hub/log"));
  const auto checked = landfall({"config", "check", "--dir", fleet.dir("hub"), "--json"});
  EXPECT_EQ(checked.exit_code, 1);
  EXPECT_EQ(checked.json()["faults"].size(), 1u);
}

TEST(Faults, PortInUseIsNamed) {
  Fleet fleet;
  const Port taken(fleet.hub_port);
  const auto run = landfall({"hub", "run", "--dir", fleet.dir("hub")});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_TRUE(holds(run.err, {fleet.hub_address()}));
  const auto checked = landfall({"check", "--dir", fleet.dir("hub")});
  EXPECT_EQ(checked.exit_code, 1);
  EXPECT_TRUE(holds(checked.out, {fleet.hub_address()}));
}

TEST(Faults, FolderOfARunningNodeIsLocked) {
  Fleet fleet;
  fleet.hub.start();
  fleet.hub.await_ready();
  const auto second = landfall({"hub", "run", "--dir", fleet.dir("hub")});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_TRUE(holds(second.err, {fleet.dir("hub"), "another process has this folder open"}));
  EXPECT_TRUE(fleet.hub.running());
  EXPECT_FALSE(fleet.hub.status().is_null()) << "the second one took the first one's socket";
}

TEST(Faults, InitWillNotTouchANode) {
  const Fleet fleet;
  const auto again = landfall({"hub", "init", "--dir", fleet.dir("hub")});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_TRUE(holds(again.err, {"is a node already"}));
}

TEST(Faults, KeysWithoutAConfigurationAreNotWrittenOver) {
  const Fleet fleet;
  const auto root = load_trust_root(fleet.folder / "hub/identity");
  ASSERT_TRUE(root.ok());
  std::filesystem::remove(fleet.folder / "hub/landfall.toml");
  EXPECT_EQ(landfall({"hub", "init", "--dir", fleet.dir("hub")}).exit_code, 1);
  const auto after = load_trust_root(fleet.folder / "hub/identity");
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(after->cert_pem, root->cert_pem);
}

TEST(Faults, AFolderInPlaceOfAFileIsNamed) {
  const Fleet fleet;
  const auto made = landfall({"edge", "init", "--dir", fleet.dir("ship"), "--invite", fleet.dir("hub")});
  EXPECT_EQ(made.exit_code, 1);
  EXPECT_TRUE(holds(made.err, {fleet.dir("hub"), "directory"}));
  std::filesystem::remove(fleet.folder / "hub/landfall.toml");
  std::filesystem::create_directory(fleet.folder / "hub/landfall.toml");
  const auto run = landfall({"hub", "run", "--dir", fleet.dir("hub")});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_TRUE(holds(run.err, {"hub/landfall.toml", "a folder"}));
}

TEST(Faults, UnknownCommandIsNamed) {
  const auto run = landfall({"hub", "frob"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_TRUE(holds(run.err, {"'frob'"}));
}

TEST(Faults, AnEdgeEnrolsAgainUnderItsNameAndWithItsLog) {
  Fleet fleet;
  fleet.hub.start();
  fleet.init_edge("ship", fleet.invite("ship"));
  Running ship("edge", fleet.folder / "ship");
  ship.start();
  const auto before = ship.await("enrolment", committed);
  const auto invite = fleet.invite("ship-2");
  const auto early = landfall({"edge", "enrol", "--dir", fleet.dir("ship"), "--invite", invite});
  EXPECT_EQ(early.exit_code, 1) << "it runs";
  EXPECT_EQ(ship.stop(), 0);
  EXPECT_EQ(landfall({"edge", "enrol", "--dir", fleet.dir("ship"), "--invite", invite}).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(fleet.folder / "ship/identity"));
  ship.start();
  const auto after = ship.await("enrolment", committed);
  EXPECT_EQ(after["node"], before["node"]);
  EXPECT_TRUE(std::filesystem::exists(fleet.folder / "ship/identity/chain.pem"));
  EXPECT_FALSE(std::filesystem::exists(fleet.folder / "ship/enrolment"));
}

TEST(Faults, InitInAnUnwritableFolderLeavesNothing) {
  const auto made = landfall({"hub", "init", "--dir", "/proc/landfall"});
  EXPECT_EQ(made.exit_code, 1);
  EXPECT_TRUE(holds(made.err, {"/proc/landfall"}));
}

TEST(Faults, UnwritableFolderIsNamed) {
  const Fleet fleet;
  std::filesystem::permissions(fleet.folder / "hub",
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  const auto run = landfall({"hub", "run", "--dir", fleet.dir("hub")});
  std::filesystem::permissions(fleet.folder / "hub", std::filesystem::perms::owner_all);
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_TRUE(holds(run.err, {fleet.dir("hub"), "may not write"}));
}

TEST(Faults, FullDiskEndsTheNodeAndKeepsWhatWasAcknowledged) {
  Fleet fleet;
  fleet.hub.start_on_small_disk(1 << 20);
  fleet.hub.await_ready();
  // Sixty kilobytes that zstd cannot shorten.
  std::string noise;
  std::uint64_t state = 7;
  while (noise.size() < 60'000) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    noise += "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[state >> 58];
  }
  std::uint64_t acknowledged = 0;
  while (acknowledged < 100) {
    const auto reply = call_api(fleet.folder / "hub/landfall.sock", "POST", "/v1/events",
                                R"({"subject": "s", "payload": ")" + noise + "\"}");
    if (!reply || reply->status != 200) break;
    ++acknowledged;
  }
  EXPECT_EQ(fleet.hub.wait(), 75) << fleet.hub.said();
  EXPECT_GT(acknowledged, 3u);
  EXPECT_LT(acknowledged, 100u) << "the disk never filled up";
  const auto verified = landfall({"log", "verify", "--dir", fleet.dir("hub"), "--json"});
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
  EXPECT_GE(verified.json()["events_by_stream"]["telemetry"], acknowledged);
  fleet.hub.start();
  EXPECT_GE(count(fleet.hub.await_ready(), "telemetry", "own"), acknowledged);
}

TEST(Faults, RoleOfTheFolderIsRespected) {
  const Fleet fleet;
  const auto run = landfall({"edge", "run", "--dir", fleet.dir("hub")});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_TRUE(holds(run.err, {"landfall hub run"}));
}

TEST(Faults, SomethingElseIsNoInvite) {
  const Fleet fleet;
  std::ofstream(fleet.folder / "letter") << "Dear edge, you are invited.\n";
  const auto made = landfall({"edge", "init", "--dir", fleet.dir("ship"), "--invite", fleet.dir("letter")});
  EXPECT_EQ(made.exit_code, 1);
  EXPECT_TRUE(holds(made.err, {fleet.dir("letter")}));
  EXPECT_FALSE(std::filesystem::exists(fleet.folder / "ship"));
}

TEST(Faults, ExpiredInviteIsRefusedBeforeAnythingIsMade) {
  const Fleet fleet;
  const auto root = load_trust_root(fleet.folder / "hub/identity");
  ASSERT_TRUE(root.ok());
  const auto invite = make_invite(*root, "late", fleet.hub_address(), now_ms() - 30LL * 24 * 3600 * 1000);
  ASSERT_TRUE(invite.ok()) << invite.error().detail;
  std::ofstream(fleet.folder / "late.invite") << encode_invite(*invite);
  const auto made =
      landfall({"edge", "init", "--dir", fleet.dir("ship"), "--invite", fleet.dir("late.invite"), "--no-mqtt"});
  EXPECT_EQ(made.exit_code, 1);
  EXPECT_TRUE(holds(made.err, {"late"}));
  EXPECT_FALSE(std::filesystem::exists(fleet.folder / "ship"));
}

TEST(Faults, SpentInviteServesNobodyElse) {
  Fleet fleet;
  fleet.hub.start();
  const auto invite = fleet.invite("ship");
  fleet.init_edge("ship", invite);
  fleet.init_edge("pirate", invite);
  Running ship("edge", fleet.folder / "ship"), pirate("edge", fleet.folder / "pirate");
  ship.start();
  ship.await("enrolment", committed);
  pirate.start();
  const auto refused = pirate.await("a refusal", [](const Json& s) { return !s["healthy"].get<bool>(); });
  EXPECT_FALSE(refused["enrolled"].get<bool>());
  EXPECT_TRUE(holds(refused["reasons"].dump(), {"is spent"}));
  EXPECT_TRUE(std::filesystem::exists(fleet.folder / "pirate/enrolment/key.pem"));
  EXPECT_FALSE(std::filesystem::exists(fleet.folder / "ship/enrolment"));
}

TEST(Faults, CertificateOfAnotherFleetIsRefused) {
  Fleet ours, theirs;
  ours.hub.start();
  ours.hub.await_ready();
  theirs.init_edge("stranger", theirs.invite("stranger"));
  replace_in_file(theirs.folder / "stranger/landfall.toml", theirs.hub_address(), ours.hub_address());
  Running stranger("edge", theirs.folder / "stranger");
  stranger.start();
  const auto away = stranger.await("a reason", [](const Json& s) { return !s["link"]["failure"].is_null(); });
  EXPECT_FALSE(away["enrolled"].get<bool>());
  EXPECT_FALSE(away["link"]["connected"].get<bool>());
  // The log goes on without a hub.
  EXPECT_EQ(landfall({"log", "append", "--dir", theirs.dir("stranger"), "--subject", "x", "--payload", "1"}).exit_code,
            0);
}

TEST(Faults, CommandsSayThatNoNodeRuns) {
  const Fleet fleet;
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"status"}, {"link", "hold"}, {"log", "append", "--subject", "x", "--payload", "1"}}) {
    auto arguments = command;
    arguments.insert(arguments.end(), {"--dir", fleet.dir("hub")});
    const auto done = landfall(arguments);
    EXPECT_EQ(done.exit_code, 1);
    EXPECT_TRUE(holds(done.err, {"no node runs in " + fleet.dir("hub")}));
  }
}

TEST(Faults, WrongUsageIsTwo) {
  EXPECT_EQ(landfall({"hub"}).exit_code, 2);
  EXPECT_EQ(landfall({"status"}).exit_code, 2);
  EXPECT_EQ(landfall({"--help"}).exit_code, 0);
  EXPECT_EQ(landfall({"--version"}).out, "landfall 0.1.0\n");
}

}  // namespace
}  // namespace landfall::cli
