#include "crdt/state.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "schemas/op.h"

namespace landfall {
namespace {

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
struct RunHash {
  std::size_t operator()(const RunId& run) const {
    std::uint64_t node = 0;  // itself a hash
    std::memcpy(&node, run.node.bytes.data(), sizeof node);
    return node ^ (std::uint64_t{run.nonce} << 32 | run.counter);
  }
};

// Runs and paths are numbers of the state's own tables: a write is small, and finding it touches little memory.
struct Write {
  std::uint32_t run = 0;
  ClockClass clock = ClockClass::untrusted;
  std::uint64_t seq = 0;
  HybridTime time;
  std::string value;
};

// The live writes of one path in no order: nearly always one, which needs no memory of its own.
class Siblings {
 public:
  std::size_t size() const { return some_ ? 1 + more_.size() : 0; }
  const Write& operator[](std::size_t i) const { return i == 0 ? first_ : more_[i - 1]; }
  const Write* find(std::uint32_t run, std::uint64_t seq) const {
    for (std::size_t i = 0; i < size(); ++i) {
      if ((*this)[i].run == run && (*this)[i].seq == seq) return &(*this)[i];
    }
    return nullptr;
  }
  // To be filled in: where a write was there before, its value's memory is used again.
  Write& add() {
    if (some_) return more_.emplace_back();
    some_ = true;
    return first_;
  }
  void erase(const Write* write) {
    if (more_.empty()) {
      some_ = false;
      return;
    }
    auto& hole = const_cast<Write&>(*write);
    if (&hole != &more_.back()) std::swap(hole, more_.back());
    more_.pop_back();
  }

 private:
  Write first_;
  std::vector<Write> more_;
  bool some_ = false;
};

// The paths of one object with what lives there, in no order.
class Paths {
 public:
  std::size_t size() const { return ids_.size(); }
  std::uint32_t id(std::size_t i) const { return ids_[i]; }
  Siblings& siblings(std::size_t i) { return siblings_[i]; }
  const Siblings& siblings(std::size_t i) const { return siblings_[i]; }

  std::size_t find(std::uint32_t id) const {  // size() for none
    if (index_.empty()) return static_cast<std::size_t>(std::ranges::find(ids_, id) - ids_.begin());
    const auto found = index_.find(id);
    return found == index_.end() ? size() : found->second;
  }
  std::size_t add(std::uint32_t id) {
    ids_.push_back(id);
    siblings_.emplace_back();
    if (!index_.empty()) {
      index_[id] = size() - 1;
    } else if (size() > scanned_max) {
      for (std::size_t i = 0; i < size(); ++i) index_[ids_[i]] = i;
    }
    return size() - 1;
  }
  void erase(std::size_t i) {  // the last takes its place
    if (!index_.empty()) {
      index_.erase(ids_[i]);
      if (i + 1 < size()) index_[ids_.back()] = i;
    }
    if (i + 1 < size()) {
      ids_[i] = ids_.back();
      siblings_[i] = std::move(siblings_.back());
    }
    ids_.pop_back();
    siblings_.pop_back();
  }

 private:
  static constexpr std::size_t scanned_max = 64;
  std::vector<std::uint32_t> ids_;
  std::vector<Siblings> siblings_;
  std::unordered_map<std::uint32_t, std::size_t> index_;  // where there are too many to look through
};

// None of these holds an empty one after an event.
using Objects = std::unordered_map<std::string, Paths, TextHash, std::equal_to<>>;
using Place = std::pair<std::string, std::string>;  // object, path

struct Change {  // an Op as read: views into the payload
  std::string_view path;
  std::optional<std::string_view> value;
  std::size_t seen_end = 0;  // of Rep::seen, from the end of the one before
};
struct Seen {
  std::uint32_t run;
  std::uint64_t seq;
};

}  // namespace

struct State::Rep {
  ReceivedContext received;
  std::vector<RunId> runs;
  std::unordered_map<RunId, std::uint32_t, RunHash> run_numbers;
  std::vector<std::string> paths;  // every one that ever held a write
  std::unordered_map<std::string, std::uint32_t, TextHash, std::equal_to<>> path_numbers;
  std::array<Objects, stream_count> streams;
  std::map<Dot, std::set<Place>> pending;
  std::size_t pending_count = 0, live_count = 0;
  // Of the event at hand; kept for their memory.
  std::vector<Change> changes;
  std::vector<Seen> seen;

