#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "edgeruntime/mqtt/capture.h"
#include "edgeruntime/uv_loop.h"
#include "eventlog/log.h"
#include "schemas/limits.h"

namespace landfall {

// A request or notice. `message` is valid until `done` is called, but not beyond the life of the MqttIngest.
//
// A handler that writes puts `position` into the meta of the batch it writes (the last, where it writes several): the
// same batch says then that the record has been dealt with, and it is not handed over again after a crash. One that
// writes nothing drops it: after a crash it may see the record again. `done` is called once, also inside the handler,
// when the batch is A1 or when there is none; a handler whose log has failed never calls it, and the record stays.
//
// Records come in the order in which the broker took them; the next ones come before `done` of this one, at most
// mqtt_requests_max at once. Each has a position of its own, so that they may be done in any order.
using OnRequest =
    std::function<void(const CapturedMessage& message, std::vector<Log::Meta> position, std::function<void()> done)>;

struct MqttIngestOptions {
  std::filesystem::path ring;  // the same two paths as in BrokerOptions
  std::filesystem::path wake_socket;
  std::size_t bytes = ring_bytes;                   // of a ring that is made
  std::function<void(const Error&)> on_error = {};  // one line for the operator: lost records, a failed log
  std::function<void()> on_retained = {};           // retained messages became A1: Broker::save_retained
  OnRequest on_request = {};                        // none: requests are dropped
  OnRequest on_notice = {};                         // none: notices are dropped
  // True for an event that on_request deals with instead, by what it says. A pure function of topic and payload, as it is
  // asked again after a crash. Such a message is known by its name until then only: what it became has another.
  std::function<bool(const CapturedMessage&)> is_request = {};
};

// Moves what the broker's plugin captured from the ring into the log, each record once.
//
// Subject = topic, device = second level of landfall/<device>/..., source and id as sent, content type as sent or
// guessed (JSON, text, else none). A record goes to the stream and kind that its capture rule named.
//
// How often: the ring position behind the last record of a stream rides as "x/ring/<stream>" in the batch of its events,
// per stream, as batches of two streams may become durable in either order. Tail moves on once everything before is A1.
// After a crash a record below its stream's position is skipped: it is in the log. One that carries a name (source, id)
// in the window of the last dedupe_window_events names, rebuilt from the log at open, is dropped and counted.
//
// Reading pauses while the log has much pending. Loop thread only. The loop and the log must outlive it; destroying it
// leaves what is not A1 in the ring.
class MqttIngest {
 public:
  // Errors: `conflict` (another edge reads the ring), `disk`, `corrupt` (the log).
  static Result<std::unique_ptr<MqttIngest>> open(UvLoop& loop, Log& log, MqttIngestOptions options);
  ~MqttIngest();

  struct Metrics {
    std::uint64_t captured = 0;    // events made A1 by this process
    std::uint64_t duplicates = 0;  // named like one in the window, not stored again
    std::uint64_t skipped = 0;     // in the log already when this process began
    std::uint64_t refused_full = 0, refused_size = 0, refused_invalid = 0,
                  refused_access = 0;  // by the plugin, since the ring's generation
    std::uint64_t corrupt = 0;         // times that records were lost to a bad checksum
    std::uint64_t ring_used_bytes = 0, ring_bytes = 0;
    std::uint64_t oldest_ms = 0;  // age of the oldest record that is not A1
    std::uint64_t window_names = 0;
    std::uint64_t requests = 0, notices = 0;  // handed over by this process
    std::uint64_t control_version = 0;        // that the plugin goes by: Broker::Report::control_version
    std::uint64_t deaf_clients = 0;
    bool broker_attached = false;  // a plugin holds the ring
  };
  Metrics metrics() const;

  // Clients that publish for `device` and have no subscription: mappers that a restarted broker has forgotten and that
  // go on without subscribing again, or programs that never listen and lose nothing by a message more.
  // MqttClient::publish_to reaches them. Ordered; forgotten when they subscribe or go.
  std::vector<std::string> deaf_clients(std::string_view device) const;
  // All of them, with their devices, for people.
  std::vector<std::pair<std::string, std::vector<std::string>>> deaf_clients() const;

 private:
  struct State;
  explicit MqttIngest(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace landfall
