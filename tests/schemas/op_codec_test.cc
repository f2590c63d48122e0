// Properties: a payload gives back its ops, equal ops have equal payloads, and whatever is not the one canonical form, or
// is over a limit, is refused with its reason, when written and when read.

#include <gtest/gtest.h>

#include <algorithm>

#include "samples.h"
#include "schemas/op.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

const RunStream of{samples::run(5, 2), Stream::desired};
const RunId before = samples::run(1, 9), after = samples::run(9, 1);

Dot dot(const RunId& run, std::uint64_t seq) { return {run, of.stream, seq}; }

std::string payload_of(std::vector<Op> ops) {
  auto payload = encode_ops(ops, of);
  if (!payload.ok()) ADD_FAILURE() << payload.error().detail;
  return payload.ok() ? *payload : "";
}

Code written(std::vector<Op> ops) {
  auto payload = encode_ops(ops, of);
  return payload.ok() ? Code::not_found : payload.error().code;
}

Code read(std::string_view payload) {
  auto ops = decode_ops(payload, of);
  return ops.ok() ? Code::not_found : ops.error().code;
}

std::string bytes_of(const RunId& run) {
  std::string bytes(reinterpret_cast<const char*>(run.node.bytes.data()), run.node.bytes.size());
  for (const std::uint32_t number : {run.counter, run.nonce}) {
    for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<char>(number >> (8 * i)));
  }
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  append_varint(bytes, value);
  return bytes;
}

// Payloads by hand, so that faults that encode_ops never makes can be written.
std::string head(const std::vector<RunId>& runs) {
  std::string payload = '\1' + varint(runs.size());
  for (const RunId& run : runs) payload += bytes_of(run);
  return payload;
}
std::string op(const std::string& path, const std::vector<std::pair<std::uint64_t, std::uint64_t>>& dots) {
  std::string bytes = varint(path.size() * 2 + 1) + path + varint(dots.size());
  for (const auto& [run, seq] : dots) bytes += varint(run) + varint(seq);
  return bytes + varint(1) + "v";
}

TEST(Change, GivesBackItsOpsInTheOrderOfPathsAndDots) {
  std::vector<Op> ops{{"/p/b", "2", {dot(after, 7), dot(before, 300), dot(of.run, 1), dot(before, 5), dot(after, 7)}},
                      {"", std::nullopt, {dot(of.run, 2)}},
                      {"/p/a~1x", std::string(), {}},
                      {"/p", std::string("\0\xff", 2), {}}};
  const std::string payload = payload_of(ops);
  std::ranges::reverse(ops);
  EXPECT_EQ(payload_of(ops), payload);
  const std::vector<Op> expected{
      {"", std::nullopt, {dot(of.run, 2)}},
      {"/p", std::string("\0\xff", 2), {}},
      {"/p/a~1x", std::string(), {}},
      {"/p/b", "2", {dot(before, 5), dot(before, 300), dot(of.run, 1), dot(after, 7)}},
  };
  EXPECT_EQ(decode_ops(payload, of).value(), expected);
}

TEST(Change, EachRunIsNamedOnceAndTheOwnNever) {
  const std::string one = payload_of({{"/a", "1", {dot(after, 7)}}});
  const std::string two = payload_of({{"/a", "1", {dot(after, 7)}}, {"/b", "1", {dot(after, 8), dot(of.run, 4)}}});
  EXPECT_EQ(one, head({after}) + varint(5) + "/a" + varint(1) + varint(1) + varint(7) + varint(1) + "1");
  EXPECT_EQ(two.substr(0, head({after}).size()), head({after}));
  OpReader reader(two, of.run);
  EXPECT_EQ(reader.runs(), 2u);
  EXPECT_EQ(reader.run(0), of.run);
  EXPECT_EQ(reader.run(1), after);
}

TEST(Change, ManyDotsAndManyRunsComeBack) {
  Op wide{"/a", "1", {}};
  for (std::uint32_t counter = 1; counter <= 100; ++counter)
    wide.supersedes.push_back(dot(samples::run(1, counter), 3));
  Op deep{"/b", "1", {}};
  for (std::uint64_t seq = 1; seq <= op_supersedes_max; ++seq) deep.supersedes.push_back(dot(before, seq << 20));
  const std::vector<Op> ops{wide, deep};
  EXPECT_EQ(decode_ops(payload_of(ops), of).value(), ops);
  std::string unnamed = payload_of({wide});
  unnamed[1] = 101;
  unnamed.insert(2 + 100 * 24, bytes_of(samples::run(1, 101)));
  EXPECT_EQ(read(unnamed), Code::corrupt) << "run 101 has no dot";
}

