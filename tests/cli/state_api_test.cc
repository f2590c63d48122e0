// /v1/twins, /v1/documents, /v1/alarms, /v1/commands and /v1/devices as schemas/openapi.yaml says; whatever they refuse is
// named, and leaves no event.

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "edgeruntime/http_api.h"
#include "tests/cli/fleet.h"
#include "tests/cli/open_api.h"

namespace landfall::cli {
namespace {

// A client that listens for server-sent events.
class Listener {
 public:
  Listener(const std::filesystem::path& socket, const std::string& path) {
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    socket.string().copy(to.sun_path, sizeof to.sun_path - 1);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    const std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    EXPECT_EQ(::send(fd_, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  }
  ~Listener() { ::close(fd_); }
  // Reads until all that came holds the text; false where nothing comes for half a minute.
  bool hears(const std::string& text) {
    while (came_.find(text) == std::string::npos) {
      pollfd wait{fd_, POLLIN, 0};
      char bytes[4096];
      if (::poll(&wait, 1, 30'000) != 1) return false;
      const auto n = ::recv(fd_, bytes, sizeof bytes, 0);
      if (n <= 0) return false;
      came_.append(bytes, static_cast<std::size_t>(n));
    }
    return true;
  }
  const std::string& came() const { return came_; }

 private:
  int fd_;
  std::string came_;
};

struct StateApiTest : ::testing::Test {
  Fleet fleet;
  OpenApi file;
  void SetUp() override {
    fleet.hub.start();
    fleet.hub.await_ready();
  }
  std::filesystem::path socket() const { return fleet.folder / "hub/landfall.sock"; }
  ApiReply ask(const std::string& method, const std::string& path, const std::string& body = {},
               std::optional<std::string> if_match = {}) const {
    ApiCall call{method, path, body};
    call.if_match = std::move(if_match);
    call.actor = "chief";
    auto reply = call_api(socket(), call);
    EXPECT_TRUE(reply.ok()) << reply.error().detail;
    return reply ? *reply : ApiReply{};
  }
  // As ask(), of what must succeed and be as the file says.
  ApiReply good(const std::string& method, const std::string& path, const std::string& body = {},
                std::optional<std::string> if_match = {}) const {
    auto reply = ask(method, path, body, std::move(if_match));
    EXPECT_LT(reply.status, 300) << method << " " << path << " " << reply.body;
    EXPECT_EQ(file.fault(template_of(path), method, std::to_string(reply.status), Json::parse(reply.body)), "")
        << method << " " << path << " " << reply.body;
    return reply;
  }
  static std::string template_of(const std::string& path) {
    const auto bare = path.substr(0, path.find('?'));
    for (const auto& [noun, named] : {std::pair{"/v1/twins/", "/v1/twins/{device}"},
                                      {"/v1/documents/", "/v1/documents/{name}"},
                                      {"/v1/alarms/", "/v1/alarms/{device}/{alarm}"},
                                      {"/v1/commands/", "/v1/commands/{id}"},
                                      {"/v1/devices/", "/v1/devices/{device}"}}) {
      if (bare.starts_with(noun)) return named;
    }
    return bare;
  }
  void add_valve() const {
    good("PUT", "/v1/devices/valve", "{}");
    good("PATCH", "/v1/twins/valve", R"({"define":{"opening":{"type":"int"}}})");
  }
  std::uint64_t events() const {
    std::uint64_t all = 0;
    const auto status = fleet.hub.status();
    for (const auto& [stream, counts] : status["streams"].items()) all += counts["own"].get<std::uint64_t>();
    return all;
  }
};
using AStateApi = StateApiTest;

TEST_F(AStateApi, HasTheRoutesOfItsFileAndNoOthers) {
  const std::pair<const char*, const char*> names[] = {
      {"{device}", "valve"}, {"{name}", "port/plan"}, {"{alarm}", "leak"}, {"{id}", "c1"}};
  for (const auto& path : file.paths()) {
    std::string real = path;
    for (const auto& [word, name] : names) {
      if (const auto at = real.find(word); at != std::string::npos) real.replace(at, std::string(word).size(), name);
    }
    const auto methods = file.methods(path);
    std::string allowed;
    for (const auto& method : methods) allowed += (allowed.empty() ? "" : ", ") + method;
    for (const char* method : {"GET", "PUT", "PATCH", "POST", "DELETE"}) {
      SCOPED_TRACE(std::string(method) + " " + real);
      const auto reply = ask(method, real);
      if (methods.contains(method)) {
        EXPECT_NE(reply.status, 405);
        EXPECT_EQ(reply.body.find("this API has"), std::string::npos) << reply.body;
      } else {
        EXPECT_EQ(reply.status, 405);
        EXPECT_EQ(reply.headers.at("Allow"), allowed);
      }
    }
  }
  // What the node says that it has is in the file.
  const auto has = Json::parse(ask("GET", "/v1/nothing").body)["detail"].get<std::string>();
  std::size_t named = 0;
  for (std::size_t at = has.find("this API has "); (at = has.find('/', at)) != std::string::npos; ++named) {
    const auto path = has.substr(at, has.find(',', at) - at);
    EXPECT_TRUE(file.paths().contains(path)) << path;
    at += path.size();
  }
  EXPECT_EQ(named, file.paths().size() - 5) << "five of the file's paths are objects of another one";
}

TEST_F(AStateApi, AnswersAsItsFileSays) {
  good("PUT", "/v1/devices/valve",
       R"({"node":"ship","description":"d","model":"m","protocol":"p","configuration":{"a":1},
       "certificate_subject":"cn"})");
  good("PATCH", "/v1/twins/valve",
       R"({"define":{"opening":{"type":"int","policy":"safe-min","history":"latest","unit":"%",
       "minimum":"0","maximum":"100","description":"of it","optional":false}}})");
  good("PATCH", "/v1/twins/valve", R"({"attributes":{"maker":"ACME"},"add_tags":["deck"]})");
  good("PATCH", "/v1/twins/valve", R"({"desired":{"opening":40},"reason":"storm","take_back":true})");
  good("PATCH", "/v1/twins/valve", R"({"reported":{"opening":{"value":39,"status":"rejected","error":"stuck"}}})");
  good("PATCH", "/v1/twins/valve", R"({"state":"online","reported":{"opening":38},"full":true})");
  const auto twin = Json::parse(good("GET", "/v1/twins/valve").body);
  EXPECT_EQ(twin["properties"]["opening"]["desired"]["value"], 40);
  EXPECT_EQ(twin["properties"]["opening"]["desired"]["actor"], "chief");
  EXPECT_EQ(twin["properties"]["opening"]["minimum"], "0");
  EXPECT_EQ(twin["properties"]["opening"]["in_sync"], false);
  EXPECT_EQ(twin["tags"], Json::array({"deck"}));
  good("PATCH", "/v1/twins/valve", R"({"define":{"speed":{"type":"int"}}})");
  good("PUT", "/v1/twins/valve", R"({"desired":{"speed":1}})");
  EXPECT_FALSE(Json::parse(good("GET", "/v1/twins/valve").body)["properties"]["opening"].contains("desired"));
  good("POST", "/v1/twins/valve", R"({"release":{"property":"speed"}})");
  EXPECT_EQ(Json::parse(good("GET", "/v1/twins").body)["twins"], Json::array({"valve"}));
  good("GET", "/v1/devices/valve");
  good("GET", "/v1/devices?limit=1");
  EXPECT_EQ(Json::parse(good("GET", "/v1/devices?format=kubeedge-profile").body)["profile"]["deviceInstances"].size(),
            1u);
  good("PUT", "/v1/devices/valve", R"({"protocol":"modbus","configuration":{
       "properties":[{"name":"opening","collectCycle":5,"visitors":{"configData":{"offset":2}}}]}})");
  const auto profile = Json::parse(good("GET", "/v1/devices?format=kubeedge-profile&devices=valve").body)["profile"];
  EXPECT_EQ(profile["deviceInstances"][0]["twins"][0]["desired"]["metadata"]["type"], "int");
  EXPECT_EQ(profile["deviceInstances"][0]["propertyVisitors"][0]["collectCycle"], 5'000'000);
  EXPECT_EQ(Json::parse(good("GET", "/v1/devices?format=kubeedge-profile&node=tug").body)["profile"]["protocols"],
            Json::array());

