#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/ids.h"
#include "schemas/limits.h"
#include "schemas/result.h"

namespace landfall {

// What a change event (Kind::change) does to one path of the object that its subject names: it supersedes the writes
// it lists, by dot, and may put a value there itself, which then lives under the event's dot until another event lists
// it. Whatever an event does not list it leaves alone: a delete removes what its author saw, never what he did not.
//
// Dots listed are of the event's own stream. What a value means is its owner's business (crdt/, devicetwin/).
struct Op {
  std::string path;                  // RFC 6901 pointer within the object; empty: the object itself
  std::optional<std::string> value;  // none: only supersedes
  std::vector<Dot> supersedes;
  friend bool operator==(const Op&, const Op&) = default;
};

// The payload of a change event, canonical: ops ascending by path, one per path; dots ascending, each once.
//   version 1 u8 | varint runs | run (node 16, counter u32 LE, nonce u32 LE)* | op*
//   op: varint path length * 2 + (1 with a value) | path | varint dots | (varint run, varint seq)* |
//       with a value: varint length | value
// Run 0 is the run of the event itself, n the n-th of the list. Sorts `ops`.
// Errors: `out_of_range` for two ops of one path, dots of another stream, or a value over a limit of limits.h.
Result<std::string> encode_ops(std::vector<Op>& ops, const RunStream& of);

// Reads a payload without copying it. Accepts any bytes. Usage: while (reader.next(op)) ...; then reader.status().
class OpReader {
 public:
  struct Superseded {
    std::uint32_t run;  // for run()
    std::uint64_t seq;
  };
  struct View {
    std::string_view path;
    std::optional<std::string_view> value;
    std::span<const Superseded> supersedes;  // valid until the next call
  };

  OpReader(std::string_view payload, const RunId& of);
  // False at the end and at the first fault.
  bool next(View& op);
  // Errors: `corrupt`, also for paths, runs or dots out of order or a run that no dot names; `out_of_range` over a
  // limit.
  const Status& status() const { return status_; }
  // 0 is the event's own run.
  RunId run(std::uint32_t index) const;
  std::size_t runs() const { return runs_ + 1; }

 private:
  bool fail(Code code, const char* what);
  bool read_runs();
  bool read_dots(std::uint64_t count);
  bool all_runs_named();

  std::string_view rest_, last_path_, run_list_;
  RunId own_;
  std::size_t runs_ = 0, ops_ = 0;
  std::uint64_t named_ = 0;  // bit i: run i + 1 was seen in a dot; of more than 64 runs the rest is in many_named_
  std::vector<bool> many_named_;
  std::array<Superseded, 4> few_;
  std::vector<Superseded> many_;  // where few_ does not do: a payload of one small op allocates nothing
  std::span<const Superseded> superseded_;
  Status status_ = ok();
};

// All ops of a payload as values. Errors: as OpReader.
Result<std::vector<Op>> decode_ops(std::string_view payload, const RunStream& of);

// True for "" and for "/token/token", each token clean text with '~' and '/' written ~0 and ~1, at most op_path_bytes_max.
bool is_op_path(std::string_view path);
// One token as it stands in a path, and back. unescape takes what escape makes.
std::string escape_token(std::string_view token);
std::string unescape_token(std::string_view token);

}  // namespace landfall
