#include "eventlog/anchor.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "schemas/crc32c.h"

namespace landfall {
namespace {

constexpr std::size_t slot_bytes = 64;
constexpr std::size_t half_slots = 512;
constexpr std::size_t slots = 2 * half_slots;
// Live records beyond this: the one that has waited longest for a newer one is let go. A lost WAL tail takes the newest
// commits, and those are the records that stay.
constexpr std::size_t live_max = 384;
constexpr char magic[4] = {'L', 'F', 'A', '1'};

// magic 4 | node 16 | counter u32 | nonce u32 | stream u8, zero 3 | seq u64 | chain prefix 8 | number u64 | zero 4 | crc32c
// of the 60 bytes before. Integers little-endian.
using Slot = std::array<char, slot_bytes>;

template <class T>
void put(Slot& slot, std::size_t at, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i) slot[at + i] = static_cast<char>(value >> (8 * i));
}
template <class T>
T get(const char* slot, std::size_t at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i)
    value |= static_cast<T>(static_cast<unsigned char>(slot[at + i])) << (8 * i);
  return value;
}

Slot encode(const AnchorRecord& record, std::uint64_t number) {
  Slot slot{};
  std::memcpy(slot.data(), magic, sizeof magic);
  std::memcpy(slot.data() + 4, record.run.node.bytes.data(), 16);
  put(slot, 20, record.run.counter);
  put(slot, 24, record.run.nonce);
  slot[28] = static_cast<char>(record.stream);
  put(slot, 32, record.seq);
  std::memcpy(slot.data() + 40, record.chain_prefix.data(), 8);
  put(slot, 48, number);
  put(slot, 60, crc32c({slot.data(), 60}));
  return slot;
}

struct Decoded {
  AnchorRecord record;
  std::uint64_t number;
};
std::optional<Decoded> decode(const char* slot) {
  if (std::memcmp(slot, magic, sizeof magic) != 0 || get<std::uint32_t>(slot, 60) != crc32c({slot, 60}))
    return std::nullopt;
  Decoded d;
  std::memcpy(d.record.run.node.bytes.data(), slot + 4, 16);
  d.record.run.counter = get<std::uint32_t>(slot, 20);
  d.record.run.nonce = get<std::uint32_t>(slot, 24);
  if (static_cast<unsigned char>(slot[28]) >= stream_count) return std::nullopt;
  d.record.stream = static_cast<Stream>(slot[28]);
  d.record.seq = get<std::uint64_t>(slot, 32);
  std::memcpy(d.record.chain_prefix.data(), slot + 40, 8);
  d.number = get<std::uint64_t>(slot, 48);
  return d;
}

}  // namespace

