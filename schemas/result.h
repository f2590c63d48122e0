#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "schemas/check.h"

namespace landfall {

// One code per decision a caller can take, not one per cause. The cause goes into Error::detail.
enum class Code : unsigned char {
  not_found,     // the named thing does not exist; often not a failure for the caller
  corrupt,       // bytes do not match their checksum, chain or schema: stop using the source
  out_of_range,  // the peer or caller asked for something outside a documented limit
  unavailable,   // link, broker or queue is down or full: retry after back-off
  disk,          // local storage refused: stop acknowledging, surface to the operator
  conflict,      // somebody else holds the lease or wrote first: reload, then retry
  denied,        // identity or permission refused: an operator must act
};
std::string_view to_string(Code code);

struct [[nodiscard]] Error {
  Code code;
  std::string detail;  // one line, lower case, names the object: "stream 7: seq 12 after 15"
  // Prefixes on the way up: "open log: stream 7: ..."
  Error in(std::string_view where) && { return {code, std::string(where) + ": " + detail}; }
  friend bool operator==(const Error&, const Error&) = default;
};

// A value or an Error. Reading the absent one aborts.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return check_value(), *std::get_if<0>(&state_); }
  const T& value() const& { return check_value(), *std::get_if<0>(&state_); }
  T&& value() && { return check_value(), std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const& {
    LANDFALL_CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    LANDFALL_CHECK(!ok());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  void check_value() const { LANDFALL_CHECK(ok()); }
  std::variant<T, Error> state_;
};

struct Done {};  // the value of an operation that has none
using Status = Result<Done>;
inline Status ok() { return Done{}; }

}  // namespace landfall

// Leaves the enclosing function with the error of a Status or Result expression, if it has one.
#define LANDFALL_TRY(expression) \
  if (auto landfall_try = (expression); !landfall_try.ok()) return std::move(landfall_try).error()
