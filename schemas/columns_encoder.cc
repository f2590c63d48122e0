#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <numeric>
#include <span>
#include <vector>

#include "schemas/columns.h"
#include "schemas/event.h"
#include "schemas/op.h"
#include "schemas/zstd_frame.h"

namespace landfall::columns {
namespace {

constexpr int zstd_level = 3;
// Shorter columns are stored as they are.
constexpr std::size_t compress_bytes_min = 32;

// Names in the order in which they were first seen.
class Dictionary {
 public:
  std::uint32_t index_of(std::string_view name, bool copy) {
    if (2 * (names_.size() + 1) > slots_.size()) grow();
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = std::hash<std::string_view>{}(name)&mask;; at = (at + 1) & mask) {
      if (slots_[at] == 0) {
        names_.push_back(copy ? std::string_view(kept_.emplace_back(name)) : name);
        slots_[at] = static_cast<std::uint32_t>(names_.size());
      }
      if (names_[slots_[at] - 1] == name) return slots_[at] - 1;
    }
  }
  const std::vector<std::string_view>& names() const { return names_; }

 private:
  void grow() {
    slots_.assign(std::max<std::size_t>(64, 4 * names_.size()), 0);
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      std::size_t at = std::hash<std::string_view>{}(names_[i]) & mask;
      while (slots_[at] != 0) at = (at + 1) & mask;
      slots_[at] = static_cast<std::uint32_t>(i + 1);
    }
  }

  std::vector<std::string_view> names_;
  std::deque<std::string> kept_;
  std::vector<std::uint32_t> slots_;
};

struct Row {
  std::uint64_t time;
  std::uint32_t subject, shape, ops;
  std::string_view raw;  // the payload, where ops is 0
};
struct Put {
  std::uint32_t row, path, first_dot, dots;
  std::optional<std::string_view> value;
};
static_assert(std::has_unique_object_representations_v<RunId> && sizeof(RunId) == run_name_bytes);
struct Superseded {
  std::uint32_t run;  // 0 own, else index in runs + 1
  std::uint64_t seq;
};

// What the values of one path have in common.
struct ValueForm {
  std::string_view sample;
  std::size_t prefix = 0, suffix = 0, least = 0;
  bool fixed = true, used = false;

  void add(std::string_view value) {
    if (!used) {
      *this = {value, value.size(), value.size(), value.size(), true, true};
      return;
    }
    const std::size_t most = std::min({prefix, value.size()});
    prefix = static_cast<std::size_t>(
        std::mismatch(value.begin(), value.begin() + static_cast<std::ptrdiff_t>(most), sample.begin()).first -
        value.begin());
    const std::size_t tail = std::min(suffix, value.size());
    suffix = static_cast<std::size_t>(
        std::mismatch(value.rbegin(), value.rbegin() + static_cast<std::ptrdiff_t>(tail), sample.rbegin()).first -
        value.rbegin());
    fixed = fixed && value.size() == sample.size();
    least = std::min(least, value.size());
  }
  void finish() { suffix = std::min(suffix, least - prefix); }
};

void append_run(std::string& to, const RunId& run) {
  to.append(reinterpret_cast<const char*>(run.node.bytes.data()), run.node.bytes.size());
  for (const std::uint32_t number : {run.counter, run.nonce}) {
    for (int i = 0; i < 4; ++i) to.push_back(static_cast<char>(number >> (8 * i)));
  }
}

std::uint64_t load_u64(const char* from) {
  std::uint64_t value;
  std::memcpy(&value, from, sizeof value);
  return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(value) : value;
}

// Seqs of one run that rows supersede, as base of the subject + base of the path: exact where somebody once wrote all
// objects alike, as an import does.
struct Bases {
  std::vector<std::uint64_t> subject, path;
  std::vector<bool> subject_known, path_known;

  struct Point {
    std::uint32_t subject, path;
    std::uint64_t seq;
  };
  void fit(std::span<const Point> points, std::size_t subjects, std::size_t paths);

 private:
  // One pass. Rows in a bad order take many: they are not worth the time.
  static constexpr int passes_max = 16;
  bool spread(std::span<const Point> points);
};

bool Bases::spread(std::span<const Point> points) {
  bool changed = false;
  for (const Point& p : points) {
    if (subject_known[p.subject] == path_known[p.path]) continue;
    if (path_known[p.path]) {
      subject[p.subject] = p.seq - path[p.path];
      subject_known[p.subject] = true;
    } else {
      path[p.path] = p.seq - subject[p.subject];
      path_known[p.path] = true;
    }
    changed = true;
  }
  return changed;
}

