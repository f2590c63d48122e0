// Property: the tree keeps the rules that no compiler checks. Folders see only folders below them, third-party headers
// enter through the few files named here, time and chance enter through the seams, and nothing is left half said.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/tidy/source_tree.h"

namespace landfall::tidy {
namespace {

const std::vector<SourceFile>& tree() {
  static const auto files = read_tree();
  return files;
}

// What a folder may include besides itself. cloudsync and devicetwin are siblings: sync never looks into a body, a twin
// never knows a link. crdt does not see eventlog: a merge that could do I/O could not be tested by laws.
const std::map<std::string, std::set<std::string>> folders_below = {
    {"schemas", {}},
    {"crdt", {"schemas"}},
    {"eventlog", {"schemas", "crdt"}},
    {"devicetwin", {"schemas", "crdt", "eventlog"}},
    {"cloudsync", {"schemas", "crdt", "eventlog"}},
    {"edgeruntime", {"schemas", "crdt", "eventlog", "devicetwin", "cloudsync"}},
    {"tools", {"schemas", "crdt", "eventlog", "devicetwin", "cloudsync", "edgeruntime"}},
    {"tests", {"schemas", "crdt", "eventlog", "devicetwin", "cloudsync", "edgeruntime", "tools"}},
};

bool starts_with_any(const std::string& path, const std::vector<std::string>& prefixes) {
  return std::ranges::any_of(prefixes, [&](const auto& prefix) { return path.starts_with(prefix); });
}

// Folders and files (by the beginning of their path) that may include a third-party header. Every header in angle
// brackets that is not the language's or the operating system's must be found here.
struct ThirdParty {
  std::string header;
  std::vector<std::string> users;
};
const std::vector<ThirdParty> third_party = {
    {"capnp/", {"schemas/"}},
    {"kj/", {"schemas/"}},
    {"zstd.h", {"schemas/zstd_frame.cc", "tools/landfall/bench", "tests/schemas/"}},
    {"roaring/", {"crdt/seq_set", "tests/crdt/"}},
    {"rocksdb/", {"eventlog/rocks_store", "tools/landfall/bench", "tests/conformance/", "tests/eventlog/"}},
    {"openssl/",
     {"eventlog/chain.cc", "eventlog/snapshot.cc", "eventlog/state_digest.cc", "edgeruntime/", "tests/edgeruntime/",
      "tests/conformance/"}},
    {"librdkafka/", {"cloudsync/hub/", "tools/landfall/bench", "tests/hub/"}},
    {"uv.h", {"edgeruntime/"}},
    {"mosquitto", {"edgeruntime/mqtt/", "tools/landfall/", "tests/edgeruntime/", "tests/e2e/"}},
    {"mqtt_protocol.h", {"edgeruntime/mqtt/", "tools/landfall/"}},
    {"httplib.h", {"edgeruntime/", "tests/cli/"}},
    {"toml++/", {"edgeruntime/"}},
    {"spdlog/", {"edgeruntime/", "tools/landfall/"}},
    {"prometheus/", {"edgeruntime/"}},
    {"CLI/", {"tools/landfall/"}},
    {"yaml-cpp/", {"devicetwin/kubeedge_yaml.cc", "tests/cli/open_api.h", "tests/hub/"}},
    {"nlohmann/",
     {"schemas/", "crdt/document", "crdt/exact_json", "devicetwin/", "edgeruntime/", "tools/landfall/",
      "cloudsync/hub/", "tests/"}},
    {"gtest/", {"tests/"}},
    {"gmock/", {"tests/"}},
};
// Third-party headers stand in quotes in places, too.
bool is_foreign(const Include& include) {
  return !include.quoted ||
         std::ranges::any_of(third_party, [&](const auto& entry) { return include.target.starts_with(entry.header); });
}
const std::vector<std::string> system_headers = {
    "arpa/",       "dirent.h",    "fcntl.h",     "grp.h",      "linux/",    "malloc.h", "netdb.h",  "netinet/",
    "poll.h",      "pthread.h",   "pwd.h",       "sched.h",    "signal.h",  "spawn.h",  "stdarg.h", "stdint.h",
    "stdio.h",     "stdlib.h",    "string.h",    "sys/",       "termios.h", "time.h",   "unistd.h", "sanitizer/",
    "immintrin.h", "nmmintrin.h", "x86intrin.h", "arm_acle.h", "errno.h",   "cpuid.h"};

struct Ban {
  std::vector<std::string> tokens;
  std::vector<std::string> allowed;  // by the beginning of the path
  std::string instead;
};
const std::vector<Ban> bans = {
    {{"system_clock::now", "time(nullptr)", "time(NULL)", "time(0)", "gettimeofday(", "clock_gettime("},
     {"edgeruntime/", "tools/landfall/", "tests/cli/"},
     "take wall time from Loop::unix_ms()"},
    {{"steady_clock::now", "high_resolution_clock::now"},
     {"edgeruntime/", "tools/landfall/", "eventlog/rocks_store", "cloudsync/hub/", "tests/edgeruntime/",
      "tests/conformance/", "tests/hub/", "tests/e2e/", "tests/cli/"},
     "take time from Loop::now()"},
    {{"sleep_for(", "sleep_until(", "usleep(", "nanosleep(", "sleep("},
     {"tools/landfall/"},
     "use Loop::after(); a test waits for a condition with a deadline"},
    {{"rand(", "srand(", "srandom(", "drand48(", "random_device", "getrandom(", "RAND_bytes("},
     {"edgeruntime/", "tools/landfall/", "tests/cli/"},
     "take chance from Loop::random(), so that a seed replays it"},
    {{"getenv("},
     {"edgeruntime/", "tools/landfall/", "tests/"},
     "take it from the configuration: environment is read in main and by tests only"},
    {{"std::thread", "std::jthread", "std::async", "pthread_create("},
     {"edgeruntime/", "tools/landfall/", "eventlog/rocks_store", "cloudsync/hub/", "tests/edgeruntime/",
      "tests/conformance/", "tests/hub/", "tests/mqtt/", "tests/e2e/"},
     "use Loop::work() for heavy pure work and Loop::post() to come back"},
    {{"uv_"},
     {"edgeruntime/", "tests/edgeruntime/", "tests/conformance/"},
     "only edgeruntime knows libuv: use Loop or Network"},
    {{"rd_kafka_"}, {"cloudsync/hub/", "tools/landfall/bench", "tests/hub/"}, "only cloudsync/hub knows librdkafka"},
    {{"GTEST_SKIP", "DISABLED_"}, {"tests/tidy/"}, "a test that is not run proves nothing: run it or delete it"},
    {{"std::abort("}, {"schemas/check.cc", "tests/fuzz/"}, "use LANDFALL_CHECK, which says where and what"},
};
// A member call or a declaration may look like the C function and is not one.
bool is_member_or_declaration(const std::string& line, const std::string& token) {
  const auto at = line.find(token);
  if (at == std::string::npos || at == 0) return false;
  const auto before = line.substr(0, at);
  return before.ends_with(".") || before.ends_with("->") || before.ends_with("Loop::") ||
         (before.ends_with("_t ") && token != "getenv(");
}

std::string line_of(const std::string& text, int number) {
  std::size_t from = 0;
  for (int i = 1; i < number; ++i) from = text.find('\n', from) + 1;
  return text.substr(from, text.find('\n', from) - from);
}

std::string at(const SourceFile& file, int line) { return file.path + ":" + std::to_string(line) + ": "; }

TEST(Tidy, TheTreeIsThere) {
  // Without this, a wrong path would make every rule hold.
  EXPECT_GT(tree().size(), 50u);
  for (const auto& [folder, below] : folders_below) {
    EXPECT_TRUE(std::ranges::any_of(tree(), [&](const auto& file) { return file.folder() == folder; })) << folder;
  }
}

TEST(Tidy, CodeIsToldFromCommentsAndLiterals) {
  EXPECT_EQ(blank_comments_and_literals("a \"uv_b\" c // d\n1'000 'e' /* f\n */ g"),
            "a        c     \n1'000         \n    g");
  EXPECT_EQ(blank_comments_and_literals("R\"x(sleep(1) \" )x\" b"), "R                  b");
  EXPECT_EQ(lines_with("usleep(1)\nsleep(1)\n  sleep(2)", "sleep("), (std::vector<int>{2, 3}));
  EXPECT_EQ(lines_with("uv_run uv_now\nmy_uv_run", "uv_"), (std::vector<int>{1, 1}));
}

TEST(Tidy, FoldersSeeOnlyFoldersBelow) {
  for (const auto& file : tree()) {
    const auto below = folders_below.find(file.folder());
    if (!file.is_cpp() || below == folders_below.end()) continue;
    for (const auto& include : includes_of(file)) {
      if (is_foreign(include)) continue;
      const auto slash = include.target.find('/');
      // A test may name what lies beside it.
      if (file.folder() == "tests" && (slash == std::string::npos || include.target.starts_with("../"))) continue;
      if (slash == std::string::npos) {
        EXPECT_TRUE(include.target.ends_with(".capnp.h")) << at(file, include.line) << "write the path from the top: \""
                                                          << file.folder() << "/" << include.target << "\"";
        continue;
      }
      const auto folder = include.target.substr(0, slash);
      EXPECT_TRUE(folder == file.folder() || below->second.contains(folder))
          << at(file, include.line) << file.folder() << " may not see " << folder
          << ": pass a value or a callback in from above instead";
      EXPECT_FALSE(include.target.starts_with("cloudsync/hub/") && file.path.starts_with("cloudsync/") &&
                   !file.path.starts_with("cloudsync/hub/"))
          << at(file, include.line) << "an edge syncs without the hub: only cloudsync/hub sees cloudsync/hub";
    }
  }
}

TEST(Tidy, ThirdPartyHeadersEnterThroughFewFiles) {
  for (const auto& file : tree()) {
    if (!file.is_cpp() || file.path.starts_with("tests/consumer/")) continue;
    for (const auto& include : includes_of(file)) {
      if (!is_foreign(include) || include.target.find_first_of("./") == std::string::npos ||
          starts_with_any(include.target, system_headers)) {
        continue;
      }
      const auto entry =
          std::ranges::find_if(third_party, [&](const auto& e) { return include.target.starts_with(e.header); });
      if (entry == third_party.end()) {
        ADD_FAILURE() << at(file, include.line) << "<" << include.target
                      << "> is new: say in tests/tidy who may include it";
        continue;
      }
      EXPECT_TRUE(starts_with_any(file.path, entry->users))
          << at(file, include.line) << "<" << include.target << "> enters through "
          << ::testing::PrintToString(entry->users);
    }
  }
}

TEST(Tidy, HeadersStayLight) {
  // Compile time of everything above. The ones allowed are private to their folder, or for .cc files alone.
  const std::vector<std::string> allowed = {
      "schemas/flat_message.h",  "crdt/document_tree.h",         "crdt/exact_json.h",
      "devicetwin/json_value.h", "edgeruntime/openssl_values.h", "edgeruntime/state_json.h",
      "edgeruntime/uv_link.h",   "tools/landfall/api_command.h"};
  for (const auto& file : tree()) {
    if (!file.ends_with(".h") || file.folder() == "tests" || starts_with_any(file.path, allowed)) continue;
    for (const auto& include : includes_of(file)) {
      EXPECT_FALSE(is_foreign(include) && include.target.find_first_of("./") != std::string::npos &&
                   !starts_with_any(include.target, system_headers))
          << at(file, include.line) << "include <" << include.target << "> in the .cc and forward declare here";
    }
  }
}

TEST(Tidy, TimeChanceAndThreadsEnterThroughSeams) {
  for (const auto& file : tree()) {
    if (!file.is_cpp()) continue;
    for (const auto& ban : bans) {
      if (starts_with_any(file.path, ban.allowed)) continue;
      for (const auto& token : ban.tokens) {
        for (const int line : lines_with(file.code, token)) {
          if (is_member_or_declaration(line_of(file.code, line), token)) continue;
          ADD_FAILURE() << at(file, line) << token << " is not for here: " << ban.instead;
        }
      }
    }
  }
}

TEST(Tidy, FilesStayReadable) {
  for (const auto& file : tree()) {
    if (!file.is_cpp()) continue;
    const auto lines = std::ranges::count(file.text, '\n');
    const auto most = file.ends_with(".h") && file.folder() != "tests" ? 250 : 600;
    EXPECT_LE(lines, most) << file.path << ": does it still hold one thing?";
  }
}

TEST(Tidy, NothingIsLeftHalfSaid) {
  const std::set<std::string> vague = {"common",  "util", "utils",   "core",   "helper",
                                       "helpers", "misc", "manager", "service"};
  for (const auto& file : tree()) {
    if (file.path.starts_with("tests/tidy/")) continue;
    for (const auto* token : {"FIXME", "XXX", "HACK"}) {
      for (const int line : lines_with(file.text, token))
        ADD_FAILURE() << at(file, line) << token << ": mend it or say it in words";
    }
    for (const int line : lines_with(file.text, "TODO")) {
      const auto text = line_of(file.text, line);
      EXPECT_TRUE(text.find("TODO(perf)") != std::string::npos || text.find("TODO(port)") != std::string::npos ||
                  text.find("TODO(test)") != std::string::npos)
          << at(file, line) << "only TODO(perf), TODO(port) and TODO(test), with a sentence";
    }
    std::string part;
    for (const char c : file.path + "/") {
      if (c != '/' && c != '.' && c != '_') {
        part += c;
        continue;
      }
      EXPECT_FALSE(vague.contains(part)) << file.path << ": '" << part << "' names nothing";
      part.clear();
    }
  }
}

TEST(Tidy, TestsThatTheReadmeNamesAreThere) {
  const auto readme = std::ranges::find(tree(), std::string("tests/README.md"), &SourceFile::path);
  ASSERT_NE(readme, tree().end());
  int named = 0;
  for (auto at = readme->text.find("| `"); at != std::string::npos; at = readme->text.find('`', at + 1)) {
    const auto end =
        readme->text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.", at + 1);
    const auto name = readme->text.substr(at + 1, end - at - 1);
    const auto dot = name.find('.');
    if (dot == std::string::npos || dot + 1 == name.size() || std::isupper(static_cast<unsigned char>(name[0])) == 0)
      continue;
    ++named;
    const auto test = name.substr(0, dot) + ", " + name.substr(dot + 1) + ")";
    EXPECT_TRUE(std::ranges::any_of(tree(),
                                    [&](const auto& file) {
                                      return file.folder() == "tests" && file.is_cpp() &&
                                             file.text.find(test) != std::string::npos;
                                    }))
        << "tests/README.md names " << name << ", which is no test";
  }
  EXPECT_GT(named, 20);
}

TEST(Tidy, EveryTestFolderIsBuilt) {
  // tests/CMakeLists.txt adds every folder that has a CMakeLists.txt.
  for (const auto& file : tree()) {
    if (file.folder() != "tests" || !file.ends_with("_test.cc")) continue;
    const auto list = file.path.substr(0, file.path.rfind('/') + 1) + "CMakeLists.txt";
    EXPECT_TRUE(std::ranges::any_of(tree(), [&](const auto& other) { return other.path == list; }))
        << file.path << " is in no build: there is no " << list;
  }
}

}  // namespace
}  // namespace landfall::tidy
