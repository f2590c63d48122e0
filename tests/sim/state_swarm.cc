#include "tests/sim/state_swarm.h"

#include <algorithm>

#include "crdt/counter.h"
#include "crdt/state.h"
#include "devicetwin/latest.h"
#include "devicetwin/twin.h"
#include "tests/sim/editor.h"
#include "tests/sim/faults.h"

namespace landfall::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration apart = 24h * 30;
constexpr std::array<Stream, 2> shared = {Stream::desired, Stream::document};

class Run {
 public:
  Run(std::uint64_t seed, const Faults& faults, std::uint64_t edits)
      : faults_(faults), edits_(edits), world_(seed, options(faults)), editor_(world_) {}

  StateOutcome outcome() {
    editor_.define_properties(world_.hub());
    faults_.begin(world_);
    live_together();
    live_apart();
    world_.heal();
    for (int i = 0; i < 720 && !agreed(); ++i) world_.run_for(5s);
    world_.run_for(2min);  // long enough for two comparisons
    check();
    return finish();
  }

 private:
  static World::Options options(const Faults& faults) {
    World::Options options = faults.options(2);
    options.reported_voids = superseded_latest;
    return options;
  }
  std::size_t batch() const { return std::clamp<std::size_t>(edits_ / 500, 10, 250); }

  void edit(std::uint64_t until, Duration pause) {
    for (int idle = 0; editor_.edits() < until && idle < 1000; ++idle) {
      World::Node& node = *world_.nodes()[world_.rng().below(world_.nodes().size())];
      const std::uint64_t before = editor_.edits();
      if (node.up()) editor_.edit(node, 1 + world_.rng().below(2 * batch()));
      if (editor_.edits() != before) idle = 0;
      if (world_.rng().chance(faults_.crash))
        world_.crash(*world_.nodes()[world_.rng().below(world_.nodes().size())], world_.rng().spread(10ms, 24h));
      world_.run_for(pause);
      look();
    }
  }

  void live_together() { edit(edits_ / 5, world_.rng().spread(10ms, 10s)); }

  // Each edge alone, but for moments in which a link comes up and falls again.
  void live_apart() {
    const Instant end = world_.now() + apart;
    const bool flapping = world_.rng().chance(0.4);
    for (std::size_t i = 0; i < 2; ++i) flap(i, end, flapping);
    const std::uint64_t steps = std::max<std::uint64_t>((edits_ - editor_.edits()) / batch(), 1);
    edit(edits_, (end - world_.now()) / static_cast<std::int64_t>(steps));
    if (world_.now() < end) world_.run_for(end - world_.now());
  }

  void flap(std::size_t edge, Instant end, bool again) {
    if (world_.now() >= end) return;
    const Duration left = end - world_.now();
    const Duration length = again ? std::min(world_.rng().spread(1min, 24h * 10), left) : left;
    world_.medium().cut(world_.edge(edge).network, world_.hub().network, length, world_.rng().chance(0.3));
    flaps_ += again ? 1 : 0;
    if (!again) return;
    world_.medium().schedule().at(world_.now() + length + world_.rng().spread(100ms, 10min),
                                  [this, edge, end] { flap(edge, end, true); });
  }

  void look() {
    for (auto& node : world_.nodes()) {
      if (!node->up()) continue;
      pending_met_ += node->log->pending_supersedes() > 0 ? 1 : 0;
      gaps_met_ += gaps(*node->log) ? 1 : 0;
    }
  }

  static bool gaps(const Log& log) {
    return std::ranges::any_of(log.received().streams(),
                               [&](const RunStream& of) { return log.received().base(of) != log.received().max(of); });
  }

  static ReceivedContext received(const Log& log, Stream stream) {
    ReceivedContext part;
    for (const RunStream& of : log.received().streams()) {
      if (of.stream == stream) part.join(log.received().of_stream(of));
    }
    return part;
  }

  bool agreed() {
    if (!world_.in_sync()) return false;
    return std::ranges::all_of(shared, [&](Stream stream) {
      const ReceivedContext ashore = received(*world_.hub().log, stream);
      return std::ranges::all_of(world_.nodes(), [&](auto& node) { return received(*node->log, stream) == ashore; });
    });
  }

  void complain(std::string what) {
    if (violations_.size() < 20) violations_.push_back(std::move(what));
  }