void Bases::fit(std::span<const Point> points, std::size_t subjects, std::size_t paths) {
  subject.assign(subjects, 0);
  path.assign(paths, 0);
  subject_known.assign(subjects, false);
  path_known.assign(paths, false);
  for (const Point& p : points) {
    if (path_known[p.path]) continue;
    path_known[p.path] = true;  // a path that shares no subject with those before
    while (spread(points)) {}
  }
}

class Encoder {
 public:
  Encoder(const RunStream& of, std::uint64_t first) : of_(of), first_(first) {}
  bool read(std::string_view rows);
  std::string write();

 private:
  bool read_row(std::string_view row);
  bool read_attributes(std::string_view attributes, std::string_view subject, std::string_view head);
  bool read_ops(std::string_view payload);

  void sort_runs();
  void model();
  void sort_names();
  void write_names(const std::vector<std::string_view>& names, const std::vector<std::uint32_t>& order);
  void write_dictionaries();
  void write_rows();
  void write_op(const Put& op, std::uint32_t row);
  void write_foreign(const Superseded& dot, std::uint32_t subject, std::uint32_t path);

  std::string& column(Column c) { return columns_[c]; }
  void put(Column c, std::uint64_t value) { append_varint(columns_[c], value); }
  void put_index(Column low, std::uint32_t index, std::size_t of) {
    columns_[low].push_back(static_cast<char>(index));
    if (of > 256) columns_[low + 1].push_back(static_cast<char>(index >> 8));
  }

  const RunStream of_;
  const std::uint64_t first_;
  Dictionary subjects_, shapes_, paths_, forms_, run_ids_;
  std::vector<RunId> runs_;
  std::vector<Row> rows_;
  std::vector<Put> ops_;
  std::vector<Superseded> dots_;
  std::vector<ValueForm> values_;
  std::string scratch_;
  std::uint32_t modelled_ = 0;  // run index + 1
  Bases bases_;
  std::vector<std::uint32_t> subject_order_, path_order_, subject_rank_, path_rank_;
  std::vector<std::uint16_t> last_;  // by subject and path: row + 1 that put a value there last; empty: too many
  std::vector<std::uint64_t> foreign_last_;  // by run
  std::vector<std::uint32_t> op_forms_;
  std::array<std::string, column_count> columns_;
};

bool Encoder::read(std::string_view rows) {
  RowReader reader(rows);
  for (std::string_view row = reader.next(); !row.empty(); row = reader.next()) {
    if (!read_row(row)) return false;
  }
  return !reader.corrupt() && run_ids_.names().size() <= columnar_runs_max &&
         paths_.names().size() <= columnar_ops_max && ops_.size() <= columnar_ops_max;
}

bool Encoder::read_row(std::string_view row) {
  if (row.size() < 12) return false;
  const std::string_view head = row.substr(8, 2);
  Row& made = rows_.emplace_back();
  made.time = load_u64(row.data());
  row.remove_prefix(10);
  std::uint64_t length = 0;
  if (!take_varint(row, length) || length > row.size()) return false;
  const std::string_view subject = row.substr(0, length);
  row.remove_prefix(length);
  if (!take_varint(row, length) || length > row.size()) return false;
  made.subject = subjects_.index_of(subject, false);
  if (!read_attributes(row.substr(0, length), subject, head)) return false;
  row.remove_prefix(length);
  if (has_ops(static_cast<Kind>(head[0])) && read_ops(row)) return true;
  made.raw = row;
  return true;
}

bool Encoder::read_attributes(std::string_view attributes, std::string_view subject, std::string_view head) {
  std::size_t begin = attributes.size(), end = begin;
  std::uint8_t device = device_as_is;
  for (std::string_view rest = attributes; !rest.empty();) {
    const std::size_t at = attributes.size() - rest.size();
    const char tag = rest[0];
    rest.remove_prefix(1);
    std::uint64_t length = 0;
    if (!take_varint(rest, length) || length > rest.size()) return false;
    const std::string_view value = rest.substr(0, length);
    rest.remove_prefix(length);
    if (tag != attribute_device) continue;
    if (value == device_of(subject, device_rest))
      device = device_rest;
    else if (value == device_of(subject, device_middle))
      device = device_middle;
    else
      break;
    begin = at;
    end = attributes.size() - rest.size();
    break;
  }
  scratch_.assign(head);
  scratch_.push_back(static_cast<char>(device));
  append_varint(scratch_, begin);
  append_varint(scratch_, attributes.size() - (end - begin));
  scratch_.append(attributes.substr(0, begin)).append(attributes.substr(end));
  rows_.back().shape = shapes_.index_of(scratch_, true);
  return true;
}

