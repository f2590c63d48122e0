#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/entry.h"
#include "crdt/received_context.h"
#include "schemas/event.h"
#include "schemas/result.h"

namespace landfall {

// The state of a set of events in memory: the received context, what is live, and what was superseded before it came.
// A homomorphism of the set: whatever the order, the doubles and the gaps, equal sets give equal states, and
// join(f(A), f(B)) = f(A + B). Log keeps the same state in its store; this one serves replays, tests and benches.
//
//   apply(e): nothing where e's dot is in received; else for each op: a listed dot that is received is taken out of
//             live, one that is not goes to pending; the put goes to live unless its dot is in pending; then the dot is
//             received and leaves pending.
//   join(A, B): an entry stays where both have it, or where the other neither received it nor holds it pending.
//
// A value; any one thread.
class State {
 public:
  State();
  ~State();
  State(const State&);
  State(State&&) noexcept;
  State& operator=(State) noexcept;

  // One event of kind change. Errors: `corrupt`, `out_of_range` from its payload: nothing is applied then.
  Status apply(const Dot& dot, const Event& event);
  // Every event of a chunk's plain rows; those of other kinds are received and change nothing. Errors as apply: what came
  // before the fault is applied.
  Status apply_rows(const RunStream& of, std::uint64_t first, std::string_view rows);
  void join(const State& other);

  const ReceivedContext& received() const;
  std::size_t pending() const;  // writes superseded before they came; 0 where nothing is missing
  std::size_t entries() const;
  Entries object(Stream stream, std::string_view object) const;
  std::vector<std::string> objects(Stream stream) const;  // with live entries, ordered

  friend bool operator==(const State& a, const State& b);  // of sets, not of representations

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace landfall
