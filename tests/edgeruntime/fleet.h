#pragma once

#include <gtest/gtest.h>

#include <string>

#include "edgeruntime/identity.h"
#include "edgeruntime/uv_loop.h"

namespace landfall {

// A trust domain with as many members as a test wants. `at` is when it was founded; its certificates live from then on.
class Fleet {
 public:
  explicit Fleet(std::int64_t at, const std::string& trust_domain = "fleet.example")
      : at_(at), root_(*make_trust_root(trust_domain, at)) {}

  Identity member(Peer::Role role) const { return member(role, at_); }
  Identity member(Peer::Role role, std::int64_t issued) const {
    if (role == Peer::Role::invite) return make_invite(root_, "aurora", "hub.example:7443", issued)->identity;
    auto key = make_key();
    return {root_.trust_domain, key, *issue_svid(root_, *make_csr(key), role, issued), root_.cert_pem};
  }
  Identity hub() const { return member(Peer::Role::hub); }
  Identity node() const { return member(Peer::Role::node); }
  const TrustRoot& root() const { return root_; }

 private:
  std::int64_t at_;
  TrustRoot root_;
};

// Turns of `loop` until `reached`; fails the test where half a minute does not bring it.
template <class Reached>
void run_until(UvLoop& loop, Reached reached) {
  auto deadline = loop.now() + std::chrono::seconds(30);
  while (!reached()) {
    ASSERT_LT(loop.now(), deadline) << "not reached";
    auto timer = loop.after(std::chrono::milliseconds(1), [&] { loop.stop(); });
    loop.run();
    loop.cancel(timer);
  }
}

}  // namespace landfall
