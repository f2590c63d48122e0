#include "tools/landfall/log_reader.h"

#include "edgeruntime/uv_loop.h"
#include "eventlog/log.h"
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

namespace {

// Calls `visit` for each event of the chunk that passes; false where it returned false.
Result<bool> each_in_chunk(std::string_view bytes, const LogReader::Filter& filter, const LogReader::Visit& visit) {
  const auto header = read_chunk_header(bytes);
  if (!header) return header.error();
  const bool passes = (!filter.stream || header->of.stream == *filter.stream) &&
                      (!filter.run || header->of.run == *filter.run) && header->last >= filter.from_seq &&
                      header->time_max.unix_ms() >= filter.from_unix_ms;
  if (!passes) return true;
  const auto chunk = decode_chunk(bytes);
  if (!chunk) return Error{chunk.error()}.in(to_string(Dot{header->of.run, header->of.stream, header->first}));
  RowReader rows(chunk->rows);
  for (std::uint64_t seq = header->first; seq <= header->last; ++seq) {
    const Dot dot{header->of.run, header->of.stream, seq};
    const auto event = decode_row(rows.next());
    if (!event) return Error{event.error()}.in(to_string(dot));
    if (seq < filter.from_seq || event->time.unix_ms() < filter.from_unix_ms) continue;
    if (!event->subject.starts_with(filter.subject_prefix)) continue;
    if (!visit(dot, *event)) return false;
  }
  return true;
}

}  // namespace

Status LogReader::each(const Filter& filter, const Visit& visit) const {
  Status status = ok();
  const auto chunk = [&](std::string_view bytes) {
    const auto more = each_in_chunk(bytes, filter, visit);
    if (!more) status = more.error();
    return more && *more;
  };
  if (filter.subject_prefix.empty()) {
    LANDFALL_TRY(store_->scan(Table::chunks, {}, Store::Order::forward,
                              [&](std::string_view, std::string_view bytes) { return chunk(bytes); }));
  } else {
    LANDFALL_TRY(find_chunks(*store_, filter.subject_prefix, chunk));
  }
  return status;
}

}  // namespace landfall
