#include "tools/landfall/voyage.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <fstream>
#include <memory>
#include <random>
#include <unordered_map>
#include <utility>

namespace landfall {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int reconnect_pause_ms = 100;

struct Message {
  std::uint64_t line = 0;
  bool alarm = false, done = false;
  std::string payload;
};

struct Properties {
  mosquitto_property* list = nullptr;
  ~Properties() { mosquitto_property_free_all(&list); }
  void add(const char* name, const std::string& value) {
    mosquitto_property_add_string_pair(&list, MQTT_PROP_USER_PROPERTY, name, value.c_str());
  }
};

struct DestroyClient {
  void operator()(mosquitto* client) const { mosquitto_destroy(client); }
};

class Voyage {
 public:
  explicit Voyage(const VoyageOptions& options) : options_(options), lines_(options.file) {
    std::random_device random;
    char name[32];
    std::snprintf(name, sizeof(name), "%08x%08x", random(), random());
    client_id_ = std::string("voyage-") + name;
    summary_.source = options.source.empty() ? "//voyage/" + options.device + "/" + name : options.source;
  }

  Result<VoyageSummary> run(const std::function<void(std::uint64_t)>& progress) {
    if (!lines_) return Error{Code::not_found, "cannot read " + options_.file.string()};
    if (options_.qos < 0 || options_.qos > 2 || options_.window == 0 || options_.window > 65535) {
      return Error{Code::out_of_range, "qos is 0, 1 or 2; window is 1 to 65535"};
    }
    std::string skipped;
    for (; line_ < options_.from && std::getline(lines_, skipped); ++line_) {}
    const auto started = Clock::now();
    last_progress_ = started;
    while (!finished()) {
      if (Clock::now() - last_progress_ > options_.give_up) {
        return Error{Code::unavailable, "gave up after " + std::to_string(options_.give_up.count()) +
                                            " s without an answer: " + std::to_string(summary_.acknowledged) +
                                            " messages are acknowledged, " + std::to_string(in_flight_.size()) +
                                            " are not"};
      }
      if (!connect()) {
        client_.reset();
        ::poll(nullptr, 0, reconnect_pause_ms);
        continue;
      }
      sail(started, progress);
    }
    while (client_ && mosquitto_want_write(client_.get()) &&
           mosquitto_loop(client_.get(), reconnect_pause_ms, 1) == MOSQ_ERR_SUCCESS) {}
    if (client_) mosquitto_disconnect(client_.get());
    summary_.seconds = std::chrono::duration<double>(Clock::now() - started).count();
    return summary_;
  }

 private:
  bool finished() const { return at_end_ && in_flight_.empty(); }

