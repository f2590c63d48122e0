#include "tools/landfall/api_command.h"

#include <fstream>
#include <iostream>
#include <iterator>

#include <CLI/CLI.hpp>

#include "crdt/exact_json.h"
#include "crdt/json_text.h"
#include "edgeruntime/config.h"
#include "schemas/limits.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

// What a refusal says, in the node's words.
std::string detail_of(const ApiReply& reply) {
  const Json body = Json::parse(reply.body, nullptr, false);
  return body.is_object() ? body.value("detail", reply.body) : reply.body;
}

}  // namespace

std::shared_ptr<ApiTarget> add_target(CLI::App& command) {
  auto target = std::make_shared<ApiTarget>();
  command.add_option("--dir", target->dir, "The folder of a running node")->required();
  command.add_flag("--json", target->json, "Print the node's answer as JSON");
  command.add_option("--as", target->actor, "Who asks, as the log will say")->envname("USER");
  return target;
}

Result<Json> ask(const ApiTarget& target, ApiCall call) {
  call.actor = target.actor;
  const auto reply = call_api(NodePaths{target.dir}.socket(), call);
  if (!reply) return reply.error();
  Json body = read_exact(reply->body);
  if (reply->status < 300) return body;
  return Error{reply->status == 404 ? Code::not_found : Code::out_of_range, detail_of(*reply)};
}

int ask_and_print(const ApiTarget& target, ApiCall call, const std::function<void(const Json&)>& print) {
  const auto answer = ask(target, std::move(call));
  if (!answer) return fail(answer.error());
  if (target.json) {
    std::cout << write_exact(*answer) << "\n";
  } else {
    print(*answer);
  }
  return 0;
}

int ask_and_print(const ApiTarget& target, ApiCall call, const Json& body,
                  const std::function<void(const Json&)>& print) {
  try {
    (void)body.dump();
  } catch (const Json::exception&) {
    return fail({Code::out_of_range, "an argument is not UTF-8: set the terminal to it, or write \\u escapes in JSON"});
  }
  call.body = write_exact(body);
  return ask_and_print(target, std::move(call), print);
}

Result<Json> ask_all(const ApiTarget& target, const std::string& path, const char* what) {
  Json all = Json::array();
  const char* sign = path.find('?') == std::string::npos ? "?" : "&";
  for (std::string after;;) {
    ApiCall call;
    call.path = path + sign + "limit=1000" + (after.empty() ? "" : "&after=" + url_segment(after));
    const auto page = ask(target, std::move(call));
    if (!page) return page.error();
    for (const auto& item : page->at(what)) all.push_back(item);
    if (!page->contains("next")) return all;
    after = page->at("next").get<std::string>();
  }
}

int watch(const ApiTarget& target, const std::string& path) {
  ApiCall call;
  call.path = path;
  call.actor = target.actor;
  call.on_event = [](std::string_view event, std::string_view data) {
    if (event != "listening") std::cout << data << std::endl;
    return static_cast<bool>(std::cout);
  };
  const auto reply = call_api(NodePaths{target.dir}.socket(), call);
  if (!reply) return fail(reply.error());
  if (reply->status >= 300) return fail({Code::unavailable, detail_of(*reply)});
  return 0;
}

Result<Json> parse_value(const std::string& text) {
  if (json_nesting(text) > document_depth_max) {
    return Error{Code::out_of_range,
                 "the value is nested deeper than " + std::to_string(document_depth_max) + " levels"};
  }
  return read_exact(text);
}

Result<std::pair<std::string, Json>> parse_assignment(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    return Error{Code::out_of_range, "'" + text + "': expected name=value, for example opening=40"};
  const std::string value = text.substr(equals + 1);
  auto json = parse_value(value);
  if (!json) return Error{json.error()}.in(text.substr(0, equals));
  if (json->is_discarded()) *json = value;
  return std::pair{text.substr(0, equals), *std::move(json)};
}

std::string shown(const Json& value) { return value.is_string() ? value.get<std::string>() : write_exact(value); }

Result<std::string> read_input(const std::string& file) {
  if (file == "-") return std::string{std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream in(file, std::ios::binary);
  if (!in) return Error{Code::not_found, file + ": no such file, or not readable; \"-\" is standard input"};
  return std::string{std::istreambuf_iterator<char>(in), {}};
}

void print_done(const Json& written) {
  const auto dots = written.value("dots", Json::array());
  if (dots.empty()) {
    std::cerr << "Nothing to change: it is so already.\n";
  } else {
    std::cerr << "Written as " << shown(dots.back()) << "\n";
  }
}

}  // namespace landfall
