// The landfall program: the list of its commands.

#include <iostream>

#include <CLI/CLI.hpp>

#include "edgeruntime/node.h"
#include "tools/landfall/commands.h"

int main(int argc, char** argv) {
  CLI::App program("Landfall: event logs aboard and ashore that meet when a link exists.");
  program.name("landfall");
  program.set_version_flag("--version", std::string(landfall::software_name()));
  program.require_subcommand(1);
  program.footer(
      "Exit status: 0 done, 1 failed (stderr says why and what to do), 2 wrong usage, 75 storage failed: start again.\n"
      "Example: landfall hub init --dir ~/hub && landfall hub run --dir ~/hub");
  int exit_code = 0;
  landfall::add_hub(program, exit_code);
  landfall::add_edge(program, exit_code);
  landfall::add_status(program, exit_code);
  landfall::add_link(program, exit_code);
  landfall::add_log(program, exit_code);
  landfall::add_check(program, exit_code);
  landfall::add_config(program, exit_code);
  landfall::add_bench(program, exit_code);
  landfall::add_voyage(program, exit_code);
  landfall::add_completion(program, exit_code);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version come as exceptions as well, with status 0.
    return program.exit(error, std::cout, std::cerr) == 0 ? 0 : 2;
  }
  return exit_code;
}
