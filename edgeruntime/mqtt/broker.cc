#include "edgeruntime/mqtt/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "edgeruntime/address.h"
#include "edgeruntime/mqtt/broker_system.h"
#include "edgeruntime/mqtt/control_file.h"
#include "edgeruntime/mqtt/ring.h"

namespace landfall {
namespace fs = std::filesystem;
namespace {

using namespace std::chrono_literals;

constexpr Duration probe_every = 50ms;
constexpr Duration backoff_min = 200ms, backoff_max = 10s;
constexpr Duration lived_long = 30s;  // a broker this old resets the back-off
constexpr Duration stop_max = 5s;
constexpr Duration save_every = 1s;
constexpr Duration look_after_every = 60s;
constexpr std::uintmax_t log_bytes_max = 4 << 20;  // beyond: emptied

fs::path control_file(const fs::path& dir) { return dir / "control"; }

Error disk_error(const std::string& what, const fs::path& path) {
  return {Code::disk, what + " " + path.string() + ": " + std::strerror(errno)};
}

// Whole or not at all.
Status write_text(const fs::path& file, const std::string& text) {
  const fs::path fresh = file.string() + ".new";
  std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out || ::rename(fresh.c_str(), file.c_str()) != 0) return disk_error("write", file);
  return ok();
}

}  // namespace

struct Broker::Process : std::enable_shared_from_this<Broker::Process> {
  Process(UvLoop& l, BrokerOptions o) : loop(l), options(std::move(o)) {}

  UvLoop& loop;
  BrokerOptions options;
  fs::path program;
  BrokerPorts ports;
  State state = State::starting;
  int pid = 0, pid_fd = -1;
  bool is_child = false, taken_over = false, save_wanted = false;
  std::uint64_t restarts = 0;
  std::string last_failure;
  Duration backoff = backoff_min;
  Instant started{};
  uv_poll_t* exit_poll = nullptr;  // freed by its close callback
  Loop::Timer timer = 0, save_timer = 0, look_timer = 0;
  std::function<void()> on_stopped;
  BrokerLogin login;
  std::uint64_t control_version = 0;
  std::vector<ClientAccess> file_users;  // of options.password_file
  fs::file_time_type file_users_time{};

  Status start();
  Status start_external();
  void make_login(std::uint16_t port);
  Status check_access(const BrokerAccess& access) const;
  Status read_users();
  Status write_control();
  Status choose_ports();
  bool take_over_or_end(const std::string& config);
  Status launch();
  void watch();
  void unwatch();
  void probe();
  void on_exit();
  std::string how_it_ended(int status) const;
  void relaunch();
  void look_after();
  void set_timer(Loop::Timer& which, Duration delay, void (Process::*then)());
  bool is_external() const { return options.program == "external"; }
  fs::path config_file() const { return options.dir / "mosquitto.conf"; }
  // Those that were chosen for us, to be chosen again.
  fs::path ports_file() const { return options.dir / "broker.ports"; }
  std::vector<std::string> arguments() const { return {program.string(), "-c", config_file().string()}; }
  fs::path log_file() const { return options.dir / "broker.log"; }
  void say(const std::string& line) {
    if (options.on_line) options.on_line(line);
  }
};

std::string_view to_string(Broker::State state) {
  switch (state) {
    case Broker::State::external: return "external";
    case Broker::State::starting: return "starting";
    case Broker::State::running: return "running";
    case Broker::State::backing_off: return "backing off";
    case Broker::State::stopping: return "stopping";
    case Broker::State::stopped: return "stopped";
  }
  return "unknown";
}

Result<std::unique_ptr<Broker>> Broker::start(UvLoop& loop, BrokerOptions options) {
  auto process = std::make_shared<Process>(loop, std::move(options));
  LANDFALL_TRY(process->start());
  return std::unique_ptr<Broker>(new Broker(std::move(process)));
}

Broker::Broker(std::shared_ptr<Process> process) : process_(std::move(process)) {}

Broker::~Broker() {
  auto& p = *process_;
  for (auto timer : {p.timer, p.save_timer, p.look_timer}) p.loop.cancel(timer);
  p.unwatch();
}

std::string Broker::plugin_config(const BrokerOptions& options) {
  return "plugin " + options.plugin.string() + "\nplugin_opt_ring " + options.ring.string() +
         "\nplugin_opt_wake_socket " + options.wake_socket.string() + "\nplugin_opt_control " +
         control_file(options.dir).string() + "\n";
}

