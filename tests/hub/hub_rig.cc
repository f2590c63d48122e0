#include "tests/hub/hub_rig.h"

#include "eventlog/rocks_store.h"
#include "tests/hub/made_events.h"

namespace landfall {

HubRig::HubRig(const std::filesystem::path& dir, KafkaWriterOptions options) {
  std::filesystem::create_directories(dir);
  auto store = open_rocks_store(loop_, {.directory = dir / "db", .anchor = dir / "anchor", .on_fatal = nullptr});
  LANDFALL_CHECK(store.ok());
  store_ = std::move(*store);
  auto log = Log::open(loop_, *store_, {.node = made_node(0xff), .boot_id = "test", .software = "test"});
  LANDFALL_CHECK(log.ok());
  log_ = std::move(*log);
  writer_ = KafkaWriter::create(loop_, *log_, std::move(options));
}

HubRig::~HubRig() = default;

void HubRig::start(std::function<void(const RunStream&)> on_committed) {
  writer_->start([this](Status status) { started_ = std::move(status); },
                 [on_committed = std::move(on_committed)](const RunStream& of) {
                   if (on_committed) on_committed(of);
                 });
}

void HubRig::ingest(const RunStream& of, std::uint64_t last, std::uint64_t events_per_chunk) {
  const std::uint64_t base = log_->received().base(of);
  if (base >= last) return;
  std::size_t waiting = 0;
  for (std::string& chunk : made_chunks(of, base + 1, last, events_per_chunk)) {
    ++waiting;
    log_->ingest(std::move(chunk), [&waiting](const Status& status) {
      LANDFALL_CHECK(status.ok());
      --waiting;
    });
  }
  LANDFALL_CHECK(until([&] { return waiting == 0; }));
}

bool HubRig::until(const std::function<bool()>& done, std::chrono::seconds patience) {
  const Instant deadline = loop_.now() + patience;
  bool came = false;
  std::function<void()> look = [&] {
    came = done();
    if (came || loop_.now() > deadline) return loop_.stop();
    loop_.after(std::chrono::milliseconds(5), look);
  };
  loop_.after(Duration(0), look);
  loop_.run();
  return came;
}

bool HubRig::until_committed(const RunStream& of, std::uint64_t last, std::chrono::seconds patience) {
  return until([&] { return writer_->committed().base(of) >= last; }, patience);
}

}  // namespace landfall
