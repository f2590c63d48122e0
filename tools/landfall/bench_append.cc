#include "tools/landfall/bench_append.h"

#include <fcntl.h>
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "edgeruntime/uv_loop.h"
#include "eventlog/log.h"
#include "eventlog/rocks_store.h"
#include "schemas/crc32c.h"

namespace landfall {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t key_bytes = 16;
constexpr std::size_t memtable_bytes = 64 << 20;  // for both stores
constexpr std::size_t batches_in_flight = 6;
constexpr int subjects = 16;

struct Shape {
  const char* name;
  int writers;
  int batch;
};
constexpr Shape shapes[] = {{"8-writers", 8, 1}, {"batches-1000", 1, 1000}};

struct Measured {
  double events_per_second = 0;
  double p50_us = 0, p99_us = 0, cpu_us_per_event = 0, bytes_per_event = 0;
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double folder_bytes(const fs::path& folder) {
  double bytes = 0;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(folder, ignored)) {
    if (entry.is_regular_file(ignored)) bytes += static_cast<double>(entry.file_size(ignored));
  }
  return bytes;
}

// From start to the last completion, and how long each commit took.
class Meter {
 public:
  explicit Meter(double seconds) : start_(bench_now()), end_(start_ + seconds), cpu_(cpu_seconds()) {}
  bool over() const { return bench_now() >= end_; }
  void add(double began, std::uint64_t events) {
    last_ = bench_now();
    events_ += events;
    latencies_.push_back(static_cast<float>((last_ - began) * 1e6));
  }
  void join(const Meter& other) {
    last_ = std::max(last_, other.last_);
    events_ += other.events_;
    latencies_.insert(latencies_.end(), other.latencies_.begin(), other.latencies_.end());
  }
  Measured result(double bytes) {
    if (events_ == 0) throw std::runtime_error("nothing was written within the time given: raise --seconds");
    std::sort(latencies_.begin(), latencies_.end());
    auto events = static_cast<double>(events_);
    return {events / (last_ - start_), latencies_[latencies_.size() / 2], latencies_[latencies_.size() * 99 / 100],
            (cpu_seconds() - cpu_) / events * 1e6, bytes / events};
  }

