// Property: whoever is at the other end of the socket, the network refuses what it must, says why, and serves the next
// peer as if nothing had happened.

#include "edgeruntime/uv_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edgeruntime/openssl_values.h"
#include "schemas/frame.h"
#include "tests/conformance/talker.h"
#include "tests/edgeruntime/fleet.h"

namespace landfall {
namespace {

using std::chrono::milliseconds;

// A stranger's socket, driven from the turns of our loop.
class Stranger {
 public:
  explicit Stranger(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(port);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    ::fcntl(socket_, F_SETFL, O_NONBLOCK);
  }
  ~Stranger() { ::close(socket_); }
  void send(std::string_view bytes) {
    EXPECT_EQ(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // True once the other end has closed; what it sent before is in `heard`.
  bool closed() {
    char buffer[4096];
    for (;;) {
      auto count = ::recv(socket_, buffer, sizeof buffer, 0);
      if (count > 0)
        heard.append(buffer, static_cast<std::size_t>(count));
      else
        return count == 0 || errno != EAGAIN;
    }
  }
  std::string heard;
  int socket() const { return socket_; }

 private:
  int socket_;
};

// TLS over a stranger's socket, with what a test wants to be wrong.
class TlsStranger : public Stranger {
 public:
  TlsStranger(std::uint16_t port, const Identity& identity, int version)
      : Stranger(port), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_max_proto_version(context_, version);
    SSL_CTX_set_alpn_protos(context_, reinterpret_cast<const unsigned char*>("\x0alandfall/1"), 11);
    SSL_CTX_use_certificate(context_, parse_certificates(identity.chain_pem)->front().get());
    SSL_CTX_use_PrivateKey(context_, parse_key(identity.key_pem)->get());
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, socket());
    SSL_set_connect_state(ssl_);
  }
  ~TlsStranger() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  bool shake_hands() { return SSL_do_handshake(ssl_) == 1; }
  void say(std::string_view plaintext) {
    EXPECT_GT(SSL_write(ssl_, plaintext.data(), static_cast<int>(plaintext.size())), 0);
  }
  bool ended() {
    char buffer[4096];
    for (;;) {
      auto count = SSL_read(ssl_, buffer, sizeof buffer);
      if (count <= 0) return SSL_get_error(ssl_, count) != SSL_ERROR_WANT_READ;
    }
  }

 private:
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
};

class Hub : public testing::Test {
 protected:
  Hub() { open({.identity = fleet_.hub(), .listen = "127.0.0.1:0"}); }
  void open(UvNetworkOptions options) {
    options.linger_max = milliseconds(200);
    hub_.reset();
    hub_ = *UvNetwork::create(loop_, std::move(options));
    hub_->start(ashore_);
  }
  std::uint16_t port() const { return hub_->listening_port(); }
  template <class Reached>
  void until(Reached reached) {
    run_until(loop_, reached);
  }
  std::string reason() const { return hub_->last_failure() ? hub_->last_failure()->detail : ""; }
  void expect_serves() {
    hub_->hold(true);  // forgets nothing but links
    hub_->hold(false);
    Talker aboard;
    auto edge = *UvNetwork::create(loop_, {.identity = fleet_.node(),
                                           .dial = {"127.0.0.1:" + std::to_string(port())},
                                           .dial_backoff_min = milliseconds(2)});
    auto before = ashore_.links;
    edge->start(aboard);
    until([&] { return ashore_.links > before && !aboard.open.empty(); });
  }

