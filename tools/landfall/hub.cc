// landfall hub init | run | invite

#include <iostream>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "edgeruntime/identity.h"
#include "edgeruntime/node.h"
#include "tools/landfall/commands.h"
#include "tools/landfall/run_node.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

struct HubArguments {
  std::string dir, name, out;
  HubConfig config;
  bool json = false;
};

int init(const HubArguments& arguments) {
  const NodePaths paths{arguments.dir};
  if (const auto made = init_hub(paths, arguments.config, unix_ms_now()); !made) return fail(made.error());
  if (arguments.json) {
    std::cout << nlohmann::ordered_json{{"dir", paths.dir.string()},
                                        {"config", paths.config().string()},
                                        {"listen", arguments.config.listen},
                                        {"advertise", arguments.config.advertise},
                                        {"trust_domain", arguments.config.trust_domain}}
              << "\n";
  } else {
    std::cerr << "Made a hub in " << paths.dir.string() << ". Its settings: " << paths.config().string() << "\n"
              << "Next: landfall hub run --dir " << arguments.dir << "\n"
              << "      landfall hub invite NAME --dir " << arguments.dir
              << " --out NAME.invite   (once for each edge)\n";
  }
  return 0;
}

int invite(const HubArguments& arguments) {
  auto text = make_hub_invite({arguments.dir}, arguments.name, unix_ms_now());
  if (!text) return fail(text.error());
  if (arguments.out.empty()) {
    if (arguments.json) {
      std::cout << nlohmann::ordered_json{{"name", arguments.name}, {"invite", *text}} << "\n";
    } else {
      std::cout << *text;
    }
    return 0;
  }
  if (const auto written = write_secret_file(arguments.out, *text); !written) return fail(written.error());
  if (arguments.json) {
    std::cout << nlohmann::ordered_json{{"name", arguments.name}, {"file", arguments.out}} << "\n";
  } else {
    std::cerr << "Wrote " << arguments.out
              << ": good once, for seven days. Whoever has it can join: carry it like a key.\n"
              << "Next, aboard: landfall edge init --dir DIR --invite " << arguments.out << "\n";
  }
  return 0;
}

}  // namespace

void add_hub(CLI::App& program, int& exit_code) {
  auto* hub = program.add_subcommand("hub", "The hub ashore: make it, run it, invite edges.");
  hub->require_subcommand(1);
  hub->footer("Example: landfall hub init --dir ~/hub && landfall hub run --dir ~/hub");
  auto arguments = std::make_shared<HubArguments>();

  auto* init_command =
      hub->add_subcommand("init", "Makes a hub: trust root, key, certificate and commented configuration.");
  init_command->add_option("--dir", arguments->dir, "The hub's folder; made where missing")->required();
  init_command->add_option("--name", arguments->config.name, "Name in logs and metrics")->capture_default_str();
  init_command->add_option("--listen", arguments->config.listen, "Address and port for edges")->capture_default_str();
  init_command->add_option("--advertise", arguments->config.advertise, "Host and port that edges dial")
      ->capture_default_str();
  init_command
      ->add_option("--trust-domain", arguments->config.trust_domain, "First part of every identity, fixed from then on")
      ->capture_default_str();
  init_command->add_option("--api", arguments->config.api.listen,
                           "Loopback address and port for the HTTP API; others need [api] tokens, in landfall.toml");
  init_command->add_option("--kafka", arguments->config.kafka.bootstrap, "Kafka brokers, host:port,host:port");
  init_command->add_flag("--json", arguments->json, "Print a JSON object");
  init_command->footer("Example: landfall hub init --dir ~/hub --advertise hub.example.org:7443");
  init_command->callback([arguments, &exit_code] { exit_code = init(*arguments); });

  auto* run_command = hub->add_subcommand("run", "Runs the hub until SIGTERM.");
  run_command->add_option("--dir", arguments->dir, "The hub's folder")->required();
  run_command->footer("Example: landfall hub run --dir ~/hub");
  run_command->callback([arguments, &exit_code] { exit_code = run_command_line(arguments->dir, Role::hub); });

  auto* invite_command =
      hub->add_subcommand("invite", "Makes an invite for one edge: address, trust root, one-time credential.");
  invite_command->add_option("NAME", arguments->name, "What the invited edge is called")->required();
  invite_command->add_option("--dir", arguments->dir, "The hub's folder")->required();
  invite_command->add_option("--out", arguments->out,
                             "File to write (mode 0600); without it the invite goes to stdout");
  invite_command->add_flag("--json", arguments->json, "Print a JSON object");
  invite_command->footer("Example: landfall hub invite aurora --dir ~/hub --out aurora.invite");
  invite_command->callback([arguments, &exit_code] { exit_code = invite(*arguments); });
}

}  // namespace landfall
