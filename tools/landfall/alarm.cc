// landfall alarm list | show | raise | clear | ack | shelve | unshelve | watch

#include <iostream>

#include <CLI/CLI.hpp>

#include "tools/landfall/api_command.h"
#include "tools/landfall/commands.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

struct Words {
  std::string device, name, severity = "major", text, occurrence;
  bool all = false;
  std::uint64_t minutes = 60;
};

std::string path_of(const Words& words) {
  return "/v1/alarms/" + url_segment(words.device) + "/" + url_segment(words.name);
}

void print_alarm(const Json& alarm) {
  std::cout << alarm.value("severity", "") << "  " << alarm.value("device", "") << "/" << alarm.value("name", "")
            << (alarm.value("active", false) ? "  active" : "  over")
            << (alarm.value("acknowledged", false) ? "" : ", not acknowledged")
            << (alarm.value("shelved", false) ? ", shelved" : "");
  if (const auto text = alarm.value("text", ""); !text.empty()) std::cout << "  \"" << text << "\"";
  std::cout << "\n";
}

int list(const ApiTarget& target, const Words& words) {
  std::string path = "/v1/alarms?device=" + url_segment(words.device);
  if (words.all) path += "&all=1";
  const auto alarms = ask_all(target, path, "alarms");
  if (!alarms) return fail(alarms.error());
  if (target.json) return std::cout << alarms->dump() << "\n", 0;
  for (const auto& alarm : *alarms) print_alarm(alarm);
  return 0;
}

int act(const ApiTarget& target, const Words& words, const char* action, Json what) {
  return ask_and_print(target, {"POST", path_of(words)}, Json{{action, std::move(what)}}, print_done);
}

}  // namespace

void add_alarm(CLI::App& program, int& exit_code) {
  auto* alarm = program.add_subcommand("alarm", "Alarms: raised aboard, acknowledged from either side.");
  alarm->require_subcommand(1);
  alarm->footer("Example: landfall alarm ack pump bilge --dir ~/hub");
  const auto add = [&](const char* name, const char* about, const char* example, const auto& options, auto run) {
    auto* command = alarm->add_subcommand(name, about);
    auto words = std::make_shared<Words>();
    options(*command, *words);
    auto target = add_target(*command);
    command->footer(std::string("Example: landfall alarm ") + name + " " + example + " --dir ~/hub");
    command->callback([target, words, run, &exit_code] { exit_code = run(*target, *words); });
  };
  const auto named = [](CLI::App& c, Words& w) {
    c.add_option("device", w.device)->required();
    c.add_option("alarm", w.name)->required()->check([](const std::string& name) {
      return name.find('/') == std::string::npos ? std::string() : "'" + name + "': an alarm's name has no '/'";
    });
  };
  add(
      "list", "Alarms that are active or not acknowledged.", "",
      [](CLI::App& c, Words& w) {
        c.add_option("device", w.device, "Devices whose names begin so");
        c.add_flag("--all", w.all, "Those that are over and acknowledged as well");
      },
      list);
  add("show", "One alarm with its occurrences.", "pump bilge", named, [](const auto& t, const auto& w) {
    return ask_and_print(t, {"GET", path_of(w)}, [](const Json& shown) {
      print_alarm(shown);
      std::cout << shown.value("occurrences", Json::array()).dump(2) << "\n";
    });
  });
  add(
      "raise", "Raises it, or brings its text up to date while it is active.", "pump bilge --text 'water in the bilge'",
      [&](CLI::App& c, Words& w) {
        named(c, w);
        c.add_option("--severity", w.severity, "critical, major, minor or warning")->capture_default_str();
        c.add_option("--text", w.text);
      },
      [](const auto& t, const auto& w) {
        return act(t, w, "raise", {{"severity", w.severity}, {"text", w.text}});
      });
  add("clear", "Says that it is over.", "pump bilge", named,
      [](const auto& t, const auto& w) { return act(t, w, "clear", Json::object()); });
  add(
      "ack", "Acknowledges what is seen here; a raise that is not seen yet stays.", "pump bilge",
      [&](CLI::App& c, Words& w) {
        named(c, w);
        c.add_option("--occurrence", w.occurrence, "The dot of one raise");
      },
      [](const auto& t, const auto& w) {
        Json what = Json::object();
        if (!w.occurrence.empty()) what["occurrence"] = w.occurrence;
        return act(t, w, "acknowledge", what);
      });
  add(
      "shelve", "Puts it aside for a while.", "pump bilge --minutes 30",
      [&](CLI::App& c, Words& w) {
        named(c, w);
        c.add_option("--minutes", w.minutes)->capture_default_str()->check(CLI::Range(1, 525600));
      },
      [](const auto& t, const auto& w) {
        return act(t, w, "shelve", {{"until_unix_ms", unix_ms_now() + static_cast<std::int64_t>(w.minutes) * 60'000}});
      });
  add("unshelve", "Ends a shelve.", "pump bilge", named,
      [](const auto& t, const auto& w) { return act(t, w, "unshelve", Json::object()); });
  add(
      "watch", "Prints each alarm that changes.", "", [](CLI::App&, Words&) {},
      [](const auto& t, const auto&) { return watch(t, "/v1/alarms"); });
}

}  // namespace landfall
