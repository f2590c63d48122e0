// The HTTP API over TCP: who may use it, how that is proven, and that a refusal is an event of the log. Off loopback it
// speaks TLS with the node's own certificate.

#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/stat.h>

#include <fstream>

#include "edgeruntime/http_api.h"
#include "tests/cli/fleet.h"

namespace landfall::cli {
namespace {

// "correct horse battery" and "staple", as sha256sum says.
constexpr const char* tokens =
    "# people of the office\n"
    "office operator 9028ea0d15decaa35b2da21c0290af3b1a5ba0a30a591906f89b5074e209ea72\n"
    "guest  reader   8970a6e29537b655f643008e18668b2db092e730bfc4688493903034d521d7d4\n";
const httplib::Headers office = {{"Authorization", "Bearer correct horse battery"}},
                       guest = {{"Authorization", "Bearer staple"}}, stranger = {{"Authorization", "Bearer guess"}};

struct ApiOverTcpTest : ::testing::Test {
  Fleet fleet;
  std::uint16_t port = free_port();

  void listen(const std::string& host, const std::string& token_lines) {
    const auto config = fleet.folder / "hub/landfall.toml";
    replace_in_file(config, "\nlisten = \"\"", "\nlisten = \"" + host + ":" + std::to_string(port) + "\"");
    if (token_lines.empty()) return;
    write_tokens(token_lines);
    replace_in_file(config, "\ntokens = \"\"", "\ntokens = \"tokens\"");
  }
  void write_tokens(const std::string& lines) const { std::ofstream(fleet.folder / "hub/tokens") << lines; }
  void start() {
    fleet.hub.start();
    fleet.hub.await_ready();
  }
  // Once there are so many: a refusal is answered before its event is durable.
  std::vector<Json> audits(std::size_t wanted) const {
    std::vector<Json> found;
    EXPECT_TRUE(eventually([&] { return (found = audits()).size() >= wanted; })) << found.size();
    return found;
  }
  std::vector<Json> audits() const {
    std::vector<Json> found;
    const auto shown = call_api(fleet.folder / "hub/landfall.sock", "GET", "/v1/events?limit=1000");
    const auto listed = Json::parse(shown->body);
    for (const auto& event : listed["events"]) {
      if (event["kind"] == "audit" && event["payload"]["audit"] == "refused") found.push_back(event["payload"]);
    }
    return found;
  }
  std::uint64_t changes() const {
    const auto status = fleet.hub.status();
    return count(status, "document", "own") + count(status, "desired", "own");
  }
};
using AnApiOverTcp = ApiOverTcpTest;

void expect_problem(const httplib::Result& got, int status, const std::vector<std::string>& words) {
  ASSERT_TRUE(got) << httplib::to_string(got.error());
  EXPECT_EQ(got->status, status);
  EXPECT_EQ(got->get_header_value("Content-Type"), "application/problem+json");
  EXPECT_EQ(got->has_header("WWW-Authenticate"), status == 401);
  EXPECT_TRUE(holds(Json::parse(got->body)["detail"].get<std::string>(), words));
}

TEST_F(AnApiOverTcp, OnLoopbackGoesByItsTokens) {
  listen("127.0.0.1", tokens);
  start();
  httplib::Client client("127.0.0.1", port);
  expect_problem(client.Get("/v1/status"), 401, {"GET /v1/status", "show a token", "Bearer"});
  expect_problem(client.Get("/v1/status", stranger), 401, {"none of this node's"});
  expect_problem(client.Put("/v1/documents/plan", guest, "{}", "application/json"), 403, {"guest is a reader"});
  EXPECT_EQ(changes(), 0u);
  EXPECT_EQ(client.Get("/v1/status", guest)->status, 200);
  EXPECT_EQ(client.Head("/v1/status", guest)->status, 200);
  EXPECT_EQ(client.Put("/v1/documents/plan", office, "{\"a\":1}", "application/json")->status, 200);
  const auto found = audits(3);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0], Json({{"audit", "refused"},
                            {"door", "api"},
                            {"from", "127.0.0.1"},
                            {"actor", ""},
                            {"what", "GET /v1/status"},
                            {"status", 401}}));
  EXPECT_EQ(found[2]["actor"], "guest");
  EXPECT_EQ(found[2]["what"], "PUT /v1/documents/plan");
  EXPECT_EQ(found[2]["status"], 403);
  const auto events = Json::parse(client.Get("/v1/events?subject=doc", office)->body)["events"];
  EXPECT_EQ(events.at(0)["actor"], "office");
  // Who says who he is over TCP is not believed.
  httplib::Headers liar = office;
  liar.emplace("Landfall-Actor", "chief");
  EXPECT_EQ(client.Put("/v1/documents/other", liar, "{\"a\":1}", "application/json")->status, 200);
  EXPECT_EQ(Json::parse(client.Get("/v1/events?subject=doc%2Fother", office)->body)["events"].at(0)["actor"], "office");
}

