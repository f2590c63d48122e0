#!/usr/bin/env python3
"""Property: what tools/notebook/fleet_questions.py reads from the topics of a real hub is what happened aboard and ashore.

Positions come over MQTT and HTTP, an alarm is raised twice and another acknowledged, set points are changed by two people
on two sides; then the script, with confluent-kafka and DuckDB in an environment of their own and nothing of Landfall's,
answers its three questions.

    notebook_test.py --build DIR [--keep]
"""
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(TOP / "tools/dev"))
sys.dont_write_bytecode = True

from fleet import Failure, UnixConnection, wait_for  # noqa: E402
from flow import run_flow  # noqa: E402
from mqtt_client import MqttClient  # noqa: E402


def python_with(requirements):
    """The interpreter of an environment with these packages: made once, then kept in the cache."""
    cache = pathlib.Path(os.environ.get("LANDFALL_CACHE", pathlib.Path.home() / ".cache/landfall"))
    cache.mkdir(parents=True, exist_ok=True)
    name = "notebook-" + hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    with open(cache / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = cache / name
        if not (there / "complete").exists():
            shutil.rmtree(there, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", there], check=True)
            subprocess.run([there / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements], check=True)
            (there / "complete").touch()
    return there / "bin/python"


def expect(what, got, wanted):
    if got != wanted:
        raise Failure(f"{what}: {got!r} instead of {wanted!r}")


def post_event(node, body):
    connection = UnixConnection(str(node.dir / "landfall.sock"), timeout=10)
    try:
        connection.request("POST", "/v1/events", json.dumps(body))
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise Failure(f"/v1/events: {answer.status} {said!r}")
    finally:
        connection.close()


def everything_is_in_kafka(fleet, edge):
    edge.wait("all its events are acknowledged", lambda status: not any(s["backlog"] for s in status["streams"].values()))
    fleet.hub.wait("nothing waits for kafka", lambda status: status["kafka"]["backlog_events"] == 0)


def reports_that_become_voids(fleet, edge):
    """Superseded while the link was held: their records name no actor and no value, and have headers that are no text."""
    wait_for("the property aboard", lambda: "flow" in edge.cli("twin", "show", "valve", "--dir", edge.dir).stdout, 30)
    edge.cli("link", "hold", "--dir", edge.dir)
    client = MqttClient(edge.mqtt_port, "reporter")
    client.subscribe("landfall/valve/twin/error")
    for flow in range(200):
        client.publish("landfall/valve/twin/reported", json.dumps({"flow": flow * 7919}).encode(), qos=1)
    if client.messages:
        raise Failure(f"a report was refused: {client.messages[0]}")
    client.close()
    wait_for("the last report", lambda: str(199 * 7919) in edge.cli("twin", "show", "valve", "--dir", edge.dir).stdout, 30)
    edge.cli("link", "release", "--dir", edge.dir)
    wait_for("the last report ashore",
             lambda: str(199 * 7919) in fleet.hub.cli("twin", "show", "valve", "--dir", fleet.hub.dir).stdout, 30)
    shown = fleet.hub.cli("log", "show", "--stream", "reported", "--limit", "0", "--dir", fleet.hub.dir).stdout
    if sum(" void twin/valve " in line for line in shown.splitlines()) < 100:
        raise Failure(f"no voids ashore:\n{shown[:2000]}")


def run(fleet):
    python = python_with(TOP / "tools/notebook/requirements.txt")
    fleet.start_hub()
    edge = fleet.add_edge("ship")
    edge.wait("the link", lambda status: status["link"]["connected"])
    client = MqttClient(edge.mqtt_port, "gps")
    client.publish("landfall/gps-1/telemetry/nmea", b"$GPGGA,120000,3724.5543,S,17430.0000,E,1,08,1.0,5,M,,M,,*6A", qos=1)
    client.publish("landfall/gps-1/telemetry/nmea", b"$GPRMC,120005,A,3724.6000,S,17431.5000,E,10.0,90,251126,,*00", qos=1)
    client.publish("landfall/gps-1/telemetry/nmea", b"$GPGSV,1,1,00*79", qos=1)  # says nothing of a position
    client.close()
    post_event(edge, {"subject": "buoy-7/position", "device": "buoy-7", "stream": "telemetry",
                      "payload": {"latitude": 60.5, "longitude": -5.25}})
    for device in ("pump", "valve"):
        fleet.hub.cli("device", "add", device, "--node", "ship", "--dir", fleet.hub.dir)
    fleet.hub.cli("twin", "define", "valve", "opening", "type=int", "--dir", fleet.hub.dir)
    fleet.hub.cli("twin", "define", "valve", "flow", "type=int", "history=latest", "--dir", fleet.hub.dir)
    wait_for("the devices aboard", lambda: "valve" in edge.cli("device", "list", "--dir", edge.dir).stdout and
             "pump" in edge.cli("device", "list", "--dir", edge.dir).stdout, 30)
    edge.cli("alarm", "raise", "pump", "bilge", "--severity", "critical", "--dir", edge.dir)
    edge.cli("alarm", "raise", "pump", "filter", "--dir", edge.dir)
    edge.cli("alarm", "ack", "pump", "filter", "--dir", edge.dir)
    fleet.hub.cli("twin", "set", "valve", "opening=40", "--as", "office", "--dir", fleet.hub.dir)
    fleet.hub.cli("twin", "set", "valve", "opening=45", "--as", "office", "--dir", fleet.hub.dir)
    edge.cli("twin", "set", "valve", "opening=55", "--as", "chief", "--reason", "storm", "--dir", edge.dir)
    reports_that_become_voids(fleet, edge)
    everything_is_in_kafka(fleet, edge)

    def ask(*more):
        done = subprocess.run([python, TOP / "tools/notebook/fleet_questions.py", "--bootstrap", fleet.bootstrap, *more],
                              capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise Failure(f"fleet_questions.py: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    # The state topics follow the commits, they are not part of them.
    later = int(time.time() * 1000) + 3_600_000
    answers = wait_for("the alarm in its state topic", lambda: next((a for a in [json.loads(ask("--json", "--now-ms", str(later)))]
                                                                    if a["Unacknowledged alarms by age"]), None), 60)
    positions = {row["device"]: row for row in answers["Last position of each device"]}
    expect("devices with positions", sorted(positions), ["buoy-7", "gps-1"])
    expect("the last position of gps-1", (positions["gps-1"]["latitude"], positions["gps-1"]["longitude"],
                                          positions["gps-1"]["positions"]), (-37.41, 174.525, 2))
    expect("the position of buoy-7", (positions["buoy-7"]["latitude"], positions["buoy-7"]["longitude"]), (60.5, -5.25))

    alarms = answers["Unacknowledged alarms by age"]
    expect("alarms that nobody looked at", [(a["device"], a["alarm"], a["severity"], a["active"]) for a in alarms],
           [("pump", "bilge", "critical", True)])
    if not 60 <= alarms[0]["minutes"] <= 70:
        raise Failure(f"an hour after it was raised it is {alarms[0]['minutes']} minutes old")

    changes = {(row["side"], row["changes"], row["set_points"], row["last"]): row["actor"]
               for row in answers["Set-point changes by actor"]}
    ashore = next((actor for (side, count, points, last), actor in changes.items()
                   if (side, count, points) == ("ashore", 2, 1) and last.startswith("valve/opening = ") and "45" in last), "")
    aboard = next((actor for (side, count, points, last), actor in changes.items()
                   if (side, count, points) == ("aboard", 1, 1) and last.startswith("valve/opening = ") and "55" in last), "")
    if "office" not in ashore or "chief" not in aboard or len(changes) != 2:
        raise Failure(f"who changed what: {answers['Set-point changes by actor']}")
    if "Set-point changes by actor" not in ask():
        raise Failure("no tables without --json")


if __name__ == "__main__":
    sys.exit(run_flow(__doc__, "notebook", run,
                      "fleet_questions.py: positions, alarms and set points as they were", kafka=True, needs=("java",)))
