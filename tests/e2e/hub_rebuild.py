#!/usr/bin/env python3
"""Property: a hub whose log is gone has its state again from Kafka alone, before it answers for it.

Twins, documents and alarms are written ashore and aboard; the hub is stopped, its log deleted (its identity stays), and
started: what it shows is what it showed, byte for byte with the versions; edges come back, nothing is in Kafka twice, and
both sides agree. The same with a log from an older backup, with a broker that comes only after the hub, and with a topic
that contradicts its progress. A write while Kafka is away is answered with what became of it, and not made twice.

    hub_rebuild.py --build DIR [--keep]
"""
import collections
import json
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(TOP / "tools/dev"))
sys.dont_write_bytecode = True

from fleet import Failure, Process, UnixConnection, free_port, wait_for  # noqa: E402
from flow import run_flow  # noqa: E402

TOPICS = ("control", "alarms", "twins", "documents", "telemetry")
SHOWN = ("/v1/twins/valve", "/v1/documents/port/plan", "/v1/documents/ship/log", "/v1/documents/gone",
         "/v1/alarms/valve/stuck", "/v1/alarms?all=1", "/v1/documents", "/v1/devices")


def ask(node, method, path, body=None, if_match=None):
    connection = UnixConnection(str(node.dir / "landfall.sock"), timeout=30)
    try:
        headers = {"If-Match": f'"{if_match}"'} if if_match else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, (answer.getheader("ETag") or "").strip('"'), answer.read().decode()
    finally:
        connection.close()


def expect(what, got, wanted):
    if got != wanted:
        raise Failure(f"{what}: {got!r} instead of {wanted!r}")


def shown_by(node):
    return {path: ask(node, "GET", path) for path in SHOWN}


def put(node, path, body, wanted=200):
    status, etag, said = ask(node, "PUT", path, body)
    expect(f"PUT {path}", (status, said if status != wanted else ""), (wanted, ""))
    return etag


def all_is_in_kafka(fleet, edge):
    edge.wait("all its events are acknowledged", lambda status: not any(s["backlog"] for s in status["streams"].values()))
    fleet.hub.wait("nothing waits for kafka", lambda status: status["kafka"]["ready"] and status["kafka"]["backlog_events"] == 0)


def both_agree(fleet, edge):
    """What both hold whole is the same, version by version."""
    for path in SHOWN:
        wait_for(f"{path}: the same on both sides",
                 lambda: ask(fleet.hub, "GET", path)[:2] == ask(edge, "GET", path)[:2] or None, 30)


def nothing_is_twice(fleet):
    for topic in TOPICS:
        counted = collections.Counter(record["headers"]["ce_id"] for record in fleet.read_topic(f"landfall.{topic}"))
        twice = [dot for dot, times in counted.items() if times > 1]
        if twice:
            raise Failure(f"{topic}: twice in kafka: {twice[:5]}")


def lose_log(hub):
    hub.stop()
    for name in ("log", "store", "db", "anchor"):
        path = hub.dir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    left = sorted(p.name for p in hub.dir.iterdir())
    if "identity" not in left:
        raise Failure(f"the identity went too: {left}")


def come_back(hub):
    hub.start().ready()
    writes_are_answered(hub)


def writes_are_answered(hub):
    """Until then every answer says why not."""
    answers = []

    def whole():
        status, _, said = ask(hub, "PUT", "/v1/documents/probe", {"n": 1})
        answers.append((status, said))
        return status == 200
    wait_for("writes are answered", whole, 60, [hub.process])
    for status, said in answers[:-1]:
        if status != 503 or "Kafka" not in json.loads(said)["detail"]:
            raise Failure(f"meanwhile: {status} {said}")


