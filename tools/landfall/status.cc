// landfall status

#include <cstdio>
#include <iostream>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "edgeruntime/config.h"
#include "edgeruntime/http_api.h"
#include "tools/landfall/commands.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

using Json = nlohmann::ordered_json;

void print_part(const char* name, const Json& part) {
  if (!part.is_object()) return;
  std::printf("%s:", name);
  for (const auto& [key, value] : part.items()) std::printf(" %s=%s", key.c_str(), value.dump().c_str());
  std::printf("\n");
}

void print_text(const Json& status) {
  std::printf("%s %s, node %s, %s\n", status["role"].get<std::string>().c_str(),
              status["name"].get<std::string>().c_str(), status["node"].get<std::string>().c_str(),
              status["software"].get<std::string>().c_str());
  std::printf("run %s, up %.0f s, %.1f MiB resident, %s\n", status["run"].get<std::string>().c_str(),
              status["uptime_s"].get<double>(), status["resident_bytes"].get<double>() / (1 << 20),
              status["healthy"].get<bool>() ? "healthy" : "NOT HEALTHY");
  for (const char* list : {"reasons", "warnings"}) {
    for (const auto& line : status.value(list, Json::array())) std::printf("  ! %s\n", line.get<std::string>().c_str());
  }
  const auto& link = status["link"];
  std::printf("link: %s, %llu bytes in, %llu bytes out%s\n",
              link["held"].get<bool>()        ? "held by the operator (landfall link release)"
              : link["connected"].get<bool>() ? "connected"
                                              : "none at present",
              link["bytes_in"].get<unsigned long long>(), link["bytes_out"].get<unsigned long long>(),
              link["failure"].is_null() ? "" : (": " + link["failure"].get<std::string>()).c_str());
  for (const auto& peer : status["peers"]) {
    // A peer known from the log of an earlier run has no name until it is met again.
    const auto& name = peer[peer["name"].get<std::string>().empty() ? "node" : "name"];
    std::printf("peer %s %s: %s%s, %llu events sent, %llu received\n", peer["role"].get<std::string>().c_str(),
                name.get<std::string>().c_str(), peer["connected"].get<bool>() ? "connected" : "away",
                peer["in_sync"].get<bool>() ? ", in sync" : "", peer["events_sent"].get<unsigned long long>(),
                peer["events_received"].get<unsigned long long>());
    for (const auto& stream : peer["diverged"])
      std::printf("  ! %s differs from this peer's, though both received the same\n",
                  stream.get<std::string>().c_str());
  }
  std::printf("%-10s %12s %12s %12s\n", "stream", "own", "of others", "backlog");
  for (const auto& [stream, counts] : status["streams"].items()) {
    std::printf("%-10s %12llu %12llu %12llu\n", stream.c_str(), counts["own"].get<unsigned long long>(),
                counts["foreign"].get<unsigned long long>(), counts["backlog"].get<unsigned long long>());
  }
  print_part("mqtt", status["mqtt"]);
  print_part("kafka", status["kafka"]);
}

int run(const std::string& dir, bool json) {
  const auto reply = call_api(NodePaths{dir}.socket(), "GET", "/v1/status");
  if (!reply) return fail(reply.error());
  if (reply->status != 200) return fail({Code::unavailable, "status: " + reply->body});
  if (json) {
    std::cout << reply->body << "\n";
    return 0;
  }
  try {
    print_text(Json::parse(reply->body));
  } catch (const Json::exception& error) {
    return fail(
        {Code::corrupt, std::string("the node's answer is of another version than this program: ") + error.what()});
  }
  return 0;
}

}  // namespace

void add_status(CLI::App& program, int& exit_code) {
  auto* command = program.add_subcommand("status", "Says how a running node is: link, peers, streams, broker, health.");
  auto dir = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("--dir", *dir, "The node's folder")->required();
  command->add_flag("--json", *json, "Print the JSON object of GET /v1/status");
  command->footer("Example: landfall status --dir ~/edge");
  command->callback([dir, json, &exit_code] { exit_code = run(*dir, *json); });
}

}  // namespace landfall
