// landfall link hold | release

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

int switch_link(const std::string& dir, bool hold, bool json) {
  const auto reply = call_api(NodePaths{dir}.socket(), "POST", hold ? "/v1/link/hold" : "/v1/link/release");
  if (!reply) return fail(reply.error());
  if (reply->status != 200) return fail({Code::unavailable, "link: " + reply->body});
  if (json) {
    std::cout << reply->body << "\n";
  } else {
    std::cerr << (hold ? "The link is held, over restarts too, until `landfall link release`.\n"
                       : "The link is released: the node dials or accepts again.\n");
  }
  return 0;
}

}  // namespace

void add_link(CLI::App& program, int& exit_code) {
  auto* link = program.add_subcommand("link", "The operator's switch for a running node's link.");
  link->require_subcommand(1);
  link->footer("Example: landfall link hold --dir ~/edge");
  auto dir = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  const auto add = [&](const char* name, const char* about, bool hold) {
    auto* command = link->add_subcommand(name, about);
    command->add_option("--dir", *dir, "The node's folder")->required();
    command->add_flag("--json", *json, "Print a JSON object");
    command->footer(std::string("Example: landfall link ") + name + " --dir ~/edge");
    command->callback([dir, json, hold, &exit_code] { exit_code = switch_link(*dir, hold, *json); });
  };
  add("hold", "Closes every link and neither dials nor accepts until released. Events go on into the log.", true);
  add("release", "Ends a hold.", false);
}

}  // namespace landfall
