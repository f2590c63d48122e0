// The control file and who may do what by it: pure parts, without a broker.

#include "edgeruntime/mqtt/control.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <random>

#include "edgeruntime/mqtt/control_file.h"
#include "edgeruntime/mqtt/deaf_clients.h"
#include "schemas/limits.h"
#include "tests/conformance/temp_dir.h"

namespace landfall {
namespace {

// By mosquitto_passwd 2.0.11; the password is "pass".
constexpr std::string_view of_mosquitto_passwd =
    "$7$101$Bn2OZvY3cH9JM+z5$ha0lZ+I8g25fDY4yhlJGayXBtDXgaadDbBZm0/"
    "6tzThzVFVtAUCbkyXqDSEhSps2D7H2qWElrRQZ5jM3h4AStw==";
const std::string hash = make_password_hash("word", "twelve bytes");

BrokerControl sample() {
  BrokerControl control;
  control.version = 7;
  control.mode = BrokerControl::Mode::closed;
  control.edge_client_id = "landfall-edge-1";
  control.edge_user = "landfall-edge";
  control.edge_password = "secret";
  control.rules = *capture_rules({"landfall/+/telemetry/#"}, {});
  control.clients = {{.name = "pump", .password_hash = hash, .topics = {"onvif/+/#"}},
                     {.name = "plant/tank", .certificate_subject = "tank 7"},
                     {.name = "modbus", .password_hash = hash, .is_mapper = true}};
  return control;
}

TEST(Control, ComesBackAndACutOrChangedFileIsRefused) {
  const auto text = *encode_control(sample());
  EXPECT_EQ(*decode_control(text), sample());
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(decode_control(text.substr(0, size)).ok());
  std::mt19937 random(5);
  for (int i = 0; i < 20'000; ++i) {
    std::string hostile = text;
    for (int n = 0; n < 3; ++n) hostile[random() % hostile.size()] = static_cast<char>(random());
    const auto decoded = decode_control(hostile);
    if (!decoded.ok()) continue;
    EXPECT_EQ(*decode_control(*encode_control(*decoded)), *decoded);
  }
}

TEST(Control, RefusesWhatCouldNotBeHeld) {
  const auto is_refused = [](const std::function<void(BrokerControl&)>& change) {
    auto control = sample();
    change(control);
    return !encode_control(control).ok();
  };
  for (const char* name : {"", "a\tb", "a\nb", "+", "a/#", "$SYS", "/a", "a/", "a/b/c"}) {
    EXPECT_TRUE(is_refused([&](auto& c) { c.clients[0].name = name; })) << name;
  }
  EXPECT_TRUE(is_refused([](auto& c) { c.clients[0].password_hash = "word"; }));
  EXPECT_TRUE(is_refused([](auto& c) { c.clients[0].topics = {"a#"}; }));
  EXPECT_TRUE(is_refused([](auto& c) { c.edge_password = ""; }));
  EXPECT_TRUE(is_refused([](auto& c) { c.clients.assign(broker_clients_max + 1, c.clients[0]); }));
}

TEST(Control, FileIsReadWhenItIsAnotherAndOnlyItsOwnerMayReadIt) {
  test::TempDir dir;
  const auto path = (dir.path() / "control").string();
  ControlFile file(path);
  EXPECT_FALSE(file.changed().ok());
  ASSERT_TRUE(write_control(path, sample()).ok());
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(**file.changed(), sample());
  EXPECT_FALSE(file.changed()->has_value());
  std::ofstream(path) << "something else";
  EXPECT_FALSE(file.changed().ok());
  EXPECT_FALSE(file.changed()->has_value()) << "said once";
  auto next = sample();
  next.version = 8;
  ASSERT_TRUE(write_control(path, next).ok());
  EXPECT_EQ(**file.changed(), next);
}

TEST(Passwords, MatchAsMosquittoPasswdMakesThem) {
  EXPECT_TRUE(password_matches(hash, "word"));
  EXPECT_FALSE(password_matches(hash, "Word"));
  EXPECT_FALSE(password_matches(hash, ""));
  EXPECT_TRUE(password_matches(of_mosquitto_passwd, "pass"));
  for (const char* bad : {"", "$6$c2FsdA==$aGFzaA==", "$7$0$c2FsdA==$aGFzaA==", "$7$101$c2FsdA==$aGFzaA==",
                          "$7$99999999$c2FsdA==$aGFzaA==", "$7$x$$", "$7$101$c2FsdA=="}) {
    EXPECT_FALSE(check_password_hash(bad).ok()) << bad;
    EXPECT_FALSE(password_matches(bad, ""));
  }
}

TEST(AccessList, KnowsTheEdgeByItsSecretAloneAndTheOthersByTheirs) {
  const AccessList list(sample());
  using Login = AccessList::Login;
  std::string why;
  EXPECT_EQ(list.check_login("landfall-edge-1", "landfall-edge", "secret", why), Login::accepted);
  EXPECT_EQ(list.check_login("landfall-edge-1", "landfall-edge", "secres", why), Login::denied);
  EXPECT_EQ(list.check_login("landfall-edge-1", "pump", "word", why), Login::denied);
  EXPECT_EQ(list.check_login("x", "landfall-edge", "secret", why), Login::denied);
  EXPECT_EQ(list.check_login("x", "pump", "word", why), Login::accepted);
  EXPECT_EQ(list.check_login("x", "pump", std::nullopt, why), Login::denied);
  EXPECT_EQ(list.check_login("x", "plant/tank", "", why), Login::denied) << "it has a certificate and no password";
  EXPECT_EQ(list.check_login("x", "tank 7", "", why), Login::denied) << "a subject is not a user";
  EXPECT_EQ(list.check_login("x", "", std::nullopt, why), Login::denied);
  EXPECT_TRUE(list.may_publish("tank 7", "landfall/plant%2Ftank/telemetry/x"));
  EXPECT_FALSE(list.may_publish("tank 7", "landfall/pump/telemetry/x"));
  EXPECT_FALSE(list.may_publish("", "landfall/pump/telemetry/x"));
}

TEST(AccessList, AFilterIsAllowedOnlyWhereAllItTakesIs) {
  const AccessList list(sample());
  for (const auto& [filter, allowed] :
       std::initializer_list<std::pair<const char*, bool>>{{"onvif/a/b", true},
                                                           {"onvif/+/#", true},
                                                           {"onvif/a/#", true},
                                                           {"onvif/#", false},
                                                           {"onvif", false},
                                                           {"#", false},
                                                           {"+/#", false},
                                                           {"landfall/pump/#", true},
                                                           {"landfall/pump", true},
                                                           {"landfall/+/#", false},
                                                           {"$hw/events/device/pump/twin/#", true},
                                                           {"$hw/events/device/pump/#", false},
                                                           {"$hw/events/device/pump/tank/twin/get/result", false},
                                                           {"$hw/events/device/default/pump/#", true},
                                                           {"$hw/events/device/+/twin/get/result", false},
                                                           {"$share/g/landfall/pump/x", true},
                                                           {"$share/g/landfall/+/x", false},
                                                           {"$share/g", false},
                                                           {"$landfall/to", false}}) {
    EXPECT_EQ(list.may_subscribe("pump", filter), allowed) << filter;
  }
  EXPECT_FALSE(list.may_subscribe("modbus", "$landfall/#"));
  EXPECT_TRUE(list.may_subscribe("modbus", "#"));
}

TEST(AccessList, RevokesWhoseNameOrProofIsAnother) {
  const AccessList before(sample());
  auto control = sample();
  control.clients[1].certificate_subject = "tank 8";
  control.clients.erase(control.clients.begin());
  control.clients.back().topics = {"a"};
  const AccessList after(control);
  EXPECT_EQ(after.revoked(before), (std::vector<std::string>{"plant/tank", "pump", "tank 7"}));
}

TEST(Directed, ComesBackAndNoBytesBreakTheDecoder) {
  const std::string bytes = encode_directed({1, "client", "a/b", std::string_view("\0x", 2)});
  const auto back = *decode_directed(bytes);
  EXPECT_EQ(back.qos, 1);
  EXPECT_EQ(back.client, "client");
  EXPECT_EQ(back.topic, "a/b");
  EXPECT_EQ(back.payload, std::string_view("\0x", 2));
  for (std::size_t size = 0; size < bytes.size() - 2; ++size)
    EXPECT_FALSE(decode_directed(std::string_view(bytes).substr(0, size)).ok());
  std::mt19937 random(6);
  for (int i = 0; i < 20'000; ++i) {
    std::string hostile = bytes;
    for (int n = 0; n < 3; ++n) hostile[random() % hostile.size()] = static_cast<char>(random());
    const auto decoded = decode_directed(hostile);
    if (!decoded.ok()) continue;
    EXPECT_EQ(encode_directed(*decoded), hostile);
  }
}

// A sensor that only ever publishes on our topics waits for nothing.
TEST(DeafClients, SpeakKubeEdgesTopics) {
  DeafClients deaf;
  CapturedMessage message;
  message.outcome = Outcome::request;
  message.client = "sensor";
  message.topic = "landfall/pump/twin/reported";
  deaf.note(message);
  EXPECT_EQ(deaf.size(), 0u);
  message.topic = "$hw/events/device/pump/state/update";
  deaf.note(message);
  EXPECT_EQ(deaf.size(), 1u);
}

TEST(DeafClients, AreForgottenOldestFirstAndWhenTheySubscribeOrGo) {
  DeafClients deaf;
  const auto note = [&](const std::string& client, Outcome outcome, const std::string& device = "pump") {
    const auto topic = "$hw/events/device/" + device + "/twin/update";
    CapturedMessage message;
    message.outcome = outcome;
    message.client = client;
    message.topic = topic;
    deaf.note(message);
  };
  note("a", Outcome::request);
  note("a", Outcome::request, "tank");
  note("b", Outcome::request);
  EXPECT_EQ(deaf.of_device("pump"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(deaf.of_device("tank"), (std::vector<std::string>{"a"}));
  note("a", Outcome::subscribed);
  note("c", Outcome::disconnected);
  EXPECT_EQ(deaf.of_device("pump"), (std::vector<std::string>{"b"}));
  for (std::size_t i = 0; i < mqtt_deaf_clients_max; ++i) note("n" + std::to_string(i), Outcome::request);
  EXPECT_EQ(deaf.size(), mqtt_deaf_clients_max);
  EXPECT_EQ(std::ranges::count(deaf.of_device("pump"), "b"), 0);
  note("", Outcome::broker_started);
  EXPECT_EQ(deaf.size(), 0u);
}

}  // namespace
}  // namespace landfall
