#include "eventlog/state_delta.h"

#include <algorithm>
#include <optional>

#include "eventlog/layout.h"
#include "schemas/op.h"

namespace landfall {

std::string_view StateDelta::target(const std::string& key) {
  constexpr std::size_t after = 1 + 4 + 8;  // 0x00 | handle | seq
  return std::string_view(key).substr(1, key.size() - 1 - after);
}

std::size_t state_row_bytes(std::string_view object, std::string_view path) {
  return object.size() + path.size() + layout::state_key({}, {}, {}, 0, 0).size();
}

std::uint32_t StateDeltaMaker::number(const RunId& run) {
  const auto [known, fresh] = known_.emplace(run, static_cast<std::uint32_t>(delta_.runs.size()));
  if (fresh) delta_.runs.push_back(run);
  return known->second;
}

Status StateDeltaMaker::add(std::uint64_t seq, const Event& event) {
  if (!has_ops(event.kind)) return ok();
  OpReader reader(event.payload, of_.run);
  numbers_.clear();
  for (std::size_t i = 0; reader.status() && i < reader.runs(); ++i)
    numbers_.push_back(number(reader.run(static_cast<std::uint32_t>(i))));
  OpReader::View op;
  while (reader.next(op)) {
    if (op.value && event.kind == Kind::voided) return Error{Code::corrupt, "void: puts a value"};
    bytes_ += (op.supersedes.size() + (op.value ? 1 : 0)) * state_row_bytes(event.subject, op.path);
    if (bytes_ > chunk_state_bytes_max) return Error{Code::out_of_range, "change: over 16 MiB of rows"};
    for (const OpReader::Superseded& dot : op.supersedes)
      delta_.rows.push_back({numbers_[dot.run], dot.seq,
                             layout::state_key(of_.stream, event.subject, op.path, 0, dot.seq), std::nullopt});
    if (op.value)
      delta_.rows.push_back({0, seq, layout::state_key(of_.stream, event.subject, op.path, 0, seq),
                             layout::state_value(event.time, event.clock, *op.value)});
  }
  if (!reader.status()) return reader.status().error();
  if (delta_.objects.empty() || delta_.objects.back() != event.subject) delta_.objects.emplace_back(event.subject);
  return ok();
}

StateDelta StateDeltaMaker::take() {
  std::ranges::sort(delta_.objects);
  delta_.objects.erase(std::unique(delta_.objects.begin(), delta_.objects.end()), delta_.objects.end());
  auto& rows = delta_.rows;
  std::ranges::sort(rows, [](const auto& a, const auto& b) {
    const int order = a.key.compare(b.key);
    return order != 0 ? order < 0 : a.run < b.run;
  });
  // A write that is superseded here is neither put nor deleted; one that is superseded twice is deleted once.
  std::size_t kept = 0;
  for (std::size_t i = 0, end; i < rows.size(); i = end) {
    std::size_t puts = rows[i].value ? 1 : 0;
    for (end = i + 1; end < rows.size() && rows[end].run == rows[i].run && rows[end].key == rows[i].key; ++end)
      puts += rows[end].value ? 1 : 0;
    if (puts > 0 && puts < end - i) continue;
    if (kept != i) rows[kept] = std::move(rows[i]);
    ++kept;
  }
  rows.resize(kept);
  return std::move(delta_);
}

void apply_delta(const StateTarget& target, const ChunkHeader& header, StateDelta& delta, Batch& batch,
                 const NoteRow& note) {
  if (target.pending.size() == 0 && delta.empty()) return;
  const RunStream& of = header.of;
  std::vector<std::optional<layout::Handle>> handles(delta.runs.size());
  batch.ops.reserve(batch.ops.size() + delta.rows.size() + 16);
  for (StateDelta::Row& row : delta.rows) {
    const Dot dot{delta.runs[row.run], of.stream, row.seq};
    if (row.value && target.pending.contains(dot, StateDelta::target(row.key))) continue;
    if (!row.value && !target.received.contains(dot)) {
      target.pending.add(dot, StateDelta::target(row.key), batch);
      continue;
    }
    if (note) note(row.key, dot, row.value ? &*row.value : nullptr);
    auto& handle = handles[row.run];
    if (!handle) handle = target.runs.find(dot.run)->handle;
    layout::set_state_handle(row.key, *handle);
    batch.ops.push_back({Table::state, std::move(row.key), std::move(row.value)});
  }
  target.pending.settle(of, header.first, header.last, batch);
}

Result<StateDelta> make_state_delta(const RunStream& of, std::uint64_t first, std::string_view rows) {
  StateDeltaMaker maker(of);
  RowReader reader(rows);
  for (std::string_view row = reader.next(); !row.empty(); row = reader.next(), ++first) {
    Result<Event> event = decode_row(row);
    if (!event) return std::move(event).error();
    LANDFALL_TRY(maker.add(first, *event));
  }
  return maker.take();
}

}  // namespace landfall
