#include "edgeruntime/mqtt/client.h"

#include <mosquitto.h>
#include <uv.h>

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "edgeruntime/mqtt/control.h"
#include "schemas/check.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

constexpr Duration backoff_min = 50ms, backoff_max = 5s;
constexpr Duration answer_max = 5s;  // to a CONNECT
constexpr Duration look_after_every = 20s;
constexpr int keepalive_seconds = 60;
// Handed to libmosquitto and not answered. The broker takes 100 of one client at once.
constexpr std::size_t in_flight_max = 100;
constexpr std::size_t entry_bytes = 64;  // beside topic and payload

struct Entry {
  std::string topic, payload;
  int qos;
  bool retain;
  MqttClient::Done done;
  std::size_t bytes() const { return topic.size() + payload.size() + entry_bytes; }
};

}  // namespace

struct MqttClient::State : std::enable_shared_from_this<MqttClient::State> {
  State(UvLoop& l, MqttClientOptions o) : loop(l), options(std::move(o)) {}
  ~State() { close(); }

  struct Queue {
    std::size_t messages_max, bytes_max;
    std::map<std::uint64_t, Entry> entries = {};  // in the order in which they came
    std::size_t bytes = 0;
  };

  UvLoop& loop;
  MqttClientOptions options;
  mosquitto* connection = nullptr;
  uv_poll_t* poll = nullptr;  // freed by its close callback
  Loop::Timer timer = 0;      // to connect again, for the answer to CONNECT, or to look after the connection
  Duration backoff = backoff_min;
  bool is_connected = false;
  std::optional<std::string> refusal;  // the broker's answer to CONNECT
  std::string last_said;

  Queue plain{mqtt_client_queue_messages_max, mqtt_client_queue_bytes_max};  // that wait
  Queue retained{mqtt_client_retained_messages_max, mqtt_client_retained_bytes_max};
  std::unordered_map<std::string, std::uint64_t> retained_of_topic;
  std::map<int, std::pair<std::uint64_t, Entry>> in_flight;  // by message id
  std::uint64_t next_number = 0;
  std::uint64_t dropped_said = 0;
  Metrics counts;

  void connect();
  void on_ready(int status, int events);
  void look_after();
  void lose(const std::string& why);
  void close();
  void watch();
  void set_timer(Duration delay, void (State::*then)());
  void say(const std::string& line);

  void accept(Entry entry);
  void wait(std::uint64_t number, Entry entry);
  void hold_bounds();
  Entry take(Queue& queue, std::uint64_t number);
  void pump();
  void finish(Entry entry, Status status);
};

Result<std::unique_ptr<MqttClient>> MqttClient::create(UvLoop& loop, MqttClientOptions options) {
  static const int initialised = mosquitto_lib_init();
  LANDFALL_CHECK(initialised == MOSQ_ERR_SUCCESS);
  const auto& login = options.login;
  if (login.host.empty() || login.port == 0 || login.client_id.empty() || login.user.empty())
    return Error{Code::out_of_range, "the login of the edge's own MQTT client is not complete"};
  auto state = std::make_shared<State>(loop, std::move(options));
  state->set_timer(Duration(0), &State::connect);
  return std::unique_ptr<MqttClient>(new MqttClient(std::move(state)));
}

MqttClient::MqttClient(std::shared_ptr<State> state) : state_(std::move(state)) {}

MqttClient::~MqttClient() {
  state_->loop.cancel(state_->timer);
  state_->close();
}

void MqttClient::State::set_timer(Duration delay, void (State::*then)()) {
  loop.cancel(timer);
  timer = loop.after(delay, [weak = weak_from_this(), then] {
    const auto self = weak.lock();
    if (!self) return;
    self->timer = 0;
    ((*self).*then)();
  });
}

// Not the same line again and again while the broker is away.
void MqttClient::State::say(const std::string& line) {
  if (line == std::exchange(last_said, line) || !options.on_line) return;
  options.on_line(line);
}