  void check() {
    for (const std::string& what : editor_.violations()) complain(what);
    for (const std::string& what : world_.faults_found()) complain(what);
    if (!agreed()) complain("not in sync an hour after healing");
    if (!std::ranges::all_of(world_.nodes(), [](auto& node) { return node->up(); })) return complain("a node is down");
    // Nothing acknowledged is missing where it belongs.
    for (auto& node : world_.nodes()) {
      for (const RunStream& of : editor_.booked().streams()) {
        const bool aboard = of.stream == Stream::reported && of.run.node != node->self.node;
        if (aboard && node->self.role != Peer::Role::hub) continue;  // another ship's
        for (const auto& range : node->log->received().missing(of, 1, editor_.booked().max(of))) {
          if (editor_.booked().missing(of, range.first, range.last) != std::vector{range})
            complain(node->self.name + ": lost " + to_string(Dot{of.run, of.stream, range.first}));
        }
      }
      if (gaps(*node->log)) complain(node->self.name + ": gaps");
      if (node->log->pending_supersedes() != 0) complain(node->self.name + ": supersedes writes that never come");
      for (const auto& peer : node->replicator->peers()) {
        compared_ += peer.compared;
        if (peer.divergences != 0 || peer.diverged != 0)
          complain(node->self.name + ": says that its state is not that of " + peer.peer.name);
      }
    }
    for (const Stream stream : shared) check_state(stream);
    for (std::size_t i = 0; i < 2; ++i) check_reported(i);
    for (std::uint64_t i = 0; i < Editor::devices; ++i) check_twin(Editor::device(i));
    for (std::uint64_t i = 0; i < Editor::counters; ++i) check_counter(Editor::counter_object(i));
  }

  // Byte for byte the same at all three, and what the events of any one of them amount to, read in any order.
  void check_state(Stream stream) {
    State forwards, backwards;
    replay(*world_.hub().log, stream, false, forwards);
    replay(*world_.edge(0).log, stream, true, backwards);
    if (!(forwards == backwards)) complain("state differs between a replay and one backwards");
    const auto digest = world_.hub().log->state_digest(stream);
    for (auto& node : world_.nodes()) {
      const std::string who = node->self.name + "/" + std::string(to_string(stream));
      const auto names = node->log->objects(stream, "", "", 1 << 20);
      if (!names.ok() || *names != forwards.objects(stream)) {
        complain(who + ": names other objects than a replay of the hub's events");
        continue;
      }
      for (const std::string& name : *names) {
        const auto entries = node->log->state(stream, name);
        if (!entries.ok() || *entries != forwards.object(stream, name))
          complain(who + "/" + name + ": is not what a replay of the hub's events comes to");
        if (node != world_.nodes().front() || !entries.ok()) continue;
        entries_ += entries->size();
        for (std::size_t i = 1; i < entries->size(); ++i)
          conflicts_ += (*entries)[i].path == (*entries)[i - 1].path ? 1 : 0;
      }
      const auto own = node->log->state_digest(stream);
      if (!own.ok() || !digest.ok() || *own != *digest) complain(who + ": another digest than the hub's");
    }
  }

  // The hub has each report as it was made, or, of superseded ones that nobody asked to keep, a void; and the same state.
  void check_reported(std::size_t edge) {
    const Log &ashore = *world_.hub().log, &aboard = *world_.edge(edge).log;
    for (std::uint64_t i = 0; i < Editor::reporting; ++i) {
      if (Editor::edge_of(i) != edge) continue;
      const auto theirs = aboard.state(Stream::reported, twin_object(Editor::device(i)));
      const auto here = ashore.state(Stream::reported, twin_object(Editor::device(i)));
      if (!theirs.ok() || !here.ok() || *theirs != *here) complain(Editor::device(i) + ": the hub has other reports");
    }
    for (const RunStream& of : aboard.received().streams()) {
      if (of.stream != Stream::reported || of.run.node != world_.edge(edge).self.node) continue;
      const auto made = rows_of(aboard, of), came = rows_of(ashore, of);
      if (made.size() != came.size()) complain(to_string(of.run) + ": the hub has another number of reports");
      for (std::size_t i = 0; i < std::min(made.size(), came.size()); ++i) check_report(of, i + 1, made[i], came[i]);
    }
  }

  void check_report(const RunStream& of, std::uint64_t seq, const std::string& made, const std::string& came) {
    if (made == came) return;
    const std::string name = to_string(Dot{of.run, of.stream, seq});
    const auto change = decode_row(made), there = decode_row(came);
    if (!change.ok() || !there.ok() || there->kind != Kind::voided) return complain(name + ": is another event ashore");
    ++voids_;
    const auto ops = decode_ops(change->payload, of), left = decode_ops(there->payload, of);
    if (!ops.ok() || !left.ok() || there->subject != change->subject) return complain(name + ": a void of another");
    if (!Editor::is_latest(*ops)) complain(name + ": was to be kept, and is a void ashore");
    for (std::size_t i = 0; i < ops->size(); ++i) {
      const Op bare{(*ops)[i].path, std::nullopt, (*ops)[i].supersedes};
      if (left->size() != ops->size() || (*left)[i] != bare) complain(name + ": its void supersedes something else");
    }
    const auto live = world_.hub().log->state(of.stream, change->subject);
    if (live.ok() && std::ranges::any_of(*live, [&](const Entry& e) { return e.dot == Dot{of.run, of.stream, seq}; }))
      complain(name + ": is live, and a void");
  }

