#include <cstring>

#include "schemas/flat_message.h"
#include "schemas/limits.h"
#include "schemas/sync_messages.h"
#include "schemas/text.h"
#include "sync.capnp.h"

namespace landfall {
namespace {

constexpr auto clock_max = static_cast<std::uint8_t>(ClockClass::authenticated);
constexpr auto streams_max = static_cast<std::uint8_t>((1u << stream_count) - 1);
constexpr std::uint8_t understands_digest = 1, understands_snapshot = 2, understands_voids = 4;

// Copies text of at most bytes_max. A line may hold no control characters; a PEM block has line ends.
Status copy_line(const char* what, capnp::Text::Reader from, std::size_t bytes_max, std::string& to) {
  const std::string_view text = wire::view(from);
  if (text.size() > bytes_max)
    return Error{Code::out_of_range, std::string(what) + " over " + std::to_string(bytes_max) + " bytes"};
  if (!is_clean_text(text)) return Error{Code::corrupt, std::string(what) + " is not UTF-8 without control characters"};
  to = text;
  return ok();
}
Status copy_pem(const char* what, capnp::Text::Reader from, std::string& to) {
  const std::string_view text = wire::view(from);
  if (text.size() > pem_bytes_max)
    return Error{Code::out_of_range, std::string(what) + " over " + std::to_string(pem_bytes_max) + " bytes"};
  // OpenSSL reads PEM up to the first NUL: what it does not see must not pass.
  if (text.find('\0') != text.npos) return Error{Code::corrupt, std::string(what) + " holds a NUL byte"};
  to = text;
  return ok();
}
Status copy_context(const char* what, capnp::Data::Reader from, std::string& to) {
  if (from.size() > received_context_bytes_max)
    return Error{Code::out_of_range, std::string(what) + ": received context over the limit"};
  to = wire::view(from);
  return ok();
}

// Cuts a line to length at a character boundary.
std::string cut(std::string_view text, std::size_t bytes_max) {
  if (text.size() > bytes_max) {
    while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xc0) == 0x80) --bytes_max;
    text = text.substr(0, bytes_max);
  }
  return std::string(text);
}

template <class Value, class Root, class Read>
Result<Value> decode(std::string_view what, std::string_view body, const Read& read) {
  Value value;
  auto status = wire::read_flat<Root>(what, body, [&](typename Root::Reader root) { return read(root, value); });
  if (!status.ok()) return std::move(status).error();
  return value;
}

}  // namespace

std::string encode(const Hello& hello) {
  LANDFALL_CHECK(hello.software.size() <= text_bytes_max && hello.have.size() <= received_context_bytes_max);
  LANDFALL_CHECK(hello.committed.size() <= received_context_bytes_max);
  const std::size_t words = wire::data_words(hello.have.size()) + wire::data_words(hello.committed.size()) +
                            wire::text_words(hello.software.size());
  return wire::build_flat<wire::Hello>(words, [&](wire::Hello::Builder root) {
    root.setProtocol(hello.protocol);
    root.setClock(static_cast<std::uint8_t>(hello.clock));
    root.setWants(hello.wants);
    root.setCreditBytes(hello.credit_bytes);
    root.setNodeHigh(wire::node_high(hello.node));
    root.setNodeLow(wire::node_low(hello.node));
    root.setRunNodeHigh(wire::node_high(hello.run.node));
    root.setRunNodeLow(wire::node_low(hello.run.node));
    root.setRunCounter(hello.run.counter);
    root.setRunNonce(hello.run.nonce);
    root.setTime(hello.time.value);
    root.setHave(wire::data(hello.have));
    root.setCommitted(wire::data(hello.committed));
    root.setSoftware(wire::text(hello.software));
    root.setRelays(hello.relays);
    root.setUnderstands(static_cast<std::uint8_t>((hello.understands_digest ? understands_digest : 0) |
                                                  (hello.understands_snapshot ? understands_snapshot : 0) |
                                                  (hello.understands_voids ? understands_voids : 0)));
  });
}

Result<Hello> decode_hello(std::string_view body) {
  return decode<Hello, wire::Hello>("hello", body, [](wire::Hello::Reader root, Hello& hello) -> Status {
    hello.protocol = root.getProtocol();
    if (hello.protocol == 0) return Error{Code::corrupt, "hello: protocol 0"};
    if (root.getClock() > clock_max) return Error{Code::corrupt, "hello: unknown clock class"};
    hello.clock = static_cast<ClockClass>(root.getClock());
    // Streams of a newer version are none that this node has.
    hello.wants = root.getWants() & streams_max;
    hello.relays = root.getRelays() & streams_max;
    hello.understands_digest = (root.getUnderstands() & understands_digest) != 0;
    hello.understands_snapshot = (root.getUnderstands() & understands_snapshot) != 0;
    hello.understands_voids = (root.getUnderstands() & understands_voids) != 0;
    hello.credit_bytes = root.getCreditBytes();
    hello.node = wire::make_node(root.getNodeHigh(), root.getNodeLow());
    hello.run = {wire::make_node(root.getRunNodeHigh(), root.getRunNodeLow()), root.getRunCounter(),
                 root.getRunNonce()};
    hello.time.value = root.getTime();
    LANDFALL_TRY(copy_context("hello: have", root.getHave(), hello.have));
    LANDFALL_TRY(copy_context("hello: committed", root.getCommitted(), hello.committed));
    return copy_line("hello: software", root.getSoftware(), text_bytes_max, hello.software);
  });
}

