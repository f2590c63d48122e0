#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

// Every bound of the product, with the policy at the bound. A bound that is not here does not exist.

namespace landfall {

// Events and chunks. Beyond: append refuses with out_of_range; a decoder refuses the whole chunk.
inline constexpr std::size_t event_payload_bytes_max = 256 << 10;
inline constexpr std::size_t event_subject_bytes_max = 1024;
inline constexpr std::size_t event_attributes_bytes_max = 4096;
inline constexpr std::size_t event_row_bytes_max =
    event_payload_bytes_max + event_subject_bytes_max + event_attributes_bytes_max + 64;
// A chunk is closed when one more event would pass either; one event alone always fits.
inline constexpr std::size_t chunk_rows_bytes_max = 512 << 10;
inline constexpr std::size_t chunk_events_max = 4096;
// Rows shorter than this are stored as they are: zstd gains nothing below.
inline constexpr std::size_t chunk_compress_bytes_min = 256;
// Columns (codec 1). Beyond: the encoder keeps the rows plain, or one payload whole; a decoder refuses the chunk.
inline constexpr std::size_t columnar_rows_min = 32;
inline constexpr std::size_t columnar_ops_max = 1 << 16;
inline constexpr std::size_t columnar_forms_max = 4096;
inline constexpr std::size_t columnar_dots_max = 8;  // of one op
inline constexpr std::size_t columnar_runs_max = 1024;
// Subjects times paths for which the last write of the chunk is kept at hand; beyond: dots are stored as distances.
inline constexpr std::size_t columnar_cells_max = 1 << 18;
// Superseded changes next to one another that are worth the 32 bytes of the chain behind them; fewer are sent as they are.
inline constexpr std::size_t void_range_events_min = 8;
// What of a stream that takes voids is read at once to make a chunk of them; beyond: the next chunk begins there.
inline constexpr std::size_t void_read_bytes = 1 << 20;
// No stream reaches it; refused with out_of_range, so that sums of seqs cannot overflow.
inline constexpr std::uint64_t seq_max = (std::uint64_t{1} << 62) - 1;

// Changes of state. Beyond: the write is refused with out_of_range at the node where it is made; a decoder refuses the
// whole chunk. A merge never fails: it has no bound of its own.
inline constexpr std::size_t op_path_bytes_max = 1024;
inline constexpr std::size_t op_value_bytes_max = 64 << 10;
inline constexpr std::size_t op_supersedes_max = 4096;
inline constexpr std::size_t ops_per_event_max = 4096;
// Keys of the rows of state that the changes of one chunk put or delete: a dot takes three bytes to list and a key to
// delete. Beyond: an event that passes it alone is refused, a chunk is closed before, a decoder refuses the whole chunk.
inline constexpr std::size_t chunk_state_bytes_max = 16 << 20;
// Writes superseded before they came (crdt/state.h). Beyond: a chunk that would add to them is refused as unavailable until
// gaps are filled; chunks that fill gaps go on.
inline constexpr std::size_t pending_supersedes_max = 1 << 20;
inline constexpr std::size_t pending_supersedes_bytes_max = 64 << 20;  // of the names of what they wrote to

// Objects as they were read last, in memory. Beyond: the one neither read nor changed for longest is let go, and read
// from the store when it is asked for.
inline constexpr std::size_t state_cache_bytes_max = 4 << 20;

// Documents and twins, at the node where they are written. Beyond: refused with out_of_range. What merges make of
// concurrent writes may pass them: then health says so.
inline constexpr std::size_t document_depth_max = 16;
inline constexpr std::size_t document_key_bytes_max = 256;
inline constexpr std::size_t document_bytes_max = 1 << 20;
inline constexpr std::size_t document_annotations_max = 256;
inline constexpr std::size_t siblings_shown_max = 16;
// Actor, reason, status, error, unit and the like of a twin's write.
inline constexpr std::size_t twin_note_bytes_max = 1024;
// Concurrent writes of the other layer that one desired value may know of.
inline constexpr std::size_t twin_seen_max = 100;
inline constexpr std::size_t twin_properties_max = 1024;
inline constexpr std::size_t twin_tags_max = 1024;  // and as many attributes
inline constexpr std::size_t twin_tag_bytes_max = 128;
inline constexpr std::size_t device_name_part_bytes_max = 128;
// An update over KubeEdge's topics. Beyond: refused with that contract's error 400.
inline constexpr std::size_t kubeedge_update_bytes_max = 128 << 10;
inline constexpr std::size_t kubeedge_update_properties_max = 1000;
// A device that goes on saying it is online is written down this often; in between it is only answered.
inline constexpr std::chrono::milliseconds kubeedge_online_interval{60'000};
// Device descriptions that are imported; aliases count as what they stand for. Beyond: refused as a whole.
inline constexpr std::size_t import_bytes_max = 4 << 20;
inline constexpr std::size_t import_nodes_max = 1 << 18;
inline constexpr std::size_t import_depth_max = 32;
// Changes of one object that wait for the one under way; beyond: unavailable.
inline constexpr std::size_t object_changes_waiting_max = 4096;

// Alarms and commands, where they are written. Beyond: refused with out_of_range.
inline constexpr std::size_t alarm_text_bytes_max = 4096;
inline constexpr std::chrono::hours command_valid_max{24 * 366};
// A command that has ended stays in the state this long, counted from its end or its expiry, whichever is later; then the
// node that runs the device takes it out. Its events stay in the log.
inline constexpr std::chrono::hours command_kept{24 * 30};
// Occurrences of one alarm that nobody acknowledges. Beyond: a new one takes the place of the oldest that was cleared.
inline constexpr std::size_t alarm_occurrences_max = 16;
// Who waits for a wall time looks at it this often: it may jump.
inline constexpr std::chrono::milliseconds wall_time_look_max{60'000};

// Frames. Beyond: the session is closed with a typed error, nothing is applied.
inline constexpr std::size_t frame_bytes_max = 1 << 20;
inline constexpr std::size_t frame_before_hello_bytes_max = 64 << 10;
inline constexpr int frame_nesting_max = 16;
// Text in frames and run starts. Beyond: refused as the frame is; the detail of a bye is cut.
inline constexpr std::size_t text_bytes_max = 256;
inline constexpr std::size_t pem_bytes_max = 24 << 10;

// Received context, as decoded from a peer. Beyond: refused with out_of_range.
inline constexpr std::size_t received_context_bytes_max = 512 << 10;
inline constexpr std::size_t received_context_entries_max = 65536;
inline constexpr std::uint64_t received_context_above_max =
    1 << 26;  // dots above the base, per run and stream: a hub that lost its disk

// The log. Beyond: append completes with unavailable at once, the caller keeps the event.
inline constexpr std::size_t log_pending_bytes_max = 64 << 20;
// The sparse index names this many subjects of a chunk; a chunk with more is found by time alone.
inline constexpr std::size_t index_subjects_per_chunk_max = 32;

// Snapshots of one stream's state. Parts have about this many bytes before compression: what a link that comes for seconds
// can finish. One is closed at the next object whose name says so above half of it, and at four times of it wherever that is.
inline constexpr std::size_t snapshot_part_bytes = 16 << 10;
inline constexpr std::size_t snapshot_part_bytes_max = 256 << 10;  // before and after it; beyond: it is no part
inline constexpr std::size_t snapshot_parts_max = 1 << 14;
// Of all parts as sent, and before compression; beyond: no snapshot is made or taken.
inline constexpr std::size_t snapshot_bytes_max = 64 << 20;
inline constexpr std::size_t snapshot_plain_bytes_max = 512 << 20;

// Pieces that one answer of a taker acknowledges; the rest follow in the next.
inline constexpr std::size_t snapshot_got_max = 1024;

// Session. Bytes in flight that a receiver allows; the sender waits at the bound.
inline constexpr std::size_t session_credit_bytes = 8 << 20;
// A hub of many edges shares this among its sessions as they open: each is allowed its part, never under the least. A
// fleet that comes back from one outage together then queues as much as the hub can hold, and waits for the rest.
inline constexpr std::size_t sessions_credit_bytes = 256 << 20;
inline constexpr std::size_t session_credit_bytes_min = 1 << 20;
inline constexpr std::chrono::seconds session_heartbeat{300};
// Digests of state are exchanged at most this often; what changes more often is compared then.
inline constexpr std::chrono::seconds digest_interval{30};
// Chunks pushed before the peer's hello; the rest waits for it.
inline constexpr std::size_t outbox_bytes_before_hello = 60 << 10;
// Each of the two received contexts of a hello; the rest of a fuller one is left out and sent again.
inline constexpr std::size_t hello_context_bytes_max = 24 << 10;
// A link of unknown rate starts with this much in flight; a chunk is never cut below the second.
inline constexpr std::size_t link_window_bytes_first = 16 << 10;
inline constexpr std::size_t link_chunk_bytes_min = 1 << 10;
// The slowest link served: what has not been acknowledged at this rate is sent again.
inline constexpr std::uint64_t link_bytes_per_second_min = 1 << 10;

// Links. Bytes queued to send on one link; beyond: it is closed as unavailable, the session starts anew.
inline constexpr std::size_t link_unsent_bytes_max = 32 << 20;
// Connections at once, and how many of them may still be unproven; beyond: closed at accept, counted.
inline constexpr std::size_t links_max = 4096;
inline constexpr std::size_t links_unproven_max = 256;

// MQTT capture. Ring full: the publisher waits up to ring_wait, then is disconnected without an acknowledgement.
inline constexpr std::size_t ring_bytes = 16 << 20;
inline constexpr std::chrono::milliseconds ring_wait{2000};
inline constexpr std::size_t mqtt_payload_bytes_max =
    event_payload_bytes_max;                                // beyond: refused, counted, logged once a minute
inline constexpr std::size_t dedupe_window_events = 65536;  // oldest id forgotten first
// Requests handed over and not done. At the bound the ring is not read on.
inline constexpr std::size_t mqtt_requests_max = 256;
// Refused connects, publishes and subscriptions that become audit events. Beyond: counted in the next one.
inline constexpr int mqtt_refusal_notices_per_second = 5;
// Clients without subscription that are remembered, and devices of each. Beyond: the oldest is forgotten.
inline constexpr std::size_t mqtt_deaf_clients_max = 1024;
inline constexpr std::size_t mqtt_deaf_devices_max = 256;
// Who may connect, and further topics of each. Beyond: set_access refuses with out_of_range.
inline constexpr std::size_t broker_clients_max = 10000;
inline constexpr std::size_t broker_client_topics_max = 64;
inline constexpr std::size_t broker_rules_max = 256;
// Of a password's hash: computed on the broker's only thread at each connect. Beyond: refused with out_of_range.
inline constexpr int mqtt_password_iterations_max = 100'000;
// What the edge's own client keeps while the broker is away, retained messages apart: of these one per topic, and all of
// them are published anew when a broker starts. Beyond: the oldest is dropped and counted.
inline constexpr std::size_t mqtt_client_queue_messages_max = 10000;
inline constexpr std::size_t mqtt_client_queue_bytes_max = 8 << 20;
inline constexpr std::size_t mqtt_client_retained_messages_max = 100'000;
inline constexpr std::size_t mqtt_client_retained_bytes_max = 32 << 20;

// Server-sent events: listeners at once (beyond: 503) and what waits for a slow one (beyond: its stream ends, it comes back
// and reads what is).
inline constexpr std::size_t api_streams_max = 12;
inline constexpr std::size_t api_stream_bytes_max = 1 << 20;
inline constexpr std::size_t api_tokens_max = 256;
// Events of what was refused at a door; beyond: counted in the node's own log lines.
inline constexpr std::size_t audits_per_minute_max = 60;

// Kafka, per shard. What is read ahead of the transaction: beyond, the log is not read on.
inline constexpr std::size_t kafka_prefetch_bytes_max = 8 << 20;
inline constexpr std::size_t kafka_read_bytes = 512 << 10;  // of the log, per turn of the loop
// One transaction is closed when one more chunk would pass either; one chunk alone always fits.
inline constexpr std::uint64_t kafka_batch_events_max = 10000;
inline constexpr std::size_t kafka_batch_bytes_max = 8 << 20;
// A change as JSON, beside its payload in one record. Beyond: it leaves out what it supersedes, then values, then paths.
inline constexpr std::size_t kafka_change_json_bytes_max = 512 << 10;
// A chunk made again from a topic, its rows; and all that a shard's rebuild has read and the log has not stored yet:
// beyond, it reads no further.
inline constexpr std::size_t kafka_rebuild_chunk_bytes = 64 << 10;
inline constexpr std::size_t kafka_rebuild_bytes_max = 4 << 20;
// A record of a state topic, uncompressed; beyond: it is not written, and status says which.
inline constexpr std::size_t kafka_state_bytes_max = 8 << 20;
// A transaction waits this long for company, unless it has this much or an urgent event.
inline constexpr std::chrono::milliseconds kafka_batch_wait{20};
inline constexpr std::size_t kafka_batch_bytes_enough = 1 << 20;
// A shard's thread that shows no beat at this many looks hangs and is replaced; this often in a process's life.
inline constexpr std::chrono::seconds kafka_watch_interval{10};
inline constexpr int kafka_silent_checks_max = 9;
inline constexpr std::uint64_t kafka_stuck_threads_max = 3;

}  // namespace landfall
