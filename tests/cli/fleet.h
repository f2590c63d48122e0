#pragma once

#include <optional>
#include <string>

#include "tests/cli/program.h"

namespace landfall::cli {

// One hub on loopback, and edges that were invited to it.
struct Fleet {
  Folder folder;
  std::uint16_t hub_port = free_port();
  Running hub{"hub", folder / "hub"};

  Fleet();
  std::string hub_address() const { return "127.0.0.1:" + std::to_string(hub_port); }
  std::string dir(const std::string& name) const { return (folder / name).string(); }
  // An invite file for `name`.
  std::string invite(const std::string& name) const;
  // An edge folder, not started. `arguments` are further options of `edge init`.
  void init_edge(const std::string& name, const std::string& invite_file,
                 std::vector<std::string> arguments = {"--no-mqtt"}) const;
};

std::uint64_t count(const Json& status, const char* stream, const char* what);
bool committed(const Json& edge_status);  // connected, and the hub has everything

}  // namespace landfall::cli
