#include "crdt/document_tree.h"

#include <algorithm>
#include <utility>

#include "crdt/counter.h"
#include "crdt/exact_json.h"
#include "crdt/register.h"
#include "crdt/set.h"

namespace landfall::document {
namespace {

struct Write {
  const Entry* entry;
  Json value;
};

// By latest(), the shown one first.
std::vector<Write> writes_at(const Node& node, DocumentView* report) {
  std::vector<const Entry*> order;
  for (const Entry& entry : node.here) order.push_back(&entry);
  std::ranges::sort(order, [](const Entry* a, const Entry* b) { return is_later(*a, *b); });
  std::vector<Write> writes;
  for (const Entry* entry : order) {
    if (auto value = value_of(*entry)) {
      writes.push_back({entry, std::move(*value)});
    } else if (report != nullptr) {
      report->damaged = true;
    }
  }
  return writes;
}

bool is_less(const Json& a, const Json& b) {
  const auto is_whole = [](const Json& number) { return number.is_number_integer(); };
  if (!is_whole(a) || !is_whole(b)) return nearest_double(a) < nearest_double(b);
  // Unsigned ones may be over the greatest signed one.
  if (a.is_number_unsigned() && b.is_number_unsigned()) return a.get<std::uint64_t>() < b.get<std::uint64_t>();
  if (a.is_number_unsigned()) return b.get<std::int64_t>() >= 0 && a < b;
  if (b.is_number_unsigned()) return a.get<std::int64_t>() < 0 || a < b;
  return a.get<std::int64_t>() < b.get<std::int64_t>();
}

// Brings to the front what `merge` shows of concurrent writes; latest() is there already.
void choose(std::vector<Write>& writes, std::optional<Merge> merge) {
  if (merge != Merge::min && merge != Merge::max) return;
  const auto better = [&](const Write& a, const Write& b) {
    if (is_exact_number(a.value) != is_exact_number(b.value)) return is_exact_number(a.value);
    if (!is_exact_number(a.value)) return false;
    return merge == Merge::min ? is_less(a.value, b.value) : is_less(b.value, a.value);
  };
  std::ranges::stable_sort(writes, better);
}

void report_conflict(DocumentView* report, std::string_view path, const std::vector<const Write*>& writes,
                     bool hidden_by_object, bool atomic) {
  if (report == nullptr || writes.empty()) return;
  const bool differ = std::ranges::any_of(writes, [&](const Write* w) { return w->value != writes[0]->value; });
  if (!differ && !hidden_by_object) return;
  DocumentConflict& conflict = report->conflicts.emplace_back();
  conflict.path = path;
  conflict.hidden_by_object = hidden_by_object;
  for (const Write* write : writes) conflict.writes.push_back(write->entry);
  if (atomic) conflict.parent = common_parent(conflict.writes);
  if (conflict.writes.size() > siblings_shown_max) conflict.writes.resize(siblings_shown_max);
}

}  // namespace

Tree::Tree(std::span<const Entry> entries, const DocumentPlace& place) : entries_(entries), place_(place) {
  root_.path = place.root;
  for (const Entry* entry : under(entries, place.root)) {
    Node* node = &root_;
    std::string_view rest = within(entry->path);
    while (!rest.empty()) {
      const auto end = std::min(rest.find('/', 1), rest.size());
      Node& next = node->below[unescape_token(rest.substr(1, end - 1))];
      if (next.path.empty()) next.path = node->path + std::string(rest.substr(0, end));
      rest.remove_prefix(end);
      node = &next;
    }
    if (node->here.empty()) node->here = at(entries, entry->path);
  }
}

std::optional<Merge> Tree::merge_at(std::string_view path) const {
  const auto found = place_.annotations.find(within(path));
  if (found == place_.annotations.end()) return {};
  return found->second;
}

bool Tree::shows_object(const Node& node) const {
  const auto is_object = [](const Entry& entry) {
    const auto value = value_of(entry);
    return value && value->is_object();
  };
  return std::ranges::any_of(node.here, is_object) ||
         std::ranges::any_of(node.below, [&](const auto& child) { return shown(child.second).has_value(); });
}

Json Tree::with_fields(Json start, const Node& node, DocumentView* report) const {
  for (const auto& [key, child] : node.below) {
    if (auto value = shown(child, report)) start[key] = std::move(*value);
  }
  return start;
}

std::optional<Json> Tree::shown_set(const Node& node, DocumentView* report) const {
  std::map<std::string, Json> found;
  bool is_set = false;
  for (const std::string& text : elements(entries_, node.path)) {
    Json element = json_nesting(text) == 0 ? read_exact(text) : Json(Json::value_t::discarded);
    if (element.is_discarded() || element.is_null()) {
      if (report != nullptr) report->damaged = true;
      continue;
    }
    found.emplace(text, std::move(element));
  }
  // An array from before the part was a set counts as its elements.
  auto writes = writes_at(node, report);
  for (const Write& write : writes) {
    if (!write.value.is_array()) continue;
    is_set = true;
    for (const Json& element : write.value) found.emplace(write_exact(element), element);
  }
  if (found.empty() && !is_set) return writes.empty() ? std::nullopt : std::optional(writes[0].value);
  Json array = Json::array();
  for (auto& [text, element] : found) array.push_back(std::move(element));
  return array;
}

std::optional<Json> Tree::shown(const Node& node, DocumentView* report) const {
  const auto merge = merge_at(node.path);
  if (merge == Merge::set) return shown_set(node, report);
  if (merge == Merge::counter) {
    if (const auto value = counter_value(entries_, node.path)) return Json(*value);
  }
  auto writes = writes_at(node, report);
  choose(writes, merge);
  Json fields = Json::object();
  if (merge != Merge::counter) fields = with_fields(std::move(fields), node, report);
  std::vector<const Write*> objects, others;
  bool is_object = !fields.empty();
  for (const Write& write : writes) {
    if (!write.value.is_object()) {
      others.push_back(&write);
    } else {
      is_object = true;
      if (!write.value.empty()) objects.push_back(&write);
    }
  }
  const auto path = within(node.path);
  if (!is_object) {
    report_conflict(report, path, others, false, merge == Merge::atomic);
    return writes.empty() ? std::nullopt : std::optional(std::move(writes[0].value));
  }
  report_conflict(report, path, objects, false, merge == Merge::atomic);
  report_conflict(report, path, others, true, false);
  if (objects.empty()) return fields;
  Json whole = objects[0]->value;
  whole.update(fields);
  return whole;
}

std::optional<Json> value_of(const Entry& entry) {
  const std::string_view text = json_of(entry);
  if (json_nesting(text) > nesting_read_max) return {};
  Json value = read_exact(text);
  if (value.is_discarded() || value.is_null()) return {};
  return value;
}

bool is_presence(const Entry& entry) { return json_of(entry) == empty_object; }

namespace {

std::vector<Dot> lineage_of(const Entry& entry) {
  std::vector<Dot> dots{entry.dot};
  const auto line = entry.value.find('\n');
  std::string_view rest = line == std::string::npos ? std::string_view() : std::string_view(entry.value).substr(line);
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const auto end = std::min(rest.find(' '), rest.size());
    if (const auto dot = parse_dot(rest.substr(0, end)); dot && dots.size() <= lineage_max) dots.push_back(*dot);
    rest.remove_prefix(end);
  }
  return dots;
}

}  // namespace

