// Property: an update over KubeEdge's topics is taken as a whole or refused as a whole, on the contract's topic with the
// request's event_id; result, document and delta follow in this order, each as the contract has it.
#include <gtest/gtest.h>

#include "tests/devicetwin/kubeedge_bench.h"

namespace landfall::test {
namespace {

const std::string about = R"("optional":false,"metadata":{"type":"string"})";
const std::string about_temp = R"("optional":false,"metadata":{"type":"float"})";
std::string value(const std::string& text) { return R"({"value":")" + text + R"(","metadata":{"timestamp":T}})"; }
std::string body(const std::string& event_id, const std::string& rest) {
  return R"({"event_id":")" + event_id + R"(","timestamp":T,)" + rest + "}";
}

// valve: desired "open"; temp: reported 20; level: nothing yet; scratch may be deleted.
class KubeEdgeUpdate : public KubeEdgeBench {
 public:
  KubeEdgeUpdate() {
    auto limited = property("int");
    limited.maximum = "9";
    auto fixed = property("string");
    fixed.read_only = true;
    add("boiler", {{"valve", property("string")},
                   {"temp", property("float")},
                   {"level", limited},
                   {"serial", fixed},
                   {"scratch", property("string", true)}});
    desire("boiler", "valve", "\"open\"");
    (void)update(R"({"temp":{"actual":{"value":"20"}}})");
  }
  AllSent update(const std::string& twin, const std::string& rest = "") {
    return only(publish(topic("boiler", "twin/update"),
                        R"({"event_id":"e1",)" + rest + R"("timestamp":1,"twin":)" + twin + "}"),
                "boiler");
  }
  std::string twin_now() {
    const auto got = publish(topic("boiler", "twin/get"), R"({"event_id":"","timestamp":0})");
    return got.size() == 1 ? got.front().body : "?";
  }
  static Sent result(const std::string& twin) {
    return {topic("boiler", "twin/update/result"), body("e1", R"("twin":)" + twin)};
  }
  static Sent error(int code, const std::string& reason, const std::string& event_id = "e1") {
    return {topic("boiler", "twin/update/result"),
            body(event_id, R"("code":)" + std::to_string(code) + R"(,"reason":")" + reason + "\"")};
  }
  static Sent document(const std::string& twin) {
    return {topic("boiler", "twin/update/document"), body("e1", R"("twin":)" + twin)};
  }
  // Of a boiler whose valve is not open yet.
  static Sent delta() {
    return {topic("boiler", "twin/update/delta"), body("new", R"("twin":{"valve":{"expected":)" + value("open") + "," +
                                                                  about + R"(}},"delta":{"valve":"open"})")};
  }
  // The valve comes along with every document.
  static std::string valve() {
    const std::string whole = R"({"expected":)" + value("open") + "," + about + "}";
    return R"("valve":{"last":)" + whole + R"(,"current":)" + whole + "}";
  }
};

TEST_F(KubeEdgeUpdate, AReportIsAnsweredDocumentedAndTheDeltaRepeated) {
  EXPECT_EQ(update(R"({"temp":{"actual":{"value":"23.5","metadata":{}},"metadata":{"type":"float"}}})"),
            (AllSent{result(R"({"temp":{"actual":)" + value("23.5") + "," + about_temp + "}}"),
                     document(R"({"temp":{"last":{"actual":)" + value("20") + "," + about_temp +
                              R"(},"current":{"actual":)" + value("23.5") + "," + about_temp + "}}," + valve() + "}"),
                     delta()}));
}

TEST_F(KubeEdgeUpdate, TheDeltaEndsWhenTheMapperAgrees) {
  auto all = update(R"({"valve":{"actual":{"value":"Open"}}})");
  EXPECT_EQ(ending(all, "/delta").size(), 1u) << "text is compared, not meaning";
  all = update(R"({"valve":{"actual":{"value":"open"}}})");
  EXPECT_EQ(ending(all, "/delta").size(), 0u);
  all = update(R"({"temp":{"actual":{"value":"1"}}})");
  EXPECT_EQ(ending(all, "/delta").size(), 0u);
}

TEST_F(KubeEdgeUpdate, AKnownPropertyKeepsItsType) {
  // What the counter demo sends.
  const auto all = update(R"({"valve":{"actual":{"value":"open"},"metadata":{"type":"Updated"}}})");
  ASSERT_GE(all.size(), 2u);
  EXPECT_EQ(all[0], result(R"({"valve":{"actual":)" + value("open") + "," + about + "}}"));
  EXPECT_EQ(update(R"({"temp":{"actual":{"value":"warm"},"metadata":{"type":"string"}}})"),
            AllSent{error(400, "the value is not float")});
}

TEST_F(KubeEdgeUpdate, AnUnknownPropertyIsAdded) {
  EXPECT_EQ(update(R"({"count":{"actual":{"value":"7"},"metadata":{"type":"int"}}})"),
            (AllSent{result(R"({"count":{"actual":)" + value("7") + R"(,"optional":true,"metadata":{"type":"int"}}})"),
                     document(R"({"count":{"last":null,"current":{"actual":)" + value("7") +
                              R"(,"optional":true,"metadata":{"type":"int"}}},)" + valve() + "}"),
                     delta()}));
  const auto added = update(R"({"mode":{"expected":{"value":"a"},"actual":{"value":"b"},"optional":false}})");
  ASSERT_GE(added.size(), 1u);
  EXPECT_EQ(added[0],
            result(R"({"mode":{"expected":)" + value("a") + R"(,"actual":)" + value("b") + "," + about + "}}"));
}

TEST_F(KubeEdgeUpdate, TypesThatKubeEdgeRefusesAreTakenWhereMappersSendThem) {
  EXPECT_EQ(update(R"({"flow":{"actual":{"value":"1.5"},"metadata":{"type":"double"}}})")[0],
            result(R"({"flow":{"actual":)" + value("1.5") + R"(,"optional":true,"metadata":{"type":"double"}}})"));
  for (const std::string type : {"Updated", "INT", "deleted"}) {
    EXPECT_EQ(update(R"({"other":{"actual":{"value":"1"},"metadata":{"type":")" + type + R"("}}})"),
              AllSent{error(400, "the value type is not allowed")})
        << type;
  }
}

TEST_F(KubeEdgeUpdate, AMessageIsTakenWhollyOrNotAtAll) {
  const auto before = twin_now();
  EXPECT_EQ(
      update(
          R"({"valve":{"expected":{"value":"shut"}},"temp":{"actual":{"value":"hot"}},"zz":{"actual":{"value":"1"}}})"),
      AllSent{error(400, "the value is not float")});
  EXPECT_EQ(update(R"({"temp":{"actual":{"value":"21"}},"level":{"expected":{"value":"10"}}})"),
            AllSent{error(400, "above the most, 9")});
  EXPECT_EQ(update(R"({"temp":{"actual":{"value":"21"}},"serial":{"expected":{"value":"x"}}})"),
            AllSent{error(400, "the property serial is read-only")});
  EXPECT_EQ(twin_now(), before);
  EXPECT_EQ(heard(), AllSent{});
}

TEST_F(KubeEdgeUpdate, WhatCannotBeReadIsAnsweredOnTheRightTopic) {
  const std::string unmarshal = "Unmarshal update request body failed, please check the request";
  EXPECT_EQ(publish(topic("boiler", "twin/update"), "{"), AllSent{error(400, unmarshal, "")});
  EXPECT_EQ(update(R"({"temp":{"actual":{"value":23.5}}})"), AllSent{error(400, unmarshal)});
  EXPECT_EQ(update("null"), AllSent{error(400, "Update twin error, key:twin does not exist")});
  const auto bad = update(R"({"temp":{"actual":{"value":"23 5"}}})");
  ASSERT_EQ(bad.size(), 1u);
  EXPECT_NE(bad[0].body.find(R"("event_id":"e1")"), std::string::npos);
  EXPECT_NE(bad[0].body.find("The value of twin must only include"), std::string::npos);
}

TEST_F(KubeEdgeUpdate, AnUnknownDeviceIsSaidToBeSo) {
  for (const std::string id : {"nobody", "plant/nobody", "plant/boiler", "a b", ""}) {
    EXPECT_EQ(publish(topic(id, "twin/update"), R"({"event_id":"e9","twin":{}})"),
              (AllSent{{topic(id, "twin/update/result"),
                        body("e9", R"("code":404,"reason":"update rejected due to the device is not existed")")}}))
        << id;
  }
}

TEST_F(KubeEdgeUpdate, ADeletedPropertyIsNull) {
  (void)update(R"({"scratch":{"actual":{"value":"x"},"expected":{"value":"y"}}})");
  const auto all = update(R"({"scratch":null})");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0], result(R"({"scratch":null})"));
  const std::string last = R"({"expected":)" + value("y") + R"(,"actual":)" + value("x") +
                           R"(,"optional":true,"metadata":{"type":"string"}})";
  EXPECT_EQ(all[1], document(R"({"scratch":{"last":)" + last + R"(,"current":null},)" + valve() + "}"));
  EXPECT_EQ(all[2], delta());
  EXPECT_EQ(twin_now().find("scratch"), std::string::npos);
  // And comes back as a new one.
  const auto again = update(R"({"scratch":{"actual":{"value":"3"},"metadata":{"type":"int"}}})");
  EXPECT_EQ(again[0],
            result(R"({"scratch":{"actual":)" + value("3") + R"(,"optional":true,"metadata":{"type":"int"}}})"));
}

