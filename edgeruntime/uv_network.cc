#include "edgeruntime/uv_network.h"

#include <netdb.h>
#include <spdlog/spdlog.h>
#include <uv.h>

#include <algorithm>
#include <set>
#include <utility>

#include "edgeruntime/address.h"
#include "edgeruntime/uv_link.h"
#include "schemas/check.h"

namespace landfall {
namespace {

constexpr std::size_t shared_buffer_bytes = 256 << 10;

std::string name_of(const sockaddr_storage& address) {
  char host[64] = "?";
  bool v6 = address.ss_family == AF_INET6;
  std::uint16_t port = 0;
  if (v6) {
    auto& in = reinterpret_cast<const sockaddr_in6&>(address);
    uv_ip6_name(&in, host, sizeof host);
    port = ntohs(in.sin6_port);
  } else {
    auto& in = reinterpret_cast<const sockaddr_in&>(address);
    uv_ip4_name(&in, host, sizeof host);
    port = ntohs(in.sin_port);
  }
  return to_string(Address{host, port});
}

// An IP address as written, without asking a name server.
std::optional<sockaddr_storage> literal(const Address& address) {
  sockaddr_storage found{};
  if (uv_ip4_addr(address.host.c_str(), address.port, reinterpret_cast<sockaddr_in*>(&found)) == 0) return found;
  if (uv_ip6_addr(address.host.c_str(), address.port, reinterpret_cast<sockaddr_in6*>(&found)) == 0) return found;
  return std::nullopt;
}

std::vector<sockaddr_storage> all_of(const addrinfo* list, std::uint16_t port) {
  std::vector<sockaddr_storage> found;
  for (; list != nullptr; list = list->ai_next) {
    sockaddr_storage address{};
    std::copy_n(reinterpret_cast<const char*>(list->ai_addr), list->ai_addrlen, reinterpret_cast<char*>(&address));
    if (list->ai_family == AF_INET6) {
      reinterpret_cast<sockaddr_in6&>(address).sin6_port = htons(port);
    } else {
      reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);
    }
    found.push_back(address);
  }
  return found;
}

// At most a few log lines per interval: a stranger who knocks a thousand times a second must not fill the disk.
class Refusals {
 public:
  void log(Instant now, const std::string& who, const Error& why) {
    if (now - since_ > std::chrono::seconds(10)) {
      if (untold_ > 0) spdlog::warn("network: {} more refusals in the last seconds", untold_);
      since_ = now;
      told_ = untold_ = 0;
    }
    if (told_ >= 20) {
      ++untold_;
      return;
    }
    ++told_;
    spdlog::warn("network: {} refused: {}", who, why.detail);
  }

 private:
  Instant since_{};
  int told_ = 0, untold_ = 0;
};

}  // namespace

struct UvNetwork::State final : LinkOwner {
  struct Lookup {
    uv_getaddrinfo_t request;
    State* state;  // null once the network is gone
    std::uint16_t port;
  };
  struct Connect {
    uv_connect_t request;
    UvLink* link;
  };

  State(UvLoop& on, UvNetworkOptions with) : loop_(on), options_(std::move(with)), backoff(options_.dial_backoff_min) {}

  UvLoop& loop_;
  UvNetworkOptions options_;
  std::shared_ptr<const TlsContext> dialler_tls, listener_tls;
  LinkUser* user_ = nullptr;
  Totals totals_;
  bool held = false;
  std::optional<Error> last_failure;
  Refusals refusals;

  uv_tcp_t* listener = nullptr;  // owned by libuv once closed
  std::uint16_t port = 0;

