#include "edgeruntime/mqtt/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <utility>

#include "schemas/check.h"
#include "schemas/crc32c.h"

namespace landfall {

namespace {
// Large enough for the page size of every machine we run on (arm64 may have 64 KiB).
constexpr std::size_t header_bytes = 64 << 10;
constexpr std::uint64_t magic = 0x31474e4952464c;  // "LFRING1"
constexpr std::uint32_t format_version = 1;
constexpr std::size_t boot_id_bytes = 40;
constexpr std::size_t resident_bytes_max = 1 << 20;  // of the ring, in a reader that sleeps

enum ReaderState : std::uint32_t { awake = 0, pausing = 1, sleeping = 2 };
enum LockByte : off_t { writer_lock = 0, reader_lock = 1 };

using Position = std::atomic<std::uint64_t>;
static_assert(Position::is_always_lock_free, "processes share these: a lock of one would be nothing to the other");
}  // namespace

// What each side writes lies on its own cache lines.
struct RingHeader {
  std::uint64_t magic_number;
  std::uint32_t version;
  std::uint32_t reserved;
  std::uint64_t data_bytes;
  std::uint64_t generation;
  char boot_id[boot_id_bytes];

  // Written by the writer.
  alignas(128) Position head;
  Position urgent;  // the head after the newest urgent record
  std::atomic<std::uint32_t> writer_waits;
  std::uint32_t writer_pid;
  std::atomic<std::uint64_t> written;
  std::array<std::atomic<std::uint64_t>, 3> refused;
  std::atomic<std::uint64_t> refused_access, control_version;

  // Written by the reader; the writer takes reader_state back to awake.
  alignas(128) Position tail;
  std::atomic<std::uint32_t> tail_moves;  // futex
  std::uint32_t reader_pid;
  alignas(128) std::atomic<std::uint32_t> reader_state;
};
static_assert(sizeof(RingHeader) <= header_bytes);

namespace {

struct RecordHead {
  std::uint32_t body_bytes;
  std::uint32_t crc;
  std::uint32_t received_ms;
  std::uint32_t reserved;
};
static_assert(sizeof(RecordHead) == 16);

std::uint64_t record_bytes(std::size_t body) { return (sizeof(RecordHead) + body + 7) & ~std::uint64_t{7}; }

// Over the position and the generation too: what an earlier lap left at the same place never checks.
std::uint32_t record_crc(std::uint64_t generation, std::uint64_t position, const RecordHead& head,
                         std::string_view body) {
  std::array<char, 24> name;
  std::memcpy(name.data(), &generation, 8);
  std::memcpy(name.data() + 8, &position, 8);
  std::memcpy(name.data() + 16, &head.body_bytes, 4);
  std::memcpy(name.data() + 20, &head.received_ms, 4);
  return crc32c(body, crc32c({name.data(), name.size()}));
}

std::uint32_t monotonic_ms() {
  timespec t;
  LANDFALL_CHECK(clock_gettime(CLOCK_MONOTONIC_COARSE, &t) == 0);
  return static_cast<std::uint32_t>(t.tv_sec * 1000 + t.tv_nsec / 1'000'000);
}

std::string read_boot_id() {
  std::string id(boot_id_bytes, '\0');
  const int fd = ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? -1 : ::read(fd, id.data(), id.size() - 1);
  if (fd >= 0) ::close(fd);
  LANDFALL_CHECK(got > 0);
  return id;
}

Error system_error(std::string_view what, const std::filesystem::path& path) {
  return {Code::disk, std::string(what) + " " + path.string() + ": " + std::strerror(errno)};
}

// Allocated in full, as a hole in a full file system would be a SIGBUS in the middle of a message; and written, as the
// first write to a block that is only reserved would be a change of metadata that the log's syncs then wait for.
Status fill_with_zeros(int fd, std::size_t bytes, const std::filesystem::path& file) {
  const std::string zeros(1 << 20, '\0');
  for (std::size_t done = 0; done < bytes;) {
    const auto n = ::write(fd, zeros.data(), std::min(zeros.size(), bytes - done));
    if (n < 0 && errno != EINTR) return system_error("allocate ring", file);
    done += n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  if (::fdatasync(fd) != 0) return system_error("allocate ring", file);
  return ok();
}

// Locks of the open file, not of the process: gone with its last descriptor, whatever ended the process.
bool lock_byte(int fd, LockByte byte) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

bool is_locked_by_other(int fd, LockByte byte) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

sockaddr_un socket_address(const std::filesystem::path& path, bool& fits) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = path.string();
  fits = text.size() < sizeof(address.sun_path);
  if (fits) std::memcpy(address.sun_path, text.data(), text.size());
  return address;
}

}  // namespace

bool has_ring_writer(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return false;
  const bool held = is_locked_by_other(fd, writer_lock);
  ::close(fd);
  return held;
}

class RingMapping {
 public:
  RingMapping(int fd, std::size_t data) : fd_(fd), data_bytes_(data) {}
  ~RingMapping() {
    if (at_ != nullptr) ::munmap(at_, header_bytes + 2 * data_bytes_);
    ::close(fd_);
  }
  RingMapping(const RingMapping&) = delete;
  RingMapping& operator=(const RingMapping&) = delete;

