// Property: the file that mappers start from says what is desired now, soon after it changed, for the devices of this node
// and no others; it is whole at every moment; where it cannot be written that is said, and tried again.
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "edgeruntime/profile_file.h"
#include "tests/conformance/temp_dir.h"
#include "tests/devicetwin/state_node.h"

namespace landfall {
namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

struct ProfileFileTest : ::testing::Test {
  test::TempDir folder;
  std::filesystem::path path = folder.path() / "mappers" / "deviceProfile.json";
  sim::Schedule schedule{1};
  test::StateNode node{schedule, 1};
  std::optional<Twins> twins;
  std::optional<Devices> devices;
  std::optional<ProfileFile> file;
  void SetUp() override {
    twins.emplace(*node.objects, Layer::edge);
    devices.emplace(*node.objects);
  }
  void TearDown() override {
    file.reset();
    twins.reset();
    devices.reset();
  }
  void open() {
    file.emplace(node.loop, *twins, *devices, ProfileFile::Options{path, [this](const DeviceRecord& record) {
                                                                     if (!record.node.empty())
                                                                       return record.node == "ship";
                                                                     const auto reported = node.log->state(
                                                                         Stream::reported, twin_object(record.device));
                                                                     return reported && !reported->empty();
                                                                   }});
  }
  template <class Start>
  void good(Start start) {
    const auto result = node.wait(start);
    ASSERT_TRUE(result.ok()) << result.error().detail;
  }
  void put(const std::string& name, const std::string& runs_at) {
    DeviceRecord record;
    record.device = name;
    record.node = runs_at;
    record.protocol = "modbus";
    record.configuration = R"({"properties":[{"name":"opening","visitors":{"configData":{"offset":2}}}]})";
    PropertyDefinition opening;
    opening.type = "int";
    good([&](auto done) { devices->put(record, {{"opening", opening}}, "test", {}, done); });
  }
  void set(const std::string& device, const std::string& value) {
    good([&](auto done) {
      twins->set_desired({.device = device, .values = {{"opening", value}}, .actor = "test"}, done);
    });
  }
  void report(const std::string& device, const std::string& value) {
    Twins::Report report{.device = device, .actor = "test"};
    report.values["opening"] = Twins::Reported{.value = value};
    good([&](auto done) { twins->report(report, done); });
  }
  std::string text() const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::set<std::string> names() const {
    std::set<std::string> all;
    const auto profile = Json::parse(text());
    for (const auto& device : profile["deviceInstances"]) all.insert(device["id"]);
    return all;
  }
  std::string desired() const { return Json::parse(text())["deviceInstances"][0]["twins"][0]["desired"]["value"]; }
  // Which file it is: another one with each writing.
  ino_t which() const {
    struct stat about {};
    return ::stat(path.c_str(), &about) == 0 ? about.st_ino : 0;
  }
};

TEST_F(ProfileFileTest, IsThereBeforeAnythingChanges) {
  put("valve", "ship");
  set("valve", "40");
  open();
  EXPECT_EQ(names(), std::set<std::string>{"valve"});
  EXPECT_EQ(desired(), "40");
  EXPECT_EQ(file->fault(), "");
}

TEST_F(ProfileFileTest, FollowsTheRegistryDefinitionsAndDesiredValues) {
  open();
  EXPECT_TRUE(names().empty());
  put("valve", "ship");
  node.run_for(1s);
  EXPECT_EQ(names(), std::set<std::string>{"valve"});
  EXPECT_EQ(desired(), "");
  set("valve", "40");
  node.run_for(1s);
  EXPECT_EQ(desired(), "40");
  set("valve", "55");
  set("valve", "56");
  node.run_for(1s);
  EXPECT_EQ(desired(), "56");
  good([&](auto done) { twins->release("valve", "opening", {}, "test", done); });
  node.run_for(1s);
  EXPECT_EQ(desired(), "");
  PropertyDefinition sealed;
  sealed.type = "int";
  sealed.read_only = true;
  good([&](auto done) {
    twins->describe({.device = "valve", .define = {{"opening", sealed}}, .actor = "test"}, done);
  });
  node.run_for(1s);
  EXPECT_EQ(Json::parse(text())["deviceModels"][0]["properties"][0]["accessMode"], "ReadOnly");
  good([&](auto done) { devices->hand_over("valve", "tug", "test", done); });
  node.run_for(1s);
  EXPECT_TRUE(names().empty());
}

TEST_F(ProfileFileTest, HoldsTheNodesOwnDevicesAndIsLeftAloneByOthers) {
  put("valve", "ship");
  put("crane", "tug");
  put("anybody", "");
  open();
  EXPECT_EQ(names(), std::set<std::string>{"valve"});
  const auto before = which();
  set("crane", "1");
  report("valve", "39");
  report("valve", "41");
  node.run_for(1s);
  EXPECT_EQ(which(), before) << "nothing that a mapper is told has changed";
  report("anybody", "1");
  node.run_for(1s);
  EXPECT_EQ(names(), (std::set<std::string>{"anybody", "valve"})) << "its first report says whose it is";
}

TEST_F(ProfileFileTest, GathersWhatChangesTogether) {
  put("valve", "ship");
  open();
  std::set<ino_t> files{which()};
  for (int i = 0; i < 20; ++i) {
    twins->set_desired({.device = "valve", .values = {{"opening", std::to_string(i)}}, .actor = "test"},
                       [](const Result<Written>& written) { EXPECT_TRUE(written.ok()); });
  }
  for (int i = 0; i < 1000 && desired() != "19"; ++i) {
    node.run_for(1ms);
    files.insert(which());
  }
  EXPECT_EQ(desired(), "19");
  EXPECT_LE(files.size(), 3u);
}

TEST_F(ProfileFileTest, SaysWhyItCannotBeWrittenAndTriesAgain) {
  put("valve", "ship");
  std::ofstream(folder.path() / "mappers") << "a file where the folder shall be";
  open();
  EXPECT_NE(file->fault().find("mappers"), std::string::npos) << file->fault();
  set("valve", "40");
  node.run_for(1s);
  EXPECT_NE(file->fault(), "");
  std::filesystem::remove(folder.path() / "mappers");
  node.run_for(15s);
  EXPECT_EQ(file->fault(), "");
  EXPECT_EQ(desired(), "40");
}

TEST_F(ProfileFileTest, MayGoAtAnyMoment) {
  put("valve", "ship");
  open();
  twins->set_desired({.device = "valve", .values = {{"opening", "7"}}, .actor = "test"}, [](const Result<Written>&) {});
  for (int i = 0; i < 300; ++i) {
    node.run_for(1ms);
    if (i == 150 + 50) file.reset();
  }
  node.run_for(1s);
  EXPECT_TRUE(Json::accept(text()));
}

}  // namespace
}  // namespace landfall
