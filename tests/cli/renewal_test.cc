// An edge's certificate is renewed over the link that it has, and the restarted edge uses the new one.

#include <gtest/gtest.h>

#include <chrono>

#include "edgeruntime/identity.h"
#include "edgeruntime/metrics.h"
#include "tests/cli/fleet.h"

namespace landfall::cli {
namespace {

TEST(Renewal, HappensOverTheOpenLinkAndOutlivesARestart) {
  Fleet fleet;
  fleet.hub.start();
  fleet.hub.await_ready();
  fleet.init_edge("ship", fleet.invite("ship"));
  Running edge("edge", fleet.folder / "ship");
  edge.start();
  edge.await("enrolment", [](const Json& s) { return s["enrolled"].get<bool>() && committed(s); });
  EXPECT_EQ(edge.stop(), 0) << edge.said();

  // The edge has not been at sea for 40 days: its certificate gets that old.
  using namespace std::chrono;
  const auto now = duration_cast<milliseconds>(system_clock::now().time_since_epoch());
  const auto root = load_trust_root(fleet.folder / "hub" / "identity");
  auto old = load_identity(fleet.folder / "ship" / "identity");
  ASSERT_TRUE(root.ok() && old.ok());
  old->chain_pem = *issue_svid(*root, *make_csr(old->key_pem), Peer::Role::node, (now - days(40)).count());
  ASSERT_TRUE(save_identity(fleet.folder / "ship" / "identity", *old).ok());

  const auto fresh = [until = rfc3339((now + days(89)).count())](const Json& s) {
    return s["certificate_not_after"].get<std::string>() > until && committed(s);
  };
  edge.start();
  const auto renewed = edge.await("a new certificate", fresh);
  EXPECT_TRUE(holds(edge.said(), {"event=renewed what=\"certificate of the edge\""})) << edge.said();
  const auto alarm = landfall(
      {"log", "append", "--dir", fleet.dir("ship"), "--stream", "alarm", "--subject", "bilge", "--payload", "high"});
  EXPECT_EQ(alarm.exit_code, 0) << alarm.err;
  const auto after = edge.await("the alarm committed", committed);
  EXPECT_EQ(after["link"]["opened"], 1) << after["link"];
  EXPECT_EQ(count(fleet.hub.status(), "alarm", "foreign"), 1u);
  const auto audit = landfall({"log", "show", "--dir", fleet.dir("hub"), "--stream", "control", "--json"});
  EXPECT_TRUE(holds(audit.out, {"renewed", renewed["node"].get<std::string>()})) << audit.out;

  EXPECT_EQ(edge.stop(), 0) << edge.said();
  edge.start();
  const auto again = edge.await("the link again", committed);
  EXPECT_EQ(again["certificate_not_after"], renewed["certificate_not_after"]);
  EXPECT_EQ(again["node"], renewed["node"]);
}

}  // namespace
}  // namespace landfall::cli
