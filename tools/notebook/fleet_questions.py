#!/usr/bin/env python3
"""Three questions about a fleet, asked of the hub's Kafka topics with confluent-kafka and DuckDB. No code of Landfall's.

    pip install -r tools/notebook/requirements.txt
    python3 tools/notebook/fleet_questions.py --bootstrap localhost:9092

Each "# %%" begins a cell, for editors that run them one by one.
"""
# %% Setting
import argparse
import csv
import json
import tempfile
import time

import duckdb
from confluent_kafka import Consumer, TopicPartition

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--bootstrap", default="localhost:9092", help="Kafka brokers of the hub")
arguments.add_argument("--prefix", default="landfall", help="[kafka] topic_prefix of the hub")
arguments.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
arguments.add_argument("--now-ms", type=int, default=None, help="the time that ages are counted to; without it, now")
options = arguments.parse_args()
now_ms = options.now_ms if options.now_ms is not None else int(time.time() * 1000)


# %% Read whole topics, as any consumer would: only what is committed
def read(suffix):
    """Records of one topic from its beginning to its present end, as dicts of key, value, offset and headers."""
    consumer = Consumer({"bootstrap.servers": options.bootstrap, "group.id": "fleet-questions",
                         "isolation.level": "read_committed", "enable.auto.commit": False,
                         "enable.partition.eof": True, "auto.offset.reset": "earliest"})
    topic = f"{options.prefix}.{suffix}"
    metadata = consumer.list_topics(topic, timeout=10).topics[topic]
    if metadata.error is not None:
        raise SystemExit(f"{topic}: {metadata.error.str()}; is this the hub's Kafka, and its topic_prefix?")
    open_partitions = set(metadata.partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in open_partitions])
    records = []
    while open_partitions:
        message = consumer.poll(10)
        if message is None:
            raise SystemExit(f"{topic}: the broker has stopped answering")
        if message.error():
            if message.error().name() == "_PARTITION_EOF":
                open_partitions.discard(message.partition())
                continue
            raise SystemExit(f"{topic}: {message.error().str()}")
        headers = {name: value.decode() for name, value in message.headers() or [] if not name.startswith("landfall-")}
        records.append({"key": (message.key() or b"").decode(), "value": message.value(), "headers": headers,
                        "partition": message.partition(), "offset": message.offset()})
    consumer.close()
    return records


def newest(records):
    """A compacted topic as what it means: the last record of each key, without those that were deleted."""
    last = {record["key"]: record for record in records}
    return [record for record in last.values() if record["value"] is not None]


database = duckdb.connect()
answers = {}


def answer(title, query):
    rows = database.execute(query)
    names = [column[0] for column in rows.description]
    answers[title] = [dict(zip(names, row)) for row in rows.fetchall()]
    if options.json:
        return
    print(f"\n{title}")
    widths = [max([len(name)] + [len(str(row[name])) for row in answers[title]]) for name in names]
    print("  " + "  ".join(name.ljust(width) for name, width in zip(names, widths)))
    for row in answers[title]:
        print("  " + "  ".join(str(row[name]).ljust(width) for name, width in zip(names, widths)))


# %% 1. Where is everybody? The last position of each device, from NMEA 0183 sentences or from JSON
def degrees(text, hemisphere):
    """"3724.5543", "S" is 37 degrees 24.5543 minutes south."""
    value = float(text)
    whole = int(value / 100)
    return round((whole + (value - whole * 100) / 60) * (-1 if hemisphere in "SW" else 1), 6)


def position(payload):
    """(latitude, longitude), or None for what says nothing of a position."""
    try:
        if payload[:1] == b"$":
            fields = payload.split(b"*")[0].decode("ascii").split(",")
            places = {"GGA": 2, "RMC": 3, "GLL": 1}
            at = places.get(fields[0][3:6])
            return at and fields[at] and (degrees(*fields[at:at + 2]), degrees(*fields[at + 2:at + 4])) or None
        body = json.loads(payload)
        return (float(body["latitude"]), float(body["longitude"])) if isinstance(body, dict) else None
    except (ValueError, KeyError, IndexError, TypeError, UnicodeDecodeError):
        return None


database.execute("CREATE TABLE positions(device VARCHAR, time TIMESTAMPTZ, latitude DOUBLE, longitude DOUBLE)")
with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="") as file:
    rows = csv.writer(file)
    for record in read("telemetry"):
        where = position(record["value"] or b"")
        if where:
            rows.writerow([record["key"], record["headers"]["ce_time"], *where])
    file.flush()
    database.execute(f"COPY positions FROM '{file.name}' (FORMAT csv, HEADER false)")
answer("Last position of each device", """
    SELECT device, strftime(max(time) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS time,
           arg_max(latitude, time) AS latitude, arg_max(longitude, time) AS longitude, count(*) AS positions
    FROM positions GROUP BY device ORDER BY device""")

# %% 2. What is nobody looking at? Alarms without an acknowledgement, oldest first
alarms = [json.loads(record["value"]) for record in newest(read("alarm-state"))]
database.execute("CREATE TABLE alarms(device VARCHAR, alarm VARCHAR, severity VARCHAR, active BOOLEAN, raised TIMESTAMPTZ)")
for alarm in alarms:
    raised = [o["raised"] for o in alarm.get("occurrences", []) if not o.get("acks")]
    if not alarm.get("acknowledged") and raised:
        database.execute("INSERT INTO alarms VALUES (?, ?, ?, ?, ?)",
                         [alarm["device"], alarm["name"], alarm.get("severity"), alarm.get("active"), min(raised)])
answer("Unacknowledged alarms by age", f"""
    SELECT device, alarm, severity, active, round(({now_ms} - epoch_ms(raised)) / 60000.0, 1) AS minutes
    FROM alarms ORDER BY raised""")

# %% 3. Who changes set points? Every change of desired state, by who asked for it and from where
database.execute("CREATE TABLE changes(actor VARCHAR, side VARCHAR, device VARCHAR, property VARCHAR, value VARCHAR, time TIMESTAMPTZ)")
for record in read("twins"):
    headers = record["headers"]
    if headers["ce_type"] != "landfall.twin.desired":
        continue
    for change in json.loads(record["value"])["changes"]:
        parts = change["path"].split("/")  # "", "p", property, layer
        if len(parts) != 4 or parts[1] != "p":
            continue
        database.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)",
                         [headers.get("ce_actor", "the node itself"), {"c": "ashore", "e": "aboard"}.get(parts[3], parts[3]),
                          record["key"], parts[2].replace("~1", "/").replace("~0", "~"),
                          json.dumps(change["value"]) if "value" in change else "deleted", headers["ce_time"]])
answer("Set-point changes by actor", """
    SELECT actor, side, count(*) AS changes, count(DISTINCT device || '/' || property) AS set_points,
           arg_max(device || '/' || property || ' = ' || value, time) AS last
    FROM changes GROUP BY actor, side ORDER BY changes DESC, actor""")

# %% For programs
if options.json:
    print(json.dumps(answers))
