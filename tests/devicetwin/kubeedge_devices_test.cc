// Property: devices, their states and what changes without a message of theirs are told over KubeEdge's topics, to
// clients of either form, and to those that come late.
#include <gtest/gtest.h>

#include "tests/devicetwin/kubeedge_bench.h"

namespace landfall::test {
namespace {

std::string body(const std::string& event_id, const std::string& rest) {
  return R"({"event_id":")" + event_id + R"(","timestamp":T,)" + rest + "}";
}
std::string value(const std::string& text) { return R"({"value":")" + text + R"(","metadata":{"timestamp":T}})"; }
const std::string about = R"("optional":false,"metadata":{"type":"string"})";
const std::string get = R"({"event_id":"q1","timestamp":1767225604000})";

class KubeEdgeDevices : public KubeEdgeBench {
 public:
  AllSent state(const std::string& id, const std::string& word) {
    return publish(topic(id, "state/update"), R"({"event_id":"s","timestamp":1,"state":")" + word + R"("})");
  }
  std::string membership(const std::string& at_node = "edge-1") {
    const auto got = publish("$hw/events/node/" + at_node + "/membership/get", get);
    EXPECT_EQ(got.size(), 1u);
    if (got.empty()) return "";
    EXPECT_EQ(got[0].topic, "$hw/events/node/" + at_node + "/membership/get/result");
    return got[0].body;
  }
};

// ---- which device is meant

TEST_F(KubeEdgeDevices, ADeviceIsMetInBothFormsAndAnsweredInTheOneThatAsked) {
  add("counter", {{"status", property("string")}});
  add("plant/pump", {{"speed", property("int")}});
  for (const std::string id : {"counter", "default/counter", "plant/pump", "pump"}) {
    const auto got = publish(topic(id, "twin/get"), get);
    ASSERT_EQ(got.size(), 1u) << id;
    EXPECT_EQ(got[0].topic, topic(id, "twin/get/result"));
    EXPECT_EQ(got[0].body.substr(0, 15), R"({"event_id":"q1)");
    EXPECT_NE(got[0].body.find(R"("twin":{")"), std::string::npos) << got[0].body;
  }
}

TEST_F(KubeEdgeDevices, ABareNameIsTheDefaultNamespacesThenTheOnlyOne) {
  add("a/pump", {{"in_a", property("int")}});
  const auto meant = [&] { return publish(topic("pump", "twin/get"), get).at(0).body; };
  EXPECT_NE(meant().find("in_a"), std::string::npos);
  add("b/pump", {{"in_b", property("int")}});
  EXPECT_NE(meant().find(R"("code":404,"reason":"Device pump not found while getting twin")"), std::string::npos)
      << "which of the two is unknown";
  add("pump", {{"in_default", property("int")}});
  EXPECT_NE(meant().find("in_default"), std::string::npos);
}

TEST_F(KubeEdgeDevices, WhatIsNotSolicitedGoesToBothForms) {
  add("counter", {{"status", property("string")}});
  add("a/pump", {{"speed", property("int")}});
  add("b/pump", {{"speed", property("int")}});
  (void)heard();
  desire("counter", "status", "\"ON\"");
  const std::string now = R"({"expected":)" + value("ON") + "," + about + "}";
  const auto document = body("new", R"("twin":{"status":{"last":{)" + about + R"(},"current":)" + now + "}}");
  const auto delta = body("new", R"("twin":{"status":)" + now + R"(},"delta":{"status":"ON"})");
  EXPECT_EQ(heard(), (AllSent{{topic("counter", "twin/update/document"), document},
                              {topic("default/counter", "twin/update/document"), document},
                              {topic("counter", "twin/update/delta"), delta},
                              {topic("default/counter", "twin/update/delta"), delta}}));
  desire("a/pump", "speed", "7");
  const auto all = heard();
  EXPECT_EQ(all.size(), 2u) << "a bare name would mean two";
  EXPECT_EQ(all.at(1).topic, topic("a/pump", "twin/update/delta"));
  EXPECT_NE(all.at(1).body.find(R"("delta":{"speed":"7"})"), std::string::npos) << "a number is a string to mappers";
}

TEST_F(KubeEdgeDevices, DevicesOfOtherNodesAreNotHere) {
  add("mine", {{"p", property("int")}}, "edge-1");
  add("theirs", {{"p", property("int")}}, "edge-2");
  (void)heard();
  EXPECT_EQ(membership(), body("q1", R"("devices":[{"id":"mine","name":"mine"}])"));
  EXPECT_NE(publish(topic("theirs", "twin/get"), get).at(0).body.find("404"), std::string::npos);
  desire("theirs", "p", "1");
  EXPECT_EQ(heard(), AllSent{});
  // Handed over: it comes, and goes.
  const auto over = [&](const std::string& to) {
    const auto done = node.wait([&](auto d) { devices->hand_over("theirs", to, "office", d); });
    EXPECT_TRUE(done.ok());
    return heard();
  };
  auto all = over("edge-1");
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].topic, "$hw/events/node/edge-1/membership/updated");
  EXPECT_NE(all[0].body.find(R"("added_devices":[{"id":"theirs")"), std::string::npos) << all[0].body;
  all = over("edge-2");
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].body, body("new", R"("added_devices":null,"removed_devices":[{"id":"theirs","name":"theirs"}])"));
}