 private:
  double start_, end_, cpu_, last_ = 0;
  std::uint64_t events_ = 0;
  std::vector<float> latencies_;
};

using Pool = std::vector<std::string>;

void put_key(char* key, std::uint64_t writer, std::uint64_t seq) {
  for (int i = 0; i < 8; ++i) {
    key[i] = static_cast<char>(writer >> (56 - 8 * i));
    key[8 + i] = static_cast<char>(seq >> (56 - 8 * i));
  }
}

// Calls write(writer, first seq) on a thread per writer until the time is over.
Measured run_threads(const Shape& shape, double seconds, const fs::path& folder,
                     const std::function<void(int writer, std::uint64_t seq)>& write) {
  Meter all(seconds);
  std::vector<Meter> meters(static_cast<std::size_t>(shape.writers), all);
  std::vector<std::thread> threads;
  for (int w = 0; w < shape.writers; ++w) {
    threads.emplace_back([&, w] {
      for (std::uint64_t seq = 0; !all.over(); seq += static_cast<std::uint64_t>(shape.batch)) {
        double began = bench_now();
        write(w, seq);
        meters[static_cast<std::size_t>(w)].add(began, static_cast<std::uint64_t>(shape.batch));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const Meter& meter : meters) all.join(meter);
  return all.result(folder_bytes(folder));
}

Measured run_rocksdb(const Shape& shape, double seconds, const fs::path& folder, const Pool& pool) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = rocksdb::kNoCompression;
  options.bottommost_compression = rocksdb::kNoCompression;
  options.write_buffer_size = memtable_bytes;
  options.max_background_jobs = 2;
  rocksdb::DB* opened = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(options, folder.string(), &opened);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  std::unique_ptr<rocksdb::DB> db(opened);
  return run_threads(shape, seconds, folder, [&](int writer, std::uint64_t seq) {
    rocksdb::WriteOptions durable;
    durable.sync = true;
    rocksdb::WriteBatch batch;
    char key[key_bytes];
    for (int i = 0; i < shape.batch; ++i, ++seq) {
      put_key(key, static_cast<std::uint64_t>(writer) + 1, seq);
      batch.Put({key, key_bytes}, pool[(seq + static_cast<std::uint64_t>(writer) * 7919) % pool.size()]);
    }
    rocksdb::Status written = db->Write(durable, &batch);
    if (!written.ok()) throw std::runtime_error(written.ToString());
  });
}

// length | crc32c | key | payload, appended; writers that wait together share one write and one fdatasync.
class RawFile {
 public:
  explicit RawFile(const fs::path& file) : fd_(::open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0640)) {
    if (fd_ < 0) throw std::runtime_error(file.string() + ": " + std::strerror(errno));
  }
  ~RawFile() { ::close(fd_); }
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;

  static void encode(std::string& out, std::uint64_t writer, std::uint64_t seq, const std::string& payload) {
    char head[8 + key_bytes];
    put_key(head + 8, writer, seq);
    const std::size_t at = out.size();
    out.append(head, sizeof head);
    out += payload;
    auto length = static_cast<std::uint32_t>(key_bytes + payload.size());
    std::uint32_t crc = crc32c(std::string_view(out).substr(at + 8));
    std::memcpy(out.data() + at, &length, 4);
    std::memcpy(out.data() + at + 4, &crc, 4);
  }
  void write_alone(const std::string& bytes) {
    for (std::size_t at = 0; at < bytes.size();) {
      ssize_t n = ::write(fd_, bytes.data() + at, bytes.size() - at);
      if (n < 0) throw std::runtime_error(std::strerror(errno));
      at += static_cast<std::size_t>(n);
    }
    if (::fdatasync(fd_) != 0) throw std::runtime_error(std::strerror(errno));
  }
  void write_together(const std::string& bytes) {
    std::unique_lock lock(mutex_);
    waiting_ += bytes;
    const std::uint64_t mine = group_;
    while (written_ < mine) {
      if (busy_) {
        wake_.wait(lock);
        continue;
      }
      busy_ = true;
      std::string group;
      group.swap(waiting_);
      const std::uint64_t number = group_++;
      lock.unlock();
      write_alone(group);
      lock.lock();
      written_ = number;
      busy_ = false;
      wake_.notify_all();
    }
  }

 private:
  int fd_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::string waiting_;
  std::uint64_t group_ = 1, written_ = 0;
  bool busy_ = false;
};

Measured run_raw_file(const Shape& shape, double seconds, const fs::path& folder, const Pool& pool) {
  fs::create_directories(folder);
  RawFile file(folder / "raw");
  return run_threads(shape, seconds, folder, [&](int writer, std::uint64_t seq) {
    std::string bytes;
    bytes.reserve(static_cast<std::size_t>(shape.batch) * 224);
    for (int i = 0; i < shape.batch; ++i, ++seq) {
      RawFile::encode(bytes, static_cast<std::uint64_t>(writer) + 1, seq,
                      pool[(seq + static_cast<std::uint64_t>(writer) * 7919) % pool.size()]);
    }
    if (shape.writers == 1)
      file.write_alone(bytes);
    else
      file.write_together(bytes);
  });
}

// The whole path: rows, chain, chunk, index, received context, anchor. Writers live on the loop, as a node's do.
class LogRun {
 public:
  LogRun(const Shape& shape, double seconds, const fs::path& folder, const Pool& pool)
      : shape_(shape), pool_(pool), folder_(folder) {
    for (int i = 0; i < subjects; ++i) subjects_.push_back("bench/d" + std::to_string(i));
    fs::create_directories(folder);
    auto opened = open_rocks_store(
        loop_,
        {.directory = folder / "log", .anchor = folder / "anchor", .memory_bytes = memtable_bytes, .on_fatal = {}});
    if (!opened) throw std::runtime_error(opened.error().detail);
    store_ = std::move(*opened);
    auto log = Log::open(loop_, *store_, {.node = NodeId{{1}}, .boot_id = "bench", .software = "bench"});
    if (!log) throw std::runtime_error(log.error().detail);
    log_ = std::move(*log);
    events_.resize(static_cast<std::size_t>(shape.batch));
    meter_.emplace(seconds);
  }

  Measured run() {
    open_ = shape_.writers == 1 ? batches_in_flight : static_cast<std::size_t>(shape_.writers);
    for (std::size_t w = 0, n = open_; w < n; ++w) append(w * 7919);
    loop_.run();
    if (!failure_.empty()) throw std::runtime_error(failure_);
    return meter_->result(folder_bytes(folder_));
  }

 private:
  void append(std::uint64_t seq) {
    for (std::size_t i = 0; i < events_.size(); ++i) {
      Event& event = events_[i];
      event.kind = Kind::telemetry;
      event.subject = subjects_[(seq + i) % subjects_.size()];
      event.payload = pool_[(seq + i) % pool_.size()];
    }
    log_->append(Stream::telemetry, events_, [this, began = bench_now(), seq](const Result<Log::Appended>& appended) {
      if (!appended)
        failure_ = appended.error().detail;
      else
        meter_->add(began, appended->count);
      if (!appended || meter_->over()) {
        if (--open_ == 0) loop_.stop();
        return;
      }
      append(seq + events_.size());
    });
  }

  const Shape& shape_;
  const Pool& pool_;
  fs::path folder_;
  std::vector<std::string> subjects_;
  UvLoop loop_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Log> log_;
  std::vector<Event> events_;
  std::optional<Meter> meter_;
  std::size_t open_ = 0;
  std::string failure_;
};

Measured run_log(const Shape& shape, double seconds, const fs::path& folder, const Pool& pool) {
  return LogRun(shape, seconds, folder, pool).run();
}

BenchCase run_case(const Shape& shape, const BenchOptions& options, const Pool& pool) {
  BenchCase result;
  result.name = shape.name;
  result.references = {{"rocksdb", {}}, {"raw-file", {}}};
  std::vector<Measured> ours;
  const fs::path folder = options.dir / "landfall-bench-append";
  auto fresh = [&](const char* what, int round) {
    bench_progress(std::string("append ") + shape.name + ", round " + std::to_string(round + 1) + " of " +
                   std::to_string(options.runs) + ": " + what);
    fs::remove_all(folder);
    return folder;
  };
  for (int round = 0; round < options.runs; ++round) {
    ours.push_back(run_log(shape, options.seconds, fresh("landfall", round), pool));
    result.runs.push_back(ours.back().events_per_second);
    result.references[0].runs.push_back(
        run_rocksdb(shape, options.seconds, fresh("rocksdb", round), pool).events_per_second);
    result.references[1].runs.push_back(
        run_raw_file(shape, options.seconds, fresh("raw-file", round), pool).events_per_second);
  }
  fs::remove_all(folder);
  bench_progress_done();
  auto middle = [&](double Measured::*field) {
    std::vector<double> values;
    for (const Measured& m : ours) values.push_back(m.*field);
    return median(values);
  };
  result.extras = {{"p50_us", middle(&Measured::p50_us)},
                   {"p99_us", middle(&Measured::p99_us)},
                   {"cpu_us_per_event", middle(&Measured::cpu_us_per_event)},
                   {"disk_bytes_per_event", middle(&Measured::bytes_per_event)}};
  return result;
}

}  // namespace

int bench_append(const BenchOptions& options) {
  try {
    const Pool pool = bench_events();
    BenchReport report{"append", {}};
    for (const Shape& shape : shapes) report.cases.push_back(run_case(shape, options, pool));
    print_report(report, options.json, std::cout);
    return 0;
  } catch (const std::exception& error) {
    bench_progress_done();
    std::cerr << "bench append: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace landfall