def write_everywhere(fleet, edge):
    hub = fleet.hub
    hub.cli("device", "add", "valve", "--node", "ship", "--dir", hub.dir)
    hub.cli("twin", "define", "valve", "opening", "type=int", "--dir", hub.dir)
    for value in range(40, 46):
        hub.cli("twin", "set", "valve", f"opening={value}", "--as", "office", "--dir", hub.dir)
    put(hub, "/v1/documents/port/plan", {"berth": 4, "lines": ["bow", "stern"], "tide": {"high": "06:12"}})
    put(hub, "/v1/documents/gone", {"soon": True})
    expect("a delete", ask(hub, "DELETE", "/v1/documents/gone")[0], 200)
    wait_for("the device aboard", lambda: ask(edge, "GET", "/v1/twins/valve")[0] == 200 or None, 30)
    edge.cli("twin", "set", "valve", "opening=55", "--as", "chief", "--reason", "storm", "--dir", edge.dir)
    edge.cli("alarm", "raise", "valve", "stuck", "--severity", "critical", "--dir", edge.dir)
    put(edge, "/v1/documents/ship/log", {"crew": 12})
    wait_for("the alarm ashore", lambda: ask(hub, "GET", "/v1/alarms/valve/stuck")[0] == 200 or None, 30)
    hub.cli("alarm", "ack", "valve", "stuck", "--dir", hub.dir)
    all_is_in_kafka(fleet, edge)
    both_agree(fleet, edge)


def spent_invite_is_known(fleet):
    """A second node with the first one's invite."""
    thief = fleet.dir / "thief"
    fleet.hub.cli("edge", "init", "--dir", thief, "--invite", fleet.dir / "ship.invite", "--name", "thief", "--mqtt-port",
                  free_port(), "--websocket-port", free_port())
    process = Process("thief", [fleet.landfall, "edge", "run", "--dir", thief], fleet.dir / "thief.log")
    fleet.processes.append(process)
    wait_for("the hub to refuse it", lambda: "is spent" in fleet.hub.process.log.read_text(), 30, [process])
    process.stop()


def disk_lost(fleet, edge):
    before = shown_by(fleet.hub)
    expect("a document that was deleted", before["/v1/documents/gone"][0], 404)
    lose_log(fleet.hub)
    come_back(fleet.hub)
    ask(fleet.hub, "DELETE", "/v1/documents/probe")
    for path, shown in shown_by(fleet.hub).items():
        expect(f"{path} after the loss", shown, before[path])
    spent_invite_is_known(fleet)
    edge.wait("the link again", lambda status: status["link"]["connected"])
    put(edge, "/v1/documents/ship/log", {"crew": 13})
    wait_for("what the edge writes next", lambda: '"crew":13' in ask(fleet.hub, "GET", "/v1/documents/ship/log")[2].replace(" ", "") or None, 30)
    all_is_in_kafka(fleet, edge)
    both_agree(fleet, edge)
    nothing_is_twice(fleet)
    said = fleet.hub.process.log.read_text()
    if "event=rebuilt_from_kafka" not in said:
        raise Failure("no line says that the log was rebuilt")
    fleet.hub.stop()
    verified = fleet.hub.log_command("verify")
    expect("faults of the rebuilt log", verified.get("faults"), [])
    fleet.hub.start().ready()


def older_backup(fleet, edge):
    hub = fleet.hub
    hub.stop()
    backup = fleet.dir / "backup"
    shutil.copytree(hub.dir, backup, ignore=shutil.ignore_patterns("*.sock"))
    come_back(hub)
    etag = put(hub, "/v1/documents/port/plan", {"berth": 5})
    hub.cli("twin", "set", "valve", "opening=60", "--as", "office", "--dir", hub.dir)
    all_is_in_kafka(fleet, edge)
    before = shown_by(hub)
    hub.stop()
    shutil.rmtree(hub.dir)
    shutil.copytree(backup, hub.dir)
    come_back(hub)
    for path, shown in shown_by(hub).items():
        if path != "/v1/documents":
            expect(f"{path} after the backup", shown, before[path])
    expect("the version that was acknowledged", ask(hub, "GET", "/v1/documents/port/plan")[1], etag)
    edge.wait("the link again", lambda status: status["link"]["connected"])
    all_is_in_kafka(fleet, edge)
    both_agree(fleet, edge)
    nothing_is_twice(fleet)


