#include "edgeruntime/enrolment.h"

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "schemas/sync_messages.h"

namespace landfall {
namespace {

std::string hex(const NodeId& node) { return to_string(node); }

// By the invite's key, as names may be given twice.
std::string invite_key(const Peer& invite) { return "x/invite/" + hex(invite.node); }

}  // namespace

void EnrolmentDoor::start(LinkUser& user) {
  user_ = &user;
  network_.start(*this);
}

void EnrolmentDoor::on_open(Link& link) {
  if (link.peer().role != Peer::Role::invite) return user_->on_open(link);
  invited_[&link] = ++links_;
}

void EnrolmentDoor::on_frame(Link& link, FrameView frame) {
  if (!invited_.contains(&link)) return user_->on_frame(link, frame);
  if (frame.type == FrameType::enrol) {
    enrol(link, frame.body);
  } else if (frame.type != FrameType::bye) {
    refuse(link, {Code::denied, "an invite is good for enrolment only"});
  }
}

void EnrolmentDoor::on_drained(Link& link) {
  if (!invited_.contains(&link)) user_->on_drained(link);
}

void EnrolmentDoor::on_closed(Link& link, const Error& why) {
  if (invited_.erase(&link) == 0) user_->on_closed(link, why);
}

void EnrolmentDoor::enrol(Link& link, std::string_view body) {
  const auto request = decode_enrol(body);
  if (!request) return refuse(link, request.error());
  const auto node = verify_csr(request->csr_pem);
  if (!node) return refuse(link, node.error());
  const auto spent = log_.get_meta(invite_key(link.peer()));
  if (!spent && spent.error().code != Code::not_found) return refuse(link, spent.error());
  if (!spent) return record(link, *node, request->csr_pem, request->name);
  if (*spent == hex(*node)) return answer(link, request->csr_pem);
  refuse(link,
         {Code::denied, "invite " + link.peer().name +
                            " is spent: another node enrolled with it; make a new one with `landfall hub invite`"});
}

void EnrolmentDoor::record(Link& link, const NodeId& node, const std::string& csr_pem, const std::string& asked_name) {
  const Peer invite = link.peer();
  if (!recording_.insert(invite.node).second)
    return refuse(link, {Code::unavailable, "this invite is being used: ask again"});
  const std::string payload = nlohmann::ordered_json{
      {"what", "enrolled"},
      {"invite", invite.name},
      {"node", hex(node)},
      {"name", asked_name}}.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  const std::string subject = "node/" + hex(node);
  Event audit;
  audit.kind = Kind::audit;
  audit.subject = subject;
  audit.content_type = "application/json";
  audit.payload = payload;
  log_.append(Stream::control, {&audit, 1}, {{invite_key(invite), hex(node)}},
              [this, &link, id = invited_.at(&link), invite, node, csr_pem](const Result<Log::Appended>& done) {
                recording_.erase(invite.node);
                const auto open = invited_.find(&link);
                const bool there = open != invited_.end() && open->second == id;
                if (!done) {
                  if (there) refuse(link, done.error());
                  return;
                }
                spdlog::info("event=enrolled invite={} node={}", invite.name, hex(node));
                if (there) answer(link, csr_pem);
              });
}

void EnrolmentDoor::answer(Link& link, const std::string& csr_pem) {
  const auto chain = issue_svid(root_, csr_pem, Peer::Role::node, loop_.unix_ms());
  if (!chain) return refuse(link, chain.error());
  link.send(encode_frame(FrameType::enrolled, encode(Enrolled{*chain, root_.cert_pem})));
}

void EnrolmentDoor::refuse(Link& link, const Error& why) {
  spdlog::warn("event=enrolment_refused invite={} reason=\"{}\"", link.peer().name, why.detail);
  link.send(encode_frame(FrameType::bye, encode(Bye{why.code, why.detail})));
  link.close(why);
}

void FirstContact::on_open(Link& link) {
  if (done_) return link.close({Code::unavailable, "enrolled already"});
  const auto csr = make_csr(key_pem_);
  if (!csr) {
    refusal_ = csr.error().detail;
    return link.close(csr.error());
  }
  link.send(encode_frame(FrameType::enrol, encode(Enrol{*csr, invite_.name})));
}

void FirstContact::on_frame(Link& link, FrameView frame) {
  if (done_) return;
  if (frame.type == FrameType::bye) {
    const auto bye = decode_bye(frame.body);
    refusal_ = bye ? bye->detail : bye.error().detail;
    spdlog::warn("event=enrolment_refused invite={} reason=\"{}\"", invite_.name, refusal_);
    return link.close({Code::denied, refusal_});
  }
  if (frame.type != FrameType::enrolled) return link.close({Code::corrupt, "expected an answer to enrol"});
  auto identity = accept(frame.body);
  if (!identity) {
    refusal_ = identity.error().detail;
    spdlog::error("event=enrolment_failed reason=\"{}\"", refusal_);
    return link.close(identity.error());
  }
  done_ = true;
  refusal_.clear();
  link.close({Code::unavailable, "enrolled"});
  enrolled_(std::move(*identity));
}

// The answer comes over a link to a hub that the invite's bundle proved; it must still be for our key and under the same
// root, or the next start would fail with no invite left to mend it.
Result<Identity> FirstContact::accept(std::string_view body) const {
  const auto answer = decode_enrolled(body);
  if (!answer) return answer.error();
  const auto self = node_of_key(key_pem_);
  if (!self) return self.error();
  const auto& root = invite_.identity;
  const auto peer = verify_chain(answer->chain_pem, root.bundle_pem, root.trust_domain, loop_.unix_ms());
  if (!peer) return Error{peer.error()}.in("certificate from the hub");
  if (peer->node != *self || peer->role != Peer::Role::node)
    return Error{Code::denied, "the hub answered with a certificate for somebody else"};
  return Identity{root.trust_domain, key_pem_, answer->chain_pem, root.bundle_pem};
}

}  // namespace landfall
