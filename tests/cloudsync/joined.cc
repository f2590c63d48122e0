#include "tests/cloudsync/joined.h"

#include "eventlog/chain.h"
#include "schemas/limits.h"

namespace landfall {

Side::Side(sim::Schedule& schedule, std::uint8_t id, Peer::Role role) : loop(schedule), disk(loop) {
  self.node.bytes.fill(id);
  self.role = role;
  auto opened = Log::open(loop, disk, {.node = self.node, .boot_id = "test", .software = "test"});
  LANDFALL_CHECK(opened.ok());
  log = std::move(*opened);
  schedule.run_for(std::chrono::seconds(1));
  const bool hub = role == Peer::Role::hub;
  options.wants = hub ? 0x7f : 0b0010111;
  options.relays = hub ? 0 : 0b0010100;
  options.relay_offers = hub ? 0b0010100 : 0;
  options.gives_back = hub;
  if (hub) options.snapshot = [this](Stream stream) { return log->snapshot(stream); };
  options.digests = [this](Stream stream) -> Result<StreamDigests> {
    const auto state = log->state_digest(stream);
    if (!state.ok()) return state.error();
    ReceivedContext received;
    for (const RunStream& of : log->received().streams()) {
      if (of.stream == stream) received.join(log->received().of_stream(of));
    }
    StreamDigests digests{{}, *state};
    ChainHasher().extend(digests.context, received.encode());
    return digests;
  };
}

void Side::append(Stream stream, std::size_t events, std::size_t payload_bytes) {
  std::string payload(payload_bytes, '\0');
  for (char& byte : payload) byte = static_cast<char>(loop.random());  // does not compress
  Event event;
  event.subject = "device";
  event.payload = payload;
  bool done = false;
  log->append(stream, std::vector<Event>(events, event), [&](const Result<Log::Appended>& appended) {
    LANDFALL_CHECK(appended.ok());
    done = true;
  });
  while (!done) loop.schedule().run_for(std::chrono::milliseconds(1));
}

Joined::Joined(std::uint64_t seed)
    : schedule(seed), edge(schedule, 1, Peer::Role::node), hub(schedule, 2, Peer::Role::hub) {
  for (Side* side : {&edge, &hub}) {
    side->log->subscribe(0x7f, [this, side](const Log::Range& range) {
      if (side->session && range.of.run.node != other(*side).self.node)
        apply(*side, side->session->on_appended(range, schedule.now()));
    });
  }
}

void Joined::open() {
  ++generation_;
  const auto fresh = [&](Side& side, Side& peer, const ReceivedContext& had) {
    side.closed.reset();
    side.session_id = generation_;
    side.session = std::make_unique<Session>(
        *side.log, peer.self, side.options,
        [&side]() -> const ReceivedContext& { return side.committed ? *side.committed : side.log->received(); }, had);
  };
  fresh(edge, hub, edge_had_);
  fresh(hub, edge, hub_had_);
  for (Side* side : {&edge, &hub})
    apply(*side,
          side->session->on_open(schedule.now(), HybridTime::from_unix_ms(side->loop.unix_ms()), ClockClass::synced));
}

void Joined::close() {
  edge_had_ = edge.session->peer_committed();
  hub_had_ = hub.session->peer_committed();
  edge.session.reset();
  hub.session.reset();
  ++generation_;
}

bool Joined::equal() const {
  return edge.log->received().of_node(edge.self.node) == hub.log->received().of_node(edge.self.node);
}

void Joined::apply(Side& from, Session::Effects effects) {
  const std::uint64_t generation = generation_;
  for (std::string& frame : effects.frames) {
    schedule.at(schedule.now() + latency, [this, &from, generation, bytes = std::move(frame)] {
      Side& to = other(from);
      if (generation != generation_ || !to.session) return;
      if (cut_at && frames == *cut_at) return close();
      ++frames;
      FrameReader reader(frame_bytes_max);
      std::string_view input = bytes;
      const auto view = reader.next(input);
      LANDFALL_CHECK(view.ok());
      if (watch) watch(from, *view);
      apply(to, to.session->on_frame(*view, schedule.now()));
    });
  }
  for (Session::Ingest& ingest : effects.ingest) {
    from.log->ingest(std::move(ingest.chunk), [this, &from, generation, range = ingest.range](const Status& status) {
      if (generation == generation_ && from.session)
        apply(from, from.session->on_ingested(range, status, schedule.now()));
    });
  }
  for (Session::Keep& keep : effects.keep) {
    from.log->keep_part(
        keep.stream, std::move(keep.bytes),
        [this, &from, generation, stream = keep.stream, id = keep.id, part = keep.part](const Status& status) {
          if (generation == generation_ && from.session)
            apply(from, from.session->on_kept(stream, id, part, status, schedule.now()));
        });
  }
  for (Session::Join& join : effects.join) {
    const Stream stream = join.manifest.stream;
    from.log->join(std::move(join.manifest), [this, &from, generation, stream, id = join.id](const Status& status) {
      if (generation == generation_ && from.session)
        apply(from, from.session->on_joined(stream, id, status, schedule.now()));
    });
  }
  if (effects.close) from.closed = effects.close;
  if (effects.wake) {
    schedule.at(*effects.wake, [this, &from, generation] {
      if (generation == generation_ && from.session) apply(from, from.session->on_tick(schedule.now()));
    });
  }
}

}  // namespace landfall