// Each is answered, tells the delta, and documents nothing: a document without a change has killed mappers.
TEST_F(KubeEdgeUpdate, UpdatesThatChangeNothingBringResultAndDelta) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"{}", "{}"},
      {R"({"temp":null})", "{}"},    // not optional
      {R"({"nosuch":null})", "{}"},  // and no document with null and null
      {R"({"scratch":{"optional":true}})", R"({"scratch":{}})"},
      {R"({"temp":{"optional":true}})", R"({"temp":{}})"},
      {R"({"temp":{"metadata":{"type":"string"}}})", R"({"temp":{}})"},
      {R"({"temp":{"metadata":{"type":"deleted"}}})", R"({"temp":{}})"},
      {R"({"temp":{"actual":{}}})", R"({"temp":{}})"},  // kills a worker of KubeEdge
      {R"({"valve":{"expected":{}}})", R"({"valve":{}})"},
      {R"({"temp":{"actual":{"metadata":{"timestamp":5}},"expected":null}})", R"({"temp":{}})"},
  };
  for (const auto& [twin, answer] : rows) EXPECT_EQ(update(twin), (AllSent{result(answer), delta()})) << twin;
}

TEST_F(KubeEdgeUpdate, OptionalGoesOneWay) {
  const std::string scratch = R"("metadata":{"type":"string"})";
  EXPECT_EQ(update(R"({"scratch":{"optional":false}})"),
            (AllSent{result(R"({"scratch":{"optional":false}})"),
                     document(R"({"scratch":{"last":{"optional":true,)" + scratch +
                              R"(},"current":{"optional":false,)" + scratch + "}}," + valve() + "}"),
                     delta()}));
  EXPECT_EQ(update(R"({"scratch":null})"), (AllSent{result("{}"), delta()}));
}

