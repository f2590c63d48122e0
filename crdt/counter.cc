#include "crdt/counter.h"

#include <map>
#include <string>

#include "crdt/cell.h"
#include "crdt/register.h"

namespace landfall {
namespace {

constexpr std::string_view base_token = "base/";

struct Counted {
  Cell cell, base;
  bool live = false;  // has a cell
};

std::map<std::string_view, Counted> counted(std::span<const Entry> entries, std::string_view path) {
  std::map<std::string_view, Counted> runs;
  for (const Entry* entry : under(entries, path)) {
    if (entry->path.size() == path.size()) continue;
    std::string_view run = std::string_view(entry->path).substr(path.size() + 1);
    const bool is_base = run.starts_with(base_token);
    if (is_base) run.remove_prefix(base_token.size());
    const auto cell = parse_cell(entry->value);
    if (!cell || !parse_run(run)) continue;
    Counted& mine = runs[run];
    (is_base ? mine.base : mine.cell) = join(is_base ? mine.base : mine.cell, *cell);
    mine.live = mine.live || !is_base;
  }
  return runs;
}

std::string cell_path(std::string_view path, std::string_view run) {
  return std::string(path) + "/" + std::string(run);
}
std::string base_path(std::string_view path, std::string_view run) {
  return std::string(path) + "/" + std::string(base_token) + std::string(run);
}

}  // namespace

std::optional<std::int64_t> counter_value(std::span<const Entry> entries, std::string_view path) {
  std::uint64_t up = 0, down = 0;
  bool live = false;
  for (const auto& [run, has] : counted(entries, path)) {
    const Cell all = join(has.cell, has.base);  // a cell that was taken away stands at its base
    up = sum(up, all.p - has.base.p);
    down = sum(down, all.n - has.base.n);
    live = live || has.live;
  }
  if (!live) return {};
  return difference(up, down);
}

Result<Op> count_op(std::span<const Entry> entries, std::string_view path, const RunId& own, std::int64_t by) {
  const std::string run = to_string(own);
  Cell cell = join(cell_at(entries, cell_path(path, run)), cell_at(entries, base_path(path, run)));
  if (by >= 0) {
    LANDFALL_TRY(grow(cell.p, static_cast<std::uint64_t>(by), path));
  } else {
    LANDFALL_TRY(grow(cell.n, -static_cast<std::uint64_t>(by), path));
  }
  return put_op(entries, cell_path(path, run), to_string(cell));
}

std::vector<Op> reset_ops(std::span<const Entry> entries, std::string_view path) {
  std::vector<Op> ops;
  for (const auto& [run, has] : counted(entries, path)) {
    const Cell all = join(has.cell, has.base);
    if (all != has.base) ops.push_back(put_op(entries, base_path(path, run), to_string(all)));
  }
  return ops;
}

std::vector<Op> erase_counter_ops(std::span<const Entry> entries, std::string_view path) {
  std::vector<Op> ops = reset_ops(entries, path);
  for (const auto& [run, has] : counted(entries, path)) {
    if (has.live) ops.push_back(erase_op(entries, cell_path(path, run)));
  }
  return ops;
}

}  // namespace landfall
