#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cloudsync/session.h"
#include "schemas/sync_messages.h"

namespace landfall {

// Bytes of known length that come in pieces, in any order and more than once.
class Pieces {
 public:
  void begin(std::size_t total);
  void add(std::uint32_t offset, std::string_view bytes);  // within the total
  bool complete() const {
    return ranges_.size() == 1 && ranges_.begin()->first == 0 && ranges_.begin()->second == bytes_.size();
  }
  std::string take();
  const std::map<std::uint32_t, std::uint32_t>& ranges() const { return ranges_; }  // first to end

 private:
  std::string bytes_;
  std::map<std::uint32_t, std::uint32_t> ranges_;  // apart from each other
};

// The taking half of snapshots: what was offered, which parts are not here, what came of the one in assembly, when to ask
// again. At most a manifest and one part per stream in memory; whole parts are the log's. Goes from session to session
// with one peer, so that a link that comes for seconds brings a snapshot nearer each time. Loop thread only.
class SnapshotTaker {
 public:
  explicit SnapshotTaker(const Log& log) : log_(log) {}

  void begin_session();
  // Errors: `corrupt` where bytes are not what their name says, `out_of_range` beyond what the manifest says.
  // What belongs to no offer is ignored: it may have been overtaken by a newer one.
  Status take(const SnapshotOffer& offer, Instant now);
  Status take(const SnapshotPart& part, Instant now);
  // Errors: those that a peer must answer for, or the disk.
  Status kept(Stream stream, const SnapshotId& id, std::uint32_t part, const Status& status, Instant now);
  Status joined(Stream stream, const SnapshotId& id, const Status& status, Instant now);

  struct Out {
    std::vector<SnapshotWant> wants;
    std::vector<Session::Keep> keep;
    std::vector<Session::Join> join;
    std::vector<SnapshotManifest> offered;  // known since the last call: names what the peer has
    std::set<RunStream> here;               // what was offered of these is here: to be acknowledged
    std::optional<Instant> wake;
  };
  void settle(Instant now, Out& out);

  std::size_t keeping_bytes() const;  // handed out to be kept, and not yet durable
  bool taking() const;                // something offered in this session is not yet joined
  struct Totals {
    std::uint64_t joined = 0, parts = 0, bytes = 0;
  };
  const Totals& totals() const { return totals_; }  // of this session

 private:
  struct Got {
    SnapshotWant::Piece piece;
    bool ready;  // durable, if it made a part whole
  };
  enum class Phase { manifest, parts, joining, joined };
  struct Taking {
    SnapshotId id{};
    std::uint32_t total = 0;
    Phase phase = Phase::manifest;
    bool met = false;                         // offered in this session
    Pieces pieces;                            // of the manifest, then of `assembling`
    std::optional<std::uint32_t> assembling;  // index of the one part that came in part
    SnapshotManifest manifest;
    std::set<std::uint32_t> missing, keeping;
    std::deque<Got> got;  // not yet told, as they came: an answer out of order reads as a loss
    std::vector<SnapshotWant::Piece> told_last;
    bool told = false, answer = false;  // `offered` was told; `here` is to be told
    std::optional<Instant> ask_at, join_at;
    Duration ask_wait{};
    Instant said;  // when it last was
  };

  void meet(Taking& taking, Instant now);
  Status read_manifest(Stream stream, Taking& taking, Instant now);
  Status complete(Stream stream, Taking& taking, std::uint32_t part, std::string bytes);
  void look_for_parts(Taking& taking, Instant now);
  void ask(Taking& taking, Instant at);
  void end(Taking& taking);
  static void tell(Taking& taking, std::uint32_t part, std::uint32_t offset, std::uint32_t bytes, bool ready = true);
  static void tell_assembled(Taking& taking, std::uint32_t part);
  bool here(const SnapshotManifest& manifest) const;
  bool joinable(const SnapshotManifest& manifest) const;
  void settle_join(Stream stream, Taking& taking, Instant now, Out& out);
  void settle_want(Stream stream, Taking& taking, Instant now, Out& out);

  const Log& log_;
  std::map<Stream, Taking> takings_;
  std::vector<Session::Keep> keep_;
  Totals totals_;
};

}  // namespace landfall