// ---- membership

TEST_F(KubeEdgeDevices, MembershipListsNamesAsTopicsHaveThem) {
  EXPECT_EQ(membership(), body("q1", R"("devices":[])"));
  add("counter", {{"status", property("string")}});
  add("plant/pump", {});
  EXPECT_EQ(membership("edge-1"),
            body("q1", R"("devices":[{"id":"counter","name":"counter"},{"id":"plant/pump","name":"pump"}])"));
  EXPECT_NE(membership("whatever").find("counter"), std::string::npos) << "any node is answered, where it was asked";
  EXPECT_EQ(publish("$hw/events/node/edge-1/membership/get", "x"), AllSent{});
}

TEST_F(KubeEdgeDevices, DevicesThatComeAndGoAreTold) {
  add("counter", {{"status", property("string")}});
  EXPECT_EQ(heard(), (AllSent{{"$hw/events/node/edge-1/membership/updated",
                               body("new", R"("added_devices":[{"id":"counter","name":"counter","twin":{"status":{)" +
                                               about + R"(}}}],"removed_devices":null)")}}));
  const auto removed = node.wait([&](auto done) { devices->remove("counter", "office", done); });
  ASSERT_TRUE(removed.ok());
  const auto all = heard();
  ASSERT_GE(all.size(), 1u);
  EXPECT_EQ(all.back(),
            (Sent{"$hw/events/node/edge-1/membership/updated",
                  body("new", R"("added_devices":null,"removed_devices":[{"id":"counter","name":"counter"}])")}));
  EXPECT_NE(publish(topic("counter", "twin/get"), get).at(0).body.find("404"), std::string::npos);
}

// A client of mapper-sdk-go takes a body of strings only below $hw/events/node/ for a command of its own.
TEST_F(KubeEdgeDevices, WhatGoesToANodesTopicsHoldsANumber) {
  add("counter", {{"status", property("string")}});
  for (const auto& one : heard()) EXPECT_NE(one.body.find(R"("timestamp":T)"), std::string::npos);
  EXPECT_NE(membership().find(R"("timestamp":T)"), std::string::npos);
}

TEST_F(KubeEdgeDevices, ChangedAttributesAreTold) {
  add("counter", {{"status", property("string")}});
  (void)heard();
  const auto describe = [&](const std::string& name, std::optional<std::string> json) {
    Twins::Describe change;
    change.device = "counter";
    change.attributes[name] = std::move(json);
    change.actor = "office";
    const auto done = node.wait([&](auto d) { twins->describe(change, d); });
    EXPECT_TRUE(done.ok()) << done.error().detail;
    return heard();
  };
  const auto put = body("new", R"("attributes":{"deck":{"value":"2","metadata":{"type":"int"}}})");
  EXPECT_EQ(describe("deck", "2"),
            (AllSent{{topic("counter", "updated"), put}, {topic("default/counter", "updated"), put}}));
  EXPECT_NE(membership().find(R"("attributes":{"deck":{"value":"2")"), std::string::npos);
  EXPECT_EQ(describe("deck", std::nullopt).at(0).body, body("new", R"("attributes":{"deck":null})"));
}

// ---- twin/get

