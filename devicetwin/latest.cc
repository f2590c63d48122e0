#include "devicetwin/latest.h"

#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "crdt/register.h"
#include "devicetwin/twin_codec.h"
#include "devicetwin/twin_paths.h"
#include "schemas/op.h"

namespace landfall {
namespace {

constexpr std::size_t devices_kept = 256;
constexpr std::string_view definitions = "/def";
constexpr std::uint8_t documents = 1u << static_cast<int>(Stream::document);

class Rule {
 public:
  explicit Rule(Log& log) : log_(log) {
    watching_ = log.watch(documents, [this](const Log::Changed& changed) {
      for (const std::string& object : changed.objects) {
        if (object.starts_with(device_prefix)) devices_.erase(object.substr(device_prefix.size()));
      }
    });
  }
  ~Rule() { log_.unsubscribe(watching_); }
  Rule(const Rule&) = delete;
  Rule& operator=(const Rule&) = delete;

  bool may(const Dot& dot, const Event& event) {
    if (dot.stream != Stream::reported || !event.subject.starts_with(twin_prefix)) return false;
    const Device* device = look(std::string(event.subject.substr(twin_prefix.size())), dot);
    if (device == nullptr || device->latest.empty() || device->live.contains(dot)) return false;
    OpReader reader(event.payload, dot.run);
    OpReader::View op;
    bool puts = false;
    while (reader.next(op)) {
      if (!op.value || !device->latest.contains(op.path)) return false;
      puts = true;
    }
    return puts && reader.status().ok();
  }

 private:
  struct Device {
    std::set<std::string, std::less<>> latest;  // paths of stream reported
    std::set<Dot> live;
    std::map<RunId, std::uint64_t> upto;  // of what was received when `live` was read, by run that was asked about
  };

  // Nothing for a dot of which the state may not know yet: it would look as if it were superseded.
  const Device* look(std::string name, const Dot& dot) {
    if (devices_.size() > devices_kept) devices_.clear();
    Device& device = devices_[name];
    const auto known = device.upto.find(dot.run);
    if (known != device.upto.end() && dot.seq <= known->second) return &device;
    const std::uint64_t upto = log_.received().max({dot.run, dot.stream});
    if (dot.seq > upto || !read(name, device)) {
      devices_.erase(name);
      return nullptr;
    }
    // What was known of other runs is older than `live` is now, and holds all the more.
    device.upto[dot.run] = upto;
    return &device;
  }

  bool read(const std::string& name, Device& device) {
    const auto reported = log_.state(Stream::reported, twin_object(name));
    const auto document = log_.state(Stream::document, device_object(name));
    if (!reported || !document) return false;
    device.live.clear();
    device.latest.clear();
    for (const Entry& entry : *reported) device.live.insert(entry.dot);
    for (const Entry* entry : under(*document, definitions)) {
      const Entry* shown = latest(at(*document, entry->path));
      const auto value = decode_twin_value(shown->value);
      const auto definition = value ? parse_definition(value->json) : Result<PropertyDefinition>(value.error());
      if (definition && definition->history == History::latest)
        device.latest.insert(std::string(property_prefix) + entry->path.substr(definitions.size() + 1));
    }
    return true;
  }

  Log& log_;
  Log::Subscription watching_;
  std::unordered_map<std::string, Device> devices_;
};

}  // namespace

MayVoid superseded_latest(Log& log) {
  return [rule = std::make_shared<Rule>(log)](const Dot& dot, const Event& event) { return rule->may(dot, event); };
}

}  // namespace landfall