  // Owns `fd` from here on, whatever comes of it.
  static Result<std::unique_ptr<RingMapping>> map(int fd, std::size_t data_bytes, const std::filesystem::path& file) {
    auto mapping = std::make_unique<RingMapping>(fd, data_bytes);
    const std::size_t all = header_bytes + 2 * data_bytes;
    void* space = ::mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) return system_error("map", file);
    mapping->at_ = static_cast<char*>(space);
    const auto place = [&](std::size_t to, std::size_t from, std::size_t size) {
      return ::mmap(mapping->at_ + to, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                    static_cast<off_t>(from)) != MAP_FAILED;
    };
    if (!place(0, 0, header_bytes + data_bytes) || !place(header_bytes + data_bytes, header_bytes, data_bytes)) {
      return system_error("map", file);
    }
    return mapping;
  }

  RingHeader& header() { return *reinterpret_cast<RingHeader*>(at_); }
  const RingHeader& header() const { return *reinterpret_cast<const RingHeader*>(at_); }
  char* data(std::uint64_t position) { return at_ + header_bytes + position % data_bytes_; }
  std::size_t data_bytes() const { return data_bytes_; }
  int fd() const { return fd_; }
  void sync() { ::msync(at_, header_bytes + data_bytes_, MS_SYNC); }
  // The pages stay in the kernel's cache; they only no longer count as ours.
  void unmap_pages() { ::madvise(at_ + header_bytes, 2 * data_bytes_, MADV_DONTNEED); }

  bool is_record_at(std::uint64_t position, std::uint64_t end_max, RecordHead& head) {
    if (end_max - position < sizeof(head)) return false;
    std::memcpy(&head, data(position), sizeof(head));
    if (head.body_bytes == 0 || record_bytes(head.body_bytes) > end_max - position) return false;
    return head.crc ==
           record_crc(header().generation, position, head, {data(position) + sizeof(head), head.body_bytes});
  }

 private:
  int fd_;
  char* at_ = nullptr;
  std::size_t data_bytes_;
};

// ---- writer

RingWriter::RingWriter(std::unique_ptr<RingMapping> mapping) : mapping_(std::move(mapping)) {
  auto& header = mapping_->header();
  head_ = header.head.load();
  header.writer_pid = static_cast<std::uint32_t>(::getpid());
  header.writer_waits.store(0);
}

RingWriter::~RingWriter() {
  if (socket_ >= 0) ::close(socket_);
}

