#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/conformance/temp_dir.h"

namespace landfall::test {

// A program whose lines are read and which can be killed.
class Process {
 public:
  explicit Process(std::vector<std::string> arguments) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) return;
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in[0], 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (::posix_spawn(&pid_, argv[0], &files, nullptr, argv.data(), environ) != 0) pid_ = 0;
    posix_spawn_file_actions_destroy(&files);
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = out[0];
  }
  ~Process() {
    kill(SIGKILL);
    ::close(in_);
    ::close(out_);
  }
  // Empty at the end of output, or when nothing came for a minute.
  std::string line() {
    for (;;) {
      const auto end = buffer_.find('\n');
      if (end != buffer_.npos) {
        std::string text = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return text;
      }
      pollfd wait{out_, POLLIN, 0};
      char bytes[65536];
      if (::poll(&wait, 1, 60'000) != 1) return {};
      const auto n = ::read(out_, bytes, sizeof(bytes));
      if (n <= 0) return {};
      buffer_.append(bytes, static_cast<std::size_t>(n));
    }
  }
  void say(const std::string& text) { (void)!::write(in_, text.data(), text.size()); }
  int kill(int signal_number) {
    int status = -1;
    if (pid_ == 0) return status;
    ::kill(pid_, signal_number);
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return status;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
  int in_ = -1, out_ = -1;
  std::string buffer_;
};

struct StoredEvent {
  std::string stream, kind, retained, subject, device, source, id, content_type, payload;
};

// mqtt_edge with its real Mosquitto, in a folder of its own. Whatever a test leaves running ends with it.
class Edge {
 public:
  explicit Edge(std::size_t ring_bytes = 16 << 20) : ring_bytes_(ring_bytes) { start(); }
  // `prepare` finds the folder before the first start.
  explicit Edge(const std::function<void(const std::filesystem::path&)>& prepare) : ring_bytes_(16 << 20) {
    prepare(dir.path());
    start();
  }
  ~Edge() {
    if (process_)
      process_->kill(SIGTERM);
    else if (broker_pid > 0)
      ::kill(broker_pid, SIGKILL);
  }

  void start() {
    process_ = std::make_unique<Process>(
        std::vector<std::string>{MQTT_EDGE, "run", dir.path().string(), MQTT_PLUGIN, std::to_string(ring_bytes_)});
    lines_.clear();
    std::istringstream ready(next("ready"));
    std::string word;
    ready >> word >> port >> websocket_port >> broker_pid;
    EXPECT_EQ(word, "ready");
  }
  void kill() {
    process_->kill(SIGKILL);
    process_ = nullptr;
  }
  int stop() {
    const int status = process_->kill(SIGTERM);
    process_ = nullptr;
    broker_pid = 0;
    return status;
  }
  // kill -9 of the broker; returns when the edge has another.
  void kill_broker() {
    const auto restarts = metrics()["restarts"];
    ::kill(broker_pid, SIGKILL);
    EXPECT_TRUE(wait([&](auto& m) { return m["restarts"] > restarts && m["broker_running"] == 1; }));
    broker_pid = static_cast<int>(metrics()["broker_pid"]);
  }

  std::map<std::string, std::uint64_t> metrics() {
    process_->say("\n");
    std::istringstream words(next("metrics"));
    std::map<std::string, std::uint64_t> values;
    for (std::string word; words >> word;) {
      const auto equals = word.find('=');
      if (equals != word.npos) values[word.substr(0, equals)] = std::stoull(word.substr(equals + 1));
    }
    return values;
  }
  bool wait(const std::function<bool(std::map<std::string, std::uint64_t>&)>& condition) {
    for (int attempt = 0; attempt < 4000; ++attempt) {
      auto now = metrics();
      if (now.empty()) return false;
      if (condition(now)) return true;
      ::poll(nullptr, 0, 5);
    }
    return false;
  }
  // A command of mqtt_edge, tabs between its words.
  void say(const std::string& command) { process_->say(command + "\n"); }
  // The next line of mqtt_edge whose first word this is, without others that came before it, which are kept. Empty when
  // none comes.
  std::string next(const std::string& word) {
    const auto is_it = [&](const std::string& line) { return line.substr(0, line.find_first_of("\t ")) == word; };
    for (auto at = lines_.begin(); at != lines_.end(); ++at) {
      if (!is_it(*at)) continue;
      auto line = std::move(*at);
      lines_.erase(at);
      return line;
    }
    for (;;) {
      auto line = process_->line();
      if (line.empty() || is_it(line)) return line;
      lines_.push_back(std::move(line));
    }
  }
  // The words of the next such line after the first.
  std::vector<std::string> words(const std::string& word) {
    std::istringstream in(next(word));
    std::vector<std::string> words;
    for (std::string text; std::getline(in, text, '\t');) words.push_back(text);
    if (!words.empty()) words.erase(words.begin());
    return words;
  }
  // Access or rules are set, and the plugin goes by them.
  bool set(const std::string& command) {
    say(command);
    const auto answer = words("set");
    return answer.empty() && wait([](auto& m) { return m["control"] == 1; });
  }

  bool wait_until_drained() {
    return wait([](auto& m) { return m["used"] == 0; });
  }

  // Ends the edge (kill -9) and reads its log.
  std::vector<StoredEvent> events() {
    if (process_) {
      EXPECT_TRUE(wait_until_drained());
      kill();
      ::kill(broker_pid, SIGKILL);
      broker_pid = 0;
    }
    Process dump({MQTT_EDGE, "dump", dir.path().string()});
    std::vector<StoredEvent> all;
    for (auto line = dump.line(); line != "end"; line = dump.line()) {
      std::istringstream fields(line);
      StoredEvent e;
      for (auto* to :
           {&e.stream, &e.kind, &e.retained, &e.subject, &e.device, &e.source, &e.id, &e.content_type, &e.payload}) {
        std::getline(fields, *to, '\t');
      }
      if (line.empty()) {
        ADD_FAILURE() << "the dump ended early";
        break;
      }
      all.push_back(e);
    }
    return all;
  }

  TempDir dir;
  std::uint16_t port = 0, websocket_port = 0;
  int broker_pid = 0;

 private:
  std::size_t ring_bytes_;
  std::unique_ptr<Process> process_;
  std::deque<std::string> lines_;  // that nobody has asked for yet
};

}  // namespace landfall::test
