#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "devicetwin/kubeedge.h"
#include "devicetwin/kubeedge_messages.h"
#include "devicetwin/kubeedge_plan.h"
#include "devicetwin/kubeedge_topics.h"

namespace landfall {

namespace kubeedge {

// A property as clients were last told of it; times below 0: no such value.
struct Told {
  std::string name, expected, actual;
  std::int64_t expected_at = -1, actual_at = -1;
};

}  // namespace kubeedge

// The parts of KubeEdge's contract (kubeedge.cc: who is addressed, questions, membership; kubeedge_update.cc: changes of
// twins and states, and what is told of them).
struct KubeEdge::Impl {
  // A message to one device. `id` is the device as the topic names it: answers name it so, too.
  struct Message {
    kubeedge::Action action;
    std::string id, client, payload;
    std::vector<Log::Meta> position;
    std::function<void()> done;
  };
  struct Device {
    bool here = false;  // registered, and run by this node
    bool busy = false;  // a change is being written; what follows waits, in its order
    std::deque<Message> waiting;
    std::vector<kubeedge::Told> told;  // ordered by name
    std::map<std::string, std::string> attributes;
    std::string description, state;
    std::int64_t last_online_ms = 0, last_online_stored_ms = 0;
  };

  Impl(Loop& loop, Twins& twins, Devices& devices, Options options);

  // ---- who is addressed

  // The device in the namespace default, else the only one here of that name.
  std::string resolve(std::string_view id) const;
  Device* find(std::string_view device);
  // As topics may name it: by two levels, and by one where that names no other.
  std::vector<std::string> ids_of(std::string_view device) const;

  // ---- messages

  static std::string actor_of(const Message& message, const std::string& device);
  void serve(const std::string& name);
  void handle(const std::string& name, Device& device, Message message);
  void answer_unknown(const Message& message);
  void get_twin(const std::string& name, const Message& message);
  void get_membership(std::string_view node, std::string_view payload);
  void update_state(const std::string& name, Device& device, Message message);
  void answer_state(const std::string& name, const Device& device, const std::string& id);
  void update_twin(const std::string& name, Device& device, Message message);
  struct Work;
  void add_steps(Work& work);
  void write_next(std::shared_ptr<Work> work);
  void finish(const Work& work, const Status& written);

  // ---- changes

  void note_change(const std::string& device);
  void look_at_changes();
  void look_at(const std::string& name);
  // False where the device is not here, or has only just come.
  bool was_and_is_here(const std::string& name);
  void add(const std::string& name, const DeviceRecord& record);
  void remove(const std::string& name, Device& device);
  // What differs from what was told before, and what `plan` has written: a document, then the delta. Attributes, too.
  void tell(const std::string& name, Device& device, const TwinView& view, const kubeedge::Plan* plan,
            std::string_view document_id);
  void tell_attributes(const std::string& name, const Device& device, const TwinView& view) const;
  // To a client that has just subscribed.
  void tell_present(const std::string& name, const std::string& id, bool document, std::string_view client);
  static void remember(Device& device, const TwinView& view);

  kubeedge::DeviceEntry entry_of(const std::string& name, const Device& device) const;
  void send(std::string topic, std::string payload, std::string_view client = {}) const;
  void send_error(const Message& message, std::string_view suffix, int code, std::string_view event_id,
                  std::string_view reason) const;

  Loop& loop;
  Twins& twins;
  Devices& registry;
  Options options;
  std::map<std::string, Device, std::less<>> devices;
  std::map<std::string, std::set<std::string>, std::less<>> by_name;  // of those that are here
  std::set<std::string> changed;
  bool look_due = false;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

}  // namespace landfall