def broker(fleet, verb):
    subprocess.run([str(TOP / "tools/dev/kafka/broker.sh"), verb, "--dir", str(fleet.kafka_dir)], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def kafka_away(fleet, edge):
    """A write is answered, once, and there once."""
    hub = fleet.hub
    version = ask(hub, "GET", "/v1/documents/port/plan")[1]
    broker(fleet, "stop")
    status, _, said = ask(hub, "PUT", "/v1/documents/port/plan", {"berth": 6}, version)
    problem = json.loads(said)
    if status != 503 or "durable at this hub (A1)" not in problem["detail"]:
        raise Failure(f"a write without kafka: {status} {said}")
    dot = problem["detail"].split("event ", 1)[1].split(" ", 1)[0]
    now = ask(hub, "GET", "/v1/documents/port/plan")
    if f'its version is "{now[1]}"' not in problem["detail"] or '"berth":6' not in now[2].replace(" ", ""):
        raise Failure(f"{problem['detail']}, and it is {now}")
    expect("the same again", ask(hub, "PUT", "/v1/documents/port/plan", {"berth": 6}, version)[0], 412)
    hub.stop()
    hub.start().ready()
    status, _, said = ask(hub, "PUT", "/v1/documents/port/plan", {"berth": 7})
    if status != 503 or "nothing was written" not in json.loads(said)["detail"]:
        raise Failure(f"a write at a hub that has not heard Kafka: {status} {said}")
    edge.wait("the link without kafka", lambda s: s["link"]["connected"])
    broker(fleet, "start")
    writes_are_answered(hub)
    all_is_in_kafka(fleet, edge)
    expect("the write", ask(hub, "GET", "/v1/documents/port/plan")[1], now[1])
    sent = [r for r in fleet.read_topic("landfall.documents") if r["headers"]["ce_id"] == dot]
    expect("times in kafka", len(sent), 1)
    both_agree(fleet, edge)


def topic_contradicts(fleet):
    """Somebody else's record where an event should be: that (run, stream) is named and left alone, the rest comes back."""
    hub = fleet.hub
    before = shown_by(hub)
    hub.stop()
    progress = fleet.read_topic("landfall.progress")
    newest = {r["key"]: r for r in progress}
    target = next(r for k, r in sorted(newest.items()) if k.endswith("/alarm"))
    value = json.loads(target["value"])
    value["chain"] = "0" * 64
    done = subprocess.run(["kcat", "-P", "-b", fleet.bootstrap, "-t", "landfall.progress", "-p", str(target["partition"]), "-K", "\t"],
                          input=f"{target['key']}\t{json.dumps(value)}\n", text=True, capture_output=True, check=False)
    expect("kcat", (done.returncode, done.stderr), (0, ""))
    lose_log(hub)
    come_back(hub)
    status = hub.status()
    if not any(target["key"] in reason for reason in status["reasons"]):
        raise Failure(f"{target['key']} is not named: {status['reasons']}")
    if "rebuild_refused" not in ask(hub, "GET", "/v1/events?limit=1000")[2]:
        raise Failure("no audit event names it")
    for path in ("/v1/documents/port/plan", "/v1/documents/ship/log", "/v1/devices"):
        expect(f"{path} beside it", ask(hub, "GET", path), before[path])


def run(fleet):
    fleet.start_hub()
    edge = fleet.add_edge("ship")
    edge.wait("the link", lambda status: status["link"]["connected"])
    write_everywhere(fleet, edge)
    disk_lost(fleet, edge)
    older_backup(fleet, edge)
    kafka_away(fleet, edge)
    topic_contradicts(fleet)


if __name__ == "__main__":
    sys.exit(run_flow(__doc__, "rebuild", run,
                      "a hub without its log, with an old one, without Kafka, with a topic that lies: as promised", kafka=True,
                      needs=("java", "kcat")))
