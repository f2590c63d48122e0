#include "crdt/document.h"

#include <algorithm>
#include <utility>

#include "crdt/counter.h"
#include "crdt/document_tree.h"
#include "crdt/exact_json.h"
#include "crdt/register.h"
#include "crdt/set.h"
#include "schemas/limits.h"
#include "schemas/text.h"

namespace landfall {
namespace document {
namespace {

Error refused(std::string_view path, std::string_view why) {
  return {Code::out_of_range, "document " + std::string(path.empty() ? "/" : path) + ": " + std::string(why)};
}

// Text from a writer, not from a replica: here limits hold.
Result<Json> read(std::string_view text, bool is_patch) {
  if (text.size() > document_bytes_max) return refused("", "over 1048576 bytes");
  if (json_nesting(text) > document_depth_max) return refused("", "deeper than 16 levels");
  Json json = read_exact(text);
  if (json.is_discarded()) return refused("", "no JSON");
  if (json.is_null() && !is_patch) return refused("", "null stands for nothing: delete the document");
  return json;
}

Json merged(Json target, const Json& patch) {
  target.merge_patch(patch);
  return target;
}

// What one change of a document writes. Every path is written once.
class Writer {
 public:
  Writer(const Tree& tree, const RunId& own, bool replace) : tree_(tree), own_(own), replace_(replace) {}

  // `node` is null where nothing is at `path`.
  Status write(const Node* node, const std::string& path, const Json& value);
  void erase(const Node& node);
  void erase_below(const Node& node);
  void put(const std::string& path, std::span<const Entry> over, std::string value);
  std::vector<Op> take() && { return std::move(ops_); }

 private:
  Status write_fields(const Node* node, const std::string& path, const Json& value);
  Status write_atomic(const Node* node, const std::string& path, const Json& value);
  Status write_leaf(const Node* node, const std::string& path, const Json& value);
  Status write_set(const Node* node, const std::string& path, const Json& value);
  Status write_counter(const Node* node, const std::string& path, const Json& value);
  Status add_elements(const std::string& path, std::vector<std::string>& gone, const Json& value);
  void make_object(const Node* node, const std::string& path);
  Result<std::string> child_path(const std::string& path, const std::string& key) const;
  Error refuse(std::string_view path, std::string_view why) const { return refused(tree_.within(path), why); }
  void supersede(const std::string& path, std::span<const Entry> over);

