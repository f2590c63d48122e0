// Property: an edge's certificate is renewed for the same key over whatever link is open, as long as the fleet lives; no
// session notices, nobody gets a certificate for another, and a hub that does not know of it is asked once a day.

#include "edgeruntime/renewal.h"

#include <gtest/gtest.h>

#include "cloudsync/replicator.h"
#include "edgeruntime/enrolment.h"
#include "edgeruntime/uv_network.h"
#include "schemas/chunk.h"
#include "schemas/sync_messages.h"
#include "tests/conformance/talker.h"
#include "tests/conformance/temp_dir.h"
#include "tests/edgeruntime/fleet.h"
#include "tests/edgeruntime/forge.h"
#include "tests/sim/disk.h"
#include "tests/sim/network.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;
constexpr auto day = 24h;
constexpr std::int64_t day_ms = 24LL * 3600 * 1000;

std::int64_t ends(const Identity& identity) { return *expires_unix_ms(identity.chain_pem); }

std::string enrol_for(const std::string& key_pem) {
  return encode_frame(FrameType::enrol, encode(Enrol{*make_csr(key_pem), ""}));
}

std::vector<std::string> renewals_in(const Log& log) {
  std::vector<std::string> found;
  const auto chunks = log.read({log.run(), Stream::control}, 1, 1 << 20);
  if (!chunks) ADD_FAILURE() << chunks.error().detail;
  for (const auto& chunk : chunks ? *chunks : std::vector<Log::StoredChunk>{}) {
    auto decoded = decode_chunk(chunk.bytes);
    RowReader rows(decoded->rows);
    for (auto row = rows.next(); !row.empty(); row = rows.next()) {
      const std::string payload(decode_row(row)->payload);
      if (payload.starts_with(R"({"audit":"renewed")")) found.push_back(payload);
    }
  }
  return found;
}

// One machine of a simulated fleet, with its log.
struct Machine {
  Machine(sim::Medium& medium, const Identity& who, Peer::Role role)
      : identity(who),
        loop(medium.schedule()),
        disk(loop),
        node(*node_of_key(who.key_pem)),
        network(medium, loop, {node, role, to_string(node)}),
        log(*Log::open(loop, disk, {.node = node, .boot_id = "test", .software = "test"})) {}

  void replicate(Network& over, ReplicatorOptions::Role role) {
    ReplicatorOptions options;
    options.role = role;
    replicator = Replicator::create(loop, *log, over, std::move(options));
    replicator->start();
  }
  Replicator::PeerStatus peer() const { return replicator->peers().at(0); }

  Identity identity;
  sim::Loop loop;
  sim::Disk disk;
  NodeId node;
  sim::Network network;
  std::unique_ptr<Log> log;
  std::unique_ptr<Replicator> replicator;
};

struct Renewals : testing::Test {
  sim::Schedule schedule{7};
  std::int64_t founded = sim::Loop(schedule).unix_ms();
  Fleet fleet{founded};
  sim::Medium medium{schedule};
  Machine hub{medium, fleet.hub(), Peer::Role::hub}, edge{medium, fleet.node(), Peer::Role::node};
  EnrolmentDoor door{hub.loop, *hub.log, hub.network, fleet.root()};
  std::vector<Identity> renewed;
  Status kept = ok();  // what the edge's disk says
  Renewal renewal{edge.loop, edge.network, edge.identity, [this](const Identity& identity) {
                    renewed.push_back(identity);
                    return kept;
                  }};
  Talker aboard, ashore;

  Renewals() { medium.join(edge.network, hub.network); }
  void sail() {
    hub.replicate(door, ReplicatorOptions::Role::hub);
    edge.replicate(renewal, ReplicatorOptions::Role::edge);
  }
};

