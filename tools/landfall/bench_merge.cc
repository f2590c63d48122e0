#include "tools/landfall/bench_merge.h"

#include <time.h>

#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>

#include "crdt/register.h"
#include "crdt/set.h"
#include "crdt/state.h"
#include "edgeruntime/uv_loop.h"
#include "eventlog/chain.h"
#include "eventlog/log.h"
#include "eventlog/rocks_store.h"
#include "schemas/op.h"

namespace landfall {
namespace fs = std::filesystem;
namespace {

constexpr std::uint32_t devices = 1000, keys = 20, tags = 16, replicas = 3;
constexpr std::uint64_t edits_default = 10'000;
constexpr Stream stream = Stream::desired;

class XorShift {
 public:
  explicit XorShift(std::uint32_t seed) : state_(seed) {}
  std::uint32_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    return state_ ^= state_ << 5;
  }
  std::uint32_t below(std::uint32_t bound) { return next() % bound; }

 private:
  std::uint32_t state_;
};

std::string value_of(XorShift& random) {
  std::string value = "v";
  std::uint32_t number = random.next();
  for (int i = 0; i < 7; ++i, number = number / 36 + random.below(7))
    value += "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36];
  return value;
}

std::string device_of(std::uint32_t number) { return "twin/dev" + std::to_string(number); }
std::string key_of(std::uint32_t number) { return "/p/k" + std::to_string(number); }

// One writer of a run: its events become chunks as a log would cut and chain them.
class Writer {
 public:
  explicit Writer(std::uint8_t number) {
    of_.run.node.bytes[0] = number;
    of_.run.counter = 1;
    of_.run.nonce = number * 2654435761u;
    of_.stream = stream;
    chain_ = chain_start(of_);
    clock_ = HybridClock(HybridTime::from_unix_ms(1'700'000'000'000));
  }

  Status write(State& state, const std::string& object, std::vector<Op> ops) {
    Result<std::string> payload = encode_ops(ops, of_);
    if (!payload) return std::move(payload).error();
    Event event;
    event.kind = Kind::change;
    event.subject = object;
    event.payload = *payload;
    event.clock = ClockClass::synced;
    event.time = clock_.tick(1'700'000'000'000 + static_cast<std::int64_t>(seq_) * 5);
    std::string row;
    LANDFALL_TRY(encode_row(event, row));
    if (rows_.size() + row.size() > chunk_rows_bytes_max || header_.count() == chunk_events_max) cut();
    if (rows_.empty()) header_ = {of_, {}, {}, seq_, seq_ - 1, event.time, event.time, chain_, {}, 0};
    hasher_.extend_rows(chain_, row);
    rows_ += row;
    header_.last = seq_;
    header_.time_max = event.time;
    return state.apply({of_.run, stream, seq_++}, event);
  }
  std::vector<std::string> chunks() {
    cut();
    return chunks_;
  }

 private:
  void cut() {
    if (rows_.empty()) return;
    header_.chain_after = chain_;
    chunks_.push_back(encode_chunk(header_, rows_));
    rows_.clear();
  }

