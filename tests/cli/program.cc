#include "tests/cli/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <random>

#include "edgeruntime/http_api.h"

namespace landfall::cli {
namespace {

std::string read_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

int exit_code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

pid_t spawn_program(const std::vector<std::string>& arguments, int in, int out, int err,
                    std::uint64_t file_bytes_max = 0) {
  std::vector<char*> argv;
  std::string program = LANDFALL_PROGRAM;
  argv.push_back(program.data());
  std::vector<std::string> copies = arguments;
  for (auto& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Where root runs the tests, permissions hold for the program all the same.
  ::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);
  ::prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH);
  if (file_bytes_max != 0) {
    const rlimit limit{file_bytes_max, file_bytes_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, SIG_IGN);
  }
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

int open_or_die(const std::filesystem::path& file, int flags) {
  const int fd = ::open(file.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) ADD_FAILURE() << file << " cannot be opened";
  return fd;
}

}  // namespace

::testing::AssertionResult holds(const std::string& text, const std::vector<std::string>& words) {
  for (const auto& word : words) {
    if (text.find(word) == std::string::npos)
      return ::testing::AssertionFailure() << "'" << word << "' is not in: " << text;
  }
  return ::testing::AssertionSuccess();
}

Ended landfall(const std::vector<std::string>& arguments, const std::string& input) {
  const Folder folder;
  std::ofstream(folder / "in") << input;
  const int in = open_or_die(folder / "in", O_RDONLY);
  const int out = open_or_die(folder / "out", O_WRONLY | O_CREAT),
            err = open_or_die(folder / "err", O_WRONLY | O_CREAT);
  const pid_t pid = spawn_program(arguments, in, out, err);
  int status = 0;
  ::waitpid(pid, &status, 0);
  for (const int fd : {in, out, err}) ::close(fd);
  return {exit_code_of(status), read_file(folder / "out"), read_file(folder / "err")};
}

Running::Running(std::string role, std::filesystem::path dir) : role_(std::move(role)), dir_(std::move(dir)) {}

Running::~Running() {
  if (!running()) start();  // an edge killed with -9 leaves its broker to the next one: this ends both
  if (pid_ != 0) stop();
}

void Running::start() { spawn(0); }
void Running::start_on_small_disk(std::uint64_t file_bytes_max) { spawn(file_bytes_max); }

void Running::spawn(std::uint64_t file_bytes_max) {
  const int null = open_or_die("/dev/null", O_RDONLY);
  const int out = open_or_die(dir_.string() + ".said", O_WRONLY | O_CREAT | O_APPEND);
  pid_ = spawn_program({role_, "run", "--dir", dir_.string()}, null, out, out, file_bytes_max);
  ::close(null);
  ::close(out);
}

int Running::reap(bool block) {
  if (pid_ == 0) return exit_code_;
  int status = 0;
  if (::waitpid(pid_, &status, block ? 0 : WNOHANG) != pid_) return -1;
  pid_ = 0;
  return exit_code_ = exit_code_of(status);
}

bool Running::running() {
  reap(false);
  return pid_ != 0;
}

int Running::stop() {
  // A signal that comes before the handler stands would end it the hard way: that is not what is tested here.
  eventually([&] { return !running() || !status().is_null(); });
  if (pid_ != 0) ::kill(pid_, SIGTERM);
  return reap(true);
}

void Running::kill9() {
  ::kill(pid_, SIGKILL);
  reap(true);
}

int Running::wait() {
  EXPECT_TRUE(eventually([&] { return !running(); })) << said();
  return exit_code_;
}

std::string Running::said() const { return read_file(dir_.string() + ".said"); }

Json Running::status() const {
  const auto reply = call_api(dir_ / "landfall.sock", "GET", "/v1/status");
  return reply && reply->status == 200 ? Json::parse(reply->body) : Json();
}

Json Running::await(const char* what, const std::function<bool(const Json&)>& condition) {
  Json last;
  const bool held = eventually([&] {
    last = status();
    return !running() || (!last.is_null() && condition(last));
  });
  EXPECT_TRUE(held && pid_ != 0) << what << " never came; status: " << last.dump(1) << "\nsaid:\n" << said();
  return last;
}

Json Running::await_ready() {
  return await("an answer", [](const Json&) { return true; });
}

bool eventually(const std::function<bool()>& condition, std::chrono::seconds deadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    ::poll(nullptr, 0, 20);
  }
  return true;
}

std::uint16_t free_port() {
  // Below the range that the kernel gives to outgoing connections.
  static std::mt19937 random{std::random_device{}()};
  for (int i = 0; i < 200; ++i) {
    const auto port = static_cast<std::uint16_t>(20000 + random() % 12000);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    if (free) return port;
  }
  ADD_FAILURE() << "no free port";
  return 0;
}

Folder::Folder() {
  std::string name = (std::filesystem::temp_directory_path() / "landfall-cli-XXXXXX").string();
  path_ = ::mkdtemp(name.data());
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void replace_in_file(const std::filesystem::path& file, const std::string& from, const std::string& to) {
  auto text = read_file(file);
  const auto at = text.find(from);
  ASSERT_NE(at, std::string::npos) << file << " does not hold " << from;
  text.replace(at, from.size(), to);
  std::ofstream(file, std::ios::binary) << text;
}

}  // namespace landfall::cli
