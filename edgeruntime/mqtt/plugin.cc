// liblandfall_mosquitto.so: hands every captured PUBLISH to the edge before the broker acknowledges it, and decides who may
// connect and use which topic, as the edge's control file says.
//
// Mosquitto calls the message hook before it stores or acknowledges. Any error of ours other than MOSQ_ERR_ACL_DENIED
// closes the connection without an acknowledgement, and the device sends again. ACL_DENIED would answer an MQTT 3.1.1
// device with a PUBACK that it takes for success.

// mosquitto_plugin.h of 2.0.11 uses types of mosquitto_broker.h without including it.
// clang-format off
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
// clang-format on
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "edgeruntime/mqtt/capture.h"
#include "edgeruntime/mqtt/control.h"
#include "edgeruntime/mqtt/control_file.h"
#include "edgeruntime/mqtt/ring.h"
#include "schemas/text.h"

namespace landfall {
namespace {

constexpr int refused = MOSQ_ERR_UNKNOWN;

struct FreeLater {
  void operator()(char* text) const { ::free(text); }
};
using CString = std::unique_ptr<char, FreeLater>;

std::string_view view(const CString& text) { return text ? std::string_view(text.get()) : std::string_view(); }

// What a message says of itself beside its topic and payload. Owns the strings.
struct Properties {
  CString content_type, data_content_type, source, id, spec_version;

  explicit Properties(const mosquitto_property* list) {
    for (; list != nullptr; list = mosquitto_property_next(list)) {
      const int identifier = mosquitto_property_identifier(list);
      char* name = nullptr;
      char* value = nullptr;
      if (identifier == MQTT_PROP_CONTENT_TYPE) {
        if (mosquitto_property_read_string(list, MQTT_PROP_CONTENT_TYPE, &value, false) != nullptr)
          content_type.reset(value);
      } else if (identifier == MQTT_PROP_USER_PROPERTY) {
        if (mosquitto_property_read_string_pair(list, MQTT_PROP_USER_PROPERTY, &name, &value, false) == nullptr)
          continue;
        const CString owned_name(name);
        CString owned_value(value);
        const auto key = view(owned_name);
        if (key == "source")
          source = std::move(owned_value);
        else if (key == "id")
          id = std::move(owned_value);
        else if (key == "specversion")
          spec_version = std::move(owned_value);
        else if (key == "datacontenttype")
          data_content_type = std::move(owned_value);
      }
    }
  }

  // Only a message that says it is a CloudEvent is one: "id" alone may be anything.
  bool is_cloud_event() const { return spec_version && source && id && !view(source).empty() && !view(id).empty(); }
};

class Plugin {
 public:
  bool configure(const mosquitto_opt* options, int count) {
    for (int i = 0; i < count; ++i) {
      const std::string_view key = options[i].key;
      const std::string_view value = options[i].value == nullptr ? "" : options[i].value;
      if (key == "ring") {
        ring_ = value;
      } else if (key == "wake_socket") {
        wake_socket_ = value;
      } else if (key == "control") {
        control_ = ControlFile(std::string(value));
      } else {
        return say_error({Code::out_of_range, "unknown plugin_opt_" + std::string(key)});
      }
    }
    if (ring_.empty() || wake_socket_.empty() || !control_) {
      return say_error({Code::out_of_range,
                        "plugin_opt_ring, plugin_opt_wake_socket and plugin_opt_control are needed, as `landfall "
                        "check` prints them"});
    }
    look_at_control();
    open_ring();
    return true;
  }

  int on_login(const mosquitto_evt_basic_auth& event) {
    look_at_control();
    if (!list_) return refused;
    const auto client = id_of(event.client);
    const std::string_view user = event.username == nullptr ? "" : event.username;
    std::optional<std::string_view> password;
    if (event.password != nullptr) password = event.password;
    std::string why;
    switch (list_->check_login(client, user, password, why)) {
      case AccessList::Login::accepted: return MOSQ_ERR_SUCCESS;
      case AccessList::Login::deferred: return MOSQ_ERR_PLUGIN_DEFER;
      case AccessList::Login::denied: break;
    }
    tell_refusal(Outcome::refused_connect, client, user, "", why);
    return MOSQ_ERR_AUTH;
  }

