#pragma once

// LANDFALL_CHECK(condition): a broken invariant of our own code. Prints where and what, then aborts, in every build
// type: restart and log replay are the recovery path. Never for input, disk, peers or configuration: those are Result.

namespace landfall {
[[noreturn]] void check_failed(const char* file, int line, const char* expression);
}

#define LANDFALL_CHECK(condition) \
  (static_cast<bool>(condition) ? static_cast<void>(0) : ::landfall::check_failed(__FILE__, __LINE__, #condition))