std::string encode(const Ack& ack) {
  LANDFALL_CHECK(ack.committed.size() <= received_context_bytes_max && ack.lost.size() <= received_context_bytes_max);
  const std::size_t words = wire::data_words(ack.committed.size()) + wire::data_words(ack.lost.size());
  return wire::build_flat<wire::Ack>(words, [&](wire::Ack::Builder root) {
    root.setCommitted(wire::data(ack.committed));
    root.setCreditBytes(ack.credit_bytes);
    if (!ack.lost.empty()) root.setLost(wire::data(ack.lost));
  });
}

Result<Ack> decode_ack(std::string_view body) {
  return decode<Ack, wire::Ack>("ack", body, [](wire::Ack::Reader root, Ack& ack) -> Status {
    ack.credit_bytes = root.getCreditBytes();
    LANDFALL_TRY(copy_context("ack: committed", root.getCommitted(), ack.committed));
    return copy_context("ack: lost", root.getLost(), ack.lost);
  });
}

std::string encode(const Digests& digests) {
  std::uint8_t streams = 0;
  std::string bytes;
  for (const Digests::OfStream& one : digests.streams) {
    const auto bit = static_cast<std::uint8_t>(1u << static_cast<int>(one.stream));
    LANDFALL_CHECK(streams < bit);
    streams |= bit;
    for (const Digest* digest : {&one.context, &one.state})
      bytes.append(reinterpret_cast<const char*>(digest->data()), digest->size());
  }
  return wire::build_flat<wire::Digests>(wire::data_words(bytes.size()), [&](wire::Digests::Builder root) {
    root.setStreams(streams);
    root.setDigests(wire::data(bytes));
  });
}

Result<Digests> decode_digests(std::string_view body) {
  return decode<Digests, wire::Digests>("digest", body, [](wire::Digests::Reader root, Digests& digests) -> Status {
    std::string_view bytes = wire::view(root.getDigests());
    // A newer version may have more streams; they follow those that this node has.
    const std::uint8_t streams = root.getStreams() & streams_max;
    for (std::size_t s = 0; s < stream_count; ++s) {
      if ((streams >> s & 1) == 0) continue;
      Digests::OfStream one{static_cast<Stream>(s), {}, {}};
      for (Digest* digest : {&one.context, &one.state}) {
        if (bytes.size() < digest->size()) return Error{Code::corrupt, "digest: too short"};
        std::memcpy(digest->data(), bytes.data(), digest->size());
        bytes.remove_prefix(digest->size());
      }
      digests.streams.push_back(one);
    }
    return ok();
  });
}

std::string encode(const Heartbeat& heartbeat) {
  return wire::build_flat<wire::Heartbeat>(0,
                                           [&](wire::Heartbeat::Builder root) { root.setTime(heartbeat.time.value); });
}

Result<Heartbeat> decode_heartbeat(std::string_view body) {
  return decode<Heartbeat, wire::Heartbeat>("heartbeat", body, [](wire::Heartbeat::Reader root, Heartbeat& heartbeat) {
    heartbeat.time.value = root.getTime();
    return ok();
  });
}

std::string encode(const Bye& bye) {
  const std::string detail = cut(bye.detail, text_bytes_max);
  return wire::build_flat<wire::Bye>(wire::text_words(detail.size()), [&](wire::Bye::Builder root) {
    root.setCode(static_cast<std::uint8_t>(bye.code));
    root.setDetail(wire::text(detail));
  });
}

Result<Bye> decode_bye(std::string_view body) {
  return decode<Bye, wire::Bye>("bye", body, [](wire::Bye::Reader root, Bye& bye) -> Status {
    const bool known = root.getCode() <= static_cast<std::uint8_t>(Code::denied);
    bye.code = known ? static_cast<Code>(root.getCode()) : Code::unavailable;
    return copy_line("bye: detail", root.getDetail(), text_bytes_max, bye.detail);
  });
}

std::string encode(const Enrol& enrol) {
  LANDFALL_CHECK(enrol.csr_pem.size() <= pem_bytes_max && enrol.name.size() <= text_bytes_max);
  const std::size_t words = wire::text_words(enrol.csr_pem.size()) + wire::text_words(enrol.name.size());
  return wire::build_flat<wire::Enrol>(words, [&](wire::Enrol::Builder root) {
    root.setCsrPem(wire::text(enrol.csr_pem));
    root.setName(wire::text(enrol.name));
  });
}

Result<Enrol> decode_enrol(std::string_view body) {
  return decode<Enrol, wire::Enrol>("enrol", body, [](wire::Enrol::Reader root, Enrol& enrol) -> Status {
    LANDFALL_TRY(copy_pem("enrol: request", root.getCsrPem(), enrol.csr_pem));
    return copy_line("enrol: name", root.getName(), text_bytes_max, enrol.name);
  });
}

std::string encode(const Enrolled& enrolled) {
  LANDFALL_CHECK(enrolled.chain_pem.size() <= pem_bytes_max && enrolled.bundle_pem.size() <= pem_bytes_max);
  const std::size_t words = wire::text_words(enrolled.chain_pem.size()) + wire::text_words(enrolled.bundle_pem.size());
  return wire::build_flat<wire::Enrolled>(words, [&](wire::Enrolled::Builder root) {
    root.setChainPem(wire::text(enrolled.chain_pem));
    root.setBundlePem(wire::text(enrolled.bundle_pem));
  });
}

Result<Enrolled> decode_enrolled(std::string_view body) {
  return decode<Enrolled, wire::Enrolled>(
      "enrolled", body, [](wire::Enrolled::Reader root, Enrolled& enrolled) -> Status {
        LANDFALL_TRY(copy_pem("enrolled: chain", root.getChainPem(), enrolled.chain_pem));
        return copy_pem("enrolled: bundle", root.getBundlePem(), enrolled.bundle_pem);
      });
}

}  // namespace landfall
