#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/hybrid_time.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// The bodies of the session's frames, as values. Encoded as Cap'n Proto (sync.capnp); decoders accept any bytes.
// Received contexts travel as the bytes of crdt::ReceivedContext::encode: this folder does not know what they mean.

struct Hello {
  std::uint16_t protocol = 1;
  NodeId node;
  RunId run;        // the sender's open run
  HybridTime time;  // the sender's clock
  ClockClass clock = ClockClass::untrusted;
  std::uint8_t wants = 0;  // bit per stream of the peer's own runs that the sender subscribes to
  std::uint32_t credit_bytes = 0;
  std::string have;       // what the sender holds of what it subscribes to: not to be sent again
  std::string committed;  // what of it is A2 at the sender; empty: the same as `have`
  std::string software;
  std::uint8_t relays = 0;  // bit per stream of which the sender subscribes to all runs that the peer has
  bool understands_digest = false, understands_snapshot = false, understands_voids = false;
};

struct Ack {
  std::string committed;           // entries of the (run, stream)s that advanced: A2 at the sender
  std::uint32_t credit_bytes = 0;  // bytes of chunk frames the peer may have in flight from here on
  std::string lost;                // of ended runs of the sender's own, what it asks the peer for
};

// What the sender holds of streams of which both ends hold all runs.
struct Digests {
  struct OfStream {
    Stream stream;
    Digest context, state;
  };
  std::vector<OfStream> streams;  // ascending
};

// Snapshots travel in pieces (eventlog/snapshot.h says what they are): first the manifest, then the parts that are asked for.
using SnapshotId = std::array<std::uint8_t, 16>;  // the first bytes of the SHA-256 of the manifest
inline constexpr std::uint32_t snapshot_manifest_part = ~std::uint32_t{0};

struct SnapshotOffer {
  Stream stream = Stream::control;
  SnapshotId id{};
  std::uint32_t total = 0, offset = 0;  // bytes of the whole manifest; of this piece in it
  std::string bytes;                    // none: only asks what the taker has
};

struct SnapshotPart {
  Stream stream = Stream::control;
  SnapshotId id{};
  std::uint32_t part = 0, offset = 0;
  std::string bytes;
};

struct SnapshotWant {
  struct Row {  // of parts
    std::uint32_t first, last;
    friend bool operator==(const Row&, const Row&) = default;
  };
  struct Piece {
    std::uint32_t part, offset, bytes;  // snapshot_manifest_part, or an index
    friend bool operator==(const Piece&, const Piece&) = default;
  };
  Stream stream = Stream::control;
  SnapshotId id{};
  bool asks = false;         // `missing` is all that is missing
  std::vector<Row> missing;  // ascending, with parts between them
  std::vector<Piece> got;
};

struct Heartbeat {
  HybridTime time;
};

struct Bye {
  Code code = Code::unavailable;
  std::string detail;
};

struct Enrol {
  std::string csr_pem;
  std::string name;
};
struct Enrolled {
  std::string chain_pem;
  std::string bundle_pem;
};

std::string encode(const Hello& hello);
std::string encode(const Ack& ack);
std::string encode(const Digests& digests);
std::string encode(const SnapshotOffer& offer);
std::string encode(const SnapshotPart& part);
std::string encode(const SnapshotWant& want);
std::string encode(const Heartbeat& heartbeat);
std::string encode(const Bye& bye);
std::string encode(const Enrol& enrol);
std::string encode(const Enrolled& enrolled);

// Errors: `corrupt`, `out_of_range`.
Result<Hello> decode_hello(std::string_view body);
Result<Ack> decode_ack(std::string_view body);
Result<Digests> decode_digests(std::string_view body);
Result<SnapshotOffer> decode_snapshot_offer(std::string_view body);
Result<SnapshotPart> decode_snapshot_part(std::string_view body);
Result<SnapshotWant> decode_snapshot_want(std::string_view body);
Result<Heartbeat> decode_heartbeat(std::string_view body);
Result<Bye> decode_bye(std::string_view body);
Result<Enrol> decode_enrol(std::string_view body);
Result<Enrolled> decode_enrolled(std::string_view body);

}  // namespace landfall
