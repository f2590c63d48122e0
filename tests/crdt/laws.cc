#include "tests/crdt/laws.h"

#include <algorithm>
#include <map>

namespace landfall::crdt_test {
namespace {

using Part = std::vector<const Made*>;

Event event_of(const Made& made, const std::string& payload) {
  Event event;
  event.time = made.time;
  event.clock = made.clock;
  event.kind = Kind::change;
  event.subject = made.object;
  event.payload = payload;
  return event;
}

std::string payload_of(const Made& made) {
  auto ops = made.ops;
  return encode_ops(ops, {made.dot.run, made.dot.stream}).value();
}

void apply(State& state, const Made& made) {
  const std::string payload = payload_of(made);
  LANDFALL_CHECK(state.apply(made.dot, event_of(made, payload)).ok());
}

// As many of `part` as follow each other from `at` on, as one chunk's rows.
void apply_rows(State& state, const Part& part, std::size_t at, std::size_t most) {
  std::string rows;
  std::size_t end = at;
  for (; end < part.size() && end - at < most; ++end) {
    const Dot &first = part[at]->dot, &dot = part[end]->dot;
    if (dot.run != first.run || dot.seq != first.seq + (end - at)) break;
    const std::string payload = payload_of(*part[end]);
    LANDFALL_CHECK(encode_row(event_of(*part[end], payload), rows).ok());
  }
  const Dot& dot = part[at]->dot;
  LANDFALL_CHECK(state.apply_rows({dot.run, dot.stream}, dot.seq, rows).ok());
}

Part sample(const Part& all, Rng& rng) {
  const std::uint64_t percent[] = {30, 50, 50, 80, 100};
  const std::uint64_t most = percent[below(rng, 5)];
  Part part;
  for (const Made* made : all) {
    if (chance(rng, most)) part.push_back(made);
  }
  return part;
}

Part united(const Part& a, const Part& b) {
  Part both = a;
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

State joined(State a, const State& b) { return a.join(b), a; }

bool lists(const Made& by, const Made& made, const std::string& path) {
  return by.object == made.object && std::ranges::any_of(by.ops, [&](const Op& op) {
           return op.path == path && std::ranges::find(op.supersedes, made.dot) != op.supersedes.end();
         });
}

// Every write is live, or some event here lists it; and never both.
bool is_any_write_lost(const State& state, const Part& all) {
  for (const Made* made : all) {
    Entries entries;
    for (const Op& op : made->ops) {
      if (!op.value) continue;
      if (entries.empty()) entries = state.object(made->dot.stream, made->object);
      const auto here = at(entries, op.path);
      const bool live = std::ranges::find(here, made->dot, &Entry::dot) != here.end();
      const bool listed = std::ranges::any_of(all, [&](const Made* by) { return lists(*by, *made, op.path); });
      if (live == listed) return true;
    }
  }
  return false;
}

// The whole, where each event that nothing is live of has been shrunk by somebody before it came on.
Part compacted(const Part& all, bool drop_edges, Rng& rng, std::vector<Made>& keep) {
  const Oracle end = expected(all);
  std::set<Dot> live;
  for (const auto& [place, entry] : end.live) live.insert(entry.dot);
  keep.reserve(all.size());
  Part part;
  for (const Made* made : all) {
    const bool shrink = !live.contains(made->dot) && chance(rng, 50);
    part.push_back(shrink ? &keep.emplace_back(crdt_test::compacted(*made, drop_edges)) : made);
  }
  return part;
}

void split_by_edges(const Part& all, Rng& rng, Part& a, Part& b) {
  a.clear(), b.clear();
  std::set<Dot> in_a;
  for (const Made* made : all) {
    bool after_a = false;
    for (const Op& op : made->ops) {
      after_a = after_a || std::ranges::any_of(op.supersedes, [&](const Dot& dot) { return in_a.contains(dot); });
    }
    const bool to_a = after_a ? chance(rng, 10) : chance(rng, 60);
    (to_a ? a : b).push_back(made);
    if (to_a) in_a.insert(made->dot);
  }
}

}  // namespace

std::string difference(const Oracle& oracle, const State& state) {
  ReceivedContext received;
  for (const Dot& dot : oracle.received) LANDFALL_CHECK(received.add(dot).ok());
  if (received != state.received()) return "received";
  if (oracle.pending.size() != state.pending()) return "pending";
  if (oracle.live.size() != state.entries()) return "number of live writes";
  for (const char* object : {"r", "s", "c", "q", "d"}) {
    if (oracle.see(object) != state.object(Stream::document, object)) return std::string("object ") + object;
  }
  return {};
}

Oracle expected(const Part& events) {
  Oracle oracle;
  for (const Made* made : events) oracle.apply(*made);
  return oracle;
}

State heard(const Part& events, Rng& rng) {
  State state;
  Part order = events;
  const bool in_order = chance(rng, 30);
  if (!in_order) std::ranges::shuffle(order, rng);
  if (in_order) std::ranges::stable_sort(order, {}, [](const Made* made) { return made->dot; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (chance(rng, 50)) {
      apply(state, *order[i]);
    } else {
      apply_rows(state, order, i, 1 + below(rng, 4));
    }
    if (chance(rng, 10)) apply(state, *order[below(rng, i + 1)]);
  }
  return state;
}

Made compacted(const Made& event, bool drop_edges) {
  Made shrunk = event;
  for (Op& op : shrunk.ops) {
    op.value.reset();
    if (drop_edges) op.supersedes.clear();
  }
  return shrunk;
}

std::string broken_law(std::uint64_t seed, const LawOptions& options) {
  Rng rng(seed);
  const History history = random_history(rng, options.history);
  Part all;
  for (const Made& made : history.events) all.push_back(&made);
  Part a = sample(all, rng), b = sample(all, rng);
  const Part c = sample(all, rng);
  if (options.split_edges) split_by_edges(all, rng, a, b);
  const State fa = heard(a, rng), fb = heard(b, rng), fc = heard(c, rng);
  if (const auto what = difference(expected(a), fa); !what.empty()) return "state of a set: " + what;
  if (!(fa == heard(a, rng))) return "order, doubles";
  State ab = joined(fa, fb);
  if (const auto what = difference(expected(united(a, b)), ab); !what.empty()) return "homomorphism: " + what;
  if (!(ab == joined(fb, fa))) return "commutative";
  if (!(joined(ab, fc) == joined(fa, joined(fb, fc)))) return "associative";
  if (!(joined(ab, fb) == ab) || !(joined(ab, State(ab)) == ab)) return "idempotent";
  // Who has a part, joined or not, catches up event by event, from whoever has shrunk what.
  std::vector<Made> shrunk;
  State late = fa;
  for (const Made* made : compacted(all, options.drop_edges, rng, shrunk)) apply(ab, *made), apply(late, *made);
  const State whole = heard(all, rng);
  if (const auto what = difference(expected(all), whole); !what.empty()) return "whole: " + what;
  if (!(ab == whole) || !(late == whole)) return "catching up with compacted events";
  if (!history.guesses && whole.pending() != 0) return "pending without a gap";
  if (!history.guesses && is_any_write_lost(whole, all)) return "lost write";
  return {};
}

}  // namespace landfall::crdt_test
