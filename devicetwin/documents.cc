#include "devicetwin/documents.h"

#include <algorithm>
#include <utility>

#include "crdt/document.h"
#include "crdt/register.h"
#include "devicetwin/json_value.h"
#include "schemas/limits.h"

// Paths of a document's object:
//   /d...         the document (crdt/document.h)
//   /m/<pointer>  register: how the part at the pointer, written as one token, merges

namespace landfall {
namespace {

constexpr std::string_view prefix = "doc/";
constexpr std::string_view content = "/d", merges = "/m/";

std::string object_of(std::string_view name) { return std::string(prefix).append(name); }
std::string merge_path(std::string_view path) { return std::string(merges).append(escape_token(path)); }

Status check_name(std::string_view name) {
  const Error wrong{
      Code::out_of_range,
      shown_name(name) + ": a document's name is 1 to 512 of A-Z a-z 0-9 - _ . / without empty, '.' or '..' parts"};
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./";
  if (name.empty() || name.size() > 512 || name.find_first_not_of(letters) != std::string_view::npos) return wrong;
  for (std::size_t at = 0; at <= name.size();) {
    const auto part = name.substr(at, name.find('/', at) - at);
    if (part.empty() || part == "." || part == "..") return wrong;
    at += part.size() + 1;
  }
  return ok();
}

DocumentPlace place_of(const Entries& entries) {
  DocumentPlace place{std::string(content), {}};
  for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
    if (!entry->path.starts_with(merges)) continue;
    const auto merge = parse_merge(latest(at(entries, entry->path))->value);
    if (merge) place.annotations[unescape_token(entry->path.substr(merges.size()))] = *merge;
  }
  return place;
}

bool exists(const Entries& entries) {
  const auto below = under(entries, content);
  if (below.empty()) return false;
  // A counter that was deleted leaves its bases.
  const bool plain = std::ranges::none_of(entries, [](const Entry& e) { return e.path.starts_with(merges); });
  return plain || view_document(entries, place_of(entries)).json.has_value();
}

Status check_match(const std::string& name, const Entries& now, const std::optional<std::string>& if_match) {
  if (!if_match) return ok();
  if (!exists(now)) return Error{Code::conflict, "document " + name + " does not exist"};
  const std::string version = version_of(object_of(name), now);
  if (*if_match == "*" || *if_match == version) return ok();
  return Error{Code::conflict, "document " + name + " is at version " + version + " by now"};
}

Error unknown(const std::string& name) { return {Code::not_found, "no document " + name + " is known"}; }

// One event carries one change. The first estimate is an upper bound.
Result<std::vector<Op>> fitting(Result<std::vector<Op>> ops, const RunId& own) {
  if (!ops || split_ops(*ops).size() <= 1) return ops;
  std::vector<Op> copy = *ops;
  const auto payload = encode_ops(copy, {own, Stream::document});
  if (payload && payload->size() <= event_payload_bytes_max) return ops;
  return Error{Code::out_of_range, "the change is too large for one event (" + std::to_string(ops->size()) + " of " +
                                       std::to_string(ops_per_event_max) + " values" +
                                       (payload ? ", " + std::to_string(payload->size()) + " of " +
                                                      std::to_string(event_payload_bytes_max) + " bytes"
                                                : "") +
                                       "): write it in parts, each a merge patch"};
}

// The ops of two changes, the second made on what the first left, as one change. The first one's puts stand in between
// under `between`.
constexpr std::uint64_t between_seq = seq_max;
Entries after(const Entries& now, const std::vector<Op>& ops, const Dot& between) {
  Entries then;
  for (const Entry& entry : now) {
    const bool gone = std::ranges::any_of(ops, [&](const Op& op) {
      return op.path == entry.path && std::ranges::find(op.supersedes, entry.dot) != op.supersedes.end();
    });
    if (!gone) then.push_back(entry);
  }
  for (const Op& op : ops) {
    if (op.value) then.push_back({op.path, between, {}, ClockClass::untrusted, *op.value});
  }
  std::ranges::sort(then,
                    [](const Entry& a, const Entry& b) { return std::tie(a.path, a.dot) < std::tie(b.path, b.dot); });
  return then;
}
std::vector<Op> joined(std::vector<Op> first, std::vector<Op> second, const Dot& between) {
  for (Op& op : second) {
    const bool over = std::erase(op.supersedes, between) > 0;
    const auto same = std::ranges::find(first, op.path, &Op::path);
    if (same == first.end()) {
      if (op.value || !op.supersedes.empty()) first.push_back(std::move(op));
      continue;
    }
    for (const Dot& dot : op.supersedes) {
      if (std::ranges::find(same->supersedes, dot) == same->supersedes.end()) same->supersedes.push_back(dot);
    }
    if (op.value || over) same->value = std::move(op.value);
  }
  return first;
}

// What a pointer names in a document, by objects alone.
std::vector<std::string> tokens_of(std::string_view pointer) {
  std::vector<std::string> tokens;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    tokens.push_back(unescape_token(pointer.substr(0, pointer.find('/'))));
    pointer.remove_prefix(std::min(pointer.size(), pointer.find('/')));
  }
  return tokens;
}
const Json* part_of(const Json& json, const std::vector<std::string>& tokens) {
  const Json* part = &json;
  for (const std::string& token : tokens) {
    if (!part->is_object() || !part->contains(token)) return nullptr;
    part = &(*part)[token];
  }
  return part;
}