TEST_F(KubeEdgeUpdate, EmptyValues) {
  EXPECT_EQ(update(R"({"fresh":{"actual":{"value":""}}})")[0],
            result(R"({"fresh":{"optional":true,"metadata":{"type":"string"}}})"))
      << "an empty first value is none";
  EXPECT_EQ(update(R"({"temp":{"actual":{"value":""}}})"), AllSent{error(400, "the value is not float")});
  EXPECT_EQ(update(R"({"fresh":{"actual":{"value":""},"metadata":{"type":"float"}}})")[0],
            result(R"({"fresh":{"actual":)" + value("") + R"(,"optional":true,"metadata":{"type":"string"}}})"));
}

TEST_F(KubeEdgeUpdate, EveryStringThatAMapperSendsComesBack) {
  for (const std::string text : {"23.50", "1e3", "-0", "0.1", "007", ".5"}) {
    (void)update(R"({"temp":{"actual":{"value":")" + text + R"("}}})");
    EXPECT_NE(twin_now().find(R"("temp":{"actual":)" + value(text)), std::string::npos) << text << "\n" << twin_now();
  }
}

TEST_F(KubeEdgeUpdate, TheLargestUpdateIsTakenAndOneMoreIsNot) {
  std::string twin = "{";
  for (int i = 0; i < 1000; ++i)
    twin += (i ? ",\"p" : "\"p") + std::to_string(i) +
            R"(":{"actual":{"value":"12345678901234567890123456789012345678901234567890123456789012345678"}})";
  const auto all = update(twin + "}");
  ASSERT_GE(all.size(), 1u);
  EXPECT_EQ(all[0].body.substr(0, 60), result(R"({"p0":{"actual":{"value":"1234567890)").body.substr(0, 60));
}

TEST_F(KubeEdgeUpdate, MessagesOfOneDeviceAreAnsweredInTheirOrder) {
  int done = 0;
  for (int i = 0; i < 20; ++i) {
    kubeedge->on_message(topic("boiler", "twin/update"), "mapper",
                         R"({"event_id":")" + std::to_string(i) + R"(","twin":{"temp":{"actual":{"value":")" +
                             std::to_string(i) + R"("}}}})",
                         {}, [&done] { ++done; });
    kubeedge->on_message(topic("boiler", "twin/get"), "mapper", R"({"event_id":"get"})", {}, [&done] { ++done; });
  }
  const auto all = heard();
  EXPECT_EQ(done, 40);
  const auto results = ending(all, "/update/result"), gets = ending(all, "/get/result");
  ASSERT_EQ(results.size(), 20u);
  ASSERT_EQ(gets.size(), 20u);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_NE(results[i].body.find("\"event_id\":\"" + std::to_string(i) + "\""), std::string::npos);
    EXPECT_NE(gets[i].body.find(R"("temp":{"actual":)" + value(std::to_string(i))), std::string::npos) << i;
  }
}

