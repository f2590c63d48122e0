// Property: two channels understand one another however the bytes between them are cut, and neither opens to a peer
// that is not what it must be.

#include "edgeruntime/tls_channel.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "edgeruntime/openssl_values.h"
#include "tests/edgeruntime/fleet.h"
#include "tests/edgeruntime/forge.h"

namespace landfall {
namespace {

constexpr std::int64_t now_ms = 1'800'000'000'000;
constexpr std::int64_t day_ms = 24 * 3600 * 1000;

std::shared_ptr<const TlsContext> context(TlsContext::Side side, const Identity& identity, std::int64_t at = now_ms) {
  return *TlsContext::create(side, identity, [at] { return at; });
}

struct End {
  explicit End(std::shared_ptr<const TlsContext> with) : channel(std::move(with)) {}
  TlsChannel channel;
  std::string heard;
  std::optional<Error> failure;

  std::string take() {
    std::string bytes;
    channel.take_ciphertext(bytes);
    return bytes;
  }
  void feed(std::string_view bytes) {
    if (failure) return;
    if (auto fed = channel.feed(bytes); !fed.ok()) return fail(fed.error());
    char buffer[20'000];
    for (;;) {
      auto count = channel.read(buffer, sizeof buffer);
      if (!count) return fail(count.error());
      if (*count == 0) return;
      heard.append(buffer, *count);
    }
  }
  void fail(const Error& error) { failure = error; }
};

// Carries bytes until both are silent. `cut`: the bytes of each flight go in as [0, cut) and [cut, end). Returns the
// length of the longest flight.
std::size_t carry(End& a, End& b, std::size_t cut = std::string::npos) {
  std::size_t longest = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (auto [from, to] : {std::pair{&a, &b}, std::pair{&b, &a}}) {
      auto bytes = from->take();
      if (bytes.empty()) continue;
      moved = true;
      longest = std::max(longest, bytes.size());
      auto at = std::min(cut, bytes.size());
      to->feed(std::string_view(bytes).substr(0, at));
      to->feed(std::string_view(bytes).substr(at));
    }
  }
  return longest;
}

class TlsChannels : public testing::Test {
 protected:
  Fleet fleet_{now_ms};
  Identity hub_ = fleet_.hub(), node_ = fleet_.node();
  std::shared_ptr<const TlsContext> ashore_ = context(TlsContext::Side::listener, hub_);
  std::shared_ptr<const TlsContext> aboard_ = context(TlsContext::Side::dialler, node_);

