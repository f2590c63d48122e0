#pragma once

#include <string>
#include <vector>

#include "crdt/state.h"
#include "schemas/op.h"

namespace landfall::crdt_test {

// An event as it travels.
struct Written {
  Dot dot;
  HybridTime time;
  ClockClass clock = ClockClass::synced;
  std::string object, payload;
  Event event() const {
    Event event;
    event.time = time;
    event.clock = clock;
    event.kind = Kind::change;
    event.subject = object;
    event.payload = payload;
    return event;
  }
};

inline NodeId node_id(std::uint8_t n) {
  NodeId id;
  id.bytes.fill(n);
  return id;
}

// A node that writes changes and hears of those of others, with the production state.
class Replica {
 public:
  explicit Replica(std::uint8_t n, Stream stream = Stream::document) : of_{{node_id(n), 1, 7}, stream} {}

  const RunId& run() const { return of_.run; }
  void restart() { ++of_.run.counter, seq_ = 0; }
  Entries see(std::string_view object = "o") const { return state.object(of_.stream, object); }

  // None for no op. The ops must fit.
  const Written* write(std::vector<Op> ops, std::string_view object = "o") {
    if (ops.empty()) return nullptr;
    Written& event = written.emplace_back();
    event.dot = {of_.run, of_.stream, ++seq_};
    event.time = {++time_};
    event.object = object;
    event.payload = encode_ops(ops, of_).value();
    hear(event);
    return &event;
  }
  const Written* write(Op op, std::string_view object = "o") { return write(std::vector<Op>{std::move(op)}, object); }
  void hear(const Written& event) {
    LANDFALL_CHECK(state.apply(event.dot, event.event()).ok());
    time_ = std::max(time_, event.time.value);
  }
  void hear(const Replica& other) {
    for (const Written& event : other.written) hear(event);
  }

  State state;
  std::vector<Written> written;

 private:
  RunStream of_;
  std::uint64_t seq_ = 0, time_ = 0;
};

inline void exchange(std::vector<Replica*> all) {
  for (Replica* to : all) {
    for (const Replica* from : all) to->hear(*from);
  }
}

}  // namespace landfall::crdt_test
