#include "devicetwin/commands.h"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "crdt/register.h"
#include "devicetwin/deadlines.h"
#include "devicetwin/json_value.h"
#include "devicetwin/twin.h"
#include "schemas/limits.h"

// Paths of a command's object:
//   /request  {"device","name","arguments","actor","expires"}
//   /cancel   {"actor"}: asked for, not done
//   /sent     {"request": dot}: by the owner, before the device hears of it
//   /result   {"state","result"}, with "by":"device" where it is the device's own word

namespace landfall {
namespace {

using State = CommandView::State;

constexpr std::string_view prefix = "command/";
constexpr std::string_view request = "/request", cancelled = "/cancel", sent = "/sent", ended = "/result";
// Until when commands may have been sent by a life of this node that its log has lost.
constexpr std::string_view unsure_key = "x/commands/unsure";
constexpr std::int64_t clocks_differ_ms = 300'000;

constexpr std::pair<State, std::string_view> names[] = {
    {State::pending, "pending"}, {State::sent, "sent"},       {State::succeeded, "succeeded"},
    {State::failed, "failed"},   {State::expired, "expired"}, {State::cancelled, "cancelled"}};

std::string object_of(std::string_view id) { return std::string(prefix).append(id); }

bool is_command_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 &&
         id.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") ==
             std::string_view::npos;
}
bool is_command_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 &&
         name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.,:@/") ==
             std::string_view::npos;
}

