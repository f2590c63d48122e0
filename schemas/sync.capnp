@0xe6cd62af26d01615;
# Bodies of the frames of a session (schemas/frame.h). The body of a `chunk` frame is a Chunk of event.capnp, byte for
# byte as stored. Each message is one segment without a segment table.
#
# Evolution: as in event.capnp. A message that an old peer must not misread gets a new frame type, and `protocol` in
# Hello tells who understands it: the lower of the two numbers is spoken.
#
# Received contexts are the bytes of crdt/received_context.h, at most received_context_bytes_max; text is UTF-8, at most
# as long as schemas/limits.h says.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("landfall::wire");

struct Hello {
  # The first frame each way.
  protocol @0 :UInt16;
  # 1. 0 is refused.
  clock @1 :UInt8;
  # Clock class of the sender.
  wants @2 :UInt8;
  # One bit per stream of the peer's own runs that the sender subscribes to.
  creditBytes @3 :UInt32;
  # Bytes of chunk frames that the peer may have in flight.
  nodeHigh @4 :UInt64;
  nodeLow @5 :UInt64;
  runNodeHigh @6 :UInt64;
  runNodeLow @7 :UInt64;
  runCounter @8 :UInt32;
  runNonce @9 :UInt32;
  # The sender's open run.
  time @10 :UInt64;
  # The sender's hybrid clock.
  have @11 :Data;
  # What the sender holds of the peer's runs, and see `relays`.
  committed @12 :Data;
  # What of it is committed (A2) at the sender; empty: the same as `have`.
  software @13 :Text;
  relays @14 :UInt8;
  # One bit per stream of which the sender subscribes to all runs that the peer has, and not only to the peer's own. `have`
  # then names all runs of these streams but the sender's own.
  understands @15 :UInt8;
  # One bit for what not every version knows: 1 digest, 2 the three frames of snapshots, 4 voids.
}

struct Ack {
  committed @0 :Data;
  # Entries of the (run, stream)s that advanced: A2 at the sender.
  creditBytes @1 :UInt32;
  # Bytes of chunk frames that the peer may have in flight from here on.
  lost @2 :Data;
  # Of ended runs of the sender's own, what the peer's hello named and the sender no longer holds: asked for again.
}

struct Digests {
  # What the sender holds of streams that both ends hold whole: equal contexts mean equal state, or somebody has a defect.
  streams @0 :UInt8;
  # One bit per stream.
  digests @1 :Data;
  # For each of them, in order: 32 bytes of its received context (SHA-256(0x00 | 32 zeros | the encoded entries of the
  # stream)), 32 bytes of its live state (eventlog/state_digest.h).
}

struct SnapshotOffer {
  # A piece of the manifest of a snapshot (eventlog/snapshot.h), as which the snapshot is offered. Without bytes: only asks
  # what the taker has of it.
  stream @0 :UInt8;
  total @1 :UInt32;
  # Bytes of the whole manifest.
  offset @2 :UInt32;
  # Of this piece in it.
  idHigh @3 :UInt64;
  idLow @4 :UInt64;
  # Of the snapshot: the first 16 bytes of the SHA-256 of its manifest.
  bytes @5 :Data;
}

struct SnapshotWant {
  # From who has the manifest, or a piece of it.
  stream @0 :UInt8;
  asks @1 :Bool;
  # `missing` is all that is missing, and takes the place of what was said before.
  idHigh @2 :UInt64;
  idLow @3 :UInt64;
  missing @4 :Data;
  # Indices of parts, ascending: varint parts between, varint parts in a row - 1, for each such row.
  got @5 :Data;
  # Pieces that came: varint part + 1 or 0 for the manifest, varint offset, varint bytes, for each of them.
}

struct SnapshotPart {
  # A piece of a part, or all of it.
  stream @0 :UInt8;
  part @1 :UInt32;
  offset @2 :UInt32;
  idHigh @3 :UInt64;
  idLow @4 :UInt64;
  bytes @5 :Data;
}

struct Heartbeat {
  time @0 :UInt64;
}

struct Bye {
  # The last frame: why the sender closes.
  code @0 :UInt8;
  # 0 not_found, 1 corrupt, 2 out_of_range, 3 unavailable, 4 disk, 5 conflict, 6 denied; unknown ones read as unavailable.
  detail @1 :Text;
}

struct Enrol {
  # From a peer whose certificate is an invite.
  csrPem @0 :Text;
  name @1 :Text;
}

struct Enrolled {
  chainPem @0 :Text;
  bundlePem @1 :Text;
}