  Objects& objects(Stream stream) { return streams[static_cast<std::size_t>(stream)]; }
  const Objects& objects(Stream stream) const { return streams[static_cast<std::size_t>(stream)]; }

  std::uint32_t number_of(const RunId& run) {
    const auto [at, is_new] = run_numbers.try_emplace(run, static_cast<std::uint32_t>(runs.size()));
    if (is_new) runs.push_back(run);
    return at->second;
  }
  // UINT32_MAX for one that never held a write.
  std::uint32_t find_path(std::string_view path) const {
    const auto found = path_numbers.find(path);
    return found == path_numbers.end() ? UINT32_MAX : found->second;
  }
  std::uint32_t number_of(std::string_view path) {
    if (const auto found = find_path(path); found != UINT32_MAX) return found;
    paths.emplace_back(path);
    return path_numbers[paths.back()] = static_cast<std::uint32_t>(paths.size() - 1);
  }
  bool is_pending(const Dot& dot, std::string_view object, std::string_view path) const;
  bool has_received(const Dot& dot) const;

  Status read(std::uint32_t own, std::string_view payload);
  // What was read, for an event not received yet, of whose stream all from `first_here` up to it was.
  void apply(const Dot& dot, std::uint32_t own, std::uint64_t first_here, const Event& event);
  void supersede(const Dot& by, std::uint64_t first_here, const Dot& dot, std::string_view object,
                 std::string_view path);

  void forget_pending(const Dot& dot);
  // That `received` will take the rows: what is applied cannot be taken back.
  Status check_room(const RunStream& of, std::uint64_t first, std::string_view rows) const;

  void drop_what_is_gone_in(Stream stream, const Rep& other);
  void take_what_is_new_in(Stream stream, const Rep& other, const ReceivedContext& joined);
};

bool State::Rep::is_pending(const Dot& dot, std::string_view object, std::string_view path) const {
  if (pending.empty()) return false;
  const auto found = pending.find(dot);
  return found != pending.end() && found->second.contains(Place(object, path));
}

bool State::Rep::has_received(const Dot& dot) const {
#ifdef LANDFALL_MUTANT_MAX_SEQ  // tests/crdt must notice
  return dot.seq <= received.max({dot.run, dot.stream});
#else
  return received.contains(dot);
#endif
}

Status State::Rep::read(std::uint32_t own, std::string_view payload) {
  changes.clear();
  seen.clear();
  OpReader reader(payload, runs[own]);
  OpReader::View op;
  while (reader.next(op)) {
    for (const auto& dot : op.supersedes) {
      seen.push_back({dot.run == 0 ? own : number_of(reader.run(dot.run)), dot.seq});
    }
    changes.push_back({op.path, op.value, seen.size()});
  }
  return reader.status();
}

void State::Rep::supersede(const Dot& by, std::uint64_t first_here, const Dot& dot, std::string_view object,
                           std::string_view path) {
  const bool is_before = dot.run == by.run && dot.seq >= first_here && dot.seq < by.seq;
  if (is_before || (dot != by && has_received(dot))) return;
  [[maybe_unused]] Place place(object, path);
#ifndef LANDFALL_MUTANT_NO_PENDING  // tests/crdt must notice
  if (pending[dot].insert(std::move(place)).second) ++pending_count;
#endif
}

void State::Rep::apply(const Dot& dot, std::uint32_t own, std::uint64_t first_here, const Event& event) {
  auto& all = objects(dot.stream);
  auto object = all.find(event.subject);
  std::size_t next = 0;
  for (const Change& change : changes) {
    const std::uint32_t path = change.value ? number_of(change.path) : find_path(change.path);
    std::size_t at = object == all.end() ? 0 : object->second.find(path);
    Siblings* here = object == all.end() || at == object->second.size() ? nullptr : &object->second.siblings(at);
    for (; next < change.seen_end; ++next) {
      const auto [run, seq] = seen[next];
#ifdef LANDFALL_MUTANT_DELETE_BY_NAME  // tests/crdt must notice
      while (here != nullptr && here->size() > 0) here->erase(&(*here)[0]), --live_count;
#endif
      if (const Write* write = here == nullptr ? nullptr : here->find(run, seq)) {
        here->erase(write);
        --live_count;
      } else {
        supersede(dot, first_here, {runs[run], dot.stream, seq}, event.subject, change.path);
      }
    }
    if (change.value && !is_pending(dot, event.subject, change.path)) {
      if (object == all.end()) object = all.try_emplace(std::string(event.subject)).first;
      if (here == nullptr) here = &object->second.siblings(at = object->second.add(path));
      Write& write = here->add();
      write.run = own;
      write.seq = dot.seq;
      write.time = event.time;
      write.clock = event.clock;
      write.value = *change.value;
      ++live_count;
    }
    if (here != nullptr && here->size() == 0) object->second.erase(at);
  }
  if (object != all.end() && object->second.size() == 0) all.erase(object);
}

void State::Rep::forget_pending(const Dot& dot) {
  if (pending.empty()) return;
  const auto found = pending.find(dot);
  if (found == pending.end()) return;
  pending_count -= found->second.size();
  pending.erase(found);
}

Status State::Rep::check_room(const RunStream& of, std::uint64_t first, std::string_view rows) const {
  if (first != 0 && first <= received.base(of) + 1) return ok();  // no gap, no limit
  std::uint64_t last = first - 1;
  for (RowReader reader(rows); !reader.next().empty();) ++last;
  return received.of_stream(of).add(of, first, std::max(first, last));
}

// Entries that the other has received and no longer holds, or knows to be superseded.
void State::Rep::drop_what_is_gone_in(Stream stream, const Rep& other) {
  const auto& theirs = other.objects(stream);
  std::vector<std::uint32_t> number(runs.size());  // theirs of our runs
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto found = other.run_numbers.find(runs[i]);
    number[i] = found == other.run_numbers.end() ? UINT32_MAX : found->second;
  }
  std::vector<std::uint32_t> path_number(paths.size());
  for (std::size_t i = 0; i < paths.size(); ++i) path_number[i] = other.find_path(paths[i]);
  auto& ours = objects(stream);
  for (auto object = ours.begin(); object != ours.end();) {
    const auto their_object = theirs.find(object->first);
    Paths& here = object->second;
    for (std::size_t at = here.size(); at-- > 0;) {
      const std::uint32_t path = here.id(at);
      const std::size_t their_at = their_object == theirs.end() ? 0 : their_object->second.find(path_number[path]);
      const bool there = their_object != theirs.end() && their_at < their_object->second.size();
      Siblings& siblings = here.siblings(at);
      for (std::size_t i = siblings.size(); i-- > 0;) {
        const Write& write = siblings[i];
        const Dot dot{runs[write.run], stream, write.seq};
        if (there && their_object->second.siblings(their_at).find(number[write.run], write.seq) != nullptr) continue;
        bool gone = other.has_received(dot);
#ifndef LANDFALL_MUTANT_JOIN_IGNORES_REMOTE_PENDING  // tests/crdt must notice
        gone = gone || other.is_pending(dot, object->first, paths[path]);
#endif
#ifdef LANDFALL_MUTANT_UNION_JOIN  // tests/crdt must notice
        gone = false;
#endif
        if (!gone) continue;
        siblings.erase(&write);
        --live_count;
      }
      if (siblings.size() == 0) here.erase(at);
    }
    object = here.size() == 0 ? ours.erase(object) : std::next(object);
  }
}

