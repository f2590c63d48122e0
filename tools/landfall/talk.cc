#include "tools/landfall/talk.h"

#include <cstdio>
#include <random>

#include <unistd.h>

namespace landfall {

int fail(const Error& error) {
  std::fprintf(stderr, "landfall: %s\n", error.detail.c_str());
  return 1;
}

std::int64_t unix_ms_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string random_salt() {
  std::random_device device;
  std::string salt;
  while (salt.size() < 16) salt.push_back(static_cast<char>(device()));
  return salt;
}

void Progress::show(std::uint64_t done, const char* unit) {
  const auto now = std::chrono::steady_clock::now();
  if (now - started_ < std::chrono::seconds(2) || now - drawn_ < std::chrono::milliseconds(200) ||
      ::isatty(STDERR_FILENO) == 0)
    return;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  std::fprintf(stderr, "\r\033[K%s: %llu %s, %.0f %s/s", what_.c_str(), static_cast<unsigned long long>(done), unit,
               static_cast<double>(done) / seconds, unit);
  std::fflush(stderr);
  drawn_ = now;
  visible_ = true;
}

Progress::~Progress() {
  if (visible_) std::fputs("\r\033[K", stderr);
}

}  // namespace landfall
