// landfall completion: a bash completion script, made from the list of commands itself.

#include <iostream>

#include <CLI/CLI.hpp>

#include "tools/landfall/commands.h"

namespace landfall {
namespace {

void print_cases(const CLI::App& app, const std::string& path) {
  std::string words;
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) words += sub->get_name() + " ";
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) words += "--" + name + " ";
  }
  std::cout << "    \"" << path << "\") words=\"" << words << "\" ;;\n";
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    print_cases(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name());
  }
}

}  // namespace

void add_completion(CLI::App& program, int& exit_code) {
  auto* command = program.add_subcommand("completion", "Prints a bash completion script.");
  command->footer("Example: landfall completion > ~/.local/share/bash-completion/completions/landfall");
  command->callback([&program, &exit_code] {
    std::cout << "_landfall() {\n"
                 "  local path='' words='' i\n"
                 "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
                 "    [[ ${COMP_WORDS[i]} == -* ]] && break\n"
                 "    path=\"${path:+$path }${COMP_WORDS[i]}\"\n"
                 "  done\n"
                 "  case \"$path\" in\n";
    print_cases(program, "");
    std::cout << "  esac\n"
                 "  case \"${COMP_WORDS[COMP_CWORD-1]}\" in\n"
                 "    --dir|--data) mapfile -t COMPREPLY < <(compgen -d -- \"${COMP_WORDS[COMP_CWORD]}\") ;;\n"
                 "    --invite|--out) mapfile -t COMPREPLY < <(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\") ;;\n"
                 "    *) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\") ;;\n"
                 "  esac\n"
                 "}\n"
                 "complete -F _landfall landfall\n";
    exit_code = 0;
  });
}

}  // namespace landfall
