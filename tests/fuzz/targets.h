#pragma once

#include <span>
#include <string_view>

namespace landfall::fuzz {

// A decoder that faces bytes from outside. `run` aborts where it breaks a promise; crashes, leaks and undefined behaviour
// are the sanitizers' to find. Its seeds are tests/golden/<name> and tests/fuzz/corpus/<name>.
struct Target {
  const char* name;
  void (*run)(std::string_view bytes);
};
std::span<const Target> targets();

void kubeedge_topic(std::string_view bytes);
void kubeedge_message(std::string_view bytes);
void kubeedge_import(std::string_view bytes);
void api_body(std::string_view bytes);
void event_input(std::string_view bytes);

}  // namespace landfall::fuzz
