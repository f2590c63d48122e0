#pragma once

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
  bool understands_digest = false;
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
std::string encode(const Heartbeat& heartbeat);
std::string encode(const Bye& bye);
std::string encode(const Enrol& enrol);
std::string encode(const Enrolled& enrolled);

// Errors: `corrupt`, `out_of_range`.
Result<Hello> decode_hello(std::string_view body);
Result<Ack> decode_ack(std::string_view body);
Result<Digests> decode_digests(std::string_view body);
Result<Heartbeat> decode_heartbeat(std::string_view body);
Result<Bye> decode_bye(std::string_view body);
Result<Enrol> decode_enrol(std::string_view body);
Result<Enrolled> decode_enrolled(std::string_view body);

}  // namespace landfall