  RunStream of_;
  std::uint64_t seq_ = 1;
  HybridClock clock_;
  Digest chain_;
  ChainHasher hasher_;
  ChunkHeader header_;
  std::string rows_;
  std::vector<std::string> chunks_;
};

struct Script {
  std::vector<std::string> preload;
  std::vector<std::string> edits[replicas];
  std::size_t bytes = 0;  // of edits
  std::uint64_t count = 0;
  State base, forked[replicas];
};

Status edit(Writer& writer, State& state, XorShift& random) {
  const std::string object = device_of(random.below(devices));
  const std::uint32_t kind = random.below(100);
  const Entries entries = state.object(stream, object);
  const std::string path = key_of(random.below(keys)), tag = "t" + std::to_string(random.below(tags));
  if (kind < 84) return writer.write(state, object, {put_op(entries, path, value_of(random))});
  if (kind < 92) return writer.write(state, object, {add_element_op(entries, "/tags", tag)});
  return writer.write(state, object, {kind < 96 ? remove_element_op(entries, "/tags", tag) : erase_op(entries, path)});
}

Result<Script> make_script(std::uint64_t edits) {
  Script script;
  XorShift random(1234567);
  Writer first(1);
  for (std::uint32_t d = 0; d < devices; ++d) {
    std::vector<Op> ops;
    for (std::uint32_t k = 0; k < keys; ++k) ops.push_back({key_of(k), value_of(random), {}});
    LANDFALL_TRY(first.write(script.base, device_of(d), std::move(ops)));
  }
  script.preload = first.chunks();
  for (std::uint32_t r = 0; r < replicas; ++r) {
    script.forked[r] = script.base;
    Writer writer(static_cast<std::uint8_t>(2 + r));
    XorShift own(1234567 + 7919 * r);
    for (std::uint64_t i = 0; i < edits; ++i) LANDFALL_TRY(edit(writer, script.forked[r], own));
    script.edits[r] = writer.chunks();
    for (const auto& chunk : script.edits[r]) script.bytes += chunk.size();
  }
  script.count = edits * replicas;
  return script;
}

Status merge_chunk(State& state, const std::string& bytes) {
  Result<ChunkHeader> header = read_chunk_header(bytes);
  if (!header) return std::move(header).error();
  if (state.received().contains(header->of, header->first, header->last)) return ok();
  Result<DecodedChunk> chunk = decode_chunk(bytes);
  if (!chunk) return std::move(chunk).error();
  return state.apply_rows(header->of, header->first, chunk->rows);
}

// What the others wrote, into each replica. Gives seconds.
Result<double> exchange(const Script& script, std::vector<State>& states) {
  const double started = bench_now();
  for (std::uint32_t r = 0; r < replicas; ++r) {
    for (std::uint32_t from = 0; from < replicas; ++from) {
      if (from == r) continue;
      for (const auto& chunk : script.edits[from]) LANDFALL_TRY(merge_chunk(states[r], chunk));
    }
  }
  return bench_now() - started;
}

Result<BenchCase> measure_memory(const Script& script, int rounds) {
  BenchCase result;
  result.name = "memory";
  result.unit = "ops/s";
  std::vector<double> again_ms;
  std::size_t entries = 0;
  const auto merged = static_cast<double>(script.count * (replicas - 1));
  for (int round = 0; round < rounds; ++round) {
    bench_progress("memory: round " + std::to_string(round + 1) + " of " + std::to_string(rounds));
    std::vector<State> states(script.forked, script.forked + replicas);
    auto seconds = exchange(script, states);
    if (!seconds) return std::move(seconds).error();
    result.runs.push_back(merged / *seconds);
    auto again = exchange(script, states);
    if (!again) return std::move(again).error();
    again_ms.push_back(*again * 1e3);
    if (!(states[0] == states[1]) || !(states[0] == states[2]) || states[0].pending() != 0)
      return Error{Code::corrupt, "replicas differ after the exchange"};
    entries = states[0].entries();
  }
  bench_progress_done();
  result.extras = {{"bytes_per_op_sent", static_cast<double>(script.bytes) / static_cast<double>(script.count)},
                   {"apply_again_ms", median(again_ms)},
                   {"live_entries", static_cast<double>(entries)}};
  return result;
}

// Keeps copies of the batches that pass through it.
class Recorder final : public Store {
 public:
  explicit Recorder(Store& store) : store_(store) {}
  void commit(Batch batch, Committed done) override {
    if (recording) batches.push_back(batch);
    store_.commit(std::move(batch), std::move(done));
  }
  Status write(Batch batch) override { return store_.write(std::move(batch)); }
  std::size_t commits_waiting() const override { return store_.commits_waiting(); }
  Result<std::string> get(Table table, std::string_view key) const override { return store_.get(table, key); }
  Status scan(Table table, std::string_view from, Order order, const Visit& visit) const override {
    return store_.scan(table, from, order, visit);
  }
  Result<std::vector<AnchorRecord>> anchors() const override { return store_.anchors(); }
  bool was_empty() const override { return store_.was_empty(); }
  std::vector<Batch> batches;
  bool recording = false;

 private:
  Store& store_;
};

// Runs turns of the loop until `left` completions came; `status` has the first failure.
class Completions {
 public:
  explicit Completions(UvLoop& loop) : loop_(loop) {}
  std::function<void(Status)> one() {
    ++left_;
    return [this](const Status& status) {
      if (!status && status_) status_ = status;
      if (--left_ == 0) loop_.stop();
    };
  }
  Status wait() {
    if (left_ > 0) loop_.run();
    return status_;
  }

 private:
  UvLoop& loop_;
  int left_ = 0;
  Status status_ = ok();
};

class StoredReplica {
 public:
  StoredReplica(fs::path dir, std::uint8_t number) : dir_(std::move(dir)), number_(number) {}
  ~StoredReplica() {
    log_.reset();
    recorder_.reset();
    store_.reset();
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
  }
  Status open() {
    auto store = open_rocks_store(loop_, {.directory = dir_ / "log", .anchor = dir_ / "anchor", .on_fatal = {}});
    if (!store) return std::move(store).error();
    store_ = std::move(*store);
    recorder_ = std::make_unique<Recorder>(*store_);
    NodeId node;
    node.bytes[0] = number_;
    auto log = Log::open(loop_, *recorder_, {.node = node, .boot_id = "bench", .software = "bench"});
    if (!log) return std::move(log).error();
    log_ = std::move(*log);
    return ok();
  }
  Status ingest(const std::vector<const std::vector<std::string>*>& sets) {
    Completions all(loop_);
    for (const auto* set : sets) {
      for (const auto& chunk : *set) log_->ingest(chunk, all.one());
    }
    return all.wait();
  }
  void record(bool on) { recorder_->recording = on; }
  std::vector<Batch> take_batches() { return std::exchange(recorder_->batches, {}); }
  // The store alone.
  Status commit(std::vector<Batch> batches) {
    Completions all(loop_);
    for (Batch& batch : batches) store_->commit(std::move(batch), all.one());
    return all.wait();
  }
  Log& log() { return *log_; }

