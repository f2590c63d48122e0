#include "devicetwin/devices.h"

#include <algorithm>
#include <array>

#include "crdt/register.h"
#include "devicetwin/json_value.h"
#include "devicetwin/twin_codec.h"
#include "devicetwin/twin_json.h"
#include "devicetwin/twin_paths.h"
#include "schemas/limits.h"
#include "schemas/text.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

using Ops = Result<std::vector<Op>>;

// Fields that are plain text, in the order of their names.
struct Field {
  std::string_view name;
  std::string DeviceRecord::*text;
};
constexpr std::array<Field, 5> text_fields = {Field{"certificate_subject", &DeviceRecord::certificate_subject},
                                              {"description", &DeviceRecord::description},
                                              {"model", &DeviceRecord::model},
                                              {"node", &DeviceRecord::node},
                                              {"protocol", &DeviceRecord::protocol}};
constexpr std::string_view configuration_path = "/configuration", password_path = "/password_hash", node_path = "/node";

Error refused(std::string what) { return {Code::out_of_range, std::move(what)}; }
Error unknown(std::string_view device) {
  return {Code::not_found,
          "device " + std::string(device) + " is not known: register it first, or look at how it is written"};
}

std::string field_path(std::string_view name) { return "/" + std::string(name); }

TwinValue read(const Entries& entries, std::string_view path) {
  const Entry* entry = latest(at(entries, path));
  auto value = entry == nullptr ? Result<TwinValue>(TwinValue{}) : decode_twin_value(entry->value);
  return value ? std::move(*value) : TwinValue{};
}

DeviceRecord record_of(std::string_view device, const Entries& entries) {
  DeviceRecord record;
  record.device = device;
  for (const Field& field : text_fields)
    record.*field.text = string_of(read(entries, field_path(field.name)).json).value_or("");
  record.configuration = read(entries, configuration_path).json;
  record.password_hash = read(entries, password_path).secret;
  record.owner_term = owner_term_in(entries);
  record.registered = !at(entries, presence_path).empty();
  record.version = version_of(device_object(device), entries);
  return record;
}

// Writes `value` at `path`, or takes away what is there where there is none; nothing where that is so already.
Status write(std::vector<Op>& ops, const Entries& now, std::string_view path, const std::optional<TwinValue>& value) {
  const auto there = at(now, path);
  if (!value) {
    if (!there.empty()) ops.push_back(erase_op(now, path));
    return ok();
  }
  const auto before = there.size() == 1 ? decode_twin_value(there.front().value) : Result<TwinValue>(TwinValue{});
  if (there.size() == 1 && before && before->json == value->json && before->secret == value->secret &&
      before->owner_term == value->owner_term)
    return ok();
  auto bytes = encode_twin_value(*value);
  if (!bytes) return std::move(bytes).error().in(path.substr(1));
  ops.push_back(put_op(now, path, std::move(*bytes)));
  return ok();
}

Status write_owner(std::vector<Op>& ops, const Entries& now, std::uint64_t term, const std::string& actor) {
  return write(ops, now, owner_term_path, TwinValue{.json = std::to_string(term), .actor = actor, .owner_term = term});
}

Status write_fields(std::vector<Op>& ops, const Entries& now, const DeviceRecord& record, const std::string& actor) {
  for (const Field& field : text_fields) {
    const std::string& text = record.*field.text;
    if (text.size() > twin_note_bytes_max || !is_clean_text(text))
      return refused(std::string(field.name) + " is over 1024 bytes or not clean text");
    std::optional<TwinValue> value;
    if (!text.empty()) value = TwinValue{.json = json_string(text), .actor = actor};
    LANDFALL_TRY(write(ops, now, field_path(field.name), value));
  }
  std::optional<TwinValue> configuration;
  if (!record.configuration.empty()) {
    auto json = canonical_json(record.configuration);
    if (!json) return std::move(json).error().in("configuration");
    configuration = TwinValue{.json = std::move(*json), .actor = actor};
  }
  LANDFALL_TRY(write(ops, now, configuration_path, configuration));
  if (record.password_hash.empty()) return ok();
  std::optional<TwinValue> password;
  if (record.password_hash != "*") {
    if (!record.password_hash.starts_with("$7$") && !record.password_hash.starts_with("$6$"))
      return refused("password_hash is no hash of mosquitto_passwd");
    password = TwinValue{.json = "null", .actor = actor, .secret = record.password_hash};
  }
  return write(ops, now, password_path, password);
}

