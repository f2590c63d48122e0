#include "edgeruntime/state_api.h"

#include <algorithm>
#include <charconv>

#include "crdt/exact_json.h"
#include "crdt/json_text.h"
#include "edgeruntime/state_json.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

constexpr std::size_t page_max = 1000;
constexpr std::string_view nouns[] = {"twins", "documents", "alarms", "commands", "devices"};

// "/v1/twins/a/b" is twins and "a/b".
std::optional<std::pair<std::size_t, std::string>> noun_of(std::string_view path) {
  if (!path.starts_with("/v1/")) return std::nullopt;
  path.remove_prefix(4);
  const auto slash = path.find('/');
  const auto found = std::ranges::find(nouns, path.substr(0, slash));
  if (found == std::end(nouns)) return std::nullopt;
  return std::pair{static_cast<std::size_t>(found - nouns),
                   slash == std::string_view::npos ? std::string() : std::string(path.substr(slash + 1))};
}

// Of all objects of a noun, and of one of them.
struct Methods {
  std::string_view all, one;
};
constexpr Methods methods[] = {{"GET", "GET, PATCH, POST, PUT"},
                               {"GET", "DELETE, GET, PATCH, POST, PUT"},
                               {"GET", "GET, POST"},
                               {"GET, POST", "DELETE, GET, POST"},
                               {"GET, POST", "DELETE, GET, POST, PUT"}};

std::string words_of(std::initializer_list<std::string_view> known) {
  std::string names;
  for (const auto& name : known) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

// Writes that can be held against a version. Elsewhere If-Match is refused, as it would not be kept.
bool takes_if_match(StateApi::Noun noun, std::string_view method) {
  switch (noun) {
    case StateApi::Noun::twins:
    case StateApi::Noun::devices: return method == "PUT" || method == "PATCH";
    case StateApi::Noun::documents: return method != "POST";
    default: return false;
  }
}

}  // namespace

ApiReply problem_of(const Error& error) {
  switch (error.code) {
    case Code::not_found: return problem(404, "Not found", error.detail);
    case Code::out_of_range: return problem(400, "Out of range", error.detail);
    case Code::conflict: return problem(409, "Conflict", error.detail);
    case Code::denied: return problem(403, "Denied", error.detail);
    case Code::unavailable: return problem(503, "Unavailable", error.detail);
    case Code::disk: return problem(507, "Storage failed", error.detail);
    case Code::corrupt: return problem(500, "Corrupt", error.detail);
  }
  return problem(500, "Error", error.detail);
}

std::string json_text(const Json& value) { return write_exact(value); }

Status known_members(const Json& object, const char* what, std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return Error{Code::out_of_range, std::string(what) + ": a JSON object is expected"};
  for (const auto& [key, value] : object.items()) {
    if (std::ranges::find(known, key) == known.end())
      return Error{Code::out_of_range, "unknown key '" + key + "': " + what + " takes " + words_of(known)};
  }
  return ok();
}

Result<Json> parse_body(const std::string& body, std::initializer_list<std::string_view> known) {
  // What is in it has bounds of its own.
  constexpr std::size_t depth_max = 2 * document_depth_max;
  if (json_nesting(body) > depth_max)
    return Error{Code::out_of_range, "the body is nested deeper than " + std::to_string(depth_max) + " levels"};
  Json parsed = read_exact(body);
  if (!parsed.is_object()) return Error{Code::out_of_range, "the body must be a JSON object"};
  LANDFALL_TRY(known_members(parsed, "this", known));
  return parsed;
}

Result<bool> flag_member(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return false;
  if (!found->is_boolean()) return Error{Code::out_of_range, std::string(key) + ": true or false is expected"};
  return found->get<bool>();
}

Result<std::string> text_member(const Json& object, const char* key, std::string otherwise) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if (!found->is_string()) return Error{Code::out_of_range, std::string(key) + ": a text is expected"};
  return found->get<std::string>();
}

OnWritten answer_written(HttpApi::Reply reply, bool conditional) {
  return [reply = std::move(reply), conditional](const Result<Written>& written) {
    if (!written) {
      auto answer = problem_of(written.error());
      if (conditional && written.error().code == Code::conflict)
        answer = problem(412, "Precondition failed", written.error().detail);
      return reply(std::move(answer));
    }
    Json body = {{"version", written->version}, {"dots", Json::array()}};
    for (const Dot& dot : written->dots) body["dots"].push_back(to_string(dot));
    ApiReply answer{200, json_text(body)};
    answer.etag = written->version;
    reply(std::move(answer));
  };
}

Status known_query(const ApiRequest& request, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : request.query) {
    if (std::ranges::find(known, key) != known.end()) continue;
    return Error{Code::out_of_range, "unknown parameter '" + key + "': this takes " + words_of(known)};
  }
  return ok();
}

