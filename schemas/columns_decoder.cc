#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "schemas/columns.h"
#include "schemas/zstd_frame.h"

namespace landfall::columns {
namespace {

// Bytes behind every buffer that short copies may read and write, and by which a row's bound may be over.
constexpr std::size_t slack_bytes = 512;
constexpr std::size_t copy_step = 16;

Error corrupt(const char* what) { return {Code::corrupt, std::string("chunk: columns: ") + what}; }
Error out_of_range(const char* what) { return {Code::out_of_range, std::string("chunk: columns: ") + what}; }

// Most names and values are shorter than a call of memcpy is worth. Both buffers have slack.
char* copy(char* to, std::string_view bytes) {
  const char* from = bytes.data();
  if (bytes.size() > 4 * copy_step) {
    std::memcpy(to, from, bytes.size());
  } else {
    for (std::size_t i = 0; i < bytes.size(); i += copy_step) std::memcpy(to + i, from + i, copy_step);
  }
  return to + bytes.size();
}

struct Shape {
  char kind = 0, flags = 0;
  std::uint8_t device = device_as_is;
  std::string_view before, behind;  // of the device
};

struct Subject {
  std::string_view name;
  std::string_view devices[device_after_last];  // as device_of gives them
};

struct Form {
  bool value = false;
  std::uint8_t dots = 0;
  std::uint32_t sources[columnar_dots_max] = {};
  std::uint8_t numbers[columnar_dots_max] = {};  // of the runs in a payload with this op alone
  std::string_view runs;                         // its list of runs, with their number
};

struct ValueForm {
  std::string_view prefix, suffix;
  std::uint64_t fixed = 0;  // length between them + 1; 0: in `lengths`
};

class Decoder {
 public:
  Decoder(const ChunkHeader& header, std::string& rows) : header_(header), rows_(rows) {}
  Status decode(std::string_view stored);

 private:
  Status read_columns(std::string_view stored);
  Status read_counts();
  Status read_shapes();
  Status read_forms();
  template <class FormAt>
  void use_runs(std::uint64_t ops, const FormAt& form_at);
  void list_runs(Form& form, std::string& lists);
  Status read_value_forms();
  Status read_names();
  Status read_bases();
  Status check_indexes();
  Status write_rows();
  bool write_row(std::uint32_t row);
  bool write_payload(std::uint32_t row, std::uint32_t subject);
  bool write_run_list(std::uint64_t ops);
  bool write_op(const Form& form, std::uint32_t path, std::uint32_t row, std::uint32_t subject, bool alone);

  bool take(Column c, std::uint64_t& value) { return take_varint(columns_[c], value); }
  bool take_bytes(Column c, std::uint64_t size, std::string_view& bytes) {
    if (size > columns_[c].size()) return false;
    bytes = columns_[c].substr(0, size);
    columns_[c].remove_prefix(size);
    return true;
  }
  std::uint32_t index(Column low, std::size_t at, std::size_t of) const {
    const auto byte = [&](std::size_t c) {
      return static_cast<std::uint32_t>(static_cast<unsigned char>(columns_[c][at]));
    };
    return of > 256 ? byte(low) | byte(low + 1) << 8 : byte(low);
  }
  std::string_view run_name(std::uint32_t source) const {
    return columns_[run_names].substr((source - dot_foreign) * run_name_bytes, run_name_bytes);
  }
  std::uint64_t run_number(std::uint32_t source) const {
    return static_cast<std::uint64_t>(std::ranges::lower_bound(used_runs_, source) - used_runs_.begin()) + 1;
  }
  bool room(std::size_t bytes) const { return bytes + copy_step <= static_cast<std::size_t>(end_ - at_); }