// False where the payload is to be stored whole; nothing of it is left then.
bool Encoder::read_ops(std::string_view payload) {
  const std::size_t ops = ops_.size(), dots = dots_.size();
  OpReader reader(payload, of_.run);
  OpReader::View view;
  bool fits = true;
  while (fits && reader.next(view)) {
    fits = view.supersedes.size() <= columnar_dots_max;
    Put& op = ops_.emplace_back();
    op = {static_cast<std::uint32_t>(rows_.size() - 1), 0, static_cast<std::uint32_t>(dots_.size()),
          static_cast<std::uint32_t>(view.supersedes.size()), view.value};
    for (const auto& dot : view.supersedes) {
      std::uint32_t run = 0;
      if (dot.run != 0) {
        const RunId id = reader.run(dot.run);
        run = run_ids_.index_of({reinterpret_cast<const char*>(&id), sizeof id}, true) + 1;
      }
      dots_.push_back({run, dot.seq});
    }
    op.path = paths_.index_of(view.path, false);
  }
  if (!fits || !reader.status().ok()) {
    ops_.resize(ops);
    dots_.resize(dots);
    return false;
  }
  rows_.back().ops = static_cast<std::uint32_t>(ops_.size() - ops);
  return true;
}

void Encoder::sort_runs() {
  for (const std::string_view id : run_ids_.names()) std::memcpy(&runs_.emplace_back(), id.data(), id.size());
  std::vector<std::uint32_t> order(runs_.size()), rank(runs_.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](std::uint32_t i) { return runs_[i]; });
  for (std::uint32_t i = 0; i < order.size(); ++i) rank[order[i]] = i;
  for (Superseded& dot : dots_) {
    if (dot.run != 0) dot.run = rank[dot.run - 1] + 1;
  }
  std::ranges::sort(runs_);
}

// Models the run that is superseded most, where that is shorter than the distance to the dot before.
void Encoder::model() {
  std::vector<std::uint32_t> times(runs_.size() + 1);
  for (const Superseded& dot : dots_) ++times[dot.run];
  if (runs_.empty()) return;
  const auto run = static_cast<std::uint32_t>(std::max_element(times.begin() + 1, times.end()) - times.begin());
  std::vector<Bases::Point> points;
  for (const Put& op : ops_) {
    for (const Superseded& dot : std::span(dots_).subspan(op.first_dot, op.dots)) {
      if (dot.run == run) points.push_back({rows_[op.row].subject, op.path, dot.seq});
    }
  }
  bases_.fit(points, subjects_.names().size(), paths_.names().size());
  std::size_t with = 0, without = 0;
  std::uint64_t last = 0;
  for (const auto& p : points) {
    with += varint_size(zigzag(p.seq - bases_.subject[p.subject] - bases_.path[p.path]));
    without += varint_size(zigzag(p.seq - last));
    last = p.seq;
  }
  if (with + bases_.subject.size() + bases_.path.size() < without) modelled_ = run;
}

void Encoder::sort_names() {
  const auto sort = [](const std::vector<std::string_view>& names, const std::vector<std::uint64_t>* base,
                       std::vector<std::uint32_t>& order, std::vector<std::uint32_t>& rank) {
    order.resize(names.size());
    rank.resize(names.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, [&](std::uint32_t a, std::uint32_t b) {
      if (base != nullptr && (*base)[a] != (*base)[b]) return (*base)[a] < (*base)[b];
      return names[a] < names[b];
    });
    for (std::uint32_t i = 0; i < order.size(); ++i) rank[order[i]] = i;
  };
  sort(subjects_.names(), modelled_ != 0 ? &bases_.subject : nullptr, subject_order_, subject_rank_);
  sort(paths_.names(), nullptr, path_order_, path_rank_);
}

void Encoder::write_names(const std::vector<std::string_view>& names, const std::vector<std::uint32_t>& order) {
  std::string_view last;
  for (const std::uint32_t i : order) {
    const std::string_view name = names[i];
    const auto shared = static_cast<std::size_t>(
        std::mismatch(name.begin(), name.end(), last.begin(), last.end()).first - name.begin());
    put(name_shared, shared);
    put(name_rest, name.size() - shared);
    column(name_text).append(name.substr(shared));
    last = name;
  }
}

void Encoder::write_dictionaries() {
  put(counts, runs_.size());
  put(counts, subjects_.names().size());
  put(counts, shapes_.names().size());
  put(counts, paths_.names().size());
  put(counts, forms_.names().size());
  put(counts, modelled_);
  put(counts, ops_.size());
  for (const RunId& run : runs_) append_run(column(run_names), run);
  for (const std::string_view shape : shapes_.names()) column(shapes).append(shape);
  for (const std::string_view form : forms_.names()) column(forms).append(form);
  for (const std::uint32_t path : path_order_) {
    const ValueForm& form = values_[path];
    put(value_forms, form.prefix);
    put(value_forms, form.suffix);
    put(value_forms, form.fixed ? form.least - form.prefix - form.suffix + 1 : 0);
    column(value_forms).append(form.sample.substr(0, form.prefix));
    column(value_forms).append(form.sample.substr(form.sample.size() - form.suffix));
  }
  write_names(subjects_.names(), subject_order_);
  write_names(paths_.names(), path_order_);
  if (modelled_ == 0) return;
  const auto write_bases = [&](const std::vector<std::uint64_t>& values, const std::vector<std::uint32_t>& order) {
    std::uint64_t last = 0;
    for (const std::uint32_t i : order) {
      put(bases, zigzag(values[i] - last));
      last = values[i];
    }
  };
  write_bases(bases_.subject, subject_order_);
  write_bases(bases_.path, path_order_);
}

