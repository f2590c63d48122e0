// Properties: a message holds every field; cut or changed bytes are refused or read as some message within the limits.

#include <gtest/gtest.h>

#include <functional>

#include "samples.h"
#include "schemas/limits.h"
#include "schemas/sync_messages.h"

namespace landfall {
namespace {

TEST(SyncMessages, HoldEveryField) {
  const Hello hello = samples::hello();
  auto h = decode_hello(encode(hello));
  ASSERT_TRUE(h.ok()) << h.error().detail;
  EXPECT_EQ(h->protocol, 1);
  EXPECT_EQ(h->node, hello.node);
  EXPECT_EQ(h->run, hello.run);
  EXPECT_EQ(h->time, hello.time);
  EXPECT_EQ(h->clock, hello.clock);
  EXPECT_EQ(h->wants, hello.wants);
  EXPECT_EQ(h->credit_bytes, hello.credit_bytes);
  EXPECT_EQ(h->have, hello.have);
  EXPECT_EQ(h->committed, hello.committed);
  EXPECT_EQ(h->software, hello.software);
  EXPECT_EQ(h->relays, hello.relays);
  EXPECT_TRUE(h->understands_digest);
  EXPECT_TRUE(h->understands_snapshot);

  const auto digests = decode_digests(encode(samples::digests())).value();
  ASSERT_EQ(digests.streams.size(), 2u);
  EXPECT_EQ(digests.streams[1].stream, Stream::document);
  EXPECT_EQ(digests.streams[1].context, samples::digests().streams[1].context);
  EXPECT_EQ(digests.streams[1].state, samples::digests().streams[1].state);

  const auto offer = decode_snapshot_offer(encode(samples::snapshot_offer())).value();
  EXPECT_EQ(offer.stream, Stream::desired);
  EXPECT_EQ(offer.id, samples::snapshot_offer().id);
  EXPECT_EQ(offer.total, 300u);
  EXPECT_EQ(offer.offset, 100u);
  EXPECT_EQ(offer.bytes, "of a manifest");
  const auto part = decode_snapshot_part(encode(samples::snapshot_part())).value();
  EXPECT_EQ(part.stream, Stream::document);
  EXPECT_EQ(part.id, samples::snapshot_part().id);
  EXPECT_EQ(part.part, 7u);
  EXPECT_EQ(part.offset, 4096u);
  EXPECT_EQ(part.bytes, "of a part");
  const auto want = decode_snapshot_want(encode(samples::snapshot_want())).value();
  EXPECT_EQ(want.stream, Stream::document);
  EXPECT_EQ(want.id, samples::snapshot_want().id);
  EXPECT_TRUE(want.asks);
  EXPECT_EQ(want.missing, samples::snapshot_want().missing);
  EXPECT_EQ(want.got, samples::snapshot_want().got);

  auto ack = decode_ack(encode(Ack{"context", 77, "lost"})).value();
  EXPECT_EQ(ack.lost, "lost");
  EXPECT_EQ(ack.committed, "context");
  EXPECT_EQ(ack.credit_bytes, 77u);
  EXPECT_EQ(decode_heartbeat(encode(Heartbeat{{99}})).value().time.value, 99u);
  auto bye = decode_bye(encode(Bye{Code::denied, "certificate expired"})).value();
  EXPECT_EQ(bye.code, Code::denied);
  EXPECT_EQ(bye.detail, "certificate expired");
  auto enrol = decode_enrol(encode(Enrol{"-----BEGIN\n", "ship 7"})).value();
  EXPECT_EQ(enrol.csr_pem, "-----BEGIN\n");
  EXPECT_EQ(enrol.name, "ship 7");
  auto enrolled = decode_enrolled(encode(samples::enrolled())).value();
  EXPECT_EQ(enrolled.chain_pem, samples::enrolled().chain_pem);
  EXPECT_EQ(enrolled.bundle_pem, samples::enrolled().bundle_pem);
}

struct Message {
  const char* name;
  std::string bytes;
  std::function<bool(std::string_view)> decodes;
};

std::vector<Message> messages() {
  return {{"hello", encode(samples::hello()), [](std::string_view b) { return decode_hello(b).ok(); }},
          {"ack", encode(Ack{"context", 77, "lost"}), [](std::string_view b) { return decode_ack(b).ok(); }},
          {"digest", encode(samples::digests()), [](std::string_view b) { return decode_digests(b).ok(); }},
          {"snapshot offer", encode(samples::snapshot_offer()),
           [](std::string_view b) { return decode_snapshot_offer(b).ok(); }},
          {"snapshot part", encode(samples::snapshot_part()),
           [](std::string_view b) { return decode_snapshot_part(b).ok(); }},
          {"snapshot want", encode(samples::snapshot_want()),
           [](std::string_view b) { return decode_snapshot_want(b).ok(); }},
          {"heartbeat", encode(Heartbeat{{99}}), [](std::string_view b) { return decode_heartbeat(b).ok(); }},
          {"bye", encode(Bye{Code::denied, "why"}), [](std::string_view b) { return decode_bye(b).ok(); }},
          {"enrol", encode(Enrol{"-----BEGIN\n", "ship 7"}), [](std::string_view b) { return decode_enrol(b).ok(); }},
          {"enrolled", encode(samples::enrolled()), [](std::string_view b) { return decode_enrolled(b).ok(); }},
          {"run start", encode_run_start(samples::run_start()),
           [](std::string_view b) { return decode_run_start(b).ok(); }}};
}

TEST(SyncMessages, TruncationsAreRefusedAndBitFlipsDoNoHarm) {
  for (const Message& message : messages()) {
    SCOPED_TRACE(message.name);
    EXPECT_TRUE(message.decodes(message.bytes));
    for (std::size_t size = 0; size < message.bytes.size(); ++size) {
      EXPECT_FALSE(message.decodes(std::string_view(message.bytes).substr(0, size))) << size;
    }
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < 8 * message.bytes.size(); ++bit) {
      std::string flipped = message.bytes;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << (bit % 8));
      refused += message.decodes(flipped) ? 0 : 1;
    }
    EXPECT_GT(refused, 10u);
  }
}

TEST(SyncMessages, LimitsHold) {
  Hello hello = samples::hello();
  hello.have.assign(received_context_bytes_max, 'x');
  EXPECT_TRUE(decode_hello(encode(hello)).ok());
  EXPECT_EQ(decode_hello(std::string(frame_bytes_max + 8, '\0')).error().code, Code::out_of_range);
  EXPECT_EQ(decode_hello(std::string(8, '\0')).error().code, Code::corrupt) << "protocol 0";
  SnapshotWant want;
  want.missing = {{0, snapshot_parts_max - 1}};
  EXPECT_EQ(decode_snapshot_want(encode(want)).value().missing, want.missing);
  want.got.assign(snapshot_got_max, {snapshot_parts_max - 1, 1, snapshot_bytes_max - 1});
  EXPECT_EQ(decode_snapshot_want(encode(want)).value().got, want.got);
  const std::string euros(300, 'x');
  EXPECT_EQ(decode_bye(encode(Bye{Code::disk, euros})).value().detail, euros.substr(0, text_bytes_max))
      << "details are cut";
  std::string wide(text_bytes_max - 1, 'x');
  EXPECT_EQ(decode_bye(encode(Bye{Code::disk, wide + "ö"})).value().detail, wide) << "at a character";
}

}  // namespace
}  // namespace landfall