void State::Rep::take_what_is_new_in(Stream stream, const Rep& other, const ReceivedContext& joined) {
  std::vector<std::uint32_t> number(other.runs.size());  // ours of their runs
  for (std::size_t i = 0; i < number.size(); ++i) number[i] = number_of(other.runs[i]);
  auto& ours = objects(stream);
  for (const auto& [name, theirs] : other.objects(stream)) {
    auto object = ours.find(name);
    for (std::size_t at = 0; at < theirs.size(); ++at) {
      const std::string& path = other.paths[theirs.id(at)];
      const Siblings& siblings = theirs.siblings(at);
      for (std::size_t i = 0; i < siblings.size(); ++i) {
        const Write& write = siblings[i];
        const Dot dot{other.runs[write.run], stream, write.seq};
#ifndef LANDFALL_MUTANT_UNION_JOIN  // tests/crdt must notice
        if (has_received(dot) || is_pending(dot, name, path)) continue;
#endif
        // A context at its limit leaves dots out: they come again, and with them their writes.
        if (!joined.contains(dot)) continue;
        if (object == ours.end()) object = ours.try_emplace(name).first;
        std::size_t mine = object->second.find(number_of(path));
        if (mine == object->second.size()) mine = object->second.add(number_of(path));
        if (object->second.siblings(mine).find(number[write.run], write.seq) != nullptr) continue;
        Write& taken = object->second.siblings(mine).add();
        taken = write;
        taken.run = number[write.run];
        ++live_count;
      }
    }
  }
}