// Writes the part at `path`, if there is one, as its new annotation wants it.
Result<std::vector<Op>> written_again(const Entries& now, const DocumentPlace& old, const std::string& path,
                                      Merge merge, const RunId& own) {
  const auto shown = view_document(now, old).json;
  if (!shown) return std::vector<Op>{};
  const Json json = stored_json(*shown);
  const auto tokens = tokens_of(path);
  const Json* part = part_of(json, tokens);
  if (part == nullptr) return std::vector<Op>{};
  const Dot between{own, Stream::document, between_seq};
  std::vector<Op> first = erase_ops(now, old, path);
  const Entries then = after(now, first, between);
  DocumentPlace place = old;
  place.annotations[path] = merge;
  Json patch = *part;
  for (auto token = tokens.rbegin(); token != tokens.rend(); ++token) patch = Json{{*token, std::move(patch)}};
  auto second = tokens.empty() ? replace_ops(then, place, own, write_json(patch))
                               : patch_ops(then, place, own, write_json(patch));
  if (!second) return second;
  return joined(std::move(first), std::move(*second), between);
}

std::string conflict_json(const DocumentConflict& conflict, const Entry& write) {
  Json json = {{"path", conflict.path},
               {"value", stored_json(json_of(write))},
               {"dot", to_string(write.dot)},
               {"time", time_text(write.time.unix_ms())}};
  if (!conflict.hidden_by_object) json["shown"] = stored_json(json_of(*conflict.writes.front()));
  if (conflict.parent) json["parent"] = to_string(*conflict.parent);
  return write_json(json);
}

}  // namespace

Documents::Documents(Objects& objects) : objects_(objects) {
  watch([this](const std::string& name) { unseen_.insert(name); });
}

Documents::~Documents() {
  *alive_ = false;
  for (const auto subscription : subscriptions_) objects_.log().unsubscribe(subscription);
}

Result<NamedDocument> Documents::view(std::string_view name) const {
  const auto entries = objects_.log().state(Stream::document, object_of(name));
  if (!entries) return entries.error();
  DocumentView shown = view_document(*entries, place_of(*entries));
  if (!shown.json) return unknown(std::string(name));
  NamedDocument document;
  document.name = name;
  document.version = version_of(object_of(name), *entries);
  document.json = std::move(*shown.json);
  document.over_limits = shown.over_limits;
  document.damaged = shown.damaged;
  for (const DocumentConflict& conflict : shown.conflicts) {
    for (const Entry* write : conflict.writes) {
      if (conflict.hidden_by_object || write != conflict.writes.front())
        document.conflicts.push_back(conflict_json(conflict, *write));
    }
  }
  return document;
}

Result<std::vector<std::string>> Documents::list(std::string_view name_prefix, std::string_view after,
                                                 std::size_t limit) const {
  std::vector<std::string> found;
  std::string from = after.empty() ? std::string() : object_of(after);
  while (found.size() < limit) {
    const auto some = objects_.log().objects(Stream::document, object_of(name_prefix), from, 256);
    if (!some) return some.error();
    if (some->empty()) break;
    for (const std::string& object : *some) {
      const auto entries = objects_.log().state(Stream::document, object);
      if (!entries) return entries.error();
      if (exists(*entries)) found.push_back(object.substr(prefix.size()));
      if (found.size() == limit) break;
    }
    from = some->back();
  }
  return found;
}

void Documents::change(std::string name, std::string actor, Objects::Decide decide, OnWritten done) {
  std::string object = object_of(name);
  auto checked = [name = std::move(name), decide = std::move(decide)](const Entries& now) -> Result<std::vector<Op>> {
    LANDFALL_TRY(check_name(name));
    return decide(now);
  };
  objects_.change({Stream::document, std::move(object), "", std::move(actor), std::move(checked)}, std::move(done));
}

void Documents::put(std::string name, std::string json, std::string actor, std::optional<std::string> if_match,
                    OnWritten done) {
  auto decide = [name, own = objects_.log().run(), json = std::move(json),
                 if_match = std::move(if_match)](const Entries& now) -> Result<std::vector<Op>> {
    LANDFALL_TRY(check_match(name, now, if_match));
    return fitting(replace_ops(now, place_of(now), own, json), own);
  };
  change(std::move(name), std::move(actor), std::move(decide), std::move(done));
}

