#include "schemas/check.h"

#include <cstdio>
#include <cstdlib>

#include "schemas/result.h"

namespace landfall {

void check_failed(const char* file, int line, const char* expression) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, expression);
  std::abort();
}

std::string_view to_string(Code code) {
  switch (code) {
    case Code::not_found: return "not_found";
    case Code::corrupt: return "corrupt";
    case Code::out_of_range: return "out_of_range";
    case Code::unavailable: return "unavailable";
    case Code::disk: return "disk";
    case Code::conflict: return "conflict";
    case Code::denied: return "denied";
  }
  return "unknown";
}

}  // namespace landfall
