#include "edgeruntime/profile_file.h"

#include <utility>

#include <spdlog/spdlog.h>

#include "devicetwin/kubeedge_profile.h"
#include "edgeruntime/identity.h"

namespace landfall {
namespace {

using namespace std::chrono_literals;

// What comes together, when a link returns say, is one file; a mapper that starts meanwhile reads what was true so long ago.
constexpr Duration gather = 200ms;
constexpr Duration try_again = 10s;

}  // namespace

ProfileFile::ProfileFile(Loop& loop, Twins& twins, Devices& devices, Options options)
    : loop_(loop), twins_(twins), devices_(devices), options_(std::move(options)) {
  if (auto text = content()) {
    const auto status = write_public_file(options_.file, *text);
    written(status, std::move(*text));
  }
  const auto changed = [this, alive = alive_](const std::string& device) {
    if (*alive) note(device);
  };
  devices_.watch([changed](const std::string& device, bool) { changed(device); });
  twins_.watch([this, changed](const std::string& device, Stream stream) {
    // A report changes nothing but whose the device is that nobody was named for.
    if (stream != Stream::reported || !own_.contains(device)) changed(device);
  });
}

ProfileFile::~ProfileFile() {
  *alive_ = false;
  loop_.cancel(timer_);
}

void ProfileFile::note(const std::string& device) {
  if (!own_.contains(device)) {
    const auto record = devices_.get(device);
    if (!record || !options_.runs(*record)) return;
  }
  write_after(gather);
}

void ProfileFile::write_after(Duration delay) {
  changed_meanwhile_ = writing_;
  if (timer_ != 0 || writing_) return;
  timer_ = loop_.after(delay, [this] {
    timer_ = 0;
    write();
  });
}

// Disks may take their time: the loop does not wait for this one.
void ProfileFile::write() {
  auto text = content();
  if (!text) return;
  struct Work {
    std::filesystem::path file;
    std::string text;
    Status status = ok();
  };
  auto work = std::make_shared<Work>(Work{options_.file, std::move(*text)});
  writing_ = true;
  loop_.work(
      0, [work] { work->status = write_public_file(work->file, work->text); },
      [this, work, alive = alive_] {
        if (!*alive) return;
        writing_ = false;
        written(work->status, std::move(work->text));
        if (std::exchange(changed_meanwhile_, false)) write_after(gather);
      });
}

std::optional<std::string> ProfileFile::content() {
  own_.clear();
  const auto profile = export_kubeedge(devices_, twins_, [this](const DeviceRecord& record) {
    const bool runs = options_.runs(record);
    if (runs) own_.insert(record.device);
    return runs;
  });
  if (!profile) {
    written(profile.error(), {});
    return std::nullopt;
  }
  if (profile->warnings() != warned_) {
    warned_ = profile->warnings();
    for (const auto& warning : warned_) spdlog::warn("event=device_profile what=\"{}\"", warning);
  }
  auto text = profile->json();
  if (content_ == text) return std::nullopt;
  return text;
}

void ProfileFile::written(const Status& status, std::string content) {
  if (status) {
    content_ = std::move(content);
    if (!fault_.empty()) spdlog::info("event=device_profile_written file={}", options_.file.string());
    fault_.clear();
    return;
  }
  content_.reset();
  if (fault_ != status.error().detail)
    spdlog::error("event=device_profile_failed file={} reason=\"{}\"", options_.file.string(), status.error().detail);
  fault_ = status.error().detail;
  write_after(try_again);
}

}  // namespace landfall
