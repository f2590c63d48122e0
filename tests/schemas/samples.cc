#include "samples.h"

namespace landfall::samples {

NodeId node(std::uint8_t first) {
  NodeId id;
  for (auto& byte : id.bytes) byte = first++;
  return id;
}
RunId run(std::uint8_t first, std::uint32_t counter) { return {node(first), counter, 0x89abcdef}; }
Digest digest(std::uint8_t first) {
  Digest value;
  for (auto& byte : value) byte = first++;
  return value;
}

Event event() {
  Event event;
  event.time = {0x018f'1234'5678'0003};
  event.clock = ClockClass::authenticated;
  event.kind = Kind::alarm;
  event.retained = true;
  event.subject = "landfall/pump-7/alarm/överhettning";
  event.content_type = "application/json";
  event.source = "//ship/bridge";
  event.id = "m-17";
  event.device = "pump-7";
  static const std::string deps = encode_deps({{run(1, 2), Stream::alarm, 300}, {run(1, 2), Stream::control, 1}});
  event.deps = deps;
  event.payload = R"({"t":91.5})";
  return event;
}

RunStart run_start() {
  RunStart start;
  start.parent = run(1, 6);
  start.parent_heads = {{Stream::control, 3, digest(1)}, {Stream::telemetry, 70'000, digest(2)}};
  start.boot_id = "6e2f0a52-8d1c-4e0e-9a52-51d3a1f1b0c4";
  start.software = "landfall 0.1.0";
  start.clock = ClockClass::synced;
  start.degraded = true;
  return start;
}

Hello hello() {
  Hello hello;
  hello.node = node(3);
  hello.run = run(3, 9);
  hello.time = {0x018f'1234'5678'0004};
  hello.clock = ClockClass::holdover;
  hello.wants = 0x6f;
  hello.credit_bytes = 1 << 23;
  hello.have = "have, as bytes";
  hello.committed = std::string("\0\x01\x02", 3);
  hello.software = "landfall 0.1.0";
  hello.relays = 0x14;
  hello.understands_digest = true;
  hello.understands_snapshot = true;
  return hello;
}

Digests digests() {
  Digests digests;
  for (const Stream stream : {Stream::desired, Stream::document}) {
    Digests::OfStream one{stream, {}, {}};
    one.context.fill(static_cast<std::uint8_t>(stream));
    one.state.fill(0xab);
    digests.streams.push_back(one);
  }
  return digests;
}

SnapshotOffer snapshot_offer() { return {Stream::desired, node(1).bytes, 300, 100, "of a manifest"}; }

SnapshotPart snapshot_part() { return {Stream::document, node(1).bytes, 7, 4096, "of a part"}; }

SnapshotWant snapshot_want() {
  return {Stream::document,
          node(1).bytes,
          true,
          {{0, 0}, {2, 300}, {1000, 1000}},
          {{snapshot_manifest_part, 0, 300}, {1, 4096, 77}}};
}

Enrolled enrolled() {
  return {"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
          "-----BEGIN CERTIFICATE-----\nMB==\n-----END CERTIFICATE-----\n"};
}

Rows rows(std::uint64_t count, std::size_t payload_bytes) {
  Rows made;
  made.header.of = {run(1, 7), Stream::telemetry};
  made.header.first = 41;
  made.header.last = 40 + count;
  made.header.time_min = {1000};
  made.header.time_max = {999 + count};
  made.header.chain_before = digest(10);
  made.header.chain_after = digest(20);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string payload = "{\"value\":" + std::to_string(i * i) + "}";
    payload.resize(payload_bytes, ' ');
    Event event;
    event.time = {1000 + i};
    event.kind = Kind::telemetry;
    event.subject = "landfall/pump-7/telemetry/flow";
    event.payload = payload;
    LANDFALL_CHECK(encode_row(event, made.rows).ok());
  }
  return made;
}

bool same(const Event& a, const Event& b) {
  return a.time == b.time && a.clock == b.clock && a.kind == b.kind && a.retained == b.retained &&
         a.subject == b.subject && a.content_type == b.content_type && a.source == b.source && a.id == b.id &&
         a.device == b.device && a.actor == b.actor && a.deps == b.deps && a.chain == b.chain && a.payload == b.payload;
}

}  // namespace landfall::samples
