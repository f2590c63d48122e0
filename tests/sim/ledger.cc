#include "tests/sim/ledger.h"

#include <algorithm>

namespace landfall::sim {
namespace {

// "name/number/padding": the number rises with every append of the node.
std::uint64_t number_of(std::string_view body) {
  const auto slash = body.find('/');
  return std::stoull(std::string(body.substr(slash + 1)));
}

}  // namespace

void Ledger::complain(std::string what) {
  if (violations_.size() < 20) violations_.push_back(std::move(what));
}

void Ledger::append(World::Node& node, Stream stream, std::size_t count, std::size_t pad_bytes) {
  std::vector<std::string> bodies;
  std::vector<Event> events(count);
  for (std::size_t i = 0; i < count; ++i) {
    bodies.push_back(node.self.name + "/" + std::to_string(++counters_[node.self.node]) + "/" +
                     std::string(world_.rng().below(pad_bytes + 1), '.'));
  }
  for (std::size_t i = 0; i < count; ++i) {
    events[i].kind = Kind::message;
    events[i].subject = "device";
    events[i].payload = bodies[i];
  }
  node.log->append(stream, events, [this, bodies](const Result<Log::Appended>& appended) {
    if (!appended.ok()) return;
    Dot dot = appended->first;
    for (const std::string& body : bodies) {
      book(dot, body);
      ++dot.seq;
    }
  });
}

void Ledger::book(const Dot& dot, const std::string& body) {
  if (!by_dot_.emplace(dot, body).second) complain("one dot, two events: " + to_string(dot));
  if (!bodies_.insert(body).second) complain("one event acknowledged twice: " + body);
}

void Ledger::check_ack_marks() {
  for (auto& node : world_.nodes()) {
    if (node->up() && node->self.role != Peer::Role::hub) committed_ever_.join(node->replicator->committed_by_peers());
  }
  if (!world_.hub().up()) return;
  for (const ReceivedContext* ashore : {&world_.hub().log->received(), &world_.committed_ashore()}) {
    for (const RunStream& of : committed_ever_.streams()) {
      for (const auto& range : ashore->missing(of, 1, committed_ever_.max(of))) {
        if (committed_ever_.missing(of, range.first, range.last) == std::vector{range}) continue;
        complain("the hub acknowledged and lost " + to_string(Dot{of.run, of.stream, range.first}) + ".." +
                 std::to_string(range.last));
      }
    }
  }
}

void Ledger::check_stream(World::Node& holder, const RunStream& of, std::set<std::string>& bodies_seen) {
  std::uint64_t next = 1, number = 0;
  while (true) {
    const auto chunks = holder.log->read(of, next, 1 << 20);
    if (!chunks.ok()) return complain(holder.self.name + ": " + chunks.error().detail);
    if (chunks->empty()) break;
    for (const auto& chunk : *chunks) {
      const auto decoded = decode_chunk(chunk.bytes);
      if (!decoded.ok()) return complain(holder.self.name + ": " + decoded.error().detail);
      if (chunk.header.first != next)
        return complain(holder.self.name + ": hole or overlap before " +
                        to_string(Dot{of.run, of.stream, chunk.header.first}));
      RowReader rows(decoded->rows);
      for (; next <= chunk.header.last; ++next) {
        const auto event = decode_row(rows.next());
        if (!event.ok() || event->kind != Kind::message) continue;
        const std::string body(event->payload);
        const Dot dot{of.run, of.stream, next};
        if (!bodies_seen.insert(body).second) complain(holder.self.name + ": holds twice " + body);
        if (number_of(body) <= number) complain(holder.self.name + ": out of order " + to_string(dot));
        number = number_of(body);
        const auto booked = by_dot_.find(dot);
        if (booked != by_dot_.end() && booked->second != body)
          complain(holder.self.name + ": another event under " + to_string(dot));
      }
    }
  }
}

void Ledger::check_contents(World::Node& holder) {
  std::set<std::string> seen;
  for (const RunId& run : holder.log->runs()) {
    for (std::size_t s = 0; s < stream_count; ++s) check_stream(holder, {run, static_cast<Stream>(s)}, seen);
  }
  const bool hub = holder.self.role == Peer::Role::hub;
  for (const auto& [dot, body] : by_dot_) {
    const bool own = dot.run.node == holder.self.node;
    const std::uint8_t from_hub = dot.run.node == world_.hub().self.node ? 0b0010111 : 0b0010100;
    const bool subscribed = (from_hub >> static_cast<int>(dot.stream) & 1) != 0;
    if ((hub || own || subscribed) && !seen.contains(body))
      complain(holder.self.name + ": lost " + to_string(dot) + " " + body.substr(0, 40));
  }
  Disk at_rest = holder.disk;
  at_rest.boot(holder.loop);  // with what its anchor holds now
  const auto report = verify_log(at_rest, [](std::uint64_t) {});
  if (!report.ok()) return complain(holder.self.name + ": verify: " + report.error().detail);
  for (const std::string& fault : report->faults) complain(holder.self.name + ": verify: " + fault);
}

void Ledger::check_converged() {
  for (const std::string& fault : world_.faults_found()) complain(fault);
  for (auto& node : world_.nodes()) {
    if (!node->up()) return;  // said so above
  }
  check_ack_marks();
  const ReceivedContext& ashore = world_.hub().log->received();
  for (auto& node : world_.nodes()) {
    const NodeId id = node->self.node;
    if (!(ashore.of_node(id) == node->log->received().of_node(id)))
      complain(node->self.name + ": received context differs from the hub's");
    check_contents(*node);
  }
  if (!world_.in_sync()) complain("not in sync after healing");
}

}  // namespace landfall::sim