  good("PUT", "/v1/documents/port/plan", R"({"berth":4,"crew":["a"]})");
  good("PATCH", "/v1/documents/port/plan", R"({"berth":null,"pilot":true})");
  good("POST", "/v1/documents/port/plan", R"({"annotate":{"path":"/crew","annotation":"set"}})");
  EXPECT_EQ(Json::parse(good("GET", "/v1/documents/port/plan").body)["document"],
            Json::parse(R"({"crew":["a"],"pilot":true})"));
  good("GET", "/v1/documents?prefix=port");
  good("DELETE", "/v1/documents/port/plan");
  EXPECT_EQ(ask("GET", "/v1/documents/port/plan").status, 404);

  good("POST", "/v1/alarms/valve/leak", R"({"raise":{"severity":"critical","text":"water"}})");
  good("POST", "/v1/alarms/valve/leak", R"({"acknowledge":{}})");
  good("POST", "/v1/alarms/valve/leak", R"({"shelve":{"until_unix_ms":4102444800000}})");
  EXPECT_EQ(Json::parse(good("GET", "/v1/alarms/valve/leak").body)["occurrences"][0]["acks"][0]["actor"], "chief");
  good("GET", "/v1/alarms");
  good("POST", "/v1/alarms/valve/leak", R"({"unshelve":{}})");
  good("POST", "/v1/alarms/valve/leak", R"({"clear":{}})");
  EXPECT_EQ(Json::parse(good("GET", "/v1/alarms").body)["alarms"].size(), 0u);
  EXPECT_EQ(Json::parse(good("GET", "/v1/alarms?all=1&device=val").body)["alarms"].size(), 1u);

