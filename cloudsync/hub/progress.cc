#include "cloudsync/hub/progress.h"

#include <nlohmann/json.hpp>

#include "cloudsync/hub/cloud_event.h"

namespace landfall {
namespace {

using nlohmann::json;

std::string time_text(std::int64_t unix_ms) {
  std::string text;
  append_rfc3339(unix_ms, text);
  return text;
}

bool read_digest(const std::string& hex, Digest& digest) {
  if (hex.size() != 2 * digest.size()) return false;
  const auto nibble = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    digest[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

}  // namespace

std::string progress_key(const RunStream& of) { return to_string(of.run) + "/" + std::string(to_string(of.stream)); }

std::string encode_progress(const Progress& progress) {
  return "{\"last\":" + std::to_string(progress.last) + ",\"chain\":\"" + to_hex(progress.chain) + "\",\"time\":\"" +
         time_text(progress.unix_ms) + "\",\"events\":" + std::to_string(progress.events) +
         (progress.voids ? ",\"voids\":true}" : "}");
}

std::string encode_owner(std::string_view instance, std::int64_t unix_ms) {
  return "{\"instance\":\"" + std::string(instance) + "\",\"time\":\"" + time_text(unix_ms) + "\"}";
}

Status ShardProgress::apply(std::string_view key, std::string_view value) {
  const auto bad = [&](std::string_view what) {
    return Error{Code::corrupt, "progress record '" + std::string(key) + "': " + std::string(what)};
  };
  const json parsed = json::parse(value, nullptr, false);
  if (!parsed.is_object()) return bad("not a JSON object");
  if (key == owner_key) {
    if (!parsed.contains("instance") || !parsed["instance"].is_string()) return bad("no instance");
    owner = parsed["instance"].get<std::string>();
    return ok();
  }
  // A dot is the key with a seq behind it, so its parser reads the key too.
  const auto dot = parse_dot(std::string(key) + "/1");
  if (!dot) return bad("the key names no run and stream");
  if (!parsed.contains("last") || !parsed["last"].is_number_unsigned()) return bad("no last seq");
  Progress progress;
  progress.last = parsed["last"].get<std::uint64_t>();
  if (!parsed.contains("chain") || !parsed["chain"].is_string() ||
      !read_digest(parsed["chain"].get<std::string>(), progress.chain)) {
    return bad("no chain");
  }
  if (parsed.contains("events") && parsed["events"].is_number_unsigned()) progress.events = parsed["events"];
  progress.voids = parsed.contains("voids") && parsed["voids"] == true;
  streams[{dot->run, dot->stream}] = progress;
  return ok();
}

}  // namespace landfall