  const Tree& tree_;
  const RunId own_;
  bool replace_;
  std::vector<Op> ops_;
};

void Writer::put(const std::string& path, std::span<const Entry> over, std::string value) {
  Op& op = ops_.emplace_back(Op{path, std::move(value), {}});
  for (const Entry& entry : over) op.supersedes.push_back(entry.dot);
}

void Writer::supersede(const std::string& path, std::span<const Entry> over) {
  if (over.empty()) return;
  put(path, over, "");
  ops_.back().value.reset();
}

void Writer::erase(const Node& node) {
  supersede(node.path, node.here);
  erase_below(node);
}

void Writer::erase_below(const Node& node) {
  if (tree_.merge_at(node.path) != Merge::counter) {
    for (const auto& [key, child] : node.below) erase(child);
  } else if (counter_value(tree_.entries(), node.path)) {
    std::ranges::move(erase_counter_ops(tree_.entries(), node.path), std::back_inserter(ops_));
  }
}

Result<std::string> Writer::child_path(const std::string& path, const std::string& key) const {
  if (key.size() > document_key_bytes_max) return refuse(path, "a key over 256 bytes");
  if (!is_clean_text(key)) return refuse(path, "a key with control characters");
  std::string child = path + "/" + escape_token(key);
  if (child.size() > op_path_bytes_max) return refuse(path, "a path over 1024 bytes");
  return child;
}

Status Writer::write(const Node* node, const std::string& path, const Json& value) {
  if (value.is_null()) {
    if (replace_) return refuse(path, "null stands for nothing: leave it out");
    if (node != nullptr) erase(*node);
    return ok();
  }
  switch (tree_.merge_at(path).value_or(value.is_object() ? Merge::fields : Merge::atomic)) {
    case Merge::counter: return write_counter(node, path, value);
    case Merge::set: return write_set(node, path, value);
    case Merge::fields: return value.is_object() ? write_fields(node, path, value) : write_leaf(node, path, value);
    case Merge::atomic: return write_atomic(node, path, value);
    case Merge::min:
    case Merge::max:
      if (!is_exact_number(value)) return refuse(path, "is a number");
      return write_leaf(node, path, value);
  }
  return ok();
}

// The presence of an object, over other presences where it is shown, else over all that was there.
void Writer::make_object(const Node* node, const std::string& path) {
  if (node == nullptr) return put(path, {}, std::string(empty_object));
  if (!tree_.shows_object(*node)) return put(path, node->here, std::string(empty_object));
  std::vector<Entry> objects;
  for (const Entry& entry : node->here) {
    const auto value = value_of(entry);
    if (value && value->is_object()) objects.push_back(entry);
  }
  if (objects.size() != 1 || !is_presence(objects[0])) put(path, objects, std::string(empty_object));
}

Status Writer::write_fields(const Node* node, const std::string& path, const Json& value) {
  const bool was_object = node != nullptr && tree_.shows_object(*node);
  const Json before = was_object ? tree_.shown(*node).value_or(Json::object()) : Json::object();
  make_object(node, path);
  const auto child_of = [&](const std::string& key) -> const Node* {
    if (node == nullptr) return nullptr;
    const auto found = node->below.find(key);
    return found == node->below.end() ? nullptr : &found->second;
  };
  for (const auto& [key, part] : value.items()) {
    auto child = child_path(path, key);
    if (!child) return std::move(child).error();
    const Node* at = child_of(key);
    // A field of an object that was written as one value has no path of its own yet.
    const bool inside = before.contains(key) && (at == nullptr || !tree_.shown(*at));
    LANDFALL_TRY(write(at, *child, inside && !replace_ && part.is_object() ? merged(before[key], part) : part));
  }
  for (const auto& [key, part] : before.items()) {
    if (value.contains(key)) continue;
    const Node* at = child_of(key);
    if (replace_ || (at != nullptr && tree_.shown(*at))) continue;
    auto child = child_path(path, key);
    if (!child) return std::move(child).error();
    LANDFALL_TRY(write(at, *child, part));
  }
  if (node == nullptr) return ok();
  for (const auto& [key, child] : node->below) {
    // What lies below something that is no object is not shown, and goes; so does what a new document leaves out.
    if (!value.contains(key) && (replace_ || !was_object)) erase(child);
  }
  return ok();
}

Status Writer::write_leaf(const Node* node, const std::string& path, const Json& value) {
  const auto here = node == nullptr ? std::span<const Entry>() : node->here;
  std::string text = write_exact(value);
  const auto is_there = [&](const Entry& entry) {
    const auto before = value_of(entry);
    return before && write_exact(*before) == text;
  };
  if (replace_ && here.size() == 1 && is_there(here[0]) && node->below.empty()) return ok();
  if (tree_.merge_at(path) == Merge::atomic) text = with_lineage(std::move(text), here);
  if (text.size() > op_value_bytes_max) return refuse(path, "a value over 65536 bytes");
  put(path, here, std::move(text));
  if (node != nullptr) erase_below(*node);
  return ok();
}

Status Writer::write_atomic(const Node* node, const std::string& path, const Json& value) {
  if (replace_ || !value.is_object()) return write_leaf(node, path, value);
  const auto before = node == nullptr ? std::nullopt : tree_.shown(*node);
  return write_leaf(node, path, merged(before.value_or(Json::object()), value));
}

Status Writer::add_elements(const std::string& path, std::vector<std::string>& gone, const Json& value) {
  std::vector<std::string> texts;
  for (const Json& element : value) {
    if (element.is_structured() || element.is_null()) return refuse(path, "is a set of texts, numbers and booleans");
    texts.push_back(write_exact(element));
  }
  std::ranges::sort(texts);
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  for (const std::string& text : texts) {
    auto child = child_path(path, text);
    if (!child) return std::move(child).error();
    if (std::erase(gone, text) == 0) ops_.push_back(add_element_op(tree_.entries(), path, text));
  }
  return ok();
}

Status Writer::write_set(const Node* node, const std::string& path, const Json& value) {
  if (!value.is_array()) return refuse(path, "is an array");
  const auto here = node == nullptr ? std::span<const Entry>() : node->here;
  if (here.size() != 1 || here[0].value != empty_array) put(path, here, std::string(empty_array));
  std::vector<std::string> gone = elements(tree_.entries(), path);
  LANDFALL_TRY(add_elements(path, gone, value));
  for (const std::string& text : gone) ops_.push_back(remove_element_op(tree_.entries(), path, text));
  return ok();
}

Status Writer::write_counter(const Node* node, const std::string& path, const Json& value) {
  const bool is_signed = value.is_number_integer() && (!value.is_number_unsigned() || value.get<std::int64_t>() >= 0);
  if (!is_signed) return refuse(path, "is a whole number below 2^63");
  if (node != nullptr) supersede(path, node->here);
  const auto before = counter_value(tree_.entries(), path);
  std::int64_t by = 0;
  if (__builtin_sub_overflow(value.get<std::int64_t>(), before.value_or(0), &by)) return refuse(path, "too far a step");
  if (before && by == 0) return ok();
  auto op = count_op(tree_.entries(), path, own_, by);
  if (!op) return std::move(op).error();
  ops_.push_back(*std::move(op));
  return ok();
}

Result<std::vector<Op>> change(std::span<const Entry> entries, const DocumentPlace& place, const RunId& own,
                               std::string_view text, bool replace) {
  const auto json = read(text, !replace);
  if (!json) return json.error();
  const Tree tree(entries, place);
  const auto before = tree.shown(tree.root());
  const std::size_t size = write_exact(merged(replace ? Json() : before.value_or(Json()), *json)).size();
  if (size > document_bytes_max && (!before || size > write_exact(*before).size())) {
    return refused("", "would have over 1048576 bytes");
  }
  Writer writer(tree, own, replace);
  LANDFALL_TRY(writer.write(&tree.root(), place.root, *json));
  return std::move(writer).take();
}

const Node* find(const Tree& tree, const std::string& path) {
  const Node* node = &tree.root();
  while (node->path.size() < path.size()) {
    const auto rest = std::string_view(path).substr(node->path.size() + 1);
    const auto found = node->below.find(unescape_token(rest.substr(0, rest.find('/'))));
    if (found == node->below.end()) return nullptr;
    node = &found->second;
  }
  return node->path == path ? node : nullptr;
}

}  // namespace
}  // namespace document

std::string_view to_string(Merge merge) {
  constexpr std::string_view names[] = {"fields", "atomic", "set", "counter", "min", "max"};
  return names[static_cast<std::size_t>(merge)];
}

Result<Merge> parse_merge(std::string_view name) {
  for (const auto merge : {Merge::fields, Merge::atomic, Merge::set, Merge::counter, Merge::min, Merge::max}) {
    if (to_string(merge) == name) return merge;
  }
  return Error{Code::out_of_range,
               "'" + std::string(name) + "' is no way to merge: atomic, fields, set, counter, min or max is"};
}

DocumentView view_document(std::span<const Entry> entries, const DocumentPlace& place) {
  DocumentView view;
  const document::Tree tree(entries, place);
  if (const auto json = tree.shown(tree.root(), &view)) {
    view.json = write_exact(*json);
    view.over_limits = view.json->size() > document_bytes_max || json_nesting(*view.json) > document_depth_max;
  }
  std::ranges::sort(view.conflicts, {}, [](const auto& conflict) {
    return std::pair(std::string_view(conflict.path), conflict.hidden_by_object);
  });
  return view;
}

Result<std::vector<Op>> patch_ops(std::span<const Entry> entries, const DocumentPlace& place, const RunId& own,
                                  std::string_view patch) {
  return document::change(entries, place, own, patch, false);
}

Result<std::vector<Op>> replace_ops(std::span<const Entry> entries, const DocumentPlace& place, const RunId& own,
                                    std::string_view document) {
  return document::change(entries, place, own, document, true);
}

std::vector<Op> erase_ops(std::span<const Entry> entries, const DocumentPlace& place, std::string_view path) {
  const document::Tree tree(entries, place);
  document::Writer writer(tree, RunId{}, true);
  if (const auto* node = document::find(tree, place.root + std::string(path))) writer.erase(*node);
  return std::move(writer).take();
}

Result<std::vector<Op>> settle_ops(std::span<const Entry> entries, const DocumentPlace& place, std::string_view path,
                                   const std::optional<Dot>& take) {
  const document::Tree tree(entries, place);
  const auto* node = document::find(tree, place.root + std::string(path));
  const Error none{Code::not_found, "document " + std::string(path) + ": no such write"};
  if (node == nullptr) return none;
  const Merge merge = tree.merge_at(node->path).value_or(Merge::fields);
  if (merge == Merge::set || merge == Merge::counter) return none;
  document::Writer writer(tree, RunId{}, true);
  const auto taken = std::ranges::find_if(node->here, [&](const Entry& e) { return take && e.dot == *take; });
  if (take && taken == node->here.end()) return none;
  auto value = take ? document::value_of(*taken) : tree.shown(*node);
  if (!value) return none;
  // An object is settled by its presence, its fields stay; but one that is a single value stands for all below.
  const bool is_one_value = std::ranges::any_of(node->here, [](const Entry& entry) {
    const auto written = document::value_of(entry);
    return written && written->is_object() && !written->empty();
  });
  const bool keeps_below = value->is_object() && merge != Merge::atomic && !is_one_value;
  if (keeps_below && tree.shows_object(*node)) {
    writer.put(node->path, node->here, std::string(document::empty_object));
    return std::move(writer).take();
  }
  std::string text = write_exact(*value);
  if (merge == Merge::atomic) text = document::with_lineage(std::move(text), node->here);
  writer.put(node->path, node->here, std::move(text));
  writer.erase_below(*node);
  return std::move(writer).take();
}

std::vector<std::vector<Op>> split_ops(std::vector<Op> ops) {
  // What an op costs at most: 24 bytes for a run and two numbers per dot, three numbers beside.
  constexpr std::size_t dot_bytes = 24 + 20, op_bytes = 30;
  std::vector<std::vector<Op>> events;
  std::size_t bytes = event_payload_bytes_max;
  for (Op& op : ops) {
    const std::size_t size =
        op_bytes + op.path.size() + (op.value ? op.value->size() : 0) + dot_bytes * op.supersedes.size();
    if (bytes + size > event_payload_bytes_max || events.back().size() == ops_per_event_max) {
      events.emplace_back();
      bytes = op_bytes;
    }
    bytes += size;
    events.back().push_back(std::move(op));
  }
  return events;
}

std::string_view json_of(const Entry& entry) { return std::string_view(entry.value).substr(0, entry.value.find('\n')); }

}  // namespace landfall