  good("POST", "/v1/commands", R"({"device":"valve","name":"close","id":"c1","arguments":{"slowly":true}})");
  good("GET", "/v1/commands/c1");
  good("GET", "/v1/commands?open=1&device=valve");
  good("DELETE", "/v1/commands/c1");
  good("POST", "/v1/commands/c1", R"({"succeeded":true,"result":"done"})");
  good("POST", "/v1/commands/c1", R"({"succeeded":true,"result":"done"})");
  good("GET", "/v1/commands/c1");
  good("POST", "/v1/devices/valve", R"({"hand_over":{"node":"other"}})");
  good("POST", "/v1/devices",
       "apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nmetadata: {name: far}\nspec: {}\n");
  good("DELETE", "/v1/devices/valve");
}

TEST_F(AStateApi, SaysWhoAskedInTheLog) {
  add_valve();
  good("PATCH", "/v1/twins/valve", R"({"desired":{"opening":40}})");
  for (const char* subject : {"device/valve", "twin/valve"}) {
    const auto found = Json::parse(ask("GET", "/v1/events?subject=" + url_segment(subject)).body)["events"];
    ASSERT_FALSE(found.empty()) << subject;
    EXPECT_EQ(found[0]["actor"], "chief");
    EXPECT_EQ(found[0]["kind"], "change");
    EXPECT_EQ(found[0]["payload"]["object"], subject);
  }
}