  std::set<UvLink*> links;  // all that are not destroyed; on the loop thread only, order never reaches anybody
  std::vector<UvLink*> to_write;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);  // for tasks that may outlive this
  std::unique_ptr<char[]> ciphertext, plaintext;

  // Dialling: at most one of {timer, lookup, link} at a time.
  Duration backoff;
  Loop::Timer dial_timer = 0;
  Lookup* lookup = nullptr;
  UvLink* dialled = nullptr;
  std::size_t next_address = 0;
  std::vector<sockaddr_storage> candidates;  // of the address being dialled, next at the back
  std::string dialling;

  UvLoop& loop() override { return loop_; }
  const UvNetworkOptions& options() const override { return options_; }
  Totals& totals() override { return totals_; }
  LinkUser& user() override { return *user_; }
  uv_buf_t ciphertext_buffer() override { return shared(ciphertext); }
  uv_buf_t plaintext_buffer() override { return shared(plaintext); }
  void wants_to_write(UvLink& link) override;
  void on_proven(UvLink& link) override;
  void on_over(UvLink& link, const Error& why, bool proven) override;
  void on_released(UvLink& link) override;

  static uv_buf_t shared(std::unique_ptr<char[]>& buffer) {
    if (buffer == nullptr) buffer = std::make_unique_for_overwrite<char[]>(shared_buffer_bytes);
    return uv_buf_init(buffer.get(), shared_buffer_bytes);
  }

  Status listen();
  void accept();
  void drop(UvLink& link);
  void dial_later();
  void dial();
  void dial_candidate();
  void dial_failed(Error why);
  void close_listener();
};

// ---- listening

Status UvNetwork::State::listen() {
  auto address = parse_address(options_.listen);
  if (!address) return std::move(address).error().in("listen");
  auto at = literal(*address);
  if (!at) {
    uv_getaddrinfo_t request;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    auto failed = uv_getaddrinfo(loop_.handle(), &request, nullptr, address->host.c_str(), nullptr, &hints);
    if (failed != 0) {
      return Error{Code::unavailable,
                   "listen on " + options_.listen + ": " + uv_strerror(failed) + "; use an IP address"};
    }
    at = all_of(request.addrinfo, address->port).front();
    uv_freeaddrinfo(request.addrinfo);
  }
  listener = new uv_tcp_t;
  LANDFALL_CHECK(uv_tcp_init(loop_.handle(), listener) == 0);
  listener->data = this;
  auto failed = uv_tcp_bind(listener, reinterpret_cast<const sockaddr*>(&*at), 0);
  if (failed == 0) {
    failed = uv_listen(reinterpret_cast<uv_stream_t*>(listener), 128, [](uv_stream_t* stream, int status) {
      auto& self = *static_cast<State*>(stream->data);
      self.loop_.new_turn();
      if (status == 0) self.accept();
    });
  }
  if (failed == UV_EADDRINUSE) {
    return Error{Code::conflict, "listen on " + options_.listen + ": the address is in use; stop the other process " +
                                     "(ss -ltnp names it), or choose another port"};
  }
  if (failed != 0) {
    const char* remedy = failed == UV_EACCES          ? "choose a port above 1023"
                         : failed == UV_EADDRNOTAVAIL ? "this machine has no such address; choose one of its own"
                                                      : "choose another address";
    return Error{Code::unavailable, "listen on " + options_.listen + ": " + uv_strerror(failed) + "; " + remedy};
  }
  sockaddr_storage bound{};
  int size = sizeof bound;
  LANDFALL_CHECK(uv_tcp_getsockname(listener, reinterpret_cast<sockaddr*>(&bound), &size) == 0);
  port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(bound).sin_port);
  return ok();
}

void UvNetwork::State::accept() {
  auto unproven = std::ranges::count_if(links, [](const UvLink* link) { return link->is_unproven(); });
  bool full = links.size() >= links_max || static_cast<std::size_t>(unproven) >= links_unproven_max;
  auto& link = UvLink::create(*this, listener_tls, "");
  links.insert(&link);
  if (uv_accept(reinterpret_cast<uv_stream_t*>(listener), reinterpret_cast<uv_stream_t*>(link.handle())) != 0) {
    return drop(link);
  }
  if (held || user_ == nullptr) return drop(link);
  sockaddr_storage from{};
  int size = sizeof from;
  if (uv_tcp_getpeername(link.handle(), reinterpret_cast<sockaddr*>(&from), &size) == 0) {
    link.set_address("connection from " + name_of(from));
  }
  if (full) return link.abort({Code::unavailable, "too many connections; raise links_max or find who opens them"});
  link.begin();
}

