#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "schemas/limits.h"
#include "schemas/result.h"

namespace landfall {

// A memory-mapped file through which the broker's plugin hands messages to the edge: one writer, one reader, two
// processes. What write() returned for survives kill -9 of either process, or of both, at any instruction: the pages
// belong to the kernel, and the head is published after the record. It does not survive the machine: after a restart
// of the machine only the records that had reached the disk whole are found again.
//
// Positions are bytes since the generation began and never wrap. Records lie between tail (everything before is A1 and
// may be overwritten) and head. The file holds 64 KiB of header and a data area that is mapped twice in a row, so
// that a record is always in one piece. edgeruntime/mqtt/README.md has the format.
//
// Only the reader makes the file and begins a generation; a writer that comes first, or before the reader has taken
// over what an earlier boot of the machine left, is told `unavailable`. Each side holds a kernel lock for as long as it
// lives, so that two writers or two readers are refused and either side can see whether the other is alive.

// What the plugin counts, for the edge's metrics. Since the generation began.
struct RingCounts {
  std::uint64_t written = 0;
  std::uint64_t refused_full = 0;     // no room, or no A1, within ring_wait
  std::uint64_t refused_size = 0;     // payload over mqtt_payload_bytes_max
  std::uint64_t refused_invalid = 0;  // topic or properties that cannot be an event
  std::uint64_t refused_access = 0;   // connects, publishes and subscriptions that were not allowed
};
enum class RingCounter : std::uint8_t { refused_full, refused_size, refused_invalid, refused_access };

// True where a plugin holds the ring in `file`: a broker that runs without is writing to another file, or to none.
bool has_ring_writer(const std::filesystem::path& file);

struct RingHeader;
class RingMapping;

// The plugin's side. One thread.
class RingWriter {
 public:
  // `wake_socket` is where the reader listens. Errors: `unavailable` (no reader has made the ring in this boot yet),
  // `conflict` (another writer is alive), `corrupt` (not a ring), `disk`.
  static Result<std::unique_ptr<RingWriter>> open(const std::filesystem::path& file,
                                                  const std::filesystem::path& wake_socket);
  ~RingWriter();

  // Appends the parts as one record and returns the position after it. Wakes the reader if it sleeps; `urgent` wakes it
  // from its pauses too. Where there is no room it waits up to `wait` for the reader, and not at all again until the
  // reader has moved: a dead reader must cost the broker one wait, not one per message.
  // Errors: `unavailable` (no room), `out_of_range` (record over a quarter of the ring).
  enum class Urgency : std::uint8_t { can_rest, urgent };
  Result<std::uint64_t> write(std::span<const std::string_view> parts, Urgency urgency,
                              std::chrono::milliseconds wait = ring_wait);

  // True where less than a quarter is in use with a record of `body` bytes more: what nobody waits for is dropped where not,
  // so that it takes no room from messages while no edge reads.
  bool has_plenty_of_room(std::size_t body) const;

  // Returns once everything before `position` is A1. Errors: `unavailable` after `wait`.
  Status wait_durable(std::uint64_t position, std::chrono::milliseconds wait = ring_wait);

  // False once a wait has run out and the reader has not moved since: whoever needs A1 is refused before it writes.
  bool reader_moves() const;

  void count(RingCounter counter);
  // Which control file (control.h) the plugin goes by, for the edge to see.
  void set_control_version(std::uint64_t version);
  std::uint64_t head() const;
  std::uint64_t tail() const;

 private:
  explicit RingWriter(std::unique_ptr<RingMapping> mapping);
  bool wait_for_tail(std::uint64_t at_least, std::chrono::milliseconds wait);
  void wake_reader(Urgency urgency);

  std::unique_ptr<RingMapping> mapping_;
  int socket_ = -1;
  std::string wake_address_;  // sockaddr_un
  std::uint64_t head_;
  std::optional<std::uint64_t> gave_up_at_;  // the tail when a wait last ran out
};

// The edge's side. One thread.
class RingReader {
 public:
  struct Options {
    std::filesystem::path file;
    std::filesystem::path wake_socket;
    std::uint64_t nonce = 0;  // random: names a new generation
    std::size_t bytes = ring_bytes;
  };
  // Makes the file, preallocated, where there is none or where its header is not one of ours (that one is set aside as
  // "<file>.bad"). Errors: `conflict` (another reader is alive), `disk`.
  static Result<std::unique_ptr<RingReader>> open(Options options);
  ~RingReader();

  struct Record {
    std::uint64_t position, end;
    std::uint32_t received_ms;  // writer's CLOCK_MONOTONIC, for age_ms()
    std::string_view body;      // valid until release(end)
  };
  // The next record, or none. Errors: `corrupt`: a record inside the published range does not check; the reader has
  // then gone on to the head, as nothing in between can be told apart.
  Result<std::optional<Record>> next();

  std::uint64_t position() const { return next_; }  // where next() goes on

  // Everything before `position` is A1. Wakes a waiting writer.
  void release(std::uint64_t position);

  // Names this generation: a position stored elsewhere counts only together with it. It changes inside release(), when
  // the last record that an earlier boot left has been released.
  std::uint64_t generation() const;
  bool recovering() const { return recovering_; }  // reading what an earlier boot of the machine left

  // Readable when the writer wants attention. Before waiting on it: announce a rest; false means that there are records
  // to read instead. A pause is ended by urgent records only, so the reader sets itself a timer with it.
  enum class Rest : std::uint8_t { pause, sleep };
  bool announce(Rest rest);
  int wake_fd() const { return socket_; }
  void clear_wakes();

  bool writer_alive() const;
  std::uint64_t used_bytes() const;
  std::uint32_t oldest_ms() const;  // age of the oldest record that is not A1, 0 if there is none
  RingCounts counts() const;
  std::uint64_t control_version() const;
  std::size_t bytes() const;

 private:
  RingReader(std::unique_ptr<RingMapping> mapping, Options options);
  Status bind_socket();
  void take_over();
  void begin_generation();
  std::uint64_t head() const;

  std::unique_ptr<RingMapping> mapping_;
  Options options_;
  int socket_ = -1;
  std::uint64_t next_ = 0;
  std::uint64_t touched_bytes_ = 0;
  std::uint64_t recovered_head_ = 0;
  bool recovering_ = false;
};

}  // namespace landfall
