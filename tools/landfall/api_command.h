#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "edgeruntime/http_api.h"
#include "schemas/result.h"

namespace CLI {
class App;
}

namespace landfall {

// What the commands on a running node's state have in common: they ask its API over the unix socket.

using Json = nlohmann::json;

struct ApiTarget {
  std::string dir, actor;
  bool json = false;
};
// --dir, --json and --as of a command.
std::shared_ptr<ApiTarget> add_target(CLI::App& command);

// Errors: those of call_api; what the node refused, in its words.
Result<Json> ask(const ApiTarget& target, ApiCall call);
// ask(), and then the answer as JSON, or what `print` makes of it. Returns the exit status.
int ask_and_print(const ApiTarget& target, ApiCall call, const std::function<void(const Json&)>& print);
// The same with a body, whose texts the user gave: fails where one is not UTF-8.
int ask_and_print(const ApiTarget& target, ApiCall call, const Json& body,
                  const std::function<void(const Json&)>& print);
// Every page of a listing, one after the other.
Result<Json> ask_all(const ApiTarget& target, const std::string& path, const char* what);
// Server-sent events as lines of JSON, until the node or the user ends it.
int watch(const ApiTarget& target, const std::string& path);

// A value that the user gave, discarded where it is no JSON; numbers stay as they are written (crdt/exact_json.h). Errors:
// `out_of_range` for what is nested too deep.
Result<Json> parse_value(const std::string& text);
// "name=value": the value is JSON where it reads as JSON, else a text. Errors: `out_of_range`.
Result<std::pair<std::string, Json>> parse_assignment(const std::string& text);
// A JSON value on one line, a text without its quotes.
std::string shown(const Json& value);
// The file's bytes, "-" for standard input. Errors: `not_found`, `disk`.
Result<std::string> read_input(const std::string& file);
void print_done(const Json& written);

}  // namespace landfall
