#include "crdt/quota.h"

#include <string>

#include "crdt/cell.h"
#include "crdt/register.h"

namespace landfall {
namespace {

constexpr std::string_view used_token = "/used", to_token = "/to/";

std::string used_path(std::string_view path, const RunId& run) {
  return std::string(path) + "/" + to_string(run) + std::string(used_token);
}
std::string to_path(std::string_view path, const RunId& run, const NodeId& to) {
  return std::string(path) + "/" + to_string(run) + std::string(to_token) + to_string(to);
}

Error refused(std::string_view path, const std::string& why) {
  return {Code::out_of_range, "quota " + std::string(path) + ": " + why};
}

Status check_left(std::span<const Entry> entries, std::string_view path, const NodeId& node, std::uint64_t amount) {
  const Quota all = quota(entries, path);
  const auto mine = all.shares.find(node);
  const std::int64_t left = mine == all.shares.end() ? 0 : mine->second.left();
  if (left >= 0 && amount <= static_cast<std::uint64_t>(left)) return ok();
  return refused(path, std::to_string(amount) + " asked, " + std::to_string(left) + " left at this node of " +
                           std::to_string(all.made()) + " in all");
}

Result<Op> move_op(std::span<const Entry> entries, std::string_view path, const RunId& own, const NodeId& to,
                   std::uint64_t amount) {
  const std::string at = to_path(path, own, to);
  Cell cell = cell_at(entries, at);
  LANDFALL_TRY(grow(cell.p, amount, path));
  return put_op(entries, at, to_string(cell));
}

}  // namespace

std::int64_t QuotaShare::left() const { return difference(sum(made, got), sum(gave, used)); }

std::uint64_t Quota::made() const {
  std::uint64_t all = 0;
  for (const auto& [node, share] : shares) all = sum(all, share.made);
  return all;
}

std::uint64_t Quota::used() const {
  std::uint64_t all = 0;
  for (const auto& [node, share] : shares) all = sum(all, share.used);
  return all;
}

Quota quota(std::span<const Entry> entries, std::string_view path) {
  Quota found;
  std::map<NodeId, std::uint64_t> returned;
  std::string_view last;
  for (const Entry* entry : under(entries, path)) {
    // Siblings of one path are joined at the first of them.
    if (entry->path.size() == path.size() || entry->path == last) continue;
    last = entry->path;
    const std::string_view rest = last.substr(path.size() + 1);
    const auto slash = rest.find('/');
    if (slash == std::string_view::npos) continue;
    const auto run = parse_run(rest.substr(0, slash));
    if (!run) continue;
    const std::string_view what = rest.substr(slash);
    const Cell cell = cell_at(entries, last);
    QuotaShare& share = found.shares[run->node];
    if (what == used_token) {
      share.used = sum(share.used, cell.p);
      returned[run->node] = sum(returned[run->node], cell.n);  // one run gives back what another used
    } else if (what.starts_with(to_token)) {
      const auto to = parse_node(what.substr(to_token.size()));
      if (!to) continue;
      if (*to == run->node) {
        share.made = sum(share.made, cell.p);
      } else {
        share.gave = sum(share.gave, cell.p);
        QuotaShare& other = found.shares[*to];
        other.got = sum(other.got, cell.p);
      }
    }
  }
  for (const auto& [node, back] : returned) {
    std::uint64_t& used = found.shares[node].used;
    used = used > back ? used - back : 0;
  }
  return found;
}

Result<Op> grant_op(std::span<const Entry> entries, std::string_view path, const RunId& own, std::uint64_t amount) {
  return move_op(entries, path, own, own.node, amount);
}

Result<Op> transfer_op(std::span<const Entry> entries, std::string_view path, const RunId& own, const NodeId& to,
                       std::uint64_t amount) {
  if (to == own.node) return refused(path, "a transfer to this node itself");
  LANDFALL_TRY(check_left(entries, path, own.node, amount));
  return move_op(entries, path, own, to, amount);
}

Result<Op> spend_op(std::span<const Entry> entries, std::string_view path, const RunId& own, std::uint64_t amount) {
  LANDFALL_TRY(check_left(entries, path, own.node, amount));
  const std::string at = used_path(path, own);
  Cell cell = cell_at(entries, at);
  LANDFALL_TRY(grow(cell.p, amount, path));
  return put_op(entries, at, to_string(cell));
}

Result<Op> give_back_op(std::span<const Entry> entries, std::string_view path, const RunId& own, std::uint64_t amount) {
  const Quota all = quota(entries, path);
  const auto mine = all.shares.find(own.node);
  const std::uint64_t in_use = mine == all.shares.end() ? 0 : mine->second.used;
  if (amount > in_use) {
    return refused(path, std::to_string(amount) + " given back, " + std::to_string(in_use) + " in use at this node");
  }
  const std::string at = used_path(path, own);
  Cell cell = cell_at(entries, at);
  LANDFALL_TRY(grow(cell.n, amount, path));
  return put_op(entries, at, to_string(cell));
}

}  // namespace landfall
