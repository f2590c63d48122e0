#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "schemas/result.h"

namespace landfall {

// How commands speak: data on stdout, everything else on stderr.

// Prints "landfall: <what is wrong>" and returns exit status 1.
int fail(const Error& error);

// Wall clock, for certificates and ages.
std::int64_t unix_ms_now();

// 16 random bytes, for password hashes.
std::string random_salt();

// One line on stderr, redrawn at most five times a second, from two seconds on and only on a terminal. Gone at the end.
class Progress {
 public:
  explicit Progress(std::string what) : what_(std::move(what)) {}
  ~Progress();
  void show(std::uint64_t done, const char* unit);

 private:
  std::string what_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now(), drawn_{};
  bool visible_ = false;
};

}  // namespace landfall
