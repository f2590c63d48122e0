#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "devicetwin/twin.h"
#include "devicetwin/twin_codec.h"

namespace landfall::test {

inline Dot dot(std::uint8_t node, std::uint64_t seq, Stream stream = Stream::desired) {
  Dot made{{{}, 1, 7}, stream, seq};
  made.run.node.bytes[0] = node;
  return made;
}

// One live write, as the log would hold it.
inline Entry entry(std::string path, const Dot& of, std::int64_t time_ms, const TwinValue& value,
                   ClockClass clock = ClockClass::synced) {
  auto bytes = encode_twin_value(value);
  EXPECT_TRUE(bytes.ok()) << (bytes ? "" : bytes.error().detail);
  return {std::move(path), of, HybridTime::from_unix_ms(time_ms), clock, bytes ? *bytes : std::string()};
}

inline Entries ordered(Entries entries) {
  std::ranges::sort(entries, {}, [](const Entry& e) { return std::tie(e.path, e.dot); });
  return entries;
}

inline Entry definition(const std::string& property, const PropertyDefinition& of) {
  return entry("/def/" + property, dot(1, 1, Stream::document), 1, {.json = definition_json(of)});
}

}  // namespace landfall::test