// ---- dialling

void UvNetwork::State::dial_later() {
  if (options_.dial.empty() || held || user_ == nullptr || dial_timer != 0 || lookup != nullptr || dialled != nullptr)
    return;
  // Half of the delay is fixed, half is chance, so that a fleet that lost its hub does not come back as one.
  auto half = backoff / 2;
  auto delay = half + half * static_cast<std::int64_t>(loop_.random() % 1024) / 1024;
  backoff = std::min(backoff * 2, options_.dial_backoff_max);
  dial_timer = loop_.after(delay, [this] {
    dial_timer = 0;
    dial();
  });
}

void UvNetwork::State::dial() {
  dialling = options_.dial[next_address++ % options_.dial.size()];
  auto address = parse_address(dialling);
  if (!address) return dial_failed(std::move(address).error());
  if (auto at = literal(*address)) {
    candidates = {*at};
    return dial_candidate();
  }
  lookup = new Lookup{{}, this, address->port};
  lookup->request.data = lookup;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  auto found = [](uv_getaddrinfo_t* request, int status, addrinfo* list) {
    std::unique_ptr<Lookup> done(static_cast<Lookup*>(request->data));
    if (auto* self = done->state) {
      self->loop_.new_turn();
      self->lookup = nullptr;
      self->candidates = all_of(list, done->port);
      std::ranges::reverse(self->candidates);
      if (status != 0 || self->candidates.empty()) {
        self->dial_failed({Code::unavailable, std::string("no address known for it: ") + uv_strerror(status) +
                                                  "; check the name and the name server"});
      } else {
        self->dial_candidate();
      }
    }
    uv_freeaddrinfo(list);
  };
  auto failed = uv_getaddrinfo(loop_.handle(), &lookup->request, found, address->host.c_str(), nullptr, &hints);
  if (failed != 0) {
    delete std::exchange(lookup, nullptr);
    dial_failed({Code::unavailable, uv_strerror(failed)});
  }
}

void UvNetwork::State::dial_candidate() {
  if (held) return;
  auto at = candidates.back();
  candidates.pop_back();
  dialled = &UvLink::create(*this, dialler_tls, "hub " + dialling);
  links.insert(dialled);
  auto connect = std::make_unique<Connect>();
  connect->link = dialled;
  connect->request.data = connect.get();
  auto failed = uv_tcp_connect(&connect->request, dialled->handle(), reinterpret_cast<const sockaddr*>(&at),
                               [](uv_connect_t* request, int status) {
                                 std::unique_ptr<Connect> done(static_cast<Connect*>(request->data));
                                 done->link->on_connected(status);
                               });
  if (failed == 0) {
    connect.release();
  } else {
    dialled->on_connected(failed);
  }
}

void UvNetwork::State::dial_failed(Error why) {
  why = std::move(why).in("hub " + dialling);
  // A hub that is away is the normal case aboard: one line, not one per attempt.
  if (last_failure != why) spdlog::info("network: no link: {}", why.detail);
  last_failure = std::move(why);
  dial_later();
}

// ---- links

void UvNetwork::State::wants_to_write(UvLink& link) {
  to_write.push_back(&link);
  if (to_write.size() > 1) return;
  // In a later turn: what one turn sends shares records and system calls.
  loop_.post([this, still = std::weak_ptr<bool>(alive)] {
    if (still.expired()) return;
    for (auto* waiting : std::exchange(to_write, {})) waiting->write_some();
  });
}

void UvNetwork::State::on_proven(UvLink& link) {
  last_failure.reset();
  const auto& peer = link.peer();
  spdlog::info("network: link to {} {} open ({})", peer.role == Peer::Role::hub ? "hub" : "node", peer.name,
               link.address());
  user_->on_open(link);
}