  int on_access(const mosquitto_evt_acl_check& event) {
    const auto client = id_of(event.client), user = user_of(event.client);
    const std::string_view topic = event.topic == nullptr ? "" : event.topic;
    const bool is_write = event.access == MOSQ_ACL_WRITE;
    if (!list_) return is_write ? refused : MOSQ_ERR_ACL_DENIED;
    if (list_->is_edge(client, user)) return MOSQ_ERR_SUCCESS;
    switch (event.access) {
      case MOSQ_ACL_READ: return list_->may_receive(user, topic) ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
      case MOSQ_ACL_UNSUBSCRIBE: tell(Outcome::unsubscribed, event.client, topic); return MOSQ_ERR_SUCCESS;
      case MOSQ_ACL_SUBSCRIBE:
        if (list_->may_subscribe(user, topic)) {
          tell(Outcome::subscribed, event.client, topic);
          return MOSQ_ERR_SUCCESS;
        }
        tell_refusal(Outcome::refused_subscribe, client, user, topic, "not its topic");
        return MOSQ_ERR_ACL_DENIED;
      default: break;
    }
    if (!is_write || list_->may_publish(user, topic)) return MOSQ_ERR_SUCCESS;
    tell_refusal(Outcome::refused_publish, client, user, topic, "not its topic");
    // Where the answer can say no, or there is none, the connection may stay.
    const bool can_say_no = event.qos == 0 || mosquitto_client_protocol_version(event.client) == 5;
    return can_say_no ? MOSQ_ERR_ACL_DENIED : refused;
  }

  void on_disconnect(const mosquitto_evt_disconnect& event) {
    if (!id_of(event.client).empty() && !is_edge(event.client)) tell(Outcome::disconnected, event.client, "");
  }

  void on_tick() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const auto tenths = now.tv_sec * 10 + now.tv_nsec / 100'000'000;
    if (tenths == looked_at_) return;
    looked_at_ = tenths;
    look_at_control();
    if (!writer_) open_ring();
    if (std::exchange(kick_all_, false)) mosquitto_kick_client_by_clientid(nullptr, true);
    for (const auto& user : std::exchange(kick_users_, {})) mosquitto_kick_client_by_username(user.c_str(), true);
    tell_control_version();
  }

  int on_message(const mosquitto_evt_message& event) {
    if (event.topic == nullptr) return MOSQ_ERR_SUCCESS;
    if (!list_) return refused;
    if (is_edge(event.client)) return directed_topic == event.topic ? pass_on(event) : MOSQ_ERR_SUCCESS;
    const CaptureRule* rule = find_rule(list_->control().rules, event.topic);
    if (rule == nullptr) return MOSQ_ERR_SUCCESS;
    if (!writer_ && !open_ring()) return refused;
    if (event.payloadlen > mqtt_payload_bytes_max) {
      static const auto why =
          "the payload is over " + std::to_string(mqtt_payload_bytes_max) + " bytes: send it in parts";
      return refuse(RingCounter::refused_size, event, why.c_str());
    }
    const Properties properties(event.properties);
    CapturedMessage message;
    message.outcome = rule->outcome;
    message.stream = rule->stream;
    message.kind = rule->kind;
    message.qos = event.qos;
    message.retained = event.retain;
    message.topic = event.topic;
    message.client = id_of(event.client);
    if (rule->outcome == Outcome::request) {
      message.user = user_of(event.client);
      message.subscriptions = subscriptions_of(event.client);
    }
    message.content_type = properties.content_type ? view(properties.content_type) : view(properties.data_content_type);
    if (properties.is_cloud_event()) {
      message.source = view(properties.source);
      message.id = view(properties.id);
    }
    if (event.payloadlen > 0) message.payload = {static_cast<const char*>(event.payload), event.payloadlen};
    if (!is_storable(message)) {
      return refuse(RingCounter::refused_invalid, event, "topic or properties are too long or not clean UTF-8");
    }
    return hand_over(message, rule->durability, event);
  }

 private:
  int hand_over(const CapturedMessage& message, Durability durability, const mosquitto_evt_message& event) {
    const bool to_power = durability == Durability::power;
    if (to_power && !writer_->reader_moves()) return refuse(RingCounter::refused_full, event, "the edge is not there");
    CapturedHead head;
    const auto parts = encode_captured(message, head);
    const bool is_urgent = to_power || message.outcome == Outcome::request;
    const auto end = writer_->write(parts, is_urgent ? RingWriter::Urgency::urgent : RingWriter::Urgency::can_rest);
    if (!end.ok()) return refuse(RingCounter::refused_full, event, end.error().detail.c_str());
    if (to_power) {
      const auto durable = writer_->wait_durable(*end);
      if (!durable.ok()) return refuse(RingCounter::refused_full, event, durable.error().detail.c_str());
    }
    return MOSQ_ERR_SUCCESS;
  }

  int refuse(RingCounter counter, const mosquitto_evt_message& event, const char* why) {
    writer_->count(counter);
    ++refused_since_logged_;
    if (may_log(last_refusal_logged_)) {
      mosquitto_log_printf(MOSQ_LOG_WARNING,
                           "landfall: refused %u message(s), last from client %.200s on %.200s (%u bytes): %s",
                           refused_since_logged_, id_of(event.client).data(), event.topic, event.payloadlen, why);
      refused_since_logged_ = 0;
    }
    return refused;
  }