  bool connect() {
    client_.reset(mosquitto_new(client_id_.c_str(), true, this));
    connected_ = lost_ = false;
    by_mid_.clear();
    mosquitto_int_option(client_.get(), MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(client_.get(), MOSQ_OPT_SEND_MAXIMUM, static_cast<int>(options_.window));
    mosquitto_int_option(client_.get(), MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_connect_v5_callback_set(
        client_.get(), [](mosquitto*, void* self, int code, int, const mosquitto_property*) {
          (code == 0 ? static_cast<Voyage*>(self)->connected_ : static_cast<Voyage*>(self)->lost_) = true;
        });
    mosquitto_disconnect_v5_callback_set(client_.get(), [](mosquitto*, void* self, int, const mosquitto_property*) {
      static_cast<Voyage*>(self)->lost_ = true;
    });
    mosquitto_publish_v5_callback_set(client_.get(),
                                      [](mosquitto*, void* self, int mid, int reason, const mosquitto_property*) {
                                        static_cast<Voyage*>(self)->on_answer(mid, reason);
                                      });
    if (mosquitto_connect(client_.get(), options_.host.c_str(), options_.port, 60) != MOSQ_ERR_SUCCESS) return false;
    const auto deadline = Clock::now() + std::chrono::seconds(5);
    while (!connected_ && !lost_ && Clock::now() < deadline) {
      if (mosquitto_loop(client_.get(), reconnect_pause_ms, 1) != MOSQ_ERR_SUCCESS) return false;
    }
    if (connected_) ++summary_.connections;
    return connected_;
  }

  // One connection, until it is lost or all is done.
  void sail(Clock::time_point started, const std::function<void(std::uint64_t)>& progress) {
    const auto unanswered = in_flight_.size();
    for (std::size_t i = 0, at = 0; i < unanswered; ++i) {
      if (in_flight_[at].done) {
        ++at;  // answered, behind one that was not
        continue;
      }
      ++summary_.resent;
      if (!publish(in_flight_[at])) return;
      if (options_.qos != 0) ++at;
    }
    while (!lost_ && !finished()) {
      while (!at_end_ && in_flight_.size() < options_.window && !mosquitto_want_write(client_.get()) &&
             is_due(started)) {
        if (!read_message()) break;
        if (!publish(in_flight_.back())) return;
      }
      const int wait_ms = in_flight_.size() < options_.window && !at_end_ ? 1 : reconnect_pause_ms;
      if (!finished() && mosquitto_loop(client_.get(), wait_ms, 100) != MOSQ_ERR_SUCCESS) return;
      if (progress) progress(summary_.acknowledged);
      if (Clock::now() - last_progress_ > options_.give_up) return;
    }
  }

  bool is_due(Clock::time_point started) const {
    if (options_.rate <= 0) return true;
    const auto elapsed = std::chrono::duration<double>(Clock::now() - started).count();
    return static_cast<double>(line_ - options_.from) < elapsed * options_.rate;
  }

  // The next line, or the alarm that is due after the last one.
  bool read_message() {
    if (alarm_due_) {
      alarm_due_ = false;
      in_flight_.push_back({line_, true, false, R"({"alarm":"watch","line":)" + std::to_string(line_) + "}"});
      return true;
    }
    std::string text;
    if ((options_.count != 0 && line_ - options_.from == options_.count) || !std::getline(lines_, text)) {
      at_end_ = true;
      return false;
    }
    if (text.ends_with('\r')) text.pop_back();
    ++line_;
    alarm_due_ = options_.alarms_every != 0 && line_ % options_.alarms_every == 0;
    in_flight_.push_back({line_, false, false, std::move(text)});
    return true;
  }

  bool publish(Message& message) {
    Properties properties;
    if (!options_.plain) {
      properties.add("specversion", "1.0");
      properties.add("id", std::to_string(message.line) + (message.alarm ? "-alarm" : ""));
      properties.add("source", summary_.source);
      properties.add("type", message.alarm ? "landfall.alarm" : "landfall.telemetry");
    }
    const std::string topic =
        "landfall/" + options_.device + (message.alarm ? "/alarm/watch" : "/telemetry/" + options_.subject);
    int mid = 0;
    const int rc = mosquitto_publish_v5(client_.get(), &mid, topic.c_str(), static_cast<int>(message.payload.size()),
                                        message.payload.data(), options_.qos, false, properties.list);
    if (rc != MOSQ_ERR_SUCCESS) return false;
    ++summary_.published;
    if (options_.qos == 0) {
      finish(message, 0);
    } else {
      by_mid_[mid] = &message;
    }
    return true;
  }

  void on_answer(int mid, int reason) {
    const auto found = by_mid_.find(mid);
    if (found == by_mid_.end()) return;
    Message& message = *found->second;
    by_mid_.erase(found);
    finish(message, reason);
  }

  void finish(Message& message, int reason) {
    last_progress_ = Clock::now();
    message.done = true;
    if (reason >= 0x80) {
      ++summary_.refused;
    } else {
      ++summary_.acknowledged;
      ++(message.alarm ? summary_.alarm : summary_.telemetry);
    }
    drop_done();
  }

  void drop_done() {
    while (!in_flight_.empty() && in_flight_.front().done) in_flight_.pop_front();
  }

  const VoyageOptions& options_;
  std::ifstream lines_;
  std::string client_id_;
  std::unique_ptr<mosquitto, DestroyClient> client_;
  bool connected_ = false, lost_ = false, at_end_ = false, alarm_due_ = false;
  std::uint64_t line_ = 0;                    // lines read, from the beginning of the file
  std::deque<Message> in_flight_;             // in order; its values do not move
  std::unordered_map<int, Message*> by_mid_;  // of this connection
  Clock::time_point last_progress_;
  VoyageSummary summary_;
};

}  // namespace

Result<VoyageSummary> run_voyage(const VoyageOptions& options, const std::function<void(std::uint64_t)>& progress) {
  mosquitto_lib_init();
  auto summary = Voyage(options).run(progress);
  mosquitto_lib_cleanup();
  return summary;
}

std::string to_json(const VoyageSummary& s) {
  std::string source;
  for (const char c : s.source) {
    if (c == '"' || c == '\\') source += '\\';
    source += c;
  }
  char numbers[320];
  std::snprintf(
      numbers, sizeof(numbers),
      "{\"telemetry\":%llu,\"alarm\":%llu,\"published\":%llu,\"acknowledged\":%llu,\"resent\":%llu,\"refused\":%llu,"
      "\"connections\":%llu,\"seconds\":%.3f,\"source\":\"",
      static_cast<unsigned long long>(s.telemetry), static_cast<unsigned long long>(s.alarm),
      static_cast<unsigned long long>(s.published), static_cast<unsigned long long>(s.acknowledged),
      static_cast<unsigned long long>(s.resent), static_cast<unsigned long long>(s.refused),
      static_cast<unsigned long long>(s.connections), s.seconds);
  return numbers + source + "\"}";
}

}  // namespace landfall
