// Property: an edge keeps the file from which KubeEdge's mappers start: its own devices as imported ashore, and what they
// shall be now, whichever side said so; a file that cannot be written makes the node unhealthy by name, and no more.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/cli/fleet.h"

namespace landfall::cli {
namespace {

std::string valve_of(const std::string& name, const std::string& node) {
  return "---\napiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nmetadata: {name: " + name +
         "}\nspec:\n  nodeName: " + node +
         "\n  deviceModelRef: {name: valve-model}\n"
         "  protocol: {protocolName: modbus, configData: {slaveID: 1, tcp: {ip: 10.0.0.7, port: 502}}}\n"
         "  properties: [{name: opening, desired: {value: '40'}, visitors: {configData: {offset: 2}}}]\n";
}
const std::string model =
    "apiVersion: devices.kubeedge.io/v1beta1\nkind: DeviceModel\nmetadata: {name: valve-model}\n"
    "spec: {properties: [{name: opening, type: INT, accessMode: ReadWrite}]}\n";

struct DeviceProfile : ::testing::Test {
  Fleet fleet;
  std::unique_ptr<Running> ship;
  void start_ship(const std::string& file) {
    fleet.hub.start();
    fleet.hub.await_ready();
    fleet.init_edge("ship", fleet.invite("ship"));
    replace_in_file(fleet.folder / "ship/landfall.toml", "device_profile = \"\"", "device_profile = \"" + file + "\"");
    const auto checked = landfall({"config", "check", "--dir", fleet.dir("ship")});
    EXPECT_EQ(checked.exit_code, 0) << checked.err;
    ship = std::make_unique<Running>("edge", fleet.folder / "ship");
    ship->start();
    ship->await("enrolment", committed);
  }
  void good(const std::string& node, std::vector<std::string> arguments, const std::string& input = {}) {
    arguments.insert(arguments.end(), {"--dir", fleet.dir(node), "--as", "chief"});
    const auto done = landfall(arguments, input);
    ASSERT_EQ(done.exit_code, 0) << done.err;
  }
  // The devices of a profile with what a mapper sets at its start: {"valve":"40"}.
  static Json desired(const Json& profile) {
    Json all = Json::object();
    for (const auto& device : profile.value("deviceInstances", Json::array()))
      all[device["id"].get<std::string>()] = device["twins"][0]["desired"]["value"];
    return all;
  }
  // Never half a file, whenever it is read.
  bool becomes(const std::filesystem::path& file, const Json& wanted) {
    Json last;
    const bool came = eventually([&] {
      std::ifstream in(file);
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      if (!std::filesystem::exists(file)) return false;
      EXPECT_TRUE(Json::accept(text)) << text;
      last = desired(Json::parse(text, nullptr, false));
      return last == wanted;
    });
    EXPECT_TRUE(came) << last;
    return came;
  }
};

TEST_F(DeviceProfile, FollowsWhatEitherSideWants) {
  start_ship("mappers/deviceProfile.json");
  const auto file = fleet.folder / "ship/mappers/deviceProfile.json";
  EXPECT_TRUE(becomes(file, Json::object())) << "a mapper that starts first finds a file without devices";
  good("hub", {"device", "import"}, model + valve_of("valve", "ship") + valve_of("crane", "tug"));
  EXPECT_TRUE(becomes(file, {{"valve", "40"}}));
  good("hub", {"twin", "set", "valve", "opening=55"});
  EXPECT_TRUE(becomes(file, {{"valve", "55"}}));
  good("ship", {"twin", "set", "valve", "opening=60", "--reason", "storm"});
  EXPECT_TRUE(becomes(file, {{"valve", "60"}}));
  good("ship", {"twin", "release", "valve", "opening"});
  EXPECT_TRUE(becomes(file, {{"valve", "55"}}));

  // What is asked for is the same; a hub has them all.
  const auto exported = [&](const std::string& node) {
    return desired(landfall({"device", "export", "--dir", fleet.dir(node)}).json());
  };
  EXPECT_EQ(exported("ship"), Json({{"valve", "55"}}));
  EXPECT_EQ(exported("hub"), Json({{"valve", "55"}, {"crane", "40"}}));

  // While the edge is away a mapper starts from what was true; with its next start the edge catches up.
  EXPECT_EQ(ship->stop(), 0);
  good("hub", {"device", "hand-over", "crane", "ship"});
  good("hub", {"twin", "set", "valve", "opening=20"});
  EXPECT_TRUE(becomes(file, {{"valve", "55"}}));
  std::filesystem::remove(file);
  ship->start();
  EXPECT_TRUE(becomes(file, {{"crane", "40"}, {"valve", "20"}}));
  good("hub", {"device", "remove", "crane"});
  EXPECT_TRUE(becomes(file, {{"valve", "20"}}));
}

TEST_F(DeviceProfile, ThatCannotBeWrittenIsNamedByTheHealthPage) {
  std::ofstream(fleet.folder / "taken") << "no folder";
  const auto file = fleet.folder / "taken/deviceProfile.json";
  start_ship(file.string());
  const auto sick = ship->await("a reason", [](const Json& s) { return !s["healthy"].get<bool>(); });
  EXPECT_TRUE(holds(sick["reasons"].dump(), {"old device profile", "taken", "[mqtt] device_profile"}));
  good("ship", {"device", "add", "valve"});
  std::filesystem::remove(fleet.folder / "taken");
  ship->await("a mended file", [](const Json& s) { return s["healthy"].get<bool>(); });
  EXPECT_TRUE(becomes(file, Json::object()));
}

}  // namespace
}  // namespace landfall::cli
