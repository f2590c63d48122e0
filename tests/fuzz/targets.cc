#include "targets.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cloudsync/hub/cloud_event.h"
#include "crdt/document.h"
#include "crdt/received_context.h"
#include "crdt/register.h"
#include "crdt/state.h"
#include "devicetwin/device_requests.h"
#include "devicetwin/device_topics.h"
#include "devicetwin/twin_codec.h"
#include "devicetwin/twin_json.h"
#include "eventlog/snapshot.h"
#include "eventlog/snapshot_part.h"
#include "schemas/chunk.h"
#include "schemas/columns.h"
#include "schemas/event.h"
#include "schemas/frame.h"
#include "schemas/ids.h"
#include "schemas/limits.h"
#include "schemas/op.h"
#include "schemas/sync_messages.h"
#include "schemas/varint.h"

// The promise beside not crashing: what a decoder accepts is a value, and a value encodes and decodes as itself.

namespace landfall::fuzz {
namespace {

void row(std::string_view bytes) {
  auto event = decode_row(bytes);
  if (!event.ok()) return;
  std::string rows;
  LANDFALL_CHECK(encode_row(*event, rows).ok());
  RowReader reader(rows);
  auto again = decode_row(reader.next());
  LANDFALL_CHECK(again.ok() && again->payload == event->payload && again->subject == event->subject);
  LANDFALL_CHECK(again->deps == event->deps && again->id == event->id && again->time == event->time);
  (void)decode_deps(event->deps);
}

void rows(std::string_view bytes) {
  RowReader reader(bytes);
  std::size_t total = 0;
  for (std::string_view next = reader.next(); !next.empty(); next = reader.next()) total += next.size();
  LANDFALL_CHECK(total <= bytes.size());
}

void deps(std::string_view bytes) {
  auto dots = decode_deps(bytes);
  if (dots.ok()) LANDFALL_CHECK(encode_deps(*dots) == bytes);
}

void run_start(std::string_view bytes) {
  auto start = decode_run_start(bytes);
  if (!start.ok()) return;
  const std::string encoded = encode_run_start(*start);
  LANDFALL_CHECK(encode_run_start(decode_run_start(encoded).value()) == encoded);
}

void chunk(std::string_view bytes) {
  auto decoded = decode_chunk(bytes);
  if (!decoded.ok()) return;
  LANDFALL_CHECK(read_chunk_header(bytes).value() == decoded->header);
  const std::string encoded = encode_chunk(decoded->header, decoded->rows);
  LANDFALL_CHECK(decode_chunk(encoded).value().rows == decoded->rows);
}

// Behind `count u8 | rows_bytes u16 LE`, which a chunk's header states: without one, most columns are behind zstd, where
// a mutant never comes.
void columns_of_rows(std::string_view bytes) {
  if (bytes.size() < 3) return;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])); };
  ChunkHeader header;
  header.of = {{{}, 1, 1}, Stream::desired};
  header.first = 1;
  header.last = 1 + byte(0);
  header.rows_bytes = byte(1) | byte(2) << 8;
  std::string rows;
  if (!columns::decode(header, bytes.substr(3), rows).ok()) return;
  LANDFALL_CHECK(rows.size() == header.rows_bytes);
  const std::string stored = columns::encode(header, rows);
  std::string again;
  LANDFALL_CHECK(stored.empty() || (columns::decode(header, stored, again).ok() && again == rows));
}

void change(std::string_view bytes) {
  const RunStream of{{{}, 1, 1}, Stream::desired};
  auto ops = decode_ops(bytes, of);
  if (ops.ok()) LANDFALL_CHECK(encode_ops(*ops, of).value() == bytes);
  if (!is_op_path(bytes)) return;
  const std::string token = unescape_token(bytes);
  LANDFALL_CHECK(unescape_token(escape_token(token)) == token && is_op_path("/" + escape_token(token)));
}

std::vector<std::string> frames_of(std::string_view bytes, std::size_t step) {
  FrameReader reader;
  std::vector<std::string> bodies;
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, step);
    bytes.remove_prefix(part.size());
    while (true) {
      auto frame = reader.next(part);
      if (!frame.ok()) {
        if (frame.error().code != Code::not_found) return bodies;
        break;
      }
      bodies.emplace_back(frame->body);
    }
  }
  return bodies;
}
void frames(std::string_view bytes) {
  LANDFALL_CHECK(frames_of(bytes, bytes.size()) == frames_of(bytes, 7));
  // Behind a right checksum, which mutation alone never finds.
  const std::string framed = encode_frame(FrameType::chunk, bytes.substr(0, frame_before_hello_bytes_max));
  LANDFALL_CHECK(frames_of(framed, 100).size() == 1);
}

