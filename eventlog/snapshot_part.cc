#include "eventlog/snapshot_part.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "schemas/check.h"
#include "schemas/limits.h"
#include "schemas/op.h"
#include "schemas/text.h"
#include "schemas/varint.h"
#include "schemas/zstd_frame.h"

namespace landfall {
namespace {

constexpr char version = 1;
enum Form : char { plain, zstd };
constexpr int zstd_level = 5;
constexpr std::size_t run_name_bytes = 24;
constexpr auto clock_class_max = static_cast<unsigned char>(ClockClass::authenticated);
// Of what is not text: no encoding of an object or an entry takes more but for the name of its run.
constexpr std::size_t object_bytes = 8, entry_bytes = 32;
constexpr std::size_t cut_bytes_min = snapshot_part_bytes / 2, cut_bytes_max = snapshot_part_bytes * 4;

enum Column : std::size_t {
  names,        // objects: varint bytes shared with the one before, varint bytes that follow, text
  counts,       // objects: varint entries
  path_names,   // paths, ascending, each once: as names
  paths,        // entries: varint index of path; within an object the distance from the one before
  runs,         // entries: varint index of run
  seqs,         // entries: zigzag distance from the entry before of that run
  times,        // entries: milliseconds, likewise
  ticks,        // entries: varint
  clocks,       // entries: u8
  value_bytes,  // entries: varint
  values,       // text
  column_count
};

Error corrupt(const char* what) { return {Code::corrupt, std::string("snapshot part: ") + what}; }
Error too_large() { return {Code::out_of_range, "snapshot part: too large"}; }

std::uint64_t zigzag(std::uint64_t difference) {
  return difference << 1 ^ (difference >> 63 != 0 ? ~std::uint64_t{0} : 0);
}
std::uint64_t unzigzag(std::uint64_t value) { return value >> 1 ^ (~(value & 1) + 1); }

void append_run(std::string& to, const RunId& run) {
  to.append(reinterpret_cast<const char*>(run.node.bytes.data()), run.node.bytes.size());
  for (const std::uint32_t number : {run.counter, run.nonce}) {
    for (int i = 0; i < 4; ++i) to.push_back(static_cast<char>(number >> (8 * i)));
  }
}

RunId read_run(std::string_view from) {
  RunId run;
  std::copy_n(from.begin(), run.node.bytes.size(), reinterpret_cast<char*>(run.node.bytes.data()));
  const auto number = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(from[at + i]);
    return value;
  };
  run.counter = number(16);
  run.nonce = number(20);
  return run;
}

void append_name(std::string& to, std::string_view last, std::string_view name) {
  const auto shared =
      static_cast<std::size_t>(std::mismatch(last.begin(), last.end(), name.begin(), name.end()).first - last.begin());
  append_varint(to, shared);
  append_varint(to, name.size() - shared);
  to += name.substr(shared);
}

bool take_name(std::string_view& from, std::string& name, std::size_t bytes_max) {
  std::uint64_t shared = 0, rest = 0;
  if (!take_varint(from, shared) || !take_varint(from, rest)) return false;
  if (shared > name.size() || rest > from.size() || shared + rest > bytes_max) return false;
  name.resize(shared);
  name += from.substr(0, rest);
  from.remove_prefix(rest);
  return true;
}

template <class T>
std::map<T, std::size_t> numbered(std::map<T, std::size_t> found) {
  std::size_t next = 0;
  for (auto& [value, number] : found) number = next++;
  return found;
}

// What the next entry of a run is told as the distance from.
struct Before {
  std::uint64_t seq = 0, ms = 0;
};

std::string columns_of(const std::vector<SnapshotObject>& objects) {
  std::map<RunId, std::size_t> run_numbers;
  std::map<std::string_view, std::size_t> path_numbers;
  std::size_t entries = 0;
  for (const SnapshotObject& object : objects) {
    for (const Entry& entry : object.entries) {
      run_numbers.emplace(entry.dot.run, 0);
      path_numbers.emplace(entry.path, 0);
      ++entries;
    }
  }
  run_numbers = numbered(std::move(run_numbers));
  path_numbers = numbered(std::move(path_numbers));

  std::array<std::string, column_count> columns;
  std::vector<Before> before(run_numbers.size());
  std::string_view last;
  for (const SnapshotObject& object : objects) {
    append_name(columns[names], last, object.name);
    last = object.name;
    append_varint(columns[counts], object.entries.size());
    std::size_t path = 0;
    for (const Entry& entry : object.entries) {
      const std::size_t run = run_numbers.at(entry.dot.run);
      append_varint(columns[paths], path_numbers.at(entry.path) - path);
      path = path_numbers.at(entry.path);
      append_varint(columns[runs], run);
      append_varint(columns[seqs], zigzag(entry.dot.seq - before[run].seq));
      const std::uint64_t ms = entry.time.value >> 16;
      append_varint(columns[times], zigzag(ms - before[run].ms));
      append_varint(columns[ticks], entry.time.value & 0xffff);
      before[run] = {entry.dot.seq, ms};
      columns[clocks].push_back(static_cast<char>(entry.clock));
      append_varint(columns[value_bytes], entry.value.size());
      columns[values] += entry.value;
    }
  }
  last = {};
  for (const auto& [path, number] : path_numbers) {
    append_name(columns[path_names], last, path);
    last = path;
  }

  std::string bytes;
  for (const std::size_t count : {run_numbers.size(), objects.size(), entries, path_numbers.size()})
    append_varint(bytes, count);
  for (const auto& [run, number] : run_numbers) append_run(bytes, run);
  for (const std::string& column : columns) {
    append_varint(bytes, column.size());
    bytes += column;
  }
  return bytes;
}

class Decoder {
 public:
  Decoder(Stream stream, std::string_view bytes) : stream_(stream), bytes_(bytes) {}

