// landfall bench append | ingest | merge | twin | resync | kafka

#include <CLI/CLI.hpp>
#include <memory>

#include "tools/landfall/bench_append.h"
#include "tools/landfall/bench_ingest.h"
#include "tools/landfall/bench_kafka.h"
#include "tools/landfall/bench_merge.h"
#include "tools/landfall/bench_resync.h"
#include "tools/landfall/bench_twin.h"
#include "tools/landfall/commands.h"

namespace landfall {

void add_bench(CLI::App& program, int& exit_code) {
  auto* bench =
      program.add_subcommand("bench", "Measures this machine: ours and the references in turn, in the same run.");
  bench->require_subcommand(1);
  bench->footer("Example: landfall bench append --json");
  auto options = std::make_shared<BenchOptions>();
  options->dir = "landfall-bench";
  const auto add = [&](const char* name, const char* about, int (*run)(const BenchOptions&)) {
    auto* command = bench->add_subcommand(name, about);
    command
        ->add_option("--dir", options->dir, "Scratch folder on the disk to be measured; made where missing, left empty")
        ->capture_default_str();
    command->add_option("--runs", options->runs, "Rounds; the median counts")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    command->add_option("--seconds", options->seconds, "Per case and round, in seconds")
        ->check(CLI::Range(0.01, 3600.0))
        ->capture_default_str();
    command->add_option("--events", options->events, "Per case and round; 0 for the bench's own number")
        ->capture_default_str();
    command->add_option("--data", options->data, "Folder with real samples, where the bench has cases for them");
    command->add_option("--bootstrap", options->bootstrap, "Kafka broker, for the kafka bench");
    command->add_flag("--json", options->json, "Print one JSON object");
    command->footer(std::string("Example: landfall bench ") + name + " --json");
    command->callback([options, run, &exit_code] { exit_code = run(*options); });
  };
  add("append", "Durable appends of 200-byte events, against RocksDB and a raw file.", bench_append);
  add("ingest", "QoS 1 through broker, plugin and log, against the same broker without the plugin.", bench_ingest);
  add("merge", "Three replicas' edits of 1,000 devices merged, in memory and into the log.", bench_merge);
  add("twin", "A mapper's update through broker, twin and log to its answer, against one fsync.", bench_twin);
  add("resync", "A backlog from edge to hub over TLS between two processes.", bench_resync);
  add("kafka", "Transactional writing by shards, against plain idempotent producers.", bench_kafka);
}

}  // namespace landfall