State::State() : rep_(std::make_unique<Rep>()) {}
State::~State() = default;
State::State(const State& other) : rep_(std::make_unique<Rep>(*other.rep_)) {}
State::State(State&&) noexcept = default;
State& State::operator=(State other) noexcept { return rep_ = std::move(other.rep_), *this; }

Status State::apply(const Dot& dot, const Event& event) {
  if (rep_->has_received(dot)) return ok();
  const std::uint32_t own = rep_->number_of(dot.run);
  if (has_ops(event.kind)) LANDFALL_TRY(rep_->read(own, event.payload));
  LANDFALL_TRY(rep_->received.add(dot));
  if (has_ops(event.kind)) rep_->apply(dot, own, dot.seq, event);
  rep_->forget_pending(dot);
  return ok();
}

Status State::apply_rows(const RunStream& of, std::uint64_t first, std::string_view rows) {
  auto& rep = *rep_;
  LANDFALL_TRY(rep.check_room(of, first, rows));
  const std::uint64_t base = rep.received.base(of), max = rep.received.max(of);
  const std::uint32_t own = rep.number_of(of.run);
  Dot dot{of.run, of.stream, first};
  RowReader reader(rows);
  Status status = ok();
  for (std::string_view row = reader.next(); !row.empty(); row = reader.next(), ++dot.seq) {
    if (dot.seq <= base || (dot.seq <= max && rep.has_received(dot))) continue;
    const auto event = decode_row(row);
    status = event ? ok() : Status(event.error());
    if (status && has_ops(event->kind)) status = rep.read(own, event->payload);
    if (!status) break;
    if (has_ops(event->kind)) rep.apply(dot, own, first, *event);
    rep.forget_pending(dot);
  }
  if (status && reader.corrupt()) status = Error{Code::corrupt, "rows: bad length"};
  if (dot.seq > first) LANDFALL_TRY(rep.received.add(of, first, dot.seq - 1));
  return status;
}

void State::join(const State& other) {
  if (this == &other) return;
  auto& rep = *rep_;
  ReceivedContext joined = rep.received;
  joined.join(other.rep_->received);
  for (std::size_t i = 0; i < stream_count; ++i) {
    rep.drop_what_is_gone_in(static_cast<Stream>(i), *other.rep_);
    rep.take_what_is_new_in(static_cast<Stream>(i), *other.rep_, joined);
  }
  rep.received = std::move(joined);
  for (const auto& [dot, places] : other.rep_->pending) rep.pending[dot].insert(places.begin(), places.end());
  std::erase_if(rep.pending, [&](const auto& entry) { return rep.has_received(entry.first); });
  rep.pending_count = 0;
  for (const auto& [dot, places] : rep.pending) rep.pending_count += places.size();
}

const ReceivedContext& State::received() const { return rep_->received; }
std::size_t State::pending() const { return rep_->pending_count; }
std::size_t State::entries() const { return rep_->live_count; }

Entries State::object(Stream stream, std::string_view object) const {
  Entries entries;
  const auto& all = rep_->objects(stream);
  const auto found = all.find(object);
  if (found == all.end()) return entries;
  const Paths& paths = found->second;
  entries.reserve(paths.size());
  for (std::size_t at = 0; at < paths.size(); ++at) {
    const Siblings& siblings = paths.siblings(at);
    for (std::size_t i = 0; i < siblings.size(); ++i) {
      const Write& write = siblings[i];
      const Dot dot{rep_->runs[write.run], stream, write.seq};
      entries.push_back({rep_->paths[paths.id(at)], dot, write.time, write.clock, write.value});
    }
  }
  std::ranges::sort(entries, {}, [](const Entry& e) { return std::tie(e.path, e.dot); });
  return entries;
}

std::vector<std::string> State::objects(Stream stream) const {
  std::vector<std::string> names;
  for (const auto& [name, paths] : rep_->objects(stream)) names.push_back(name);
  std::ranges::sort(names);
  return names;
}

bool operator==(const State& a, const State& b) {
  if (a.received() != b.received() || a.entries() != b.entries() || a.rep_->pending != b.rep_->pending) return false;
  for (std::size_t i = 0; i < stream_count; ++i) {
    const auto stream = static_cast<Stream>(i);
    const auto& all = a.rep_->objects(stream);
    if (all.size() != b.rep_->objects(stream).size()) return false;
    for (const auto& [name, paths] : all) {
      if (a.object(stream, name) != b.object(stream, name)) return false;
    }
  }
  return true;
}

}  // namespace landfall
