// landfall device list | show | add | remove | import | export | hand-over | password

#include <iostream>

#include <CLI/CLI.hpp>

#include "crdt/exact_json.h"
#include "edgeruntime/identity.h"
#include "edgeruntime/mqtt/access.h"
#include "tools/landfall/api_command.h"
#include "tools/landfall/commands.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

struct Words {
  std::string device, node, description, model, protocol, certificate, file = "-";
  std::string format = "kubeedge-profile";
  std::vector<std::string> devices;
};

std::string path_of(const Words& words) { return "/v1/devices/" + url_segment(words.device); }

void print_device(const Json& device) {
  std::cout << device.value("device", "");
  for (const char* key : {"node", "protocol", "model", "description"}) {
    if (const auto text = device.value(key, ""); !text.empty()) std::cout << "  " << key << "=" << text;
  }
  std::cout << "\n";
}

int list(const ApiTarget& target) {
  const auto devices = ask_all(target, "/v1/devices", "devices");
  if (!devices) return fail(devices.error());
  if (target.json) return std::cout << write_exact(*devices) << "\n", 0;
  for (const auto& device : *devices) print_device(device);
  return 0;
}

int put(const ApiTarget& target, const Words& words) {
  Json body = Json::object();
  for (const auto& [key, value] : {std::pair{"node", &words.node},
                                   {"description", &words.description},
                                   {"model", &words.model},
                                   {"protocol", &words.protocol},
                                   {"certificate_subject", &words.certificate}}) {
    if (!value->empty()) body[key] = *value;
  }
  return ask_and_print(target, {"PUT", path_of(words)}, body, print_done);
}

int import(const ApiTarget& target, const Words& words) {
  const auto yaml = read_input(words.file);
  if (!yaml) return fail(yaml.error());
  ApiCall call{"POST", "/v1/devices", *yaml, "application/yaml"};
  return ask_and_print(target, std::move(call), [](const Json& answer) {
    for (const auto& name : answer.at("devices")) std::cout << shown(name) << "\n";
    for (const auto& warning : answer.at("warnings")) std::cerr << "landfall: " << shown(warning) << "\n";
  });
}

int export_devices(const ApiTarget& target, const Words& words) {
  std::string names;
  for (const auto& name : words.devices) names += (names.empty() ? "" : " ") + name;
  ApiCall call;
  call.path = "/v1/devices?format=" + url_segment(words.format);
  if (!names.empty()) call.path += "&devices=" + url_segment(names);
  if (!words.node.empty()) call.path += "&node=" + url_segment(words.node);
  const auto answer = ask(target, std::move(call));
  if (!answer) return fail(answer.error());
  for (const auto& warning : answer->at("warnings")) std::cerr << "landfall: " << shown(warning) << "\n";
  const std::string text = write_exact(target.json ? *answer : answer->at("profile")) + "\n";
  if (words.file == "-") return std::cout << text, 0;
  // Whole or not at all: a mapper may start meanwhile.
  const auto written = write_public_file(words.file, text);
  return written ? 0 : fail(written.error());
}

// The password comes by standard input, its hash goes to the node: neither stands in a process list or a log.
int set_password(const ApiTarget& target, const Words& words) {
  std::string password;
  std::getline(std::cin, password);
  if (password.size() < 12)
    return fail({Code::out_of_range, "a password of 12 characters or more is expected on standard input"});
  const Json body = {{"password_hash", make_password_hash(password, random_salt())}};
  return ask_and_print(target, {"PUT", path_of(words)}, body, print_done);
}

}  // namespace

void add_device(CLI::App& program, int& exit_code) {
  auto* noun = program.add_subcommand("device", "The registry of devices.");
  noun->require_subcommand(1);
  noun->footer("Example: landfall device import devices.yaml --dir ~/hub");
  const auto add = [&](const char* name, const char* about, const char* example, const auto& options, auto run) {
    auto* command = noun->add_subcommand(name, about);
    auto words = std::make_shared<Words>();
    options(*command, *words);
    auto target = add_target(*command);
    command->footer(std::string("Example: landfall device ") + name + " " + example + " --dir ~/hub");
    command->callback([target, words, run, &exit_code] { exit_code = run(*target, *words); });
  };
  const auto named = [](CLI::App& c, Words& w) { c.add_option("device", w.device)->required(); };
  add(
      "list", "Every device.", "", [](CLI::App&, Words&) {}, [](const auto& t, const auto&) { return list(t); });
  add("show", "One device.", "pump", named, [](const auto& t, const auto& w) {
    return ask_and_print(t, {"GET", path_of(w)}, print_device);
  });
  add(
      "add", "Registers a device, or changes what is named of it.", "pump --node ship1",
      [&](CLI::App& c, Words& w) {
        named(c, w);
        c.add_option("--node", w.node, "The edge that runs it, by name");
        c.add_option("--description", w.description);
        c.add_option("--model", w.model);
        c.add_option("--protocol", w.protocol);
        c.add_option("--certificate", w.certificate, "Common name of a client certificate that may speak for it");
      },
      put);
  add("remove", "Deletes what is seen here of a device and its twin.", "pump", named, [](const auto& t, const auto& w) {
    return ask_and_print(t, {"DELETE", path_of(w)}, print_done);
  });
  add(
      "import", "Takes KubeEdge's Device and DeviceModel objects (v1beta1).", "devices.yaml",
      [](CLI::App& c, Words& w) {
        c.add_option("file", w.file, "YAML or JSON; \"-\" is standard input")->capture_default_str();
      },
      import);
  add(
      "export", "The file from which KubeEdge's mappers up to 1.14 read their devices, with what is desired now.",
      "--node ship1 -o deviceProfile.json",
      [](CLI::App& c, Words& w) {
        c.add_option("device", w.devices, "These devices; none: an edge's own, all of a hub");
        c.add_option("--node", w.node, "Those registered for this edge, by name");
        c.add_option("--format", w.format, "kubeedge-profile")->capture_default_str();
        c.add_option("-o,--output", w.file, "File to write, whole or not at all; \"-\" is standard output")
            ->capture_default_str();
      },
      export_devices);
  add(
      "hand-over", "Gives a device to another node, whose reports then count.", "pump ship2",
      [&](CLI::App& c, Words& w) {
        named(c, w);
        c.add_option("node", w.node)->required();
      },
      [](const auto& t, const auto& w) {
        return ask_and_print(t, {"POST", path_of(w)}, Json{{"hand_over", {{"node", w.node}}}}, print_done);
      });
  add("password", "Sets the password with which the device connects to the broker, read from standard input.", "pump",
      named, set_password);
}

}  // namespace landfall
