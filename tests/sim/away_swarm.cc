#include "tests/sim/away_swarm.h"

#include <algorithm>

#include "crdt/register.h"
#include "crdt/state.h"
#include "tests/sim/editor.h"

namespace landfall::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::array<Stream, 2> shared = {Stream::desired, Stream::document};
constexpr std::uint64_t days = 180, unsent_events = 10'000, manuals = 900;
constexpr std::uint64_t link_rate = 16'000;

class Away {
 public:
  Away(std::uint64_t seed, const AwayOptions& options)
      : options_(options),
        world_(seed, {.edges = 3, .heartbeat = 1h}),
        editor_(world_),
        hub_(world_.hub()),
        away_(world_.edge(0)) {}

  AwayOutcome outcome() {
    together();
    world_.medium().cut(away_.network, hub_.network, 24h * (days + 2), false);
    apart();
    come_back();
    check();
    out_.world = world_.stats();
    out_.edits = editor_.edits();
    return out_;
  }

 private:
  static std::string manual(std::uint64_t i) { return "doc/manual-" + std::to_string(i); }

  void complain(std::string what) {
    if (out_.violations.size() < 20) out_.violations.push_back(std::move(what));
  }

  // Text that compresses about as much as what people write.
  std::string text(std::size_t words) {
    std::string text = "\"";
    for (std::size_t i = 0; i < words; ++i) text += "w" + std::to_string(world_.rng().below(20'000)) + " ";
    return text + "\"";
  }

  void write_manual(World::Node& node, std::uint64_t i, bool erase) {
    const std::string object = manual(i);
    const auto seen = node.log->state(Stream::document, object);
    std::vector<Op> ops;
    if (erase) {
      for (const Entry& entry : *seen) {
        if (ops.empty() || ops.back().path != entry.path) ops.push_back(erase_op(*seen, entry.path));
      }
    } else {
      ops.push_back(put_op(*seen, "/body", text(12)));
      ops.push_back(put_op(*seen, "/title", text(2)));
    }
    if (ops.empty()) return;
    const auto payload = encode_ops(ops, {node.log->run(), Stream::document});
    Event event;
    event.kind = Kind::change;
    event.subject = object;
    event.payload = *payload;
    node.log->append(Stream::document, {&event, 1}, [this](const Result<Log::Appended>& appended) {
      if (!appended.ok()) complain("append: " + appended.error().detail);
    });
  }

  void settle() {
    for (int i = 0; i < 200 && !world_.in_sync(); ++i) world_.run_for(5s);
  }

  void together() {
    editor_.define_properties(hub_);
    for (std::uint64_t i = 0; i < manuals; ++i) {
      write_manual(hub_, i, false);
      if (i % 50 == 0) world_.run_for(1s);
    }
    for (int i = 0; i < 40; ++i) {
      for (auto& node : world_.nodes()) editor_.edit(*node, 15);
      world_.run_for(10s);
    }
    settle();
    if (!world_.in_sync()) complain("not in sync before the link went");
    for (const Stream stream : shared) {
      const auto names = away_.log->objects(stream, "", "", 1 << 20);
      for (const std::string& name : *names) held_.emplace_back(stream, name);
    }
  }

  void apart() {
    for (std::uint64_t day = 0; day < days; ++day) {
      for (std::size_t n = 0; n < world_.nodes().size(); ++n) {
        World::Node& node = *world_.nodes()[n];
        if (&node == &away_) {
          if (day % 12 == 0) editor_.edit(node, 120);
          continue;
        }
        editor_.edit(node, 1 + world_.rng().below(12));
        for (int i = 0; i < 4; ++i) write_manual(node, world_.rng().below(manuals), world_.rng().chance(0.4));
      }
      world_.run_for(1min);
      if (day % 6 == 5) write_unsent(day + 1);
      world_.run_for(1min);
      if (world_.rng().chance(0.02)) world_.crash(away_, 1h);
      world_.run_for(24h - 2min);
      if (day % 7 == 6) prune();
    }
    for (auto& node : world_.nodes()) {
      if (!node->up()) world_.start(*node);
    }
    world_.run_for(10min);
    prune();
  }

  // Readings, as many as there ought to be by then, and an alarm.
  void write_unsent(std::uint64_t day) {
    if (!away_.up()) return;
    const std::uint64_t count = unsent_events * day / days - written_;
    written_ += count;
    std::vector<std::string> payloads, subjects;
    std::vector<Event> events;
    payloads.reserve(count);
    for (std::uint64_t i = 0; i < 20; ++i) subjects.push_back("ship/pump-" + std::to_string(i));
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto number = [&] { return std::to_string(world_.rng().below(10'000'000)); };
      payloads.push_back(R"({"rpm":)" + number() + R"(,"bar":)" + number() + R"(,"celsius":)" + number() +
                         R"(,"hours":)" + number() + "}");
      Event event;
      event.kind = Kind::telemetry;
      event.subject = subjects[i % subjects.size()];
      event.payload = payloads.back();
      events.push_back(event);
    }
    const auto done = [this](const Result<Log::Appended>& appended) {
      if (!appended.ok()) return complain("append: " + appended.error().detail);
      const Dot& first = appended->first;
      (void)own_.add({first.run, first.stream}, first.seq, first.seq + appended->count - 1);
    };
    away_.log->append(Stream::telemetry, events, done);
    away_.log->append(Stream::alarm, {events.data(), 1}, done);
  }

  // Every event of the shared streams, before the hub has only what they amount to; then all that can go goes.
  void harvest() {
    for (const RunStream& of : hub_.log->received().streams()) {
      if (std::ranges::find(shared, of.stream) == shared.end()) continue;
      const auto chunks = hub_.log->read(of, read_[of] + 1, ~std::size_t{0});
      if (!chunks.ok()) return complain("read: " + chunks.error().detail);
      for (const auto& chunk : *chunks) {
        if (chunk.header.first != read_[of] + 1) return complain("harvest: a gap in " + to_string(of.run));
        const auto decoded = decode_chunk(chunk.bytes);
        if (!decoded.ok() || !truth_.apply_rows(of, chunk.header.first, decoded->rows).ok())
          return complain("harvest: unreadable");
        read_[of] = chunk.header.last;
      }
    }
  }

  void prune() {
    harvest();
    ++out_.prunes;
    for (const auto& [of, last] : read_) {
      hub_.log->prune(of, last, [this](const Status& status) {
        if (!status.ok()) complain("prune: " + status.error().detail);
      });
    }
    world_.run_for(1min);
    for (const auto& [of, last] : read_) pruned_ += hub_.log->floor(of) == last ? 1 : 0;
    out_.chunks_pruned = pruned_;
  }

  bool agreed() {
    if (!world_.in_sync()) return false;
    return std::ranges::all_of(hub_.log->received().streams(), [&](const RunStream& of) {
      if (std::ranges::find(shared, of.stream) == shared.end()) return true;
      const ReceivedContext ashore = hub_.log->received().of_stream(of);
      return std::ranges::all_of(world_.nodes(),
                                 [&](auto& node) { return node->log->received().of_stream(of) == ashore; });
    });
  }

  // What must travel, whoever sends it: the state as it is ashore, and the chunks that only the ship has.
  void measure() {
    for (const Stream stream : shared) {
      const auto snapshot = hub_.log->snapshot(stream);
      if (!snapshot.ok()) return complain("no snapshot: " + snapshot.error().detail);
      out_.snapshot_bytes += (*snapshot)->manifest().bytes();
    }
    for (const RunStream& of : away_.log->received().streams()) {
      if (of.run.node != away_.self.node) continue;
      const std::uint64_t base = hub_.log->received().base(of);
      const auto chunks = away_.log->read(of, base + 1, ~std::size_t{0});
      for (const auto& chunk : *chunks) {
        if (chunk.header.first <= base) continue;
        out_.unsent += chunk.header.count();
        out_.unsent_bytes += chunk.bytes.size();
      }
    }
  }

  std::uint64_t link_bytes() { return away_.network.totals().bytes_in + away_.network.totals().bytes_out; }

  void come_back() {
    if (!away_.up()) world_.start(away_);
    measure();
    const std::uint64_t before = link_bytes();
    world_.medium().faults = {.loss = options_.loss,
                              .duplicate = options_.duplicate,
                              .delay_min = 290ms,
                              .delay_max = options_.loss > 0 ? 700ms : 310ms,
                              .in_order = options_.loss == 0,
                              .bytes_per_second = link_rate};
    const Duration left = 24h * 3;
    for (Duration waited{}; !up(); waited += 10s) {
      world_.run_for(10s);
      if (waited > left) return complain("the link did not come back");
    }
    const Instant met = world_.now();
    const auto most = (out_.snapshot_bytes + out_.unsent_bytes) / link_rate;
    while (!agreed() && world_.now() - met < 12h) {
      world_.run_for(1s);
      const bool early = world_.now() - met < std::chrono::seconds(10 * most);
      if (options_.kills && early && world_.rng().chance(0.03)) {
        ++out_.kills;
        world_.crash(world_.rng().chance(0.5) ? away_ : hub_, world_.rng().spread(10ms, 1min));
      }
      if (options_.flaps && early && world_.rng().chance(0.2)) {
        ++out_.flaps;
        world_.medium().cut(away_.network, hub_.network, 1s, false);
      }
      count_joined();
    }
    out_.took = world_.now() - met;
    out_.link_bytes = link_bytes() - before;
    world_.heal();
    for (int i = 0; i < 720 && !agreed(); ++i) world_.run_for(5s);
    world_.run_for(2min);
  }

  bool up() {
    for (const auto& peer : away_.replicator->peers()) {
      if (peer.connected) return true;
    }
    return false;
  }

  // Totals are of a session, and of the last one once it ended.
  void count_joined() {
    if (!away_.up()) return;
    for (const auto& peer : away_.replicator->peers()) {
      auto& [session, joined] = seen_[{away_.log->run(), peer.sessions}];
      out_.joined += peer.totals.snapshots_joined - joined;
      out_.part_bytes += peer.totals.snapshot_bytes_received - session;
      joined = peer.totals.snapshots_joined;
      session = peer.totals.snapshot_bytes_received;
    }
  }

  void check() {
    for (const std::string& what : editor_.violations()) complain(what);
    for (const std::string& what : world_.faults_found()) complain(what);
    if (!std::ranges::all_of(world_.nodes(), [](auto& node) { return node->up(); })) return complain("a node is down");
    if (!agreed()) complain("not in sync an hour after healing");
    harvest();
    for (const ReceivedContext* written : std::initializer_list<const ReceivedContext*>{&own_, &editor_.booked()}) {
      for (const RunStream& of : written->streams()) {
        if (!hub_.log->received().contains(of, 1, written->max(of))) complain("the hub lacks " + to_string(of.run));
      }
    }
    for (auto& node : world_.nodes()) {
      for (const Stream stream : shared) check_state(*node, stream);
      if (node->log->pending_supersedes() != 0) complain(node->self.name + ": supersedes writes that never come");
      for (const auto& peer : node->replicator->peers()) {
        if (peer.divergences != 0) complain(node->self.name + ": says that its state is not that of " + peer.peer.name);
      }
    }
    for (const auto& [stream, name] : held_) out_.gone += truth_.object(stream, name).empty() ? 1 : 0;
  }

  void check_state(World::Node& node, Stream stream) {
    const std::string who = node.self.name + "/" + std::string(to_string(stream));
    const auto names = node.log->objects(stream, "", "", 1 << 20);
    if (!names.ok() || *names != truth_.objects(stream)) complain(who + ": names other objects than a replay");
    for (const std::string& name : truth_.objects(stream)) {
      const auto entries = node.log->state(stream, name);
      if (!entries.ok() || *entries != truth_.object(stream, name))
        complain(who + "/" + name + ": is not what a replay comes to");
      if (&node == &hub_) out_.entries += entries->size();
    }
    const auto ashore = hub_.log->state_digest(stream), own = node.log->state_digest(stream);
    if (!own.ok() || !ashore.ok() || *own != *ashore) complain(who + ": another digest than the hub's");
  }

  AwayOptions options_;
  World world_;
  Editor editor_;
  World::Node& hub_;
  World::Node& away_;
  State truth_;
  std::map<RunStream, std::uint64_t> read_;
  ReceivedContext own_;  // of the one that was away, once it was A1 there
  std::vector<std::pair<Stream, std::string>> held_;
  std::map<std::pair<RunId, std::uint64_t>, std::pair<std::uint64_t, std::uint64_t>> seen_;
  std::uint64_t pruned_ = 0, written_ = 0;
  AwayOutcome out_;
};

}  // namespace

AwayOutcome run_away(std::uint64_t seed, const AwayOptions& options) { return Away(seed, options).outcome(); }

}  // namespace landfall::sim
