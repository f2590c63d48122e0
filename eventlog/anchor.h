#pragma once

#include <filesystem>
#include <map>
#include <vector>

#include "eventlog/store.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// The file that remembers, outside the database, what was A1: without it a lost WAL tail looks like a clean start.
//
// 64 KiB made once, 1,024 slots of 64 bytes in two halves. Each half is a generation of its own: it begins with a copy of
// every live record and goes on with new ones. A half is synced before the other is written over, so one of them is intact
// whatever tears. Private to this folder; not thread safe.
class AnchorRing {
 public:
  // Reads the file where there is one. Errors: `disk`.
  static Result<AnchorRing> open(const std::filesystem::path& file, bool read_only);
  AnchorRing(AnchorRing&& other) noexcept;
  AnchorRing& operator=(AnchorRing&&) = delete;
  ~AnchorRing();

  // Makes the file. A node that begins empty does so before its first commit, any other after it: a missing file beside a
  // database that is not empty means a restored backup, and must until that is noted in the log. Errors: `disk`.
  Status create();
  bool missing() const { return fd_ < 0; }

  // As found by open. Errors: `not_found` (no file), `corrupt` (written, and no slot intact).
  Result<std::vector<AnchorRecord>> found() const;

  // Makes the file where it is missing. Writes to the page cache, and syncs by itself where the rule above wants it. Errors: `disk`.
  Status write(const std::vector<AnchorRecord>& records);
  Status sync();
  bool dirty() const { return dirty_; }

 private:
  AnchorRing(std::filesystem::path file, int fd) : file_(std::move(file)), fd_(fd) {}
  struct Live {
    AnchorRecord record;
    std::uint64_t number = 0;  // counts writes: the newest of one (run, stream) has the highest
  };
  Status load();
  Status append(const AnchorRecord& record);
  Status turn();
  Status flush_queued();
  Status disk_error(const char* what) const;

  std::filesystem::path file_;
  int fd_ = -1;
  std::map<RunStream, Live> live_;
  std::vector<AnchorRecord> found_;
  bool missing_ = false, written_before_ = false, all_broken_ = false, dirty_ = false;
  std::uint64_t number_ = 0;
  std::size_t slot_ = 0;
  std::vector<char> queued_;  // slots that follow one another, not yet handed to the operating system
  std::size_t queued_at_ = 0;
};

}  // namespace landfall
