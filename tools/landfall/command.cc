// landfall command issue | list | show | cancel | complete

#include <iostream>

#include <CLI/CLI.hpp>

#include "crdt/exact_json.h"
#include "tools/landfall/api_command.h"
#include "tools/landfall/commands.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

struct Words {
  std::string device, name, arguments = "{}", id, result = "null";
  std::uint64_t minutes = 1440;
  bool open = false, failed = false;
};

void print_command(const Json& command) {
  std::cout << command.value("id", "") << "  " << command.value("device", "") << " " << command.value("name", "") << " "
            << write_exact(command.value("arguments", Json::object())) << "  " << command.value("state", "");
  if (command.contains("result")) std::cout << "  " << shown(command["result"]);
  std::cout << "\n";
}

int issue(const ApiTarget& target, const Words& words) {
  auto arguments = parse_value(words.arguments);
  if (!arguments) return fail(arguments.error());
  if (arguments->is_discarded()) return fail({Code::out_of_range, "arguments: not JSON: " + words.arguments});
  Json body = {{"device", words.device},
               {"name", words.name},
               {"arguments", *std::move(arguments)},
               {"valid_seconds", words.minutes * 60}};
  if (!words.id.empty()) body["id"] = words.id;
  return ask_and_print(target, {"POST", "/v1/commands"}, body, print_command);
}

int list(const ApiTarget& target, const Words& words) {
  const auto commands =
      ask_all(target, "/v1/commands?device=" + url_segment(words.device) + (words.open ? "&open=1" : ""), "commands");
  if (!commands) return fail(commands.error());
  if (target.json) return std::cout << write_exact(*commands) << "\n", 0;
  for (const auto& command : *commands) print_command(command);
  return 0;
}

int complete(const ApiTarget& target, const Words& words) {
  auto result = parse_value(words.result);
  if (!result) return fail(result.error());
  if (result->is_discarded()) *result = words.result;
  const Json body = {{"succeeded", !words.failed}, {"result", *std::move(result)}};
  return ask_and_print(target, {"POST", "/v1/commands/" + url_segment(words.id)}, body, print_done);
}

}  // namespace

void add_command(CLI::App& program, int& exit_code) {
  auto* noun = program.add_subcommand("command", "Commands to devices: each has one effect at most, or expires.");
  noun->require_subcommand(1);
  noun->footer("Example: landfall command issue pump start '{\"rpm\":900}' --minutes 30 --dir ~/hub");
  const auto add = [&](const char* name, const char* about, const char* example, const auto& options, auto run) {
    auto* command = noun->add_subcommand(name, about);
    auto words = std::make_shared<Words>();
    options(*command, *words);
    auto target = add_target(*command);
    command->footer(std::string("Example: landfall command ") + name + " " + example + " --dir ~/hub");
    command->callback([target, words, run, &exit_code] { exit_code = run(*target, *words); });
  };
  const auto identified = [](CLI::App& c, Words& w) { c.add_option("id", w.id)->required(); };
  add(
      "issue", "Issues a command; the node that runs the device sends it when it hears of it.", "pump start",
      [](CLI::App& c, Words& w) {
        c.add_option("device", w.device)->required();
        c.add_option("name", w.name)->required();
        c.add_option("arguments", w.arguments, "JSON")->capture_default_str();
        c.add_option("--minutes", w.minutes, "How long it is good")
            ->capture_default_str()
            ->check(CLI::Range(1, 527040));
        c.add_option("--id", w.id, "A name of your own: the same again is the same command");
      },
      issue);
  add(
      "list", "Commands and what became of them.", "--open",
      [](CLI::App& c, Words& w) {
        c.add_option("device", w.device, "Of this device");
        c.add_flag("--open", w.open, "Only those that have not ended");
      },
      list);
  add("show", "One command.", "7d0c...", identified, [](const auto& t, const auto& w) {
    return ask_and_print(t, {"GET", "/v1/commands/" + url_segment(w.id)}, print_command);
  });
  add("cancel", "Takes a command back that has not been sent.", "7d0c...", identified,
      [](const auto& t, const auto& w) {
        return ask_and_print(t, {"DELETE", "/v1/commands/" + url_segment(w.id)}, print_done);
      });
  add(
      "complete", "Says what became of a command, in the device's place.", "7d0c... '\"done\"'",
      [&](CLI::App& c, Words& w) {
        identified(c, w);
        c.add_option("result", w.result, "JSON")->capture_default_str();
        c.add_flag("--failed", w.failed);
      },
      complete);
}

}  // namespace landfall