Status write_definitions(std::vector<Op>& ops, const Entries& now,
                         const std::map<std::string, PropertyDefinition>& properties, const std::string& actor) {
  if (properties.size() > twin_properties_max) return refused("more than 1024 properties");
  for (const auto& [name, definition] : properties) {
    if (!is_property_name(name))
      return refused(shown_name(name) + ": property names are 1 to 128 of A-Z, a-z, 0-9 and -_.,:/@#");
    auto sense = check_definition(definition);
    if (!sense) return std::move(sense).error().in("property " + name);
    LANDFALL_TRY(
        write(ops, now, definition_path(name), TwinValue{.json = definition_json(definition), .actor = actor}));
  }
  return ok();
}

struct Put {
  DeviceRecord record;
  std::map<std::string, PropertyDefinition> properties;
  std::string actor;
  std::optional<std::string> if_match;
};

Ops decide_put(const Put& put, const std::string& device, const Entries& now) {
  const DeviceRecord before = record_of(device, now);
  if (put.if_match && *put.if_match != before.version && !(*put.if_match == "*" && before.registered))
    return Error{Code::conflict, "the version is " + before.version};
  std::vector<Op> ops;
  LANDFALL_TRY(write(ops, now, presence_path, TwinValue{.json = json_string(device), .actor = put.actor}));
  LANDFALL_TRY(write_fields(ops, now, put.record, put.actor));
  LANDFALL_TRY(write_definitions(ops, now, put.properties, put.actor));
  if (before.registered && before.node != put.record.node)
    LANDFALL_TRY(write_owner(ops, now, before.owner_term + 1, put.actor));
  return ops;
}

Ops decide_hand_over(const std::string& device, const std::string& node, const std::string& actor, const Entries& now) {
  const DeviceRecord before = record_of(device, now);
  if (!before.registered) return unknown(device);
  if (node.size() > twin_note_bytes_max || !is_clean_text(node))
    return refused("node is over 1024 bytes or not clean text");
  std::vector<Op> ops;
  if (before.node == node) return ops;
  std::optional<TwinValue> value;
  if (!node.empty()) value = TwinValue{.json = json_string(node), .actor = actor};
  LANDFALL_TRY(write(ops, now, node_path, value));
  LANDFALL_TRY(write_owner(ops, now, before.owner_term + 1, actor));
  return ops;
}

// Takes away what is at as many paths as fit into one event; `rest` says whether there are more.
std::vector<Op> erase_some(const Entries& now, bool& rest) {
  constexpr std::size_t bytes_enough = event_payload_bytes_max / 4;
  std::vector<Op> ops;
  std::size_t bytes = 0;
  for (auto entry = now.begin(); entry != now.end();) {
    if (bytes > bytes_enough || ops.size() == ops_per_event_max / 2) {
      rest = true;
      break;
    }
    Op op{entry->path, {}, {}};
    while (entry != now.end() && entry->path == op.path && op.supersedes.size() < op_supersedes_max / 2) {
      op.supersedes.push_back(entry->dot);
      ++entry;
    }
    rest = entry != now.end();
    const bool is_cut = rest && entry->path == op.path;
    bytes += op.path.size() + op.supersedes.size() * 2 * varint_bytes_max;
    ops.push_back(std::move(op));
    if (is_cut) break;
  }
  return ops;
}

// Deletes a device object by object, its registry entry last: what fails in between can be done again.
class Removal : public std::enable_shared_from_this<Removal> {
 public:
  Removal(Objects& objects, std::string device, std::string actor, OnWritten done)
      : objects_(objects), device_(std::move(device)), actor_(std::move(actor)), done_(std::move(done)) {}

