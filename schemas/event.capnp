@0xb7f8731ba5c4bb80;
# What a node stores and sends: the chunk and the payload of a run's first event. The row, which the hash chain covers,
# is not Cap'n Proto: a 200-byte event must not pay for pointers, and its bytes must be canonical.
#
# A ROW is one event in canonical form. The chain hashes exactly these bytes, so equal events have equal rows:
#
#   time        u64 little-endian   hybrid time: 48 bits of Unix milliseconds, 16 bits of counter
#   kind        u8                  schemas/event.h, Kind; 0 names none
#   flags       u8                  bits 0-1 clock class, bit 2 retained; the others are 0 and ignored by readers
#   subject     varint length, UTF-8 without control characters, at most 1024 bytes; not empty where kind >= 16
#   attributes  varint length, then (tag u8, varint length, bytes)*, tags ascending, at most 4096 bytes altogether:
#                 1 content type   2 source   3 id   4 device   (UTF-8 without control characters)
#                 5 deps (schemas/event.h, encode_deps)
#                 6 actor   (text as 1 to 4)
#                 7 chain   (32 bytes, of kind 20 alone: eventlog/chain.h)
#               An attribute that is empty is left out. Readers skip tags that they do not know.
#   payload     the rest, at most 262144 bytes
#
# Varints are unsigned LEB128 in their shortest form. ROWS are rows one after another, each behind the varint of its
# length.
#
# Evolution. Stored bytes are read for ever:
#   - a row grows by new attribute tags, new flags and new kinds; their numbers are never reused;
#   - a struct here grows by fields at its end; an ordinal, a type or a meaning never changes, no name is reused;
#   - a reader takes a message that lacks any field below (it reads as the default) or has more than it knows;
#   - foreign chunks are stored and relayed as the bytes received: re-encoding would drop what we do not know;
#   - a change that an old reader would misunderstand gets a new codec number, which old readers refuse by name.
#
# Messages are one segment without a segment table (`capnp convert flat:json` reads them).
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("landfall::wire");

struct Chunk {
  # A gap-free range of one (run, stream): the unit of storage, transfer, proof and replay. At most 1 MiB encoded.

  nodeHigh @0 :UInt64;
  nodeLow @1 :UInt64;
  # The node id's bytes 0-7 and 8-15, each as one big-endian number.
  counter @2 :UInt32;
  nonce @3 :UInt32;
  # The rest of the run's name. Counter 0 is refused.
  first @4 :UInt64;
  # Seq of the first row, 1-based.
  count @5 :UInt32;
  # Rows in the chunk: 1 to 4096.
  rowsBytes @6 :UInt32;
  # Length of the rows before compression: at most chunk_rows_bytes_max + event_row_bytes_max (schemas/limits.h).
  timeMin @7 :UInt64;
  timeMax @8 :UInt64;
  # Least and greatest hybrid time of the rows, exact.
  stream @9 :UInt8;
  # 0 control, 1 alarm, 2 desired, 3 reported, 4 document, 5 telemetry, 6 blob.
  codec @10 :UInt8;
  # Layout of the rows: 0 plain (ROWS above), 1 columnar (schemas/README.md, Columns): the rows cut into columns, each
  # compressed by itself. Decoding gives the same ROWS, which is what the chain hashes.
  compression @11 :UInt8;
  # Of plain rows: 0 none: `rows` has rowsBytes bytes; 1 zstd: one frame that states a content size of rowsBytes.
  # Columnar: 0, and `rows` is shorter than rowsBytes.
  chainBefore @12 :Data;
  chainAfter @13 :Data;
  # The hash chain before the first row and after the last (eventlog/chain.h): 32 bytes each.
  rows @14 :Data;
}

struct RunStart {
  # Payload of a run's first event (kind run_start, stream control, seq 1): where the run comes from.

  parentNodeHigh @0 :UInt64;
  parentNodeLow @1 :UInt64;
  parentCounter @2 :UInt32;
  parentNonce @3 :UInt32;
  # The run this node had open before; all 0 for a node's first run. Two runs with one parent are a fork.
  parentHeads @4 :List(Head);
  # The parent's end in every stream that has events, streams ascending.
  bootId @5 :Text;
  # The machine's boot, as the operating system names it.
  software @6 :Text;
  clock @7 :UInt8;
  # Clock class when the run was opened: 0 untrusted, 1 holdover, 2 synced, 3 authenticated.
  degraded @8 :Bool;
  # The anchor proved that acknowledged events of the parent were lost.

  struct Head {
    stream @0 :UInt8;
    last @1 :UInt64;
    chain @2 :Data;
  }
}
