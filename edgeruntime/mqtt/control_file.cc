#include "edgeruntime/mqtt/control_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cstring>
#include <string_view>
#include <utility>

namespace landfall {
namespace {

Error system_error(const char* what, const std::string& path) {
  return {errno == ENOENT ? Code::not_found : Code::disk, std::string(what) + " " + path + ": " + std::strerror(errno)};
}

bool is_same(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

Result<std::string> read_all(int fd, const std::string& path) {
  std::string text;
  char bytes[16384];
  for (;;) {
    const auto n = ::read(fd, bytes, sizeof(bytes));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read", path);
    if (n == 0) return text;
    text.append(bytes, static_cast<std::size_t>(n));
  }
}

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const auto n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("write", path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return ok();
}

}  // namespace

Result<std::optional<BrokerControl>> ControlFile::changed() {
  struct stat now {};
  if (::stat(path_.c_str(), &now) != 0) return system_error("find", path_);
  if (is_same(now, seen_)) return std::optional<BrokerControl>();
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return system_error("open", path_);
  // Of what is read, which may be newer than what was looked at.
  ::fstat(fd, &now);
  auto text = read_all(fd, path_);
  ::close(fd);
  if (!text.ok()) return std::move(text).error();
  auto control = decode_control(*text);
  // A file that is none stays none: it is not read again until it is another.
  seen_ = now;
  if (!control.ok()) return std::move(control).error();
  return std::optional<BrokerControl>(std::move(*control));
}

// Not synced: after a power cut the edge writes it again before anybody reads it.
Status write_control(const std::string& path, const BrokerControl& control) {
  auto text = encode_control(control);
  if (!text.ok()) return std::move(text).error();
  const std::string fresh = path + ".new";
  ::unlink(fresh.c_str());
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return system_error("write", fresh);
  auto written = write_all(fd, *text, fresh);
  ::close(fd);
  if (!written.ok()) return written;
  if (::rename(fresh.c_str(), path.c_str()) != 0) return system_error("write", path);
  return ok();
}

}  // namespace landfall
