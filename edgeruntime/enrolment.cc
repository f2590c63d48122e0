#include "edgeruntime/enrolment.h"

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "schemas/sync_messages.h"

namespace landfall {
namespace {

constexpr Duration renewals_apart = std::chrono::hours(1);

std::string hex(const NodeId& node) { return to_string(node); }

// By the invite's key, as names may be given twice.
std::string invite_key(const std::string& id) { return "x/invite/" + id; }
std::string invite_key(const Peer& invite) { return invite_key(hex(invite.node)); }

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
  if (!invited_.contains(&link)) {
    if (frame.type == FrameType::enrol) return renew(link, frame.body);
    if (frame.type != FrameType::enrolled) return user_->on_frame(link, frame);
    return refuse(link, {Code::out_of_range, "a hub takes no certificate from a node"});
  }
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
  renewing_.erase(&link);
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
      {"audit", "enrolled"},
      {"invite", invite.name},
      {"invite_id", hex(invite.node)},
      {"node", hex(node)},
      {"name", asked_name}}.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  append_audit(node, payload, {{invite_key(invite), hex(node)}},
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

// Silence, not bye, for one who asks too often: a doubled frame or a restart must not end a session.
void EnrolmentDoor::renew(Link& link, std::string_view body) {
  const Peer peer = link.peer();
  if (peer.role != Peer::Role::node) return refuse(link, {Code::denied, "only a node's certificate is renewed here"});
  std::erase_if(renewed_, [this](const auto& one) { return loop_.now() - one.second >= renewals_apart; });
  if (renewed_.contains(peer.node)) return;
  const auto request = decode_enrol(body);
  if (!request) return refuse(link, request.error());
  const auto node = verify_csr(request->csr_pem);
  if (!node) return refuse(link, node.error());
  if (*node != peer.node)
    return refuse(link, {Code::denied, "a node's certificate is renewed for its own key; for another, invite it anew"});
  renewed_[peer.node] = loop_.now();
  const auto id = renewing_[&link] = ++links_;
  append_audit(peer.node, nlohmann::ordered_json{{"audit", "renewed"}, {"node", hex(peer.node)}}.dump(), {},
               [this, &link, id, node = peer.node, csr_pem = request->csr_pem](const Result<Log::Appended>& done) {
                 const auto open = renewing_.find(&link);
                 const bool there = open != renewing_.end() && open->second == id;
                 if (there) renewing_.erase(open);
                 if (!done)
                   return spdlog::warn("event=renewal_failed node={} reason=\"{}\"", hex(node), done.error().detail);
                 spdlog::info("event=renewed what=\"certificate of a node\" node={}", hex(node));
                 if (there) answer(link, csr_pem);
               });
}

void EnrolmentDoor::append_audit(const NodeId& node, const std::string& payload, std::vector<Log::Meta> meta,
                                 Log::OnAppended done) {
  const std::string subject = "node/" + hex(node);
  Event audit;
  audit.kind = Kind::audit;
  audit.subject = subject;
  audit.content_type = "application/json";
  audit.payload = payload;
  log_.append(Stream::control, {&audit, 1}, std::move(meta), std::move(done));
}

// What says that an invite is spent lies beside the log, and is not in what Kafka gives back of it.
void EnrolmentDoor::recall(std::function<void(Status)> done) {
  std::vector<Log::Meta> spent;
  const auto look = [&](const Log::StoredChunk& stored) {
    if (stored.header.of.stream != Stream::control || stored.header.of.run.node != log_.run().node) return true;
    const auto chunk = decode_chunk(stored.bytes);
    if (!chunk) return true;
    RowReader rows(chunk->rows);
    for (auto row = rows.next(); !row.empty(); row = rows.next()) {
      const auto event = decode_row(row);
      if (!event || event->kind != Kind::audit) continue;
      const auto said = nlohmann::json::parse(event->payload, nullptr, false);
      if (!said.is_object() || said.value("audit", nlohmann::json()) != "enrolled") continue;
      const auto invite = said.value("invite_id", nlohmann::json()), node = said.value("node", nlohmann::json());
      if (invite.is_string() && node.is_string()) {
        spent.push_back({invite_key(invite.get<std::string>()), node.get<std::string>()});
      }
    }
    return true;
  };
  const Status found = log_.find("node/", look);
  log_.put_meta(std::move(spent), [done = std::move(done), found](const Status& put) { done(found ? put : found); });
}

void EnrolmentDoor::answer(Link& link, const std::string& csr_pem) {
  const auto chain = issue_svid(root_, csr_pem, Peer::Role::node, loop_.unix_ms());
  if (!chain) return refuse(link, chain.error());
  link.send(encode_frame(FrameType::enrolled, encode(Enrolled{*chain, root_.cert_pem})));
}

void EnrolmentDoor::refuse(Link& link, const Error& why) {
  if (link.peer().role == Peer::Role::invite) {
    spdlog::warn("event=enrolment_refused invite={} reason=\"{}\"", link.peer().name, why.detail);
  } else {
    spdlog::warn("event=renewal_refused node={} reason=\"{}\"", hex(link.peer().node), why.detail);
  }
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
  const auto& invited = invite_.identity;
  auto identity = accept_svid({invited.trust_domain, key_pem_, "", invited.bundle_pem}, frame.body, loop_.unix_ms());
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

Result<Identity> accept_svid(const Identity& own, std::string_view body, std::int64_t unix_ms) {
  const auto answer = decode_enrolled(body);
  if (!answer) return answer.error();
  const auto self = node_of_key(own.key_pem);
  if (!self) return self.error();
  const auto peer = verify_chain(answer->chain_pem, own.bundle_pem, own.trust_domain, unix_ms);
  if (!peer) return Error{peer.error()}.in("certificate from the hub");
  if (peer->node != *self || peer->role != Peer::Role::node)
    return Error{Code::denied, "the hub answered with a certificate for somebody else"};
  return Identity{own.trust_domain, own.key_pem, answer->chain_pem, own.bundle_pem};
}

}  // namespace landfall
