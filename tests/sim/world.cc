#include "tests/sim/world.h"

#include <algorithm>

namespace landfall::sim {

using namespace std::chrono_literals;

namespace {

Peer named(std::size_t index) {
  Peer peer;
  peer.node.bytes.fill(static_cast<std::uint8_t>(0x10 + index));
  peer.role = index == 0 ? Peer::Role::hub : Peer::Role::node;
  peer.name = index == 0 ? "hub" : "edge" + std::to_string(index);
  return peer;
}

}  // namespace

World::Node::Node(World& world, Peer who)
    : self(who), loop(world.schedule_), disk(loop), network(world.medium_, loop, who) {}

World::World(std::uint64_t seed, Options options) : schedule_(seed), options_(options), medium_(schedule_) {
  for (std::size_t i = 0; i <= options_.edges; ++i) {
    nodes_.push_back(std::make_unique<Node>(*this, named(i)));
    Node& node = *nodes_.back();
    node.disk.on_commit([this, &node] { on_commit(node); });
    if (i != 0) medium_.join(node.network, nodes_[0]->network);
  }
  for (auto& node : nodes_) start(*node);
}

// Nodes die before the schedule that holds their tasks; their tasks are never run again.
World::~World() {
  for (auto& node : nodes_) {
    node->replicator.reset();
    node->log.reset();
  }
}

void World::on_commit(Node& node) {
  if (!node.crash_in_commit || node.crash_coming || !rng().chance(*node.crash_in_commit)) return;
  node.crash_coming = true;
  // Most commits take a few milliseconds: the power fails somewhere inside.
  schedule_.at(now() + rng().spread(1us, 10ms), [this, &node] { crash(node, rng().spread(10ms, 10min)); });
}

void World::crash(Node& node, Duration down) {
  node.crash_coming = false;
  if (!node.up()) return;
  ++stats_.crashes;
  node.loop.crash();
  node.network.crash();
  node.replicator.reset();
  node.log.reset();
  node.disk.crash(rng());
  schedule_.cancel(node.restart);
  node.restart = schedule_.at(now() + down, [this, &node] { start(node); });
}

void World::start(Node& node) {
  schedule_.cancel(node.restart);
  node.restart = 0;
  if (node.up()) return;
  ++stats_.restarts;
  node.disk.boot(node.loop);
  // Clocks are wrong by up to a day, either way, and differently after each start.
  node.loop.set_wall_skew_ms(static_cast<std::int64_t>(rng().below(172'800'000)) - 86'400'000);
  auto log = Log::open(node.loop, node.disk,
                       {.node = node.self.node, .boot_id = "sim", .software = "sim", .clock = ClockClass::synced});
  if (!log.ok()) {
    faults_found_.push_back(node.self.name + " does not open: " + log.error().detail);
    return;
  }
  node.log = std::move(*log);
  if (node.log->degraded()) faults_found_.push_back(node.self.name + " says that acknowledged events are lost");
  ReplicatorOptions options;
  const bool hub = node.self.role == Peer::Role::hub;
  options.role = hub ? ReplicatorOptions::Role::hub : ReplicatorOptions::Role::edge;
  options.session.heartbeat = options_.heartbeat;
  options.session.credit_bytes = options_.credit_bytes;
  options.session.link_bytes_per_second = options_.link_bytes_per_second;
  options.session.software = "sim";
  if (!hub && options_.reported_voids) {
    options.session.voids = 1u << static_cast<int>(Stream::reported);
    options.session.may_void = options_.reported_voids(*node.log);
  }
  if (hub && options_.broker_most > Duration{})
    options.committed = [this]() -> const ReceivedContext& { return broker_; };
  node.replicator = Replicator::create(node.loop, *node.log, node.network, std::move(options));
  if (hub && options_.broker_most > Duration{}) feed_broker();
  node.replicator->start();
}

// What the last life of the hub stored and did not see committed goes first, then what arrives.
void World::feed_broker() {
  Log& log = *hub().log;
  for (const RunId& run : log.runs()) {
    for (std::size_t s = 0; s < stream_count && run.node != hub().self.node; ++s) {
      const RunStream of{run, static_cast<Stream>(s)};
      for (std::uint64_t next = broker_.base(of) + 1;;) {
        const auto chunks = log.read(of, next, 1 << 20);
        if (!chunks.ok() || chunks->empty()) break;
        for (const auto& chunk : *chunks) give_broker({of, chunk.header.first, chunk.header.last});
        next = chunks->back().header.last + 1;
      }
    }
  }
  log.subscribe(0x7f, [this](const Log::Range& range) {
    if (range.of.run.node != hub().self.node) give_broker(range);
  });
}

void World::give_broker(const Log::Range& range) {
  hub().loop.after(rng().spread(1ms, options_.broker_most), [this, range] {
    if (!broker_.add(range.of, range.first, range.last).ok()) faults_found_.push_back("the broker's context is full");
    hub().replicator->committed_advanced(range.of);
  });
}

void World::heal() {
  medium_.heal();
  for (auto& node : nodes_) {
    node->crash_in_commit.reset();
    node->disk.set_commit_time(100us, 5ms);
    start(*node);
  }
}

bool World::in_sync() {
  for (auto& node : nodes_) {
    if (!node->up() || node->log->pending_bytes() != 0) return false;
  }
  const ReceivedContext& ashore = hub().log->received();
  for (std::size_t i = 0; i < options_.edges; ++i) {
    Node& aboard = edge(i);
    if (!(ashore.of_node(aboard.self.node) == aboard.log->received().of_node(aboard.self.node))) return false;
    for (const auto& peer : aboard.replicator->peers()) {
      if (!peer.in_sync) return false;
    }
  }
  return std::ranges::all_of(hub().replicator->peers(), [](const auto& peer) { return peer.in_sync; });
}

Disk::Stats World::disk_stats() const {
  Disk::Stats sum;
  for (const auto& node : nodes_) {
    sum.commits += node->disk.stats().commits;
    sum.crashes_inside_commit += node->disk.stats().crashes_inside_commit;
    sum.lost_commits += node->disk.stats().lost_commits;
    sum.unreported_commits += node->disk.stats().unreported_commits;
  }
  return sum;
}

std::uint64_t World::fingerprint() {
  std::uint64_t hash = rng().next();
  for (const auto& node : nodes_) hash = hash * 0x100000001b3 ^ node->disk.hash();
  return hash;
}

}  // namespace landfall::sim
