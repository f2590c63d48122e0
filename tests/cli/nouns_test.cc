// landfall twin | doc | alarm | command | device: every verb on a running node, what it prints and how it fails.

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <memory>

#include "tests/cli/fleet.h"

namespace landfall::cli {
namespace {

struct NounsTest : ::testing::Test {
  Fleet fleet;
  void SetUp() override {
    fleet.hub.start();
    fleet.hub.await_ready();
  }
  Ended run(std::vector<std::string> arguments, const std::string& input = {}) const {
    arguments.insert(arguments.end(), {"--dir", fleet.dir("hub"), "--as", "chief"});
    return landfall(arguments, input);
  }
  // Of what must succeed; both ways of printing.
  std::string good(std::vector<std::string> arguments, const std::string& input = {}) const {
    const auto done = run(arguments, input);
    EXPECT_EQ(done.exit_code, 0) << arguments[0] << " " << arguments[1] << ": " << done.err;
    return done.out;
  }
  Json json(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    const auto out = good(arguments);
    const auto parsed = Json::parse(out, nullptr, false);
    EXPECT_FALSE(parsed.is_discarded()) << out;
    return parsed;
  }
};
using ANoun = NounsTest;

TEST_F(ANoun, TwinHasItsVerbs) {
  good({"device", "add", "valve", "--node", "ship"});
  good({"twin", "define", "valve", "opening", "type=int", "policy=latest", "unit=%", "maximum=100"});
  EXPECT_TRUE(json({"twin", "define", "valve", "opening", "policy=cloud-wins"}).contains("dots"));
  EXPECT_EQ(json({"twin", "list"}), Json::array({"valve"}));
  EXPECT_EQ(good({"twin", "list"}), "valve\n");
  const auto set = run({"twin", "set", "valve", "opening=40", "--reason", "storm"});
  EXPECT_TRUE(holds(set.err, {"Written as "}));
  EXPECT_TRUE(holds(run({"twin", "unset", "valve", "none"}).err, {"none", "not known"}));
  good({"twin", "report", "valve", "opening=39"});
  good({"twin", "tag", "valve", "deck", "engine"});
  good({"twin", "tag", "valve", "--remove", "engine"});
  good({"twin", "attribute", "valve", "maker=ACME", "size=3"});
  good({"twin", "attribute", "valve", "size=null"});
  const auto twin = json({"twin", "show", "valve"});
  EXPECT_EQ(twin["properties"]["opening"]["unit"], "%") << "a definition keeps what is not named";
  EXPECT_EQ(twin["properties"]["opening"]["maximum"], "100");
  EXPECT_EQ(twin["properties"]["opening"]["policy"], "cloud-wins");
  EXPECT_EQ(twin["properties"]["opening"]["desired"]["actor"], "chief");
  EXPECT_EQ(twin["attributes"], Json({{"maker", "ACME"}}));
  EXPECT_TRUE(holds(good({"twin", "show", "valve"}), {"valve", "#deck", "opening  [cloud-wins]", "desired   40",
                                                      "chief: storm", "reported  39", "not in sync", "@maker = ACME"}));
  const auto version = twin["version"].get<std::string>();
  good({"twin", "set", "valve", "opening=41", "--if-match", version});
  const auto late = run({"twin", "set", "valve", "opening=42", "--if-match", version});
  EXPECT_EQ(late.exit_code, 1);
  EXPECT_TRUE(holds(late.err, {"the version is "}));
  good({"twin", "unset", "valve", "opening", "--take-back"});
  EXPECT_EQ(run({"twin", "report", "valve", "opening=39", "--reason", "none"}).exit_code, 2) << "it would not be kept";
  EXPECT_FALSE(json({"twin", "show", "valve"})["properties"]["opening"].contains("desired"));
  EXPECT_TRUE(holds(run({"twin", "release", "valve", "opening"}).err, {"Nothing to change"}));
  const auto restore = run({"twin", "restore", "valve", "opening"});
  EXPECT_EQ(restore.exit_code, 1);
  EXPECT_TRUE(holds(restore.err, {"opening"}));
}

TEST_F(ANoun, NumbersStayAsTheyAreWritten) {
  good({"device", "add", "valve"});
  good({"twin", "define", "valve", "level", "type=float", "maximum=99.90"});
  good({"twin", "set", "valve", "level=12.50"});
  good({"twin", "report", "valve", R"(level={"value":12.00})", "serial=18446744073709551616"});
  good({"twin", "attribute", "valve", R"(size={"bore":1.50})"});
  const auto twin = good({"twin", "show", "valve", "--json"});
  EXPECT_TRUE(holds(twin, {"\"value\":12.50", "\"value\":12.00", "\"value\":18446744073709551616",
                           "\"maximum\":\"99.90\"", "{\"bore\":1.50}"}));
  EXPECT_TRUE(
      holds(good({"twin", "show", "valve"}), {"desired   12.50", "18446744073709551616", "@size = {\"bore\":1.50}"}));
  good({"doc", "put", "plan"}, R"({"draft":7.20,"id":18446744073709551616})");
  EXPECT_TRUE(holds(good({"doc", "show", "plan"}), {"\"draft\": 7.20", "\"id\": 18446744073709551616"}));
  // The log's way to say it, and that of Kafka's topics.
  EXPECT_TRUE(holds(landfall({"log", "show", "--dir", fleet.dir("hub"), "--json"}).out,
                    {R"("value":12.50)", R"("value":18446744073709551616)", R"("value":7.20)"}));
  good({"command", "issue", "valve", "open", R"({"to":0.50})", "--id", "c1"});
  good({"command", "complete", "c1", R"({"at":0.40})"});
  for (const auto& shown : {good({"command", "show", "c1"}), good({"command", "list", "--json"})})
    EXPECT_TRUE(holds(shown, {"{\"to\":0.50}", "{\"at\":0.40}"}));
  EXPECT_EQ(landfall({"log", "append", "--dir", fleet.dir("hub"), "--subject", "s", "--payload", R"({"v":1.50,"a":2})"})
                .exit_code,
            0);
  EXPECT_TRUE(holds(landfall({"log", "show", "--dir", fleet.dir("hub"), "--json"}).out, {"{\"v\":1.50,\"a\":2}"}));
  EXPECT_TRUE(holds(landfall({"log", "show", "--dir", fleet.dir("hub")}).out, {"{\"v\":1.50,\"a\":2}"}));
}

TEST_F(ANoun, DocHasItsVerbs) {
  good({"doc", "put", "port/plan"}, R"({"berth":4,"crew":["a"]})");
  good({"doc", "annotate", "port/plan", "/crew", "set"});
  const auto change = fleet.folder / "change.json";
  std::ofstream(change) << R"({"berth":null,"pilot":true})";
  good({"doc", "patch", "port/plan", change.string()});
  const auto shown = json({"doc", "show", "port/plan"});
  EXPECT_EQ(shown["document"], Json::parse(R"({"crew":["a"],"pilot":true})"));
  EXPECT_EQ(Json::parse(good({"doc", "show", "port/plan"})), shown["document"]);
  EXPECT_EQ(json({"doc", "list", "port/"}), Json::array({"port/plan"}));
  EXPECT_EQ(good({"doc", "list"}), "port/plan\n");
  EXPECT_EQ(run({"doc", "delete", "port/plan", "--if-match", "x"}).exit_code, 1);
  EXPECT_TRUE(json({"doc", "delete", "port/plan"}).contains("dots"));
  EXPECT_EQ(json({"doc", "list"}), Json::array());
}

TEST_F(ANoun, DocEndsAConflictForEitherSide) {
  fleet.init_edge("ship", fleet.invite("ship"));
  Running ship("edge", fleet.folder / "ship");
  ship.start();
  ship.await("link", committed);
  const auto aboard = [&](std::vector<std::string> arguments, const std::string& input = {}) {
    arguments.insert(arguments.end(), {"--dir", fleet.dir("ship")});
    EXPECT_EQ(landfall(arguments, input).exit_code, 0) << arguments[0] << " " << arguments[1];
  };
  const auto plan = [&] { return json({"doc", "show", "plan"}); };
  for (const bool ours : {true, false}) {
    aboard({"link", "hold"});
    good({"doc", "put", "plan"}, R"({"x":{"y":1}})");
    aboard({"doc", "put", "plan"}, R"({"x":5})");
    aboard({"link", "release"});
    ASSERT_TRUE(eventually([&] { return plan()["conflicts"].size() == 1; })) << plan();
    good({"doc", "patch", "plan"}, R"({"x":{"y":2}})");
    ASSERT_EQ(plan()["conflicts"].size(), 1u) << "an object's fields say nothing of what it hides";
    const auto dot = plan()["conflicts"][0]["dot"].get<std::string>();
    EXPECT_TRUE(holds(run({"doc", "show", "plan"}).err, {"landfall doc settle plan /x --dot " + dot + " --dir "}));
    EXPECT_TRUE(holds(run({"doc", "settle", "plan", "/none"}).err, {"/none", "no such write"}));
    if (ours) {
      good({"doc", "settle", "plan", "/x"});
    } else {
      good({"doc", "settle", "plan", "/x", "--dot", dot});
    }
    EXPECT_EQ(plan()["conflicts"].size(), 0u);
    EXPECT_EQ(plan()["document"], Json::parse(ours ? R"({"x":{"y":2}})" : R"({"x":5})"));
    good({"doc", "delete", "plan"});
    ASSERT_TRUE(eventually([&] {
      return landfall({"doc", "show", "plan", "--dir", fleet.dir("ship")}).exit_code == 1;
    }));
  }
}

TEST_F(ANoun, AlarmHasItsVerbs) {
  good({"alarm", "raise", "pump", "bilge", "--severity", "critical", "--text", "water in the bilge"});
  EXPECT_EQ(good({"alarm", "list"}), "critical  pump/bilge  active, not acknowledged  \"water in the bilge\"\n");
  EXPECT_EQ(json({"alarm", "list", "pu"}).size(), 1u);
  EXPECT_EQ(json({"alarm", "list", "valve"}).size(), 0u);
  const auto dot = json({"alarm", "show", "pump", "bilge"})["occurrences"][0]["dot"].get<std::string>();
  good({"alarm", "ack", "pump", "bilge", "--occurrence", dot});
  EXPECT_TRUE(
      holds(good({"alarm", "show", "pump", "bilge"}), {"critical  pump/bilge  active", "\"actor\": \"chief\""}));
  good({"alarm", "shelve", "pump", "bilge", "--minutes", "30"});
  EXPECT_EQ(json({"alarm", "show", "pump", "bilge"})["shelved"], true);
  good({"alarm", "unshelve", "pump", "bilge"});
  EXPECT_TRUE(json({"alarm", "clear", "pump", "bilge"}).contains("dots"));
  EXPECT_EQ(good({"alarm", "list"}), "");
  EXPECT_EQ(json({"alarm", "list", "--all"}).size(), 1u);
}

TEST_F(ANoun, CommandHasItsVerbs) {
  EXPECT_TRUE(holds(run({"command", "issue", "pump", "start"}).err, {"pump", "not known"})) << "nobody would end it";
  good({"device", "add", "pump", "--node", "ship"});
  const auto issued = json({"command", "issue", "pump", "start", R"({"rpm":900})", "--minutes", "30", "--id", "c1"});
  EXPECT_EQ(issued["state"], "pending");
  EXPECT_EQ(issued["actor"], "chief");
  EXPECT_EQ(good({"command", "issue", "pump", "start", R"({"rpm":900})", "--minutes", "30", "--id", "c1"}),
            "c1  pump start {\"rpm\":900}  pending\n");
  EXPECT_EQ(json({"command", "list", "pump", "--open"}).size(), 1u);
  EXPECT_EQ(json({"command", "list", "valve"}).size(), 0u);
  good({"command", "cancel", "c1"});
  EXPECT_EQ(json({"command", "show", "c1"})["cancel_asked"], true);
  good({"command", "complete", "c1", "\"late\"", "--failed"});
  EXPECT_EQ(good({"command", "show", "c1"}), "c1  pump start {\"rpm\":900}  failed  late\n");
  good({"command", "complete", "c1", "\"late\"", "--failed"});
  good({"command", "complete", "c1", "--failed"});
  for (const auto& other : {run({"command", "complete", "c1"}), run({"command", "complete", "c1", "3", "--failed"})}) {
    EXPECT_EQ(other.exit_code, 1);
    EXPECT_TRUE(holds(other.err, {"c1 has failed already", "late"})) << other.err;
  }
  EXPECT_EQ(good({"command", "show", "c1"}), "c1  pump start {\"rpm\":900}  failed  late\n");
  EXPECT_EQ(good({"command", "list", "--open"}), "");
}

TEST_F(ANoun, DeviceHasItsVerbs) {
  good({"device", "add", "pump", "--node", "ship", "--description", "bilge pump", "--model", "m", "--protocol",
        "modbus", "--certificate", "pump.ship"});
  EXPECT_EQ(good({"device", "show", "pump"}), "pump  node=ship  protocol=modbus  model=m  description=bilge pump\n");
  EXPECT_EQ(json({"device", "show", "pump"})["certificate_subject"], "pump.ship");
  good({"device", "password", "pump"}, "a long enough password\n");
  EXPECT_FALSE(holds(json({"device", "show", "pump"}).dump(), {"$7$"})) << "the hash is shown";
  good({"device", "hand-over", "pump", "tug"});
  EXPECT_EQ(json({"device", "show", "pump"})["node"], "tug");
  EXPECT_EQ(good({"device", "import"},
                 "apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\n"
                 "metadata: {name: far}\nspec: {nodeName: tug}\n"),
            "far\n");
  EXPECT_EQ(json({"device", "list"}).size(), 2u);
  EXPECT_TRUE(holds(good({"device", "list"}), {"far", "pump  node=tug"}));
  good({"device", "remove", "far"});
  EXPECT_EQ(run({"device", "show", "far"}).exit_code, 1);
}

constexpr const char* two_valves = R"(
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: valve-model}
spec: {properties: [{name: opening, type: INT, accessMode: ReadWrite, minimum: "0", maximum: "100"}]}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: fore}
spec:
  deviceModelRef: {name: valve-model}
  nodeName: ship
  protocol: {protocolName: modbus, configData: {slaveID: 1, ip: 10.0.0.7, port: 502}}
  properties:
  - {name: opening, desired: {value: "40"}, collectCycle: 500, visitors: {configData: {register: HoldingRegister, offset: 2}}}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: aft}
