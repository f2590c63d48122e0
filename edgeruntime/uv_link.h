#pragma once

#include <uv.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "edgeruntime/tls_channel.h"
#include "edgeruntime/uv_network.h"
#include "schemas/frame.h"
#include "schemas/limits.h"

namespace landfall {

class UvLink;

// What a link needs of the network that owns it.
struct LinkOwner {
  virtual UvLoop& loop() = 0;
  virtual const UvNetworkOptions& options() const = 0;
  virtual Network::Totals& totals() = 0;
  virtual LinkUser& user() = 0;
  // Buffers that all links share: each is used within one callback.
  virtual uv_buf_t ciphertext_buffer() = 0;
  virtual uv_buf_t plaintext_buffer() = 0;
  virtual void wants_to_write(UvLink& link) = 0;  // call link.write_some() before the loop waits again
  virtual void on_proven(UvLink& link) = 0;
  // It will carry no more frames; the user, if it was `proven`, hears of it in a later turn.
  virtual void on_over(UvLink& link, const Error& why, bool proven) = 0;
  virtual void on_released(UvLink& link) = 0;  // it is being destroyed

 protected:
  ~LinkOwner() = default;
};

// One TCP connection with TLS and frames on it.
//
//   connecting -> proving -> open -> lingering -> closing -> destroyed
//
// Any state may go to closing at once; a refusal or close() goes through lingering, so that the alert or the last frame
// arrives before the connection is reset. Libuv holds it until its handle is closed, the loop until the user has heard of
// the end. Loop thread only.
class UvLink : public Link, public std::enable_shared_from_this<UvLink> {
 public:
  static UvLink& create(LinkOwner& owner, std::shared_ptr<const TlsContext> context, std::string address);
  ~UvLink() override;

  const Peer& peer() const override { return channel_.peer(); }
  void send(std::string frame) override;
  std::size_t unsent_bytes() const override { return queued_bytes_ + writing_bytes_; }
  void close(const Error& why) override { end(why, After::queue); }

  uv_tcp_t* handle() { return &tcp_; }
  const std::string& address() const { return address_; }
  bool is_unproven() const { return state_ == State::connecting || state_ == State::proving; }
  bool is_over() const { return state_ >= State::lingering; }
  Instant opened_at() const { return opened_at_; }

  void set_address(std::string address) { address_ = std::move(address); }
  void on_connected(int uv_status);
  void begin();                                               // connected or accepted
  void write_some();                                          // encrypts and hands to the system what may go now
  void abort(const Error& why) { end(why, After::nothing); }  // without waiting for anything
  void orphan();                                              // the owner goes: closes without telling anybody

 private:
  UvLink(LinkOwner& owner, std::shared_ptr<const TlsContext> context, std::string address);
  enum class State { connecting, proving, open, lingering, closing };
  enum class After { nothing, alert, queue };  // what is still sent before the end
  struct Write;

  void on_bytes(ssize_t count, const uv_buf_t* buffer);
  Status receive(std::string_view ciphertext);
  Status deliver(std::string_view plaintext);
  void become_open();
  void end(const Error& why, After after);
  void linger();
  void close_handle();
  void write_ciphertext();
  void on_written(Write& write, int status);
  void watch_frame();
  void stop_timer();

  LinkOwner* owner_;  // null once orphaned
  std::shared_ptr<UvLink> held_by_libuv_;
  std::string address_;
  uv_tcp_t tcp_;
  TlsChannel channel_;
  FrameReader reader_;
  State state_ = State::connecting;
  Instant opened_at_;
  bool shut_ = false;

  std::deque<std::string> queue_;
  std::size_t front_sent_ = 0;  // bytes of the front frame that are encrypted already
  std::size_t queued_bytes_ = 0;
  std::size_t writing_bytes_ = 0;  // ciphertext with the system
  int writes_ = 0;
  std::size_t unsent_peak_ = 0;  // since the last on_drained
  bool write_due_ = false;

  Loop::Timer timer_ = 0;        // of the handshake, then of a slow frame, then of lingering
  Instant frame_since_;          // when the frame that is incomplete began, or the wait for the first one
  std::size_t frame_bytes_ = 0;  // of it, so far
  bool first_frame_seen_ = false;
};

}  // namespace landfall
