#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloudsync/network.h"
#include "edgeruntime/identity.h"
#include "edgeruntime/uv_loop.h"

namespace landfall {

struct UvNetworkOptions {
  Identity identity;
  std::string listen{};             // "host:port", "[v6]:port"; port 0 takes a free one; empty: does not listen
  std::vector<std::string> dial{};  // addresses of one hub, tried in turn; empty: does not dial

  Duration dial_backoff_min = std::chrono::milliseconds(500);  // doubles up to the other, with jitter of a half
  Duration dial_backoff_max = std::chrono::seconds(60);
  Duration session_lasted = std::chrono::seconds(30);  // a link this old resets the back-off
  Duration handshake_max = std::chrono::seconds(20);   // from TCP connect to proven peer
  Duration frame_grace = std::chrono::seconds(30);     // a frame may take this plus a second per kB
  Duration linger_max = std::chrono::seconds(5);       // after close: for what was queued, then for the peer
};

// Network over TCP and mutual TLS 1.3. Dials and listens, both or either. Every refusal is one log line with reason and
// remedy, and is counted in totals().links_refused. A malformed frame closes the link with the reader's error.
//
// Memory per link is bounded: link_unsent_bytes_max queued to send (beyond: the link is closed as `unavailable`), one
// frame being received (frame_before_hello_bytes_max until the first frame was accepted, then frame_bytes_max).
// Loop thread only. Destroyed before the loop; its links close without on_closed then.
class UvNetwork : public Network {
 public:
  // Binds at once, accepts and dials from start() on.
  // Errors: `conflict` for an address in use, `out_of_range` for one that cannot be read, `denied` for the identity,
  // `unavailable` for anything else the system says; each names the address and the remedy.
  static Result<std::unique_ptr<UvNetwork>> create(UvLoop& loop, UvNetworkOptions options);
  ~UvNetwork() override;

  void start(LinkUser& user) override;
  void hold(bool held) override;
  bool held() const override;
  Totals totals() const override;

  std::uint16_t listening_port() const;  // 0 where it does not listen

  // For links made from now on: after enrolment or renewal. Open links stay. Errors: `denied`.
  Status set_identity(Identity identity);

  // Why there is no link at present, for status and health: the last refusal or failure to connect.
  const std::optional<Error>& last_failure() const;

 private:
  struct State;
  explicit UvNetwork(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace landfall