  UvLoop loop_;
  std::int64_t now_ = loop_.unix_ms();
  Fleet fleet_{now_};
  Talker ashore_;
  std::unique_ptr<UvNetwork> hub_;
};

TEST_F(Hub, RefusesPlainHttp) {
  Stranger stranger(port());
  stranger.send("GET / HTTP/1.1\r\nHost: hub\r\n\r\n");
  until([&] { return stranger.closed(); });
  EXPECT_EQ(hub_->totals().links_refused, 1u);
  EXPECT_EQ(ashore_.links, 0u);
  EXPECT_NE(reason().find("plain HTTP"), std::string::npos) << reason();
  expect_serves();
}

TEST_F(Hub, RefusesTls12) {
  TlsStranger stranger(port(), fleet_.node(), TLS1_2_VERSION);
  until([&] {
    stranger.shake_hands();
    return hub_->totals().links_refused == 1;
  });
  EXPECT_EQ(ashore_.links, 0u);
  EXPECT_NE(reason().find("only TLS 1.3"), std::string::npos) << reason();
  expect_serves();
}

TEST_F(Hub, RefusesAnExpiredNodeAndBothEndsSayWhy) {
  auto expired = fleet_.member(Peer::Role::node, now_ - 91LL * 24 * 3600 * 1000);
  Talker aboard;
  auto edge = *UvNetwork::create(loop_, {.identity = expired, .dial = {"127.0.0.1:" + std::to_string(port())}});
  edge->start(aboard);
  until([&] { return hub_->totals().links_refused == 1 && edge->totals().links_refused == 1; });
  EXPECT_EQ(ashore_.links, 0u);
  EXPECT_NE(reason().find("expired on"), std::string::npos) << reason();
  EXPECT_NE(edge->last_failure()->detail.find("expired on"), std::string::npos) << edge->last_failure()->detail;
  expect_serves();
}

TEST_F(Hub, ClosesAProvenPeerThatSendsGarbage) {
  TlsStranger stranger(port(), fleet_.node(), TLS1_3_VERSION);
  until([&] { return stranger.shake_hands(); });
  until([&] { return ashore_.links == 1; });
  stranger.say("this is no frame, whatever it may be");
  until([&] { return ashore_.closed.size() == 1 && stranger.ended(); });
  EXPECT_EQ(ashore_.closed[0].code, Code::corrupt);
  EXPECT_TRUE(ashore_.frames.empty());
  EXPECT_EQ(hub_->totals().links_refused, 1u);
  expect_serves();
}

TEST_F(Hub, BoundsTheFirstFrameMoreTightly) {
  TlsStranger stranger(port(), fleet_.node(), TLS1_3_VERSION);
  until([&] { return stranger.shake_hands(); });
  until([&] { return ashore_.links == 1; });
  auto frame = encode_frame(FrameType::chunk, std::string(frame_before_hello_bytes_max + 1, 'x'));
  stranger.say(std::string_view(frame).substr(0, 100));
  until([&] { return ashore_.closed.size() == 1; });
  EXPECT_EQ(ashore_.closed[0].code, Code::out_of_range);
}

TEST_F(Hub, ClosesWhoNeverFinishesAHandshakeOrAFrame) {
  open({.identity = fleet_.hub(),
        .listen = "127.0.0.1:0",
        .handshake_max = milliseconds(100),
        .frame_grace = milliseconds(100)});
  Stranger silent(port());
  until([&] { return silent.closed(); });
  EXPECT_NE(reason().find("did not finish the TLS handshake"), std::string::npos) << reason();

  TlsStranger mute(port(), fleet_.node(), TLS1_3_VERSION);
  until([&] { return mute.shake_hands(); });
  until([&] { return ashore_.closed.size() == 1; });
  EXPECT_NE(ashore_.closed[0].detail.find("no first frame"), std::string::npos) << ashore_.closed[0].detail;

  TlsStranger slow(port(), fleet_.node(), TLS1_3_VERSION);
  until([&] { return slow.shake_hands(); });
  slow.say(encode_frame(FrameType::hello, "hello"));
  until([&] { return ashore_.frames.size() == 1; });
  slow.say(encode_frame(FrameType::chunk, "never whole").substr(0, 20));
  until([&] { return ashore_.closed.size() == 2; });
  EXPECT_NE(ashore_.closed[1].detail.find("too slowly"), std::string::npos) << ashore_.closed[1].detail;
}

TEST_F(Hub, ClosesALinkThatCannotCarryWhatIsQueued) {
  TlsStranger deaf(port(), fleet_.node(), TLS1_3_VERSION);
  until([&] { return deaf.shake_hands(); });
  until([&] { return ashore_.links == 1; });
  std::string frame = encode_frame(FrameType::chunk, std::string(frame_bytes_max, 'x'));
  for (int i = 0; i < 64; ++i) ashore_.open[0]->send(frame);
  EXPECT_LE(ashore_.open[0]->unsent_bytes(), link_unsent_bytes_max);
  until([&] { return ashore_.closed.size() == 1; });
  EXPECT_EQ(ashore_.closed[0].code, Code::unavailable);
}

TEST_F(Hub, NamesAnAddressThatIsTaken) {
  auto second = UvNetwork::create(loop_, {.identity = fleet_.hub(), .listen = "127.0.0.1:" + std::to_string(port())});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::conflict);
  EXPECT_NE(second.error().detail.find(std::to_string(port())), std::string::npos);
  EXPECT_NE(second.error().detail.find("; "), std::string::npos) << "no remedy: " << second.error().detail;
  for (const char* bad : {"127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":80"}) {
    EXPECT_EQ(UvNetwork::create(loop_, {.identity = fleet_.hub(), .listen = bad}).error().code, Code::out_of_range)
        << bad;
  }
  EXPECT_EQ(UvNetwork::create(loop_, {.identity = fleet_.hub(), .listen = "192.0.2.1:0"}).error().code,
            Code::unavailable);
}

TEST_F(Hub, AnEdgeFindsAHubThatComesUpLater) {
  auto at = "127.0.0.1:" + std::to_string(port());
  hub_.reset();
  Talker aboard;
  auto edge = *UvNetwork::create(loop_, {.identity = fleet_.node(),
                                         .dial = {"localhost:1", at},
                                         .dial_backoff_min = milliseconds(2),
                                         .dial_backoff_max = milliseconds(8)});
  edge->start(aboard);
  until([&] { return edge->last_failure().has_value(); });
  EXPECT_EQ(edge->last_failure()->code, Code::unavailable);
  open({.identity = fleet_.hub(), .listen = at});
  until([&] { return aboard.links == 1 && ashore_.links == 1; });
  EXPECT_FALSE(edge->last_failure().has_value());
}

TEST_F(Hub, AnInviteIsAPeerAndANewIdentityHoldsForTheNextLink) {
  Talker aboard;
  auto edge = *UvNetwork::create(loop_, {.identity = fleet_.member(Peer::Role::invite),
                                         .dial = {"127.0.0.1:" + std::to_string(port())},
                                         .dial_backoff_min = milliseconds(2)});
  edge->start(aboard);
  until([&] { return ashore_.open.size() == 1; });
  EXPECT_EQ(ashore_.open[0]->peer().role, Peer::Role::invite);
  EXPECT_EQ(ashore_.open[0]->peer().name, "aurora");
  ASSERT_TRUE(edge->set_identity(fleet_.node()).ok());
  aboard.close();
  until([&] { return ashore_.links == 2; });
  EXPECT_EQ(ashore_.open.back()->peer().role, Peer::Role::node);
}

}  // namespace
}  // namespace landfall
