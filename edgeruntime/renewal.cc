#include "edgeruntime/renewal.h"

#include <spdlog/spdlog.h>

#include "edgeruntime/enrolment.h"
#include "edgeruntime/metrics.h"
#include "schemas/sync_messages.h"

namespace landfall {
namespace {

constexpr Duration ask_interval = std::chrono::hours(24);

void warn(const Error& why) { spdlog::warn("event=renewal_failed reason=\"{}\"", why.detail); }

}  // namespace

void Renewal::start(LinkUser& user) {
  user_ = &user;
  network_.start(*this);
}

void Renewal::on_open(Link& link) {
  user_->on_open(link);
  if (link.peer().role != Peer::Role::hub) return;
  link_ = &link;
  waiting_ = false;
  look();
}

void Renewal::on_frame(Link& link, FrameView frame) {
  if (frame.type == FrameType::enrol) return link.close({Code::out_of_range, "a hub asks an edge for a certificate"});
  if (frame.type != FrameType::enrolled) return user_->on_frame(link, frame);
  // A second copy, or the answer to a link that is gone: nothing hangs on it.
  if (&link == link_ && waiting_) take(frame.body);
}

void Renewal::on_closed(Link& link, const Error& why) {
  if (&link == link_) {
    link_ = nullptr;
    loop_.cancel(timer_);
  }
  user_->on_closed(link, why);
}

void Renewal::look() {
  loop_.cancel(timer_);
  timer_ = loop_.after(ask_interval, [this] { look(); });
  if (asked_ && loop_.now() - *asked_ < ask_interval) return;
  if (is_due()) ask();
}

bool Renewal::is_due() const {
  const auto due = renewal_due_unix_ms(identity_.chain_pem);
  return due && loop_.unix_ms() >= *due;
}

void Renewal::ask() {
  asked_ = loop_.now();
  const auto csr = make_csr(identity_.key_pem);
  if (!csr) return warn(csr.error());
  waiting_ = true;
  link_->send(encode_frame(FrameType::enrol, encode(Enrol{*csr, ""})));
}

void Renewal::take(std::string_view body) {
  waiting_ = false;
  auto identity = accept_svid(identity_, body, loop_.unix_ms());
  if (!identity) return warn(identity.error());
  const auto until = expires_unix_ms(identity->chain_pem);
  if (!until) return warn(until.error());
  // Else a hub whose clock is wrong could take life from us.
  if (const auto now_until = expires_unix_ms(identity_.chain_pem); now_until && *until <= *now_until)
    return warn({Code::denied, "the hub's certificate ends no later than the present one: check the hub's clock"});
  if (const auto kept = renewed_(*identity); !kept) return warn(kept.error());
  identity_ = std::move(*identity);
  spdlog::info("event=renewed what=\"certificate of the edge\" until={}", rfc3339(*until));
}

}  // namespace landfall