spec:
  deviceModelRef: {name: valve-model}
  nodeName: tug
  protocol: {protocolName: modbus}
  properties: [{name: opening, visitors: {configData: {offset: 2}}}]
)";

TEST_F(ANoun, DevicesAreExportedForMappers) {
  good({"device", "import"}, two_valves);
  const auto names = [&](const Json& profile) {
    std::vector<std::string> all;
    for (const auto& device : profile["deviceInstances"]) all.push_back(device["id"]);
    return all;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(Json::parse(good({"device", "export"}))), (Names{"aft", "fore"}));
  EXPECT_EQ(names(Json::parse(good({"device", "export", "--node", "tug"}))), Names{"aft"});
  EXPECT_EQ(names(Json::parse(good({"device", "export", "fore", "aft"}))), (Names{"fore", "aft"}));
  EXPECT_EQ(names(json({"device", "export", "fore"})["profile"]), Names{"fore"});

  const auto file = fleet.folder / "deviceProfile.json";
  good({"device", "export", "--node", "ship", "--format", "kubeedge-profile", "-o", file.string()});
  std::ifstream in(file);
  const auto profile = Json::parse(in);
  const auto& fore = profile["deviceInstances"][0];
  EXPECT_EQ(fore["twins"][0]["desired"]["value"], "40");
  EXPECT_EQ(fore["propertyVisitors"][0]["collectCycle"], 500'000'000);
  EXPECT_EQ(fore["propertyVisitors"][0]["visitorConfig"]["register"], "HoldingRegister");
  EXPECT_EQ(profile["protocols"][0]["protocolCommonConfig"]["tcp"]["port"], 502);
  EXPECT_EQ(profile["deviceModels"][0]["properties"][0]["maximum"], 100);

  // What cannot be in it is said, and leaves the file as it was.
  good({"device", "add", "pump", "--protocol", "modbus", "--node", "ship"});
  const auto left_out = run({"device", "export", "--node", "ship"});
  EXPECT_EQ(left_out.exit_code, 0);
  EXPECT_TRUE(holds(left_out.err, {"pump has no configuration"}));
  const auto named = run({"device", "export", "pump", "-o", file.string()});
  EXPECT_EQ(named.exit_code, 1);
  EXPECT_TRUE(holds(named.err, {"pump has no configuration"}));
  std::ifstream again(file);
  EXPECT_EQ(Json::parse(again), profile);
  EXPECT_EQ(run({"device", "export", "-o", (fleet.folder / "").string()}).exit_code, 1) << "a folder";
}

