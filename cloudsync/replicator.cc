#include "cloudsync/replicator.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "cloudsync/snapshot_taker.h"
#include "eventlog/chain.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr std::uint8_t all_streams = (1u << stream_count) - 1;
constexpr std::uint8_t edge_streams = 0b0010111;     // control, alarm, desired, document
constexpr std::uint8_t relayed_streams = 0b0010100;  // desired, document: what several nodes write
constexpr Duration save_wait = 5s;
constexpr std::string_view peers_key = "x/peers";

std::string peer_key(const NodeId& node) { return "x/peer/" + to_string(node); }

// A peer as remembered in the log: role, wanted streams, then the encoded context.
struct Memory {
  Peer::Role role = Peer::Role::node;
  std::uint8_t wants = 0x07;
  ReceivedContext committed;
};

std::string encode(const Memory& memory) {
  std::string bytes{static_cast<char>(memory.role), static_cast<char>(memory.wants)};
  return bytes + memory.committed.encode();
}

// What cannot be read is as good as forgotten: it only costs a push of what the peer has.
Memory recall(const Log& log, const NodeId& node) {
  Memory memory;
  const auto bytes = log.get_meta(peer_key(node));
  if (!bytes.ok() || bytes->size() < 2) return memory;
  auto committed = ReceivedContext::decode(std::string_view(*bytes).substr(2));
  if (!committed.ok()) return memory;
  memory.role = static_cast<Peer::Role>((*bytes)[0]);
  memory.wants = static_cast<std::uint8_t>((*bytes)[1]);
  memory.committed = std::move(*committed);
  return memory;
}

bool fault_of_peer(Code code) {
  return code == Code::corrupt || code == Code::out_of_range || code == Code::denied || code == Code::conflict;
}

class LinkedReplicator final : public Replicator {
 public:
  LinkedReplicator(Loop& loop, Log& log, Network& network, ReplicatorOptions options)
      : loop_(loop), log_(log), network_(network), options_(std::move(options)), self_(log.run().node) {
    const bool hub = options_.role == ReplicatorOptions::Role::hub;
    if (options_.session.wants == 0) {
      options_.session.wants = hub ? all_streams : edge_streams;
      options_.session.relays = hub ? 0 : relayed_streams;
    }
    options_.session.relay_offers = hub ? relayed_streams : 0;
    options_.session.gives_back = hub;
    options_.session.digests = [this](Stream stream) { return digests(stream); };
    if (hub) options_.session.snapshot = [this](Stream stream) { return snapshot(stream); };
    if (!options_.committed) options_.committed = [&l = log_]() -> const ReceivedContext& { return l.received(); };
    recall_peers();
    subscription_ = log_.subscribe(all_streams, [this](const Log::Range& range) { on_range(range); });
  }

  ~LinkedReplicator() override {
    log_.unsubscribe(subscription_);
    for (auto& [node, known] : known_) {
      loop_.cancel(known.wake);
      loop_.cancel(known.save);
    }
  }

  void start() override { network_.start(*this); }

  void stop() override {
    stopped_ = true;
    for (auto& [node, known] : known_) {
      if (known.session) run(known, known.session->on_stop({Code::unavailable, "node stops"}));
    }
  }

