#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

// What the benches share: `landfall bench append|ingest|merge|resync|kafka`. Each measures references in turn with ours, in
// the same run, so that the ratio means the same on any machine.

namespace landfall {

struct BenchOptions {
  std::filesystem::path dir;  // scratch folder on the disk to be measured; made where missing, left empty
  int runs = 5;               // rounds; the median is what counts
  double seconds = 2;         // per case and round, where the case is measured by time
  std::uint64_t events = 0;   // per case and round, where it is measured by count; 0: the bench's own number
  bool json = false;
  std::filesystem::path data;  // real samples, for resync; empty: made data only
  std::string bootstrap;       // a Kafka broker for the kafka bench
};

struct BenchReference {
  std::string name;
  std::vector<double> runs;
};

struct BenchCase {
  std::string name;
  std::string unit = "events/s";
  std::vector<double> runs;
  std::vector<BenchReference> references;
  std::vector<std::pair<std::string, double>> extras;  // name with its unit, as in "p99_us"
};

struct BenchReport {
  std::string bench;
  std::vector<BenchCase> cases;
};

// Middle value; of an even number the lower middle. 0 for none.
double median(std::vector<double> values);

// Data on `out`: the JSON object {"bench", "machine", "cases": [{"name", "unit", "runs", "median", "references": [{"name",
// "runs", "median", "ratio"}], "extras"}]}, or a table. A ratio is our median over the reference's.
void print_report(const BenchReport& report, bool json, std::ostream& out);

// One line on stderr, redrawn, where stderr is a terminal.
void bench_progress(const std::string& line);
void bench_progress_done();

// 200-byte telemetry events: JSON with numbers that wander, the same everywhere.
std::vector<std::string> bench_events(std::size_t count = 65536, std::size_t bytes = 200);

// Seconds of the monotonic clock, and memory of a process (0: our own) in MiB: now, and at its highest.
double bench_now();
double resident_mib(int pid = 0);
double peak_mib(int pid = 0);

// A TCP port of loopback that nobody listens on at the moment.
std::uint16_t free_port();

}  // namespace landfall