  Result<std::vector<SnapshotObject>> decode() {
    LANDFALL_TRY(take_head());
    LANDFALL_TRY(take_paths());
    std::vector<SnapshotObject> objects;
    std::string name;
    for (std::uint64_t i = 0; i < objects_; ++i) {
      const std::string last = name;
      std::uint64_t count = 0;
      if (!take_name(columns_[names], name, event_subject_bytes_max)) return corrupt("bad name");
      if (name.empty() || !is_clean_text(name) || name <= last) return corrupt("objects out of order");
      if (!take_varint(columns_[counts], count) || count == 0 || count > entries_) return corrupt("bad count");
      entries_ -= count;
      if ((bytes_left_ -= std::min(bytes_left_, name.size() + object_bytes)) == 0) return too_large();
      objects.push_back({name, {}});
      for (path_ = 0; count > 0; --count) LANDFALL_TRY(take_entry(objects.back().entries));
    }
    if (entries_ > 0) return corrupt("entries of no object");
    for (const std::string_view column : columns_) {
      if (!column.empty()) return corrupt("bytes after its end");
    }
    return objects;
  }

 private:
  Status take_head() {
    std::uint64_t run_count = 0, path_count = 0;
    if (!take_varint(bytes_, run_count) || !take_varint(bytes_, objects_) || !take_varint(bytes_, entries_) ||
        !take_varint(bytes_, path_count))
      return corrupt("cut off");
    if (entries_ == 0 || run_count > bytes_.size() / run_name_bytes) return corrupt("bad counts");
    if (entries_ > bytes_.size() || objects_ > entries_ || path_count > entries_) return corrupt("bad counts");
    for (; run_count > 0; --run_count) {
      const RunId run = read_run(bytes_);
      bytes_.remove_prefix(run_name_bytes);
      if (run.is_none() || (!runs_.empty() && run <= runs_.back())) return corrupt("runs out of order");
      runs_.push_back(run);
    }
    before_.resize(runs_.size());
    path_names_.resize(path_count);
    for (std::string_view& column : columns_) {
      std::uint64_t size = 0;
      if (!take_varint(bytes_, size) || size > bytes_.size()) return corrupt("cut off");
      column = bytes_.substr(0, size);
      bytes_.remove_prefix(size);
    }
    return bytes_.empty() ? ok() : Status(corrupt("bytes after its end"));
  }

  Status take_paths() {
    std::string path;
    std::size_t left = snapshot_part_bytes_max;
    for (std::string& known : path_names_) {
      if (!take_name(columns_[path_names], path, op_path_bytes_max) || !is_op_path(path)) return corrupt("bad path");
      if (&known != path_names_.data() && path <= *(&known - 1)) return corrupt("paths out of order");
      if (path.size() >= left) return too_large();
      left -= path.size();
      known = path;
    }
    return ok();
  }

  Status take_entry(Entries& entries) {
    std::uint64_t path = 0, run = 0, seq = 0, ms = 0, tick = 0, size = 0;
    if (!take_varint(columns_[paths], path) || !take_varint(columns_[runs], run) || !take_varint(columns_[seqs], seq) ||
        !take_varint(columns_[times], ms) || !take_varint(columns_[ticks], tick) ||
        !take_varint(columns_[value_bytes], size) || columns_[clocks].empty())
      return corrupt("cut off");
    const auto clock = static_cast<unsigned char>(columns_[clocks][0]);
    columns_[clocks].remove_prefix(1);
    if (path >= path_names_.size() - path_) return corrupt("bad path");
    path_ += path;
    if (run >= runs_.size()) return corrupt("an entry of no run");
    Before& before = before_[run];
    before = {before.seq + unzigzag(seq), before.ms + unzigzag(ms)};
    if (before.seq == 0 || before.seq > seq_max) return corrupt("bad seq");
    if (before.ms >> 48 != 0 || tick > 0xffff || clock > clock_class_max) return corrupt("bad time");
    if (size > columns_[values].size() || size > op_value_bytes_max) return corrupt("bad value");
    const std::string& name = path_names_[path_];
    if ((bytes_left_ -= std::min(bytes_left_, name.size() + size + entry_bytes)) == 0) return too_large();
    Entry entry{name,
                {runs_[run], stream_, before.seq},
                {before.ms << 16 | tick},
                static_cast<ClockClass>(clock),
                std::string(columns_[values].substr(0, size))};
    columns_[values].remove_prefix(size);
    if (!entries.empty() && std::tie(entry.path, entry.dot) <= std::tie(entries.back().path, entries.back().dot))
      return corrupt("entries out of order");
    entries.push_back(std::move(entry));
    return ok();
  }

