#pragma once

#include <memory>

#include "eventlog/loop.h"

struct uv_loop_s;

namespace landfall {

// Loop on libuv: the thread that calls run() is the loop thread. Time is CLOCK_BOOTTIME, so a timer set before the
// machine slept fires when it wakes. Randomness comes from getrandom(2). Two worker threads serve work().
//
// Everything that uses the loop (stores, networks, timers set by others) is destroyed before it. What was posted or
// submitted and has not run by then is dropped, its functions destroyed on the destroying thread. Making one sets SIGPIPE
// to be ignored in the process: libuv writes to sockets that the peer may have closed.
class UvLoop : public Loop {
 public:
  UvLoop();
  ~UvLoop() override;

  Instant now() const override;
  std::int64_t unix_ms() const override;
  std::uint64_t random() override;
  Timer after(Duration delay, Task task) override;
  void cancel(Timer timer) override;
  void post(Task task) override;
  void work(Lane lane, Task job, Task done) override;

  // Runs turns until stop() is called; after a stop() that came first it returns at once. May be called again.
  void run();
  void stop();

  // Runs `task` on the loop for each `signal_number` that arrives, in place of what the signal did before.
  void on_signal(int signal_number, Task task);

  // For the files of edgeruntime/ that own libuv handles. Each of their callbacks begins with new_turn(), which lets
  // now() move on.
  uv_loop_s* handle();
  void new_turn();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace landfall
