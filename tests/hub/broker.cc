#include "tests/hub/broker.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <memory>

#include "schemas/check.h"

namespace landfall {
namespace {

std::filesystem::path new_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "landfall-hub-XXXXXX").string();
  LANDFALL_CHECK(mkdtemp(name.data()) != nullptr);
  return name;
}

std::string word_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string word;
  in >> word;
  return word;
}

std::unique_ptr<Broker>& shared_broker() {
  static std::unique_ptr<Broker> broker;
  return broker;
}

struct StopShared : testing::Environment {
  void TearDown() override { shared_broker().reset(); }
};
const auto* const stop_shared = testing::AddGlobalTestEnvironment(new StopShared);

}  // namespace

Broker::Broker(const std::string& extra) : dir_(new_folder()) {
  std::ofstream(dir_ / "extra.properties") << extra;
  restart();
}

Broker::~Broker() {
  const std::string command = "'" LANDFALL_BROKER "' stop --dir '" + dir_.string() + "'";
  if (std::system(command.c_str()) != 0) std::fprintf(stderr, "broker in %s did not stop\n", dir_.c_str());
  std::filesystem::remove_all(dir_);
}

void Broker::kill9() { LANDFALL_CHECK(::kill(static_cast<pid_t>(std::stol(word_of(dir_ / "pid"))), SIGKILL) == 0); }

void Broker::restart() {
  const std::string command =
      "'" LANDFALL_BROKER "' start --dir '" + dir_.string() + "' --owner " + std::to_string(getpid()) + " > /dev/null";
  // Whatever a test claims about a broker, it claims with one: no test is skipped for want of it.
  LANDFALL_CHECK(std::system(command.c_str()) == 0);
  bootstrap_ = word_of(dir_ / "bootstrap");
}

Broker& Broker::shared() {
  if (!shared_broker()) shared_broker() = std::make_unique<Broker>();
  return *shared_broker();
}

Scratch::Scratch() : path_(new_folder()) {}
Scratch::~Scratch() { std::filesystem::remove_all(path_); }

}  // namespace landfall