  Stream stream_;
  std::string_view bytes_;
  std::uint64_t objects_ = 0, entries_ = 0;
  std::size_t path_ = 0, bytes_left_ = snapshot_part_bytes_max;
  std::vector<RunId> runs_;
  std::vector<Before> before_;
  std::vector<std::string> path_names_;
  std::array<std::string_view, column_count> columns_;
};

// Whether a part ends before this object: for one of `bytes` in about that many of its name's hashes out of cut_bytes_min.
bool cut_before(std::string_view name, std::size_t bytes) {
  if (bytes >= cut_bytes_min) return true;
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, then spread over all bits
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccd;
  hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53;
  return (hash >> 32) % cut_bytes_min < bytes;
}

std::size_t entry_size(const Entry& entry) { return entry.path.size() + entry.value.size() + entry_bytes; }

}  // namespace

// version u8 | form u8 | varint bytes before compression | those, or a zstd frame of them
std::string encode_snapshot_part(const std::vector<SnapshotObject>& objects) {
  const std::string columns = columns_of(objects);
  LANDFALL_CHECK(columns.size() <= snapshot_part_bytes_max);
  const std::string_view compressed = zstd_compress(columns, zstd_level);
  std::string bytes{version, compressed.empty() ? Form::plain : Form::zstd};
  append_varint(bytes, columns.size());
  return bytes += compressed.empty() ? std::string_view(columns) : compressed;
}

Result<std::vector<SnapshotObject>> decode_snapshot_part(Stream stream, std::string_view bytes) {
  if (bytes.size() < 2) return corrupt("cut off");
  if (bytes.size() > snapshot_part_bytes_max) return too_large();
  const char form = bytes[1];
  if (bytes[0] != version || (form != Form::plain && form != Form::zstd))
    return Error{Code::out_of_range, "snapshot part: of an unknown version"};
  bytes.remove_prefix(2);
  std::uint64_t size = 0;
  if (!take_varint(bytes, size)) return corrupt("cut off");
  if (size > snapshot_part_bytes_max) return too_large();
  if (form == Form::plain) {
    if (size != bytes.size()) return corrupt("states another length");
    return Decoder(stream, bytes).decode();
  }
  std::string columns(size, '\0');
  if (Status expanded = zstd_expand(bytes, columns.data(), size); !expanded)
    return std::move(expanded).error().in("snapshot part");
  return Decoder(stream, columns).decode();
}

std::size_t snapshot_bytes(const SnapshotObject& object) {
  std::size_t bytes = object.name.size() + object_bytes;
  for (const Entry& entry : object.entries) bytes += entry_size(entry);
  return bytes;
}

void SnapshotCutter::add(std::string name, Entries entries) {
  SnapshotObject object{std::move(name), std::move(entries)};
  const std::size_t bytes = snapshot_bytes(object);
  plain_bytes_ += bytes;
  if (open_bytes_ >= cut_bytes_min && cut_before(object.name, bytes)) close();
  if (open_bytes_ + bytes <= cut_bytes_max) {
    open_bytes_ += bytes;
    open_.push_back(std::move(object));
    return;
  }
  open_.push_back({object.name, {}});
  open_bytes_ += object.name.size() + object_bytes;
  for (Entry& entry : object.entries) {
    if (open_bytes_ >= cut_bytes_max) {
      close();
      open_.push_back({object.name, {}});
      open_bytes_ = object.name.size() + object_bytes;
    }
    open_bytes_ += entry_size(entry);
    open_.back().entries.push_back(std::move(entry));
  }
}

void SnapshotCutter::close() {
  if (!open_.empty() && open_.back().entries.empty()) open_.pop_back();
  if (!open_.empty()) parts_.push_back(encode_snapshot_part(open_));
  open_.clear();
  open_bytes_ = 0;
}

std::vector<std::string> SnapshotCutter::take() {
  close();
  return std::move(parts_);
}

}  // namespace landfall
