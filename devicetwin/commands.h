#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devicetwin/objects.h"
#include "eventlog/loop.h"

namespace landfall {

// Commands to a device: stream alarm, object "command/<id>". Not a CRDT by nature: one effect at most, decided by the node
// that runs the device (its owner). The owner writes `sent` before the device hears of it, so that a crash in between
// expires a command and never sends it twice; the result is an event. README.md has the states.
struct CommandView {
  std::string id, device, name;  // id: 32 hex, made by the issuer, or the caller's own of [A-Za-z0-9-_.]{1,64}
  std::string arguments;         // JSON text
  std::string actor;
  std::int64_t issued_ms = 0, expires_ms = 0;
  enum class State : std::uint8_t { pending, sent, succeeded, failed, expired, cancelled } state = State::pending;
  // Somebody who is not the owner asked for it: `cancelled` once the owner agrees, which had not sent it then.
  bool cancel_asked = false;
  bool from_device = false;  // the result is the device's own word
  std::string result;        // JSON text of the device, or why there is none
  std::int64_t sent_ms = 0, ended_ms = 0;
  std::string version;
  bool is_open() const { return state == State::pending || state == State::sent; }
};
// A pure function of live state: no clock, no node's own opinion.
CommandView view_command(std::string_view id, const Entries& entries);
std::string_view to_string(CommandView::State state);
std::string command_json(const CommandView& view);

class Commands {
 public:
  struct Options {
    // True where this node runs the device, and so sends its commands.
    std::function<bool(const std::string& device)> owns;
    // Hands the command to the device (MQTT). Only for owned devices, once per command.
    std::function<void(const CommandView&)> send;
  };
  Commands(Loop& loop, Objects& objects, Options options);
  ~Commands();
  // Sends what waits for owned devices, and again whenever a command comes; expires what is due; takes what has ended out
  // of the state command_kept after its end or its expiry, whichever is later. Call it again where `owns` has another
  // answer than before.
  void start();

  struct Issue {
    std::string device, name, arguments = "{}", actor;
    std::string id;  // empty: made here. A known id with the same content is answered as the first time
    Duration valid = std::chrono::hours(24);
  };
  void issue(Issue issue, std::function<void(Result<CommandView>)> done);
  // `conflict` once it is sent or ended, as far as is known here.
  void cancel(std::string id, std::string actor, OnWritten done);
  // The device's own word, or somebody's in its place. The first counts, also where it comes after the owner gave up. The
  // same again changes nothing; another outcome is what `another` says. A result of null says none.
  enum class Another : std::uint8_t {
    conflict,  // an error that names the outcome there is
    dropped,   // without a word: a device may have forgotten what it said
  };
  void complete(std::string id, bool succeeded, std::string result, std::string actor, Another another,
                std::vector<Log::Meta> meta, OnWritten done);

  Result<CommandView> view(std::string_view id) const;
  // Ordered by id, from behind `after`. Empty device: of all.
  Result<std::vector<CommandView>> list(std::string_view device, bool open_only, std::string_view after,
                                        std::size_t limit) const;
  using OnChanged = std::function<void(const std::string& id)>;
  void watch(OnChanged changed);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace landfall
