#include "devicetwin/objects.h"

#include "eventlog/state_digest.h"

namespace landfall {

std::string version_of(std::string_view object, const Entries& entries) {
  return to_hex(object_digest(object, entries)).substr(0, 32);
}

Objects::Objects(Log& log, Settle settle) : log_(log), settle_(std::move(settle)) {}
Objects::~Objects() { *alive_ = false; }

void Objects::change(Change change, OnWritten done) {
  const Name name{change.stream, change.object};
  auto& queue = queues_[name];
  queue.push_back({std::move(change), std::move(done)});
  if (queue.size() == 1) return begin(name);
  if (queue.size() <= object_changes_waiting_max) return;
  Waiting refused = std::move(queue.back());
  queue.pop_back();
  log_.put_meta({}, [done = std::move(refused.done), object = name.second](const Status&) {
    done(Error{Code::unavailable, object + ": too many changes wait"});
  });
}

void Objects::begin(const Name& name) {
  Waiting& front = queues_.at(name).front();
  Change& change = front.change;
  const auto now = log_.state(change.stream, change.object);
  auto ops = now ? change.decide(*now) : Result<std::vector<Op>>(now.error());
  const RunStream of{log_.run(), change.stream};
  auto payload = ops && !ops->empty() ? encode_ops(*ops, of)
                 : ops                ? Result<std::string>(std::string())
                                      : Result<std::string>(ops.error());
  auto finished = [this, alive = alive_, name](Result<Written> result) {
    if (!*alive) return;
    OnWritten done = std::move(queues_.at(name).front().done);
    finish(name, std::move(done), std::move(result));
  };
  if (!payload || payload->empty()) {
    // Nothing to write: the answer still comes from the loop, behind what the caller asked to be remembered.
    Result<Written> result = payload ? Result<Written>(Written{{}, version_of(change.object, *now)}) : payload.error();
    auto meta = payload ? std::move(change.meta) : std::vector<Log::Meta>{};
    return log_.put_meta(std::move(meta), [finished, result](const Status& stored) {
      finished(stored ? result : Result<Written>(stored.error()));
    });
  }
  Event event;
  event.kind = Kind::change;
  event.subject = change.object;
  event.device = change.device;
  event.actor = change.actor;
  event.payload = *payload;
  log_.append(change.stream, {&event, 1}, std::move(change.meta),
              [this, alive = alive_, finished, name](const Result<Log::Appended>& appended) {
                if (!*alive) return;
                if (!appended) return finished(appended.error());
                const auto after = log_.state(name.first, name.second);
                if (!after) return finished(after.error());
                finished(Written{{appended->first}, version_of(name.second, *after)});
              });
}

// The next change may begin as soon as this one is A1, whatever `settle_` waits for.
void Objects::finish(const Name& name, OnWritten done, Result<Written> result) {
  auto alive = alive_;
  auto queue = queues_.find(name);
  queue->second.pop_front();
  if (queue->second.empty()) {
    queues_.erase(queue);
  } else {
    begin(name);
  }
  if (!*alive) return;
  if (!result || !settle_) return done(std::move(result));
  // Who asks for what is there already must not hear that it is done before the one who wrote it.
  const auto dot = result->dots.empty() ? last_own(name) : result->dots.back();
  if (!dot) return done(std::move(result));
  settle_(*dot, [done = std::move(done), result](const Status& settled) {
    if (settled) return done(result);
    done(Error{settled.error().code, settled.error().detail + "; its version is \"" + result->version + "\""});
  });
}

// The newest live write of this node.
std::optional<Dot> Objects::last_own(const Name& name) const {
  std::optional<Dot> last;
  const auto now = log_.state(name.first, name.second);
  if (!now) return last;
  for (const Entry& entry : *now) {
    if (entry.dot.run.node == log_.run().node && (!last || *last < entry.dot)) last = entry.dot;
  }
  return last;
}

}  // namespace landfall