  std::vector<std::string> rows_of(const Log& log, const RunStream& of) {
    std::vector<std::string> rows;
    const auto read = log.read(of, 1, ~std::size_t{0});
    if (!read.ok()) return complain("read: " + read.error().detail), rows;
    for (const auto& chunk : *read) {
      const auto decoded = decode_chunk(chunk.bytes);
      if (!decoded.ok()) return complain("read: " + decoded.error().detail), rows;
      RowReader reader(decoded->rows);
      for (std::string_view row = reader.next(); !row.empty(); row = reader.next()) rows.emplace_back(row);
    }
    return rows;
  }

  void replay(const Log& log, Stream stream, bool backwards, State& state) {
    std::vector<std::string> chunks;
    std::vector<RunStream> streams = log.received().streams();
    for (const RunStream& of : streams) {
      if (of.stream != stream) continue;
      const auto read = log.read(of, 1, ~std::size_t{0});
      if (!read.ok()) return complain("read: " + read.error().detail);
      for (const auto& chunk : *read) chunks.push_back(chunk.bytes);
    }
    if (backwards) std::ranges::reverse(chunks);
    for (const std::string& chunk : chunks) {
      const auto decoded = decode_chunk(chunk);
      if (!decoded.ok()) return complain("replay: " + decoded.error().detail);
      const Status applied = state.apply_rows(decoded->header.of, decoded->header.first, decoded->rows);
      if (!applied.ok()) return complain("replay: " + applied.error().detail);
    }
    if (state.pending() != 0) complain("a replay of everything leaves writes superseded that are not there");
  }

  // Every policy picks the same everywhere.
  void check_twin(const std::string& device) {
    std::string ashore;
    for (auto& node : world_.nodes()) {
      const auto desired = node->log->state(Stream::desired, twin_object(device));
      const auto document = node->log->state(Stream::document, device_object(device));
      if (!desired.ok() || !document.ok()) return complain(device + ": no state");
      std::size_t unreadable = 0;
      const TwinView view = view_twin(device, *desired, {}, *document, &unreadable);
      if (unreadable != 0) complain(node->self.name + "/" + device + ": unreadable values");
      const std::string json = twin_json(view);
      if (node == world_.nodes().front()) {
        ashore = json;
        for (const auto& [name, property] : view.properties) overruled_ += property.others.size();
      } else if (json != ashore) {
        complain(node->self.name + "/" + device + ": another twin than the hub's");
      }
    }
  }

  // Only raised and reset: never below nothing, whatever met whatever.
  void check_counter(const std::string& object) {
    const auto entries = world_.hub().log->state(Stream::document, object);
    const auto value = entries.ok() ? counter_value(*entries, "/n") : std::nullopt;
    if (value && (*value < 0 || static_cast<std::uint64_t>(*value) > editor_.counted()))
      complain(object + ": counts " + std::to_string(*value));
  }

  StateOutcome finish() {
    StateOutcome outcome;
    outcome.violations = violations_;
    outcome.fingerprint = world_.fingerprint();
    outcome.world = world_.stats();
    outcome.disk = world_.disk_stats();
    outcome.medium = world_.medium().stats();
    outcome.edits = editor_.edits();
    outcome.acknowledged = editor_.acknowledged();
    outcome.deletes = editor_.deletes();
    outcome.resets = editor_.resets();
    outcome.conflicts = conflicts_;
    outcome.entries = entries_;
    outcome.overruled = overruled_;
    outcome.reports = editor_.reports();
    outcome.voids = voids_;
    outcome.pending_met = pending_met_;
    outcome.gaps_met = gaps_met_;
    outcome.flaps = flaps_;
    outcome.compared = compared_;
    outcome.tasks = world_.tasks_run();
    outcome.simulated = world_.now().since_start;
    return outcome;
  }

  Faults faults_;
  std::uint64_t edits_;
  World world_;
  Editor editor_;
  std::uint64_t conflicts_ = 0, entries_ = 0, overruled_ = 0, voids_ = 0, pending_met_ = 0, gaps_met_ = 0, flaps_ = 0,
                compared_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace

StateOutcome run_state_swarm(std::uint64_t seed, std::uint64_t edits) {
  Rng dice(~seed);
  const Faults faults(dice);
  return Run(seed, faults, edits).outcome();
}

}  // namespace landfall::sim
