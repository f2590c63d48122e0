// /v1/alarms and /v1/commands, and what GET shows of any object.

#include "crdt/exact_json.h"
#include "edgeruntime/state_json.h"

namespace landfall {
namespace {

// "<device>/<alarm>": a device may have a '/' of its own, an alarm's name has none.
Result<std::pair<std::string, std::string>> alarm_of(const std::string& name) {
  const auto slash = name.rfind('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == name.size())
    return Error{Code::out_of_range, "'" + name + "': an alarm is named <device>/<alarm>"};
  return std::pair{name.substr(0, slash), name.substr(slash + 1)};
}

bool flag(const ApiRequest& request, const char* key) {
  const auto found = request.query.find(key);
  return found != request.query.end() && found->second != "0" && found->second != "false";
}

std::string text(const ApiRequest& request, const char* key) {
  const auto found = request.query.find(key);
  return found == request.query.end() ? std::string() : found->second;
}

}  // namespace

Result<std::pair<std::string, std::string>> StateApi::show(Noun noun, const std::string& name) const {
  switch (noun) {
    case Noun::twins: {
      const auto view = parts_.twins.view(name);
      if (!view) return view.error();
      return std::pair{twin_json(*view), view->version};
    }
    case Noun::documents: {
      const auto view = parts_.documents.view(name);
      if (!view) return view.error();
      return std::pair{document_json(*view), view->version};
    }
    case Noun::alarms: {
      const auto at = alarm_of(name);
      const auto view = at ? parts_.alarms.view(at->first, at->second) : at.error();
      if (!view) return view.error();
      return std::pair{alarm_json(*view), view->version};
    }
    case Noun::commands: {
      const auto view = parts_.commands.view(name);
      if (!view) return view.error();
      return std::pair{command_json(*view), view->version};
    }
    case Noun::devices: {
      const auto record = parts_.devices.get(name);
      if (!record) return record.error();
      return std::pair{device_json(*record), record->version};
    }
  }
  return Error{Code::not_found, name};
}

void StateApi::alarms(const Asked& asked, HttpApi::Reply reply) {
  if (!asked.name.empty()) return act_on_alarm(asked, std::move(reply));
  const auto known = known_query(asked.request, {"after", "limit", "all", "device"});
  const auto page = known ? page_of(asked.request) : Result<Page>(known.error());
  const auto list = page ? parts_.alarms.list(flag(asked.request, "all") ? Alarms::Which::all : Alarms::Which::open,
                                              text(asked.request, "device"), page->after, page->limit)
                         : page.error();
  if (!list) return reply(problem_of(list.error()));
  Json items = Json::array();
  for (const auto& alarm : *list) items.push_back(read_exact(alarm_json(alarm)));
  reply(listing("alarms", std::move(items), *page, list->empty() ? "" : list->back().device + "/" + list->back().name));
}

void StateApi::act_on_alarm(const Asked& asked, HttpApi::Reply reply) {
  auto done = answer_written(std::move(reply));
  const auto at = alarm_of(asked.name);
  if (!at) return done(at.error());
  const auto body = parse_body(asked.request.body, {"raise", "clear", "acknowledge", "shelve", "unshelve"});
  if (!body) return done(body.error());
  if (body->size() != 1 || !body->begin()->is_object())
    return done(
        Error{Code::out_of_range,
              R"(expected one of {"raise":{}}, {"clear":{}}, {"acknowledge":{}}, {"shelve":{}}, {"unshelve":{}})"});
  const auto& [device, name] = *at;
  const auto& what = *body->begin();
  const auto& actor = asked.request.actor;
  const auto action = body->begin().key();
  if (const auto known = action == "raise"         ? known_members(what, "raise", {"severity", "text"})
                         : action == "shelve"      ? known_members(what, "shelve", {"until_unix_ms"})
                         : action == "acknowledge" ? known_members(what, "acknowledge", {"occurrence"})
                                                   : known_members(what, action.c_str(), {});
      !known)
    return done(known.error());
  if (action == "raise") {
    const auto severity = text_member(what, "severity", "major"), words = text_member(what, "text", "");
    if (!severity || !words) return done(severity ? words.error() : severity.error());
    return parts_.alarms.raise({device, name, *severity, *words, actor}, done);
  }
  if (action == "clear") return parts_.alarms.clear(device, name, actor, {}, done);
  if (action == "unshelve") return parts_.alarms.unshelve(device, name, actor, done);
  if (action == "shelve") {
    const auto until = what.find("until_unix_ms");
    if (until == what.end() || !until->is_number_integer())
      return done(Error{Code::out_of_range, "shelve.until_unix_ms: milliseconds since 1970 are expected"});
    return parts_.alarms.shelve(device, name, until->get<std::int64_t>(), actor, done);
  }
  const auto occurrence = text_member(what, "occurrence", "");
  if (!occurrence) return done(occurrence.error());
  if (occurrence->empty()) return parts_.alarms.acknowledge(device, name, {}, actor, done);
  const auto dot = parse_dot(*occurrence);
  if (!dot) return done(dot.error());
  parts_.alarms.acknowledge(device, name, *dot, actor, done);
}

void StateApi::commands(const Asked& asked, HttpApi::Reply reply) {
  const auto& [request, noun, id] = asked;
  if (!id.empty()) {
    if (request.method == "DELETE") return parts_.commands.cancel(id, request.actor, answer_written(std::move(reply)));
    auto done = answer_written(std::move(reply));
    const auto body = parse_body(request.body, {"succeeded", "result"});
    if (!body) return done(body.error());
    const auto succeeded = body->find("succeeded");
    if (succeeded == body->end() || !succeeded->is_boolean())
      return done(Error{Code::out_of_range, "succeeded: true or false is expected"});
    return parts_.commands.complete(id, succeeded->get<bool>(), json_text(body->value("result", Json())), request.actor,
                                    Commands::Another::conflict, {}, done);
  }
  if (request.method == "POST") return issue_command(asked, std::move(reply));
  const auto known = known_query(request, {"after", "limit", "open", "device"});
  const auto page = known ? page_of(request) : Result<Page>(known.error());
  const auto list = page
                        ? parts_.commands.list(text(request, "device"), flag(request, "open"), page->after, page->limit)
                        : page.error();
  if (!list) return reply(problem_of(list.error()));
  Json items = Json::array();
  for (const auto& command : *list) items.push_back(read_exact(command_json(command)));
  reply(listing("commands", std::move(items), *page, list->empty() ? "" : list->back().id));
}

void StateApi::issue_command(const Asked& asked, HttpApi::Reply reply) {
  const auto body = parse_body(asked.request.body, {"device", "name", "arguments", "id", "valid_seconds"});
  if (!body) return reply(problem_of(body.error()));
  Commands::Issue issue;
  issue.actor = asked.request.actor;
  for (const auto& [key, field] : {std::pair{"device", &issue.device}, {"name", &issue.name}, {"id", &issue.id}}) {
    auto given = text_member(*body, key, "");
    if (!given) return reply(problem_of(given.error()));
    *field = *given;
  }
  if (body->contains("arguments")) issue.arguments = json_text((*body)["arguments"]);
  if (const auto valid = body->find("valid_seconds"); valid != body->end()) {
    if (!valid->is_number_unsigned() || *valid == 0u || *valid > 366u * 24 * 3600)
      return reply(problem(400, "Out of range", "valid_seconds: a whole number from 1 to 31622400 (a year)"));
    issue.valid = std::chrono::seconds(valid->get<std::uint64_t>());
  }
  // Nobody would ever send it, and nobody end it.
  const auto device = parts_.devices.get(issue.device);
  if (!device && device.error().code == Code::not_found && !parts_.commands.view(issue.id))
    return reply(problem_of(device.error()));
  parts_.commands.issue(std::move(issue), [reply = std::move(reply)](const Result<CommandView>& issued) {
    if (!issued) return reply(problem_of(issued.error()));
    ApiReply answer{201, command_json(*issued)};
    answer.etag = issued->version;
    reply(std::move(answer));
  });
}

}  // namespace landfall