  void on_open(Link& link) override {
    if (link.peer().role == Peer::Role::invite) return;
    if (stopped_) return link.close({Code::unavailable, "node stops"});
    if (link.peer().node == self_) return link.close({Code::denied, "link to ourselves"});
    auto [it, fresh] = known_.try_emplace(link.peer().node);
    Known& known = it->second;
    if (known.session) run(known, known.session->on_stop({Code::unavailable, "replaced by a newer link"}));
    known.peer = link.peer();
    known.memory.role = link.peer().role;
    if (fresh) save_names();
    known.link = &link;
    known.since = loop_.now();
    ++known.sessions;
    SessionOptions options = options_.session;
    options.peer_wanted = known.memory.wants;
    if (!known.taker) known.taker = std::make_shared<SnapshotTaker>(log_);
    options.taker = known.taker;
    const std::size_t part = std::max(sessions_credit_bytes / (ids_.size() + 1), session_credit_bytes_min);
    options.credit_bytes = std::min(options.credit_bytes, part);
    known.session =
        std::make_unique<Session>(log_, known.peer, std::move(options), options_.committed, known.memory.committed);
    known.id = ++session_ids_;
    ids_[known.id] = known.peer.node;
    run(known, known.session->on_open(loop_.now(), HybridTime::from_unix_ms(loop_.unix_ms()), ClockClass::synced));
  }

  void on_frame(Link& link, FrameView frame) override {
    Known* known = of_link(link);
    if (!known) return;
    run(*known, known->session->on_frame(frame, loop_.now()));
    if (frame.type == FrameType::ack || frame.type == FrameType::hello) remember_soon(*known);
  }

  void on_drained(Link& link) override {
    if (Known* known = of_link(link)) run(*known, known->session->on_drained(link.unsent_bytes(), loop_.now()));
  }

  void on_closed(Link& link, const Error& why) override {
    if (Known* known = of_link(link)) end(*known, why);
  }

  void committed_advanced(const RunStream& of) override {
    const auto it = known_.find(of.run.node);
    if (it != known_.end() && it->second.session) run(it->second, it->second.session->on_committed(of, loop_.now()));
  }

  const ReceivedContext& committed_by_peers() const override {
    if (committed_stale_) {
      committed_by_peers_ = {};
      for (const auto& [node, known] : known_) {
        committed_by_peers_.join(known.session ? known.session->peer_committed() : known.memory.committed);
      }
      committed_stale_ = false;
    }
    return committed_by_peers_;
  }

  std::vector<PeerStatus> peers() const override {
    std::vector<PeerStatus> all;
    for (const auto& [node, known] : known_) {
      all.push_back({known.peer, known.session != nullptr, known.session && known.session->in_sync(), known.since,
                     known.session ? known.session->totals() : known.totals, known.sessions, known.refused,
                     known.compared, known.divergences, known.diverged, known.last_error});
    }
    return all;
  }

  std::array<std::uint64_t, stream_count> backlog() const override {
    std::array<std::uint64_t, stream_count> events{};
    const ReceivedContext& committed = committed_by_peers();
    for (const RunStream& of : log_.received().streams()) {
      if (of.run.node != self_) continue;
      for (const auto& range : committed.missing(of, 1, log_.received().max(of))) {
        events[static_cast<std::size_t>(of.stream)] += range.last - range.first + 1;
      }
    }
    return events;
  }

 private:
  struct Known {
    Peer peer;
    Memory memory;
    Link* link = nullptr;
    std::unique_ptr<Session> session;
    std::shared_ptr<SnapshotTaker> taker;
    std::uint64_t id = 0;  // of the session: completions may come after its end
    Loop::Timer wake = 0, save = 0;
    Instant wake_at;
    Instant since;
    Session::Totals totals;
    std::uint64_t sessions = 0, refused = 0, compared = 0, divergences = 0;
    std::uint8_t diverged = 0;
    std::array<Session::Comparison, stream_count> differed{};  // as last audited
    std::string last_error;
  };

  void recall_peers() {
    const auto names = log_.get_meta(peers_key);
    if (!names.ok()) return;
    for (std::size_t at = 0; at + 32 <= names->size(); at += 32) {
      const auto node = parse_node(std::string_view(*names).substr(at, 32));
      if (!node.ok()) return;
      Known& known = known_[*node];
      known.memory = recall(log_, *node);
      known.peer = {*node, known.memory.role, {}};
    }
  }

  void save_names() {
    std::string names;
    for (const auto& [node, known] : known_) names += to_string(node);
    put(std::string(peers_key), std::move(names));
  }

