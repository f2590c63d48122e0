// The HTTP API: what it answers, and that it refuses what it should as RFC 9457 has it.

#include <gtest/gtest.h>

#include "edgeruntime/http_api.h"
#include "tests/cli/fleet.h"

namespace landfall::cli {
namespace {

struct Api : ::testing::Test {
  Fleet fleet;
  void SetUp() override {
    fleet.hub.start();
    fleet.hub.await_ready();
  }
  ApiReply ask(const std::string& method, const std::string& path, const std::string& body = {}) const {
    auto reply = call_api(fleet.folder / "hub/landfall.sock", method, path, body);
    EXPECT_TRUE(reply.ok()) << reply.error().detail;
    return reply ? *reply : ApiReply{};
  }
};

TEST_F(Api, StatusHasItsShape) {
  const auto status = Json::parse(ask("GET", "/v1/status").body);
  EXPECT_EQ(status["role"], "hub");
  EXPECT_EQ(status["node"].get<std::string>().size(), 32u);
  for (const char* key :
       {"name", "trust_domain", "software", "run", "uptime_s", "resident_bytes", "enrolled", "degraded", "healthy",
        "reasons", "warnings", "certificate_not_after", "link", "peers", "log", "streams", "mqtt", "kafka"}) {
    EXPECT_TRUE(status.contains(key)) << key;
  }
  EXPECT_EQ(status["streams"].size(), 7u);
  for (const auto& [stream, counts] : status["streams"].items()) {
    for (const char* key : {"appended", "received", "own", "foreign", "backlog"})
      EXPECT_TRUE(counts[key].is_number_unsigned()) << stream << key;
  }
  EXPECT_FALSE(status["link"]["held"].get<bool>());
}

TEST_F(Api, AppendedEventIsReadBackUnderItsDot) {
  const auto done =
      ask("POST", "/v1/events",
          R"({"stream": "alarm", "subject": "bilge", "payload": {"level": 3}, "id": "7", "source": "crew"})");
  ASSERT_EQ(done.status, 200) << done.body;
  const auto dot = Json::parse(done.body)["dot"].get<std::string>();
  const auto listed = Json::parse(ask("GET", "/v1/events?subject=bilge").body)["events"];
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0]["dot"], dot);
  EXPECT_EQ(listed[0]["payload"], Json({{"level", 3}}));
  EXPECT_EQ(listed[0]["id"], "7");
  EXPECT_EQ(listed[0]["kind"], "alarm");
}

TEST_F(Api, ListsTheNewestUpToTheLimit) {
  for (int i = 1; i <= 5; ++i)
    ASSERT_EQ(ask("POST", "/v1/events", R"({"subject": "s", "payload": ")" + std::to_string(i) + "\"}").status, 200);
  const auto answer = Json::parse(ask("GET", "/v1/events?limit=2").body);
  ASSERT_EQ(answer["events"].size(), 2u);
  EXPECT_EQ(answer["events"][0]["payload"], "4");
  EXPECT_EQ(answer["events"][1]["payload"], "5");
  EXPECT_TRUE(answer["truncated"].get<bool>());
}

TEST_F(Api, BinaryPayloadsTravelAsBase64) {
  ASSERT_EQ(ask("POST", "/v1/events", R"({"subject": "b", "payload_base64": "AP8Q"})").status, 200);
  EXPECT_EQ(Json::parse(ask("GET", "/v1/events?subject=b").body)["events"][0]["payload_base64"], "AP8Q");
}

// A device may publish anything: whoever lists events must survive it.
TEST_F(Api, APayloadNestedBeyondTheStackIsShownAsText) {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  ASSERT_EQ(ask("POST", "/v1/events", Json{{"subject", "deep"}, {"payload", deep}}.dump()).status, 200);
  EXPECT_EQ(Json::parse(ask("GET", "/v1/events?subject=deep").body)["events"][0]["payload"], deep);
  const auto shown = landfall({"log", "show", "--dir", fleet.dir("hub"), "--subject", "deep"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_NE(shown.out.find(deep), std::string::npos);
}

TEST_F(Api, RefusesAsProblemJson) {
  const std::tuple<const char*, const char*, std::string, int, const char*> cases[] = {
      {"GET", "/v1/nothing", "", 404, "/v1/status"},
      {"POST", "/v1/status", "", 405, "POST"},
      {"POST", "/v1/events", "no json", 400, "JSON object"},
      {"POST", "/v1/events", R"({"payload": 1})", 400, "subject"},
      {"POST", "/v1/events",
       R"({"subject": "s", "payload": )" + std::string(100'000, '[') + std::string(100'000, ']') + "}", 400, "deeper"},
      {"POST", "/v1/events", R"({"subject": "s", "colour": "red"})", 400, "colour"},
      {"POST", "/v1/events", R"({"subject": "s", "stream": "control"})", 400, "control"},
      {"POST", "/v1/events", R"({"subject": "s", "stream": "sound"})", 400, "stream"},
      {"POST", "/v1/events", R"({"subject": "s", "payload_base64": "%%%%"})", 400, "base64"},
      {"POST", "/v1/events", R"({"subject": "s", "payload": ")" + std::string(event_payload_bytes_max + 1, 'x') + "\"}",
       400, "payload"},
      {"POST", "/v1/events", std::string(event_payload_bytes_max * 3, ' '), 413, "limit"},
      {"GET", "/v1/events?limit=0", "", 400, "limit"},
      {"GET", "/v1/events?color=1", "", 400, "color"},
  };
  for (const auto& [method, path, body, status, word] : cases) {
    SCOPED_TRACE(std::string(method) + " " + path + " " + body.substr(0, 40));
    const auto reply = ask(method, path, body);
    EXPECT_EQ(reply.status, status);
    EXPECT_EQ(reply.content_type, "application/problem+json");
    const auto problem = Json::parse(reply.body);
    EXPECT_EQ(problem["status"], status);
    EXPECT_TRUE(holds(problem["detail"].get<std::string>(), {word}));
  }
  EXPECT_EQ(count(fleet.hub.status(), "telemetry", "own"), 0u);
}

TEST_F(Api, MetricsAndHealth) {
  EXPECT_EQ(ask("GET", "/healthz").status, 200);
  ASSERT_EQ(ask("POST", "/v1/events", R"({"subject": "s", "payload": 1})").status, 200);
  const auto metrics = ask("GET", "/metrics");
  EXPECT_TRUE(holds(metrics.content_type, {"text/plain"}));
  EXPECT_TRUE(holds(metrics.body, {"# TYPE landfall_events_appended_total counter",
                                   "landfall_events_appended_total{stream=\"telemetry\"} 1\n", "landfall_degraded 0\n",
                                   "landfall_certificate_not_after_seconds "}));
}

TEST_F(Api, SocketIsTheOwnersAlone) {
  const auto mode = std::filesystem::status(fleet.folder / "hub/landfall.sock").permissions();
  EXPECT_EQ(mode & std::filesystem::perms::all,
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(ApiOverTcp, IsNotMadeOffLoopbackWithoutTokens) {
  const Folder other;
  const auto made = landfall({"hub", "init", "--dir", (other / "hub").string(), "--api", "0.0.0.0:8080"});
  EXPECT_EQ(made.exit_code, 1);
  EXPECT_TRUE(holds(made.err, {"loopback"}));
  EXPECT_FALSE(std::filesystem::exists(other / "hub/landfall.toml"));
}

}  // namespace
}  // namespace landfall::cli
