#include "tools/landfall/bench_kafka.h"

#include <librdkafka/rdkafka.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>

#include "cloudsync/hub/kafka_writer.h"
#include "edgeruntime/uv_loop.h"
#include "eventlog/chain.h"
#include "eventlog/log.h"
#include "eventlog/rocks_store.h"
#include "schemas/limits.h"

namespace landfall {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t shards = 4;
// Several seconds of work: taking the shards over takes half a second, which a hub does once.
constexpr std::uint64_t events_default = 2'000'000;
constexpr std::uint64_t events_per_chunk = 1000;
constexpr int devices = 64;
constexpr const char* prefix = "landfall-bench";
constexpr const char* trust_domain = "landfall";

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class TestBroker {
 public:
  explicit TestBroker(fs::path dir) : dir_(std::move(dir)) {
    if (!fs::exists(LANDFALL_BROKER_SCRIPT)) throw std::runtime_error("no broker given: --bootstrap HOST:PORT");
    run("start --owner " + std::to_string(getpid()));
    std::ifstream(dir_ / "bootstrap") >> bootstrap_;
  }
  ~TestBroker() {
    try {
      run("stop");
    } catch (const std::exception& e) {
      std::cerr << e.what() << "\n";
    }
  }
  const std::string& bootstrap() const { return bootstrap_; }

 private:
  void run(const std::string& what) {
    const std::string command = "'" LANDFALL_BROKER_SCRIPT "' " + what + " --dir '" + dir_.string() + "' >/dev/null";
    if (std::system(command.c_str()) != 0) throw std::runtime_error(command + " failed");
  }
  fs::path dir_;
  std::string bootstrap_;
};

// One node per shard, each with a run of its own in every round: progress is for ever.
RunStream source(std::uint32_t shard, int round) {
  NodeId node;
  node.bytes[3] = static_cast<std::uint8_t>(shard);
  node.bytes[15] = 0xbe;
  const auto nonce = static_cast<std::uint32_t>(bench_now() * 1e3);
  return {{node, static_cast<std::uint32_t>(round + 2), nonce}, Stream::telemetry};
}

struct Names {
  std::vector<std::string> device, subject;
  Names() {
    for (int i = 0; i < devices; ++i) {
      device.push_back("device-" + std::to_string(i));
      subject.push_back(device.back() + "/telemetry/engine");
    }
  }
};

Event event_of(const std::vector<std::string>& pool, const Names& names, std::uint64_t seq) {
  Event event;
  event.time = HybridTime::from_unix_ms(1'750'000'000'000 + static_cast<std::int64_t>(seq));
  event.clock = ClockClass::synced;
  event.kind = Kind::telemetry;
  event.device = names.device[seq % devices];
  event.subject = names.subject[seq % devices];
  event.content_type = "application/json";
  event.payload = pool[seq % pool.size()];
  return event;
}

void must(const Status& status) {
  if (!status) throw std::runtime_error(status.error().detail);
}

std::vector<std::string> make_chunks(const RunStream& of, std::uint64_t events, const std::vector<std::string>& pool,
                                     const Names& names) {
  std::vector<std::string> chunks;
  ChainHasher hasher;
  Digest chain = chain_start(of);
  for (std::uint64_t first = 1; first <= events; first += events_per_chunk) {
    ChunkHeader header;
    header.of = of;
    header.first = first;
    header.last = std::min(events, first + events_per_chunk - 1);
    header.chain_before = chain;
    header.time_min = event_of(pool, names, header.first).time;
    header.time_max = event_of(pool, names, header.last).time;
    std::string rows;
    for (std::uint64_t seq = header.first; seq <= header.last; ++seq)
      must(encode_row(event_of(pool, names, seq), rows));
    hasher.extend_rows(chain, rows);
    header.chain_after = chain;
    chunks.push_back(encode_chunk(header, rows));
  }
  return chunks;
}

// A hub's log, filled before the clock runs, and the writer that empties it.
class Hub {
 public:
  Hub(const fs::path& folder, const std::string& bootstrap) {
    auto store = open_rocks_store(loop_, {.directory = folder / "log", .anchor = folder / "anchor", .on_fatal = {}});
    if (!store) throw std::runtime_error(store.error().detail);
    store_ = std::move(*store);
    auto log = Log::open(loop_, *store_, {.node = source(0, 0).run.node, .boot_id = "bench", .software = "bench"});
    if (!log) throw std::runtime_error(log.error().detail);
    log_ = std::move(*log);
    KafkaWriterOptions options;
    options.bootstrap = bootstrap;
    options.topic_prefix = prefix;
    options.trust_domain = trust_domain;
    options.shards = shards;
    writer_ = KafkaWriter::create(loop_, *log_, options);
  }

