// The routes of a node's HTTP API, answered on the loop thread.

#include <algorithm>
#include <charconv>

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "edgeruntime/event_json.h"
#include "edgeruntime/node_body.h"
#include "edgeruntime/state_json.h"

namespace landfall {
namespace {

constexpr std::size_t events_max = 1000;
// A listing runs on the loop thread: it reads so many chunks or events and then says that there is more.
constexpr std::size_t listing_chunks_max = 256;
constexpr std::size_t listing_events_max = 8192;
constexpr std::size_t listing_bytes_max = 1 << 20;

struct Listed {
  HybridTime time;
  Dot dot;
  std::string json;
};

// Events of one chunk that pass, newest last.
Status list_chunk(const std::string& bytes, std::string_view subject, std::uint64_t from, std::vector<Listed>& out) {
  const auto chunk = decode_chunk(bytes);
  if (!chunk) return chunk.error();
  RowReader rows(chunk->rows);
  for (std::uint64_t seq = chunk->header.first; seq <= chunk->header.last; ++seq) {
    const auto event = decode_row(rows.next());
    if (!event) return event.error();
    if (seq < from || !event->subject.starts_with(subject)) continue;
    const Dot dot{chunk->header.of.run, chunk->header.of.stream, seq};
    out.push_back({event->time, dot, event_json(dot, *event)});
  }
  return ok();
}

}  // namespace

void NodeBody::answer(const ApiRequest& request, HttpApi::Reply reply) {
  struct Route {
    const char* method;
    const char* path;
    void (*run)(NodeBody&, const ApiRequest&, HttpApi::Reply);
  };
  static constexpr Route routes[] = {
      {"GET", "/v1/status",
       [](NodeBody& n, const ApiRequest&, HttpApi::Reply r) {
         r({200, status_json(n.status())});
       }},
      {"GET", "/metrics",
       [](NodeBody& n, const ApiRequest&, HttpApi::Reply r) {
         r({200, metrics_text(n.status()), "text/plain; version=0.0.4; charset=utf-8"});
       }},
      {"GET", "/healthz",
       [](NodeBody& n, const ApiRequest&, HttpApi::Reply r) {
         const auto status = n.status();
         r({status.reasons.empty() ? 200 : 503, health_json(status)});
       }},
      {"POST", "/v1/link/hold",
       [](NodeBody& n, const ApiRequest&, HttpApi::Reply r) { n.answer_hold(true, std::move(r)); }},
      {"POST", "/v1/link/release",
       [](NodeBody& n, const ApiRequest&, HttpApi::Reply r) { n.answer_hold(false, std::move(r)); }},
      {"POST", "/v1/events",
       [](NodeBody& n, const ApiRequest& q, HttpApi::Reply r) { n.answer_append(q, std::move(r)); }},
      {"GET", "/v1/events", [](NodeBody& n, const ApiRequest& q, HttpApi::Reply r) { r(n.answer_events(q)); }},
  };
  if (StateApi::handles(request.path)) {
    if (stopping_ && request.method != "GET")
      return reply(problem(503, "Stopping", "the node is stopping: ask again once it runs"));
    if (const auto why = not_yet(request.method != "GET")) return reply(problem(503, "Not yet", *why));
    return meaning_->api.answer(request, std::move(reply));
  }
  std::string allowed;
  for (const auto& route : routes) {
    if (request.path != route.path) continue;
    allowed = route.method + (allowed.empty() ? "" : ", " + allowed);
    if (request.method == route.method) return route.run(*this, request, std::move(reply));
  }
  reply(!allowed.empty()
            ? not_a_method(request, allowed)
            : problem(404, "Not found",
                      request.path + ": this API has /v1/status, /v1/events, /v1/twins, /v1/documents, /v1/alarms, "
                                     "/v1/commands, /v1/devices, /v1/link/hold, /v1/link/release, /metrics, /healthz"));
}

void NodeBody::answer_hold(bool held, HttpApi::Reply reply) {
  if (stopping_) return reply(problem(503, "Stopping", "the node is stopping"));
  // The switch first: an operator who holds a link means now. The answer waits until it outlives the process.
  network_->hold(held);
  spdlog::info("event=link_{}", held ? "held" : "released");
  log_->put_meta({{"x/hold", held ? "1" : "0"}}, [held, reply = std::move(reply)](const Status& stored) {
    if (!stored) return reply(problem_of(stored.error()));
    reply({200, held ? R"({"held":true})" : R"({"held":false})"});
  });
}

void NodeBody::answer_append(const ApiRequest& request, HttpApi::Reply reply) {
  if (stopping_) return reply(problem(503, "Stopping", "the node is stopping: ask again once it runs"));
  const auto input = parse_event_input(request.body);
  if (!input) return reply(problem_of(input.error()));
  Event event = input->event();
  event.actor = request.actor;
  log_->append(input->stream, {&event, 1}, [reply = std::move(reply)](const Result<Log::Appended>& done) {
    if (!done) return reply(problem_of(done.error()));
    reply({200, nlohmann::json{{"dot", to_string(done->first)}}.dump()});
  });
}

// The newest events, oldest first: of a subject by the index, else from the tail of each stream.
ApiReply NodeBody::answer_events(const ApiRequest& request) const {
  std::size_t limit = 100;
  std::string subject;
  for (const auto& [key, value] : request.query) {
    if (key == "subject") {
      subject = value;
    } else if (key == "limit") {
      const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), limit);
      if (error != std::errc() || rest != value.data() + value.size() || limit == 0 || limit > events_max) {
        return problem(400, "Out of range", "limit: a number from 1 to " + std::to_string(events_max));
      }
    } else {
      return problem(400, "Unknown parameter", "'" + key + "': this takes subject and limit");
    }
  }
  std::vector<Listed> listed;
  Status status = ok();
  std::size_t chunks = 0;
  bool truncated = false;
  const auto take = [&](const Log::StoredChunk& chunk, std::uint64_t from) {
    if (++chunks > listing_chunks_max || listed.size() >= listing_events_max) {
      truncated = true;
      return false;
    }
    status = list_chunk(chunk.bytes, subject, from, listed);
    return status.ok();
  };
  if (!subject.empty()) {
    const auto found = log_->find(subject, [&](const Log::StoredChunk& chunk) { return take(chunk, 1); });
    if (!found) return problem_of(found.error());
  } else {
    auto streams = log_->received().streams();
    std::ranges::reverse(streams);  // a node's newest runs first: the bound is for the old ones
    for (const auto& of : streams) {
      if (truncated) break;
      const auto last = log_->received().max(of);
      const auto from = last > limit ? last - limit + 1 : 1;
      const auto read = log_->read(of, from, listing_bytes_max);
      if (!read) return problem_of(read.error());
      for (const auto& chunk : *read) {
        if (!take(chunk, from)) break;
      }
    }
  }
  if (!status) return problem_of(status.error());
  std::ranges::sort(listed,
                    [](const Listed& a, const Listed& b) { return std::tie(a.time, a.dot) < std::tie(b.time, b.dot); });
  if (listed.size() > limit) {
    listed.erase(listed.begin(), listed.end() - static_cast<std::ptrdiff_t>(limit));
    truncated = true;
  }
  std::string body = R"({"events":[)";
  for (std::size_t i = 0; i < listed.size(); ++i) body += (i == 0 ? "" : ",") + listed[i].json;
  body += std::string(R"(],"truncated":)") + (truncated ? "true}" : "false}");
  return {200, body};
}

}  // namespace landfall