Result<std::unique_ptr<RingWriter>> RingWriter::open(const std::filesystem::path& file,
                                                     const std::filesystem::path& wake_socket) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT)
      return Error{Code::unavailable, "ring " + file.string() + ": not made yet, is the edge running?"};
    return system_error("open ring", file);
  }
  const auto refuse = [&](Code code, const std::string& why) {
    ::close(fd);
    return Error{code, "ring " + file.string() + ": " + why};
  };
  if (!lock_byte(fd, writer_lock)) return refuse(Code::conflict, "another broker with this plugin is writing to it");
  struct stat status {};
  if (::fstat(fd, &status) != 0 || status.st_size <= static_cast<off_t>(header_bytes)) {
    return refuse(Code::unavailable, "not made yet, is the edge running?");
  }
  const auto data_bytes = static_cast<std::size_t>(status.st_size) - header_bytes;
  auto mapping = RingMapping::map(fd, data_bytes, file);
  if (!mapping.ok()) return std::move(mapping).error();
  const auto& header = (*mapping)->header();
  const auto not_usable = [&](Code code, const char* why) { return Error{code, "ring " + file.string() + ": " + why}; };
  if (header.magic_number != magic) return not_usable(Code::unavailable, "not made yet, is the edge running?");
  if (header.version != format_version || header.data_bytes != data_bytes) {
    return not_usable(Code::corrupt,
                      "not in the format of this plugin: use the plugin of the same version as the edge");
  }
  if (std::memcmp(header.boot_id, read_boot_id().data(), boot_id_bytes) != 0) {
    return not_usable(Code::unavailable, "the edge has not taken it over since the machine started");
  }
  if (header.head.load() - header.tail.load() > data_bytes) return not_usable(Code::corrupt, "head and tail disagree");

  std::unique_ptr<RingWriter> writer(new RingWriter(std::move(*mapping)));
  bool fits = false;
  const auto address = socket_address(wake_socket, fits);
  if (!fits) return Error{Code::out_of_range, "socket path too long: " + wake_socket.string()};
  // Connecting fails while no reader listens, so each wake names the address.
  writer->socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (writer->socket_ < 0) return system_error("socket for", wake_socket);
  writer->wake_address_.resize(sizeof(address));
  std::memcpy(writer->wake_address_.data(), &address, sizeof(address));
  writer->wake_reader(Urgency::urgent);
  return writer;
}

Result<std::uint64_t> RingWriter::write(std::span<const std::string_view> parts, Urgency urgency,
                                        std::chrono::milliseconds wait) {
  std::size_t body = 0;
  for (const auto part : parts) body += part.size();
  const std::uint64_t size = record_bytes(body), room = mapping_->data_bytes();
  if (body == 0 || size > room / 4)
    return Error{Code::out_of_range, "ring: record of " + std::to_string(body) + " bytes"};
  if (head_ + size > tail() + room && !wait_for_tail(head_ + size - room, wait)) {
    return Error{Code::unavailable, "ring is full: the edge does not drain it"};
  }
  char* at = mapping_->data(head_);
  char* to = at + sizeof(RecordHead);
  for (const auto part : parts) {
    to = std::copy(part.begin(), part.end(), to);
  }
  auto& header = mapping_->header();
  RecordHead head{static_cast<std::uint32_t>(body), 0, monotonic_ms(), 0};
  head.crc = record_crc(header.generation, head_, head, {at + sizeof(head), body});
  std::memcpy(at, &head, sizeof(head));
  head_ += size;
  header.written.fetch_add(1, std::memory_order_relaxed);
  if (urgency == Urgency::urgent) header.urgent.store(head_);
  header.head.store(head_);
  wake_reader(urgency);
  return head_;
}

bool RingWriter::has_plenty_of_room(std::size_t body) const {
  return head_ + record_bytes(body) <= tail() + mapping_->data_bytes() / 4;
}

Status RingWriter::wait_durable(std::uint64_t position, std::chrono::milliseconds wait) {
  if (tail() >= position || wait_for_tail(position, wait)) return ok();
  return Error{Code::unavailable, "the edge did not make the message durable in time"};
}

bool RingWriter::wait_for_tail(std::uint64_t at_least, std::chrono::milliseconds wait) {
  if (!reader_moves()) return false;
  auto& header = mapping_->header();
  wake_reader(Urgency::urgent);
  timespec now;
  LANDFALL_CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  const auto nanoseconds = now.tv_nsec + (wait.count() % 1000) * 1'000'000;
  const timespec deadline{now.tv_sec + wait.count() / 1000 + nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  header.writer_waits.store(1);
  bool reached = false;
  for (;;) {
    const auto moves = header.tail_moves.load();
    if ((reached = tail() >= at_least)) break;
    const long rc = ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&header.tail_moves), FUTEX_WAIT_BITSET, moves,
                              &deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
    if (rc != 0 && errno == ETIMEDOUT) break;
  }
  header.writer_waits.store(0);
  if (!reached) gave_up_at_ = tail();
  return reached;
}

bool RingWriter::reader_moves() const { return gave_up_at_ != tail(); }