TEST(Change, WhatIsOverALimitIsNotWritten) {
  EXPECT_EQ(written({}), Code::out_of_range);
  EXPECT_EQ(written({{"/a", "1", {}}, {"/a", "2", {}}}), Code::out_of_range) << "changed twice";
  EXPECT_EQ(written({{"/a", "1", {{before, Stream::alarm, 1}}}}), Code::out_of_range) << "another stream";
  for (const Dot& none : {dot(before, 0), dot(before, seq_max + 1), dot({}, 1)}) {
    EXPECT_EQ(written({{"/a", "1", {none}}}), Code::out_of_range);
  }
  EXPECT_EQ(written({{"/a", std::string(op_value_bytes_max + 1, '1'), {}}}), Code::out_of_range);
  EXPECT_EQ(written({{"/" + std::string(op_path_bytes_max, 'a'), "1", {}}}), Code::out_of_range);
  Op deep{"/b", "1", {}};
  for (std::uint64_t seq = 1; seq <= op_supersedes_max + 1; ++seq) deep.supersedes.push_back(dot(before, seq));
  EXPECT_EQ(written({deep}), Code::out_of_range);
  std::vector<Op> many;
  for (std::size_t i = 0; i <= ops_per_event_max; ++i) many.push_back({"/" + std::to_string(i), "1", {}});
  EXPECT_EQ(written(many), Code::out_of_range);
  many.pop_back();
  EXPECT_EQ(decode_ops(payload_of(many), of).value().size(), ops_per_event_max);
  std::vector<Op> large;
  for (char c = 'a'; c < 'e'; ++c) large.push_back({std::string("/") + c, std::string(op_value_bytes_max, '1'), {}});
  EXPECT_EQ(written(large), Code::out_of_range) << "more than an event holds";
  large.pop_back();
  EXPECT_EQ(decode_ops(payload_of(large), of).value().size(), 3u);
}

TEST(Change, ErrorsShowNoTextThatIsNotClean) {
  std::vector<Op> ops{{"/\x1b[31m", "1", {}}};
  EXPECT_EQ(encode_ops(ops, of).error().detail.find('\x1b'), std::string::npos);
}

TEST(Change, EachFaultIsRefused) {
  ASSERT_EQ(read(head({}) + op("/a", {})), Code::not_found) << "the frame of the cases below is right";
  ASSERT_EQ(read(head({before, after}) + op("/a", {{1, 4}, {0, 9}, {2, 1}})), Code::not_found);
  const std::pair<const char*, std::string> faults[] = {
      {"empty", ""},
      {"version", "\2" + (head({}) + op("/a", {})).substr(1)},
      {"no op", head({})},
      {"more runs than bytes", "\1\5" + bytes_of(before)},
      {"a run without a counter", head({samples::run(1, 0)}) + op("/a", {{1, 1}})},
      {"the own run listed", head({of.run}) + op("/a", {{1, 1}})},
      {"a run twice", head({before, before}) + op("/a", {{1, 1}, {2, 1}})},
      {"runs descending", head({after, before}) + op("/a", {{2, 1}, {1, 1}})},
      {"a run without a dot", head({before, after}) + op("/a", {{1, 4}})},
      {"a run that is not listed", head({before}) + op("/a", {{1, 1}, {2, 1}})},
      {"seq 0", head({}) + op("/a", {{0, 0}})},
      {"seq over the limit", head({}) + op("/a", {{0, seq_max + 1}})},
      {"a dot twice", head({}) + op("/a", {{0, 3}, {0, 3}})},
      {"dots descending", head({}) + op("/a", {{0, 3}, {0, 2}})},
      {"dots not in the order of their runs", head({before}) + op("/a", {{0, 3}, {1, 2}})},
      {"a path twice", head({}) + op("/a", {}) + op("/a", {})},
      {"paths descending", head({}) + op("/b", {}) + op("/a", {})},
      {"a path that is none", head({}) + op("a", {})},
      {"a path over its limit", head({}) + op("/" + std::string(op_path_bytes_max, 'a'), {})},
      {"a control character", head({}) + op("/a\n", {})},
      {"a longer varint", head({}) + std::string("\x85\x00/a\x00\x01v", 7)},
  };
  for (const auto& [what, payload] : faults) EXPECT_EQ(read(payload), Code::corrupt) << what;

  std::string ops;
  std::vector<std::string> paths;
  for (std::size_t i = 0; i <= ops_per_event_max; ++i) paths.push_back("/" + std::to_string(i));
  std::ranges::sort(paths);
  for (const auto& path : paths) ops += op(path, {});
  EXPECT_EQ(read(head({}) + ops), Code::out_of_range);
  EXPECT_EQ(read(head({}) + varint(3) + "/" + varint(0) + varint(op_value_bytes_max + 1) +
                 std::string(op_value_bytes_max + 1, 'v')),
            Code::out_of_range);
  std::string dots;
  for (std::uint64_t seq = 1; seq <= op_supersedes_max + 1; ++seq) dots += varint(0) + varint(seq);
  EXPECT_EQ(read(head({}) + varint(2) + "/" + varint(op_supersedes_max + 1) + dots), Code::out_of_range);
}

