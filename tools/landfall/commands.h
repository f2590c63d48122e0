#pragma once

#include <string_view>

namespace CLI {
class App;
}

namespace landfall {

// Each adds its command to the program, one .cc each. The chosen one's callback sets `exit_code`:
// 0 done, 1 it failed (stderr says why and what to do), 2 wrong usage, 75 storage failed (start again).
void add_hub(CLI::App& program, int& exit_code);
void add_edge(CLI::App& program, int& exit_code);
void add_status(CLI::App& program, int& exit_code);
void add_twin(CLI::App& program, int& exit_code);
void add_doc(CLI::App& program, int& exit_code);
void add_alarm(CLI::App& program, int& exit_code);
void add_command(CLI::App& program, int& exit_code);
void add_device(CLI::App& program, int& exit_code);
void add_link(CLI::App& program, int& exit_code);
void add_log(CLI::App& program, int& exit_code);
void add_check(CLI::App& program, int& exit_code);
void add_config(CLI::App& program, int& exit_code);
void add_bench(CLI::App& program, int& exit_code);
void add_voyage(CLI::App& program, int& exit_code);
void add_completion(CLI::App& program, int& exit_code);

}  // namespace landfall