void RingWriter::wake_reader(Urgency urgency) {
  auto& state = mapping_->header().reader_state;
  const auto now = state.load();
  if (now == awake || (now == pausing && urgency == Urgency::can_rest)) return;
  if (state.exchange(awake) == awake) return;
  const char byte = 1;
  // A full queue means that the reader has wakes to read; a refused one, that none lives. Both are fine.
  (void)::sendto(socket_, &byte, 1, MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(wake_address_.data()),
                 static_cast<socklen_t>(wake_address_.size()));
}

void RingWriter::count(RingCounter counter) {
  auto& header = mapping_->header();
  auto& count = counter == RingCounter::refused_access ? header.refused_access
                                                       : header.refused[static_cast<std::size_t>(counter)];
  count.fetch_add(1, std::memory_order_relaxed);
}
void RingWriter::set_control_version(std::uint64_t version) { mapping_->header().control_version.store(version); }
std::uint64_t RingWriter::head() const { return head_; }
std::uint64_t RingWriter::tail() const { return mapping_->header().tail.load(); }

// ---- reader

RingReader::RingReader(std::unique_ptr<RingMapping> mapping, Options options)
    : mapping_(std::move(mapping)), options_(std::move(options)) {}

RingReader::~RingReader() {
  if (socket_ >= 0) ::close(socket_);
}

Result<std::unique_ptr<RingReader>> RingReader::open(Options options) {
  const auto& file = options.file;
  const std::size_t wanted = (options.bytes + header_bytes - 1) / header_bytes * header_bytes;
  // Twice at most: the second time after setting aside what is not a ring.
  for (int attempt = 0; attempt < 2; ++attempt) {
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return system_error("open ring", file);
    if (!lock_byte(fd, reader_lock)) {
      ::close(fd);
      return Error{Code::conflict, "ring " + file.string() + ": another edge is reading it"};
    }
    struct stat status {};
    ::fstat(fd, &status);
    const auto size = static_cast<std::size_t>(status.st_size);
    std::uint64_t first_word = 0;
    const bool is_new =
        ::pread(fd, &first_word, sizeof(first_word), 0) < 8 || first_word == 0;  // or killed while making it
    if (is_new) {
      if (auto filled = fill_with_zeros(fd, header_bytes + wanted, file); !filled.ok()) {
        (void)!::ftruncate(fd, 0);
        ::close(fd);
        return std::move(filled).error();
      }
    }
    const bool has_size = is_new || (size > header_bytes && (size - header_bytes) % header_bytes == 0);
    if (has_size) {
      auto mapping = RingMapping::map(fd, is_new ? wanted : size - header_bytes, file);
      if (!mapping.ok()) return std::move(mapping).error();
      std::unique_ptr<RingReader> reader(new RingReader(std::move(*mapping), options));
      const auto& header = reader->mapping_->header();
      const bool ours = header.magic_number == magic && header.version == format_version &&
                        header.data_bytes == reader->mapping_->data_bytes();
      if (is_new || ours) {
        LANDFALL_TRY(reader->bind_socket());
        if (is_new) {
          reader->begin_generation();
          reader->mapping_->sync();
        }
        reader->take_over();
        return reader;
      }
    } else {
      ::close(fd);
    }
    if (::rename(file.c_str(), (file.string() + ".bad").c_str()) != 0) return system_error("set aside ring", file);
  }
  return Error{Code::disk, "ring " + file.string() + ": cannot be made anew"};
}

Status RingReader::bind_socket() {
  bool fits = false;
  const auto address = socket_address(options_.wake_socket, fits);
  if (!fits) {
    return Error{Code::out_of_range, "socket path too long (" + std::to_string(sizeof(address.sun_path) - 1) +
                                         " bytes): " + options_.wake_socket.string()};
  }
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  ::unlink(options_.wake_socket.c_str());  // of an earlier reader: the lock says that it is dead
  if (socket_ < 0 || ::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return system_error("bind", options_.wake_socket);
  }
  return ok();
}

