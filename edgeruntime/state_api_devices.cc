// /v1/devices and /v1/documents.

#include <iterator>
#include <sstream>

#include "crdt/exact_json.h"
#include "devicetwin/kubeedge_profile.h"
#include "edgeruntime/state_json.h"

namespace landfall {
namespace {

Json parsed(const std::string& text) {
  Json value = read_exact(text);
  return value.is_discarded() ? Json(text) : value;
}

}  // namespace

std::string document_json(const NamedDocument& view) {
  Json json = {{"name", view.name}, {"version", view.version}, {"document", parsed(view.json)}};
  json["conflicts"] = Json::array();
  for (const auto& conflict : view.conflicts) json["conflicts"].push_back(parsed(conflict));
  if (view.over_limits) json["over_limits"] = true;
  return json_text(json);
}

void StateApi::devices(const Asked& asked, HttpApi::Reply reply) {
  const auto& method = asked.request.method;
  if (asked.name.empty() && method == "POST") return import_devices(asked, std::move(reply));
  if (asked.name.empty() && method == "GET" && asked.request.query.contains("format"))
    return reply(export_devices(asked.request));
  if (asked.name.empty() && method == "GET") {
    const auto known = known_query(asked.request, {"after", "limit"});
    const auto page = known ? page_of(asked.request) : Result<Page>(known.error());
    const auto list = page ? parts_.devices.list(page->after, page->limit) : page.error();
    if (!list) return reply(problem_of(list.error()));
    Json items = Json::array();
    for (const auto& record : *list) items.push_back(parsed(device_json(record)));
    return reply(listing("devices", std::move(items), *page, list->empty() ? "" : list->back().device));
  }
  if (method == "DELETE")
    return parts_.devices.remove(asked.name, asked.request.actor, answer_written(std::move(reply)));
  write_device(asked, std::move(reply));
}

void StateApi::write_device(const Asked& asked, HttpApi::Reply reply) {
  if (asked.request.method == "POST") {
    const auto body = parse_body(asked.request.body, {"hand_over"});
    const Json what = body ? body->value("hand_over", Json::object()) : Json();
    const auto known = body ? known_members(what, "hand_over", {"node"}) : Status(body.error());
    const auto node = known ? text_member(what, "node", "") : Result<std::string>(known.error());
    if (!node) return reply(problem_of(node.error()));
    if (node->empty()) return reply(problem(400, "Out of range", R"(expected {"hand_over":{"node":"..."}})"));
    return parts_.devices.hand_over(asked.name, *node, asked.request.actor, answer_written(std::move(reply)));
  }
  const auto body = parse_body(asked.request.body, {"node", "description", "model", "protocol", "configuration",
                                                    "password_hash", "certificate_subject"});
  if (!body) return reply(problem_of(body.error()));
  DeviceRecord record;
  if (const auto known = parts_.devices.get(asked.name)) record = *known;
  record.device = asked.name;
  const std::pair<const char*, std::string*> fields[] = {{"node", &record.node},
                                                         {"description", &record.description},
                                                         {"model", &record.model},
                                                         {"protocol", &record.protocol},
                                                         {"password_hash", &record.password_hash},
                                                         {"certificate_subject", &record.certificate_subject}};
  for (const auto& [key, field] : fields) {
    auto text = text_member(*body, key, *field);
    if (!text) return reply(problem_of(text.error()));
    *field = *text;
  }
  if (body->contains("configuration")) record.configuration = json_text((*body)["configuration"]);
  parts_.devices.put(std::move(record), {}, asked.request.actor, asked.request.if_match,
                     answer_written(std::move(reply), asked.request.if_match.has_value()));
}

// KubeEdge's Device and DeviceModel objects. All of them are checked before the first is written.
void StateApi::import_devices(const Asked& asked, HttpApi::Reply reply) {
  auto imported = import_kubeedge(asked.request.body);
  if (!imported) return reply(problem_of(imported.error()));
  struct Import {
    std::vector<ImportedDevice> devices;
    std::size_t at = 0;
    HttpApi::Reply reply;
    std::string actor;
  };
  auto import = std::make_shared<Import>(Import{std::move(*imported), 0, std::move(reply), asked.request.actor});
  auto next = std::make_shared<std::function<void(const Result<Written>&)>>();
  // Holds itself until the last device: cleared there.
  *next = [this, import, next](const Result<Written>& before) {
    if (!before || import->at == import->devices.size()) {
      Json body = {{"devices", Json::array()}, {"warnings", Json::array()}};
      for (std::size_t i = 0; i < import->at; ++i) {
        body["devices"].push_back(import->devices[i].record.device);
        for (const auto& warning : import->devices[i].warnings) body["warnings"].push_back(warning);
      }
      import->reply(before ? ApiReply{200, json_text(body)} : problem_of(before.error()));
      *next = nullptr;
      return;
    }
    ImportedDevice& device = import->devices[import->at++];
    auto desire = [this, import, next, name = device.record.device,
                   desired = device.desired](const Result<Written>& put) {
      if (!put || desired.empty()) return (*next)(put);
      Twins::Desire values{name, {}, import->actor, "import", {}};
      for (const auto& [property, value] : desired) values.values[property] = value;
      parts_.twins.set_desired(std::move(values), *next);
    };
    parts_.devices.put(device.record, device.properties, import->actor, {}, std::move(desire));
  };
  (*next)(Written{});
}

// For KubeEdge's mappers: the devices named, else those of a node, else this node's own (a hub's: all).
ApiReply StateApi::export_devices(const ApiRequest& request) const {
  if (const auto known = known_query(request, {"format", "devices", "node"}); !known) return problem_of(known.error());
  const auto asked = [&](const char* name) {
    const auto found = request.query.find(name);
    return found == request.query.end() ? std::string() : found->second;
  };
  if (const auto format = asked("format"); format != "kubeedge-profile")
    return problem(400, "Out of range", "format: '" + format + "' is not known: this takes kubeedge-profile");
  std::istringstream words(asked("devices"));
  const std::vector<std::string> names{std::istream_iterator<std::string>(words), {}};
  const auto node = asked("node");
  if (!names.empty() && !node.empty())
    return problem(400, "Out of range", "devices and node: name the devices, or the node that runs them");
  const auto wanted = [&](const DeviceRecord& record) {
    return node.empty() ? parts_.runs(record) : record.node == node;
  };
  const auto profile = names.empty() ? export_kubeedge(parts_.devices, parts_.twins, wanted)
                                     : export_kubeedge(parts_.devices, parts_.twins, names);
  if (!profile) return problem_of(profile.error());
  return {200, "{\"profile\":" + profile->json() + ",\"warnings\":" + json_text(profile->warnings()) + "}"};
}

void StateApi::documents(const Asked& asked, HttpApi::Reply reply) {
  const auto& [request, noun, name] = asked;
  if (name.empty()) {
    const auto known = known_query(request, {"after", "limit", "prefix"});
    const auto page = known ? page_of(request) : Result<Page>(known.error());
    const auto prefix = request.query.find("prefix");
    const auto names =
        page ? parts_.documents.list(prefix == request.query.end() ? "" : prefix->second, page->after, page->limit)
             : page.error();
    if (!names) return reply(problem_of(names.error()));
    return reply(listing("documents", *names, *page, names->empty() ? "" : names->back()));
  }
  auto done = answer_written(std::move(reply), request.if_match.has_value());
  if (request.method == "PUT") return parts_.documents.put(name, request.body, request.actor, request.if_match, done);
  if (request.method == "PATCH")
    return parts_.documents.patch(name, request.body, request.actor, request.if_match, done);
  if (request.method == "DELETE") return parts_.documents.remove(name, request.actor, request.if_match, done);
  act_on_document(asked, done);
}

void StateApi::act_on_document(const Asked& asked, OnWritten done) {
  const auto body = parse_body(asked.request.body, {"annotate", "settle"});
  if (!body) return done(body.error());
  if (body->size() != 1) {
    return done(
        Error{Code::out_of_range, R"(expected {"annotate":{"path":...,"annotation":...}} or {"settle":{"path":...}})"});
  }
  const auto action = body->begin().key();
  const auto& what = *body->begin();
  const std::string_view second = action == "annotate" ? "annotation" : "dot";
  if (const auto known = known_members(what, action.c_str(), {"path", second}); !known) return done(known.error());
  const auto path = text_member(what, "path", ""), word = text_member(what, std::string(second).c_str(), "");
  if (!path || !word) return done(path ? word.error() : path.error());
  if (action == "annotate") return parts_.documents.annotate(asked.name, *path, *word, asked.request.actor, done);
  if (word->empty()) return parts_.documents.settle(asked.name, *path, {}, asked.request.actor, done);
  const auto dot = parse_dot(*word);
  if (!dot) return done(dot.error());
  parts_.documents.settle(asked.name, *path, *dot, asked.request.actor, done);
}

}  // namespace landfall