TEST_F(AnApiOverTcp, WithATokenFileOfNobodyIsClosed) {
  listen("127.0.0.1", "# nobody yet\n");
  start();
  httplib::Client client("127.0.0.1", port);
  expect_problem(client.Get("/v1/status"), 401, {"show a token"});
}

TEST_F(AnApiOverTcp, TakesNoConditionThatItWouldNotKeep) {
  listen("127.0.0.1", "");
  start();
  httplib::Client client("127.0.0.1", port);
  EXPECT_EQ(client.Put("/v1/documents/plan", "{\"a\":1}", "application/json")->status, 200);
  for (const auto& headers : {httplib::Headers{{"If-None-Match", "*"}}, httplib::Headers{{"If-Match", "\"a\", \"b\""}},
                              httplib::Headers{{"If-Match", "\"\""}}}) {
    const auto got = client.Put("/v1/documents/plan", headers, "{\"a\":2}", "application/json");
    EXPECT_EQ(got->status, 400) << headers.begin()->second;
    EXPECT_TRUE(holds(got->body, {"If-"}));
  }
  const auto now = client.Get("/v1/documents/plan");
  const auto tag = now->get_header_value("ETag");
  EXPECT_EQ(client.Put("/v1/documents/plan", {{"If-Match", "W/" + tag}}, "{\"a\":2}", "application/json")->status, 412);
  EXPECT_EQ(client.Put("/v1/documents/plan", {{"If-Match", tag}}, "{\"a\":2}", "application/json")->status, 200);
  EXPECT_EQ(client.Put("/v1/documents/plan", {{"If-Match", tag}}, "{\"a\":3}", "application/json")->status, 412);
  EXPECT_EQ(client.Put("/v1/documents/plan", {{"If-Match", "*"}}, "{\"a\":4}", "application/json")->status, 200);
}

TEST_F(AnApiOverTcp, SaysWhatAFormThatIsTooLargeShouldHaveBeen) {
  listen("127.0.0.1", "");
  start();
  httplib::Client client("127.0.0.1", port);
  const std::string document = R"({"a":")" + std::string(10'000, 'x') + R"("})";
  expect_problem(client.Put("/v1/documents/plan", document, "application/x-www-form-urlencoded"), 415,
                 {"Content-Type: application/json"});
  EXPECT_EQ(client.Put("/v1/documents/plan", document, "application/json")->status, 200);
}

TEST_F(AnApiOverTcp, OffLoopbackIsRefusedWithoutTokens) {
  listen("0.0.0.0", "");
  for (const auto& arguments : {std::vector<std::string>{"config", "check"}, {"hub", "run"}}) {
    auto all = arguments;
    all.insert(all.end(), {"--dir", fleet.dir("hub")});
    const auto done = landfall(all);
    EXPECT_EQ(done.exit_code, 1);
    EXPECT_TRUE(holds(done.err, {"landfall.toml:", "'0.0.0.0' is not a loopback address", "[api] tokens"}));
  }
  const auto config = fleet.folder / "hub/landfall.toml";
  replace_in_file(config, "\ntokens = \"\"", "\ntokens = \"tokens\"");
  const auto missing = landfall({"config", "check", "--dir", fleet.dir("hub")});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_TRUE(holds(missing.err, {"hub/tokens", "no such file"}));
  write_tokens("office operator secret\n");
  EXPECT_TRUE(holds(landfall({"config", "check", "--dir", fleet.dir("hub")}).err, {"tokens:1", "sha256"}));
  write_tokens(tokens);
  ::chmod((fleet.folder / "hub/tokens").c_str(), 0666);
  EXPECT_TRUE(holds(landfall({"hub", "run", "--dir", fleet.dir("hub")}).err, {"others may write it", "chmod 600"}));
  ::chmod((fleet.folder / "hub/tokens").c_str(), 0600);
  EXPECT_EQ(landfall({"config", "check", "--dir", fleet.dir("hub")}).exit_code, 0);
  const Folder other;
  const auto made = landfall({"hub", "init", "--dir", (other / "hub").string(), "--api", "127.evil.example:8080"});
  EXPECT_EQ(made.exit_code, 1) << "a name that only begins like a loopback address";
}