  const ChunkHeader& header_;
  std::string& rows_;
  std::unique_ptr<char[]> buffer_, names_, run_lists_;
  std::array<std::string_view, column_count> columns_;
  std::uint64_t runs_ = 0, subject_count_ = 0, shape_count_ = 0, path_count_ = 0, form_count_ = 0, modelled_ = 0,
                ops_ = 0;
  std::vector<Shape> shapes_;
  std::vector<Form> forms_;
  std::vector<ValueForm> value_forms_;
  std::vector<Subject> subjects_;
  std::vector<std::string_view> paths_;
  std::vector<std::uint64_t> subject_bases_, path_bases_, foreign_last_;
  std::vector<std::uint16_t> last_;
  std::vector<std::uint32_t> used_runs_;  // sources, ascending
  std::uint64_t time_ = 0, next_op_ = 0;
  char* at_ = nullptr;
  char* end_ = nullptr;
};

Status Decoder::decode(std::string_view stored) {
  LANDFALL_TRY(read_columns(stored));
  LANDFALL_TRY(read_counts());
  LANDFALL_TRY(read_shapes());
  LANDFALL_TRY(read_forms());
  LANDFALL_TRY(read_value_forms());
  LANDFALL_TRY(read_names());
  LANDFALL_TRY(read_bases());
  LANDFALL_TRY(check_indexes());
  return write_rows();
}

Status Decoder::read_columns(std::string_view stored) {
  struct Part {
    std::string_view bytes;
    std::size_t size;
    bool compressed;
  };
  std::array<Part, column_count> parts;
  std::size_t total = 0;
  for (Part& part : parts) {
    std::uint64_t head = 0, size = 0;
    if (!take_varint(stored, head)) return corrupt("cut off");
    part.compressed = (head & 1) != 0;
    part.size = size = head >> 1;
    if (part.size > header_.rows_bytes - total) return out_of_range("longer than the rows");
    total += part.size;
    if (part.compressed && !take_varint(stored, size)) return corrupt("cut off");
    if (size > stored.size()) return corrupt("cut off");
    part.bytes = stored.substr(0, size);
    stored.remove_prefix(size);
  }
  if (!stored.empty()) return corrupt("bytes behind them");
  buffer_ = std::make_unique_for_overwrite<char[]>(total + slack_bytes);
  char* to = buffer_.get();
  for (std::size_t c = 0; c < column_count; ++c) {
    if (parts[c].compressed) {
      LANDFALL_TRY(zstd_expand(parts[c].bytes, to, parts[c].size));
    } else if (parts[c].size != 0) {
      std::memcpy(to, parts[c].bytes.data(), parts[c].size);
    }
    columns_[c] = {to, parts[c].size};
    to += parts[c].size;
  }
  std::memset(to, 0, slack_bytes);
  return ok();
}

Status Decoder::read_counts() {
  for (std::uint64_t* count : {&runs_, &subject_count_, &shape_count_, &path_count_, &form_count_, &modelled_, &ops_}) {
    if (!take(counts, *count)) return corrupt("cut off in its counts");
  }
  if (!columns_[counts].empty()) return corrupt("bytes behind its counts");
  if (runs_ > columnar_runs_max || ops_ > columnar_ops_max || path_count_ > columnar_ops_max ||
      form_count_ > columnar_forms_max) {
    return out_of_range("counts over the limit");
  }
  const std::uint64_t rows = header_.count();
  if (subject_count_ > rows || shape_count_ > rows || modelled_ > runs_) return corrupt("counts that cannot be");
  if (form_count_ > columns_[Column::forms].size() || subject_count_ + path_count_ > columns_[name_rest].size()) {
    return corrupt("dictionaries cut off");
  }
  if (columns_[run_names].size() != runs_ * run_name_bytes) return corrupt("another number of runs");
  return ok();
}

Status Decoder::read_shapes() {
  shapes_.resize(shape_count_);
  for (Shape& shape : shapes_) {
    std::string_view head, attributes;
    std::uint64_t before = 0, size = 0;
    if (!take_bytes(Column::shapes, 3, head) || !take(Column::shapes, before) || !take(Column::shapes, size) ||
        before > size || !take_bytes(Column::shapes, size, attributes)) {
      return corrupt("bad shape of a row");
    }
    shape = {head[0], head[1], static_cast<std::uint8_t>(head[2]), attributes.substr(0, before),
             attributes.substr(before)};
    if (shape.device >= device_after_last) return out_of_range("device of a newer version");
  }
  return ok();
}

Status Decoder::read_forms() {
  forms_.resize(form_count_);
  std::string lists;
  std::vector<std::size_t> ends;
  for (Form& form : forms_) {
    std::uint64_t head = 0, source = 0;
    if (!take(Column::forms, head) || head / 2 > columnar_dots_max) return corrupt("bad form of an op");
    form.value = (head & 1) != 0;
    form.dots = static_cast<std::uint8_t>(head / 2);
    for (std::size_t i = 0; i < form.dots; ++i) {
      if (!take(Column::forms, source) || source >= dot_foreign + runs_) return corrupt("a dot of no run");
      form.sources[i] = static_cast<std::uint32_t>(source);
    }
    list_runs(form, lists);
    if (lists.size() > header_.rows_bytes) return out_of_range("runs longer than the rows");
    ends.push_back(lists.size());
  }
  run_lists_ = std::make_unique<char[]>(lists.size() + slack_bytes);
  std::memcpy(run_lists_.get(), lists.data(), lists.size());
  std::size_t begin = 0;
  for (std::size_t i = 0; i < forms_.size(); begin = ends[i++]) {
    forms_[i].runs = {run_lists_.get() + begin, ends[i] - begin};
  }
  return ok();
}

// Fills used_runs_, which numbers the runs of one payload.
template <class FormAt>
void Decoder::use_runs(std::uint64_t ops, const FormAt& form_at) {
  used_runs_.clear();
  for (std::uint64_t i = 0; i < ops; ++i) {
    const Form& form = form_at(i);
    for (std::size_t dot = 0; dot < form.dots; ++dot) {
      if (form.sources[dot] >= dot_foreign) used_runs_.push_back(form.sources[dot]);
    }
  }
  std::ranges::sort(used_runs_);
  used_runs_.erase(std::unique(used_runs_.begin(), used_runs_.end()), used_runs_.end());
}

void Decoder::list_runs(Form& form, std::string& lists) {
  use_runs(1, [&](std::uint64_t) -> const Form& { return form; });
  append_varint(lists, used_runs_.size());
  for (const std::uint32_t source : used_runs_) lists.append(run_name(source));
  for (std::size_t i = 0; i < form.dots; ++i) {
    if (form.sources[i] >= dot_foreign) form.numbers[i] = static_cast<std::uint8_t>(run_number(form.sources[i]));
  }
}

Status Decoder::read_value_forms() {
  value_forms_.resize(path_count_);
  for (ValueForm& form : value_forms_) {
    std::uint64_t prefix = 0, suffix = 0;
    if (!take(Column::value_forms, prefix) || !take(Column::value_forms, suffix) ||
        !take(Column::value_forms, form.fixed) || !take_bytes(Column::value_forms, prefix, form.prefix) ||
        !take_bytes(Column::value_forms, suffix, form.suffix)) {
      return corrupt("bad form of values");
    }
  }
  return ok();
}

// Names are used at least once, so that together they are no longer than the rows.
Status Decoder::read_names() {
  std::string names;
  std::vector<std::size_t> begins;
  for (const std::uint64_t count : {subject_count_, path_count_}) {
    std::size_t last = 0;  // bytes of the name before
    for (std::uint64_t i = 0; i < count; ++i) {
      std::uint64_t shared = 0, rest = 0;
      std::string_view bytes;
      if (!take(name_shared, shared) || !take(name_rest, rest) || shared > last ||
          !take_bytes(name_text, rest, bytes)) {
        return corrupt("bad name");
      }
      if (names.size() + shared + rest > header_.rows_bytes) return out_of_range("names longer than the rows");
      begins.push_back(names.size());
      names.append(std::string(names, names.size() - last, shared)).append(bytes);
      last = shared + rest;
    }
  }
  begins.push_back(names.size());
  names_ = std::make_unique<char[]>(names.size() + slack_bytes);
  std::memcpy(names_.get(), names.data(), names.size());
  const auto name = [&](std::size_t i) {
    return std::string_view(names_.get() + begins[i], begins[i + 1] - begins[i]);
  };
  for (std::size_t i = 0; i < subject_count_; ++i) {
    const std::string_view subject = name(i);
    subjects_.push_back({subject, {{}, device_of(subject, device_rest), device_of(subject, device_middle)}});
  }
  for (std::size_t i = 0; i < path_count_; ++i) paths_.push_back(name(subject_count_ + i));
  return ok();
}

Status Decoder::read_bases() {
  foreign_last_.resize(runs_);
  if (subject_count_ * path_count_ <= columnar_cells_max) last_.resize(subject_count_ * path_count_);
  if (modelled_ == 0) return ok();
  subject_bases_.resize(subject_count_);
  path_bases_.resize(path_count_);
  for (auto* of : {&subject_bases_, &path_bases_}) {
    std::uint64_t last = 0, difference = 0;
    for (std::uint64_t& base : *of) {
      if (!take(bases, difference)) return corrupt("cut off in its bases");
      last = base = last + unzigzag(difference);
    }
  }
  return ok();
}

// Columns of indexes have one entry for each row or op, each within its dictionary.
Status Decoder::check_indexes() {
  struct Indexes {
    Column low;
    std::uint64_t entries, of;
  };
  for (const auto& [low, entries, of] :
       {Indexes{row_shape_low, header_.count(), shape_count_},
        Indexes{row_subject_low, header_.count(), subject_count_}, Indexes{op_path_low, ops_, path_count_},
        Indexes{op_form_low, ops_, form_count_}}) {
    if (columns_[low].size() != entries || columns_[low + 1].size() != (of > 256 ? entries : 0)) {
      return corrupt("another number of indexes");
    }
    if (of == 256) continue;
    for (std::size_t i = 0; i < entries; ++i) {
      if (index(low, i, of) >= of) return corrupt("index outside its dictionary");
    }
  }
  return ok();
}

Status Decoder::write_rows() {
  rows_.resize(header_.rows_bytes + slack_bytes);
  at_ = rows_.data();
  end_ = at_ + rows_.size();
  for (std::uint32_t row = 0; row < header_.count(); ++row) {
    if (!write_row(row)) return corrupt("bad row");
  }
  const auto written = static_cast<std::size_t>(at_ - rows_.data());
  if (written != header_.rows_bytes) return corrupt("rows of another length");
  if (next_op_ != ops_) return corrupt("another number of ops");
  for (const Column c : {row_ms, row_tick, row_ops, own_dots, foreign_dots, lengths, text}) {
    if (!columns_[c].empty()) return corrupt("bytes that no row needs");
  }
  rows_.resize(written);
  return ok();
}

bool Decoder::write_row(std::uint32_t row) {
  std::uint64_t ms = 0, tick = 0;
  if (!take(row_ms, ms) || !take(row_tick, tick) || tick > 0xffff) return false;
  const std::uint64_t now = (time_ >> 16) + unzigzag(ms);
  time_ = now << 16 | (unzigzag(ms) == 0 ? (time_ + tick + 1) & 0xffff : tick);
  const Shape& shape = shapes_[index(row_shape_low, row, shape_count_)];
  const std::uint32_t subject_index = index(row_subject_low, row, subject_count_);
  const Subject& subject = subjects_[subject_index];
  const std::string_view device = subject.devices[shape.device];
  if (shape.device != device_as_is && device.empty()) return false;
  const std::size_t attributes =
      shape.before.size() + shape.behind.size() + (device.empty() ? 0 : 1 + varint_size(device.size()) + device.size());
  if (!room(32 + subject.name.size() + attributes)) return false;

  char* const begin = at_;
  ++at_;  // the length, of one byte for most rows
  for (int i = 0; i < 8; ++i) *at_++ = static_cast<char>(time_ >> (8 * i));
  *at_++ = shape.kind;
  *at_++ = shape.flags;
  at_ = copy(put_varint(at_, subject.name.size()), subject.name);
  at_ = copy(put_varint(at_, attributes), shape.before);
  if (!device.empty()) {
    *at_++ = attribute_device;
    at_ = copy(put_varint(at_, device.size()), device);
  }
  at_ = copy(at_, shape.behind);
  if (!write_payload(row, subject_index)) return false;

  const auto size = static_cast<std::size_t>(at_ - begin) - 1;
  const std::size_t more = varint_size(size) - 1;
  if (more != 0) {
    if (!room(more)) return false;
    std::memmove(begin + 1 + more, begin + 1, size);
    at_ += more;
  }
  put_varint(begin, size);
  return true;
}

bool Decoder::write_payload(std::uint32_t row, std::uint32_t subject) {
  std::uint64_t ops = 0;
  if (!take(row_ops, ops)) return false;
  if (ops == 0) {
    std::uint64_t size = 0;
    std::string_view bytes;
    if (!take(lengths, size) || !take_bytes(text, size, bytes) || !room(size)) return false;
    at_ = copy(at_, bytes);
    return true;
  }
  if (ops > ops_ - next_op_ || !room(1)) return false;
  *at_++ = change_version;
  if (ops > 1 && !write_run_list(ops)) return false;
  for (std::uint64_t i = 0; i < ops; ++i, ++next_op_) {
    const Form& form = forms_[index(op_form_low, next_op_, form_count_)];
    if (!write_op(form, index(op_path_low, next_op_, path_count_), row, subject, ops == 1)) return false;
  }
  return true;
}

bool Decoder::write_run_list(std::uint64_t ops) {
  use_runs(ops, [&](std::uint64_t i) -> const Form& { return forms_[index(op_form_low, next_op_ + i, form_count_)]; });
  if (!room(varint_bytes_max + used_runs_.size() * run_name_bytes)) return false;
  at_ = put_varint(at_, used_runs_.size());
  for (const std::uint32_t source : used_runs_) at_ = copy(at_, run_name(source));
  return true;
}

bool Decoder::write_op(const Form& form, std::uint32_t path, std::uint32_t row, std::uint32_t subject, bool alone) {
  const std::string_view name = paths_[path];
  const ValueForm& values = value_forms_[path];
  std::string_view middle;
  if (form.value) {
    std::uint64_t size = values.fixed - 1;
    if ((values.fixed == 0 && !take(lengths, size)) || !take_bytes(text, size, middle)) return false;
  }
  if (!room((alone ? form.runs.size() : 0) + name.size() + 20 * std::size_t{form.dots} + values.prefix.size() +
            middle.size() + values.suffix.size() + 20)) {
    return false;
  }
  if (alone) at_ = copy(at_, form.runs);
  at_ = copy(put_varint(at_, name.size() * 2 + (form.value ? 1 : 0)), name);
  *at_++ = static_cast<char>(form.dots);
  std::uint16_t none = 0;
  std::uint16_t& last = last_.empty() ? none : last_[subject * path_count_ + path];
  for (std::size_t i = 0; i < form.dots; ++i) {
    const std::uint32_t source = form.sources[i];
    std::uint64_t seq = 0, number = form.numbers[i];
    if (source == dot_last) {
      if (last == 0) return false;
      seq = header_.first + last - 1;
    } else if (source == dot_own) {
      if (!take(own_dots, seq)) return false;
      seq = header_.first + row - unzigzag(seq);
    } else {
      const std::uint64_t run = source - dot_foreign;
      if (!take(foreign_dots, seq)) return false;
      const bool modelled = run + 1 == modelled_;
      seq = unzigzag(seq) + (modelled ? subject_bases_[subject] + path_bases_[path] : foreign_last_[run]);
      foreign_last_[run] = seq;
      if (!alone) number = run_number(source);
    }
    at_ = put_varint(put_varint(at_, number), seq);
  }
  if (!form.value) return true;
  last = static_cast<std::uint16_t>(row + 1);
  at_ = put_varint(at_, values.prefix.size() + middle.size() + values.suffix.size());
  at_ = copy(copy(copy(at_, values.prefix), middle), values.suffix);
  return true;
}

}  // namespace

Status decode(const ChunkHeader& header, std::string_view stored, std::string& rows) {
  return Decoder(header, rows).decode(stored);
}

}  // namespace landfall::columns