  bool open_ring() {
    auto writer = RingWriter::open(ring_, wake_socket_);
    if (!writer.ok()) {
      if (may_log(last_open_logged_)) say_error(writer.error());
      return false;
    }
    writer_ = std::move(*writer);
    tell_control_version();
    if (!std::exchange(has_told_start_, true)) tell(Outcome::broker_started, nullptr, "");
    return true;
  }

  // Keeps what it has where the file is none: the edge writes it whole, so another hand has been there.
  void look_at_control() {
    auto changed = control_->changed();
    if (!changed.ok()) {
      if (may_log(last_control_logged_)) say_error(changed.error());
      return;
    }
    if (!changed->has_value()) return;
    auto list = std::make_unique<AccessList>(std::move(**changed));
    if (list_) {
      const auto closed = BrokerControl::Mode::closed;
      if (list->control().mode == closed && list_->control().mode != closed)
        kick_all_ = true;
      else
        std::ranges::move(list->revoked(*list_), std::back_inserter(kick_users_));
    }
    list_ = std::move(list);
    tell_control_version();
  }

  // A version is in force when those who lost their right are gone, not before.
  void tell_control_version() {
    if (writer_ && list_ && !kick_all_ && kick_users_.empty()) writer_->set_control_version(list_->control().version);
  }

  bool is_edge(const mosquitto* client) const { return list_ && list_->is_edge(id_of(client), user_of(client)); }

  static std::string_view id_of(const mosquitto* client) {
    const char* id = client == nullptr ? nullptr : mosquitto_client_id(client);
    return id == nullptr ? "" : id;
  }
  static std::string_view user_of(const mosquitto* client) {
    const char* user = client == nullptr ? nullptr : mosquitto_client_username(client);
    return user == nullptr ? "" : user;
  }
  static std::uint16_t subscriptions_of(const mosquitto* client) {
    return client == nullptr ? 0 : static_cast<std::uint16_t>(std::clamp(mosquitto_client_sub_count(client), 0, 65535));
  }

  // A message of the edge to one client. Nobody is subscribed to the topic that it came on, so it goes nowhere else.
  static int pass_on(const mosquitto_evt_message& event) {
    auto message = decode_directed({static_cast<const char*>(event.payload), event.payloadlen});
    if (!message.ok()) {
      say_error(message.error());
      return refused;
    }
    const std::string client(message->client), topic(message->topic);
    // With mosquitto's own allocator: it frees what it sent and counts that off its memory_limit. What its
    // mosquitto_broker_publish_copy allocates it never counted, so a hundred messages wrap the count and nobody is read from again.
    void* payload = mosquitto_malloc(std::max<std::size_t>(message->payload.size(), 1));
    if (payload == nullptr) return refused;
    memcpy(payload, message->payload.data(), message->payload.size());
    const int rc = mosquitto_broker_publish(client.c_str(), topic.c_str(), static_cast<int>(message->payload.size()),
                                            payload, message->qos, false, nullptr);
    if (rc != MOSQ_ERR_SUCCESS) mosquitto_free(payload);
    return rc;
  }

  void tell(Outcome outcome, const mosquitto* client, std::string_view topic) {
    CapturedMessage notice;
    notice.outcome = outcome;
    notice.subscriptions = subscriptions_of(client);
    notice.topic = topic;
    notice.client = id_of(client);
    notice.user = user_of(client);
    write_notice(notice);
  }

  void tell_refusal(Outcome outcome, std::string_view client, std::string_view user, std::string_view topic,
                    std::string_view why) {
    if (writer_) writer_->count(RingCounter::refused_access);
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_sec != refusals_second_) {
      refusals_second_ = now.tv_sec;
      refusals_told_ = 0;
    }
    if (refusals_told_++ >= mqtt_refusal_notices_per_second) {
      ++refusals_not_told_;
      return;
    }
    std::string text(why);
    if (refusals_not_told_ > 0) text += "; " + std::to_string(std::exchange(refusals_not_told_, 0)) + " more before";
    CapturedMessage notice;
    notice.outcome = outcome;
    notice.topic = topic;
    notice.client = client;
    notice.user = user;
    notice.payload = text;
    write_notice(notice);
  }

  // What a stranger calls himself may be anything: cut where it cannot stand in an event.
  void write_notice(CapturedMessage& notice) {
    if (!writer_) return;
    if (notice.topic.size() > event_subject_bytes_max || !is_clean_text(notice.topic)) notice.topic = {};
    if (notice.user.size() > text_bytes_max || !is_clean_text(notice.user)) notice.user = {};
    CapturedHead head;
    const auto parts = encode_captured(notice, head);
    std::size_t bytes = 0;
    for (const auto part : parts) bytes += part.size();
    if (!writer_->has_plenty_of_room(bytes)) return;
    const bool is_waited_for = notice.outcome == Outcome::subscribed;
    (void)writer_->write(parts, is_waited_for ? RingWriter::Urgency::urgent : RingWriter::Urgency::can_rest);
  }