TEST_F(KubeEdgeDevices, AGetIsAnsweredWithTheWholeTwin) {
  add("led", {{"power", property("string")}, {"temp", property("float")}});
  desire("led", "power", "\"ON\"");
  (void)publish(topic("led", "twin/update"), R"({"twin":{"temp":{"actual":{"value":"20.0"}}}})");
  // As the LED demo asks: with a whole twin in it.
  EXPECT_EQ(
      publish(topic("led", "twin/get"), R"({"event_id":"","timestamp":0,"twin":{"power":{"actual":{"value":"ON"}}}})"),
      (AllSent{{topic("led", "twin/get/result"),
                body("", R"("twin":{"power":{"expected":)" + value("ON") + "," + about + R"(},"temp":{"actual":)" +
                             value("20.0") + R"(,"optional":false,"metadata":{"type":"float"}}})")}}));
  for (const std::string id : {"nobody", "a/b"}) {
    EXPECT_EQ(publish(topic(id, "twin/get"), get),
              (AllSent{{topic(id, "twin/get/result"),
                        body("q1", R"("code":404,"reason":"Device )" + id + R"( not found while getting twin")")}}));
  }
  for (const std::string id : {"led", "nobody"}) {
    EXPECT_EQ(publish(topic(id, "twin/get"), R"({"event_id":1})"),
              (AllSent{{topic(id, "twin/get/result"),
                        body("", R"("code":400,"reason":"Unmarshal twin info failed, please check the request")")}}));
  }
}

// ---- state

TEST_F(KubeEdgeDevices, StatesOfAllMappersAreTakenAndEchoed) {
  add("counter", {{"status", property("string")}});
  const auto echo = [](const std::string& word) {
    return AllSent{{topic("counter", "state/update/result"),
                    body("new", R"("device":{"name":"counter","state":")" + word + R"("})")}};
  };
  for (const std::string word : {"offline", "unknown", "UNKNOWN", "UNHEALTHY", "DISCONNECTED", "ERROR"})
    EXPECT_EQ(state("counter", word), echo(word));
  for (const std::string word : {"online", "OK", "ok"}) {
    EXPECT_EQ(
        state("counter", word),
        (AllSent{{topic("counter", "state/update/result"),
                  body("new", R"("device":{"name":"counter","state":")" + word + R"(","lastOnlineTime":"D"})")}}));
  }
  // KubeEdge forgets when it was online; here it stays.
  EXPECT_NE(state("counter", "offline").at(0).body.find(R"("lastOnlineTime":"D")"), std::string::npos);
  EXPECT_NE(membership().find(R"("state":"offline","last_online":"D")"), std::string::npos) << membership();
}

TEST_F(KubeEdgeDevices, OtherStatesAndUnknownDevicesAreMetWithSilence) {
  add("counter", {{"status", property("string")}});
  (void)heard();
  EXPECT_EQ(state("counter", "away"), AllSent{});
  EXPECT_EQ(state("nobody", "online"), AllSent{});
  EXPECT_EQ(publish(topic("counter", "state/update"), "x"), AllSent{});
  EXPECT_EQ(publish(topic("counter", "state/get"), get), AllSent{});
}

TEST_F(KubeEdgeDevices, AMapperThatSaysOkEachSecondIsWrittenDownOnceAMinute) {
  add("counter", {{"status", property("string")}});
  const auto reports = [&] { return node.log->received().max({node.log->run(), Stream::reported}); };
  const auto before = reports();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(state("counter", "OK").size(), 1u);  // a second each
  EXPECT_EQ(reports(), before + 1);
  for (int i = 0; i < 50; ++i) (void)state("counter", "OK");
  EXPECT_EQ(reports(), before + 2);
  EXPECT_EQ(state("counter", "offline").size(), 1u);
  EXPECT_EQ(reports(), before + 3);
  const auto view = twins->view("counter");
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->state, "offline");
  EXPECT_GT(view->last_online_ms, 0);
}

// ---- who subscribes late

TEST_F(KubeEdgeDevices, ALateSubscriberHearsWhatIsDesired) {
  add("counter", {{"status", property("string")}});
  add("plant/pump", {{"speed", property("int")}});
  EXPECT_EQ(subscribe(topic("counter", "twin/update/document")), AllSent{}) << "nothing is desired yet";
  desire("counter", "status", "\"ON\"");
  desire("plant/pump", "speed", "3");
  (void)heard();
  const std::string now = R"({"expected":)" + value("ON") + "," + about + "}";
  EXPECT_EQ(subscribe(topic("counter", "twin/update/document"), "demo"),
            (AllSent{{topic("counter", "twin/update/document"),
                      body("new", R"("twin":{"status":{"last":)" + now + R"(,"current":)" + now + "}}"), "demo"}}));
  EXPECT_EQ(subscribe(topic("counter", "twin/update/delta"), "demo"),
            (AllSent{{topic("counter", "twin/update/delta"),
                      body("new", R"("twin":{"status":)" + now + R"(},"delta":{"status":"ON"})"), "demo"}}));
  const auto two = subscribe(topic("plant/pump", "twin/update/delta"), "pumps");
  ASSERT_EQ(two.size(), 1u);
  EXPECT_EQ(two[0].topic, topic("plant/pump", "twin/update/delta"));
  EXPECT_EQ(subscribe(topic("+", "twin/update/delta")).size(), 2u);
  EXPECT_EQ(subscribe(topic("plant/+", "twin/update/delta")).size(), 1u);
  for (const std::string filter : {"$hw/events/#", "#"}) EXPECT_EQ(subscribe(filter), AllSent{});
  EXPECT_EQ(subscribe(topic("nobody", "twin/update/document")), AllSent{});
  (void)publish(topic("counter", "twin/update"), R"({"twin":{"status":{"actual":{"value":"ON"}}}})");
  EXPECT_EQ(subscribe(topic("counter", "twin/update/delta")), AllSent{}) << "in sync";
}

