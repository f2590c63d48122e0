#include "tests/crdt/history.h"

#include <algorithm>

#include "crdt/counter.h"
#include "crdt/document.h"
#include "crdt/quota.h"
#include "crdt/register.h"
#include "crdt/set.h"

namespace landfall::crdt_test {
namespace {

struct Node {
  RunStream of;
  std::uint64_t seq = 0;
  std::uint64_t time = 0;
  Oracle state;
};
struct Backup {
  std::uint64_t seq = 0;
  Oracle state;
};

class Maker {
 public:
  Maker(Rng& rng, const HistoryOptions& options) : rng_(rng), options_(options) {
    for (int i = 0; i < options.nodes; ++i) {
      NodeId id;
      id.bytes.fill(static_cast<std::uint8_t>(i + 1));
      nodes_.push_back({{{id, 1, 7}, Stream::document}, 0, 0, {}});
    }
    backups_.resize(nodes_.size());
  }

  History make() {
    for (int i = 0; i < options_.steps; ++i) step();
    return std::move(history_);
  }

 private:
  std::size_t any() { return below(rng_, nodes_.size()); }

  void step() {
    const std::size_t n = any();
    Node& node = nodes_[n];
    switch (below(rng_, 12)) {
      case 0: node.state.join(nodes_[any()].state); break;
      case 1: restart(n); break;
      case 2:
      case 3:
      case 4:
        for (std::uint64_t i = 1 + below(rng_, 3); i > 0 && !history_.events.empty(); --i) {
          const Made& event = history_.events[below(rng_, history_.events.size())];
          node.state.apply(event);
          node.time = std::max(node.time, event.time.value);
        }
        break;
      default: write(node);
    }
  }

  void restart(std::size_t n) {
    Node& node = nodes_[n];
    if (chance(rng_, 50)) {
      backups_[n] = {node.seq, node.state};
      return;
    }
    node.state = backups_[n].state;
    if (options_.reuse_run) {
      node.seq = backups_[n].seq;
    } else {
      ++node.of.run.counter;
      node.seq = 0;
    }
  }

  void write(Node& node) {
    Made made;
    const auto kind = options_.only_registers ? 0 : below(rng_, 10);
    if (kind < 5) {
      made.object = "r";
      made.ops = registers(node);
    } else {
      made.object = std::string(1, "scqdd"[kind - 5]);
      const Entries entries = node.state.see(made.object);
      made.ops = kind == 5   ? set(entries)
                 : kind == 6 ? counter(entries, node)
                 : kind == 7 ? shares(entries, node)
                             : document(entries, node);
    }
    if (made.ops.empty()) return;
    made.dot = {node.of.run, node.of.stream, ++node.seq};
    made.time = {++node.time};
    made.clock = static_cast<ClockClass>(below(rng_, 4));
    node.state.apply(made);
    history_.events.push_back(std::move(made));
  }

  std::vector<Op> registers(Node& node) {
    const Entries entries = node.state.see("r");
    std::vector<Op> ops;
    for (std::uint64_t i = 1 + below(rng_, 3), path = below(rng_, 4); i > 0; --i, path = (path + 1) % 4) {
      const std::string name = "/" + std::string(1, static_cast<char>('a' + path));
      ops.push_back(chance(rng_, 70) ? put_op(entries, name, std::to_string(below(rng_, 9))) : erase_op(entries, name));
    }
    if (options_.may_guess && chance(rng_, 3)) {
      history_.guesses = true;
      ops[0].supersedes.push_back({nodes_[any()].of.run, node.of.stream, 1 + below(rng_, 6)});
    }
    return ops;
  }

  std::vector<Op> set(const Entries& entries) {
    const std::string element(1, static_cast<char>('x' + below(rng_, 3)));
    if (chance(rng_, 60)) return {add_element_op(entries, "/t", element)};
    return {remove_element_op(entries, "/t", element)};
  }

  std::vector<Op> counter(const Entries& entries, const Node& node) {
    if (chance(rng_, 70)) {
      return {count_op(entries, "/n", node.of.run, static_cast<std::int64_t>(below(rng_, 20)) - 6).value()};
    }
    return chance(rng_, 50) ? reset_ops(entries, "/n") : erase_counter_ops(entries, "/n");
  }

  std::vector<Op> shares(const Entries& entries, const Node& node) {
    const std::uint64_t amount = 1 + below(rng_, 30);
    auto op = chance(rng_, 30)   ? grant_op(entries, "/q", node.of.run, amount)
              : chance(rng_, 50) ? spend_op(entries, "/q", node.of.run, amount)
                                 : transfer_op(entries, "/q", node.of.run, nodes_[any()].of.run.node, amount);
    if (!op) return {};
    return {*std::move(op)};
  }

  std::vector<Op> document(const Entries& entries, const Node& node) {
    static const char* const patches[] = {
        R"({"a":1})",           R"({"a":{"b":2}})",
        R"({"a":{"c":[3]}})",   R"({"a":null})",
        R"({"a":{"b":null}})",  R"({"b":{}})",
        R"({"b":"text"})",      R"({"b":{"c":{}}})",
        R"({"b":null,"a":4})",  R"({"tags":["x","y"]})",
        R"({"hits":17})",       R"({"hits":null})",
        R"({"tags":["z"]})",    R"(null)",
        R"({"whole":{"k":1}})", R"([1,2])",
        R"({"low":3})",         R"({"low":2.5})",
    };
    static const DocumentPlace place{
        "", {{"/tags", Merge::set}, {"/hits", Merge::counter}, {"/whole", Merge::atomic}, {"/low", Merge::min}}};
    return patch_ops(entries, place, node.of.run, patches[below(rng_, std::size(patches))]).value();
  }

  Rng& rng_;
  const HistoryOptions& options_;
  std::vector<Node> nodes_;
  std::vector<Backup> backups_;
  History history_;
};

}  // namespace

History random_history(Rng& rng, const HistoryOptions& options) { return Maker(rng, options).make(); }

}  // namespace landfall::crdt_test
