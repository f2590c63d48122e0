#include "tests/sim/editor.h"

#include <algorithm>

#include "crdt/counter.h"
#include "crdt/register.h"
#include "crdt/set.h"
#include "devicetwin/twin_codec.h"

namespace landfall::sim {
namespace {

// A desired value in one layer, by somebody who sees what is live in the other.
Op desire(const Entries& seen, const std::string& path, const std::string& other_layer, std::string json) {
  TwinValue value{.json = std::move(json), .actor = "operator"};
  for (const Entry& entry : at(seen, other_layer)) value.seen.push_back(entry.dot);
  const auto bytes = encode_twin_value(value);
  LANDFALL_CHECK(bytes.ok());
  return put_op(seen, path, *bytes);
}

}  // namespace

void Editor::define_properties(World::Node& hub) {
  std::vector<Change> changes;
  for (std::size_t i = 0; i < devices; ++i) {
    changes.push_back({device_object(device(i)), {}});
    for (std::size_t p = 0; p < properties; ++p) {
      const PropertyDefinition definition{.type = "int",
                                          .policy = static_cast<Policy>(p),
                                          .history = p < latest_properties ? History::latest : History::keep};
      changes.back().ops.push_back({"/def/x" + std::to_string(p), definition_json(definition), {}});
    }
  }
  append(hub, Stream::document, std::move(changes));
}

std::string Editor::number() { return std::to_string(world_.rng().below(1000)); }

void Editor::complain(std::string what) {
  if (violations_.size() < 20) violations_.push_back(std::move(what));
}

void Editor::edit(World::Node& node, std::size_t ops) {
  Rng& rng = world_.rng();
  const RunId run = node.log->run();
  auto& [waiting_run, waiting] = waiting_[node.self.node];
  if (waiting_run != run) waiting = 0;  // died with its run
  waiting_run = run;
  if (waiting > 0) return;
  std::vector<Change> desired, document;
  std::set<std::string> touched;  // a batch sees what was before it, so it may change an object but once
  for (std::size_t made = 0, tries = 0; made < ops && tries < ops; ++tries) {
    const double dice = rng.unit();
    const bool twin = dice < 0.4;
    std::string object = twin          ? twin_object(device(rng.below(devices)))
                         : dice < 0.75 ? device_object(device(rng.below(devices)))
                         : dice < 0.9  ? "doc/plan-" + std::to_string(rng.below(documents))
                                       : counter_object(rng.below(counters));
    if (!touched.insert(object).second) continue;
    const auto seen = node.log->state(twin ? Stream::desired : Stream::document, object);
    if (!seen.ok()) return complain(node.self.name + ": " + object + ": " + seen.error().detail);
    ByPath by_path;
    if (dice < 0.9 && rng.chance(0.02)) {
      by_path = erase_all(*seen);
    } else {
      by_path = twin          ? twin_ops(*seen, node.self.role == Peer::Role::hub)
                : dice < 0.75 ? device_ops(*seen)
                : dice < 0.9  ? document_ops(*seen)
                              : counter_ops(*seen, run);
    }
    if (by_path.empty()) continue;
    Change change{std::move(object), {}};
    for (auto& [path, op] : by_path) change.ops.push_back(std::move(op));
    made += change.ops.size();
    (twin ? desired : document).push_back(std::move(change));
  }
  if (!desired.empty()) append(node, Stream::desired, std::move(desired));
  if (!document.empty()) append(node, Stream::document, std::move(document));
  if (node.self.role != Peer::Role::hub) report(node, 1 + rng.below(2 * reporting));
}

// What a device that sends the same few values again and again makes: mostly of properties whose last value matters.
void Editor::report(World::Node& node, std::size_t events) {
  Rng& rng = world_.rng();
  const std::size_t edge = world_.nodes()[1]->self.node == node.self.node ? 0 : 1;
  std::vector<Change> changes;
  std::set<std::string> touched;
  for (std::size_t i = 0; i < events; ++i) {
    const std::uint64_t number_of_device = rng.below(reporting);
    std::string object = twin_object(device(number_of_device));
    if (edge_of(number_of_device) != edge || !touched.insert(object).second) continue;
    const auto seen = node.log->state(Stream::reported, object);
    if (!seen.ok()) return complain(node.self.name + ": " + object + ": " + seen.error().detail);
    const bool latest = rng.chance(0.95);
    ByPath ops;
    for (std::uint64_t k = 0, count = 1 + rng.below(2); k < count; ++k) {
      const std::uint64_t p =
          latest ? rng.below(latest_properties) : latest_properties + rng.below(properties - latest_properties);
      const std::string path = "/p/x" + std::to_string(p);
      ops[path] = rng.chance(0.99) ? put_op(*seen, path, number()) : erase_op(*seen, path);
    }
    changes.push_back({std::move(object), {}});
    for (auto& [path, op] : ops) changes.back().ops.push_back(std::move(op));
  }
  if (changes.empty()) return;
  reports_ += changes.size();
  append(node, Stream::reported, std::move(changes));
}

bool Editor::is_latest(const std::vector<Op>& ops) {
  return std::ranges::all_of(ops, [](const Op& op) {
    return !op.value || std::stoul(op.path.substr(std::string("/p/x").size())) < latest_properties;
  });
}

void Editor::append(World::Node& node, Stream stream, std::vector<Change> changes) {
  const RunId run = node.log->run();
  std::vector<std::string> payloads;
  std::vector<Event> events;
  payloads.reserve(changes.size());
  for (Change& change : changes) {
    if (stream != Stream::reported) edits_ += change.ops.size();
    auto payload = encode_ops(change.ops, {run, stream});
    if (!payload.ok()) return complain(node.self.name + ": " + payload.error().detail);
    payloads.push_back(std::move(*payload));
    Event event;
    event.kind = Kind::change;
    event.subject = change.object;
    event.actor = node.self.name;
    event.payload = payloads.back();
    events.push_back(event);
  }
  ++waiting_[node.self.node].second;
  node.log->append(stream, events, [this, run, id = node.self.node](const Result<Log::Appended>& appended) {
    auto& [waiting_run, waiting] = waiting_[id];
    if (waiting_run == run) --waiting;
    if (!appended.ok()) return complain("append: " + appended.error().detail);
    const Dot& first = appended->first;
    events_acknowledged_ += appended->count;
    if (!booked_.add({first.run, first.stream}, first.seq, first.seq + appended->count - 1).ok())
      complain("booked more than a context holds");
  });
}

// The hub writes the cloud's layer and sometimes takes an override back; an edge overrides and releases.
Editor::ByPath Editor::twin_ops(const Entries& seen, bool hub) {
  Rng& rng = world_.rng();
  ByPath ops;
  for (std::uint64_t i = 0, count = 1 + rng.below(4); i < count; ++i) {
    const std::string property = "/p/x" + std::to_string(rng.below(properties));
    const std::string cloud = property + "/c", edge = property + "/e";
    if (hub) {
      ops[cloud] = rng.chance(0.9) ? desire(seen, cloud, edge, number()) : erase_op(seen, cloud);
      if (rng.chance(0.1)) ops[edge] = erase_op(seen, edge);
    } else {
      ops[edge] = rng.chance(0.8) ? desire(seen, edge, cloud, number()) : erase_op(seen, edge);
    }
  }
  return ops;
}

Editor::ByPath Editor::device_ops(const Entries& seen) {
  Rng& rng = world_.rng();
  ByPath ops;
  for (std::uint64_t i = 0, count = 1 + rng.below(4); i < count; ++i) {
    const std::string name = "t" + std::to_string(rng.below(8));
    if (rng.chance(0.6)) {
      Op op = rng.chance(0.6) ? add_element_op(seen, "/tags", name) : remove_element_op(seen, "/tags", name);
      ops[op.path] = std::move(op);
    } else {
      Op op = rng.chance(0.8) ? put_op(seen, "/attributes/" + name, number()) : erase_op(seen, "/attributes/" + name);
      ops[op.path] = std::move(op);
    }
  }
  return ops;
}

Editor::ByPath Editor::document_ops(const Entries& seen) {
  Rng& rng = world_.rng();
  ByPath ops;
  for (std::uint64_t i = 0, count = 1 + rng.below(6); i < count; ++i) {
    std::string path;
    for (std::uint64_t depth = 1 + rng.below(3); depth > 0; --depth) path += "/k" + std::to_string(rng.below(4));
    if (rng.chance(0.85)) {
      ops[path] = put_op(seen, path, number());
    } else {
      for (const Entry* entry : under(seen, path)) ops[entry->path] = erase_op(seen, entry->path);
    }
  }
  return ops;
}

Editor::ByPath Editor::counter_ops(const Entries& seen, const RunId& own) {
  ByPath ops;
  const auto take = [&](Op op) { ops[op.path] = std::move(op); };
  if (world_.rng().chance(0.1)) {
    for (Op& op : reset_ops(seen, "/n")) take(std::move(op));
    resets_ += ops.empty() ? 0 : 1;
    return ops;
  }
  const auto by = static_cast<std::int64_t>(1 + world_.rng().below(9));
  auto op = count_op(seen, "/n", own, by);
  if (!op.ok()) return complain("count: " + op.error().detail), ops;
  counted_ += static_cast<std::uint64_t>(by);
  take(std::move(*op));
  return ops;
}

Editor::ByPath Editor::erase_all(const Entries& seen) {
  ByPath ops;
  for (const Entry& entry : seen) ops[entry.path] = erase_op(seen, entry.path);
  deletes_ += ops.empty() ? 0 : 1;
  return ops;
}

}  // namespace landfall::sim