  void fill(std::vector<std::string> chunks) {
    std::size_t waiting = chunks.size();
    std::optional<Error> failed;
    for (std::size_t next = 0; next < chunks.size();) {
      // A bounded number at a time: the log takes no more than log_pending_bytes_max.
      const std::size_t end = std::min(chunks.size(), next + 64);
      const std::size_t left = chunks.size() - end;
      for (; next < end; ++next) {
        log_->ingest(std::move(chunks[next]), [&](const Status& status) {
          if (!status) failed = status.error();
          if (--waiting == left || failed) loop_.stop();
        });
      }
      loop_.run();
      if (failed) throw std::runtime_error(failed->detail);
    }
  }

  // Until `events` are committed.
  void drain(std::uint64_t events) {
    std::optional<Error> failed;
    writer_->start(
        [&](const Status& status) {
          if (status) return;
          failed = status.error();
          loop_.stop();
        },
        [&](const RunStream&) {
          if (writer_->status().committed_events >= events) loop_.stop();
        });
    loop_.run();
    if (failed) throw std::runtime_error(failed->detail);
  }

  KafkaStatus status() const { return writer_->status(); }

 private:
  UvLoop loop_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<KafkaWriter> writer_;
};

// What a plain producer does: a batch, its acknowledgements, the next. Settings are the writer's but for the transaction.
void produce(const std::string& bootstrap, std::uint32_t shard, const RunStream& of, std::uint64_t events,
             const std::vector<std::string>& pool, const Names& names) {
  char why[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  const std::pair<const char*, const char*> settings[] = {{"bootstrap.servers", bootstrap.c_str()},
                                                          {"enable.idempotence", "true"},
                                                          {"acks", "all"},
                                                          {"socket.nagle.disable", "true"},
                                                          {"linger.ms", "5"},
                                                          {"compression.type", "zstd"},
                                                          {"batch.size", "1000000"},
                                                          {"batch.num.messages", "10000"},
                                                          {"queue.buffering.max.kbytes", "65536"},
                                                          {"log_level", "2"}};
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) throw std::runtime_error(why);
  }
  std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> producer(rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why),
                                                              rd_kafka_destroy);
  if (!producer) throw std::runtime_error(why);
  std::unique_ptr<rd_kafka_topic_t, void (*)(rd_kafka_topic_t*)> topic(
      rd_kafka_topic_new(producer.get(), (std::string(prefix) + ".telemetry").c_str(), nullptr),
      rd_kafka_topic_destroy);
  const std::string run = to_string(of.run),
                    src = "spiffe://" + std::string(trust_domain) + "/node/" + to_string(of.run.node),
                    time = "2025-06-15T15:06:40.001Z";
  for (std::uint64_t seq = 1; seq <= events; ++seq) {
    const Event event = event_of(pool, names, seq);
    const std::string sequence = std::to_string(seq), id = run + "/telemetry/" + sequence;
    rd_kafka_headers_t* headers = rd_kafka_headers_new(11);
    const std::pair<std::string_view, std::string_view> list[] = {{"ce_specversion", "1.0"},
                                                                  {"ce_id", id},
                                                                  {"ce_source", src},
                                                                  {"ce_type", "landfall.telemetry"},
                                                                  {"ce_time", time},
                                                                  {"ce_subject", event.subject},
                                                                  {"content-type", event.content_type},
                                                                  {"ce_stream", "telemetry"},
                                                                  {"ce_run", run},
                                                                  {"ce_sequence", sequence},
                                                                  {"ce_backfill", "true"}};
    for (const auto& [name, value] : list) {
      rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()), value.data(),
                          static_cast<ssize_t>(value.size()));
    }
    while (rd_kafka_resp_err_t error = rd_kafka_producev(
               producer.get(), RD_KAFKA_V_RKT(topic.get()), RD_KAFKA_V_PARTITION(static_cast<std::int32_t>(shard)),
               RD_KAFKA_V_KEY(event.device.data(), event.device.size()),
               RD_KAFKA_V_VALUE(const_cast<char*>(event.payload.data()), event.payload.size()), RD_KAFKA_V_MSGFLAGS(0),
               RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END)) {
      if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) throw std::runtime_error(rd_kafka_err2str(error));
      rd_kafka_poll(producer.get(), 5);
    }
    if (seq % kafka_batch_events_max == 0 || seq == events) rd_kafka_flush(producer.get(), 60000);
  }
  if (rd_kafka_outq_len(producer.get()) != 0)
    throw std::runtime_error("some records were not acknowledged in a minute");
}