// Within one boot head and tail are as the processes left them. After another boot they are as old as the last page the
// kernel wrote, so records are believed by their checksum alone.
void RingReader::take_over() {
  auto& header = mapping_->header();
  header.reader_pid = static_cast<std::uint32_t>(::getpid());
  header.reader_state.store(awake);
  next_ = header.tail.load();
  recovering_ = std::memcmp(header.boot_id, read_boot_id().data(), boot_id_bytes) != 0 ||
                header.head.load() - next_ > mapping_->data_bytes();
  if (!recovering_) return;
  recovered_head_ = next_;
  RecordHead head;
  while (mapping_->is_record_at(recovered_head_, next_ + mapping_->data_bytes(), head)) {
    recovered_head_ += record_bytes(head.body_bytes);
  }
  if (recovered_head_ == next_) begin_generation();
}

// The boot id goes first and comes last: killed in between, the next reader finds an earlier boot's ring without records.
void RingReader::begin_generation() {
  auto& header = mapping_->header();
  std::memset(header.boot_id, 0, boot_id_bytes);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  header.version = format_version;
  header.data_bytes = mapping_->data_bytes();
  header.generation = header.generation == options_.nonce ? options_.nonce + 1 : options_.nonce;
  header.head.store(0);
  header.urgent.store(0);
  header.tail.store(0);
  header.written.store(0);
  header.refused_access.store(0);
  header.control_version.store(0);
  for (auto& counter : header.refused) counter.store(0);
  next_ = 0;
  recovering_ = false;
  header.magic_number = magic;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  std::memcpy(header.boot_id, read_boot_id().data(), boot_id_bytes);
}

Result<std::optional<RingReader::Record>> RingReader::next() {
  const auto end = head();
  if (next_ == end) return std::optional<Record>();
  RecordHead head;
  if (end - next_ > mapping_->data_bytes() || !mapping_->is_record_at(next_, end, head)) {
    auto error = Error{Code::corrupt, "ring " + options_.file.string() + ": record at " + std::to_string(next_) +
                                          " does not check; " + std::to_string(end - next_) + " bytes lost"};
    next_ = end;
    return error;
  }
  Record record{next_,
                next_ + record_bytes(head.body_bytes),
                head.received_ms,
                {mapping_->data(next_) + sizeof(head), head.body_bytes}};
  touched_bytes_ += record.end - next_;
  next_ = record.end;
  return std::optional<Record>(record);
}

void RingReader::release(std::uint64_t position) {
  auto& header = mapping_->header();
  header.tail.store(position);
  if (recovering_ && position == recovered_head_) begin_generation();
  header.tail_moves.fetch_add(1);
  if (header.writer_waits.load() != 0) {
    ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&header.tail_moves), FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
}

bool RingReader::announce(Rest rest) {
  auto& header = mapping_->header();
  if (rest == Rest::sleep && touched_bytes_ > resident_bytes_max) {
    mapping_->unmap_pages();
    touched_bytes_ = 0;
  }
  header.reader_state.store(rest == Rest::sleep ? sleeping : pausing);
  // Whoever wrote before the line above saw a reader that was awake, and sent nothing.
  const bool nothing_to_do = rest == Rest::sleep ? head() == next_ : header.urgent.load() <= next_;
  if (!nothing_to_do) header.reader_state.store(awake);
  return nothing_to_do;
}

void RingReader::clear_wakes() {
  char bytes[64];
  while (::recv(socket_, bytes, sizeof(bytes), 0) > 0) {}
}

std::uint64_t RingReader::generation() const { return mapping_->header().generation; }
bool RingReader::writer_alive() const { return is_locked_by_other(mapping_->fd(), writer_lock); }
std::uint64_t RingReader::head() const { return recovering_ ? recovered_head_ : mapping_->header().head.load(); }
std::uint64_t RingReader::used_bytes() const { return head() - mapping_->header().tail.load(); }
std::size_t RingReader::bytes() const { return mapping_->data_bytes(); }

std::uint32_t RingReader::oldest_ms() const {
  const auto tail = mapping_->header().tail.load();
  RecordHead record;
  if (tail == head() || !mapping_->is_record_at(tail, head(), record)) return 0;
  return monotonic_ms() - record.received_ms;
}

std::uint64_t RingReader::control_version() const { return mapping_->header().control_version.load(); }

RingCounts RingReader::counts() const {
  const auto& header = mapping_->header();
  return {header.written.load(), header.refused[0].load(), header.refused[1].load(), header.refused[2].load(),
          header.refused_access.load()};
}

}  // namespace landfall