// The counter demo ends at a document without the expected value of its property: none is pushed at it.
TEST_F(KubeEdgeDevices, NobodyIsShownADocumentThatWouldEndIt) {
  auto fixed = property("int");
  fixed.read_only = true;
  add("counter", {{"status", property("string")}, {"limit", property("int")}, {"serial", fixed}});
  desire("counter", "limit", "9");
  EXPECT_EQ(subscribe(topic("counter", "twin/update/document")), AllSent{});
  desire("counter", "status", "\"ON\"");
  const auto shown = subscribe(topic("counter", "twin/update/document"));
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_NE(shown[0].body.find(R"("status":{"last":)"), std::string::npos);
}

TEST_F(KubeEdgeDevices, AfterARestartWhatWasToldIsKnown) {
  add("counter", {{"status", property("string")}});
  desire("counter", "status", "\"ON\"");
  (void)state("counter", "online");
  kubeedge.reset();
  devices.reset();
  twins.reset();
  node.crash();
  start();
  EXPECT_EQ(heard(), AllSent{}) << "nothing has changed";
  EXPECT_NE(membership().find(R"("state":"online","last_online":"D")"), std::string::npos);
  desire("counter", "status", "\"OFF\"");
  const auto all = heard();
  ASSERT_GE(all.size(), 1u);
  EXPECT_NE(all[0].body.find(R"("last":{"expected":)" + value("ON")), std::string::npos) << all[0].body;
}

// ---- what the office desires

TEST_F(KubeEdgeDevices, WhatTheHubDesiresReachesMappers) {
  add("counter", {{"status", property("string")}});
  (void)heard();
  StateNode hub(schedule, 9);
  exchange(node, hub);
  {
    Twins cloud(*hub.objects, Layer::cloud);
    Twins::Desire desire;
    desire.device = "counter";
    desire.values["status"] = "\"ON\"";
    desire.actor = "office";
    ASSERT_TRUE(hub.wait([&](auto done) { cloud.set_desired(desire, done); }).ok());
  }
  exchange(node, hub);
  const auto all = heard();
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].topic, topic("counter", "twin/update/document"));
  EXPECT_NE(all[0].body.find(R"("current":{"expected":)" + value("ON")), std::string::npos);
  EXPECT_NE(all[2].body.find(R"("delta":{"status":"ON"})"), std::string::npos);
  // An override aboard, by whoever may publish: the delta follows.
  const auto over =
      publish(topic("counter", "twin/update"), R"({"twin":{"status":{"expected":{"value":"OFF"}}}})", "hmi");
  EXPECT_NE(ending(over, "counter/twin/update/delta").at(0).body.find(R"("delta":{"status":"OFF"})"),
            std::string::npos);
  const auto view = twins->view("counter");
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->properties.at("status").desired->actor, "hmi");
  EXPECT_EQ(view->properties.at("status").others.size(), 1u) << "the office's value is one command away";
}

TEST_F(KubeEdgeDevices, AReportOverAnotherDoorIsDocumentedToo) {
  add("counter", {{"status", property("string")}});
  desire("counter", "status", "\"ON\"");
  (void)heard();
  Twins::Report report;
  report.device = "counter";
  report.values["status"] = Twins::Reported{.value = "\"ON\""};
  ASSERT_TRUE(node.wait([&](auto done) { twins->report(report, done); }).ok());
  const auto all = heard();
  ASSERT_EQ(all.size(), 2u) << "no delta any more";
  EXPECT_TRUE(all[0].topic.ends_with("/document"));
}

}  // namespace
}  // namespace landfall::test
