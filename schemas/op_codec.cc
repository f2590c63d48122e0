#include <algorithm>
#include <map>

#include "schemas/op.h"
#include "schemas/text.h"
#include "schemas/varint.h"

namespace landfall {
namespace {

constexpr char version = 1;
constexpr std::size_t run_bytes = 24;

Error refused(std::string what) { return {Code::out_of_range, "change: " + std::move(what)}; }

void append_u32(std::string& to, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) to.push_back(static_cast<char>(value >> (8 * i)));
}
std::uint32_t read_u32(std::string_view from) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(from[static_cast<std::size_t>(i)]);
  return value;
}

Status check(const Op& op, const RunStream& of) {
  if (!is_op_path(op.path)) return refused("'" + op.path + "' is no path");
  if (op.value && op.value->size() > op_value_bytes_max) return refused(op.path + ": value over 65536 bytes");
  if (op.supersedes.size() > op_supersedes_max) return refused(op.path + ": supersedes over 4096 writes");
  for (const Dot& dot : op.supersedes) {
    if (dot.stream != of.stream) return refused(op.path + ": " + to_string(dot) + " is of another stream");
    if (dot.run.is_none() || dot.seq == 0 || dot.seq > seq_max) return refused(op.path + ": names no write");
  }
  return ok();
}

}  // namespace

bool is_op_path(std::string_view path) {
  if (path.size() > op_path_bytes_max) return false;
  if (path.empty()) return true;
  if (path[0] != '/' || !is_clean_text(path)) return false;
  for (std::size_t at = path.find('~'); at != std::string_view::npos; at = path.find('~', at + 1)) {
    if (at + 1 == path.size() || (path[at + 1] != '0' && path[at + 1] != '1')) return false;
  }
  return true;
}

std::string escape_token(std::string_view token) {
  std::string path;
  for (const char c : token) {
    if (c == '~')
      path += "~0";
    else if (c == '/')
      path += "~1";
    else
      path.push_back(c);
  }
  return path;
}

std::string unescape_token(std::string_view token) {
  std::string text;
  for (std::size_t i = 0; i < token.size(); ++i) {
    const bool escaped = token[i] == '~' && i + 1 < token.size();
    text.push_back(escaped ? (token[++i] == '1' ? '/' : '~') : token[i]);
  }
  return text;
}

Result<std::string> encode_ops(std::vector<Op>& ops, const RunStream& of) {
  if (ops.empty()) return refused("no op");
  if (ops.size() > ops_per_event_max) return refused("over 4096 ops");
  std::ranges::sort(ops, {}, &Op::path);
  std::map<RunId, std::uint64_t> runs;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    LANDFALL_TRY(check(ops[i], of));
    if (i > 0 && ops[i].path == ops[i - 1].path) return refused(ops[i].path + ": changed twice");
    auto& dots = ops[i].supersedes;
    std::ranges::sort(dots);
    dots.erase(std::unique(dots.begin(), dots.end()), dots.end());
    for (const Dot& dot : dots) {
      if (dot.run != of.run) runs[dot.run];
    }
  }
  std::string payload(1, version);
  append_varint(payload, runs.size());
  std::uint64_t number = 0;
  for (auto& [run, index] : runs) {
    index = ++number;
    payload.append(reinterpret_cast<const char*>(run.node.bytes.data()), run.node.bytes.size());
    append_u32(payload, run.counter);
    append_u32(payload, run.nonce);
  }
  for (const Op& op : ops) {
    append_varint(payload, op.path.size() * 2 + (op.value ? 1 : 0));
    payload += op.path;
    append_varint(payload, op.supersedes.size());
    for (const Dot& dot : op.supersedes) {
      append_varint(payload, dot.run == of.run ? 0 : runs.at(dot.run));
      append_varint(payload, dot.seq);
    }
    if (!op.value) continue;
    append_varint(payload, op.value->size());
    payload += *op.value;
  }
  if (payload.size() > event_payload_bytes_max) return refused("over 262144 bytes: split it");
  return payload;
}

OpReader::OpReader(std::string_view payload, const RunId& of) : rest_(payload), own_(of) {
  std::uint64_t runs = 0;
  if (rest_.empty() || rest_[0] != version) {
    fail(Code::corrupt, "unknown version");
    return;
  }
  rest_.remove_prefix(1);
  if (!take_varint(rest_, runs) || runs > rest_.size() / run_bytes) {
    fail(Code::corrupt, "cut off in its runs");
    return;
  }
  runs_.reserve(runs);
  for (std::uint64_t i = 0; i < runs; ++i) {
    RunId run;
    std::copy_n(rest_.begin(), run.node.bytes.size(), reinterpret_cast<char*>(run.node.bytes.data()));
    run.counter = read_u32(rest_.substr(16));
    run.nonce = read_u32(rest_.substr(20));
    rest_.remove_prefix(run_bytes);
    if (run.is_none() || run == own_ || (!runs_.empty() && !(runs_.back() < run))) {
      fail(Code::corrupt, "runs out of order");
      return;
    }
    runs_.push_back(run);
  }
  if (rest_.empty()) fail(Code::corrupt, "no op");
}

bool OpReader::fail(Code code, const char* what) {
  if (status_) status_ = Error{code, std::string("change: ") + what};
  rest_ = {};
  return false;
}

bool OpReader::next(View& op) {
  if (rest_.empty()) return false;
  std::uint64_t head = 0, dots = 0;
  if (!take_varint(rest_, head) || head / 2 > rest_.size()) return fail(Code::corrupt, "cut off in a path");
  op.path = rest_.substr(0, head / 2);
  rest_.remove_prefix(op.path.size());
  if (!is_op_path(op.path)) return fail(Code::corrupt, "bad path");
  if (!first_ && !(last_path_ < op.path)) return fail(Code::corrupt, "paths out of order");
  first_ = false;
  last_path_ = op.path;
  if (!take_varint(rest_, dots) || dots > rest_.size() / 2) return fail(Code::corrupt, "cut off in its dots");
  if (dots > op_supersedes_max) return fail(Code::out_of_range, "supersedes over 4096 writes");
  superseded_.clear();
  for (std::uint64_t i = 0; i < dots; ++i) {
    std::uint64_t run = 0, seq = 0;
    if (!take_varint(rest_, run) || !take_varint(rest_, seq)) return fail(Code::corrupt, "cut off in its dots");
    if (run > runs_.size() || seq == 0 || seq > seq_max) return fail(Code::corrupt, "names no write");
    superseded_.push_back({static_cast<std::uint32_t>(run), seq});
  }
  op.supersedes = superseded_;
  op.value.reset();
  if ((head & 1) != 0) {
    std::uint64_t length = 0;
    if (!take_varint(rest_, length) || length > rest_.size()) return fail(Code::corrupt, "cut off in a value");
    if (length > op_value_bytes_max) return fail(Code::out_of_range, "value over 65536 bytes");
    op.value = rest_.substr(0, length);
    rest_.remove_prefix(length);
  }
  return true;
}

Result<std::vector<Op>> decode_ops(std::string_view payload, const RunStream& of) {
  std::vector<Op> ops;
  OpReader reader(payload, of.run);
  OpReader::View view;
  while (reader.next(view)) {
    Op& op = ops.emplace_back();
    op.path = view.path;
    if (view.value) op.value = std::string(*view.value);
    for (const auto& dot : view.supersedes) op.supersedes.push_back({reader.run(dot.run), of.stream, dot.seq});
  }
  if (!reader.status()) return reader.status().error();
  return ops;
}

}  // namespace landfall
