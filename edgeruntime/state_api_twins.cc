// /v1/twins.

#include "edgeruntime/state_json.h"

namespace landfall {
namespace {

Result<std::vector<std::string>> texts(const Json& object, const char* key) {
  std::vector<std::string> out;
  const auto found = object.find(key);
  if (found == object.end()) return out;
  if (!found->is_array()) return Error{Code::out_of_range, std::string(key) + ": a list of texts is expected"};
  for (const auto& item : *found) {
    if (!item.is_string()) return Error{Code::out_of_range, std::string(key) + ": a list of texts is expected"};
    out.push_back(item.get<std::string>());
  }
  return out;
}

Result<std::map<std::string, std::optional<std::string>>> values(const Json& body, const char* key) {
  std::map<std::string, std::optional<std::string>> out;
  const auto found = body.find(key);
  if (found == body.end()) return out;
  if (!found->is_object()) return Error{Code::out_of_range, std::string(key) + ": an object of values is expected"};
  for (const auto& [name, value] : found->items())
    out[name] = value.is_null() ? std::nullopt : std::optional(json_text(value));
  return out;
}

Result<std::map<std::string, std::optional<PropertyDefinition>>> definitions(const Json& body) {
  std::map<std::string, std::optional<PropertyDefinition>> out;
  const auto found = body.find("define");
  if (found == body.end()) return out;
  if (!found->is_object()) return Error{Code::out_of_range, "define: an object of properties is expected"};
  for (const auto& [name, value] : found->items()) {
    if (value.is_null()) {
      out[name] = std::nullopt;
      continue;
    }
    const auto known = parse_body(json_text(value), {"type", "policy", "history", "optional", "read_only", "unit",
                                                     "minimum", "maximum", "description"});
    auto one = known ? parse_definition(json_text(value)) : Result<PropertyDefinition>(known.error());
    if (!one) return Error{one.error()}.in("define." + name);
    out[name] = *one;
  }
  return out;
}

// A reported value stands for itself; {"value":...,"status":...} says more.
Result<std::map<std::string, std::optional<Twins::Reported>>> reports(const Json& body) {
  std::map<std::string, std::optional<Twins::Reported>> out;
  const auto found = body.find("reported");
  if (found == body.end()) return out;
  if (!found->is_object()) return Error{Code::out_of_range, "reported: an object of values is expected"};
  for (const auto& [name, value] : found->items()) {
    if (value.is_null()) {
      out[name] = std::nullopt;
      continue;
    }
    Twins::Reported report;
    report.value = json_text(value);
    if (value.is_object() && value.contains("value")) {
      report.value = json_text(value["value"]);
      for (const auto& [key, text] : {std::pair{"status", &report.status}, std::pair{"error", &report.error}}) {
        auto given = text_member(value, key, *text);
        if (!given) return Error{given.error()}.in("reported." + name);
        *text = *given;
      }
      auto applied = text_member(value, "applied", "");
      if (!applied) return Error{applied.error()}.in("reported." + name);
      if (!applied->empty()) {
        const auto dot = parse_dot(*applied);
        if (!dot) return Error{dot.error()}.in("reported." + name + ".applied");
        report.applied = *dot;
      }
    }
    out[name] = std::move(report);
  }
  return out;
}

Result<std::optional<Dot>> dot_of(const Json& object) {
  const auto text = text_member(object, "dot", "");
  if (!text) return text.error();
  if (text->empty()) return std::optional<Dot>();
  const auto dot = parse_dot(*text);
  if (!dot) return dot.error();
  return std::optional(*dot);
}

}  // namespace

void StateApi::twins(const Asked& asked, HttpApi::Reply reply) {
  const auto& method = asked.request.method;
  if (asked.name.empty() && method == "GET") {
    const auto known = known_query(asked.request, {"after", "limit"});
    const auto page = known ? page_of(asked.request) : Result<Page>(known.error());
    const auto names = page ? parts_.twins.devices(page->after, page->limit) : page.error();
    if (!names) return reply(problem_of(names.error()));
    return reply(listing("twins", *names, *page, names->empty() ? "" : names->back()));
  }
  if (method == "POST") return act_on_twin(asked, std::move(reply));
  write_twin(asked, std::move(reply));
}

// PATCH: what is named. PUT: properties with a desired value that are not named lose it in this node's layer.
void StateApi::write_twin(const Asked& asked, HttpApi::Reply reply) {
  const auto body = parse_body(asked.request.body, {"desired", "reported", "full", "state", "attributes", "add_tags",
                                                    "remove_tags", "define", "reason", "take_back"});
  if (!body) return reply(problem_of(body.error()));
  auto desired = values(*body, "desired");
  auto attributes = values(*body, "attributes");
  auto reported = reports(*body);
  auto define = definitions(*body);
  auto add = texts(*body, "add_tags"), remove = texts(*body, "remove_tags");
  auto reason = text_member(*body, "reason", ""), state = text_member(*body, "state", "");
  auto take_back = flag_member(*body, "take_back"), full = flag_member(*body, "full");
  for (const Error* error :
       {take_back ? nullptr : &take_back.error(), full ? nullptr : &full.error(), desired ? nullptr : &desired.error(),
        attributes ? nullptr : &attributes.error(), reported ? nullptr : &reported.error(),
        define ? nullptr : &define.error(), add ? nullptr : &add.error(), remove ? nullptr : &remove.error(),
        reason ? nullptr : &reason.error(), state ? nullptr : &state.error()}) {
    if (error != nullptr) return reply(problem_of(*error));
  }
  if (asked.request.method == "PUT" && body->contains("desired")) {
    if (const auto now = parts_.twins.view(asked.name)) {
      for (const auto& [name, property] : now->properties) {
        if (property.desired || !property.others.empty()) desired->try_emplace(name, std::nullopt);
      }
    }
  }
  // Parts lie in streams of their own, so they are written one after the other; the first that fails is the answer.
  const auto& actor = asked.request.actor;
  auto done = answer_written(std::move(reply), asked.request.if_match.has_value());
  const bool describes = !attributes->empty() || !add->empty() || !remove->empty() || !define->empty();
  if (asked.request.if_match && (describes || !reported->empty() || !state->empty() || !body->contains("desired"))) {
    return done(Error{Code::out_of_range,
                      "If-Match is held against desired values: ask for others in a request of their own, without it"});
  }
  if (!reported->empty() || !state->empty()) {
    Twins::Report report{asked.name, std::move(*reported), *full, {}, 0, actor};
    if (!state->empty()) report.state = *state;
    auto next = std::move(done);
    if (!describes && desired->empty()) return parts_.twins.report(std::move(report), std::move(next));
    return next(
        Error{Code::out_of_range, "reported and state go in a request of their own: they are the device's word"});
  }
  auto set = [this,
              desire =
                  Twins::Desire{asked.name, std::move(*desired), actor, *reason, asked.request.if_match, *take_back},
              done](const Result<Written>& described) mutable {
    if (!described || desire.values.empty()) return done(described);
    parts_.twins.set_desired(std::move(desire), std::move(done));
  };
  if (!describes) {
    if (body->contains("desired")) return set(Written{});
    return done(Error{Code::out_of_range, "nothing to do: name desired, reported, attributes, add_tags or define"});
  }
  parts_.twins.describe(
      {asked.name, std::move(*attributes), std::move(*add), std::move(*remove), std::move(*define), actor},
      std::move(set));
}

void StateApi::act_on_twin(const Asked& asked, HttpApi::Reply reply) {
  const auto body = parse_body(asked.request.body, {"release", "restore"});
  if (!body) return reply(problem_of(body.error()));
  if (body->size() != 1 || !body->begin()->is_object())
    return reply(
        problem(400, "Out of range", R"(expected {"release":{"property":...}} or {"restore":{"property":...}})"));
  const auto& what = *body->begin();
  if (const auto known = known_members(what, body->begin().key().c_str(), {"property", "dot"}); !known)
    return reply(problem_of(known.error()));
  const auto property = text_member(what, "property", "");
  const auto dot = dot_of(what);
  if (!property || !dot) return reply(problem_of(property ? dot.error() : property.error()));
  auto done = answer_written(std::move(reply));
  if (body->contains("release")) return parts_.twins.release(asked.name, *property, *dot, asked.request.actor, done);
  parts_.twins.restore(asked.name, *property, *dot, asked.request.actor, done);
}

}  // namespace landfall