TEST_F(ANoun, WatchPrintsEachChangeUntilTheNodeEnds) {
  good({"device", "add", "valve"});
  good({"twin", "define", "valve", "opening", "type=int"});
  const std::string command = std::string(LANDFALL_PROGRAM) + " twin watch valve --dir " + fleet.dir("hub");
  FILE* watch = ::popen(command.c_str(), "r");
  ASSERT_NE(watch, nullptr);
  const auto line = [&] {
    std::string text;
    for (int c; (c = std::fgetc(watch)) != EOF && c != '\n';) text += static_cast<char>(c);
    return Json::parse(text, nullptr, false);
  };
  EXPECT_FALSE(line()["properties"]["opening"].contains("desired"));
  good({"twin", "set", "valve", "opening=40"});
  EXPECT_EQ(line()["properties"]["opening"]["desired"]["value"], 40);
  EXPECT_EQ(fleet.hub.stop(), 0);
  EXPECT_TRUE(line().is_discarded());
  EXPECT_EQ(::pclose(watch), 0);
}

TEST_F(ANoun, SaysWhatIsWrongAndWhatToDo) {
  const std::pair<std::vector<std::string>, std::vector<std::string>> cases[] = {
      {{"twin", "show", "nobody"}, {"nobody", "not known"}},
      {{"twin", "set", "nobody", "a=1"}, {"nobody", "not known"}},
      {{"twin", "set", "valve", "opening"}, {"'opening'", "name=value", "opening=40"}},
      {{"twin", "set", "valve", "opening=wide"}, {"opening", "int"}},
      {{"twin", "set", "valve", "colour=1"}, {"colour", "define it first"}},
      {{"twin", "define", "valve", "opening", "policy=coin"}, {"coin", "cloud-wins"}},
      {{"twin", "release", "valve", "opening", "--dot", "x"}, {"dot"}},
      {{"twin", "set", "valve", "opening=\xff"}, {"UTF-8"}},
      {{"twin", "tag", "valve", "\xff"}, {"UTF-8"}},
      {{"twin", "attribute", "valve", "a=" + std::string(20, '[') + std::string(20, ']')}, {"a", "deeper than 16"}},
      {{"doc", "show", "none"}, {"no document none is known"}},
      {{"doc", "put", "plan", "/no/such/file"}, {"/no/such/file", "no such file", "standard input"}},
      {{"doc", "put", "a b"}, {"a b"}},
      {{"doc", "annotate", "plan", "/a", "odd"}, {"odd", "atomic"}},
      {{"alarm", "show", "pump", "none"}, {"no alarm none of pump is known"}},
      {{"alarm", "raise", "pump", "bilge", "--severity", "odd"}, {"critical, major, minor"}},
      {{"alarm", "raise", "pump", "bilge", "--text", "\xff"}, {"UTF-8"}},
      {{"alarm", "ack", "pump", "none"}, {"none"}},
      {{"command", "issue", "pump", "start", "{"}, {"arguments", "JSON"}},
      {{"command", "show", "none"}, {"none", "known"}},
      {{"command", "cancel", "none"}, {"none", "known"}},
      {{"device", "show", "none"}, {"none", "not known"}},
      {{"device", "add", "a b"}, {"a b"}},
      {{"device", "password", "valve"}, {"12 characters"}},
      {{"device", "import", "/no/such/file"}, {"/no/such/file"}},
      {{"device", "hand-over", "none", "ship"}, {"none"}},
      {{"device", "export", "none"}, {"none", "not known"}},
      {{"device", "export", "--format", "yaml"}, {"'yaml'", "kubeedge-profile"}},
      {{"device", "export", "valve", "--node", "ship"}, {"name the devices, or the node"}},
  };
  good({"device", "add", "valve"});
  good({"twin", "define", "valve", "opening", "type=int"});
  for (const auto& [arguments, words] : cases) {
    std::string text;
    for (const auto& word : arguments) text += word + " ";
    SCOPED_TRACE(text);
    const auto done = run(arguments, "{}");
    EXPECT_EQ(done.exit_code, 1);
    EXPECT_EQ(done.out, "");
    EXPECT_TRUE(done.err.starts_with("landfall: ")) << done.err;
    EXPECT_TRUE(holds(done.err, words));
  }
  const auto of_another = run({"alarm", "raise", "pump", "bilge/high"});
  EXPECT_EQ(of_another.exit_code, 2) << "it would be the alarm high of pump/bilge";
  EXPECT_TRUE(holds(of_another.err, {"bilge/high", "no '/'"}));
  // Nobody is there to ask, or nothing was asked.
  const auto away = landfall({"twin", "list", "--dir", fleet.dir("nowhere")});
  EXPECT_EQ(away.exit_code, 1);
  EXPECT_TRUE(holds(away.err, {"no node runs in", "landfall hub run"}));
  for (const char* noun : {"twin", "doc", "alarm", "command", "device"}) {
    const auto bare = landfall({noun});
    EXPECT_NE(bare.exit_code, 0) << noun;
    const auto unknown = landfall({noun, "frobnicate", "--dir", fleet.dir("hub")});
    EXPECT_NE(unknown.exit_code, 0) << noun;
  }
}

TEST(Help, HasAnExampleForEveryVerb) {
  const std::pair<const char*, std::vector<const char*>> nouns[] = {
      {"twin", {"list", "show", "set", "unset", "report", "release", "restore", "define", "tag", "attribute", "watch"}},
      {"doc", {"list", "show", "put", "patch", "delete", "annotate", "settle", "watch"}},
      {"alarm", {"list", "show", "raise", "clear", "ack", "shelve", "unshelve", "watch"}},
      {"command", {"issue", "list", "show", "cancel", "complete"}},
      {"device", {"list", "show", "add", "remove", "import", "export", "hand-over", "password"}}};
  for (const auto& [noun, verbs] : nouns) {
    const auto all = landfall({noun, "--help"});
    EXPECT_EQ(all.exit_code, 0);
    EXPECT_TRUE(holds(all.out, {"Example: "}));
    for (const char* verb : verbs) {
      EXPECT_TRUE(holds(all.out, {verb})) << noun;
      const auto one = landfall({noun, verb, "--help"});
      EXPECT_EQ(one.exit_code, 0);
      EXPECT_TRUE(holds(one.out, {std::string("Example: landfall ") + noun + " " + verb}));
    }
  }
}

}  // namespace
}  // namespace landfall::cli
