// landfall edge init | enrol | run

#include <iostream>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "edgeruntime/http_api.h"
#include "edgeruntime/identity.h"
#include "edgeruntime/node.h"
#include "tools/landfall/commands.h"
#include "tools/landfall/run_node.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

struct EdgeArguments {
  std::string dir, invite;
  EdgeConfig config;
  bool no_mqtt = false, json = false;
};

Result<std::string> read_invite(const std::string& file) {
  auto text = read_public_file(file);
  if (!text && text.error().code == Code::not_found) {
    return Error{Code::not_found, text.error().detail + ": ask for an invite made by `landfall hub invite NAME`"};
  }
  return text;
}

int init(EdgeArguments arguments) {
  const NodePaths paths{arguments.dir};
  const auto text = read_invite(arguments.invite);
  if (!text) return fail(text.error());
  const auto address = invite_hub_address(*text);
  if (!address) return fail({address.error().code, arguments.invite + ": " + address.error().detail});
  arguments.config.hub_address = *address;
  arguments.config.mqtt.enabled = !arguments.no_mqtt;
  const auto node = init_edge(paths, arguments.config, *text, unix_ms_now());
  if (!node) return fail(node.error());
  if (arguments.json) {
    std::cout << nlohmann::ordered_json{{"dir", paths.dir.string()},
                                        {"config", paths.config().string()},
                                        {"node", to_string(*node)},
                                        {"hub", arguments.config.hub_address},
                                        {"mqtt_port", arguments.config.mqtt.port}}
              << "\n";
  } else {
    std::cerr << "Made an edge in " << paths.dir.string() << ": node " << to_string(*node)
              << ". Its settings: " << paths.config().string() << "\n"
              << "Next: landfall edge run --dir " << arguments.dir
              << "   (it enrols by itself when the hub can be reached)\n";
  }
  return 0;
}

int enrol(const EdgeArguments& arguments) {
  const NodePaths paths{arguments.dir};
  const auto text = read_invite(arguments.invite);
  if (!text) return fail(text.error());
  if (call_api(paths.socket(), "GET", "/healthz"))
    return fail({Code::conflict, arguments.dir + ": the edge runs: end it first, and start it again afterwards"});
  const auto node = enrol_again(paths, *text, unix_ms_now());
  if (!node) return fail(node.error());
  if (arguments.json) {
    std::cout << nlohmann::ordered_json{{"dir", paths.dir.string()}, {"node", to_string(*node)}} << "\n";
  } else {
    std::cerr << "Node " << to_string(*node) << " enrols again at its next start, with its key and its log.\n"
              << "Next: landfall edge run --dir " << arguments.dir << "\n";
  }
  return 0;
}

}  // namespace

void add_edge(CLI::App& program, int& exit_code) {
  auto* edge = program.add_subcommand("edge", "The edge aboard: make it from an invite, run it.");
  edge->require_subcommand(1);
  edge->footer("Example: landfall edge init --dir ~/edge --invite aurora.invite && landfall edge run --dir ~/edge");
  auto arguments = std::make_shared<EdgeArguments>();

  auto* init_command =
      edge->add_subcommand("init", "Makes an edge: its own key, the invite to use, commented configuration.");
  init_command->add_option("--dir", arguments->dir, "The edge's folder; made where missing")->required();
  init_command->add_option("--invite", arguments->invite, "File from `landfall hub invite`")->required();
  init_command->add_option("--name", arguments->config.name, "Name in logs and metrics")->capture_default_str();
  init_command->add_option("--mqtt-listen", arguments->config.mqtt.listen, "Address of the broker")
      ->capture_default_str();
  init_command->add_option("--mqtt-port", arguments->config.mqtt.port, "Port of the broker")->capture_default_str();
  init_command
      ->add_option("--websocket-port", arguments->config.mqtt.websocket_port,
                   "Port for MQTT over WebSocket, 0 for none")
      ->capture_default_str();
  init_command->add_option("--api", arguments->config.api.listen,
                           "Loopback address and port for the HTTP API; others need [api] tokens, in landfall.toml");
  init_command->add_flag("--no-mqtt", arguments->no_mqtt, "No broker: events over the HTTP API only");
  init_command->add_flag("--json", arguments->json, "Print a JSON object");
  init_command->footer("Example: landfall edge init --dir ~/edge --invite aurora.invite --name aurora");
  init_command->callback([arguments, &exit_code] { exit_code = init(*arguments); });

  auto* enrol_command = edge->add_subcommand(
      "enrol", "Has a stopped edge enrol again, before or after the end of its certificate: same key, same log.");
  enrol_command->add_option("--dir", arguments->dir, "The edge's folder")->required();
  enrol_command->add_option("--invite", arguments->invite, "File from `landfall hub invite`")->required();
  enrol_command->add_flag("--json", arguments->json, "Print a JSON object");
  enrol_command->footer("Example: landfall edge enrol --dir ~/edge --invite aurora-2.invite");
  enrol_command->callback([arguments, &exit_code] { exit_code = enrol(*arguments); });

  auto* run_command = edge->add_subcommand("run", "Runs the edge until SIGTERM.");
  run_command->add_option("--dir", arguments->dir, "The edge's folder")->required();
  run_command->footer("Example: landfall edge run --dir ~/edge");
  run_command->callback([arguments, &exit_code] { exit_code = run_command_line(arguments->dir, Role::edge); });
}

}  // namespace landfall
