#include <algorithm>
#include <cstring>

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
RunId read_run(const char* from) {
  const auto u32 = [](const char* at) {
    std::uint32_t value;
    std::memcpy(&value, at, sizeof value);
    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap32(value) : value;
  };
  RunId run;
  std::memcpy(run.node.bytes.data(), from, run.node.bytes.size());
  run.counter = u32(from + 16);
  run.nonce = u32(from + 20);
  return run;
}

Status check(const Op& op, const RunStream& of) {
  if (!is_op_path(op.path)) return refused("a path that is over 1024 bytes or no pointer of clean text");
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
  std::vector<RunId> runs;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    LANDFALL_TRY(check(ops[i], of));
    if (i > 0 && ops[i].path == ops[i - 1].path) return refused(ops[i].path + ": changed twice");
    auto& dots = ops[i].supersedes;
    std::ranges::sort(dots);
    dots.erase(std::unique(dots.begin(), dots.end()), dots.end());
    for (const Dot& dot : dots) {
      if (dot.run != of.run && (runs.empty() || runs.back() != dot.run)) runs.push_back(dot.run);
    }
  }
  std::ranges::sort(runs);
  runs.erase(std::unique(runs.begin(), runs.end()), runs.end());
  const auto number = [&](const RunId& run) {
    return run == of.run ? 0 : static_cast<std::uint64_t>(std::ranges::lower_bound(runs, run) - runs.begin()) + 1;
  };
  std::string payload(1, version);
  append_varint(payload, runs.size());
  for (const RunId& run : runs) {
    payload.append(reinterpret_cast<const char*>(run.node.bytes.data()), run.node.bytes.size());
    append_u32(payload, run.counter);
    append_u32(payload, run.nonce);
  }
  for (const Op& op : ops) {
    append_varint(payload, op.path.size() * 2 + (op.value ? 1 : 0));
    payload += op.path;
    append_varint(payload, op.supersedes.size());
    for (const Dot& dot : op.supersedes) {
      append_varint(payload, number(dot.run));
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
  if (rest_.empty() || rest_[0] != version) {
    fail(Code::corrupt, "unknown version");
    return;
  }
  rest_.remove_prefix(1);
  if (read_runs() && rest_.empty()) fail(Code::corrupt, "no op");
}

bool OpReader::fail(Code code, const char* what) {
  if (status_) status_ = Error{code, std::string("change: ") + what};
  rest_ = {};
  return false;
}

RunId OpReader::run(std::uint32_t index) const {
  LANDFALL_CHECK(index <= runs_);
  return index == 0 ? own_ : read_run(run_list_.data() + run_bytes * (index - 1));
}

bool OpReader::read_runs() {
  std::uint64_t count = 0;
  if (!take_varint(rest_, count) || count > rest_.size() / run_bytes) return fail(Code::corrupt, "cut off in its runs");
  run_list_ = rest_.substr(0, count * run_bytes);
  rest_.remove_prefix(run_list_.size());
  RunId last;
  for (std::size_t i = 0; i < count; ++i) {
    const RunId run = read_run(run_list_.data() + run_bytes * i);
    if (run.is_none() || run == own_ || (i > 0 && !(last < run))) return fail(Code::corrupt, "runs out of order");
    last = run;
  }
  runs_ = count;
  if (runs_ > 64) many_named_.resize(runs_);
  return true;
}

bool OpReader::read_dots(std::uint64_t count) {
  Superseded* to = few_.data();
  if (count > few_.size()) {
    many_.resize(count);
    to = many_.data();
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t run = 0, seq = 0;
    if (!take_varint(rest_, run) || !take_varint(rest_, seq)) return fail(Code::corrupt, "cut off in its dots");
    if (run > runs_ || seq == 0 || seq > seq_max) return fail(Code::corrupt, "names no write");
    to[i] = {static_cast<std::uint32_t>(run), seq};
    if (i > 0 && (run == to[i - 1].run ? seq <= to[i - 1].seq : !(this->run(to[i - 1].run) < this->run(to[i].run)))) {
      return fail(Code::corrupt, "dots out of order");
    }
    if (run == 0) continue;
    if (runs_ > 64)
      many_named_[run - 1] = true;
    else
      named_ |= std::uint64_t{1} << (run - 1);
  }
  superseded_ = {to, count};
  return true;
}

bool OpReader::all_runs_named() {
  if (runs_ > 64) return std::ranges::find(many_named_, false) == many_named_.end();
  return runs_ == 0 || named_ == ~std::uint64_t{0} >> (64 - runs_);
}

bool OpReader::next(View& op) {
  if (rest_.empty()) return status_ && !all_runs_named() ? fail(Code::corrupt, "a run that no dot names") : false;
  std::uint64_t head = 0, dots = 0;
  if (!take_varint(rest_, head) || head / 2 > rest_.size()) return fail(Code::corrupt, "cut off in a path");
  op.path = rest_.substr(0, head / 2);
  rest_.remove_prefix(op.path.size());
  if (!is_op_path(op.path)) return fail(Code::corrupt, "bad path");
  if (ops_ > 0 && !(last_path_ < op.path)) return fail(Code::corrupt, "paths out of order");
  if (++ops_ > ops_per_event_max) return fail(Code::out_of_range, "over 4096 ops");
  last_path_ = op.path;
  if (!take_varint(rest_, dots) || dots > rest_.size() / 2) return fail(Code::corrupt, "cut off in its dots");
  if (dots > op_supersedes_max) return fail(Code::out_of_range, "supersedes over 4096 writes");
  if (!read_dots(dots)) return false;
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