double run_idempotent(const std::string& bootstrap, int round, std::uint64_t each, const std::vector<std::string>& pool,
                      const Names& names) {
  const double began = bench_now();
  std::vector<std::thread> threads;
  std::array<std::string, shards> failed;
  for (std::uint32_t shard = 0; shard < shards; ++shard) {
    threads.emplace_back([&, shard] {
      try {
        produce(bootstrap, shard, source(shard, round), each, pool, names);
      } catch (const std::exception& e) {
        failed[shard] = e.what();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& why : failed) {
    if (!why.empty()) throw std::runtime_error(why);
  }
  return static_cast<double>(each * shards) / (bench_now() - began);
}

struct Transactional {
  double events_per_second, events_per_transaction, cpu_us_per_event;
};

Transactional run_transactional(const fs::path& folder, const std::string& bootstrap, int round, std::uint64_t each,
                                const std::vector<std::string>& pool, const Names& names) {
  Hub hub(folder, bootstrap);
  for (std::uint32_t shard = 0; shard < shards; ++shard) hub.fill(make_chunks(source(shard, round), each, pool, names));
  const double began = bench_now(), cpu = cpu_seconds();
  const auto events = static_cast<double>(each * shards);
  hub.drain(each * shards);
  const double seconds = bench_now() - began;
  return {events / seconds, events / static_cast<double>(hub.status().transactions),
          (cpu_seconds() - cpu) / events * 1e6};
}

BenchReport measure(const BenchOptions& options) {
  fs::create_directories(options.dir);
  std::optional<TestBroker> broker;
  if (options.bootstrap.empty()) broker.emplace(fs::absolute(options.dir) / "kafka");
  const std::string bootstrap = broker ? broker->bootstrap() : options.bootstrap;
  const std::uint64_t each =
      std::max<std::uint64_t>((options.events != 0 ? options.events : events_default) / shards, 1);
  const std::vector<std::string> pool = bench_events();
  const Names names;

  BenchCase result{.name = "transactional", .runs = {}, .references = {{"idempotent", {}}}, .extras = {}};
  std::vector<double> per_transaction, cpu;
  // Round 0 makes the topics and warms the broker up; it counts for nothing.
  for (int round = 0; round <= options.runs; ++round) {
    bench_progress("kafka: round " + std::to_string(round) + " of " + std::to_string(options.runs));
    const std::uint64_t count = round == 0 ? std::max<std::uint64_t>(each / 10, 1) : each;
    const fs::path folder = options.dir / ("round" + std::to_string(round));
    fs::create_directories(folder);
    const Transactional ours = run_transactional(folder, bootstrap, round, count, pool, names);
    fs::remove_all(folder);
    const double plain = run_idempotent(bootstrap, round, count, pool, names);
    if (round == 0) continue;
    result.runs.push_back(ours.events_per_second);
    result.references[0].runs.push_back(plain);
    per_transaction.push_back(ours.events_per_transaction);
    cpu.push_back(ours.cpu_us_per_event);
  }
  bench_progress_done();
  result.extras = {{"events_per_transaction", median(per_transaction)},
                   {"cpu_us_per_event", median(cpu)},
                   {"payload_bytes", 200},
                   {"shards", shards}};
  return {"kafka", {result}};
}

}  // namespace

int bench_kafka(const BenchOptions& options) {
  try {
    const BenchReport report = measure(options);
    std::error_code ignored;
    fs::remove_all(options.dir / "kafka", ignored);
    print_report(report, options.json, std::cout);
    return 0;
  } catch (const std::exception& e) {
    bench_progress_done();
    std::cerr << "bench kafka: " << e.what() << "\n";
    return 1;
  }
}

}  // namespace landfall
