#include "edgeruntime/uv_link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

#include "schemas/check.h"

namespace landfall {
namespace {

// Two writes with the system keep it busy while one is being encrypted; more would only take order away from the
// session, which wants an alarm to overtake what is not yet sent.
constexpr int writes_max = 2;
constexpr std::size_t write_plaintext_bytes = 128 << 10;
constexpr int kernel_unsent_bytes = 128 << 10;
constexpr unsigned user_timeout_ms = 120'000;
constexpr double frame_bytes_per_second_min = 1000;

uv_stream_t* stream_of(uv_tcp_t* tcp) { return reinterpret_cast<uv_stream_t*>(tcp); }

void set_socket_options(uv_tcp_t* tcp) {
  uv_tcp_nodelay(tcp, 1);
  uv_tcp_keepalive(tcp, 1, 60);
  uv_os_fd_t descriptor;
  if (uv_fileno(reinterpret_cast<uv_handle_t*>(tcp), &descriptor) != 0) return;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kernel_unsent_bytes, sizeof kernel_unsent_bytes);
}

}  // namespace

struct UvLink::Write {
  uv_write_t request;
  UvLink* link;
  std::string bytes;
};

UvLink::UvLink(LinkOwner& owner, std::shared_ptr<const TlsContext> context, std::string address)
    : owner_(&owner), address_(std::move(address)), channel_(std::move(context)) {
  LANDFALL_CHECK(uv_tcp_init(owner.loop().handle(), &tcp_) == 0);
  tcp_.data = this;
  timer_ = owner.loop().after(owner.options().handshake_max, [this] {
    timer_ = 0;
    bool connected = state_ == State::proving;
    end({Code::unavailable, connected ? "the peer did not finish the TLS handshake in time"
                                      : "no answer to the TCP connection; check address, route and firewall"},
        After::nothing);
  });
}

UvLink& UvLink::create(LinkOwner& owner, std::shared_ptr<const TlsContext> context, std::string address) {
  std::shared_ptr<UvLink> link(new UvLink(owner, std::move(context), std::move(address)));
  link->held_by_libuv_ = link;
  return *link;
}

UvLink::~UvLink() {
  if (owner_ != nullptr) owner_->on_released(*this);
}

void UvLink::on_connected(int uv_status) {
  if (owner_ == nullptr || state_ != State::connecting) return;
  owner_->loop().new_turn();
  if (uv_status == 0) return begin();
  std::string why = uv_strerror(uv_status);
  if (uv_status == UV_ECONNREFUSED) why += "; is the hub running, and is this its port?";
  end({Code::unavailable, why}, After::nothing);
}

void UvLink::begin() {
  if (state_ != State::connecting) return;
  state_ = State::proving;
  set_socket_options(&tcp_);
  auto give_buffer = [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
    auto* owner = static_cast<UvLink*>(handle->data)->owner_;
    *buffer = owner == nullptr ? uv_buf_init(nullptr, 0) : owner->ciphertext_buffer();
  };
  auto take_bytes = [](uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) {
    static_cast<UvLink*>(stream->data)->on_bytes(count, buffer);
  };
  LANDFALL_CHECK(uv_read_start(stream_of(&tcp_), give_buffer, take_bytes) == 0);
  write_ciphertext();
}

// ---- receiving

void UvLink::on_bytes(ssize_t count, const uv_buf_t* buffer) {
  if (owner_ == nullptr || count == 0) return;
  owner_->loop().new_turn();
  if (count < 0) {
    if (state_ == State::lingering) return close_handle();
    std::string why = count == UV_EOF ? "the peer closed the connection" : uv_strerror(static_cast<int>(count));
    return end({Code::unavailable, why}, After::nothing);
  }
  owner_->totals().bytes_in += static_cast<std::uint64_t>(count);
  if (state_ == State::lingering) return;
  auto received = receive({buffer->base, static_cast<std::size_t>(count)});
  if (!received.ok()) end(received.error(), After::alert);
}