  // Why the ends of such a pair do not open: ours first, then the other's.
  static std::pair<std::string, std::string> refusal(std::shared_ptr<const TlsContext> listener,
                                                     std::shared_ptr<const TlsContext> dialler) {
    End a(std::move(listener)), b(std::move(dialler));
    carry(a, b);
    return {a.failure ? a.failure->detail : "", b.failure ? b.failure->detail : ""};
  }
};

TEST_F(TlsChannels, NameTheirPeersAndCarryBytes) {
  End hub(ashore_), node(aboard_);
  carry(hub, node);
  ASSERT_TRUE(hub.channel.is_open() && node.channel.is_open());
  EXPECT_EQ(hub.channel.peer().node, *node_of_key(node_.key_pem));
  EXPECT_EQ(hub.channel.peer().role, Peer::Role::node);
  EXPECT_EQ(node.channel.peer().node, *node_of_key(hub_.key_pem));
  EXPECT_EQ(node.channel.peer().role, Peer::Role::hub);

  std::string big(100'001, 'x');
  ASSERT_TRUE(node.channel.write("ahoy").ok());
  ASSERT_TRUE(node.channel.write(big).ok());
  ASSERT_TRUE(node.channel.flush().ok());
  ASSERT_TRUE(hub.channel.write("aye").ok());
  ASSERT_TRUE(hub.channel.flush().ok());
  carry(hub, node);
  EXPECT_EQ(hub.heard, "ahoy" + big);
  EXPECT_EQ(node.heard, "aye");
}

TEST_F(TlsChannels, SmallWritesShareARecord) {
  End hub(ashore_), node(aboard_);
  carry(hub, node);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(node.channel.write("0123456789").ok());
  EXPECT_EQ(node.channel.ciphertext_bytes(), 0u);
  ASSERT_TRUE(node.channel.flush().ok());
  EXPECT_LE(node.channel.ciphertext_bytes(), 1000u + 22);
}

TEST_F(TlsChannels, OpenAndTalkWhereverTheBytesAreCut) {
  End first(ashore_), second(aboard_);
  auto longest = carry(first, second) + 2;  // signatures differ in length by a byte or two
  for (std::size_t cut = 1; cut <= longest; ++cut) {
    End hub(ashore_), node(aboard_);
    carry(hub, node, cut);
    ASSERT_TRUE(hub.channel.is_open() && node.channel.is_open()) << "cut at " << cut;
    ASSERT_TRUE(node.channel.write("ahoy").ok() && node.channel.flush().ok());
    carry(hub, node, cut);
    ASSERT_EQ(hub.heard, "ahoy") << "cut at " << cut;
  }
}

TEST_F(TlsChannels, OpenAndTalkByteByByte) {
  End hub(ashore_), node(aboard_);
  auto carry_bytes = [&] {
    for (bool moved = true; moved;) {
      moved = false;
      for (auto [from, to] : {std::pair{&hub, &node}, std::pair{&node, &hub}}) {
        auto bytes = from->take();
        for (char byte : bytes) to->feed({&byte, 1});
        moved |= !bytes.empty();
      }
    }
  };
  carry_bytes();
  std::string words(20'000, 'w');
  ASSERT_TRUE(node.channel.write(words).ok() && node.channel.flush().ok());
  carry_bytes();
  EXPECT_EQ(hub.heard, words);
}

TEST_F(TlsChannels, AChangedByteAnywhereEndsTheConnection) {
  End hub(ashore_), node(aboard_);
  carry(hub, node);
  ASSERT_TRUE(node.channel.write("ahoy").ok() && node.channel.flush().ok());
  auto bytes = node.take();
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  hub.feed(bytes);
  ASSERT_TRUE(hub.failure.has_value());
  EXPECT_EQ(hub.failure->code, Code::corrupt);
  EXPECT_EQ(hub.heard, "");
}

TEST_F(TlsChannels, AGoodbyeIsUnavailableAndComesAfterTheLastWords) {
  End hub(ashore_), node(aboard_);
  carry(hub, node);
  ASSERT_TRUE(node.channel.write("last words").ok());
  node.channel.send_close();
  carry(hub, node);
  EXPECT_EQ(hub.heard, "last words");
  ASSERT_TRUE(hub.failure.has_value());
  EXPECT_EQ(hub.failure->code, Code::unavailable);
}

TEST_F(TlsChannels, AnExpiredNodeIsToldWhy) {
  auto late = now_ms + 91 * day_ms;  // the hub's certificate lives a year, the node's 90 days
  auto [ours, theirs] =
      refusal(context(TlsContext::Side::listener, hub_, late), context(TlsContext::Side::dialler, node_, late));
  EXPECT_NE(ours.find("expired on"), std::string::npos) << ours;
  EXPECT_NE(theirs.find("refused our certificate"), std::string::npos) << theirs;
  EXPECT_NE(theirs.find("expired on"), std::string::npos) << theirs;
}

TEST_F(TlsChannels, StrangersAreRefusedOnBothSides) {
  Fleet others(now_ms);  // same trust domain, another root
  Fleet elsewhere(now_ms, "other.example");
  auto [hub_says, stranger_hears] = refusal(ashore_, context(TlsContext::Side::dialler, [&] {
                                              auto stranger = others.node();
                                              stranger.bundle_pem =
                                                  fleet_.root().cert_pem;  // it trusts us, we do not trust it
                                              return stranger;
                                            }()));
  EXPECT_NE(hub_says.find("not signed by a root of this fleet"), std::string::npos) << hub_says;
  EXPECT_NE(stranger_hears.find("refused our certificate"), std::string::npos) << stranger_hears;

  auto node_says = refusal(context(TlsContext::Side::listener, others.hub()), aboard_).second;
  EXPECT_NE(node_says.find("not signed by a root of this fleet"), std::string::npos) << node_says;
  node_says = refusal(context(TlsContext::Side::listener, elsewhere.hub()), aboard_).second;
  EXPECT_NE(node_says.find("wrong trust domain"), std::string::npos) << node_says;
}

TEST_F(TlsChannels, ANodeIsNoHubAndAHubDoesNotDial) {
  auto node_says = refusal(context(TlsContext::Side::listener, fleet_.node()), aboard_).second;
  EXPECT_NE(node_says.find("the peer is no hub"), std::string::npos) << node_says;
  auto hub_says = refusal(ashore_, context(TlsContext::Side::dialler, fleet_.hub())).first;
  EXPECT_NE(hub_says.find("the peer is a hub"), std::string::npos) << hub_says;
}

TEST_F(TlsChannels, OtherProtocolsAreNamed) {
  End hub(ashore_);
  hub.feed("GET / HTTP/1.1\r\nHost: hub\r\n\r\n");
  EXPECT_NE(hub.failure->detail.find("plain HTTP"), std::string::npos);
  End second(ashore_);
  second.feed("SSH-2.0-OpenSSH_9.2\r\n");
  EXPECT_NE(second.failure->detail.find("not TLS"), std::string::npos);
  End node(aboard_);
  node.feed("HTTP/1.1 400 Bad Request\r\n\r\n");
  EXPECT_NE(node.failure->detail.find("plain HTTP"), std::string::npos);
  End third(ashore_);
  third.feed(std::string("\x16\x03\x01\x00\x05garbage and more garbage", 28));
  EXPECT_EQ(third.failure->code, Code::corrupt);
}

// A TLS client that is not ours, set up as a test needs it.
class OtherClient {
 public:
  explicit OtherClient(const Identity* identity, const std::function<void(SSL_CTX*)>& set_up) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context_, SSL_VERIFY_NONE, nullptr);
    if (identity != nullptr) {
      SSL_CTX_use_certificate(context_, parse_certificates(identity->chain_pem)->front().get());
      SSL_CTX_use_PrivateKey(context_, parse_key(identity->key_pem)->get());
    }
    set_up(context_);
    ssl_ = SSL_new(context_);
    SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_);
  }
  ~OtherClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  void talk_to(End& hub) {
    for (int round = 0; round < 4; ++round) {
      SSL_do_handshake(ssl_);
      hub.feed(bio_text(SSL_get_wbio(ssl_)));
      (void)BIO_reset(SSL_get_wbio(ssl_));
      auto answer = hub.take();
      BIO_write(SSL_get_rbio(ssl_), answer.data(), static_cast<int>(answer.size()));
    }
  }
  SSL* ssl() { return ssl_; }