TEST_F(KubeEdgeUpdate, AMessagesPositionIsDurableWithTheLastThatItWrites) {
  const std::string twin = R"({"event_id":"e","twin":{"fresh":{"expected":{"value":"a"},"actual":{"value":"b"}}}})";
  kubeedge->on_message(topic("boiler", "twin/update"), "mapper", twin, {{"x/test", "7"}}, [] {});
  for (bool stored = false; !stored; stored = node.log->get_meta("x/test").ok()) {
    ASSERT_TRUE(schedule.step(schedule.now() + std::chrono::seconds(50)));
    if (!node.log->get_meta("x/test").ok()) continue;
    const auto view = twins->view("boiler");
    ASSERT_TRUE(view.ok());
    ASSERT_TRUE(view->properties.contains("fresh"));
    EXPECT_TRUE(view->properties.at("fresh").desired && view->properties.at("fresh").reported);
  }
}

TEST_F(KubeEdgeUpdate, AFailedDiskIsAnsweredAndTheMessageKept) {
  node.disk.fail("no space");
  sent.clear();
  bool done = false;
  kubeedge->on_message(topic("boiler", "twin/update"), "mapper",
                       R"({"event_id":"e1","twin":{"temp":{"actual":{"value":"1"}}}})", {}, [&] { done = true; });
  const auto all = only(heard(), "boiler");
  ASSERT_EQ(all.size(), 1u);
  EXPECT_NE(all[0].body.find(R"("code":500)"), std::string::npos) << all[0].body;
  EXPECT_FALSE(done) << "it comes again when the log has been opened again";
}

// ---- cloud_updated: by a local client, as ke-twitter's offline mode has it

TEST_F(KubeEdgeUpdate, ACloudUpdateIsADesiredValueWithoutAResult) {
  const auto all = only(
      publish(
          topic("boiler", "twin/cloud_updated"),
          R"({"event_id":"c1","timestamp":1,"twin":{"valve":{"expected":{"value":"shut"},"optional":false,"metadata":{"type":"string"},"expected_version":{"cloud":22022,"edge":0}}}})",
          "offline-app"),
      "boiler");
  const std::string shut = R"({"expected":)" + value("shut") + "," + about + "}";
  EXPECT_EQ(all, (AllSent{{topic("boiler", "twin/update/document"),
                           body("c1", R"("twin":{"valve":{"last":{"expected":)" + value("open") + "," + about +
                                          R"(},"current":)" + shut + "}}")},
                          {topic("boiler", "twin/update/delta"),
                           body("new", R"("twin":{"valve":)" + shut + R"(},"delta":{"valve":"shut"})")}}));
  const auto view = twins->view("boiler");
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->properties.at("valve").desired->actor, "offline-app");
}

TEST_F(KubeEdgeUpdate, ACloudUpdateThatCannotBeIsAnError) {
  const auto cloud = [&](const std::string& id, const std::string& payload) {
    return publish(topic(id, "twin/cloud_updated"), payload);
  };
  EXPECT_EQ(cloud("boiler", R"({"event_id":"e1","twin":{"temp":{"expected":{"value":"x"}}}})"),
            AllSent{error(400, "the value is not float")});
  EXPECT_EQ(ending(cloud("boiler", "x"), "twin/update/result").size(), 1u);
  EXPECT_EQ(ending(cloud("nobody", R"({"twin":{}})"), "nobody/twin/update/result").size(), 1u);
  // No metadata: KubeEdge falls over it.
  EXPECT_EQ(
      ending(cloud("boiler", R"({"twin":{"valve":{"expected":{"value":"half"}}}})"), "boiler/twin/update/document")
          .size(),
      2u);
}

TEST_F(KubeEdgeUpdate, ACloudUpdateDeletesWhatIsNotOptional) {
  const auto all = publish(topic("boiler", "twin/cloud_updated"),
                           R"({"event_id":"c","twin":{"temp":{"metadata":{"type":"deleted"}}}})");
  EXPECT_EQ(ending(all, "/result").size(), 0u);
  EXPECT_NE(ending(all, "boiler/twin/update/document").at(0).body.find(R"("current":null)"), std::string::npos);
  EXPECT_EQ(twin_now().find("temp"), std::string::npos);
}

}  // namespace
}  // namespace landfall::test
