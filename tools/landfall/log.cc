// landfall log show | stat | verify | append

#include <charconv>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <iterator>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "crdt/exact_json.h"
#include "edgeruntime/event_json.h"
#include "edgeruntime/http_api.h"
#include "edgeruntime/metrics.h"
#include "eventlog/log.h"
#include "tools/landfall/commands.h"
#include "tools/landfall/log_reader.h"
#include "tools/landfall/talk.h"

namespace landfall {
namespace {

using Json = nlohmann::ordered_json;

const std::string stream_names = "control, alarm, desired, reported, document, telemetry and blob";

struct LogArguments {
  std::string dir, subject, stream, run, from, payload, content_type, source, id;
  bool has_payload = false;
  std::uint64_t limit = 100;
  bool json = false;
};

// "2026-11-23T05:12:44Z" and shorter forms down to the date, UTC.
bool parse_time(const std::string& text, std::int64_t& unix_ms) {
  for (const char* form : {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"}) {
    std::tm parts{};
    const char* end = strptime(text.c_str(), form, &parts);
    if (end == nullptr || *end != '\0') continue;
    unix_ms = static_cast<std::int64_t>(timegm(&parts)) * 1000;
    return true;
  }
  return false;
}

Result<LogReader::Filter> parse_filter(const LogArguments& arguments) {
  LogReader::Filter filter;
  filter.subject_prefix = arguments.subject;
  if (!arguments.stream.empty()) {
    const auto stream = parse_stream(arguments.stream);
    if (!stream) {
      return Error{stream.error().code, "--stream: " + stream.error().detail + "; there are " + stream_names};
    }
    filter.stream = *stream;
  }
  if (!arguments.run.empty()) {
    const auto run = parse_run(arguments.run);
    if (!run) return Error{run.error()}.in("--run");
    filter.run = *run;
  }
  if (arguments.from.empty()) return filter;
  if (const auto dot = parse_dot(arguments.from)) {
    filter.run = dot->run;
    filter.stream = dot->stream;
    filter.from_seq = dot->seq;
    return filter;
  }
  const char* end = arguments.from.data() + arguments.from.size();
  const auto [rest, error] = std::from_chars(arguments.from.data(), end, filter.from_seq);
  if (error == std::errc() && rest == end) return filter;
  filter.from_seq = 1;
  if (parse_time(arguments.from, filter.from_unix_ms)) return filter;
  return Error{Code::out_of_range,
               "--from: '" + arguments.from + "' is neither a seq, a dot nor a UTC time such as 2026-11-23T05:12:44Z"};
}

void print_event(const Dot& dot, const Event& event) {
  const auto json = read_exact<Json>(event_json(dot, event));
  std::string payload;
  if (json.contains("payload"))
    payload = json["payload"].is_string() ? json["payload"].get<std::string>() : write_exact(json["payload"]);
  if (json.contains("payload_base64")) payload = "base64:" + json["payload_base64"].get<std::string>();
  for (char& c : payload) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  std::cout << rfc3339(event.time.unix_ms()) << ' ' << to_string(dot) << ' ' << kind_name(event.kind) << ' '
            << (event.subject.empty() ? std::string_view("-") : event.subject)
            << (event.actor.empty() ? "" : " by " + std::string(event.actor)) << ' ' << payload << '\n';
}

int show(const LogArguments& arguments) {
  const auto filter = parse_filter(arguments);
  if (!filter) return fail(filter.error());
  const auto reader = LogReader::open({arguments.dir});
  if (!reader) return fail(reader.error());
  std::uint64_t shown = 0;
  bool more = false;
  const auto status = (*reader)->each(*filter, [&](const Dot& dot, const Event& event) {
    if (arguments.limit != 0 && shown == arguments.limit) {
      more = true;
      return false;
    }
    ++shown;
    if (arguments.json) {
      std::cout << event_json(dot, event) << '\n';
    } else {
      print_event(dot, event);
    }
    return static_cast<bool>(std::cout);
  });
  if (!status) return fail(status.error());
  if (more) std::cerr << "There are more: --limit 0 shows all, --from goes on.\n";
  return 0;
}

struct StreamStat {
  std::uint64_t events = 0, first = 0, last = 0, chunks = 0, bytes_stored = 0, rows_bytes = 0;
  std::int64_t time_min = INT64_MAX, time_max = INT64_MIN;
};

Result<std::map<RunStream, StreamStat>> read_stats(const Store& store) {
  std::map<RunStream, StreamStat> stats;
  Status status = ok();
  Progress progress("reading");
  std::uint64_t chunks = 0;
  const auto scanned =
      store.scan(Table::chunks, {}, Store::Order::forward, [&](std::string_view, std::string_view bytes) {
        const auto header = read_chunk_header(bytes);
        if (!header) {
          status = Error{header.error()};
          return false;
        }
        auto& stat = stats[header->of];
        if (stat.events == 0) stat.first = header->first;
        stat.events += header->count();
        stat.last = header->last;
        ++stat.chunks;
        stat.bytes_stored += bytes.size();
        stat.rows_bytes += header->rows_bytes;
        stat.time_min = std::min(stat.time_min, header->time_min.unix_ms());
        stat.time_max = std::max(stat.time_max, header->time_max.unix_ms());
        if (++chunks % 1024 == 0) progress.show(chunks, "chunks");
        return true;
      });
  LANDFALL_TRY(scanned);
  LANDFALL_TRY(status);
  return stats;
}

int stat(const LogArguments& arguments) {
  const auto reader = LogReader::open({arguments.dir});
  if (!reader) return fail(reader.error());
  const auto stats = read_stats((*reader)->store());
  if (!stats) return fail(stats.error());
  StreamStat total;
  Json rows = Json::array(), by_stream = Json::object();
  for (std::size_t i = 0; i < stream_count; ++i) by_stream[std::string(to_string(static_cast<Stream>(i)))] = 0;
  if (!arguments.json)
    std::printf("%-52s %-10s %12s %10s %14s %8s\n", "run", "stream", "events", "chunks", "bytes stored", "B/event");
  for (const auto& [of, s] : *stats) {
    total.events += s.events;
    total.chunks += s.chunks;
    total.bytes_stored += s.bytes_stored;
    const std::string stream(to_string(of.stream));
    by_stream[stream] = by_stream[stream].get<std::uint64_t>() + s.events;
    if (arguments.json) {
      rows.push_back({{"run", to_string(of.run)},
                      {"stream", stream},
                      {"events", s.events},
                      {"first", s.first},
                      {"last", s.last},
                      {"chunks", s.chunks},
                      {"bytes_stored", s.bytes_stored},
                      {"rows_bytes", s.rows_bytes},
                      {"time_min", rfc3339(s.time_min)},
                      {"time_max", rfc3339(s.time_max)}});
    } else {
      std::printf("%-52s %-10s %12llu %10llu %14llu %8.1f\n", to_string(of.run).c_str(), stream.c_str(),
                  static_cast<unsigned long long>(s.events), static_cast<unsigned long long>(s.chunks),
                  static_cast<unsigned long long>(s.bytes_stored),
                  static_cast<double>(s.bytes_stored) / static_cast<double>(s.events));
    }
  }
  if (arguments.json) {
    std::cout << Json{{"events", total.events},
                      {"chunks", total.chunks},
                      {"bytes_stored", total.bytes_stored},
                      {"events_by_stream", by_stream},
                      {"runs", rows}}
              << "\n";
  } else {
    std::printf("%-52s %-10s %12llu %10llu %14llu\n", "all", "", static_cast<unsigned long long>(total.events),
                static_cast<unsigned long long>(total.chunks), static_cast<unsigned long long>(total.bytes_stored));
  }
  return 0;
}

Result<VerifyReport> verify_folder(const std::string& dir) {
  const auto reader = LogReader::open({dir});
  if (!reader) return reader.error();
  Progress progress("verifying");
  return verify_log((*reader)->store(), [&](std::uint64_t events) { progress.show(events, "events"); });
}

int verify(const LogArguments& arguments) {
  const auto report = verify_folder(arguments.dir);
  if (!report) {
    if (arguments.json) std::cout << Json{{"ok", false}, {"faults", {report.error().detail}}} << "\n";
    return fail(report.error());
  }
  if (arguments.json) {
    Json by_stream = Json::object();
    for (std::size_t i = 0; i < stream_count; ++i) by_stream[std::string(to_string(static_cast<Stream>(i)))] = 0;
    for (const auto& [of, events] : report->events_by_stream) {
      const std::string stream(to_string(of.stream));
      by_stream[stream] = by_stream[stream].get<std::uint64_t>() + events;
    }
    std::cout << Json{{"ok", report->faults.empty()},
                      {"runs", report->runs},
                      {"chunks", report->chunks},
                      {"events", report->events},
                      {"bytes_stored", report->bytes_stored},
                      {"events_by_stream", by_stream},
                      {"faults", report->faults}}
              << "\n";
  } else {
    std::printf("%s: %llu events in %llu chunks of %llu runs, %llu bytes\n",
                report->faults.empty() ? "verified" : "NOT RIGHT", static_cast<unsigned long long>(report->events),
                static_cast<unsigned long long>(report->chunks), static_cast<unsigned long long>(report->runs),
                static_cast<unsigned long long>(report->bytes_stored));
  }
  for (const auto& fault : report->faults) std::cerr << "landfall: " << fault << "\n";
  return report->faults.empty() ? 0 : 1;
}

int append(const LogArguments& arguments) {
  std::string payload = arguments.payload;
  if (!arguments.has_payload) payload.assign(std::istreambuf_iterator<char>(std::cin), {});
  Json body = {{"subject", arguments.subject}, {"stream", arguments.stream.empty() ? "telemetry" : arguments.stream}};
  const auto as_json = Json::parse(payload, nullptr, false);
  if (arguments.content_type.empty() && (as_json.is_object() || as_json.is_array())) {
    body["content_type"] = "application/json";
  } else if (!arguments.content_type.empty()) {
    body["content_type"] = arguments.content_type;
  }
  if (!arguments.source.empty()) body["source"] = arguments.source;
  if (!arguments.id.empty()) body["id"] = arguments.id;
  body["payload"] = payload;
  std::string text;
  try {
    text = body.dump();
  } catch (const Json::exception&) {
    return fail({Code::out_of_range,
                 "the payload is not UTF-8: publish it over MQTT, or POST it to /v1/events as payload_base64"});
  }
  const auto reply = call_api(NodePaths{arguments.dir}.socket(), "POST", "/v1/events", text);
  if (!reply) return fail(reply.error());
  const auto answer = Json::parse(reply->body, nullptr, false);
  if (reply->status != 200)
    return fail({Code::out_of_range, answer.is_object() ? answer.value("detail", reply->body) : reply->body});
  std::cout << (arguments.json ? reply->body : answer.value("dot", reply->body)) << "\n";
  return 0;
}

}  // namespace

void add_log(CLI::App& program, int& exit_code) {
  auto* log = program.add_subcommand("log", "The node's event log: read it, prove it, add to it.");
  log->require_subcommand(1);
  log->footer("Example: landfall log stat --dir ~/hub");
  auto arguments = std::make_shared<LogArguments>();
  const auto add = [&](const char* name, const char* about, const char* example) {
    auto* command = log->add_subcommand(name, about);
    command->add_option("--dir", arguments->dir, "The node's folder")->required();
    command->add_flag("--json", arguments->json, "Print JSON");
    command->footer(std::string("Example: ") + example);
    return command;
  };

  auto* show_command =
      add("show",
          "Prints events, in order per run and stream; one JSON object per line with --json. The node may run or not.",
          "landfall log show --dir ~/edge --stream alarm --limit 10");
  show_command->add_option("--subject", arguments->subject, "Only subjects that begin so");
  show_command->add_option("--stream", arguments->stream, "Only this stream: " + stream_names);
  show_command->add_option("--run", arguments->run, "Only this run");
  show_command->add_option("--from", arguments->from, "From this seq, dot or UTC time on");
  show_command->add_option("--limit", arguments->limit, "At most so many events, 0 for all")->capture_default_str();
  show_command->callback([arguments, &exit_code] { exit_code = show(*arguments); });

  add("stat", "Counts events, chunks and bytes by run and stream.", "landfall log stat --dir ~/hub")
      ->callback([arguments, &exit_code] { exit_code = stat(*arguments); });
  add("verify",
      "Proves the whole log: rows, hash chains, neighbours, received context, anchor. 1 where anything is wrong.",
      "landfall log verify --dir ~/hub")
      ->callback([arguments, &exit_code] { exit_code = verify(*arguments); });

  auto* append_command =
      add("append", "Adds an event to a running node's log and prints its dot once it is durable.",
          "landfall log append --dir ~/edge --stream alarm --subject bilge --payload '{\"level\": 3}'");
  append_command->add_option("--subject", arguments->subject, "Device or topic")->required();
  append_command->add_option("--stream", arguments->stream, "Default: telemetry");
  auto* payload =
      append_command->add_option("--payload", arguments->payload, "Text of the event; without it stdin is read");
  append_command->add_option("--content-type", arguments->content_type,
                             "Default: application/json for a JSON object or list, else text/plain");
  append_command->add_option("--source", arguments->source, "CloudEvents source");
  append_command->add_option("--id", arguments->id, "CloudEvents id");
  append_command->callback([arguments, payload, &exit_code] {
    arguments->has_payload = payload->count() > 0;
    exit_code = append(*arguments);
  });
}

}  // namespace landfall
