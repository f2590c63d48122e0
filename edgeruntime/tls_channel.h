#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cloudsync/network.h"
#include "edgeruntime/identity.h"
#include "schemas/result.h"

namespace landfall {

// What the connections of one side have in common: TLS 1.3 only, AES-128-GCM before ChaCha20-Poly1305, X25519 before
// P-256, ALPN "landfall/1", a certificate from both ends, no tickets, no early data. Immutable; any thread.
class TlsContext {
 public:
  enum class Side { dialler, listener };

  // A dialler takes a hub for an answer; a listener takes nodes and invites. `unix_ms` is asked for the time at each
  // verification. Errors: `denied` where key, certificate and bundle of `identity` do not fit together.
  static Result<std::shared_ptr<const TlsContext>> create(Side side, const Identity& identity,
                                                          std::function<std::int64_t()> unix_ms);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;

 private:
  friend class TlsChannel;
  struct State;
  explicit TlsContext(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One end of one TLS connection, without a socket: ciphertext in by feed() and out by take_ciphertext(), plaintext in
// by write() and out by read(). The caller carries the bytes, in any cut.
//
// After each feed() and write(), what take_ciphertext() returns must be carried, also after an error: it holds the
// alert. Not for two threads at a time.
class TlsChannel {
 public:
  explicit TlsChannel(std::shared_ptr<const TlsContext> context);
  ~TlsChannel();
  TlsChannel(const TlsChannel&) = delete;
  TlsChannel& operator=(const TlsChannel&) = delete;

  // Takes bytes from the peer and moves the handshake on. `ciphertext` is borrowed until read() has returned 0 or an
  // error, which must come before the next feed().
  // Errors: `denied` (identity or TLS version: reason and remedy for the operator), `corrupt` (not TLS, or broken),
  // `unavailable` (the peer went away). A failed channel stays failed.
  Status feed(std::string_view ciphertext);

  // Decrypts at most `size` bytes into `buffer`; 0 means that more ciphertext is needed. Errors: as feed().
  Result<std::size_t> read(char* buffer, std::size_t size);

  // Encrypts. Small writes share a record: flush() seals the one that has begun. Only once is_open().
  Status write(std::string_view plaintext);
  Status flush();
  void send_close();  // close_notify, after what was written

  // Appends what is to be sent to `out`; false if there was nothing.
  bool take_ciphertext(std::string& out);
  std::size_t ciphertext_bytes() const;

  bool is_open() const;      // handshake done and peer verified
  const Peer& peer() const;  // only once is_open()

 private:
  friend class TlsContext;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace landfall
