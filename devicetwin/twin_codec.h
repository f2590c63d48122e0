#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/entry.h"
#include "devicetwin/twin.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// A value as it lies in the state of twins and devices: JSON text first, as it is for who wants no more (Kafka, a reader of
// the log), then what is known of the write.
//   JSON text | nothing, or: 00 | version 1 u8 | (tag u8, varint length, bytes)*   tags ascending, empty ones left out
// JSON text holds no byte 00. A reader skips tags that it does not know.
struct TwinValue {
  std::string json;
  std::string actor = {}, reason = {};
  std::vector<Dot> seen = {};           // stream desired
  std::optional<Dot> applied = {};      // stream desired
  std::string status = {}, error = {};  // empty: applied
  std::uint64_t owner_term = 0;
  std::int64_t time_ms = 0;  // as the device stamped it; of /s: when it was last online
  std::string secret = {};   // in place of JSON, which is then null: never rendered
  friend bool operator==(const TwinValue&, const TwinValue&) = default;
};

// Errors: `out_of_range` over a limit of limits.h.
Result<std::string> encode_twin_value(const TwinValue& value);
// Accepts any bytes. Errors: `corrupt`, also for JSON that is none or nested too deep, and for a newer version.
Result<TwinValue> decode_twin_value(std::string_view bytes);

// The term of the device's owner, from its object of stream document. Of concurrent hand-overs the greatest.
std::uint64_t owner_term_in(const Entries& document);

}  // namespace landfall