  // Lost writes are no loss: the next hello says it again.
  void put(std::string key, std::string value) {
    log_.put_meta({{std::move(key), std::move(value)}}, [](const Status&) {});
  }

  void remember_soon(Known& known) {
    committed_stale_ = true;
    if (!known.session || known.save != 0) return;
    known.save = loop_.after(save_wait, [this, node = known.peer.node] {
      Known& k = known_.at(node);
      k.save = 0;
      remember(k);
    });
  }

  void remember(Known& known) {
    if (!known.session || !known.session->peer_wants()) return;
    const std::uint8_t wants = *known.session->peer_wants();
    if (known.memory.wants == wants && known.memory.committed == known.session->peer_committed()) return;
    known.memory.wants = wants;
    known.memory.committed = known.session->peer_committed();
    put(peer_key(known.peer.node), encode(known.memory));
  }

  // What many sessions ask for after one change is worked out once.
  Result<StreamDigests> digests(Stream stream) {
    auto& known = digests_[static_cast<std::size_t>(stream)];
    if (known) return *known;
    auto state = log_.state_digest(stream);
    if (!state.ok()) return std::move(state).error();
    ReceivedContext received;
    for (const RunStream& of : log_.received().streams()) {
      if (of.stream == stream) received.join(log_.received().of_stream(of));
    }
    StreamDigests fresh{{}, *state};
    hasher_.extend(fresh.context, received.encode());
    known = fresh;
    return fresh;
  }

  // One that a session still holds serves others as well while nothing was pruned that it does not cover: chunks bring the
  // rest. So a fleet that comes back from one outage together costs one.
  Result<std::shared_ptr<const Snapshot>> snapshot(Stream stream) {
    auto& last = snapshots_[static_cast<std::size_t>(stream)];
    if (auto held = last.lock()) {
      const bool covers = std::ranges::all_of(log_.received().streams(), [&](const RunStream& of) {
        return of.stream != stream || log_.floor(of) <= held->manifest().received.max(of);
      });
      if (covers) return held;
    }
    auto made = log_.snapshot(stream);
    if (made.ok()) last = *made;
    return made;
  }

  void note(Known& known, const Session::Comparison& one) {
    const auto stream = static_cast<std::size_t>(one.stream);
    ++known.compared;
    known.diverged &= static_cast<std::uint8_t>(~(1u << stream));
    if (one.equal()) return;
    known.diverged |= static_cast<std::uint8_t>(1u << stream);
    ++known.divergences;
    Session::Comparison& before = known.differed[stream];
    if (before.ours == one.ours && before.theirs == one.theirs) return;
    before = one;
    const std::string audit = "{\"audit\":\"divergence\",\"peer\":\"" + to_string(known.peer.node) +
                              "\",\"stream\":\"" + std::string(to_string(one.stream)) + "\",\"ours\":\"" +
                              to_hex(one.ours) + "\",\"theirs\":\"" + to_hex(one.theirs) + "\"}";
    Event event;
    event.kind = Kind::audit;
    event.payload = audit;
    log_.append(Stream::control, {&event, 1}, [](const Result<Log::Appended>&) {});
  }

  void on_range(const Log::Range& range) {
    digests_[static_cast<std::size_t>(range.of.stream)].reset();
    const bool relayed = (options_.session.relay_offers >> static_cast<int>(range.of.stream) & 1) != 0;
    if (range.of.run.node != self_ && !relayed) return;
    for (auto& [node, known] : known_) {
      if (known.session) run(known, known.session->on_appended(range, loop_.now()));
    }
  }

  Known* of_link(Link& link) {
    const auto it = known_.find(link.peer().node);
    return it != known_.end() && it->second.link == &link && it->second.session ? &it->second : nullptr;
  }

  Known* of_session(std::uint64_t id) {
    const auto it = ids_.find(id);
    return it == ids_.end() ? nullptr : &known_.at(it->second);
  }

