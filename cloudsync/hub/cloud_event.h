#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schemas/event.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// The data topics, in the order of their names in kafka_topic_suffix.
enum class KafkaTopic : std::uint8_t { control, alarms, twins, documents, telemetry, blobs };
inline constexpr std::size_t kafka_topic_count = 6;
inline constexpr std::string_view payload_header = "landfall-payload";
// The whole row, where the other headers do not tell it: a void, what a newer node wrote, or a time past the year 9999.
inline constexpr std::string_view row_header = "landfall-row";
// The chain before a record, where it does not follow from the records before it: pieces of a range of voids that were made
// apart, or came partly as changes, do not join (eventlog/chain.h).
inline constexpr std::string_view chain_header = "landfall-chain";
// Of a change whose JSON leaves something out (kafka_change_json_bytes_max): what it says is in the payload.
inline constexpr std::string_view abridged_key = "abridged";
std::string_view kafka_topic_suffix(KafkaTopic topic);
KafkaTopic kafka_topic(Stream stream);

// {"object":...,"changes":[{"path":...,"value":...,"supersedes":["dot",...]}]}: the ops of a change or void for people and
// programs that know nothing of ours. A value that is no JSON text up to its first byte 00 is {"base64":...}; an op that
// only supersedes has none. Where it would pass kafka_change_json_bytes_max it has "abridged":true and no "supersedes", then
// no values either, at last no changes. Errors: as OpReader.
Result<std::string> change_json(const RunStream& of, const Event& event);

// One record of a data topic back as the event that it was written from: with the row (event.h, with its length before it)
// the hash chain can be computed again from the topic alone. Accepts any bytes. Errors: `corrupt`.
struct RecordedEvent {
  RunStream of;
  std::uint64_t seq = 0;
  HybridTime time;
  std::string row;
  std::optional<Digest> chain;  // before it, where it is not that after the record before
};
using RecordHeaders = std::vector<std::pair<std::string_view, std::string_view>>;
Result<RecordedEvent> read_record(std::string_view key, std::string_view value, const RecordHeaders& headers);

// RFC 3339, UTC, milliseconds. Years 1970 to 9999; later times are clamped.
void append_rfc3339(std::int64_t unix_ms, std::string& out);

// The headers of one (run, stream)'s events in CloudEvents' Kafka binary mode. What is the same for all of them is made
// once; one event costs no allocation after the first. Not for two threads at a time.
class CloudEventHeaders {
 public:
  CloudEventHeaders(const RunStream& of, std::string_view trust_domain);

  struct Header {
    std::string_view name, value;
  };
  // Views borrow from `event`, from its row, from `chain` and from this object, until the next call. `chain`: for the
  // header landfall-chain.
  const std::vector<Header>& of(const Event& event, std::string_view row, std::uint64_t seq, bool backfill,
                                const Digest* chain = nullptr);
  // The record's value: the payload as it is; of a change or void its ops as JSON (change_json), while the payload itself,
  // with which the row and so the chain can be computed again, is in a header of its own.
  std::string_view value(const Event& event);
  // device, else subject, else the node: what orders records for a consumer and spreads them in a compacted copy. A device
  // that is named as what would stand for none has the header ce_device too.
  std::string_view key(const Event& event) const;

 private:
  std::string run_, node_, source_, id_;
  std::size_t id_prefix_;
  std::string_view stream_;
  RunStream of_;
  bool tells(const Event& event, std::string_view row);

  std::string type_, time_, tick_, deps_, rendered_, again_;
  std::int64_t time_second_ = -1;
  std::vector<Header> headers_;
};

}  // namespace landfall