Status UvLink::receive(std::string_view ciphertext) {
  auto fed = channel_.feed(ciphertext);
  if (channel_.ciphertext_bytes() > 0) write_ciphertext();
  LANDFALL_TRY(std::move(fed));
  if (state_ == State::proving && channel_.is_open()) become_open();
  auto space = owner_->plaintext_buffer();
  for (bool more = true; more;) {
    std::size_t filled = 0;
    Status readable = ok();
    while (more && space.len - filled >= (16 << 10)) {
      auto got = channel_.read(space.base + filled, space.len - filled);
      if (!got) readable = std::move(got).error();
      more = got.ok() && *got > 0;
      filled += more ? *got : 0;
    }
    // A user who closed the link wants no more of it, but the channel has to be emptied before it is fed again. What
    // came before a close_notify counts.
    if (state_ == State::open) LANDFALL_TRY(deliver({space.base, filled}));
    LANDFALL_TRY(std::move(readable));
  }
  return ok();
}

Status UvLink::deliver(std::string_view plaintext) {
  while (state_ == State::open && !plaintext.empty()) {
    auto before = plaintext.size();
    auto frame = reader_.next(plaintext);
    if (!frame) {
      if (frame.error().code != Code::not_found) return std::move(frame).error();
      if (frame_bytes_ == 0 && first_frame_seen_) frame_since_ = owner_->loop().now();
      frame_bytes_ += before - plaintext.size();
      watch_frame();
      return ok();
    }
    frame_bytes_ = 0;
    ++owner_->totals().frames_in;
    owner_->user().on_frame(*this, *frame);
    if (!std::exchange(first_frame_seen_, true)) reader_.set_body_bytes_max(frame_bytes_max);
  }
  return ok();
}

// A peer that sends a frame byte by byte, or none at first, holds memory and a place: it gets `frame_grace` and a
// second for each kilobyte.
void UvLink::watch_frame() {
  if (state_ != State::open || timer_ != 0 || (frame_bytes_ == 0 && first_frame_seen_)) return;
  auto allowed = owner_->options().frame_grace + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
                                                     static_cast<double>(frame_bytes_) / frame_bytes_per_second_min));
  auto left = frame_since_ + allowed - owner_->loop().now();
  if (left <= Duration::zero()) {
    return end(
        {Code::unavailable, first_frame_seen_ ? "the peer sends a frame too slowly" : "the peer sends no first frame"},
        After::alert);
  }
  timer_ = owner_->loop().after(left, [this] {
    timer_ = 0;
    watch_frame();
  });
}

void UvLink::become_open() {
  state_ = State::open;
  stop_timer();
  opened_at_ = frame_since_ = owner_->loop().now();
  ++owner_->totals().links_opened;
  owner_->on_proven(*this);
  watch_frame();
}

// ---- sending

void UvLink::send(std::string frame) {
  if (state_ != State::open || frame.empty()) return;
  if (unsent_bytes() + frame.size() > link_unsent_bytes_max) {
    return end({Code::unavailable, "the link cannot carry what is queued for it"}, After::nothing);
  }
  ++owner_->totals().frames_out;
  queued_bytes_ += frame.size();
  queue_.push_back(std::move(frame));
  unsent_peak_ = std::max(unsent_peak_, unsent_bytes());
  if (!std::exchange(write_due_, true)) owner_->wants_to_write(*this);
}

void UvLink::write_some() {
  write_due_ = false;
  if (owner_ == nullptr || state_ == State::closing || !channel_.is_open()) return;
  while (writes_ < writes_max && !queue_.empty()) {
    std::size_t taken = 0;
    while (!queue_.empty() && taken < write_plaintext_bytes) {
      auto rest = std::string_view(queue_.front()).substr(front_sent_);
      auto part = rest.substr(0, write_plaintext_bytes - taken);
      if (!channel_.write(part).ok()) return end({Code::unavailable, "TLS cannot encrypt any more"}, After::nothing);
      taken += part.size();
      front_sent_ += part.size();
      if (part.size() < rest.size()) break;
      queue_.pop_front();
      front_sent_ = 0;
    }
    queued_bytes_ -= taken;
    if (!channel_.flush().ok()) return end({Code::unavailable, "TLS cannot encrypt any more"}, After::nothing);
    write_ciphertext();
  }
  if (state_ == State::lingering) linger();
}