void Encoder::write_rows() {
  std::uint64_t time = 0;
  std::size_t next_op = 0;
  for (std::uint32_t i = 0; i < rows_.size(); ++i) {
    const Row& row = rows_[i];
    const std::uint64_t ms = row.time >> 16, tick = row.time & 0xffff;
    put(row_ms, zigzag(ms - (time >> 16)));
    put(row_tick, ms == time >> 16 ? (tick - time - 1) & 0xffff : tick);
    time = row.time;
    put_index(row_shape_low, row.shape, shapes_.names().size());
    put_index(row_subject_low, subject_rank_[row.subject], subject_rank_.size());
    put(row_ops, row.ops);
    if (row.ops == 0) {
      put(lengths, row.raw.size());
      column(text).append(row.raw);
    }
    for (std::uint32_t op = 0; op < row.ops; ++op) write_op(ops_[next_op++], i);
  }
  // Its size is known only now.
  const std::size_t count = forms_.names().size();
  for (const std::uint32_t form : op_forms_) put_index(op_form_low, form, count);
}

void Encoder::write_op(const Put& op, std::uint32_t row) {
  const std::uint32_t subject = rows_[row].subject;
  put_index(op_path_low, path_rank_[op.path], path_rank_.size());
  std::uint16_t none = 0;
  std::uint16_t& last = last_.empty() ? none : last_[subject * path_rank_.size() + op.path];
  scratch_.clear();
  append_varint(scratch_, op.dots * 2 + (op.value ? 1 : 0));
  for (const Superseded& dot : std::span(dots_).subspan(op.first_dot, op.dots)) {
    if (dot.run != 0) {
      append_varint(scratch_, dot_foreign + dot.run - 1);
      write_foreign(dot, subject, op.path);
    } else if (last != 0 && dot.seq == first_ + last - 1) {
      append_varint(scratch_, dot_last);
    } else {
      append_varint(scratch_, dot_own);
      put(own_dots, zigzag(first_ + row - dot.seq));
    }
  }
  op_forms_.push_back(forms_.index_of(scratch_, true));
  if (!op.value) return;
  last = static_cast<std::uint16_t>(row + 1);
  const ValueForm& form = values_[op.path];
  const std::size_t middle = op.value->size() - form.prefix - form.suffix;
  if (!form.fixed) put(lengths, middle);
  column(text).append(op.value->substr(form.prefix, middle));
}

void Encoder::write_foreign(const Superseded& dot, std::uint32_t subject, std::uint32_t path) {
  std::uint64_t& last = foreign_last_[dot.run - 1];
  const std::uint64_t expected = dot.run == modelled_ ? bases_.subject[subject] + bases_.path[path] : last;
  put(foreign_dots, zigzag(dot.seq - expected));
  last = dot.seq;
}

std::string Encoder::write() {
  sort_runs();
  model();
  sort_names();
  values_.resize(paths_.names().size());
  for (const Put& op : ops_) {
    if (op.value) values_[op.path].add(*op.value);
  }
  for (ValueForm& form : values_) form.finish();
  const std::size_t cells = subjects_.names().size() * paths_.names().size();
  if (cells <= columnar_cells_max) last_.resize(cells);
  foreign_last_.resize(runs_.size());
  write_rows();
  write_dictionaries();

  std::string stored;
  for (const std::string& bytes : columns_) {
    const std::string_view frame =
        bytes.size() < compress_bytes_min ? std::string_view() : zstd_compress(bytes, zstd_level);
    append_varint(stored, bytes.size() * 2 + (frame.empty() ? 0 : 1));
    if (!frame.empty()) append_varint(stored, frame.size());
    stored += frame.empty() ? std::string_view(bytes) : frame;
  }
  return stored;
}

}  // namespace

std::string encode(const ChunkHeader& header, std::string_view rows) {
  Encoder encoder(header.of, header.first);
  if (!encoder.read(rows)) return {};
  std::string stored = encoder.write();
  std::string again;
  if (!decode(header, stored, again).ok() || again != rows) return {};
  return stored;
}

}  // namespace landfall::columns
