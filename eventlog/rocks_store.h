#pragma once

#include <filesystem>
#include <memory>

#include "eventlog/loop.h"
#include "eventlog/store.h"

namespace landfall {

struct RocksStoreOptions {
  std::filesystem::path directory;      // the database; made where missing
  std::filesystem::path anchor;         // the anchor file, outside `directory`
  std::size_t memory_bytes = 10 << 20;  // memtables and block cache together
  // strict: the anchor is synced in each group, before its `done`. Otherwise at most one second later.
  enum class AnchorSync { standard, strict } anchor_sync = AnchorSync::standard;
  bool read_only = false;  // for `landfall log` on a stopped or running node; commit is refused
  // Called on the loop thread once storage has failed for good: the process must exit with status 75.
  std::function<void(const Error&)> on_fatal;
};

// Store on RocksDB: one writer thread merges waiting batches into one Write(sync), options and their reasons in rocks_store.cc.
// Errors of open: `conflict` where another process holds the directory, `disk` for anything the file system says.
Result<std::unique_ptr<Store>> open_rocks_store(Loop& loop, RocksStoreOptions options);

}  // namespace landfall