Result<fs::path> Broker::find_plugin() {
  std::error_code failed;
  const auto folder = fs::read_symlink("/proc/self/exe", failed).parent_path();
  for (const char* place : {".", "../lib/landfall", "../lib/x86_64-linux-gnu/landfall",
                            "../lib/aarch64-linux-gnu/landfall", "../edgeruntime/mqtt", "../../edgeruntime/mqtt"}) {
    const auto file = (folder / place / "liblandfall_mosquitto.so").lexically_normal();
    if (fs::exists(file, failed)) return file;
  }
  return Error{Code::not_found,
               "liblandfall_mosquitto.so is neither beside the landfall program nor in its lib folder: "
               "name it in [mqtt] plugin"};
}

Broker::Report Broker::report() const {
  const auto& p = *process_;
  return {p.state, p.pid, p.taken_over, p.ports.mqtt, p.ports.websocket, p.restarts, p.last_failure, p.control_version};
}

const BrokerLogin& Broker::login() const { return process_->login; }

Status Broker::set_access(BrokerAccess access) {
  auto& p = *process_;
  LANDFALL_TRY(p.check_access(access));
  std::swap(p.options.access, access);
  auto written = p.write_control();
  if (!written.ok()) std::swap(p.options.access, access);
  return written;
}

Status Broker::set_rules(std::vector<CaptureRule> rules) {
  auto& p = *process_;
  std::swap(p.options.rules, rules);
  auto written = p.write_control();
  if (!written.ok()) std::swap(p.options.rules, rules);
  return written;
}

Status Broker::Process::check_access(const BrokerAccess& access) const {
  if (is_external() || is_loopback(options.listen) || !options.password_file.empty() ||
      access.mode == BrokerAccess::Mode::closed)
    return ok();
  return Error{Code::denied, "mqtt listen " + options.listen +
                                 ": devices on other machines need passwords; make a file with mosquitto_passwd and "
                                 "name it in [mqtt] password_file, or listen on 127.0.0.1"};
}

Status Broker::Process::read_users() {
  if (options.password_file.empty() || is_external()) return ok();
  std::error_code failed;
  const auto time = fs::last_write_time(options.password_file, failed);
  auto users = read_password_file(options.password_file);
  if (!users.ok()) return std::move(users).error();
  file_users = std::move(*users);
  file_users_time = time;
  return ok();
}

Status Broker::Process::write_control() {
  using Mode = BrokerControl::Mode;
  BrokerControl control;
  control.version = loop.random() | 1;
  const bool is_closed = options.access.mode == BrokerAccess::Mode::closed;
  control.mode = is_closed || !file_users.empty() || (!options.password_file.empty() && !is_external()) ? Mode::closed
                 : is_external()                                                                        ? Mode::deferred
                                                                                                        : Mode::open;
  control.edge_client_id = login.client_id;
  control.edge_user = login.user;
  control.edge_password = login.password;
  control.rules = options.rules;
  control.clients = options.access.clients;
  control.clients.insert(control.clients.end(), file_users.begin(), file_users.end());
  LANDFALL_TRY(landfall::write_control(control_file(options.dir), control));
  control_version = control.version;
  return ok();
}

void Broker::Process::make_login(std::uint16_t port) {
  const bool is_any = options.listen.empty() || options.listen == "0.0.0.0";
  login.host = is_any || options.listen == "localhost" ? "127.0.0.1" : options.listen == "::" ? "::1" : options.listen;
  login.port = port;
  login.client_id = options.client_id;
  login.user = "landfall-edge";
  // Another at each start: nobody but the edge that lives needs it.
  login.password.clear();
  for (int i = 0; i < 4; ++i) {
    char digits[17];
    std::snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(loop.random()));
    login.password += digits;
  }
}

Status Broker::Process::start_external() {
  state = State::external;
  make_login(options.port);
  return write_control();
}