Result<AnchorRing> AnchorRing::open(const std::filesystem::path& file, bool read_only) {
  AnchorRing ring(file, ::open(file.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  ring.missing_ = ring.fd_ < 0 && errno == ENOENT;
  if (ring.missing_) return ring;
  if (ring.fd_ < 0) return ring.disk_error("open").error();
  if (Status status = ring.load(); !status) return std::move(status).error();
  return ring;
}

// Real zeros, synced with the folder's entry: later writes change no metadata, so that they cost one flush only.
Status AnchorRing::create() {
  fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd_ < 0) return disk_error("make");
  std::vector<char> zeros(slots * slot_bytes, 0);
  if (::pwrite(fd_, zeros.data(), zeros.size(), 0) != static_cast<ssize_t>(zeros.size()) || ::fsync(fd_) != 0) {
    return disk_error("preallocate");
  }
  int folder = ::open(file_.has_parent_path() ? file_.parent_path().c_str() : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = folder >= 0 && ::fsync(folder) == 0;
  if (folder >= 0) ::close(folder);
  return synced ? ok() : disk_error("sync the folder of");
}

AnchorRing::AnchorRing(AnchorRing&& other) noexcept
    : file_(std::move(other.file_)),
      fd_(std::exchange(other.fd_, -1)),
      live_(std::move(other.live_)),
      found_(std::move(other.found_)),
      missing_(other.missing_),
      written_before_(other.written_before_),
      all_broken_(other.all_broken_),
      dirty_(other.dirty_),
      number_(other.number_),
      slot_(other.slot_) {}

AnchorRing::~AnchorRing() {
  if (fd_ < 0) return;
  if (dirty_) ::fdatasync(fd_);
  ::close(fd_);
}

Status AnchorRing::load() {
  std::vector<char> bytes(slots * slot_bytes, 0);
  std::size_t have = 0;
  while (have < bytes.size()) {
    ssize_t n = ::pread(fd_, bytes.data() + have, bytes.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return disk_error("read");
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  written_before_ = std::any_of(bytes.begin(), bytes.end(), [](char c) { return c != 0; });
  std::size_t newest = 0;
  std::map<RunStream, std::size_t> at_slot;
  for (std::size_t i = 0; i < slots; ++i) {
    auto decoded = decode(bytes.data() + i * slot_bytes);
    if (!decoded) continue;
    Live& live = live_[{decoded->record.run, decoded->record.stream}];
    if (live.number < decoded->number)
      live = {decoded->record, decoded->number}, at_slot[{decoded->record.run, decoded->record.stream}] = i;
    if (decoded->number >= number_) number_ = decoded->number, newest = i;
  }
  all_broken_ = written_before_ && live_.empty();
  for (const auto& [of, live] : live_) found_.push_back(live.record);
  // The half that holds the newest record stays as it is and writing begins with a new generation in the other, unless a
  // crash left that half before it had a copy of everything: then it is begun again.
  const std::size_t half = newest / half_slots;
  const bool complete =
      std::all_of(at_slot.begin(), at_slot.end(), [half](const auto& s) { return s.second / half_slots == half; });
  slot_ = written_before_ ? (complete ? 1 - half : half) * half_slots : 0;
  return ok();
}

Result<std::vector<AnchorRecord>> AnchorRing::found() const {
  if (missing_) return Error{Code::not_found, "anchor " + file_.string() + ": none"};
  if (all_broken_) return Error{Code::corrupt, "anchor " + file_.string() + ": no slot is intact"};
  return found_;
}

Status AnchorRing::write(const std::vector<AnchorRecord>& records) {
  if (fd_ < 0 && !records.empty()) LANDFALL_TRY(create());
  for (const AnchorRecord& record : records) {
    if (slot_ % half_slots == 0) LANDFALL_TRY(turn());
    auto& live = live_[{record.run, record.stream}];
    live = {record, number_ + 1};
    LANDFALL_TRY(append(record));
  }
  return flush_queued();
}

// Enters a half: what the other one holds becomes durable first, then all that is live is copied over.
Status AnchorRing::turn() {
  LANDFALL_TRY(flush_queued());
  LANDFALL_TRY(sync());
  while (live_.size() >= live_max) {
    auto oldest = std::min_element(live_.begin(), live_.end(),
                                   [](const auto& a, const auto& b) { return a.second.number < b.second.number; });
    live_.erase(oldest);
  }
  std::vector<Live*> in_order;
  for (auto& [of, live] : live_) in_order.push_back(&live);
  std::sort(in_order.begin(), in_order.end(), [](const Live* a, const Live* b) { return a->number < b->number; });
  for (Live* live : in_order) {
    live->number = number_ + 1;
    LANDFALL_TRY(append(live->record));
  }
  return ok();
}

Status AnchorRing::append(const AnchorRecord& record) {
  if (queued_.empty()) queued_at_ = slot_;
  Slot slot = encode(record, ++number_);
  queued_.insert(queued_.end(), slot.begin(), slot.end());
  slot_ = (slot_ + 1) % slots;
  return slot_ % half_slots == 0 ? flush_queued() : ok();
}

Status AnchorRing::flush_queued() {
  if (queued_.empty()) return ok();
  ssize_t n = ::pwrite(fd_, queued_.data(), queued_.size(), static_cast<off_t>(queued_at_ * slot_bytes));
  if (n != static_cast<ssize_t>(queued_.size())) return disk_error("write");
  queued_.clear();
  dirty_ = true;
  return ok();
}

Status AnchorRing::sync() {
  if (dirty_ && ::fdatasync(fd_) != 0) return disk_error("sync");
  dirty_ = false;
  return ok();
}

Status AnchorRing::disk_error(const char* what) const {
  return Error{Code::disk, std::string(what) + " anchor " + file_.string() + ": " + std::strerror(errno)};
}

}  // namespace landfall
