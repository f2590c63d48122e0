#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devicetwin/objects.h"
#include "eventlog/loop.h"

namespace landfall {

// Alarms: stream alarm, object "alarm/<device>/<name>". An occurrence is named by the dot of its raise; acks and clears
// name occurrences, so that neither ever hides a raise its author had not seen (README.md).
struct AlarmView {
  std::string device, name;
  bool active = false, acknowledged = false, shelved = false;
  std::int64_t shelved_until_ms = 0;  // 0 where it is not
  std::string severity;               // critical, major, minor, warning
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
    std::vector<Ack> acks;  // oldest first
  };
  std::vector<Occurrence> occurrences;  // live ones, newest first; cleared and acknowledged ones go with the next raise
  std::string version;
  bool is_open() const { return active || !acknowledged; }
};
// A pure function of live state: no clock, no node's own opinion.
AlarmView view_alarm(std::string_view device, std::string_view name, const Entries& entries);
std::string alarm_json(const AlarmView& view);
// 1 to 128 of [A-Za-z0-9-_.,:@].
bool is_alarm_name(std::string_view name);

class Alarms {
 public:
  explicit Alarms(Objects& objects);
  ~Alarms();
  // From now on ends the shelving of alarms of owned devices when it is due, by an event. `loop` must outlive it.
  void start(Loop& loop, std::function<bool(const std::string& device)> owns);

  Result<AlarmView> view(std::string_view device, std::string_view name) const;
  // Active or unacknowledged ones, or all that are known; ordered by "<device>/<name>", from behind `after`.
  enum class Which : std::uint8_t { open, all };
  Result<std::vector<AlarmView>> list(Which which, std::string_view device_prefix, std::string_view after,
                                      std::size_t limit) const;

  struct Raise {
    std::string device, name, severity = "major", text, actor;
    std::vector<Log::Meta> meta = {};
  };
  // A raise while active is the same occurrence, with its text and severity brought up to date.
  void raise(Raise raise, OnWritten done);
  // Of every active occurrence seen here; nothing is written where none is.
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
  struct Shelf;
  void change(std::string device, std::string name, std::string actor, std::vector<Log::Meta> meta,
              Objects::Decide decide, OnWritten done);

  Objects& objects_;
  std::vector<Log::Subscription> subscriptions_;
  std::unique_ptr<Shelf> shelf_;  // once started
};

}  // namespace landfall
