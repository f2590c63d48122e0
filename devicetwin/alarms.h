#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "devicetwin/objects.h"

namespace landfall {

// Alarms: stream alarm, object "alarm/<device>/<name>". An occurrence is named by the dot of its raise; acks and clears
// name occurrences, so that neither ever hides a raise its author had not seen (README.md).
struct AlarmView {
  std::string device, name;
  bool active = false, acknowledged = false, shelved = false;
  std::string severity;  // critical, major, minor, warning
  std::string text;
  struct Occurrence {
    Dot dot;
    HybridTime raised;
    ClockClass clock = ClockClass::untrusted;
    bool cleared = false;
    struct Ack {
      std::string actor;
      HybridTime time;
      Dot dot;
    };
    std::vector<Ack> acks;
  };
  std::vector<Occurrence> occurrences;  // live ones, newest first; cleared and acknowledged ones go with the next raise
  std::string version;
};

class Alarms {
 public:
  explicit Alarms(Objects& objects) : objects_(objects) {}
  ~Alarms();

  Result<AlarmView> view(std::string_view device, std::string_view name) const;
  // Active or unacknowledged ones, or all that are known; ordered by object.
  enum class Which : std::uint8_t { open, all };
  Result<std::vector<AlarmView>> list(Which which, std::string_view device_prefix, std::string_view after,
                                      std::size_t limit) const;

  struct Raise {
    std::string device, name, severity = "major", text, actor;
    std::vector<Log::Meta> meta = {};
  };
  // A raise while active is the same occurrence, with its text and severity brought up to date.
  void raise(Raise raise, OnWritten done);
  void clear(std::string device, std::string name, std::string actor, std::vector<Log::Meta> meta, OnWritten done);
  // Acknowledges every occurrence seen here, or the one at `occurrence`. `not_found` where nothing is unacknowledged.
  void acknowledge(std::string device, std::string name, std::optional<Dot> occurrence, std::string actor,
                   OnWritten done);
  // Until the owner's timer ends it by an event; a view reads no clock.
  void shelve(std::string device, std::string name, std::int64_t until_unix_ms, std::string actor, OnWritten done);
  void unshelve(std::string device, std::string name, std::string actor, OnWritten done);

  using OnChanged = std::function<void(const std::string& device, const std::string& name)>;
  void watch(OnChanged changed);

 private:
  Objects& objects_;
  std::vector<Log::Subscription> subscriptions_;
};
std::string alarm_json(const AlarmView& view);

}  // namespace landfall
