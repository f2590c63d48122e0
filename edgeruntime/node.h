#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "edgeruntime/config.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// "landfall 0.1.0".
std::string_view software_name();

// The exit status of a process whose storage has failed for good (EX_TEMPFAIL): a supervisor starts it again, and the
// log's recovery decides what is true.
inline constexpr int exit_storage_failed = 75;

// ---- making a node. `unix_ms` is the time, for certificates. What fails leaves nothing behind. A folder with the keys of
// a node is never made another one, be its configuration file there or not.
// Errors: `conflict` where `paths.dir` is a node already, `disk`, `denied`, `out_of_range` for bad names.

// Makes the trust root, the hub's key and certificate, and the configuration file.
Status init_hub(const NodePaths& paths, const HubConfig& config, std::int64_t unix_ms);

// Makes the edge's key and keeps the invite until the hub has answered it. Returns who the edge is from now on.
Result<NodeId> init_edge(const NodePaths& paths, const EdgeConfig& config, std::string_view invite_text,
                         std::int64_t unix_ms);

// Has an edge that enrolled before do so again at its next start, with its key and so under its name, and with its log: its
// certificate is about to end or has ended. The edge must not run meanwhile. Errors: as init_edge; `not_found` where it
// has no key.
Result<NodeId> enrol_again(const NodePaths& paths, std::string_view invite_text, std::int64_t unix_ms);

// The text of an invite file, good once and for seven days; the hub may run meanwhile or not.
Result<std::string> make_hub_invite(const NodePaths& paths, std::string_view name, std::int64_t unix_ms);

// What an invite says, for init_edge's caller. Errors: `corrupt`.
Result<std::string> invite_hub_address(std::string_view invite_text);

// ---- running it

// Runs the node in `paths.dir` on this thread until SIGTERM or SIGINT, or until its storage fails. Returns the process's
// exit status. Log lines go to spdlog's default logger.
// Errors: what kept it from starting, each with the remedy: `conflict` (another process has the folder, port in use),
// `not_found`, `denied`, `disk`, `corrupt`, `out_of_range` (configuration), `unavailable`.
Result<int> run_node(const NodePaths& paths, const NodeConfig& config);

}  // namespace landfall