TEST(Change, TruncationsAreRefusedAndBitFlipsReadAsWhatTheySay) {
  const std::string payload = payload_of({{"/a", "1", {dot(before, 300), dot(of.run, 2)}}, {"/b~0", "two", {}}});
  const std::size_t whole = payload_of({{"/a", "1", {dot(before, 300), dot(of.run, 2)}}}).size();
  for (std::size_t size = 0; size < payload.size(); ++size) {
    EXPECT_EQ(read(std::string_view(payload).substr(0, size)), size == whole ? Code::not_found : Code::corrupt) << size;
  }
  for (std::size_t bit = 0; bit < 8 * payload.size(); ++bit) {
    std::string flipped = payload;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << (bit % 8));
    auto ops = decode_ops(flipped, of);
    if (!ops.ok()) continue;
    EXPECT_EQ(to_hex(payload_of(*ops)), to_hex(flipped)) << "bit " << bit << ": two payloads for one change";
  }
}

TEST(Change, AReaderStopsAtTheFirstFault) {
  const std::string payload = head({}) + op("/b", {}) + op("/a", {}) + op("/c", {});
  OpReader reader(payload, of.run);
  OpReader::View view;
  ASSERT_TRUE(reader.next(view));
  EXPECT_EQ(view.path, "/b");
  EXPECT_TRUE(reader.status().ok());
  EXPECT_FALSE(reader.next(view));
  EXPECT_EQ(reader.status().error().code, Code::corrupt);
  EXPECT_FALSE(reader.next(view)) << "not even the op behind it";
}

TEST(OpPath, IsAPointerOfCleanTokens) {
  for (const char* path :
       {"", "/", "//", "/a", "/a/b", "/p/k7/c", "/ /x", "/~0~1", "/överhettning", "/abcdefghijk~1"}) {
    EXPECT_TRUE(is_op_path(path)) << path;
  }
  for (const std::string& path :
       {std::string("a"), std::string(" /a"), std::string("/~"), std::string("/~2"), std::string("/a/~"),
        std::string("/~0~"), std::string("/a\x7f"), std::string("/a\0", 3), std::string("/abcdefg\n"),
        std::string("/\xff"), std::string("/\xc2\x85")}) {
    EXPECT_FALSE(is_op_path(path)) << path;
  }
  EXPECT_TRUE(is_op_path("/" + std::string(op_path_bytes_max - 1, 'a')));
  EXPECT_FALSE(is_op_path("/" + std::string(op_path_bytes_max, 'a')));
}

TEST(OpPath, TokensComeBackFromTheirEscapedForm) {
  EXPECT_EQ(escape_token("a/b~c"), "a~1b~0c");
  for (const char* token : {"", "a", "/", "~", "~1", "~0", "a/b~c//~~", "över/hettning"}) {
    const std::string escaped = escape_token(token);
    EXPECT_EQ(unescape_token(escaped), token);
    EXPECT_TRUE(is_op_path("/" + escaped)) << token;
    EXPECT_EQ(escaped.find('/'), std::string::npos);
  }
}

}  // namespace
}  // namespace landfall
