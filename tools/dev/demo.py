"""The voyage that demo.sh shows. Needs a release build; prints what happens, and a summary that must agree to the event."""
import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from fleet import TOP, Failure, Fleet, need, wait_for  # noqa: E402
from slow_link import SlowLink  # noqa: E402

# About what a ship gets from a good satellite link; slow enough to watch.
LINK_BYTES_PER_SECOND = 250_000
started = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)


def held_by(node):
    """Events of the two published streams that a node holds, by its own log."""
    counts = node.log_command("stat")["events_by_stream"]
    return {"telemetry": counts["telemetry"], "alarm": counts["alarm"]}


def publish(fleet, edge, sample, first, count):
    """One leg of the voyage, by `landfall voyage`. Returns what it says it has published and got acknowledged."""
    done = edge.cli("voyage", "--port", edge.mqtt_port, "--file", sample, "--from", first, "--count", count, "--json", timeout=170)
    return json.loads(done.stdout)


def catch_up(fleet, edge, expected):
    """Releases the link. Returns seconds until the hub had all alarms, and until it had everything."""
    begun = time.monotonic()
    edge.release()
    at = {}

    def landed():
        status = fleet.hub.status(None)
        if not status:
            return False
        for stream, count in expected.items():
            if status["streams"][stream]["foreign"] >= count:
                at.setdefault(stream, time.monotonic() - begun)
        return len(at) == len(expected)
    wait_for("the backlog to land", landed, 120, [fleet.hub.process, edge.process])
    edge.wait("everything committed at the hub", lambda s: s["log"]["backlog"] == 0, 60)
    return at["alarm"], time.monotonic() - begun


def voyage(arguments, folder):
    lines = min(arguments.lines, sum(1 for _ in open(arguments.sample, "rb")))
    first_leg = lines // 10
    with Fleet(arguments.build, folder, kafka=arguments.kafka) as fleet:
        line = SlowLink(fleet.hub_port, LINK_BYTES_PER_SECOND)
        fleet.start_hub(dialled_port=line.port)
        say(f"hub ashore: {'Kafka at ' + fleet.bootstrap if arguments.kafka else 'embedded log'}, port {fleet.hub_port}")
        edge = fleet.add_edge("ship", link={"bytes_per_second": LINK_BYTES_PER_SECOND})
        edge.wait("its link", lambda s: s["link"]["connected"])
        say(f"edge aboard: enrolled by invite, its Mosquitto on port {edge.mqtt_port}, "
            f"link up (mutual TLS 1.3) at {LINK_BYTES_PER_SECOND // 1000} kB/s")

        published = publish(fleet, edge, arguments.sample, 0, first_leg)
        edge.wait("the first leg committed", lambda s: s["log"]["backlog"] == 0)
        say(f"in port: {published['telemetry']:,} sentences and {published['alarm']:,} alarms published, all at the hub")

        edge.hold()
        say("the link is cut; the ship goes on")
        at_sea = publish(fleet, edge, arguments.sample, first_leg, lines - first_leg)
        published = {stream: published[stream] + at_sea[stream] for stream in ("telemetry", "alarm")}
        waiting = edge.wait("every message in its log", lambda s: all(
            s["streams"][k]["backlog"] >= at_sea[k] for k in ("telemetry", "alarm")))
        say(f"at sea: {at_sea['telemetry']:,} sentences and {at_sea['alarm']:,} alarms more, acknowledged aboard, "
            f"{waiting['log']['backlog']:,} events wait for the link")

        before = line.carried
        alarms_s, all_s = catch_up(fleet, edge, published)
        crossed = line.carried - before
        say(f"the link is back: all alarms ashore after {alarms_s:.2f} s, the whole backlog after {all_s:.2f} s")

        counts = {"published": published, "edge": held_by(edge), "hub": held_by(fleet.hub)}
        if arguments.kafka:
            records = {"telemetry": fleet.read_topic("landfall.telemetry"), "alarm": fleet.read_topic("landfall.alarms")}
            counts["kafka"] = {stream: len(those) for stream, those in records.items()}
            say(f"kcat reads: {records['alarm'][0]['headers']} {records['alarm'][0]['value']}")
        verified = {node.name: node.log_command("verify") for node in (edge, fleet.hub)}
        for node in (edge, fleet.hub):
            if node.stop() != 0:
                raise Failure(f"{node.name} ended with {node.process.exit_code()}\n{node.process.tail()}")

    events = at_sea["telemetry"] + at_sea["alarm"]
    return {
        "log": "kafka" if arguments.kafka else "embedded", "counts": counts,
        "agree": all(held == published for held in counts.values()),
        "verified": {name: report["ok"] for name, report in verified.items()},
        "catch_up": {"events": events, "alarms_s": round(alarms_s, 3), "all_s": round(all_s, 3), "bytes": crossed,
                     "bytes_per_event": round(crossed / events, 2)},
        "wall_s": round(time.monotonic() - started, 1),
    }


def summary(report):
    names = {"published": "published over MQTT", "edge": "held by the edge", "hub": "held by the hub",
             "kafka": "in Kafka, read_committed"}
    lines = ["", f"{'':28}{'telemetry':>12}{'alarms':>12}"]
    for name, held in report["counts"].items():
        lines.append(f"{names[name]:28}{held['telemetry']:>12,}{held['alarm']:>12,}")
    c = report["catch_up"]
    lines += [
        "", f"catch-up      {c['events']:,} events, {c['bytes']:,} bytes both ways with TLS, "
        f"{c['bytes_per_event']} per event, in {c['all_s']} s",
        f"alarms first  all ashore after {c['alarms_s']} s",
        "logs          " + ", ".join(f"{name} {'verified' if ok else 'NOT RIGHT'}" for name, ok in report["verified"].items()),
        "counts        " + ("agree to the event" if report["agree"] else "DO NOT AGREE")]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=str(TOP / "build/release"))
    parser.add_argument("--sample", required=True)
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--lines", type=int, default=116_000)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    # An exit by signal unwinds as well, so that every process is stopped.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))

    folder = tempfile.mkdtemp(prefix="landfall-demo-")
    try:
        if arguments.kafka:
            need("kcat")
        report = voyage(arguments, folder)
    except (Failure, subprocess.SubprocessError) as failure:
        print(f"demo: {failure}\n  what it left: {folder}", file=sys.stderr)
        return 1
    except SystemExit:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    print(summary(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    shutil.rmtree(folder)
    return 0 if report["agree"] and all(report["verified"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