Status Broker::Process::start() {
  std::error_code failed;
  fs::create_directories(options.dir, failed);
  if (failed) return Error{Code::disk, "make " + options.dir.string() + ": " + failed.message()};
  options.dir = fs::absolute(options.dir);
  options.ring = fs::absolute(options.ring);
  options.wake_socket = fs::absolute(options.wake_socket);
  if (is_external()) return start_external();
  auto found = find_program(options.program);
  if (!found.ok()) return std::move(found).error();
  program = *found;
  if (options.plugin.empty()) {
    auto plugin = find_plugin();
    if (!plugin.ok()) return std::move(plugin).error();
    options.plugin = *plugin;
  }
  if (!fs::exists(options.plugin))
    return Error{Code::not_found, "plugin " + options.plugin.string() + " does not exist"};
  options.plugin = fs::absolute(options.plugin);
  if (options.listen == "localhost") options.listen = "127.0.0.1";
  if (!is_ip_address(options.listen))
    return Error{Code::out_of_range, "mqtt listen \"" + options.listen + "\" is not an IP address"};
  LANDFALL_TRY(check_access(options.access));
  LANDFALL_TRY(read_users());
  if (options.port == 0 || options.websocket_port == std::uint16_t{0}) {
    std::ifstream earlier(ports_file());
    earlier >> ports.mqtt >> ports.websocket;
  }
  if (options.port != 0) ports.mqtt = options.port;
  if (!options.websocket_port)
    ports.websocket = 0;
  else if (*options.websocket_port != 0)
    ports.websocket = *options.websocket_port;
  // First what the broker goes by: one that is taken over reads it at once, one that starts must find it.
  make_login(ports.mqtt);
  LANDFALL_TRY(write_control());
  look_after();
  if (take_over_or_end(broker_config(options, ports))) return ok();
  LANDFALL_TRY(choose_ports());
  login.port = ports.mqtt;
  return launch();
}

// An earlier edge's broker, if it still lives: kept as it is where this edge would start the same, ended where not.
bool Broker::Process::take_over_or_end(const std::string& config) {
  const int old_pid = find_process(arguments());
  if (old_pid == 0) return false;
  pid_fd = static_cast<int>(::syscall(SYS_pidfd_open, old_pid, 0));
  // Looked at again now that the descriptor keeps the number from being given to another.
  if (pid_fd < 0 || !runs_with(old_pid, arguments())) return false;
  // One whose plugin holds another file than our ring (this one was removed or set aside) would acknowledge into nowhere.
  const bool holds_ring = has_ring_writer(options.ring);
  if (holds_ring && read_text(config_file()) == config) {
    pid = old_pid;
    taken_over = true;
    started = loop.now();
    watch();
    say("took over the broker of an earlier run, pid " + std::to_string(pid));
    probe();
    return true;
  }
  say("ending the broker of an earlier run, pid " + std::to_string(old_pid) +
      (holds_ring ? ": its configuration is another" : ": it does not write to our ring"));
  ::kill(old_pid, SIGTERM);
  pollfd gone{pid_fd, POLLIN, 0};
  if (::poll(&gone, 1, static_cast<int>(stop_max / 1ms)) == 0) {
    ::kill(old_pid, SIGKILL);
    ::poll(&gone, 1, -1);
  }
  ::close(pid_fd);
  pid_fd = -1;
  return false;
}

Status Broker::Process::choose_ports() {
  const auto choose = [&](std::uint16_t& port, bool any, const char* key) -> Status {
    auto bound = try_bind(options.listen, port);
    if (!bound && any) bound = try_bind(options.listen, 0);
    if (!bound) {
      return Error{Code::conflict, "port " + std::to_string(port) + " on " + options.listen +
                                       " is in use by another program: stop it, or set another [mqtt] " + key};
    }
    port = *bound;
    return ok();
  };
  LANDFALL_TRY(choose(ports.mqtt, options.port == 0, "port"));
  if (options.websocket_port) LANDFALL_TRY(choose(ports.websocket, *options.websocket_port == 0, "websocket_port"));
  return ok();
}

Status Broker::Process::launch() {
  LANDFALL_TRY(write_text(ports_file(), std::to_string(ports.mqtt) + " " + std::to_string(ports.websocket) + "\n"));
  LANDFALL_TRY(write_text(config_file(), broker_config(options, ports)));
  const int log = ::open(log_file().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) return disk_error("open", log_file());
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, log, 1);
  posix_spawn_file_actions_adddup2(&files, log, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A session of its own: Ctrl-C on the terminal reaches the edge, which then ends the broker in order.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &none);
  auto words = arguments();
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  const int rc = ::posix_spawn(&child, argv[0], &files, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  ::close(log);
  if (rc != 0) return Error{Code::not_found, "start " + program.string() + ": " + std::strerror(rc)};
  pid = child;
  is_child = true;
  taken_over = false;
  started = loop.now();
  state = State::starting;
  pid_fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  LANDFALL_CHECK(pid_fd >= 0);
  watch();
  set_timer(timer, probe_every, &Process::probe);
  return ok();
}

void Broker::Process::watch() {
  exit_poll = new uv_poll_t;
  exit_poll->data = this;
  LANDFALL_CHECK(uv_poll_init(loop.handle(), exit_poll, pid_fd) == 0);
  uv_poll_start(exit_poll, UV_READABLE, [](uv_poll_t* handle, int, int) {
    auto* self = static_cast<Process*>(handle->data);
    self->loop.new_turn();
    self->on_exit();
  });
}

