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
  int exit_code = 0;
  landfall::add_hub(program, exit_code);
  landfall::add_edge(program, exit_code);
  landfall::add_status(program, exit_code);
  landfall::add_twin(program, exit_code);
  landfall::add_doc(program, exit_code);
  landfall::add_alarm(program, exit_code);
  landfall::add_command(program, exit_code);
  landfall::add_device(program, exit_code);
  landfall::add_link(program, exit_code);
  landfall::add_log(program, exit_code);
  landfall::add_check(program, exit_code);
  landfall::add_config(program, exit_code);
  landfall::add_bench(program, exit_code);
  landfall::add_voyage(program, exit_code);
  landfall::add_completion(program, exit_code);
  // Last, as commands begin with the footer that the program has when they are added.
  program.footer(
      "Exit status: 0 done, 1 failed (stderr says why and what to do), 2 wrong usage, 75 storage failed: start again.\n"
      "Example: landfall hub init --dir ~/hub && landfall hub run --dir ~/hub");
  try {
    program.parse(argc, argv);
  } catch (const CLI::RequiredError& error) {
    // CLI11 looks for the command that is missing before the word that is not one.
    const auto words = program.remaining(true);
    if (words.empty() || words.front().starts_with('-')) return program.exit(error, std::cout, std::cerr), 2;
    std::cerr << "landfall: '" << words.front() << "' is not a command here\nRun with --help for more information.\n";
    return 2;
  } catch (const CLI::ParseError& error) {
    // Help and version come as exceptions as well, with status 0.
    return program.exit(error, std::cout, std::cerr) == 0 ? 0 : 2;
  }
  return exit_code;
}