  static bool say_error(const Error& error) {
    mosquitto_log_printf(MOSQ_LOG_ERR, "landfall: %s", error.detail.c_str());
    return false;
  }

  // Once a minute for each kind of line.
  static bool may_log(time_t& last) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (last != 0 && now.tv_sec - last < 60) return false;
    last = now.tv_sec;
    return true;
  }

  std::string ring_, wake_socket_;
  std::optional<ControlFile> control_;
  std::unique_ptr<AccessList> list_;  // none until the control file could be read: then nobody may do anything
  std::unique_ptr<RingWriter> writer_;
  bool has_told_start_ = false, kick_all_ = false;
  std::vector<std::string> kick_users_;  // at the next tick, when the broker is in nobody's packet
  time_t looked_at_ = 0, refusals_second_ = 0;
  int refusals_told_ = 0;
  std::uint64_t refusals_not_told_ = 0;
  unsigned refused_since_logged_ = 0;
  time_t last_refusal_logged_ = 0, last_open_logged_ = 0, last_control_logged_ = 0;
};

struct Loaded {
  Plugin plugin;
  mosquitto_plugin_id_t* identifier = nullptr;
};

// Only memory can run out in there, and nothing may be thrown into C.
template <class Call>
int guarded(const Call& call) {
  try {
    return call();
  } catch (const std::exception&) {
    return MOSQ_ERR_NOMEM;
  }
}
Plugin& plugin_of(void* loaded) { return static_cast<Loaded*>(loaded)->plugin; }

int on_message(int, void* event, void* loaded) {
  return guarded([&] { return plugin_of(loaded).on_message(*static_cast<mosquitto_evt_message*>(event)); });
}
int on_login(int, void* event, void* loaded) {
  return guarded([&] { return plugin_of(loaded).on_login(*static_cast<mosquitto_evt_basic_auth*>(event)); });
}
int on_access(int, void* event, void* loaded) {
  return guarded([&] { return plugin_of(loaded).on_access(*static_cast<mosquitto_evt_acl_check*>(event)); });
}
int on_disconnect(int, void* event, void* loaded) {
  return guarded([&] {
    plugin_of(loaded).on_disconnect(*static_cast<mosquitto_evt_disconnect*>(event));
    return MOSQ_ERR_SUCCESS;
  });
}
int on_tick(int, void*, void* loaded) {
  return guarded([&] {
    plugin_of(loaded).on_tick();
    return MOSQ_ERR_SUCCESS;
  });
}

struct Callback {
  int event;
  MOSQ_FUNC_generic_callback call;
};
constexpr Callback callbacks[] = {{MOSQ_EVT_MESSAGE, on_message},
                                  {MOSQ_EVT_BASIC_AUTH, on_login},
                                  {MOSQ_EVT_ACL_CHECK, on_access},
                                  {MOSQ_EVT_DISCONNECT, on_disconnect},
                                  {MOSQ_EVT_TICK, on_tick}};

}  // namespace
}  // namespace landfall

#define LANDFALL_EXPORT extern "C" __attribute__((visibility("default")))

LANDFALL_EXPORT int mosquitto_plugin_version(int count, const int* versions) {
  for (int i = 0; i < count; ++i) {
    if (versions[i] == MOSQ_PLUGIN_VERSION) return MOSQ_PLUGIN_VERSION;
  }
  return -1;
}

LANDFALL_EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t* identifier, void** user_data, mosquitto_opt* options,
                                          int count) {
  try {
    auto loaded = std::make_unique<landfall::Loaded>();
    if (!loaded->plugin.configure(options, count)) return MOSQ_ERR_INVAL;
    for (const auto& [event, call] : landfall::callbacks) {
      const int rc = mosquitto_callback_register(identifier, event, call, nullptr, loaded.get());
      if (rc != MOSQ_ERR_SUCCESS) return rc;
    }
    loaded->identifier = identifier;
    *user_data = loaded.release();
    return MOSQ_ERR_SUCCESS;
  } catch (const std::exception&) {
    return MOSQ_ERR_NOMEM;
  }
}

LANDFALL_EXPORT int mosquitto_plugin_cleanup(void* user_data, mosquitto_opt*, int) {
  const std::unique_ptr<landfall::Loaded> loaded(static_cast<landfall::Loaded*>(user_data));
  for (const auto& [event, call] : landfall::callbacks) {
    if (loaded) mosquitto_callback_unregister(loaded->identifier, event, call, nullptr);
  }
  return MOSQ_ERR_SUCCESS;
}
