// A hub's log and writer in a process of its own, to be killed: hub_writer_process DIR BOOTSTRAP PREFIX SHARDS NODES LAST [TRANSACTION_MS]
// Ingests made telemetry and alarms of NODES nodes up to seq LAST, a slice at a time, and prints a line
// "<node> <stream> <seq>" for every advance of A2, then "done".
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/hub/hub_rig.h"
#include "tests/hub/made_events.h"

int main(int argc, char** argv) {
  using namespace landfall;
  LANDFALL_CHECK(argc == 7 || argc == 8);
  KafkaWriterOptions options;
  options.bootstrap = argv[2];
  options.topic_prefix = argv[3];
  options.shards = static_cast<std::uint32_t>(std::atoi(argv[4]));
  if (argc == 8) {
    options.extra = {
        {"transaction.timeout.ms", argv[7]}, {"message.timeout.ms", "1500"}, {"socket.timeout.ms", "1500"}};
  }
  const int nodes = std::atoi(argv[5]);
  const std::uint64_t last = std::strtoull(argv[6], nullptr, 10);
  HubRig rig(argv[1], options);
  rig.start([&](const RunStream& of) {
    std::printf("%d %d %llu\n", of.run.node.bytes[3], static_cast<int>(of.stream),
                static_cast<unsigned long long>(rig.writer().committed().base(of)));
    std::fflush(stdout);
  });
  constexpr std::uint64_t slice = 2000;
  for (std::uint64_t up_to = slice;; up_to += slice) {
    const std::uint64_t to = std::min(up_to, last);
    for (int node = 1; node <= nodes; ++node) {
      for (const Stream stream : {Stream::telemetry, Stream::alarm}) {
        rig.ingest({made_run(static_cast<std::uint8_t>(node)), stream}, stream == Stream::alarm ? to / 100 : to, 50);
      }
    }
    if (to == last) break;
  }
  for (int node = 1; node <= nodes; ++node) {
    if (!rig.until_committed({made_run(static_cast<std::uint8_t>(node)), Stream::telemetry}, last)) return 1;
    if (!rig.until_committed({made_run(static_cast<std::uint8_t>(node)), Stream::alarm}, last / 100)) return 1;
  }
  std::printf("done\n");
}