template <auto decode>
void message(std::string_view bytes) {
  auto value = decode(bytes);
  if (!value.ok()) return;
  const std::string encoded = encode(*value);
  auto again = decode(encoded);
  LANDFALL_CHECK(again.ok() && encode(*again) == encoded);
}

void received_context(std::string_view bytes) {
  auto context = ReceivedContext::decode(bytes);
  if (context.ok()) {
    const std::string encoded = context->encode();
    auto again = ReceivedContext::decode(encoded);
    LANDFALL_CHECK(again.ok() && *again == *context && again->encode() == encoded);
    ReceivedContext joined = *context;
    joined.join(*again);
    LANDFALL_CHECK(joined == *context);
  }
  const RunStream of{{{}, 1, 1}, Stream::alarm};
  ReceivedContext entry;
  if (entry.decode_entry(of, bytes).ok()) {
    LANDFALL_CHECK(entry.base(of) <= entry.max(of));
    const auto missing = entry.missing(of, 1, entry.max(of) + 1);
    LANDFALL_CHECK(!missing.empty() && missing.back().last == entry.max(of) + 1);
  }
}

void snapshot_manifest(std::string_view bytes) {
  auto manifest = decode_snapshot_manifest(bytes);
  if (!manifest.ok()) return;
  const std::string encoded = encode(*manifest);
  auto again = decode_snapshot_manifest(encoded);
  LANDFALL_CHECK(again.ok() && *again == *manifest && manifest->bytes() <= snapshot_bytes_max);
}

// As it comes, and as the columns of a part that is not compressed: behind zstd a mutant never comes there.
void snapshot_part(std::string_view bytes) {
  std::string plain{1, 0};
  append_varint(plain, bytes.size());
  plain += bytes;
  for (const std::string_view part : {bytes, std::string_view(plain)}) {
    auto objects = decode_snapshot_part(Stream::desired, part);
    if (!objects.ok()) continue;
    std::size_t size = 0;
    for (const SnapshotObject& object : *objects) size += snapshot_bytes(object);
    LANDFALL_CHECK(size <= snapshot_part_bytes_max);
    auto again = decode_snapshot_part(Stream::desired, encode_snapshot_part(*objects));
    LANDFALL_CHECK(again.ok() && *again == *objects);
  }
}

void ids(std::string_view bytes) {
  if (auto dot = parse_dot(bytes); dot.ok()) LANDFALL_CHECK(to_string(*dot) == bytes);
}

// Lines, each one change of a document: a patch, after '=' a whole document, after '!' a value as a foreign writer may send.
void document(std::string_view bytes) {
  const DocumentPlace place{"",
                            {{"/s", Merge::set}, {"/c", Merge::counter}, {"/a", Merge::atomic}, {"/m", Merge::min}}};
  const RunStream of{{{}, 1, 1}, Stream::document};
  struct Copy {
    State state;
    std::uint64_t seq = 0;
    Entries see() const { return state.object(Stream::document, "doc/x"); }
    bool write(const RunStream& as, Result<std::vector<Op>> ops) {
      if (!ops) return false;
      for (auto& part : split_ops(*std::move(ops))) {
        const std::string payload = encode_ops(part, as).value();
        Event event;
        event.kind = Kind::change;
        event.subject = "doc/x";
        event.payload = payload;
        LANDFALL_CHECK(state.apply({as.run, as.stream, ++seq}, event).ok());
      }
      return true;
    }
  };
  Copy copy, again;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', at), bytes.size());
    const std::string_view line = bytes.substr(at, end - at);
    const std::string_view rest = line.substr(line.empty() ? 0 : 1);
    at = end + 1;
    if (line.starts_with('=')) {
      copy.write(of, replace_ops(copy.see(), place, of.run, rest));
    } else if (line.starts_with('!')) {
      copy.write(of, std::vector<Op>{put_op(copy.see(), "/x", std::string(rest))});
    } else {
      copy.write(of, patch_ops(copy.see(), place, of.run, line));
    }
  }
  const Entries entries = copy.see();
  const auto json = view_document(entries, place).json;
  if (!json || !again.write(of, replace_ops({}, place, of.run, *json))) return;
  LANDFALL_CHECK(view_document(again.see(), place).json == json);
}

