// liblandfall_mosquitto.so: hands every captured PUBLISH to the edge before the broker acknowledges it.
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

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "edgeruntime/mqtt/capture.h"
#include "edgeruntime/mqtt/ring.h"

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
      } else if (key.starts_with("rule")) {
        auto rule = parse_capture_rule(value);
        if (!rule.ok()) return say_error(rule.error());
        rules_.push_back(std::move(*rule));
      } else {
        return say_error({Code::out_of_range, "unknown plugin_opt_" + std::string(key)});
      }
    }
    if (ring_.empty() || wake_socket_.empty() || rules_.empty()) {
      return say_error(
          {Code::out_of_range, "plugin_opt_ring, plugin_opt_wake_socket and at least one plugin_opt_rule are needed"});
    }
    open_ring();
    return true;
  }

  int on_message(const mosquitto_evt_message& event) {
    if (event.topic == nullptr) return MOSQ_ERR_SUCCESS;
    const CaptureRule* rule = find_rule(rules_, event.topic);
    if (rule == nullptr) return MOSQ_ERR_SUCCESS;
    if (!writer_ && !open_ring()) return refused;
    if (event.payloadlen > mqtt_payload_bytes_max) {
      static const auto why =
          "the payload is over " + std::to_string(mqtt_payload_bytes_max) + " bytes: send it in parts";
      return refuse(RingCounter::refused_size, event, why.c_str());
    }
    const Properties properties(event.properties);
    const char* client = event.client == nullptr ? nullptr : mosquitto_client_id(event.client);
    CapturedMessage message;
    message.stream = rule->stream;
    message.kind = rule->kind;
    message.qos = event.qos;
    message.retained = event.retain;
    message.topic = event.topic;
    message.client = client == nullptr ? "" : client;
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
    const auto end = writer_->write(parts, to_power ? RingWriter::Urgency::urgent : RingWriter::Urgency::can_rest);
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
      const char* client = event.client == nullptr ? nullptr : mosquitto_client_id(event.client);
      mosquitto_log_printf(MOSQ_LOG_WARNING,
                           "landfall: refused %u message(s), last from client %s on %.200s (%u bytes): %s",
                           refused_since_logged_, client == nullptr ? "?" : client, event.topic, event.payloadlen, why);
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
    return true;
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
  std::vector<CaptureRule> rules_;
  std::unique_ptr<RingWriter> writer_;
  unsigned refused_since_logged_ = 0;
  time_t last_refusal_logged_ = 0, last_open_logged_ = 0;
};

struct Loaded {
  Plugin plugin;
  mosquitto_plugin_id_t* identifier = nullptr;
};

int on_message(int, void* event, void* loaded) {
  // Only memory can run out in there, and nothing may be thrown into C.
  try {
    return static_cast<Loaded*>(loaded)->plugin.on_message(*static_cast<mosquitto_evt_message*>(event));
  } catch (const std::exception&) {
    return MOSQ_ERR_NOMEM;
  }
}

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
    const int rc =
        mosquitto_callback_register(identifier, MOSQ_EVT_MESSAGE, landfall::on_message, nullptr, loaded.get());
    if (rc != MOSQ_ERR_SUCCESS) return rc;
    loaded->identifier = identifier;
    *user_data = loaded.release();
    return MOSQ_ERR_SUCCESS;
  } catch (const std::exception&) {
    return MOSQ_ERR_NOMEM;
  }
}

LANDFALL_EXPORT int mosquitto_plugin_cleanup(void* user_data, mosquitto_opt*, int) {
  const std::unique_ptr<landfall::Loaded> loaded(static_cast<landfall::Loaded*>(user_data));
  if (loaded) mosquitto_callback_unregister(loaded->identifier, MOSQ_EVT_MESSAGE, landfall::on_message, nullptr);
  return MOSQ_ERR_SUCCESS;
}