void UvNetwork::State::on_over(UvLink& link, const Error& why, bool proven) {
  bool was_dialled = &link == dialled;
  bool refused = why.code == Code::denied || why.code == Code::corrupt || why.code == Code::out_of_range ||
                 (!proven && !was_dialled && !held);
  if (refused) {
    ++totals_.links_refused;
    refusals.log(loop_.now(), link.address(), why);
    last_failure = Error{why.code, link.address() + ": " + why.detail};
  } else if (proven) {
    spdlog::info("network: link closed ({}): {}", link.address(), why.detail);
  }
  if (!was_dialled) return;
  dialled = nullptr;
  if (held) return;
  if (proven && loop_.now() - link.opened_at() >= options_.session_lasted) backoff = options_.dial_backoff_min;
  if (!proven && !candidates.empty()) return dial_candidate();
  if (!proven && !refused) return dial_failed(why);
  dial_later();
}

void UvNetwork::State::on_released(UvLink& link) {
  links.erase(&link);
  std::erase(to_write, &link);
}

void UvNetwork::State::drop(UvLink& link) {
  links.erase(&link);
  link.orphan();
}

void UvNetwork::State::close_listener() {
  if (listener == nullptr) return;
  uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(listener, nullptr)),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); });
}

// ---- the network

UvNetwork::UvNetwork(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<UvNetwork>> UvNetwork::create(UvLoop& loop, UvNetworkOptions options) {
  for (const auto& address : options.dial) LANDFALL_TRY(parse_address(address));
  auto identity = options.identity;
  std::unique_ptr<UvNetwork> network(new UvNetwork(std::make_unique<State>(loop, std::move(options))));
  LANDFALL_TRY(network->set_identity(std::move(identity)));
  if (!network->state_->options_.listen.empty()) LANDFALL_TRY(network->state_->listen());
  return network;
}

UvNetwork::~UvNetwork() {
  auto& s = *state_;
  if (s.dial_timer != 0) s.loop_.cancel(s.dial_timer);
  if (s.lookup != nullptr) {
    s.lookup->state = nullptr;
    uv_cancel(reinterpret_cast<uv_req_t*>(&s.lookup->request));
  }
  for (auto* link : std::exchange(s.links, {})) link->orphan();
  s.close_listener();
}

void UvNetwork::start(LinkUser& user) {
  LANDFALL_CHECK(state_->user_ == nullptr);
  state_->user_ = &user;
  if (!state_->options_.dial.empty() && !state_->held) {
    state_->dial_timer = state_->loop_.after(Duration::zero(), [s = state_.get()] {
      s->dial_timer = 0;
      s->dial();
    });
  }
}

void UvNetwork::hold(bool held) {
  auto& s = *state_;
  if (s.held == held) return;
  s.held = held;
  s.backoff = s.options_.dial_backoff_min;
  if (!held) {
    if (s.user_ != nullptr && !s.options_.dial.empty()) s.dial_later();
    return;
  }
  if (s.dial_timer != 0) s.loop_.cancel(std::exchange(s.dial_timer, 0));
  s.candidates.clear();
  for (auto* link : std::set<UvLink*>(s.links)) link->abort({Code::unavailable, "the operator holds the link"});
}

bool UvNetwork::held() const { return state_->held; }
Network::Totals UvNetwork::totals() const { return state_->totals_; }
std::uint16_t UvNetwork::listening_port() const { return state_->port; }
const std::optional<Error>& UvNetwork::last_failure() const { return state_->last_failure; }

Status UvNetwork::set_identity(Identity identity) {
  auto& s = *state_;
  auto clock = [&loop = s.loop_] { return loop.unix_ms(); };
  auto dialler = TlsContext::create(TlsContext::Side::dialler, identity, clock);
  if (!dialler) return std::move(dialler).error();
  auto listener = TlsContext::create(TlsContext::Side::listener, identity, clock);
  if (!listener) return std::move(listener).error();
  s.dialler_tls = *std::move(dialler);
  s.listener_tls = *std::move(listener);
  s.options_.identity = std::move(identity);
  return ok();
}

}  // namespace landfall
