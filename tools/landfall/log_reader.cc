#include "tools/landfall/log_reader.h"

#include "edgeruntime/uv_loop.h"
#include "eventlog/rocks_store.h"
#include "schemas/chunk.h"

namespace landfall {

LogReader::LogReader() = default;
LogReader::~LogReader() = default;

Result<std::unique_ptr<LogReader>> LogReader::open(const NodePaths& paths) {
  std::error_code error;
  const bool there = std::filesystem::exists(paths.store(), error);
  if (error) {
    return Error{Code::denied,
                 paths.store().string() + ": " + error.message() + ": run this as the user who runs the node"};
  }
  if (!there) {
    return Error{Code::not_found,
                 paths.store().string() + ": no log here yet: the node has never run, or --dir names another folder"};
  }
  auto reader = std::unique_ptr<LogReader>(new LogReader);
  reader->loop_ = std::make_unique<UvLoop>();
  RocksStoreOptions options;
  options.directory = paths.store();
  options.anchor = paths.anchor();
  options.read_only = true;
  auto store = open_rocks_store(*reader->loop_, std::move(options));
  if (!store) return std::move(store).error();
  reader->store_ = std::move(*store);
  return reader;
}

Status LogReader::each(const Filter& filter, const Visit& visit) const {
  Status status = ok();
  const auto scanned =
      store_->scan(Table::chunks, {}, Store::Order::forward, [&](std::string_view, std::string_view bytes) {
        const auto header = read_chunk_header(bytes);
        if (!header) {
          status = Error{header.error()};
          return false;
        }
        const bool passes = (!filter.stream || header->of.stream == *filter.stream) &&
                            (!filter.run || header->of.run == *filter.run) && header->last >= filter.from_seq &&
                            header->time_max.unix_ms() >= filter.from_unix_ms;
        if (!passes) return true;
        const auto chunk = decode_chunk(bytes);
        if (!chunk) {
          status = Error{chunk.error()}.in(to_string(Dot{header->of.run, header->of.stream, header->first}));
          return false;
        }
        RowReader rows(chunk->rows);
        for (std::uint64_t seq = header->first; seq <= header->last; ++seq) {
          const auto event = decode_row(rows.next());
          if (!event) {
            status = Error{event.error()}.in(to_string(Dot{header->of.run, header->of.stream, seq}));
            return false;
          }
          if (seq < filter.from_seq || event->time.unix_ms() < filter.from_unix_ms) continue;
          if (!event->subject.starts_with(filter.subject_prefix)) continue;
          if (!visit(Dot{header->of.run, header->of.stream, seq}, *event)) return false;
        }
        return true;
      });
  LANDFALL_TRY(scanned);
  return status;
}

}  // namespace landfall
