#include "tools/landfall/run_node.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "edgeruntime/node.h"
#include "tools/landfall/talk.h"

namespace landfall {

int run_command_line(const std::string& dir, Role role) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("landfall"));
  spdlog::set_pattern("time=%Y-%m-%dT%H:%M:%S.%eZ level=%l %v", spdlog::pattern_time_type::utc);
  spdlog::flush_on(spdlog::level::info);
  const NodePaths paths{dir};
  const auto config = load_config(paths.config());
  if (!config) return fail(config.error());
  if (std::holds_alternative<HubConfig>(*config) != (role == Role::hub)) {
    const std::string is = role == Role::hub ? "an edge" : "a hub";
    return fail({Code::conflict, dir + " is " + is + ": run it with `landfall " + (role == Role::hub ? "edge" : "hub") +
                                     " run --dir " + dir + "`"});
  }
  const auto status = run_node(paths, *config);
  return status ? *status : fail(status.error());
}

}  // namespace landfall