void Documents::patch(std::string name, std::string patch, std::string actor, std::optional<std::string> if_match,
                      OnWritten done) {
  auto decide = [name, own = objects_.log().run(), patch = std::move(patch),
                 if_match = std::move(if_match)](const Entries& now) -> Result<std::vector<Op>> {
    LANDFALL_TRY(check_match(name, now, if_match));
    return fitting(patch_ops(now, place_of(now), own, patch), own);
  };
  change(std::move(name), std::move(actor), std::move(decide), std::move(done));
}

void Documents::remove(std::string name, std::string actor, std::optional<std::string> if_match, OnWritten done) {
  remove_more(std::move(name), std::move(actor), std::move(if_match), true, std::move(done));
}

void Documents::remove_more(std::string name, std::string actor, std::optional<std::string> if_match, bool first,
                            OnWritten done) {
  auto more = std::make_shared<bool>(false);
  auto decide = [name, first, if_match, more](const Entries& now) -> Result<std::vector<Op>> {
    if (first) LANDFALL_TRY(check_match(name, now, if_match));
    if (first && !exists(now)) return unknown(name);
    auto parts = split_ops(erase_ops(now, place_of(now)));
    *more = parts.size() > 1;
    return parts.empty() ? std::vector<Op>{} : std::move(parts.front());
  };
  change(name, actor, std::move(decide),
         [this, alive = alive_, name, actor, more, done = std::move(done)](const Result<Written>& written) mutable {
           if (!*alive || !written || !*more) return done(written);
           remove_more(std::move(name), std::move(actor), {}, false, std::move(done));
         });
}

void Documents::annotate(std::string name, std::string path, std::string annotation, std::string actor,
                         OnWritten done) {
  auto decide = [own = objects_.log().run(), path = std::move(path),
                 annotation = std::move(annotation)](const Entries& now) -> Result<std::vector<Op>> {
    const auto merge = parse_merge(annotation);
    if (!merge) return merge.error();
    const std::string at_path = merge_path(path);
    if (!is_op_path(path) || !is_op_path(at_path))
      return Error{Code::out_of_range, "a path is an RFC 6901 pointer of at most 1024 bytes: /settings/limit"};
    const DocumentPlace place = place_of(now);
    const auto known = place.annotations.find(path);
    if (known != place.annotations.end() && known->second == *merge && at(now, at_path).size() == 1)
      return std::vector<Op>{};
    if (place.annotations.size() >= document_annotations_max && known == place.annotations.end()) {
      return Error{Code::out_of_range,
                   "a document has at most " + std::to_string(document_annotations_max) + " annotations"};
    }
    auto ops = written_again(now, place, path, *merge, own);
    if (!ops) return ops;
    ops->push_back(put_op(now, at_path, annotation));
    return fitting(std::move(ops), own);
  };
  change(std::move(name), std::move(actor), std::move(decide), std::move(done));
}

void Documents::settle(std::string name, std::string path, std::optional<Dot> take, std::string actor, OnWritten done) {
  auto decide = [path = std::move(path), take, own = objects_.log().run()](const Entries& now) {
    return fitting(settle_ops(now, place_of(now), path, take), own);
  };
  change(std::move(name), std::move(actor), std::move(decide), std::move(done));
}

bool Documents::find_unseen() {
  if (!found_up_to_) return false;
  const auto some = objects_.log().objects(Stream::document, prefix, *found_up_to_, 256);
  if (!some || some->empty()) return found_up_to_.reset(), false;
  for (const std::string& object : *some) unseen_.insert(object.substr(prefix.size()));
  found_up_to_ = some->back();
  return true;
}

const std::map<std::string, std::string>& Documents::troubles() {
  // Nobody else has the loop meanwhile.
  constexpr std::size_t looks_max = 64, bytes_max = document_bytes_max;
  std::size_t bytes = 0;
  for (std::size_t looks = 0; looks < looks_max && bytes < bytes_max; ++looks) {
    if (unseen_.empty() && !find_unseen()) break;
    const auto name = unseen_.extract(unseen_.begin()).value();
    const auto document = view(name);
    troubles_.erase(name);
    if (!document) continue;
    bytes += document->json.size();
    if (document->damaged) troubles_[name] = "holds a write that is no JSON and is left out: write that part again";
    if (document->over_limits)
      troubles_[name] = "grew by concurrent writes over what a write may make of it (1 MiB, 16 levels): take parts out";
  }
  return troubles_;
}

void Documents::watch(OnChanged changed) {
  subscriptions_.push_back(objects_.log().watch(1u << static_cast<unsigned>(Stream::document),
                                                [changed = std::move(changed)](const Log::Changed& change) {
                                                  for (const std::string& object : change.objects) {
                                                    if (object.starts_with(prefix))
                                                      changed(object.substr(prefix.size()));
                                                  }
                                                }));
}

}  // namespace landfall