TEST_F(Renewals, RotateOverOneLinkForALifeTimeAndMore) {
  sail();
  schedule.run_for(29 * day);
  EXPECT_TRUE(renewed.empty()) << "two thirds of its life are left";
  EXPECT_TRUE(renewals_in(*hub.log).empty());
  schedule.run_for(3 * day);
  ASSERT_EQ(renewed.size(), 1u);
  EXPECT_GT(ends(renewed[0]), ends(edge.identity) + 29 * day_ms);
  EXPECT_EQ(renewed[0].key_pem, edge.identity.key_pem);
  const auto proven =
      verify_chain(renewed[0].chain_pem, edge.identity.bundle_pem, edge.identity.trust_domain, edge.loop.unix_ms());
  ASSERT_TRUE(proven.ok());
  EXPECT_EQ(proven->node, edge.node);
  const auto audits = renewals_in(*hub.log);
  ASSERT_EQ(audits.size(), 1u);
  EXPECT_NE(audits[0].find(to_string(edge.node)), std::string::npos) << audits[0];

  schedule.run_for(90 * day);
  EXPECT_EQ(renewed.size(), 4u);
  EXPECT_GT(ends(renewed.back()), edge.loop.unix_ms() + 59 * day_ms);
  EXPECT_EQ(renewals_in(*hub.log).size(), 4u);
  for (const auto* end : {&edge, &hub}) {
    EXPECT_TRUE(end->peer().connected && end->peer().in_sync);
    EXPECT_EQ(end->peer().sessions, 1u) << "a renewal ended the session";
  }
}

TEST_F(Renewals, SurviveLinksThatLoseAndDoubleFrames) {
  medium.faults.loss = 0.3;
  medium.faults.duplicate = 0.5;
  sail();
  schedule.run_for(60 * day);
  EXPECT_GT(medium.stats().doubled, 0u);
  EXPECT_GE(renewed.size(), 1u);
  EXPECT_EQ(hub.peer().refused, 0u);
  EXPECT_EQ(edge.peer().refused, 0u);
}

TEST_F(Renewals, AskAHubThatDoesNotKnowThemOnceADay) {
  edge.loop.set_wall_skew_ms(40 * day_ms);
  hub.replicate(hub.network, ReplicatorOptions::Role::hub);  // no door
  edge.replicate(renewal, ReplicatorOptions::Role::edge);
  schedule.run_for(5 * day - 1h);
  EXPECT_GE(hub.peer().refused, 2u) << "it never asked";
  EXPECT_LE(hub.peer().refused, 5u);
  EXPECT_TRUE(edge.peer().connected && edge.peer().in_sync);
}

TEST_F(Renewals, AskAgainTheNextDayWhereTheNewOneCouldNotBeKept) {
  sail();
  kept = Error{Code::disk, "full"};
  schedule.run_for(33 * day);
  EXPECT_GE(renewed.size(), 2u);
  EXPECT_LE(renewed.size(), 4u);
  kept = ok();
  schedule.run_for(1 * day);
  const auto until_kept = renewed.size();
  schedule.run_for(20 * day);
  EXPECT_EQ(renewed.size(), until_kept);
  EXPECT_EQ(edge.peer().sessions, 1u);
}

TEST_F(Renewals, AreForTheProvenNodesOwnKeyAlone) {
  door.start(ashore);
  edge.network.start(aboard);
  schedule.run_for(1min);
  ASSERT_EQ(aboard.open.size(), 1u);
  aboard.open[0]->send(enrol_for(make_key()));
  schedule.run_for(200ms);
  ASSERT_EQ(aboard.frames.size(), 1u);
  EXPECT_EQ(decode_bye(aboard.frames[0])->code, Code::denied);
  EXPECT_EQ(aboard.closed.size(), 1u);
  ASSERT_EQ(ashore.closed.size(), 1u);
  EXPECT_EQ(ashore.closed[0].code, Code::denied);
  EXPECT_TRUE(ashore.frames.empty());
  EXPECT_TRUE(renewals_in(*hub.log).empty());
}

TEST_F(Renewals, AreAnsweredOnceAnHour) {
  door.start(ashore);
  edge.network.start(aboard);
  schedule.run_for(1min);
  for (int i = 0; i < 3; ++i) aboard.open.at(0)->send(enrol_for(edge.identity.key_pem));
  schedule.run_for(50min);
  aboard.open.at(0)->send(enrol_for(edge.identity.key_pem));
  schedule.run_for(1min);
  EXPECT_EQ(aboard.frames.size(), 1u);
  EXPECT_EQ(renewals_in(*hub.log).size(), 1u);
  schedule.run_for(10min);
  aboard.open.at(0)->send(enrol_for(edge.identity.key_pem));
  schedule.run_for(1min);
  EXPECT_EQ(aboard.frames.size(), 2u);
  EXPECT_EQ(renewals_in(*hub.log).size(), 2u);
  EXPECT_EQ(ashore.links, 1u);
  EXPECT_TRUE(ashore.frames.empty());
}

