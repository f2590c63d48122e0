#!/usr/bin/env python3
"""Nothing acknowledged is lost, and nothing arrives twice, whatever is killed on the way.

Property. Sentences of the ship's log are published at QoS 1 while the link is held; meanwhile edge and broker are each
killed -9 three times. Then the link is released, and the hub is killed -9 twice during the catch-up. Afterwards
 - with CloudEvents ids every acknowledged message is at the hub exactly once, with its own bytes;
 - without ids none is missing, and there are no more copies than messages were in flight when connections broke;
 - in both cases the events of each (run, stream) are there without a gap and in the order of publishing.
The hub's log is read by kcat as a read_committed consumer, or with --log embedded from `landfall log show`.

    voyage_kill.py --build DIR --log embedded|kafka [--no-ids] [--lines N] [--json FILE] [--keep]
"""
import argparse
import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "tools/dev"))
sys.dont_write_bytecode = True

from fleet import TOP, Failure, Fleet, wait_for  # noqa: E402
from publisher import Publisher  # noqa: E402
from slow_link import SlowLink  # noqa: E402

SOURCE = "urn:ship:nmea"
TELEMETRY, ALARM = "landfall/ship/telemetry/nmea", "landfall/ship/alarm/watch"
LINES_PER_ALARM = 500  # alarms are `power`: acknowledged only once the edge has them on disk


