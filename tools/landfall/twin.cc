// landfall twin list | show | set | unset | report | release | restore | define | tag | attribute | watch

#include <iostream>

#include <CLI/CLI.hpp>

#include "tools/landfall/api_command.h"
#include "tools/landfall/commands.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

std::string path_of(const std::string& device) { return "/v1/twins/" + url_segment(device); }

std::string setting(const Json& s) {
  std::string text = shown(s.at("value")) + "  (" + s.value("layer", "") + ", " + s.value("time", "");
  if (const auto actor = s.value("actor", ""); !actor.empty()) text += ", " + actor;
  if (const auto reason = s.value("reason", ""); !reason.empty()) text += ": " + reason;
  return text + ")";
}

void print_twin(const Json& twin, const std::string& dir) {
  std::cout << twin.at("device").get<std::string>() << (twin.value("registered", false) ? "" : "  (not registered)");
  if (const auto by = twin.find("described_by"); by != twin.end())
    std::cout << "  deleted, but described without seeing that by " << by->value("actor", "") << ", "
              << by->value("time", "");
  if (const auto state = twin.value("state", ""); !state.empty()) std::cout << "  " << state;
  for (const auto& tag : twin.value("tags", Json::array())) std::cout << "  #" << shown(tag);
  std::cout << "\n";
  for (const auto& [name, p] : twin.at("properties").items()) {
    std::cout << "  " << name << "  [" << p.value("policy", "") << "]"
              << (p.value("conflict", false) ? "  CONFLICT" : "") << "\n";
    if (p.contains("desired")) std::cout << "    desired   " << setting(p["desired"]) << "\n";
    for (const auto& other : p.value("others", Json::array()))
      std::cout << "    not taken " << setting(other) << "\n              take it: landfall twin restore "
                << twin.at("device").get<std::string>() << " " << name << " --dot " << other.value("dot", "")
                << " --dir " << dir << "\n";
    if (p.contains("reported"))
      std::cout << "    reported  " << shown(p["reported"].at("value")) << "  (" << p["reported"].value("status", "")
                << ", " << p["reported"].value("time", "") << ")" << (p.value("in_sync", true) ? "" : "  not in sync")
                << "\n";
  }
  const auto attributes = twin.value("attributes", Json::object());
  for (const auto& [name, value] : attributes.items()) std::cout << "  @" << name << " = " << shown(value) << "\n";
}

struct Words {
  std::string device, property, dot, reason, if_match;
  std::vector<std::string> items, removed;
  bool take_back = false;
};

int patch(const ApiTarget& target, const Words& words, Json body) {
  ApiCall call{"PATCH", path_of(words.device)};
  if (!words.if_match.empty()) call.if_match = words.if_match;
  if (!words.reason.empty()) body["reason"] = words.reason;
  if (words.take_back) body["take_back"] = true;
  return ask_and_print(target, std::move(call), body, print_done);
}

// `key` of the body as an object of name=value.
int patch_values(const ApiTarget& target, const Words& words, const char* key) {
  Json body = {{key, Json::object()}};
  for (const auto& item : words.items) {
    const auto assignment = parse_assignment(item);
    if (!assignment) return fail(assignment.error());
    body[key][assignment->first] = assignment->second;
  }
  return patch(target, words, std::move(body));
}

int unset(const ApiTarget& target, const Words& words) {
  Json body = {{"desired", Json::object()}};
  for (const auto& name : words.items) body["desired"][name] = nullptr;
  return patch(target, words, std::move(body));
}

int act(const ApiTarget& target, const Words& words, const char* action) {
  Json what = {{"property", words.property}};
  if (!words.dot.empty()) what["dot"] = words.dot;
  return ask_and_print(target, {"POST", path_of(words.device)}, Json{{action, what}}, print_done);
}

// Changes what is named and keeps the rest of the definition.
int define(const ApiTarget& target, const Words& words) {
  Json definition = Json::object();
  if (const auto now = ask(target, {"GET", path_of(words.device)})) {
    const auto& properties = now->at("properties");
    if (const auto known = properties.find(words.property); known != properties.end()) {
      for (const char* key :
           {"type", "policy", "history", "optional", "read_only", "unit", "minimum", "maximum", "description"}) {
        if (known->contains(key)) definition[key] = (*known)[key];
      }
    }
  }
  for (const auto& item : words.items) {
    const auto assignment = parse_assignment(item);
    if (!assignment) return fail(assignment.error());
    definition[assignment->first] = assignment->second;
  }
  return patch(target, words, {{"define", {{words.property, definition}}}});
}