 private:
  fs::path dir_;
  std::uint8_t number_;
  UvLoop loop_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<Log> log_;
};

// Of all threads.
double cpu_seconds() {
  timespec spent{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) * 1e-9;
}

struct Spent {
  double seconds = 0, cpu = 0;
};
template <class Work>
Result<Spent> measure(const Work& work) {
  const double started = bench_now(), cpu = cpu_seconds();
  LANDFALL_TRY(work());
  return Spent{bench_now() - started, cpu_seconds() - cpu};
}

// One replica of the three: what it had is not measured, what it is sent is.
Result<Spent> ingest_one(const Script& script, const fs::path& dir, std::uint32_t r, Digest& digest,
                         std::vector<Batch>* record) {
  StoredReplica replica(dir, static_cast<std::uint8_t>(100 + r));
  LANDFALL_TRY(replica.open());
  LANDFALL_TRY(replica.ingest({&script.preload, &script.edits[r]}));
  std::vector<const std::vector<std::string>*> others;
  for (std::uint32_t from = 0; from < replicas; ++from) {
    if (from != r) others.push_back(&script.edits[from]);
  }
  replica.record(record != nullptr);
  Result<Spent> spent = measure([&] { return replica.ingest(others); });
  if (!spent) return spent;
  if (record != nullptr) *record = replica.take_batches();
  Result<Digest> sum = replica.log().state_digest(stream);
  if (!sum) return std::move(sum).error();
  digest = *sum;
  return spent;
}

Result<Spent> commit_one(const fs::path& dir, std::vector<Batch> batches) {
  StoredReplica replica(dir, 200);
  LANDFALL_TRY(replica.open());
  return measure([&] { return replica.commit(std::move(batches)); });
}

Result<BenchCase> measure_rocksdb(const Script& script, const BenchOptions& options) {
  BenchCase result;
  result.name = "rocksdb";
  result.unit = "ops/s";
  result.references = {{"store-alone", {}}};
  const fs::path dir = fs::absolute(options.dir) / "merge";
  std::vector<Batch> batches;
  std::vector<double> cpu_us, alone_cpu_us;
  Digest whole{};
  auto recorded = ingest_one(script, dir, 0, whole, &batches);
  if (!recorded) return std::move(recorded).error();
  const auto each = static_cast<double>(script.count) / replicas * (replicas - 1);
  for (int round = 0; round < options.runs; ++round) {
    bench_progress("rocksdb: round " + std::to_string(round + 1) + " of " + std::to_string(options.runs));
    Spent ours;
    for (std::uint32_t r = 0; r < replicas; ++r) {
      Digest digest{};
      auto spent = ingest_one(script, dir, r, digest, nullptr);
      if (!spent) return std::move(spent).error();
      if (digest != whole) return Error{Code::corrupt, "replicas differ after the exchange"};
      ours.seconds += spent->seconds;
      ours.cpu += spent->cpu;
    }
    auto alone = commit_one(dir, batches);
    if (!alone) return std::move(alone).error();
    result.runs.push_back(each * replicas / ours.seconds);
    result.references[0].runs.push_back(each / alone->seconds);
    cpu_us.push_back(ours.cpu / (each * replicas) * 1e6);
    alone_cpu_us.push_back(alone->cpu / each * 1e6);
  }
  result.extras = {{"cpu_us_per_op", median(cpu_us)}, {"store_alone_cpu_us_per_op", median(alone_cpu_us)}};
  bench_progress_done();
  return result;
}

Result<BenchReport> measure_all(const BenchOptions& options) {
  auto script = make_script(options.events == 0 ? edits_default : options.events);
  if (!script) return std::move(script).error();
  BenchReport report{"merge", {}};
  auto memory = measure_memory(*script, options.runs);
  if (!memory) return std::move(memory).error().in("memory");
  report.cases.push_back(std::move(*memory));
  auto rocksdb = measure_rocksdb(*script, options);
  if (!rocksdb) return std::move(rocksdb).error().in("rocksdb");
  report.cases.push_back(std::move(*rocksdb));
  return report;
}

}  // namespace

int bench_merge(const BenchOptions& options) {
  const auto report = measure_all(options);
  if (!report.ok()) {
    std::fprintf(stderr, "landfall: bench merge: %s\n", report.error().detail.c_str());
    return 1;
  }
  print_report(*report, options.json, std::cout);
  return 0;
}

}  // namespace landfall
