// One libFuzzer binary per target: LANDFALL_FUZZ_TARGET names it.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto* const run = [] {
    for (const auto& target : landfall::fuzz::targets()) {
      if (std::string_view(target.name) == LANDFALL_FUZZ_TARGET) return &target;
    }
    std::abort();
  }();
  run->run({reinterpret_cast<const char*>(data), size});
  return 0;
}
