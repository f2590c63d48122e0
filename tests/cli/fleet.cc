#include "tests/cli/fleet.h"

#include <gtest/gtest.h>

namespace landfall::cli {

Fleet::Fleet() {
  const auto made =
      landfall({"hub", "init", "--dir", dir("hub"), "--listen", hub_address(), "--advertise", hub_address()});
  EXPECT_EQ(made.exit_code, 0) << made.err;
}

std::string Fleet::invite(const std::string& name) const {
  const auto file = dir(name + ".invite");
  const auto made = landfall({"hub", "invite", name, "--dir", dir("hub"), "--out", file});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  return file;
}

void Fleet::init_edge(const std::string& name, const std::string& invite_file,
                      std::vector<std::string> arguments) const {
  std::vector<std::string> all = {"edge", "init", "--dir", dir(name), "--invite", invite_file, "--name", name};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const auto made = landfall(all);
  EXPECT_EQ(made.exit_code, 0) << made.err;
}

std::uint64_t count(const Json& status, const char* stream, const char* what) {
  return status["streams"][stream][what].get<std::uint64_t>();
}

bool committed(const Json& edge_status) {
  return edge_status["link"]["connected"].get<bool>() && edge_status["log"]["backlog"].get<std::uint64_t>() == 0;
}

}  // namespace landfall::cli
