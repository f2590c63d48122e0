#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "eventlog/snapshot.h"
#include "schemas/chunk.h"
#include "schemas/hybrid_time.h"
#include "schemas/ids.h"

// Where things lie in the Store. Worked bytes are in README.md. Private to this folder.

namespace landfall::layout {

// A run's name in keys: 4 bytes instead of 24, in the order in which this log met the runs.
using Handle = std::uint32_t;

// chunks: handle u32 BE | stream u8 | last seq u64 BE -> stored chunk
std::string chunk_key(Handle handle, Stream stream, std::uint64_t last);
struct ChunkKey {
  Handle handle;
  Stream stream;
  std::uint64_t last;
};
std::optional<ChunkKey> parse_chunk_key(std::string_view key);

// index: subject | 0x00 | chunk key -> time min u64 LE | time max u64 LE | first seq u64 LE
// An empty subject names a chunk with more than index_subjects_per_chunk_max of them: every query reads it.
std::string index_key(std::string_view subject, Handle handle, Stream stream, std::uint64_t last);
std::string index_value(const ChunkHeader& header);
struct IndexKey {
  std::string_view subject;
  ChunkKey chunk;
};
std::optional<IndexKey> parse_index_key(std::string_view key);

// state: stream u8 | object | 0x00 | path | 0x00 | handle u32 BE | seq u64 BE -> time u64 LE | clock u8 | value
// One row per live write, under the dot of the event that put it. Neither object nor path holds a 0x00.
std::string state_prefix(Stream stream, std::string_view object);  // of all rows of an object
std::string state_key(Stream stream, std::string_view object, std::string_view path, Handle handle, std::uint64_t seq);
void set_state_handle(std::string& key, Handle handle);  // for keys made before the run had one
struct StateKey {
  Stream stream;
  std::string_view object, path;
  Handle handle;
  std::uint64_t seq;
};
std::optional<StateKey> parse_state_key(std::string_view key);
std::string state_value(HybridTime time, ClockClass clock, std::string_view value);
struct StateValue {
  HybridTime time;
  ClockClass clock;
  std::string_view value;
};
std::optional<StateValue> parse_state_value(std::string_view value);

// meta: "c/" handle u32 BE | stream u8 -> clock u64 LE | ReceivedContext::encode_entry
//       "r/" handle u32 BE             -> node (16) | counter u32 LE | nonce u32 LE | flags u8 (1: opened here) | RunStart
//       "t/" node (16) | counter u32 LE | nonce u32 LE -> nothing: that this run has two histories is in the audit
//       "p/" node (16) | counter u32 BE | nonce u32 BE | stream u8 | seq u64 BE | object | 0x00 | path -> nothing: this
//            write is superseded and has not come. By name, not handle: the run may never come
//       "f/" handle u32 BE | stream u8 -> last u64 LE | chain 32: chunks up to last were pruned
//       "s/" stream u8 | id 16         -> number u64 LE | part of a snapshot that waits to be joined; numbers rise
//       "v/state"                      -> version u8 of the state table and "p/" rows; elsewhere they are made anew
//       "x/" ...                       the callers' own
// clock is the hybrid clock when the row was written: a later open goes on above the highest.
std::string context_key(Handle handle, Stream stream);
inline constexpr std::string_view fork_prefix = "t/";
std::string fork_key(const RunId& run);
std::optional<RunId> parse_fork_key(std::string_view key);
std::string run_key(Handle handle);
inline constexpr std::string_view floor_prefix = "f/";
std::string floor_key(Handle handle, Stream stream);
struct FloorKey {
  Handle handle;
  Stream stream;
};
std::optional<FloorKey> parse_floor_key(std::string_view key);
inline constexpr std::string_view part_prefix = "s/";
std::string part_key(Stream stream, const PartId& id);
struct PartKey {
  Stream stream;
  PartId id;
};
std::optional<PartKey> parse_part_key(std::string_view key);
inline constexpr std::string_view state_version_key = "v/state", state_version = "\1";
inline constexpr std::string_view pending_prefix = "p/";
std::string pending_key(const Dot& dot, std::string_view target);  // target: object | 0x00 | path
struct PendingKey {
  Dot dot;
  std::string_view target;
};
std::optional<PendingKey> parse_pending_key(std::string_view key);

std::uint32_t read_u32_be(std::string_view from);
void append_u32_le(std::string& to, std::uint32_t value);
std::uint32_t read_u32_le(std::string_view from);
void append_u64_le(std::string& to, std::uint64_t value);
std::uint64_t read_u64_le(std::string_view from);

}  // namespace landfall::layout