int tag(const ApiTarget& target, const Words& words) {
  return patch(target, words, {{"add_tags", words.items}, {"remove_tags", words.removed}});
}

int list(const ApiTarget& target) {
  const auto names = ask_all(target, "/v1/twins", "twins");
  if (!names) return fail(names.error());
  if (target.json) return std::cout << names->dump() << "\n", 0;
  for (const auto& name : *names) std::cout << shown(name) << "\n";
  return 0;
}

}  // namespace

void add_twin(CLI::App& program, int& exit_code) {
  auto* twin = program.add_subcommand("twin", "What devices shall be and what they say they are.");
  twin->require_subcommand(1);
  twin->footer("Example: landfall twin set valve opening=40 --dir ~/edge --reason storm");
  const auto add = [&](const char* name, const char* about, const char* example, const auto& options, auto run) {
    auto* command = twin->add_subcommand(name, about);
    auto words = std::make_shared<Words>();
    options(*command, *words);
    auto target = add_target(*command);
    command->footer(std::string("Example: landfall twin ") + name + " " + example + " --dir ~/edge");
    command->callback([target, words, run, &exit_code] { exit_code = run(*target, *words); });
  };
  const auto none = [](CLI::App&, Words&) {};
  const auto device = [](CLI::App& c, Words& w) { c.add_option("device", w.device)->required(); };
  const auto items = [&](const char* what, const char* about) {
    return [=](CLI::App& c, Words& w) {
      device(c, w);
      c.add_option(what, w.items, about)->required();
    };
  };
  const auto desired = [&](const char* what, const char* about) {
    return [=](CLI::App& c, Words& w) {
      items(what, about)(c, w);
      c.add_option("--if-match", w.if_match, "Only if the twin still has this version");
      c.add_flag("--take-back", w.take_back, "Ashore: end the overrides that are seen here as well");
    };
  };
  const auto property = [&](CLI::App& c, Words& w) {
    device(c, w);
    c.add_option("property", w.property)->required();
    c.add_option("--dot", w.dot, "The one write that is meant; without: the newest");
  };
  add("list", "Devices that have a twin.", "", none, [](const auto& t, const auto&) { return list(t); });
  add("show", "A device's twin, with what was not taken.", "valve", device, [](const auto& t, const auto& w) {
    return ask_and_print(t, {"GET", path_of(w.device)}, [&](const Json& shown) { print_twin(shown, t.dir); });
  });
  add(
      "set", "Sets desired values: the cloud's ashore, an override aboard.", "valve opening=40",
      [&](CLI::App& c, Words& w) {
        desired("name=value", "Properties; a value is JSON, or else a text")(c, w);
        c.add_option("--reason", w.reason, "Why, for whoever reads it later");
      },
      [](const auto& t, const auto& w) { return patch_values(t, w, "desired"); });
  add("unset", "Deletes desired values of this node's layer.", "valve opening", desired("property", "Properties"),
      unset);
  add("report", "Says what a device is, in its place.", "valve opening=38", items("name=value", "Properties"),
      [](const auto& t, const auto& w) { return patch_values(t, w, "reported"); });
  add("release", "Ends an override.", "valve opening", property,
      [](const auto& t, const auto& w) { return act(t, w, "release"); });
  add("restore", "Makes a value that was not taken the desired one again.", "valve opening", property,
      [](const auto& t, const auto& w) { return act(t, w, "restore"); });
  add(
      "define", "Says what a property is: type, policy, unit, ...", "valve opening policy=edge-sticky type=int",
      [&](CLI::App& c, Words& w) {
        device(c, w);
        c.add_option("property", w.property)->required();
        c.add_option("name=value", w.items,
                     "type, policy, optional, read_only, unit, minimum, maximum, description; history=latest lets "
                     "reports go without their values where a newer one goes, too")
            ->required();
      },
      define);
  add(
      "tag", "Adds and removes tags.", "valve deck engine --remove spare",
      [&](CLI::App& c, Words& w) {
        device(c, w);
        c.add_option("tag", w.items, "Tags to add");
        c.add_option("--remove", w.removed, "Tags to remove");
      },
      tag);
  add("attribute", "Sets attributes of the device; null deletes one.", "valve maker=ACME",
      items("name=value", "Attributes"), [](const auto& t, const auto& w) { return patch_values(t, w, "attributes"); });
  add(
      "watch", "Prints the twin, and again at each change.", "valve",
      [](CLI::App& c, Words& w) { c.add_option("device", w.device, "Without: every device"); },
      [](const auto& t, const auto& w) {
        return watch(t, w.device.empty() ? std::string("/v1/twins") : path_of(w.device));
      });
}

}  // namespace landfall
