#include "schemas/flat_message.h"
#include "schemas/limits.h"
#include "schemas/sync_messages.h"
#include "schemas/varint.h"
#include "sync.capnp.h"

namespace landfall {
namespace {

template <class Builder, class Value>
void set_name(Builder& root, const Value& value) {
  NodeId id;
  id.bytes = value.id;
  root.setStream(static_cast<std::uint8_t>(value.stream));
  root.setIdHigh(wire::node_high(id));
  root.setIdLow(wire::node_low(id));
}

template <class Reader, class Value>
Status get_name(const char* what, Reader root, Value& value) {
  if (root.getStream() >= stream_count) return Error{Code::corrupt, std::string(what) + ": unknown stream"};
  value.stream = static_cast<Stream>(root.getStream());
  value.id = wire::make_node(root.getIdHigh(), root.getIdLow()).bytes;
  return ok();
}

template <class Value, class Root, class Read>
Result<Value> decode(const char* what, std::string_view body, const Read& read) {
  Value value;
  auto status = wire::read_flat<Root>(what, body, [&](typename Root::Reader root) -> Status {
    LANDFALL_TRY(get_name(what, root, value));
    return read(root, value);
  });
  if (!status.ok()) return std::move(status).error();
  return value;
}

bool beyond(std::uint64_t offset, std::uint64_t bytes, std::uint64_t total) {
  return offset > total || bytes > total - offset;
}

std::string encode_rows(const std::vector<SnapshotWant::Row>& rows) {
  std::string bytes;
  std::uint32_t next = 0;
  for (const auto& [first, last] : rows) {
    LANDFALL_CHECK(next <= first && first <= last && last < snapshot_parts_max);
    append_varint(bytes, first - next);
    append_varint(bytes, last - first);
    next = last + 1;
  }
  return bytes;
}

Status decode_rows(std::string_view bytes, std::vector<SnapshotWant::Row>& rows) {
  std::uint64_t next = 0;
  while (!bytes.empty()) {
    std::uint64_t between, more;
    if (!take_varint(bytes, between) || !take_varint(bytes, more) || (between == 0 && next != 0))
      return Error{Code::corrupt, "snapshot want: missing parts"};
    if (between >= snapshot_parts_max || more >= snapshot_parts_max || next + between + more >= snapshot_parts_max)
      return Error{Code::out_of_range, "snapshot want: part over the limit"};
    rows.push_back({static_cast<std::uint32_t>(next + between), static_cast<std::uint32_t>(next + between + more)});
    next = rows.back().last + 1;
  }
  return ok();
}

std::string encode_pieces(const std::vector<SnapshotWant::Piece>& pieces) {
  LANDFALL_CHECK(pieces.size() <= snapshot_got_max);
  std::string bytes;
  for (const auto& piece : pieces) {
    append_varint(bytes, std::uint32_t(piece.part + 1));
    append_varint(bytes, piece.offset);
    append_varint(bytes, piece.bytes);
  }
  return bytes;
}

Status decode_pieces(std::string_view bytes, std::vector<SnapshotWant::Piece>& pieces) {
  while (!bytes.empty()) {
    std::uint64_t part, offset, count;
    if (!take_varint(bytes, part) || !take_varint(bytes, offset) || !take_varint(bytes, count))
      return Error{Code::corrupt, "snapshot want: pieces"};
    if (part > snapshot_parts_max || beyond(offset, count, snapshot_bytes_max) || pieces.size() == snapshot_got_max)
      return Error{Code::out_of_range, "snapshot want: piece over the limits"};
    pieces.push_back(
        {static_cast<std::uint32_t>(part) - 1, static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(count)});
  }
  return ok();
}

}  // namespace

std::string encode(const SnapshotOffer& offer) {
  LANDFALL_CHECK(offer.total <= frame_bytes_max && !beyond(offer.offset, offer.bytes.size(), offer.total));
  return wire::build_flat<wire::SnapshotOffer>(wire::data_words(offer.bytes.size()),
                                               [&](wire::SnapshotOffer::Builder root) {
                                                 set_name(root, offer);
                                                 root.setTotal(offer.total);
                                                 root.setOffset(offer.offset);
                                                 if (!offer.bytes.empty()) root.setBytes(wire::data(offer.bytes));
                                               });
}

Result<SnapshotOffer> decode_snapshot_offer(std::string_view body) {
  return decode<SnapshotOffer, wire::SnapshotOffer>(
      "snapshot offer", body, [](wire::SnapshotOffer::Reader root, SnapshotOffer& offer) -> Status {
        offer.total = root.getTotal();
        offer.offset = root.getOffset();
        const std::string_view bytes = wire::view(root.getBytes());
        if (offer.total > frame_bytes_max) return Error{Code::out_of_range, "snapshot offer: manifest over the limit"};
        if (beyond(offer.offset, bytes.size(), offer.total))
          return Error{Code::out_of_range, "snapshot offer: piece beyond the manifest"};
        offer.bytes = bytes;
        return ok();
      });
}

std::string encode(const SnapshotPart& part) {
  LANDFALL_CHECK(part.part < snapshot_parts_max && !beyond(part.offset, part.bytes.size(), snapshot_bytes_max));
  return wire::build_flat<wire::SnapshotPart>(wire::data_words(part.bytes.size()),
                                              [&](wire::SnapshotPart::Builder root) {
                                                set_name(root, part);
                                                root.setPart(part.part);
                                                root.setOffset(part.offset);
                                                if (!part.bytes.empty()) root.setBytes(wire::data(part.bytes));
                                              });
}

Result<SnapshotPart> decode_snapshot_part(std::string_view body) {
  return decode<SnapshotPart, wire::SnapshotPart>(
      "snapshot part", body, [](wire::SnapshotPart::Reader root, SnapshotPart& part) -> Status {
        part.part = root.getPart();
        part.offset = root.getOffset();
        const std::string_view bytes = wire::view(root.getBytes());
        if (part.part >= snapshot_parts_max || beyond(part.offset, bytes.size(), snapshot_bytes_max))
          return Error{Code::out_of_range, "snapshot part: over the limits"};
        if (bytes.empty()) return Error{Code::corrupt, "snapshot part: no bytes"};
        part.bytes = bytes;
        return ok();
      });
}

std::string encode(const SnapshotWant& want) {
  const std::string missing = encode_rows(want.missing), got = encode_pieces(want.got);
  return wire::build_flat<wire::SnapshotWant>(wire::data_words(missing.size()) + wire::data_words(got.size()),
                                              [&](wire::SnapshotWant::Builder root) {
                                                set_name(root, want);
                                                root.setAsks(want.asks);
                                                if (!missing.empty()) root.setMissing(wire::data(missing));
                                                if (!got.empty()) root.setGot(wire::data(got));
                                              });
}

Result<SnapshotWant> decode_snapshot_want(std::string_view body) {
  return decode<SnapshotWant, wire::SnapshotWant>(
      "snapshot want", body, [](wire::SnapshotWant::Reader root, SnapshotWant& want) -> Status {
        want.asks = root.getAsks();
        LANDFALL_TRY(decode_rows(wire::view(root.getMissing()), want.missing));
        return decode_pieces(wire::view(root.getGot()), want.got);
      });
}

}  // namespace landfall
