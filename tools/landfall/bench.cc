#include "tools/landfall/bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <ostream>
#include <random>
#include <thread>

namespace landfall {
namespace {

using Json = nlohmann::ordered_json;

// The value after "key :" in a file of such lines, as /proc has them.
std::string proc_field(const std::string& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    auto at = line.find(':');
    if (at == std::string::npos) continue;
    at = line.find_first_not_of(" \t", at + 1);
    return at == std::string::npos ? std::string() : line.substr(at);
  }
  return {};
}

double status_mib(int pid, const char* key) {
  std::string file = "/proc/" + (pid == 0 ? std::string("self") : std::to_string(pid)) + "/status";
  return std::atof(proc_field(file, key).c_str()) / 1024;
}

std::string os_name() {
  std::ifstream in("/etc/os-release");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("PRETTY_NAME=", 0) == 0) return line.substr(13, line.size() - 14);
  }
  return "unknown";
}

Json machine() {
  utsname name{};
  uname(&name);
#ifdef NDEBUG
  const char* build = "release";
#else
  const char* build = "checked";
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  build = "sanitizer";
#endif
  return {{"cpu", proc_field("/proc/cpuinfo", "model name")},
          {"cores", std::thread::hardware_concurrency()},
          {"memory_mib", std::atoll(proc_field("/proc/meminfo", "MemTotal").c_str()) / 1024},
          {"os", os_name()},
          {"kernel", name.release},
          {"build", build}};
}

Json to_json(const BenchCase& c) {
  Json references = Json::array();
  for (const BenchReference& r : c.references) {
    double theirs = median(r.runs);
    references.push_back(
        {{"name", r.name}, {"runs", r.runs}, {"median", theirs}, {"ratio", theirs > 0 ? median(c.runs) / theirs : 0}});
  }
  Json extras = Json::object();
  for (const auto& [name, value] : c.extras) extras[name] = value;
  return {{"name", c.name},           {"unit", c.unit},           {"runs", c.runs},
          {"median", median(c.runs)}, {"references", references}, {"extras", extras}};
}

void print_row(std::ostream& out, const std::string& name, const std::vector<double>& runs, const std::string& last) {
  auto [low, high] = std::minmax_element(runs.begin(), runs.end());
  out << "  " << std::left << std::setw(28) << name << std::right << std::fixed << std::setprecision(0) << std::setw(12)
      << median(runs) << std::setw(12) << (runs.empty() ? 0 : *low) << std::setw(12) << (runs.empty() ? 0 : *high)
      << "   " << last << "\n";
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[(values.size() - 1) / 2];
}

void print_report(const BenchReport& report, bool json, std::ostream& out) {
  if (json) {
    Json cases = Json::array();
    for (const BenchCase& c : report.cases) cases.push_back(to_json(c));
    out << Json{{"bench", report.bench}, {"machine", machine()}, {"cases", cases}}.dump() << "\n";
    return;
  }
  for (const BenchCase& c : report.cases) {
    out << report.bench << " " << c.name << ", " << c.unit << "\n";
    out << "  " << std::left << std::setw(28) << "" << std::right << std::setw(12) << "median" << std::setw(12)
        << "lowest" << std::setw(12) << "highest"
        << "\n";
    print_row(out, "landfall", c.runs, "");
    for (const BenchReference& r : c.references) {
      double theirs = median(r.runs);
      char ratio[64];
      std::snprintf(ratio, sizeof ratio, "landfall is %.2f of it", theirs > 0 ? median(c.runs) / theirs : 0);
      print_row(out, r.name, r.runs, ratio);
    }
    for (const auto& [name, value] : c.extras) {
      out << "  " << std::left << std::setw(28) << name << std::right << std::setprecision(2) << std::setw(12) << value
          << "\n";
    }
  }
}

void bench_progress(const std::string& line) {
  if (isatty(2) == 1) std::fprintf(stderr, "\r\033[K%s", line.c_str());
}
void bench_progress_done() {
  if (isatty(2) == 1) std::fprintf(stderr, "\r\033[K");
}

std::vector<std::string> bench_events(std::size_t count, std::size_t bytes) {
  std::mt19937_64 random(42);
  std::normal_distribution<double> wander(0, 1);
  std::uint64_t time = 1714566896000;
  double lat = 60.0845, lon = 23.5391, sog = 3.1, cog = 3.9, depth = 10.4, temp = 281.1;
  std::vector<std::string> events;
  events.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    time += random() % 200;
    lat += wander(random) * 1e-5;
    lon += wander(random) * 1e-5;
    sog += wander(random) * .02;
    cog += wander(random) * .01;
    depth += wander(random) * .05;
    temp += wander(random) * .01;
    auto device = static_cast<unsigned>(random() % 1000);
    double volts = 12.0 + static_cast<double>(random() % 1000) / 1000.0;
    int rssi = -static_cast<int>(random() % 90);
    char text[400];
    int length = std::snprintf(
        text, sizeof text,
        R"({"dev":"d%04u","ts":%llu,"lat":%.7f,"lon":%.7f,"sog":%.4f,"cog":%.5f,"depth":%.3f,"temp":%.3f,)"
        R"("src":"n2k.115","path":"navigation.position","quality":"ok","batt":%.3f,"rssi":%d,"id":"%012llx)",
        device, static_cast<unsigned long long>(time), lat, lon, sog, cog, depth, temp, volts, rssi,
        static_cast<unsigned long long>(random() & 0xffffffffffff));
    std::string event(text, static_cast<std::size_t>(length));
    event.resize(bytes - 2, '0');
    events.push_back(event + "\"}");
  }
  return events;
}

double bench_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double resident_mib(int pid) { return status_mib(pid, "VmRSS"); }
double peak_mib(int pid) { return status_mib(pid, "VmHWM"); }

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

}  // namespace landfall
