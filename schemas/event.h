#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/hybrid_time.h"
#include "schemas/ids.h"
#include "schemas/limits.h"
#include "schemas/result.h"

namespace landfall {

// What an event is. Numbers are stored for ever: never reuse one. A reader keeps and relays kinds it does not know.
enum class Kind : std::uint8_t {
  run_start = 1,  // control: first event of every run, payload RunStart (event.capnp)
  audit = 2,      // control: a decision of the node (accepted, refused, degraded), payload JSON
  telemetry = 16,
  alarm = 17,
  message = 18,  // any other captured or published message
  change = 19,   // of the state of the object that the subject names: payload as in op.h, actor says who
  // A change that was superseded before it left its node, and whose values nobody asked to keep (history=latest): what it
  // superseded, at which paths, and no value. It stands for that change for whoever receives it.
  voided = 20,
};
inline bool has_ops(Kind kind) { return kind == Kind::change || kind == Kind::voided; }

// One event without its dot: the dot follows from the chunk. All views borrow: from the caller when appended (copied
// before append returns), from the chunk's rows when decoded.
struct Event {
  HybridTime time;
  ClockClass clock = ClockClass::untrusted;
  Kind kind = Kind::message;
  bool retained = false;          // MQTT retain flag of the captured message
  std::string_view subject;       // device or topic: UTF-8 without control characters, not empty for kinds >= 16
  std::string_view content_type;  // empty: application/octet-stream
  std::string_view source, id;    // the sender's CloudEvents name for this event; empty where it gave none
  std::string_view device;        // key in Kafka; empty: the subject
  std::string_view actor;         // who asked for it: user, device, workload; empty: the node itself
  std::string_view deps;          // encoded dots this event depends on across streams (encode_deps)
  std::string_view chain;         // voided, the last of a range: 32 bytes that make the chain go on (eventlog/chain.h)
  std::string_view payload;
};

// A row is the canonical form of an event: what the hash chain covers and what is stored.
//   time u64 LE | kind u8 | flags u8 (bits 0-1 clock class, bit 2 retained) | varint subject length, subject |
//   varint attributes length, attributes (tag u8, varint length, bytes)* with tags ascending | payload
// encode_row appends `varint row length, row` to `rows`. Errors: `out_of_range` for a value over its limit or a subject
// that is not clean UTF-8.
Status encode_row(const Event& event, std::string& rows);

// Reads one row (without its length). Unknown attribute tags and kinds are kept in the bytes and ignored here.
// Errors: `corrupt`.
Result<Event> decode_row(std::string_view row);

// Iterates `varint length, row` sequences. next() returns an empty view at the end; corrupt() tells a bad length apart.
class RowReader {
 public:
  explicit RowReader(std::string_view rows) : rest_(rows) {}
  std::string_view next();
  bool corrupt() const { return corrupt_; }

 private:
  std::string_view rest_;
  bool corrupt_ = false;
};

std::string encode_deps(const std::vector<Dot>& dots);
Result<std::vector<Dot>> decode_deps(std::string_view bytes);

// The first event of a run.
struct RunStart {
  RunId parent;  // none for the first run of a node
  struct Head {
    Stream stream;
    std::uint64_t last;  // last seq of the parent in this stream, 0 entries left out
    Digest chain;
  };
  std::vector<Head> parent_heads;
  std::string boot_id, software;
  ClockClass clock = ClockClass::untrusted;
  bool degraded = false;  // the anchor proved that acknowledged events of the parent were lost
};
std::string encode_run_start(const RunStart& start);
Result<RunStart> decode_run_start(std::string_view payload);  // Errors: `corrupt`.

}  // namespace landfall