// A topic in the first line, what is published there behind it.
void device_request(std::string_view bytes) {
  const auto line = std::min(bytes.find('\n'), bytes.size());
  const auto topic = read_request_topic(bytes.substr(0, line));
  if (!topic) return;
  const auto device = device_of_level(topic->level);
  if (device.ok()) LANDFALL_CHECK(device_of_level(device_level(*device)).value() == *device);
  const std::string_view payload = bytes.substr(std::min(line + 1, bytes.size()));
  if (DeviceTopics::is_alarm(bytes.substr(0, line), payload))
    LANDFALL_CHECK(topic->what == DeviceRequestTopic::What::alarm && device.ok());
  const auto request = read_request(*topic, payload);
  if (!request.ok()) return;
  LANDFALL_CHECK(request->device == *device);
  if (!request->result.empty()) LANDFALL_CHECK(nlohmann::json::accept(request->result));
  for (const auto& [name, said] : request->reported) LANDFALL_CHECK(!said || nlohmann::json::accept(said->value));
  if (topic->what != DeviceRequestTopic::What::desired) return;
  auto whole = nlohmann::json::object();
  for (const auto& [name, value] : request->desired)
    whole[name] = value ? nlohmann::json::parse(*value) : nlohmann::json();
  LANDFALL_CHECK(whole == nlohmann::json::parse(payload));
}

// A value that is read is shown, whatever it is taken for: desired on both layers, reported, an attribute, a definition.
void twin_value(std::string_view bytes) {
  auto value = decode_twin_value(bytes);
  if (value) LANDFALL_CHECK(decode_twin_value(encode_twin_value(*value).value()).value() == *value);
  const auto live = [&](std::string path, Stream stream, std::uint64_t seq) {
    return Entry{std::move(path), {{{}, 1, 1}, stream, seq}, {}, {}, std::string(bytes)};
  };
  const Entries desired = {live("/p/a/c", Stream::desired, 1), live("/p/a/e", Stream::desired, 2)};
  const Entries reported = {live("/p/a", Stream::reported, 1), live("/s", Stream::reported, 2)};
  const Entries document = {live("/attributes/a", Stream::document, 1), live("/def/a", Stream::document, 2)};
  std::size_t unreadable = 0;
  const std::string json = twin_json(view_twin("d", desired, reported, document, &unreadable));
  LANDFALL_CHECK(nlohmann::json::accept(json) && (value.ok() || unreadable == 6));
  if (auto canonical = canonical_json(bytes)) LANDFALL_CHECK(canonical_json(*canonical).value() == *canonical);
}

// "name: value" lines, an empty one, the key's line, the value. What is read is written, and read again, as the same row.
void kafka_record(std::string_view bytes) {
  const auto line = [&] {
    const auto end = bytes.find('\n');
    const auto text = bytes.substr(0, end);
    bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
    return text;
  };
  RecordHeaders headers;
  for (auto text = line(); !text.empty(); text = line()) {
    const auto colon = text.find(": ");
    if (colon != std::string_view::npos) headers.emplace_back(text.substr(0, colon), text.substr(colon + 2));
  }
  const auto key = line();
  const auto read = read_record(key, bytes, headers);
  if (!read) return;
  RowReader rows(read->row);
  const std::string_view row = rows.next();
  const auto event = decode_row(row);
  LANDFALL_CHECK(event.ok() && rows.next().empty());
  CloudEventHeaders carried(read->of, "landfall");
  RecordHeaders written;
  for (const auto& header : carried.of(*event, row, read->seq, false)) written.emplace_back(header.name, header.value);
  const auto again = read_record(carried.key(*event), carried.value(*event), written);
  LANDFALL_CHECK(again.ok() && again->of == read->of && again->seq == read->seq && again->row == read->row);
}

constexpr Target all[] = {
    {"row", row},
    {"rows", rows},
    {"deps", deps},
    {"run_start", run_start},
    {"chunk", chunk},
    {"change", change},
    {"columns", columns_of_rows},
    {"frames", frames},
    {"hello", message<decode_hello>},
    {"ack", message<decode_ack>},
    {"digest", message<decode_digests>},
    {"snapshot_offer", message<decode_snapshot_offer>},
    {"snapshot_part_frame", message<static_cast<Result<SnapshotPart> (*)(std::string_view)>(decode_snapshot_part)>},
    {"snapshot_want", message<decode_snapshot_want>},
    {"heartbeat", message<decode_heartbeat>},
    {"bye", message<decode_bye>},
    {"enrol", message<decode_enrol>},
    {"enrolled", message<decode_enrolled>},
    {"received_context", received_context},
    {"snapshot_manifest", snapshot_manifest},
    {"snapshot_part", snapshot_part},
    {"ids", ids},
    {"twin_value", twin_value},
    {"document", document},
    {"device_request", device_request},
    {"kubeedge_topic", kubeedge_topic},
    {"kubeedge_message", kubeedge_message},
    {"kubeedge_import", kubeedge_import},
    {"kafka_record", kafka_record},
    {"api_body", api_body},
    {"event_input", event_input},
};

}  // namespace

std::span<const Target> targets() { return all; }

}  // namespace landfall::fuzz