Result<Page> page_of(const ApiRequest& request) {
  Page page;
  if (const auto after = request.query.find("after"); after != request.query.end()) page.after = after->second;
  if (const auto limit = request.query.find("limit"); limit != request.query.end()) {
    const auto& text = limit->second;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), page.limit);
    if (error != std::errc() || rest != text.data() + text.size() || page.limit == 0 || page.limit > page_max)
      return Error{Code::out_of_range, "limit: a number from 1 to " + std::to_string(page_max)};
  }
  return page;
}

ApiReply listing(const char* what, Json items, const Page& page, const std::string& last) {
  const bool full = items.size() >= page.limit;
  Json body = {{what, std::move(items)}};
  if (full) body["next"] = last;
  return {200, json_text(body)};
}

ApiReply not_a_method(const ApiRequest& request, std::string_view allowed) {
  const std::string methods_taken(allowed);
  auto reply = problem(405, "Method not allowed",
                       request.path + " does not take " + request.method + ": it takes " + methods_taken);
  reply.headers["Allow"] = methods_taken;
  return reply;
}

StateApi::StateApi(Parts parts) : parts_(parts) {
  parts_.twins.watch([this](const std::string& device, Stream) { changed(Noun::twins, device); });
  parts_.devices.watch([this](const std::string& device, bool) { changed(Noun::devices, device); });
  parts_.documents.watch([this](const std::string& name) { changed(Noun::documents, name); });
  parts_.alarms.watch(
      [this](const std::string& device, const std::string& name) { changed(Noun::alarms, device + "/" + name); });
  parts_.commands.watch([this](const std::string& id) { changed(Noun::commands, id); });
}

StateApi::~StateApi() {
  for (auto& listener : listeners_) listener.stream.end();
}

bool StateApi::handles(std::string_view path) { return noun_of(path).has_value(); }

void StateApi::answer(const ApiRequest& request, HttpApi::Reply reply) {
  auto at = noun_of(request.path);
  const Asked asked{request, static_cast<Noun>(at->first), std::move(at->second)};
  const auto& taken = methods[static_cast<std::size_t>(asked.noun)];
  const auto allowed = asked.name.empty() ? taken.all : taken.one;
  if (allowed.find(request.method) == std::string_view::npos) return reply(not_a_method(request, allowed));
  if (request.if_match && request.method != "GET" && !takes_if_match(asked.noun, request.method))
    return reply(problem(400, "Bad request", "If-Match is not taken with " + request.method + " " + request.path));
  if (request.method == "GET" && request.wants_events) return listen(asked, std::move(reply));
  if (request.method == "GET" && !asked.name.empty()) return answer_show(asked, std::move(reply));
  switch (asked.noun) {
    case Noun::twins: return twins(asked, std::move(reply));
    case Noun::documents: return documents(asked, std::move(reply));
    case Noun::alarms: return alarms(asked, std::move(reply));
    case Noun::commands: return commands(asked, std::move(reply));
    case Noun::devices: return devices(asked, std::move(reply));
  }
}

void StateApi::answer_show(const Asked& asked, HttpApi::Reply reply) {
  auto shown = show(asked.noun, asked.name);
  if (!shown) return reply(problem_of(shown.error()));
  const auto& wanted = asked.request.if_match;
  if (wanted && *wanted != "*" && *wanted != shown->second)
    return reply(problem(412, "Precondition failed", "the version is " + shown->second));
  ApiReply answer{200, std::move(shown->first)};
  answer.etag = std::move(shown->second);
  reply(std::move(answer));
}

// What is now, and then each change as the whole object: a listener that comes back has missed nothing that still is.
void StateApi::listen(const Asked& asked, HttpApi::Reply reply) {
  ApiReply answer;
  answer.stream = [this, noun = asked.noun, name = asked.name](ApiStream stream) {
    if (!name.empty()) {
      if (const auto now = show(noun, name)) stream.send("state", now->first);
    } else {
      stream.send("listening", "{}");
    }
    std::erase_if(listeners_, [](const Listener& l) { return l.stream.over(); });
    listeners_.push_back({noun, name, stream});
  };
  reply(std::move(answer));
}

void StateApi::changed(Noun noun, const std::string& name) {
  const auto hears = [&](const Listener& l) { return l.noun == noun && (l.name.empty() || l.name == name); };
  if (std::ranges::none_of(listeners_, hears)) return;
  const auto now = show(noun, name);
  const std::string data = now ? now->first : json_text({{"gone", name}, {"reason", now.error().detail}});
  for (auto& listener : listeners_) {
    if (hears(listener)) listener.stream.send(now ? "state" : "gone", data);
  }
  std::erase_if(listeners_, [](const Listener& l) { return l.stream.over(); });
}

}  // namespace landfall