 private:
  SSL_CTX* context_;
  SSL* ssl_;
};

void offer_alpn(SSL_CTX* context, const std::string& name) {
  auto wire = std::string(1, static_cast<char>(name.size())) + name;
  SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(wire.data()),
                          static_cast<unsigned>(wire.size()));
}

TEST_F(TlsChannels, AnotherClientWithEverythingRightIsAccepted) {
  End hub(ashore_);
  OtherClient client(&node_, [](SSL_CTX* c) { offer_alpn(c, "landfall/1"); });
  client.talk_to(hub);
  EXPECT_TRUE(hub.channel.is_open()) << hub.failure->detail;
  EXPECT_STREQ(SSL_get_cipher(client.ssl()), "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(SSL_get_negotiated_group(client.ssl()), NID_X25519);
}

TEST_F(TlsChannels, Tls12IsRefused) {
  End hub(ashore_);
  OtherClient client(&node_, [](SSL_CTX* c) {
    offer_alpn(c, "landfall/1");
    SSL_CTX_set_max_proto_version(c, TLS1_2_VERSION);
  });
  client.talk_to(hub);
  ASSERT_TRUE(hub.failure.has_value());
  EXPECT_EQ(hub.failure->code, Code::denied);
  EXPECT_NE(hub.failure->detail.find("only TLS 1.3"), std::string::npos) << hub.failure->detail;
}

TEST_F(TlsChannels, AClientWithoutCertificateOrOurProtocolIsRefused) {
  struct Case {
    const char* reason;
    const Identity* identity;
    std::function<void(SSL_CTX*)> set_up;
  };
  for (const auto& bad :
       {Case{"no certificate", nullptr, [](SSL_CTX* c) { offer_alpn(c, "landfall/1"); }},
        Case{"ALPN", &node_, [](SSL_CTX* c) { offer_alpn(c, "h2"); }}, Case{"ALPN", &node_, [](SSL_CTX*) {}}}) {
    SCOPED_TRACE(bad.reason);
    End hub(ashore_);
    OtherClient client(bad.identity, bad.set_up);
    client.talk_to(hub);
    ASSERT_TRUE(hub.failure.has_value());
    EXPECT_FALSE(hub.channel.is_open());
    EXPECT_EQ(hub.failure->code, Code::denied);
    EXPECT_NE(hub.failure->detail.find(bad.reason), std::string::npos) << hub.failure->detail;
  }
}

TEST_F(TlsChannels, AnIdentityWhosePartsDoNotFitMakesNoContext) {
  auto mixed = node_;
  mixed.key_pem = make_key();
  auto made = TlsContext::create(TlsContext::Side::dialler, mixed, [] { return now_ms; });
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, Code::denied);
}

}  // namespace
}  // namespace landfall