void MqttClient::State::connect() {
  const auto& login = options.login;
  connection = mosquitto_new(login.client_id.c_str(), true, this);
  LANDFALL_CHECK(connection != nullptr);
  mosquitto_username_pw_set(connection, login.user.c_str(), login.password.c_str());
  mosquitto_int_option(connection, MOSQ_OPT_TCP_NODELAY, 1);
  mosquitto_max_inflight_messages_set(connection, 0);  // ours is the bound
  mosquitto_connect_callback_set(connection, [](mosquitto*, void* self, int code) {
    static_cast<State*>(self)->refusal = code == 0 ? "" : mosquitto_connack_string(code);
  });
  mosquitto_publish_callback_set(connection, [](mosquitto*, void* self, int id) {
    auto& state = *static_cast<State*>(self);
    const auto found = state.in_flight.find(id);
    if (found == state.in_flight.end()) return;
    auto entry = std::move(found->second.second);
    state.in_flight.erase(found);
    state.finish(std::move(entry), ok());
  });
  refusal.reset();
  const int rc = mosquitto_connect_async(connection, login.host.c_str(), login.port, keepalive_seconds);
  if (rc != MOSQ_ERR_SUCCESS) return lose(mosquitto_strerror(rc));
  poll = new uv_poll_t;
  poll->data = this;
  LANDFALL_CHECK(uv_poll_init(loop.handle(), poll, mosquitto_socket(connection)) == 0);
  watch();
  set_timer(answer_max, &State::look_after);
}

void MqttClient::State::watch() {
  if (poll == nullptr) return;
  const int events = UV_READABLE | (mosquitto_want_write(connection) ? UV_WRITABLE : 0);
  uv_poll_start(poll, events, [](uv_poll_t* handle, int status, int ready) {
    const auto self = static_cast<State*>(handle->data)->shared_from_this();
    self->loop.new_turn();
    self->on_ready(status, ready);
  });
}

void MqttClient::State::on_ready(int status, int events) {
  int rc = status < 0 ? MOSQ_ERR_CONN_LOST : MOSQ_ERR_SUCCESS;
  if (rc == MOSQ_ERR_SUCCESS && (events & UV_READABLE) != 0) rc = mosquitto_loop_read(connection, 1);
  if (rc == MOSQ_ERR_SUCCESS && (events & UV_WRITABLE) != 0) rc = mosquitto_loop_write(connection, 1);
  if (refusal && !refusal->empty()) return lose(*refusal);
  if (rc != MOSQ_ERR_SUCCESS) return lose(mosquitto_strerror(rc));
  if (refusal && !is_connected) {
    is_connected = true;
    ++counts.connects;
    backoff = backoff_min;
    const auto dropped = counts.dropped - std::exchange(dropped_said, counts.dropped);
    say("our client is connected to the broker, " + std::to_string(plain.entries.size() + retained.entries.size()) +
        " messages waited" + (dropped == 0 ? "" : ", " + std::to_string(dropped) + " were dropped"));
    set_timer(look_after_every, &State::look_after);
  }
  pump();
}

void MqttClient::State::look_after() {
  if (!is_connected) return lose("no answer to CONNECT");
  const int rc = mosquitto_loop_misc(connection);
  if (rc != MOSQ_ERR_SUCCESS) return lose(mosquitto_strerror(rc));
  set_timer(look_after_every, &State::look_after);
  watch();
}

void MqttClient::State::lose(const std::string& why) {
  say("our client has no connection to the broker: " + why);
  close();
  set_timer(backoff, &State::connect);
  backoff = std::min(backoff * 2, backoff_max);
}

