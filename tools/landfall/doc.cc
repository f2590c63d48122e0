// landfall doc list | show | put | patch | delete | annotate | settle | watch

#include <iostream>

#include <CLI/CLI.hpp>

#include "crdt/exact_json.h"
#include "tools/landfall/api_command.h"
#include "tools/landfall/commands.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

struct Words {
  std::string name, file = "-", path, annotation, dot, if_match;
};

std::string path_of(std::string_view name) {
  std::string path = "/v1/documents/";
  for (const char c : name) path += c == '/' ? "/" : url_segment(std::string_view(&c, 1));
  return path;
}

int write(const ApiTarget& target, const Words& words, const char* method) {
  ApiCall call{method, path_of(words.name), {}};
  if (std::string_view(method) != "DELETE") {
    const auto body = read_input(words.file);
    if (!body) return fail(body.error());
    call.body = *body;
  }
  if (!words.if_match.empty()) call.if_match = words.if_match;
  return ask_and_print(target, std::move(call), print_done);
}

int list(const ApiTarget& target, const Words& words) {
  const auto names = ask_all(target, "/v1/documents?prefix=" + url_segment(words.name), "documents");
  if (!names) return fail(names.error());
  if (target.json) return std::cout << names->dump() << "\n", 0;
  for (const auto& name : *names) std::cout << shown(name) << "\n";
  return 0;
}

void print(const Json& answer, const std::string& dir) {
  std::cout << write_exact(answer.at("document"), 2) << "\n";
  for (const auto& conflict : answer.value("conflicts", Json::array()))
    std::cerr << "Not shown, written at the same time: " << write_exact(conflict) << "\n  take it: landfall doc settle "
              << answer.value("name", "") << " " << conflict.value("path", "") << " --dot " << conflict.value("dot", "")
              << " --dir " << dir << "\n";
}

}  // namespace

void add_doc(CLI::App& program, int& exit_code) {
  auto* doc = program.add_subcommand("doc", "JSON documents that every node may edit, link or not.");
  doc->require_subcommand(1);
  doc->footer("Example: echo '{\"berth\":4}' | landfall doc patch port/plan --dir ~/edge");
  const auto add = [&](const char* name, const char* about, const char* example, const auto& options, auto run) {
    auto* command = doc->add_subcommand(name, about);
    auto words = std::make_shared<Words>();
    options(*command, *words);
    auto target = add_target(*command);
    command->footer(std::string("Example: landfall doc ") + name + " " + example + " --dir ~/edge");
    command->callback([target, words, run, &exit_code] { exit_code = run(*target, *words); });
  };
  const auto named = [](CLI::App& c, Words& w) { c.add_option("name", w.name)->required(); };
  const auto changed = [&](CLI::App& c, Words& w) {
    named(c, w);
    c.add_option("--if-match", w.if_match, "Only if the document still has this version");
  };
  const auto from_file = [&](CLI::App& c, Words& w) {
    changed(c, w);
    c.add_option("file", w.file, "JSON; \"-\" is standard input")->capture_default_str();
  };
  const auto prefix = [](CLI::App& c, Words& w) { c.add_option("prefix", w.name, "Names that begin so"); };
  add("list", "Names of documents.", "port/", prefix, list);
  add("show", "A document, and what was written at the same time and is not shown.", "port/plan", named,
      [](const auto& t, const auto& w) {
        return ask_and_print(t, {"GET", path_of(w.name)}, [&](const Json& shown) { print(shown, t.dir); });
      });
  add("put", "Replaces a whole document.", "port/plan plan.json", from_file,
      [](const auto& t, const auto& w) { return write(t, w, "PUT"); });
  add("patch", "Changes what is named, null deletes (RFC 7396).", "port/plan change.json", from_file,
      [](const auto& t, const auto& w) { return write(t, w, "PATCH"); });
  add("delete", "Deletes what is seen here of a document.", "port/plan", changed,
      [](const auto& t, const auto& w) { return write(t, w, "DELETE"); });
  add(
      "annotate", "Says how a subtree merges: atomic, fields, set, counter, min, max.", "port/plan /crew set",
      [&](CLI::App& c, Words& w) {
        named(c, w);
        c.add_option("path", w.path, "JSON pointer")->required();
        c.add_option("annotation", w.annotation)->required();
      },
      [](const auto& t, const auto& w) {
        const Json body = {{"annotate", {{"path", w.path}, {"annotation", w.annotation}}}};
        return ask_and_print(t, {"POST", path_of(w.name)}, body, print_done);
      });
  add(
      "settle", "Ends a conflict: for what is shown, or for the write that is named.", "port/plan /berth",
      [&](CLI::App& c, Words& w) {
        named(c, w);
        c.add_option("path", w.path, "JSON pointer, as `doc show` names it")->required();
        c.add_option("--dot", w.dot, "The write that shall stand; without: what is shown");
      },
      [](const auto& t, const auto& w) {
        Json what = {{"path", w.path}};
        if (!w.dot.empty()) what["dot"] = w.dot;
        return ask_and_print(t, {"POST", path_of(w.name)}, Json{{"settle", what}}, print_done);
      });
  add(
      "watch", "Prints the document, and again at each change.", "port/plan",
      [](CLI::App& c, Words& w) { c.add_option("name", w.name, "Without: every document"); },
      [](const auto& t, const auto& w) {
        return watch(t, w.name.empty() ? std::string("/v1/documents") : path_of(w.name));
      });
}

}  // namespace landfall