bool is_of_device(const Entry& result) { return text_of(stored_json(result.value), "by") == "device"; }
// What the device says counts before what the owner assumed; of the same the first.
const Entry* result_of(std::span<const Entry> results) {
  const auto rank = [](const Entry& e) { return std::tuple(!is_of_device(e), e.time, e.dot); };
  const auto found = std::ranges::min_element(results, [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return found == results.end() ? nullptr : &*found;
}

// The one that was sent; before, the one that will be.
const Entry* request_of(const Entries& entries) {
  const auto requests = at(entries, request);
  for (const Entry& mark : at(entries, sent)) {
    const std::string of = text_of(stored_json(mark.value), "request");
    for (const Entry& one : requests) {
      if (to_string(one.dot) == of) return &one;
    }
  }
  return latest(requests);
}

// For an error: at most 64 characters, whole ones of UTF-8.
std::string shown_json(std::string json) {
  constexpr std::size_t shown_max = 64;
  if (json.size() <= shown_max) return json;
  std::size_t end = shown_max;
  while (end > 0 && (static_cast<unsigned char>(json[end]) & 0xc0) == 0x80) --end;
  return json.substr(0, end) + "...";
}

Error unknown(const std::string& id) { return {Code::not_found, "no command " + id + " is known"}; }

// When the owner takes an ended command out of the state. Not before it would have expired: until then its id is spent.
std::int64_t gone_ms(const CommandView& command) {
  return std::max(command.ended_ms, command.expires_ms) +
         std::chrono::duration_cast<std::chrono::milliseconds>(command_kept).count();
}
std::vector<Op> erase_all(const Entries& now) {
  std::vector<Op> ops;
  for (const Entry& entry : now) {
    if (ops.empty() || ops.back().path != entry.path) ops.push_back(erase_op(now, entry.path));
  }
  return ops;
}

// The owner ends a command that the device has not answered.
Op end_op(const Entries& now, State state, std::string why) {
  return put_op(now, ended, write_json({{"state", to_string(state)}, {"result", std::move(why)}}));
}

}  // namespace

std::string_view to_string(CommandView::State state) { return names[static_cast<std::size_t>(state)].second; }

CommandView view_command(std::string_view id, const Entries& entries) {
  CommandView view;
  view.id = id;
  if (const Entry* entry = request_of(entries)) {
    const Json json = stored_json(entry->value);
    view.device = text_of(json, "device");
    view.name = text_of(json, "name");
    view.actor = text_of(json, "actor");
    view.arguments = json.is_object() && json.contains("arguments") ? write_json(json["arguments"]) : "{}";
    view.issued_ms = entry->time.unix_ms();
    view.expires_ms = number_of(json, "expires");
  }
  view.cancel_asked = !at(entries, cancelled).empty();
  if (const Entry* entry = latest(at(entries, sent))) {
    view.state = State::sent;
    view.sent_ms = entry->time.unix_ms();
  }
  if (const Entry* entry = result_of(at(entries, ended))) {
    const Json json = stored_json(entry->value);
    const auto state = std::ranges::find(names, text_of(json, "state"), [](const auto& n) { return n.second; });
    view.state = state == std::end(names) ? State::failed : state->first;
    view.from_device = is_of_device(*entry);
    view.result = json.is_object() && json.contains("result") ? write_json(json["result"]) : "null";
    view.ended_ms = entry->time.unix_ms();
  }
  view.version = version_of(object_of(id), entries);
  return view;
}

std::string command_json(const CommandView& view) {
  Json json = {{"id", view.id},
               {"device", view.device},
               {"name", view.name},
               {"arguments", stored_json(view.arguments)},
               {"actor", view.actor},
               {"issued", time_text(view.issued_ms)},
               {"expires", time_text(view.expires_ms)},
               {"state", to_string(view.state)},
               {"cancel_asked", view.cancel_asked},
               {"version", view.version}};
  if (view.sent_ms != 0) json["sent"] = time_text(view.sent_ms);
  if (!view.is_open()) {
    json["ended"] = time_text(view.ended_ms);
    json["from_device"] = view.from_device;
    json["result"] = stored_json(view.result);
  }
  return write_json(json);
}

struct Commands::Impl {
  Impl(Loop& on, Objects& over, Options given)
      : loop(on),
        objects(over),
        options(std::move(given)),
        deadlines(on, [this](const std::string& id) { settle(id); }) {}

  void look_at(const std::string& id);
  void settle(const std::string& id);
  Result<std::vector<Op>> next_step(const std::string& id, const Entries& now, bool& sends) const;
  void read_unsure();
  Result<CommandView> view(std::string_view id) const;

  Loop& loop;
  Objects& objects;
  Options options;
  Deadlines deadlines;  // of commands of owned devices, by id: when an open one expires, an ended one goes
  std::vector<Log::Subscription> subscriptions;
  bool started = false;
  std::int64_t unsure_ms = 0;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

Commands::Commands(Loop& loop, Objects& objects, Options options)
    : impl_(std::make_unique<Impl>(loop, objects, std::move(options))) {}
Commands::~Commands() {
  *impl_->alive = false;
  for (const auto subscription : impl_->subscriptions) impl_->objects.log().unsubscribe(subscription);
}

Result<CommandView> Commands::Impl::view(std::string_view id) const {
  const auto entries = objects.log().state(Stream::alarm, object_of(id));
  if (!entries) return entries.error();
  if (at(*entries, request).empty()) return unknown(std::string(id));
  return view_command(id, *entries);
}

// A log that lost its tail may have lost marks of what was sent. Commands of that time are never sent again: they come
// back from the hub, before or after their marks. Remembered beside the log, for the runs after this one.
void Commands::Impl::read_unsure() {
  if (const auto stored = objects.log().get_meta(unsure_key))
    std::from_chars(stored->data(), stored->data() + stored->size(), unsure_ms);
  if (!objects.log().degraded()) return;
  unsure_ms = std::max(unsure_ms, loop.unix_ms() + clocks_differ_ms);
  objects.log().put_meta({{std::string(unsure_key), std::to_string(unsure_ms)}}, [](const Status&) {});
}

void Commands::start() {
  Impl& impl = *impl_;
  if (!impl.started) {
    impl.started = true;
    impl.read_unsure();
    watch([&impl](const std::string& id) { impl.look_at(id); });
  }
  impl.deadlines.clear();
  std::string after;
  while (true) {
    const auto some = impl.objects.log().objects(Stream::alarm, prefix, after, 256);
    if (!some || some->empty()) return;
    for (const std::string& object : *some) impl.look_at(object.substr(prefix.size()));
    after = some->back();
  }
}

void Commands::Impl::look_at(const std::string& id) {
  const auto command = view(id);
  if (!command || !options.owns(command->device)) return deadlines.erase(id);
  if (!command->is_open()) return deadlines.set(id, gone_ms(*command));
  if (command->state == State::sent) return deadlines.set(id, command->expires_ms);
  // Where the write is refused, the deadline asks again.
  deadlines.set(id, loop.unix_ms() + 1000);
  settle(id);
}

// What the owner does with an open command, decided on what is live when it is this change's turn.
Result<std::vector<Op>> Commands::Impl::next_step(const std::string& id, const Entries& now, bool& sends) const {
  const CommandView command = view_command(id, now);
  const Entry* asked = request_of(now);
  if (asked == nullptr) return std::vector<Op>{};
  if (!command.is_open()) return gone_ms(command) <= loop.unix_ms() ? erase_all(now) : std::vector<Op>{};
  const bool late = command.expires_ms <= loop.unix_ms();
  if (command.state == State::sent) {
    if (!late) return std::vector<Op>{};
    return std::vector<Op>{
        end_op(now, State::expired, "sent and not answered in time: whether the device acted is not known")};
  }
  if (command.cancel_asked) return std::vector<Op>{end_op(now, State::cancelled, "cancelled before it was sent")};
  if (late) return std::vector<Op>{end_op(now, State::expired, "not sent: its time was over")};
  if (command.issued_ms <= unsure_ms) {
    return std::vector<Op>{end_op(now, State::failed,
                                  "not sent: this node lost a part of its log and may have sent it before; whether the "
                                  "device acted is not known")};
  }
  sends = true;
  return std::vector<Op>{put_op(now, sent, write_json({{"request", to_string(asked->dot)}}))};
}

void Commands::Impl::settle(const std::string& id) {
  const auto command = view(id);
  if (!command || !options.owns(command->device)) return deadlines.erase(id);
  auto sends = std::make_shared<bool>(false);
  auto decide = [this, owned = alive, id, sends](const Entries& now) {
    return *owned ? next_step(id, now, *sends) : std::vector<Op>{};
  };
  objects.change({Stream::alarm, object_of(id), command->device, "", std::move(decide)},
                 [this, owned = alive, id, sends](const Result<Written>& written) {
                   // Once per command: only the change that put the mark comes here with its dot.
                   if (!*owned || !written || written->dots.empty() || !*sends) return;
                   if (const auto now_sent = view(id)) options.send(*now_sent);
                 });
}

void Commands::issue(Issue issue, std::function<void(Result<CommandView>)> done) {
  if (issue.id.empty()) {
    for (int i = 0; i < 2; ++i) {
      const std::uint64_t chance = impl_->loop.random();
      issue.id += to_hex(std::string_view(reinterpret_cast<const char*>(&chance), sizeof chance));
    }
  }
  const std::string id = issue.id, device = issue.device, actor = issue.actor;
  auto decide = [&loop = impl_->loop, issue = std::move(issue)](const Entries& now) -> Result<std::vector<Op>> {
    LANDFALL_TRY(parse_device(issue.device));
    if (!is_command_id(issue.id))
      return Error{Code::out_of_range, shown_name(issue.id) + ": a command's id is 1 to 64 of A-Z a-z 0-9 - _ ."};
    if (!is_command_name(issue.name))
      return Error{Code::out_of_range,
                   shown_name(issue.name) + ": a command's name is 1 to 128 of A-Z a-z 0-9 - _ . , : @ /"};
    if (issue.valid <= Duration{} || issue.valid > command_valid_max)
      return Error{Code::out_of_range, "a command is valid for up to 366 days"};
    auto arguments = read_json(issue.arguments, "arguments");
    if (!arguments) return std::move(arguments).error();
    if (!at(now, request).empty()) {
      const CommandView known = view_command(issue.id, now);
      if (known.device == issue.device && known.name == issue.name && known.arguments == write_json(*arguments))
        return std::vector<Op>{};
      return Error{Code::conflict,
                   "command " + issue.id + " is known with another content: " + known.name + " of " + known.device};
    }
    const auto valid_ms = std::chrono::duration_cast<std::chrono::milliseconds>(issue.valid).count();
    return std::vector<Op>{put_op(now, request,
                                  write_json({{"device", issue.device},
                                              {"name", issue.name},
                                              {"arguments", std::move(*arguments)},
                                              {"actor", issue.actor},
                                              {"expires", loop.unix_ms() + valid_ms}}))};
  };
  impl_->objects.change({Stream::alarm, object_of(id), device, actor, std::move(decide)},
                        [this, owned = impl_->alive, id, done = std::move(done)](const Result<Written>& written) {
                          if (!*owned) return;
                          done(written ? view(id) : Result<CommandView>(written.error()));
                        });
}

void Commands::cancel(std::string id, std::string actor, OnWritten done) {
  const auto known = view(id);
  auto decide = [owns = impl_->options.owns, id, actor](const Entries& now) -> Result<std::vector<Op>> {
    if (at(now, request).empty()) return unknown(id);
    const CommandView command = view_command(id, now);
    if (command.state != State::pending)
      return Error{Code::conflict, "command " + id + " is " + std::string(to_string(command.state)) + " already"};
    std::vector<Op> ops;
    if (!command.cancel_asked) ops.push_back(put_op(now, cancelled, write_json({{"actor", actor}})));
    if (owns(command.device)) ops.push_back(end_op(now, State::cancelled, "cancelled before it was sent"));
    return ops;
  };
  impl_->objects.change({Stream::alarm, object_of(id), known ? known->device : "", std::move(actor), std::move(decide)},
                        std::move(done));
}

void Commands::complete(std::string id, bool succeeded, std::string result, std::string actor, Another another,
                        std::vector<Log::Meta> meta, OnWritten done) {
  const auto known = view(id);
  auto decide = [id, succeeded, result = std::move(result), another](const Entries& now) -> Result<std::vector<Op>> {
    if (at(now, request).empty()) return unknown(id);
    auto json = result.empty() ? Result<Json>(Json()) : read_json(result, "result");
    if (!json) return std::move(json).error();
    const State state = succeeded ? State::succeeded : State::failed;
    if (const CommandView has = view_command(id, now); has.from_device) {
      const bool same = has.state == state && (json->is_null() || write_json(*json) == has.result);
      if (same || another == Another::dropped) return std::vector<Op>{};
      return Error{Code::conflict, "command " + id + " has " + std::string(to_string(has.state)) +
                                       " already, with the result " + shown_json(has.result)};
    }
    return std::vector<Op>{
        put_op(now, ended, write_json({{"state", to_string(state)}, {"by", "device"}, {"result", std::move(*json)}}))};
  };
  impl_->objects.change(
      {Stream::alarm, object_of(id), known ? known->device : "", std::move(actor), std::move(decide), std::move(meta)},
      std::move(done));
}

Result<CommandView> Commands::view(std::string_view id) const { return impl_->view(id); }

Result<std::vector<CommandView>> Commands::list(std::string_view device, bool open_only, std::string_view after,
                                                std::size_t limit) const {
  std::vector<CommandView> found;
  std::string from = after.empty() ? std::string() : object_of(after);
  while (found.size() < limit) {
    const auto some = impl_->objects.log().objects(Stream::alarm, prefix, from, 256);
    if (!some) return some.error();
    if (some->empty()) break;
    for (const std::string& object : *some) {
      const auto command = view(std::string_view(object).substr(prefix.size()));
      if (!command && command.error().code == Code::not_found) continue;  // its request has not come yet
      if (!command) return command.error();
      if ((device.empty() || command->device == device) && (!open_only || command->is_open()))
        found.push_back(*command);
      if (found.size() == limit) break;
    }
    from = some->back();
  }
  return found;
}

void Commands::watch(OnChanged changed) {
  impl_->subscriptions.push_back(impl_->objects.log().watch(1u << static_cast<unsigned>(Stream::alarm),
                                                            [changed = std::move(changed)](const Log::Changed& change) {
                                                              for (const std::string& object : change.objects) {
                                                                if (object.starts_with(prefix))
                                                                  changed(object.substr(prefix.size()));
                                                              }
                                                            }));
}

}  // namespace landfall