def messages_of(lines, with_ids):
    """What is published, in order: [(topic, payload, properties)]."""
    messages = []
    for number, line in enumerate(lines):
        if number % LINES_PER_ALARM == LINES_PER_ALARM - 1:
            messages.append((ALARM, b"watch %d" % (number // LINES_PER_ALARM)))
        messages.append((TELEMETRY, line))
    def properties(index):
        return [("specversion", "1.0"), ("id", str(index)), ("source", SOURCE), ("type", "ship.nmea0183")] if with_ids else []
    return [(topic, payload, properties(index)) for index, (topic, payload) in enumerate(messages)]


class Killer:
    """Kills edge and broker in turn, each `times`, spread over the publishing."""

    def __init__(self, edge, total, times=3):
        self.edge = edge
        self.points = [total * (i + 1) // (2 * times + 1) for i in range(2 * times)]
        self.edge_kills = self.broker_kills = 0

    def on_acknowledged(self, count):
        if not self.points or count < self.points[0]:
            return
        self.points.pop(0)
        if self.edge_kills <= self.broker_kills:
            self.edge.kill9()
            self.edge_kills += 1
            self.edge.start()
        else:
            pids = wait_for("the edge's broker to run", self.edge.broker_pids, 60, [self.edge.process])
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            self.broker_kills += 1


def catch_up(fleet, edge):
    """Releases the link and kills the hub twice on the way. Returns how many events the edge knew to be committed at
    each kill, of how many that waited."""
    hub, kills = fleet.hub, []
    waiting = edge.status()["log"]["backlog"]
    edge.release()
    for part in (0.25, 0.6):
        wait_for("the catch-up to get on", lambda: waiting - edge.status()["log"]["backlog"] >= part * waiting, 120,
                 [hub.process, edge.process])
        kills.append(waiting - edge.status()["log"]["backlog"])
        hub.kill9()
        hub.start()
    hub.ready(90)
    edge.wait("everything committed", lambda s: s["log"]["backlog"] == 0 and s["link"]["connected"], 300)
    return kills, waiting


def events_in_kafka(fleet):
    events = []
    for topic in ("landfall.telemetry", "landfall.alarms"):
        for record in fleet.read_topic(topic):
            headers = record["headers"]
            events.append({"stream": (headers["ce_run"], headers["ce_stream"]), "seq": int(headers["ce_sequence"]),
                           "source": headers.get("ce_sendersource"), "id": headers.get("ce_senderid"),
                           "payload": record["value"].encode()})
    return events


def events_in_log(fleet):
    """Every event of the hub's embedded log that a ship published."""
    shown = fleet.dir / "shown.ndjson"
    with open(shown, "w") as out:
        subprocess.run([str(fleet.landfall), "log", "show", "--dir", str(fleet.hub.dir), "--json", "--limit", "0"], check=True,
                       stdin=subprocess.DEVNULL, stdout=out, timeout=600)
    events = []
    with open(shown) as lines:
        for line in lines:
            raw = json.loads(line)
            if raw["stream"] in ("telemetry", "alarm"):
                run = raw["dot"].split("/")[0]
                events.append({"stream": (run, raw["stream"]), "seq": raw["seq"], "source": raw.get("source"),
                               "id": raw.get("id"), "payload": raw["payload"].encode()})
    return events


def check(events, messages, with_ids, in_flight):
    """The property, over what an independent reader saw. Returns (faults, copies)."""
    faults = []
    by_stream = collections.defaultdict(list)
    for event in events:
        by_stream[event["stream"]].append(event)
    for stream, those in by_stream.items():
        seqs = [e["seq"] for e in those]
        if seqs != list(range(1, len(seqs) + 1)):
            wrong = next(i for i, seq in enumerate(seqs) if seq != i + 1)
            faults.append(f"{stream}: position {wrong + 1} holds seq {seqs[wrong]}")
        if with_ids and any(int(a["id"]) >= int(b["id"]) for a, b in zip(those, those[1:])):
            faults.append(f"{stream}: not in the order of publishing")
    if with_ids:
        seen = collections.Counter((e["source"], e["id"]) for e in events)
        twice = [k for k, n in seen.items() if n > 1]
        missing = [i for i in range(len(messages)) if (SOURCE, str(i)) not in seen]
        other = [e for e in events if e["source"] != SOURCE or messages[int(e["id"])][1] != e["payload"]]
        if twice:
            faults.append(f"{len(twice)} events are there more than once, for example {twice[:3]}")
        if other:
            faults.append(f"{len(other)} events are not what was published under their id")
    else:
        published = collections.Counter(payload for _, payload, _ in messages)
        there = collections.Counter(e["payload"] for e in events)
        missing = list((published - there).elements())
        if there - published and sum((there - published).values()) > sum(in_flight):
            faults.append(f"{sum((there - published).values())} copies, but only {sum(in_flight)} were in flight at the kills")
        if any(payload not in published for payload in there):
            faults.append("events that nobody published")
    if missing:
        faults.append(f"{len(missing)} of {len(messages)} acknowledged messages are missing, for example {missing[:3]}")
    return faults, len(events) - len(messages)


def voyage(arguments, folder):
    sample = subprocess.run([str(TOP / "tools/dev/sample-data.sh")], check=True, capture_output=True, text=True).stdout.strip()
    lines = pathlib.Path(sample).read_bytes().splitlines()[:arguments.lines]
    messages = messages_of(lines, not arguments.no_ids)
    with Fleet(arguments.build, folder, kafka=arguments.log == "kafka") as fleet:
        # An event takes some ten bytes: the catch-up lasts for seconds, and the kills fall into it.
        line = SlowLink(fleet.hub_port, max(20_000, 3 * arguments.lines))
        fleet.start_hub(dialled_port=line.port)
        edge = fleet.add_edge("ship", link={"bytes_per_second": line.rate})
        edge.wait("link up", lambda s: s["link"]["connected"])
        edge.hold()

        publisher = Publisher(edge.mqtt_port, "bridge")
        killer = Killer(edge, len(messages))
        started = time.monotonic()
        publisher.publish(messages, killer.on_acknowledged)
        published_s = time.monotonic() - started
        publisher.close()
        edge.ready()
        edge.wait("every acknowledged message in the log",
                  lambda s: s["streams"]["telemetry"]["backlog"] + s["streams"]["alarm"]["backlog"] >= len(messages), 120)
        if edge.status()["link"]["connected"]:
            raise Failure("the link was to be held during the publishing")

        started = time.monotonic()
        hub_had, waiting = catch_up(fleet, edge)
        caught_up_s = time.monotonic() - started
        if arguments.log == "kafka":
            events = events_in_kafka(fleet)
        for node in (edge, fleet.hub):
            code = node.stop()
            if code != 0:
                raise Failure(f"{node.name} ended with {code} at SIGTERM\n{node.process.tail()}")
        if arguments.log == "embedded":
            events = events_in_log(fleet)
        faults, copies = check(events, messages, not arguments.no_ids, publisher.losses)
        for node in (edge, fleet.hub):
            verified = node.log_command("verify")
            if verified.get("faults"):
                faults.append(f"{node.name}: log verify: {verified['faults'][:3]}")

    # The run must have met what it claims to survive.
    if killer.edge_kills != 3 or killer.broker_kills != 3:
        faults.append(f"killed the edge {killer.edge_kills} and the broker {killer.broker_kills} times, not 3 and 3")
    if not publisher.losses or max(publisher.losses) == 0:
        faults.append("no message was in flight at any kill")
    if not all(had < waiting for had in hub_had):
        faults.append(f"the hub was not killed during the catch-up: {hub_had} of {waiting} events were there")
    return {"log": arguments.log, "ids": not arguments.no_ids, "published": len(messages), "arrived": len(events),
            "copies": copies, "in_flight_at_losses": publisher.losses, "refused": len(publisher.refused),
            "edge_kills": killer.edge_kills, "broker_kills": killer.broker_kills, "hub_had_at_kills": hub_had, "waiting": waiting,
            "publish_s": round(published_s, 2), "catch_up_s": round(caught_up_s, 2), "faults": faults}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(TOP / "build/release"))
    parser.add_argument("--log", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--no-ids", action="store_true")
    parser.add_argument("--lines", type=int, default=116_000)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--keep", action="store_true", help="leave the folder of the run")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    folder = tempfile.mkdtemp(prefix="landfall-voyage-")
    try:
        report = voyage(arguments, folder)
    except Failure as failure:
        print(f"voyage_kill: {failure}\n  (its folder is kept: {folder})", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(report) + "\n")
    if report["faults"]:
        print(f"voyage_kill: {len(report['faults'])} faults; its folder is kept: {folder}", file=sys.stderr)
        return 1
    if arguments.keep:
        print(folder, file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
