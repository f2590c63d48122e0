#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "schemas/frame.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// Who is at the other end, as proven by its certificate.
struct Peer {
  NodeId node;
  enum class Role : std::uint8_t { hub, node, invite } role = Role::node;
  std::string name;  // last path segment of its SPIFFE id
};

// One connection to one proven peer. Owned by the Network; valid until on_closed has returned.
class Link {
 public:
  virtual ~Link() = default;
  virtual const Peer& peer() const = 0;
  // Queues one whole frame (encode_frame). After close it does nothing.
  virtual void send(std::string frame) = 0;
  virtual std::size_t unsent_bytes() const = 0;  // queued here and not yet taken by the operating system
  virtual void close(const Error& why) = 0;      // on_closed follows in a later turn
};

// What runs over links. All calls on the loop thread, never inside send() or close().
class LinkUser {
 public:
  virtual ~LinkUser() = default;
  virtual void on_open(Link& link) = 0;
  virtual void on_frame(Link& link, FrameView frame) = 0;
  virtual void on_drained(Link& link) = 0;  // unsent_bytes() fell to a quarter of what it was at most
  virtual void on_closed(Link& link, const Error& why) = 0;
};

// The seam for links: whole frames that may be lost, doubled, reordered and delayed; UvNetwork (TCP and TLS 1.3) gives
// more, the session must not need more. Dials again by itself, with back-off and jitter, until held. Loop thread only.
class Network {
 public:
  virtual ~Network() = default;
  virtual void start(LinkUser& user) = 0;
  // The operator's switch: held closes every link and neither dials nor accepts until released.
  virtual void hold(bool held) = 0;
  virtual bool held() const = 0;
  struct Totals {
    std::uint64_t bytes_in = 0,
                  bytes_out = 0;  // on the wire as far as this seam can see it: TLS records, not IP headers
    std::uint64_t links_opened = 0, links_refused = 0, frames_in = 0, frames_out = 0;
  };
  virtual Totals totals() const = 0;
};

}  // namespace landfall
