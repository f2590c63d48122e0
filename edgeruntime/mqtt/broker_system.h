#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "edgeruntime/mqtt/broker.h"

// What Broker needs of the system: the text of mosquitto.conf, ports, programs and processes.

namespace landfall {

struct BrokerPorts {
  std::uint16_t mqtt = 0, websocket = 0;  // 0: none
};
std::string broker_config(const BrokerOptions& options, const BrokerPorts& ports);

bool is_ip_address(const std::string& host);
// The port that could be bound, none where it is in use.
std::optional<std::uint16_t> try_bind(const std::string& host, std::uint16_t port);
// Somebody listens there.
bool answers(const std::string& host, std::uint16_t port);

// A process that was started with just these arguments, 0 if there is none. Not from a pid file: between the start of a
// broker and the writing of one, the edge may be killed.
int find_process(const std::vector<std::string>& arguments);
bool runs_with(int pid, const std::vector<std::string>& arguments);

// A name is looked up in PATH and the folders of system programs. Errors: `not_found`.
Result<std::filesystem::path> find_program(const std::string& name);

std::string read_text(const std::filesystem::path& file);  // empty where there is none

// Users of a file of mosquitto_passwd, who may use every topic. Errors: `not_found`, `out_of_range` naming the line.
Result<std::vector<ClientAccess>> read_password_file(const std::filesystem::path& file);

}  // namespace landfall