TEST_F(AnApiOverTcp, OffLoopbackSpeaksTlsAndTakesTokensAndCertificatesOfTheFleet) {
  // An edge of this fleet and one of another, each with its certificate.
  Fleet others;
  for (auto* one : {&fleet, &others}) {
    one->hub.start();
    one->hub.await_ready();
    one->init_edge("ship", one->invite("ship"));
    Running edge("edge", one->folder / "ship");
    edge.start();
    edge.await("its certificate", [](const Json& status) { return status["enrolled"] == true; });
  }
  EXPECT_EQ(fleet.hub.stop(), 0);
  listen("0.0.0.0", tokens);
  start();

  httplib::Client plain("127.0.0.1", port);
  EXPECT_FALSE(plain.Get("/v1/status", office)) << "HTTP where HTTPS is spoken";
  const auto with = [&](const std::string& identity) {
    auto client = identity.empty()
                      ? std::make_unique<httplib::SSLClient>("127.0.0.1", port)
                      : std::make_unique<httplib::SSLClient>("127.0.0.1", port, identity + "/identity/chain.pem",
                                                             identity + "/identity/key.pem");
    client->enable_server_certificate_verification(false);  // a SPIFFE id is no host name
    return client;
  };
  const auto nobody = with("");
  expect_problem(nobody->Get("/v1/status"), 401, {"show a token"});
  EXPECT_EQ(nobody->Get("/v1/status", guest)->status, 200);
  EXPECT_EQ(nobody->Put("/v1/documents/plan", office, "{\"a\":1}", "application/json")->status, 200);

  const auto ship = with(fleet.dir("ship"));
  const auto unknown = ship->Get("/v1/status");
  expect_problem(unknown, 403, {"spiffe://landfall.local/node/", "add a line"});
  expect_problem(with(others.dir("ship"))->Get("/v1/status"), 401, {"not signed by a root of this fleet"});
  EXPECT_EQ(with(others.dir("ship"))->Get("/v1/status", guest)->status, 200) << "the token stands for itself";

  // With a line of its own it is somebody.
  const auto detail = Json::parse(unknown->body)["detail"].get<std::string>();
  const auto at = detail.find("spiffe://");
  EXPECT_EQ(fleet.hub.stop(), 0);
  write_tokens(std::string(tokens) + "ship operator " + detail.substr(at, detail.find(' ', at) - at) + "\n");
  start();
  EXPECT_EQ(with(fleet.dir("ship"))->Put("/v1/documents/ship", "{\"a\":1}", "application/json")->status, 200);
  const auto events = call_api(fleet.folder / "hub/landfall.sock", "GET", "/v1/events?subject=doc%2Fship");
  EXPECT_EQ(Json::parse(events->body)["events"].at(0)["actor"], "ship");
  const auto found = audits(3);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[1]["actor"].get<std::string>().substr(0, 9), "spiffe://") << found[1];
  EXPECT_EQ(found[2]["status"], 401);
}

// The certificate is the one of the time of the handshake: so is a renewed one.
TEST_F(AnApiOverTcp, OfAnEdgeSpeaksTlsOnceItIsEnrolledWithoutARestart) {
  fleet.init_edge("ship", fleet.invite("ship"));
  replace_in_file(fleet.folder / "ship/landfall.toml", "\nlisten = \"\"",
                  "\nlisten = \"0.0.0.0:" + std::to_string(port) + "\"");
  replace_in_file(fleet.folder / "ship/landfall.toml", "\ntokens = \"\"", "\ntokens = \"tokens\"");
  std::ofstream(fleet.folder / "ship/tokens") << tokens;
  Running edge("edge", fleet.folder / "ship");
  edge.start();
  edge.await_ready();
  const auto ask = [&] {
    httplib::SSLClient client("127.0.0.1", port);
    client.enable_server_certificate_verification(false);
    return client.Get("/v1/status", guest);
  };
  EXPECT_FALSE(ask());
  const auto run = edge.status()["run"];
  start();
  edge.await("its certificate", [](const Json& status) { return status["enrolled"] == true; });
  // It says so a turn before the certificate is in use.
  std::string body;
  ASSERT_TRUE(eventually([&] {
    const auto got = ask();
    if (got) body = got->body;
    return static_cast<bool>(got);
  }));
  EXPECT_EQ(Json::parse(body)["run"], run);
}

}  // namespace
}  // namespace landfall::cli
