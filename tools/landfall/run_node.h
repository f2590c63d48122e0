#pragma once

#include <string>

namespace landfall {

enum class Role { hub, edge };

// Runs the node in `dir` on this thread, with log lines on stderr; refuses the other role's folder. Returns the exit status.
int run_command_line(const std::string& dir, Role role);

}  // namespace landfall
