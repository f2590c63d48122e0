// landfall config check

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

int check(const std::string& dir, bool json) {
  const auto file = NodePaths{dir}.config();
  std::vector<std::string> faults;
  const auto config = load_config(file, faults);
  if (!config && faults.empty()) faults.push_back(config.error().detail);
  if (config) {
    const auto& api = std::visit([](const auto& role) -> const ApiConfig& { return role.api; }, *config);
    const auto tokens = api.tokens.empty() ? Result<std::vector<ApiToken>>(std::vector<ApiToken>())
                                           : load_api_tokens(std::filesystem::path(dir) / api.tokens);
    if (!tokens) faults.push_back("[api] tokens: " + tokens.error().detail);
  }
  if (json) {
    std::cout << nlohmann::ordered_json{{"file", file.string()}, {"ok", faults.empty()}, {"faults", faults}} << "\n";
  } else if (faults.empty()) {
    std::cerr << file.string() << ": right\n";
  }
  for (const auto& fault : faults) std::cerr << "landfall: " << fault << "\n";
  return faults.empty() ? 0 : 1;
}

}  // namespace

void add_config(CLI::App& program, int& exit_code) {
  auto* config = program.add_subcommand("config", "The node's configuration file, landfall.toml.");
  config->require_subcommand(1);
  config->footer("Example: landfall config check --dir ~/edge");
  auto dir = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  auto* command = config->add_subcommand(
      "check", "Names every fault with its line and, for an unknown key, the nearest known one.");
  command->add_option("--dir", *dir, "The node's folder")->required();
  command->add_flag("--json", *json, "Print a JSON object");
  command->footer("Example: landfall config check --dir ~/edge");
  command->callback([dir, json, &exit_code] { exit_code = check(*dir, *json); });
}

}  // namespace landfall