TEST_F(AStateApi, WritesOnlyIfTheVersionIsTheOneThatWasSeen) {
  add_valve();
  good("PUT", "/v1/documents/plan", R"({"a":1})");
  const auto change = R"({"desired":{"opening":40}})";
  for (const auto& [path, body] : {std::pair{"/v1/twins/valve", change}, {"/v1/documents/plan", R"({"a":2})"}}) {
    SCOPED_TRACE(path);
    good("PATCH", path, change);
    const auto seen = good("GET", path).etag;
    ASSERT_TRUE(seen);
    const auto first = good("PATCH", path, body, "*");
    const auto before = events();
    ASSERT_TRUE(first.etag);
    const auto refused = ask("PATCH", path, R"({"desired":{"opening":1}})", *first.etag == *seen ? "x" : *seen);
    EXPECT_EQ(refused.status, 412);
    EXPECT_TRUE(holds(refused.body, {*first.etag}));
    EXPECT_EQ(ask("PATCH", path, R"({"desired":{"opening":2}})", "W/\"" + *first.etag + "\"").status, 412)
        << "a weak one matches nothing (RFC 9110, 13.1.1)";
    EXPECT_EQ(ask("GET", path, {}, *first.etag + "x").status, 412);
    EXPECT_EQ(events(), before);
    const auto second = good("PATCH", path, R"({"desired":{"opening":3}})", *first.etag);
    EXPECT_NE(second.etag, first.etag);
    EXPECT_EQ(good("GET", path).etag, second.etag);
  }
  EXPECT_EQ(ask("PUT", "/v1/documents/none", "{}", "*").status, 412) << "* is of what exists";
  EXPECT_EQ(ask("PUT", "/v1/devices/none", "{}", "*").status, 412);
  EXPECT_EQ(ask("DELETE", "/v1/documents/plan", {}, "x").status, 412);
}

TEST_F(AStateApi, TellsListenersWhatIsAndEachChange) {
  add_valve();
  good("PATCH", "/v1/twins/valve", R"({"desired":{"opening":40}})");
  Listener one(socket(), "/v1/twins/valve"), all(socket(), "/v1/twins"), documents(socket(), "/v1/documents");
  EXPECT_TRUE(one.hears("event: state")) << one.came();
  EXPECT_TRUE(one.hears("\"value\":40")) << one.came();
  EXPECT_TRUE(all.hears("event: listening"));
  EXPECT_TRUE(documents.hears("event: listening"));
  good("PATCH", "/v1/twins/valve", R"({"desired":{"opening":41}})");
  EXPECT_TRUE(one.hears("\"value\":41"));
  EXPECT_TRUE(all.hears("\"value\":41"));
  good("DELETE", "/v1/devices/valve");
  EXPECT_TRUE(one.hears("event: gone"));
  good("PUT", "/v1/documents/plan", R"({"a":1})");
  EXPECT_TRUE(documents.hears("\"name\":\"plan\""));
  EXPECT_EQ(documents.came().find("valve"), std::string::npos);
}

