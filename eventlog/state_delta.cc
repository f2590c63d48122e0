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

std::uint32_t StateDeltaMaker::number(const RunId& run) {
  const auto [known, fresh] = known_.emplace(run, static_cast<std::uint32_t>(delta_.runs.size()));
  if (fresh) delta_.runs.push_back(run);
  return known->second;
}

Status StateDeltaMaker::add(std::uint64_t seq, const Event& event) {
  if (event.kind != Kind::change) return ok();
  OpReader reader(event.payload, of_.run);
  numbers_.clear();
  for (std::size_t i = 0; reader.status() && i < reader.runs(); ++i)
    numbers_.push_back(number(reader.run(static_cast<std::uint32_t>(i))));
  OpReader::View op;
  while (reader.next(op)) {
    for (const OpReader::Superseded& dot : op.supersedes)
      delta_.erases.push_back(
          {numbers_[dot.run], dot.seq, layout::state_key(of_.stream, event.subject, op.path, 0, dot.seq)});
    if (op.value)
      delta_.puts.push_back({seq, layout::state_key(of_.stream, event.subject, op.path, 0, seq),
                             layout::state_value(event.time, event.clock, *op.value)});
  }
  if (!reader.status()) return reader.status().error();
  if (delta_.objects.empty() || delta_.objects.back() != event.subject) delta_.objects.emplace_back(event.subject);
  return ok();
}

StateDelta StateDeltaMaker::take() {
  std::ranges::sort(delta_.objects);
  delta_.objects.erase(std::unique(delta_.objects.begin(), delta_.objects.end()), delta_.objects.end());
  std::ranges::sort(delta_.puts, {}, &StateDelta::Put::key);
  auto& erases = delta_.erases;
  std::ranges::sort(erases,
                    [](const auto& a, const auto& b) { return a.run != b.run ? a.run < b.run : a.key < b.key; });
  const auto same = [](const auto& a, const auto& b) { return a.run == b.run && a.key == b.key; };
  erases.erase(std::unique(erases.begin(), erases.end(), same), erases.end());
  // Both are ordered by key as far as the chunk's own run goes: a put that is erased leaves both.
  auto put = delta_.puts.begin();
  std::vector<StateDelta::Put> puts;
  const auto both = [&](const StateDelta::Erase& erase) {
    if (erase.run != 0) return false;
    while (put != delta_.puts.end() && put->key < erase.key) puts.push_back(std::move(*put++));
    if (put == delta_.puts.end() || put->key != erase.key) return false;
    ++put;
    return true;
  };
  erases.erase(std::remove_if(erases.begin(), erases.end(), both), erases.end());
  puts.insert(puts.end(), std::make_move_iterator(put), std::make_move_iterator(delta_.puts.end()));
  delta_.puts = std::move(puts);
  return std::move(delta_);
}

void apply_delta(const StateTarget& target, const ChunkHeader& header, StateDelta& delta, Batch& batch,
                 const NoteRow& note) {
  if (target.pending.size() == 0 && delta.empty()) return;
  const RunStream& of = header.of;
  const layout::Handle own = target.runs.find(of.run)->handle;
  for (StateDelta::Put& put : delta.puts) {
    const Dot dot{of.run, of.stream, put.seq};
    if (target.pending.contains(dot, StateDelta::target(put.key))) continue;
    if (note) note(put.key, dot, &put.value);
    layout::set_state_handle(put.key, own);
    batch.put(Table::state, std::move(put.key), std::move(put.value));
  }
  target.pending.settle(of, header.first, header.last, batch);
  std::vector<std::optional<layout::Handle>> handles(delta.runs.size());
  for (StateDelta::Erase& erase : delta.erases) {
    const Dot dot{delta.runs[erase.run], of.stream, erase.seq};
    if (!target.received.contains(dot)) {
      target.pending.add(dot, StateDelta::target(erase.key), batch);
      continue;
    }
    if (note) note(erase.key, dot, nullptr);
    auto& handle = handles[erase.run];
    if (!handle) handle = target.runs.find(dot.run)->handle;
    layout::set_state_handle(erase.key, *handle);
    batch.erase(Table::state, std::move(erase.key));
  }
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
