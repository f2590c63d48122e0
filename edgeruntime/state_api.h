#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devicetwin/alarms.h"
#include "devicetwin/commands.h"
#include "devicetwin/devices.h"
#include "devicetwin/documents.h"
#include "devicetwin/twins.h"
#include "edgeruntime/http_api.h"

namespace landfall {

// An error as the API answers it.
ApiReply problem_of(const Error& error);

// /v1/twins, /v1/documents, /v1/alarms, /v1/commands and /v1/devices, the same on both roles: schemas/openapi.yaml. Every
// write answers when it is durable. A GET that accepts text/event-stream is sent what is now and each change after it.
//
// Loop thread only. What it is given must outlive it.
class StateApi {
 public:
  struct Parts {
    Twins& twins;
    Devices& devices;
    Documents& documents;
    Alarms& alarms;
    Commands& commands;
    std::function<bool(const DeviceRecord&)> runs;  // which devices are exported when none is named
  };
  explicit StateApi(Parts parts);
  // Ends every stream.
  ~StateApi();

  static bool handles(std::string_view path);
  void answer(const ApiRequest& request, HttpApi::Reply reply);

  enum class Noun : std::uint8_t { twins, documents, alarms, commands, devices };
  // One object as GET shows it, with its version. Errors: `not_found` where it is not, or not any more.
  Result<std::pair<std::string, std::string>> show(Noun noun, const std::string& name) const;

 private:
  struct Asked {
    const ApiRequest& request;
    Noun noun;
    std::string name;  // behind the noun; empty: all of them
  };

  void twins(const Asked& asked, HttpApi::Reply reply);
  void write_twin(const Asked& asked, HttpApi::Reply reply);
  void act_on_twin(const Asked& asked, HttpApi::Reply reply);
  void documents(const Asked& asked, HttpApi::Reply reply);
  void act_on_document(const Asked& asked, OnWritten done);
  void alarms(const Asked& asked, HttpApi::Reply reply);
  void act_on_alarm(const Asked& asked, HttpApi::Reply reply);
  void commands(const Asked& asked, HttpApi::Reply reply);
  void issue_command(const Asked& asked, HttpApi::Reply reply);
  void devices(const Asked& asked, HttpApi::Reply reply);
  void write_device(const Asked& asked, HttpApi::Reply reply);
  void import_devices(const Asked& asked, HttpApi::Reply reply);
  ApiReply export_devices(const ApiRequest& request) const;

  void answer_show(const Asked& asked, HttpApi::Reply reply);
  void listen(const Asked& asked, HttpApi::Reply reply);
  void changed(Noun noun, const std::string& name);

  struct Listener {
    Noun noun;
    std::string name;  // empty: all
    ApiStream stream;
  };
  Parts parts_;
  std::vector<Listener> listeners_;
};

}  // namespace landfall
