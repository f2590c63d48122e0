#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "devicetwin/devices.h"
#include "devicetwin/twins.h"
#include "eventlog/loop.h"

namespace landfall {

// Keeps the deviceProfile.json of the devices that this node runs (devicetwin/kubeedge_profile.h): a mapper writes what
// stands there into its devices at each of its starts, so the file follows the registry, the definitions and the desired
// values. What devices report alone does not write it.
//
// Loop thread only. What it is given must outlive it.
class ProfileFile {
 public:
  struct Options {
    std::filesystem::path file;
    std::function<bool(const DeviceRecord&)> runs;
  };
  // Writes the file before it returns.
  ProfileFile(Loop& loop, Twins& twins, Devices& devices, Options options);
  ~ProfileFile();

  // Why the file is not what it should be, with the remedy; empty: it is.
  const std::string& fault() const { return fault_; }

 private:
  void note(const std::string& device);
  void write_after(Duration delay);
  void write();
  // Nothing where the file has it all already.
  std::optional<std::string> content();
  void written(const Status& status, std::string content);

  Loop& loop_;
  Twins& twins_;
  Devices& devices_;
  Options options_;
  std::set<std::string> own_;  // as the file has been made of, or would have been
  std::vector<std::string> warned_;
  std::optional<std::string> content_;  // of the file, as far as is known
  std::string fault_;
  Loop::Timer timer_ = 0;
  bool writing_ = false, changed_meanwhile_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace landfall
