// The configuration file: what init writes reads back the same, and every fault is named with its line.

#include "edgeruntime/config.h"

#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace landfall {
namespace {

std::vector<std::string> faults_of(const std::string& text) {
  std::vector<std::string> faults;
  const auto config = parse_config(text, "f", faults);
  EXPECT_EQ(config.ok(), faults.empty());
  return faults;
}

TEST(Config, HubFileReadsBackAsWritten) {
  HubConfig config;
  config.name = "north";
  config.listen = "[::1]:7000";
  config.kafka.bootstrap = "k1:9092,k2:9092";
  config.kafka.shards = 16;
  config.kafka.options = {{"security.protocol", "ssl"}, {"ssl.ca.location", "/etc/\"ca\".pem"}};
  config.api.listen = "127.0.0.1:8080";
  config.log = {64 << 20, true};
  std::vector<std::string> faults;
  const auto read = parse_config(config_text(config), "f", faults);
  ASSERT_TRUE(read.ok()) << read.error().detail;
  const auto& hub = std::get<HubConfig>(*read);
  EXPECT_EQ(config_text(hub), config_text(config));
  EXPECT_EQ(hub.kafka.options, config.kafka.options);
  EXPECT_EQ(hub.log.memory_bytes, std::uint64_t{64} << 20);
  EXPECT_TRUE(hub.log.anchor_strict);
}

TEST(Config, EdgeFileReadsBackAsWritten) {
  EdgeConfig config;
  config.hub_address = "hub.example:7443";
  config.mqtt.capture = {"landfall/#", "sensors/+/x"};
  config.mqtt.durability = {{"landfall/+/telemetry/engine/#", "power"}};
  config.mqtt.websocket_port = 9002;
  config.mqtt.device_profile = "mappers/deviceProfile.json";
  config.link.bytes_per_second = 250'000;
  config.link.heartbeat = std::chrono::seconds(90);
  std::vector<std::string> faults;
  const auto read = parse_config(config_text(config), "f", faults);
  ASSERT_TRUE(read.ok()) << read.error().detail;
  const auto& edge = std::get<EdgeConfig>(*read);
  EXPECT_EQ(config_text(edge), config_text(config));
  EXPECT_EQ(edge.mqtt.capture, config.mqtt.capture);
  EXPECT_EQ(edge.mqtt.device_profile, config.mqtt.device_profile);
  EXPECT_EQ(edge.link.heartbeat, std::chrono::seconds(90));
}

TEST(Config, LeftOutKeysHaveTheirDefaults) {
  std::vector<std::string> faults;
  const auto read = parse_config("[edge]\n[hub]\naddress = 'h:1'\n", "f", faults);
  ASSERT_TRUE(read.ok()) << read.error().detail;
  EdgeConfig expected;
  expected.hub_address = "h:1";
  EXPECT_EQ(config_text(std::get<EdgeConfig>(*read)), config_text(expected));
}

TEST(Config, TakesTheApiOffLoopbackWithTokens) {
  EXPECT_EQ(faults_of("[hub]\n[api]\nlisten = '0.0.0.0:8443'\ntokens = 'tokens'\n"), std::vector<std::string>());
  for (const char* loopback : {"127.8.9.1:80", "[::1]:80", "localhost:80"})
    EXPECT_EQ(faults_of(std::string("[hub]\n[api]\nlisten = '") + loopback + "'\n"), std::vector<std::string>());
}

TEST(Config, NamesEveryFaultWithItsLine) {
  EXPECT_EQ(faults_of("[hub]\nadvertize = 'h:1'\n[kafka]\nshards = 0\n"),
            (std::vector<std::string>{"f:2: unknown key 'advertize' in [hub]: did you mean 'advertise'?",
                                      "f:4: shards: out of range: 1 to 1024 is allowed"}));
}

TEST(Config, SuggestsTablesToo) {
  EXPECT_EQ(faults_of("[hub]\n[kafak]\n"),
            (std::vector<std::string>{"f:2: unknown table [kafak]: did you mean [kafka]?"}));
}

TEST(Config, SuggestsNothingForWhatIsLikeNothing) {
  EXPECT_EQ(faults_of("[hub]\nzzzzzzzzzzzz = 1\n"),
            (std::vector<std::string>{"f:2: unknown key 'zzzzzzzzzzzz' in [hub]"}));
}

TEST(Config, RefusesBadValues) {
  const std::pair<const char*, const char*> cases[] = {
      {"[hub]\nlisten = 7443", "listen: expected a text in quotes"},
      {"[hub]\nlisten = 'here'", "listen"},
      {"[hub]\nlisten = 'h:99999'", "listen"},
      {"[hub]\nname = 'a b'", "name"},
      {"[hub]\n[log]\nmemory = 10", "with a unit"},
      {"[hub]\n[log]\nmemory = '10 MB'", "unknown unit 'MB'"},
      {"[hub]\n[log]\nmemory = '1 KiB'", "out of range"},
      {"[hub]\n[log]\nmemory = '99999999999999999999 GiB'", "with a unit"},
      {"[hub]\n[log]\nmemory = '9999999999999999999 GiB'", "too large"},
      {"[hub]\n[log]\nanchor_sync = 'never'", "\"standard\" or \"strict\""},
      {"[hub]\n[api]\nlisten = '10.0.0.1:80'", "f:3: listen: '10.0.0.1' is not a loopback address"},
      {"[hub]\n[api]\nlisten = '127.0.0.1.evil.example:80'", "[api] tokens"},
      {"[hub]\n[api]\nlisten = '[::]:80'", "[api] tokens"},
      {"[hub]\n[api]\nlisten = 'here'", "listen"},
      {"[hub]\n[kafka.options]\nacks = '1'", "set by Landfall itself"},
      {"[hub]\n[kafka]\noptions = 3", "expected a table"},
      {"[edge]\n[hub]\naddress='h:1'\n[mqtt]\ncapture = ['a/#/b']", "'a/#/b'"},
      {"[edge]\n[hub]\naddress='h:1'\n[mqtt]\ncapture = 'a'", "list"},
      {"[edge]\n[hub]\naddress='h:1'\n[mqtt]\nenabled = 1", "true or false"},
      {"[edge]\n[hub]\naddress='h:1'\n[mqtt]\ndevice_profile = 'mappers/'", "name of a file"},
      {"[edge]\n[hub]\naddress='h:1'\n[mqtt.durability]\n'a/#' = 'paper'", "\"process\" or \"power\""},
      {"[edge]\n[hub]\naddress='h:1'\n[link]\nheartbeat = '1 s'", "out of range"},
      {"[edge]\n", "address is missing"},
      {"", "the role is missing"},
      {"[hub\n", "f:1: "},
  };
  for (const auto& [text, expected] : cases) {
    SCOPED_TRACE(text);
    const auto faults = faults_of(text);
    ASSERT_EQ(faults.size(), 1u);
    EXPECT_TRUE(cli::holds(faults[0], {expected}));
  }
}

}  // namespace
}  // namespace landfall