// What was not answered waits again, in its place.
void MqttClient::State::close() {
  is_connected = false;
  if (poll != nullptr) {
    uv_poll_stop(poll);
    uv_close(reinterpret_cast<uv_handle_t*>(poll),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
    poll = nullptr;
  }
  if (connection != nullptr) mosquitto_destroy(std::exchange(connection, nullptr));
  auto unanswered = std::exchange(in_flight, {});
  for (auto& [id, numbered] : unanswered) wait(numbered.first, std::move(numbered.second));
  hold_bounds();
}

void MqttClient::State::accept(Entry entry) {
  if (mosquitto_pub_topic_check(entry.topic.c_str()) != MOSQ_ERR_SUCCESS || entry.topic.empty() ||
      entry.topic.find('\0') != std::string::npos || entry.qos < 0 || entry.qos > 1)
    return finish(std::move(entry), Error{Code::out_of_range, "not a topic, or not QoS 0 or 1"});
  wait(next_number++, std::move(entry));
  if (is_connected) pump();
  hold_bounds();
}

void MqttClient::State::wait(std::uint64_t number, Entry entry) {
  if (entry.retain) {
    const auto [at, is_first] = retained_of_topic.try_emplace(entry.topic, number);
    if (!is_first) {
      ++counts.replaced;
      const Error replaced{Code::unavailable, "replaced by a newer retained message before it was sent"};
      // An unanswered one that comes back may be the older of the two.
      if (at->second > number) return finish(std::move(entry), replaced);
      finish(take(retained, at->second), replaced);
      retained_of_topic[entry.topic] = number;
    }
  }
  auto& queue = entry.retain ? retained : plain;
  queue.bytes += entry.bytes();
  queue.entries.emplace(number, std::move(entry));
}

Entry MqttClient::State::take(Queue& queue, std::uint64_t number) {
  auto entry = std::move(queue.entries.extract(number).mapped());
  queue.bytes -= entry.bytes();
  if (entry.retain) retained_of_topic.erase(entry.topic);
  return entry;
}

void MqttClient::State::hold_bounds() {
  for (auto* queue : {&plain, &retained}) {
    while (queue->entries.size() > queue->messages_max || queue->bytes > queue->bytes_max) {
      ++counts.dropped;
      finish(take(*queue, queue->entries.begin()->first),
             Error{Code::unavailable, "dropped: too much waits for the broker"});
    }
  }
}

// Stops where the socket is full: libmosquitto would keep any number.
void MqttClient::State::pump() {
  const auto oldest = [](const Queue& queue) {
    return queue.entries.empty() ? ~std::uint64_t{0} : queue.entries.begin()->first;
  };
  while (is_connected && in_flight.size() < in_flight_max && !mosquitto_want_write(connection) &&
         (!plain.entries.empty() || !retained.entries.empty())) {
    const auto number = std::min(oldest(plain), oldest(retained));
    auto entry = take(oldest(plain) == number ? plain : retained, number);
    int id = 0;
    const int rc = mosquitto_publish(connection, &id, entry.topic.c_str(), static_cast<int>(entry.payload.size()),
                                     entry.payload.data(), entry.qos, entry.retain);
    if (rc != MOSQ_ERR_SUCCESS) {
      wait(number, std::move(entry));
      return lose(mosquitto_strerror(rc));
    }
    if (entry.qos == 0)
      finish(std::move(entry), ok());
    else
      in_flight.emplace(id, std::pair(number, std::move(entry)));
  }
  watch();
}

void MqttClient::State::finish(Entry entry, Status status) {
  if (status.ok()) ++counts.published;
  if (!entry.done) return;
  loop.post([weak = weak_from_this(), done = std::move(entry.done), status = std::move(status)] {
    if (weak.lock()) done(status);
  });
}

void MqttClient::publish(const Message& message, Done done) {
  Entry entry{std::string(message.topic), std::string(message.payload), message.qos, message.retain, std::move(done)};
  if (message.payload.size() > mqtt_payload_bytes_max)
    return state_->finish(std::move(entry), Error{Code::out_of_range, "the payload is too large"});
  state_->accept(std::move(entry));
}

void MqttClient::publish_to(std::string_view client_id, const Message& message, Done done) {
  Entry entry{std::string(directed_topic), "", message.qos, false, std::move(done)};
  if (client_id.empty() || client_id.size() > 0xffff || message.topic.empty() || message.topic.size() > 0xffff ||
      message.payload.size() > mqtt_payload_bytes_max)
    return state_->finish(std::move(entry), Error{Code::out_of_range, "no client, no topic, or too large"});
  entry.payload = encode_directed({message.qos, client_id, message.topic, message.payload});
  state_->accept(std::move(entry));
}

MqttClient::Metrics MqttClient::metrics() const {
  auto all = state_->counts;
  all.connected = state_->is_connected;
  all.waiting = state_->plain.entries.size() + state_->retained.entries.size() + state_->in_flight.size();
  all.waiting_bytes = state_->plain.bytes + state_->retained.bytes;
  return all;
}

}  // namespace landfall