void UvLink::write_ciphertext() {
  if (state_ == State::closing) return;
  auto write = std::make_unique<Write>();
  write->link = this;
  if (!channel_.take_ciphertext(write->bytes)) return;
  auto size = write->bytes.size();
  auto buffer = uv_buf_init(write->bytes.data(), static_cast<unsigned>(size));
  write->request.data = write.get();
  auto queued = uv_write(&write->request, stream_of(&tcp_), &buffer, 1, [](uv_write_t* request, int status) {
    std::unique_ptr<Write> done(static_cast<Write*>(request->data));
    done->link->on_written(*done, status);
  });
  if (queued != 0) return;  // not connected any more: the read side says so
  write.release();
  ++writes_;
  writing_bytes_ += size;
  owner_->totals().bytes_out += size;
}

void UvLink::on_written(Write& write, int status) {
  --writes_;
  writing_bytes_ -= write.bytes.size();
  if (owner_ == nullptr || state_ == State::closing) return;
  owner_->loop().new_turn();
  if (status != 0) {
    if (state_ == State::lingering) return close_handle();
    return end({Code::unavailable, uv_strerror(status)}, After::nothing);
  }
  if (state_ == State::open && unsent_peak_ > 0 && unsent_bytes() <= unsent_peak_ / 4) {
    unsent_peak_ = unsent_bytes();
    owner_->user().on_drained(*this);
  }
  write_some();
}

// ---- ending

void UvLink::end(const Error& why, After after) {
  if (owner_ == nullptr || state_ == State::closing) return;
  if (state_ == State::lingering) {
    if (after == After::nothing) close_handle();
    return;
  }
  bool connected = state_ != State::connecting;
  bool was_open = state_ == State::open;
  stop_timer();
  state_ = State::lingering;
  if (after != After::queue) {
    queue_.clear();
    queued_bytes_ = front_sent_ = 0;
  }
  owner_->on_over(*this, why, was_open);
  // The user hears of it in a later turn. The network may have gone by then.
  if (was_open) {
    owner_->loop().post([self = shared_from_this(), why] {
      if (self->owner_ != nullptr) self->owner_->user().on_closed(*self, why);
    });
  }
  if (after == After::nothing || !connected) return close_handle();
  timer_ = owner_->loop().after(owner_->options().linger_max, [this] {
    timer_ = 0;
    close_handle();
  });
  linger();
}

// Sends the rest, then says goodbye and waits for the peer's end: closing at once would reset the connection where
// bytes of the peer lie unread, and the reset would overtake what we sent last.
void UvLink::linger() {
  if (shut_ || !queue_.empty()) {
    if (!queue_.empty() && !std::exchange(write_due_, true)) owner_->wants_to_write(*this);
    return;
  }
  shut_ = true;
  channel_.send_close();
  write_ciphertext();
  auto request = std::make_unique<uv_shutdown_t>();
  if (uv_shutdown(request.get(), stream_of(&tcp_),
                  [](uv_shutdown_t* done, int) { std::unique_ptr<uv_shutdown_t> released(done); }) != 0) {
    return close_handle();
  }
  request.release();
}

void UvLink::close_handle() {
  if (state_ == State::closing) return;
  state_ = State::closing;
  stop_timer();
  uv_close(reinterpret_cast<uv_handle_t*>(&tcp_),
           [](uv_handle_t* handle) { auto last = std::move(static_cast<UvLink*>(handle->data)->held_by_libuv_); });
}

void UvLink::orphan() {
  stop_timer();
  close_handle();
  owner_ = nullptr;
}

void UvLink::stop_timer() {
  if (timer_ != 0) owner_->loop().cancel(std::exchange(timer_, 0));
}

}  // namespace landfall