void Broker::Process::unwatch() {
  if (exit_poll != nullptr) {
    uv_poll_stop(exit_poll);
    uv_close(reinterpret_cast<uv_handle_t*>(exit_poll),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
    exit_poll = nullptr;
  }
  if (pid_fd >= 0) ::close(pid_fd);
  pid_fd = -1;
}

void Broker::Process::set_timer(Loop::Timer& which, Duration delay, void (Process::*then)()) {
  loop.cancel(which);
  which = loop.after(delay, [weak = weak_from_this(), &which, then] {
    const auto self = weak.lock();
    if (!self) return;
    which = 0;
    ((*self).*then)();
  });
}

void Broker::Process::probe() {
  if (state != State::starting) return;
  const bool up =
      answers(options.listen, ports.mqtt) && (ports.websocket == 0 || answers(options.listen, ports.websocket));
  if (!up) return set_timer(timer, probe_every, &Process::probe);
  state = State::running;
  say("broker runs, pid " + std::to_string(pid) + ", port " + std::to_string(ports.mqtt) +
      (ports.websocket == 0 ? "" : ", WebSocket port " + std::to_string(ports.websocket)));
}

// A broker that gives up says why in its log; one that was killed has said nothing.
std::string Broker::Process::how_it_ended(int status) const {
  if (WIFSIGNALED(status)) return "was killed by signal " + std::to_string(WTERMSIG(status));
  std::string log = read_text(log_file());
  while (log.ends_with('\n')) log.pop_back();
  return "ended; the last line of " + log_file().string() + ": " + log.substr(log.rfind('\n') + 1, 300);
}

void Broker::Process::on_exit() {
  int status = 0;
  if (is_child) ::waitpid(pid, &status, 0);
  unwatch();
  loop.cancel(timer);
  const int gone = std::exchange(pid, 0);
  if (state == State::stopping) {
    state = State::stopped;
    loop.cancel(save_timer);
    loop.cancel(look_timer);
    if (on_stopped) std::exchange(on_stopped, nullptr)();
    return;
  }
  ++restarts;
  last_failure = "broker (pid " + std::to_string(gone) + ") " + how_it_ended(status);
  if (loop.now() - started > lived_long) backoff = backoff_min;
  say(last_failure + "; starting it again in " + std::to_string(backoff / 1ms) + " ms");
  state = State::backing_off;
  set_timer(timer, backoff, &Process::relaunch);
  backoff = std::min(backoff * 2, backoff_max);
}

void Broker::Process::relaunch() {
  auto launched = launch();
  if (launched.ok()) return;
  last_failure = launched.error().detail;
  say("broker cannot be started: " + last_failure);
  set_timer(timer, backoff_max, &Process::relaunch);
}

// Mosquitto appends to its log, so that emptying the file is enough to bound it. Users may be added at any time.
void Broker::Process::look_after() {
  std::error_code failed;
  const auto size = fs::file_size(log_file(), failed);
  if (!failed && size > log_bytes_max) fs::resize_file(log_file(), 0, failed);
  if (!options.password_file.empty() && fs::last_write_time(options.password_file, failed) != file_users_time) {
    auto read = read_users();
    if (read.ok()) read = write_control();
    if (!read.ok()) say("the broker keeps the users it has: " + read.error().detail);
  }
  set_timer(look_timer, look_after_every, &Process::look_after);
}

void Broker::save_retained() {
  auto& p = *process_;
  p.save_wanted = true;
  if (p.save_timer != 0 || p.state == State::external || p.state >= State::stopping) return;
  p.save_timer = p.loop.after(save_every, [weak = p.weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->save_timer = 0;
    // A broker that is starting may not have its handler yet, and SIGUSR1 would end it: the next message asks again.
    if (self->state == State::running && std::exchange(self->save_wanted, false)) ::kill(self->pid, SIGUSR1);
  });
}

void Broker::stop(std::function<void()> stopped) {
  auto& p = *process_;
  p.loop.cancel(p.timer);
  p.on_stopped = std::move(stopped);
  if (p.pid == 0) {
    if (p.state != State::external) p.state = State::stopped;
    p.loop.post([weak = p.weak_from_this()] {
      const auto self = weak.lock();
      if (self && self->on_stopped) std::exchange(self->on_stopped, nullptr)();
    });
    return;
  }
  p.state = State::stopping;
  ::kill(p.pid, SIGTERM);
  p.timer = p.loop.after(stop_max, [weak = p.weak_from_this()] {
    const auto self = weak.lock();
    if (self && self->pid != 0) ::kill(self->pid, SIGKILL);
  });
}

}  // namespace landfall