  void run(Known& known, Session::Effects effects) {
    const std::uint64_t id = known.id;
    for (std::string& frame : effects.frames) known.link->send(std::move(frame));
    for (Session::Ingest& ingest : effects.ingest) {
      // A completion may find the session, or all of us, gone.
      log_.ingest(std::move(ingest.chunk),
                  [this, alive = std::weak_ptr<int>(alive_), id, range = ingest.range](const Status& status) {
                    if (alive.expired()) return;
                    if (Known* still = of_session(id))
                      run(*still, still->session->on_ingested(range, status, loop_.now()));
                  });
      if (!of_session(id)) return;
    }
    run_snapshots(id, effects);
    if (!of_session(id)) return;
    for (const Session::Comparison& one : effects.compared) note(known, one);
    if (effects.close) {
      Link* link = known.link;
      end(known, *effects.close);
      link->close(*effects.close);
      return;
    }
    if (effects.wake) wake_at(known, *effects.wake);
  }

  void run_snapshots(std::uint64_t id, Session::Effects& effects) {
    const auto report = [this, id](const auto& call) {
      return [this, alive = std::weak_ptr<int>(alive_), id, call](const Status& status) {
        if (alive.expired()) return;
        if (Known* still = of_session(id)) run(*still, call(*still->session, status));
      };
    };
    for (Session::Keep& keep : effects.keep) {
      log_.keep_part(keep.stream, std::move(keep.bytes),
                     report([this, stream = keep.stream, snapshot = keep.id, part = keep.part](Session& session,
                                                                                               const Status& status) {
                       return session.on_kept(stream, snapshot, part, status, loop_.now());
                     }));
    }
    for (Session::Join& join : effects.join) {
      const Stream stream = join.manifest.stream;
      log_.join(std::move(join.manifest),
                report([this, stream, snapshot = join.id](Session& session, const Status& status) {
                  return session.on_joined(stream, snapshot, status, loop_.now());
                }));
    }
  }

  // An armed timer that is early enough stays: the session finds out by itself that nothing is due yet.
  void wake_at(Known& known, Instant at) {
    if (known.wake != 0 && known.wake_at <= at) return;
    loop_.cancel(known.wake);
    known.wake_at = at;
    known.wake = loop_.after(std::max(at - loop_.now(), Duration{}), [this, id = known.id] {
      Known* still = of_session(id);
      if (!still) return;
      still->wake = 0;
      run(*still, still->session->on_tick(loop_.now()));
    });
  }

  void end(Known& known, const Error& why) {
    remember(known);
    loop_.cancel(std::exchange(known.wake, 0));
    loop_.cancel(std::exchange(known.save, 0));
    known.totals = known.session->totals();
    known.last_error = std::string(to_string(why.code)) + ": " + why.detail;
    if (fault_of_peer(why.code)) ++known.refused;
    known.since = loop_.now();
    known.session.reset();
    known.link = nullptr;
    ids_.erase(known.id);
    committed_stale_ = true;
  }

  Loop& loop_;
  Log& log_;
  Network& network_;
  ReplicatorOptions options_;
  NodeId self_;
  Log::Subscription subscription_ = 0;
  bool stopped_ = false;
  std::map<NodeId, Known> known_;
  std::unordered_map<std::uint64_t, NodeId> ids_;
  std::uint64_t session_ids_ = 0;
  std::array<std::optional<StreamDigests>, stream_count> digests_;
  std::array<std::weak_ptr<const Snapshot>, stream_count> snapshots_;
  ChainHasher hasher_;
  mutable ReceivedContext committed_by_peers_;
  mutable bool committed_stale_ = true;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

std::unique_ptr<Replicator> Replicator::create(Loop& loop, Log& log, Network& network, ReplicatorOptions options) {
  return std::make_unique<LinkedReplicator>(loop, log, network, std::move(options));
}

}  // namespace landfall