TEST_F(Renewals, KeepThePresentCertificateWhereTheAnswerIsWrong) {
  const Fleet strangers{founded};
  const auto late = founded + 40 * day_ms;
  const auto csr = *make_csr(edge.identity.key_pem);
  const std::vector<std::string> wrong = {
      fleet.member(Peer::Role::node, late).chain_pem,                      // another node's
      *issue_svid(strangers.root(), csr, Peer::Role::node, late),          // another root's
      *issue_svid(fleet.root(), csr, Peer::Role::hub, late),               // another role
      *issue_svid(fleet.root(), csr, Peer::Role::node, founded - day_ms),  // ends earlier
      "no certificate",
  };
  hub.network.start(ashore);
  renewal.start(aboard);
  schedule.run_for(1min);
  edge.loop.set_wall_skew_ms(40 * day_ms);
  for (std::size_t asked = 1; asked <= wrong.size(); ++asked) {
    schedule.run_for(day);
    ASSERT_EQ(ashore.frames.size(), asked) << "did not ask";
    ashore.open.at(0)->send(encode_frame(FrameType::enrolled, encode(Enrolled{wrong[asked - 1], ""})));
  }
  // Nobody asked for these.
  for (int i = 0; i < 2; ++i) {
    schedule.run_for(1h);
    ashore.open.at(0)->send(encode_frame(FrameType::enrolled,
                                         encode(Enrolled{*issue_svid(fleet.root(), csr, Peer::Role::node, late), ""})));
  }
  schedule.run_for(1h);
  EXPECT_TRUE(renewed.empty());
  EXPECT_TRUE(aboard.frames.empty());
  EXPECT_EQ(aboard.links, 1u);
  EXPECT_TRUE(aboard.closed.empty());
}

// The old certificate ends while the link lasts: the next link is proof that the new one is used.
TEST(Renewal, TheNextLinkAndTheNextStartUseTheNewCertificate) {
  UvLoop loop;
  const auto now = loop.unix_ms();
  const Fleet fleet(now);
  const auto root = signer_of(fleet.root());
  const auto short_lived = forge({.until_s = 3}, &root, now);
  Identity old{fleet.root().trust_domain, "", "", fleet.root().cert_pem};
  BioPtr key(BIO_new(BIO_s_mem())), chain(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(key.get(), short_lived.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  PEM_write_bio_X509(chain.get(), short_lived.certificate.get());
  old.key_pem = bio_text(key.get());
  old.chain_pem = bio_text(chain.get());
  const test::TempDir folder;

  sim::Schedule schedule(7);
  sim::Loop disk_loop(schedule);
  sim::Disk disk(disk_loop);
  auto log = *Log::open(disk_loop, disk, {.node = *node_of_key(fleet.hub().key_pem), .boot_id = "t", .software = "t"});
  Talker ashore, aboard;
  auto listening = *UvNetwork::create(loop, {.identity = fleet.hub(), .listen = "127.0.0.1:0"});
  EnrolmentDoor door(loop, *log, *listening, fleet.root());
  door.start(ashore);
  auto dialling = *UvNetwork::create(
      loop,
      {.identity = old, .dial = {"127.0.0.1:" + std::to_string(listening->listening_port())}, .dial_backoff_min = 2ms});
  bool saved = false;
  Renewal renewal(loop, *dialling, old, [&](const Identity& identity) -> Status {
    LANDFALL_TRY(save_identity(folder.path(), identity));
    saved = true;
    return dialling->set_identity(identity);
  });
  renewal.start(aboard);
  run_until(loop, [&] {
    schedule.run_for(10ms);
    return saved;
  });
  run_until(loop, [&] { return loop.unix_ms() > ends(old) + 1000; });
  ASSERT_FALSE(verify_chain(old.chain_pem, old.bundle_pem, old.trust_domain, loop.unix_ms()).ok());
  EXPECT_EQ(aboard.links, 1u) << "the open link stays";
  aboard.close();
  run_until(loop, [&] { return aboard.links == 2 && ashore.links == 2; });
  EXPECT_EQ(ashore.open.back()->peer().node, *node_of_key(old.key_pem));
  EXPECT_TRUE(aboard.frames.empty() && ashore.frames.empty());

  const auto loaded = load_identity(folder.path());
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->key_pem, old.key_pem);
  EXPECT_GT(ends(*loaded), now + 89 * day_ms);
}

}  // namespace
}  // namespace landfall
