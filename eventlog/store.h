#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

enum class Table : std::uint8_t { chunks, index, state, meta };
inline constexpr std::size_t table_count = 4;

// What the anchor remembers outside the database: one run's last A1 event of a stream. 64 bytes on disk with its CRC.
struct AnchorRecord {
  RunId run;
  Stream stream = Stream::control;
  std::uint64_t seq = 0;
  std::array<std::uint8_t, 8> chain_prefix{};  // of the chain after seq
  friend bool operator==(const AnchorRecord&, const AnchorRecord&) = default;
};

// Puts and deletes applied as one, and the anchor records that become true with them.
struct Batch {
  struct Op {
    Table table;
    std::string key;
    std::optional<std::string> value;  // none: delete
  };
  std::vector<Op> ops;
  std::vector<AnchorRecord> anchors;
  void put(Table table, std::string key, std::string value) {
    ops.push_back({table, std::move(key), std::move(value)});
  }
  void erase(Table table, std::string key) { ops.push_back({table, std::move(key), std::nullopt}); }
};

// The node's disk: an ordered map per table with atomic, durable batches, and a small anchor outside it.
//
// The seam for storage faults: RocksStore is the real one, sim::Disk forgets what was not yet durable when its machine
// crashes. Both pass tests/conformance/store_test.cc. Loop thread only.
class Store {
 public:
  using Committed = std::function<void(Status)>;
  virtual ~Store() = default;

  // Applies `batch` in submission order, then calls `done` on the loop thread, once, after the data survives power loss
  // (WAL fsync), in submission order. Commits that wait together share one fsync: reads see them
  // all from the first `done` of theirs on, and none before.
  //
  // Errors passed to `done`: `disk`. After the first `disk` error every later commit fails with it until the process
  // restarts: a failed fsync is never retried.
  virtual void commit(Batch batch, Committed done) = 0;
  virtual std::size_t commits_waiting() const = 0;
  // As commit, but returns once it is durable and reads see it. For what is mended before the loop turns: nothing may be
  // waiting. Errors: `disk`.
  virtual Status write(Batch batch) = 0;

  // Errors: `not_found`; `disk` or `corrupt` for a read error, which is fatal for the caller's log.
  virtual Result<std::string> get(Table table, std::string_view key) const = 0;

  // Calls `visit(key, value)` for keys >= from in order (or <= from backwards) until it returns false.
  enum class Order { forward, backward };
  using Visit = std::function<bool(std::string_view key, std::string_view value)>;
  virtual Status scan(Table table, std::string_view from, Order order, const Visit& visit) const = 0;

  // The newest anchor record per (run, stream) as found when the store was opened. Errors: `not_found` where there is
  // no anchor file (a new node, or a restored database), `corrupt` where it was written and no slot is intact.
  virtual Result<std::vector<AnchorRecord>> anchors() const = 0;
  virtual bool was_empty() const = 0;  // no key in any table when opened
};

}  // namespace landfall