  void go_on() {
    const auto [stream, object] = steps()[step_];
    rest_ = false;
    objects_.change({stream, object, device_, actor_,
                     [self = shared_from_this(), is_last = step_ == 2](const Entries& now) -> Ops {
                       self->any_ |= !now.empty();
                       if (is_last && !self->any_) return unknown(self->device_);
                       return erase_some(now, self->rest_);
                     }},
                    [self = shared_from_this()](Result<Written> written) { self->on_written(std::move(written)); });
  }

 private:
  std::array<std::pair<Stream, std::string>, 3> steps() const {
    return {std::pair{Stream::reported, twin_object(device_)},
            {Stream::desired, twin_object(device_)},
            {Stream::document, device_object(device_)}};
  }
  void on_written(Result<Written> written) {
    if (!written) return done_(std::move(written));
    dots_.insert(dots_.end(), written->dots.begin(), written->dots.end());
    if (!rest_) ++step_;
    if (step_ < 3) return go_on();
    written->dots = std::move(dots_);
    done_(std::move(written));
  }

  Objects& objects_;
  std::string device_, actor_;
  OnWritten done_;
  std::vector<Dot> dots_;
  std::size_t step_ = 0;
  bool rest_ = false, any_ = false;
};

// For names that are none: answered from the loop, as everything is.
void refuse(Objects& objects, const Error& error, OnWritten done) {
  objects.change({Stream::document, device_object(""), "", "", [error](const Entries&) -> Ops { return error; }},
                 std::move(done));
}

}  // namespace

Devices::~Devices() {
  for (const auto subscription : subscriptions_) objects_.log().unsubscribe(subscription);
}

Result<DeviceRecord> Devices::get(std::string_view device) const {
  const auto name = parse_device(device);
  if (!name) return name.error();
  const auto entries = objects_.log().state(Stream::document, device_object(name->text()));
  if (!entries) return entries.error();
  if (entries->empty()) return unknown(name->text());
  return record_of(name->text(), *entries);
}

Result<std::vector<DeviceRecord>> Devices::list(std::string_view after, std::size_t limit) const {
  const auto objects =
      objects_.log().objects(Stream::document, device_prefix, after.empty() ? "" : device_object(after), limit);
  if (!objects) return objects.error();
  std::vector<DeviceRecord> records;
  for (const auto& object : *objects) {
    const auto entries = objects_.log().state(Stream::document, object);
    if (!entries) return entries.error();
    records.push_back(record_of(object.substr(device_prefix.size()), *entries));
  }
  return records;
}

void Devices::put(DeviceRecord record, std::map<std::string, PropertyDefinition> properties, std::string actor,
                  std::optional<std::string> if_match, OnWritten done) {
  const auto name = parse_device(record.device);
  if (!name) return refuse(objects_, name.error(), std::move(done));
  const std::string device = name->text();
  Put put{std::move(record), std::move(properties), actor, std::move(if_match)};
  objects_.change({Stream::document, device_object(device), device, actor,
                   [put = std::move(put), device](const Entries& now) { return decide_put(put, device, now); }},
                  std::move(done));
}

void Devices::remove(std::string device, std::string actor, OnWritten done) {
  const auto name = parse_device(device);
  if (!name) return refuse(objects_, name.error(), std::move(done));
  std::make_shared<Removal>(objects_, name->text(), std::move(actor), std::move(done))->go_on();
}

void Devices::hand_over(std::string device, std::string node, std::string actor, OnWritten done) {
  const auto name = parse_device(device);
  if (!name) return refuse(objects_, name.error(), std::move(done));
  const std::string text = name->text();
  objects_.change({Stream::document, device_object(text), text, actor,
                   [text, node, actor](const Entries& now) { return decide_hand_over(text, node, actor, now); }},
                  std::move(done));
}

void Devices::watch(OnChanged changed) {
  const auto documents = static_cast<std::uint8_t>(1u << static_cast<unsigned>(Stream::document));
  subscriptions_.push_back(
      objects_.log().watch(documents, [log = &objects_.log(), changed = std::move(changed)](const Log::Changed& now) {
        for (const auto& object : now.objects) {
          if (!object.starts_with(device_prefix)) continue;
          const auto entries = log->state(Stream::document, object);
          changed(object.substr(device_prefix.size()), entries && !at(*entries, presence_path).empty());
        }
      }));
}

}  // namespace landfall