TEST_F(AStateApi, RefusesAndWritesNothing) {
  good("PUT", "/v1/devices/valve", "{}");
  good("PATCH", "/v1/twins/valve",
       R"({"define":{"opening":{"type":"int","maximum":"100"},"level":{"read_only":true},
       "free":{"type":"string"}}})");
  good("POST", "/v1/commands", R"({"device":"valve","name":"close","id":"done"})");
  good("POST", "/v1/commands/done", R"({"succeeded":true})");
  const std::string twin = "/v1/twins/valve", long_name(200, 'x');
  // A stack frame per level would be more than there is.
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  const std::tuple<const char*, std::string, std::string, int, const char*> cases[] = {
      // JSON and types
      {"PATCH", twin, "{", 400, "JSON object"},
      {"PATCH", twin, "[1]", 400, "JSON object"},
      {"PATCH", twin, "", 400, "JSON object"},
      {"PATCH", twin, "{}", 400, "nothing to do"},
      {"PATCH", twin, R"({"desire":{}})", 400, "'desire'"},
      {"PATCH", twin, R"({"desired":3})", 400, "desired"},
      {"PATCH", twin, R"({"desired":{"opening":"wide"}})", 400, "opening"},
      {"PATCH", twin, R"({"desired":{"opening":101}})", 400, "100"},
      {"PATCH", twin, R"({"desired":{"level":1}})", 403, "level"},
      {"PATCH", twin, R"({"desired":{"a b":1}})", 404, "a b: not known"},
      {"PATCH", twin, R"({"define":{"a b":{"type":"int"}}})", 400, "a b"},
      {"PATCH", twin, R"({"desired":{"opening":1},"take_back":"yes"})", 400, "take_back"},
      {"PATCH", twin, R"({"desired":{"opening":1},"reason":3})", 400, "reason"},
      {"PATCH", twin, R"({"reported":{"opening":{"value":1,"status":"odd"}}})", 400, "odd"},
      {"PATCH", twin, R"({"reported":{"opening":{"value":1,"applied":"odd"}}})", 400, "applied"},
      {"PATCH", twin, R"({"reported":{"opening":1},"desired":{"opening":1}})", 400, "of their own"},
      {"PATCH", twin, R"({"define":{"x":{"type":"colour"}}})", 400, "colour"},
      {"PATCH", twin, R"({"define":{"x":{"polycy":"latest"}}})", 400, "polycy"},
      {"PATCH", twin, R"({"add_tags":"deck"})", 400, "add_tags"},
      {"POST", twin, R"({"restore":{"property":"opening"}})", 404, "opening"},
      {"POST", twin, R"({"restore":{"property":"opening","dots":"x"}})", 400, "'dots'"},
      {"POST", twin, R"({"undo":{}})", 400, "'undo'"},
      // names and sizes
      {"PATCH", "/v1/twins/nobody", R"({"desired":{"opening":1}})", 404, "nobody"},
      {"GET", "/v1/twins/nobody", "", 404, "nobody"},
      {"PATCH", "/v1/twins/a%20b", R"({"desired":{"opening":1}})", 400, "a b"},
      {"PUT", "/v1/devices/" + long_name, "{}", 400, "128"},
      {"PATCH", twin, R"({"define":{")" + long_name + R"(":{"type":"int"}}})", 400, "128"},
      {"PATCH", twin, R"({"desired":{"free":")" + std::string(op_value_bytes_max + 1, 'x') + R"("}})", 400, "bytes"},
      {"PATCH", twin, std::string(event_payload_bytes_max * 3, ' '), 413, "524288 bytes"},
      {"PUT", "/v1/documents/a//b", "{}", 400, "a//b"},
      {"PUT", "/v1/documents/plan", "{", 400, "JSON"},
      {"PUT", "/v1/documents/plan", std::string(40, '[') + std::string(40, ']'), 400, "deep"},
      {"PATCH", "/v1/documents/none", "{\"a\":", 400, "JSON"},
      {"PATCH", twin, R"({"desired":{"free":)" + deep + "}}", 400, "deep"},
      {"PATCH", twin, R"({"define":{"x":)" + deep + "}}", 400, "deep"},
      {"POST", twin, R"({"restore":)" + deep + "}", 400, "deep"},
      {"PATCH", "/v1/documents/plan", deep, 400, "deep"},
      {"POST", "/v1/documents/plan", R"({"annotate":)" + deep + "}", 400, "deep"},
      {"POST", "/v1/commands", R"({"device":"valve","name":"x","arguments":)" + deep + "}", 400, "deep"},
      {"PUT", "/v1/devices/valve", R"({"configuration":)" + deep + "}", 400, "deep"},
      {"POST", "/v1/devices", deep, 400, ""},
      {"DELETE", "/v1/documents/none", "", 404, "none"},
      {"POST", "/v1/documents/none", R"({"annotate":{"path":"/a","annotation":"odd"}})", 400, "odd"},
      {"POST", "/v1/documents/none", R"({"settle":{"path":"/a"}})", 404, "/a"},
      {"POST", "/v1/documents/none", R"({"settle":{"path":"/a","dot":"odd"}})", 400, "odd"},
      {"POST", "/v1/documents/none", R"({"settle":{"path":"/a","annotation":"set"}})", 400, "'annotation'"},
      {"POST", "/v1/documents/none", "{}", 400, "settle"},
      {"POST", "/v1/alarms/valve/leak", R"({"raise":{"severity":"odd"}})", 400, "severity"},
      {"POST", "/v1/alarms/valve/leak", R"({"raise":{"colour":"red"}})", 400, "'colour'"},
      {"POST", "/v1/alarms/valve/leak", R"({"raise":{},"clear":{}})", 400, "one of"},
      {"POST", "/v1/alarms/valve/leak", R"({"acknowledge":{}})", 404, "leak"},
      {"POST", "/v1/alarms/valve/leak", R"({"shelve":{"until_unix_ms":"soon"}})", 400, "until_unix_ms"},
      {"POST", "/v1/alarms/valve", R"({"raise":{}})", 400, "<device>/<alarm>"},
      {"GET", "/v1/alarms/valve/none", "", 404, "none"},
      {"POST", "/v1/commands", R"({"device":"valve"})", 400, "name"},
      {"POST", "/v1/commands", R"({"device":"a b","name":"close"})", 400, "a b"},
      {"POST", "/v1/commands", R"({"device":"nobody","name":"close"})", 404, "nobody"},
      {"POST", "/v1/commands", R"({"device":"valve","name":"close","valid_seconds":0})", 400, "valid_seconds"},
      {"POST", "/v1/commands", R"({"device":"valve","name":"open","id":"done"})", 409, "done"},
      {"DELETE", "/v1/commands/done", "", 409, "succeeded"},
      {"DELETE", "/v1/commands/none", "", 404, "none"},
      {"POST", "/v1/commands/done", R"({"succeeded":"yes"})", 400, "succeeded"},
      {"POST", "/v1/commands/done", R"({"succeeded":false})", 409, "has succeeded already"},
      {"POST", "/v1/commands/done", R"({"succeeded":true,"result":1})", 409, "with the result null"},
      {"POST", "/v1/commands/none", R"({"succeeded":true})", 404, "none"},
      {"GET", "/v1/commands/none", "", 404, "none"},
      {"PUT", "/v1/devices/valve", R"({"password_hash":"secret"})", 400, "mosquitto_passwd"},
      {"PUT", "/v1/devices/valve", R"({"colour":"red"})", 400, "'colour'"},
      {"POST", "/v1/devices/valve", R"({"hand_over":{"nodes":"x"}})", 400, "'nodes'"},
      {"POST", "/v1/devices/valve", R"({"hand_over":"x"})", 400, "hand_over"},
      {"POST", "/v1/devices", "kind: [", 400, "YAML"},
      {"DELETE", "/v1/devices/none", "", 404, "none"},
      // methods and parameters
      {"DELETE", twin, "", 405, "PATCH"},
      {"PUT", "/v1/twins", "{}", 405, "GET"},
      {"PATCH", "/v1/devices/valve", "{}", 405, "PUT"},
      {"GET", "/v1/twins?limit=1001", "", 400, "1000"},
      {"GET", "/v1/documents?colour=red", "", 400, "'colour'"},
  };
  const auto before = events();
  for (const auto& [method, path, body, status, word] : cases) {
    SCOPED_TRACE(std::string(method) + " " + path.substr(0, 80) + " " + body.substr(0, 80));
    const auto reply = ask(method, path, body);
    EXPECT_EQ(reply.status, status) << reply.body.substr(0, 300);
    EXPECT_EQ(reply.content_type, "application/problem+json");
    const auto problem = Json::parse(reply.body, nullptr, false);
    ASSERT_TRUE(problem.is_object()) << reply.body;
    EXPECT_EQ(file.fault("/v1/twins", "GET", "default", problem), "");
    ASSERT_TRUE(problem.contains("detail"));
    EXPECT_EQ(problem["status"], status);
    EXPECT_TRUE(holds(problem["detail"].get<std::string>(), {word}));
  }
  EXPECT_EQ(events(), before);
  // A condition that would not be kept is no condition.
  for (const auto& [method, path, body] : {std::tuple{"PATCH", twin, R"({"add_tags":["x"]})"},
                                           {"PATCH", twin, R"({"reported":{"opening":1}})"},
                                           {"POST", std::string("/v1/alarms/valve/leak"), R"({"raise":{}})"},
                                           {"DELETE", "/v1/devices/valve", ""}}) {
    const auto reply = ask(method, path, body, "x");
    EXPECT_EQ(reply.status, 400) << path;
    EXPECT_TRUE(holds(reply.body, {"If-Match"}));
  }
  EXPECT_EQ(events(), before);
}

}  // namespace
}  // namespace landfall::cli