std::string with_lineage(std::string json, std::span<const Entry> superseded) {
  std::vector<const Entry*> order;
  for (const Entry& entry : superseded) order.push_back(&entry);
  std::ranges::sort(order, [](const Entry* a, const Entry* b) { return is_later(*a, *b); });
  std::vector<std::vector<Dot>> lines;
  for (const Entry* entry : order) lines.push_back(lineage_of(*entry));
  std::vector<Dot> dots;
  // Generation by generation; of a stretch of one run its newest write is enough.
  for (std::size_t i = 0; i <= lineage_max; ++i) {
    for (const auto& line : lines) {
      if (i >= line.size()) continue;
      const Dot& dot = line[i];
      const bool in_stretch = !dots.empty() && dots.back().run == dot.run && dots.back().seq > dot.seq;
      if (!in_stretch && std::ranges::find(dots, dot) == dots.end()) dots.push_back(dot);
    }
  }
  dots.resize(std::min(dots.size(), lineage_max));
  char before = '\n';
  for (const Dot& dot : dots) {
    json += std::exchange(before, ' ');
    json += to_string(dot);
  }
  return json;
}

std::optional<Dot> common_parent(const std::vector<const Entry*>& fork) {
  if (fork.size() < 2) return {};
  std::vector<std::vector<Dot>> lines;
  for (const Entry* entry : fork) lines.push_back(lineage_of(*entry));
  std::optional<Dot> parent;
  std::size_t parent_at = 0;
  for (Dot dot : lines[0]) {
    // A run saw all its own writes: the newest that every line has of it is one that all of them followed.
    const bool all = std::ranges::all_of(lines, [&](const auto& line) {
      const auto same = std::ranges::find(line, dot.run, &Dot::run);
      if (same != line.end()) dot.seq = std::min(dot.seq, same->seq);
      return same != line.end();
    });
    if (!all) continue;
    // How far back it is: at the last stretch of its run that reaches it.
    std::size_t dot_at = 0;
    for (std::size_t i = 0; i < lines[0].size(); ++i) {
      if (lines[0][i].run == dot.run && lines[0][i].seq >= dot.seq) dot_at = i;
    }
    if (!parent || dot_at < parent_at) parent = dot, parent_at = dot_at;
  }
  return parent;
}

}  // namespace landfall::document
