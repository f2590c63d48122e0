#!/usr/bin/env python3
"""Landfall's own device topics on a real edge with its Mosquitto and a real hub.

Property. An edge says what is desired of the devices that it runs, and of no other node's; a broker that has forgotten
everything is told again, so that a late subscriber hears it. What a device publishes as an alarm is an occurrence on both
sides, raised once whatever is killed; any other content on the topic stays an event; what is wrong is answered and changes
nothing. A command reaches its device, and what the device says of it reaches who issued it. What is reported while there
is no link travels as it was said, or as its last value where that is all that matters.

    device_topics.py --build DIR [--keep]
"""
import json
import os
import pathlib
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "tools/dev"))
sys.dont_write_bytecode = True

from fleet import Failure, wait_for  # noqa: E402
from flow import run_flow  # noqa: E402
from mqtt_client import MqttClient  # noqa: E402


def expect(what, got, wanted):
    if got != wanted:
        raise Failure(f"{what}: {got!r} instead of {wanted!r}")


def hear(client, topic, seconds=20):
    """The payload of the next message of the topic, and the topics of all that came before it."""
    end, before = time.monotonic() + seconds, []
    while time.monotonic() < end:
        client.read(0.2)
        while client.messages:
            got, payload = client.messages.pop(0)
            if got == topic:
                return payload, before
            before.append(got)
    raise Failure(f"{topic}: not heard within {seconds} s, but {before}")


def alarm_at(node, name="leak"):
    done = node.cli("alarm", "show", "valve", name, "--json", "--dir", node.dir, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def events_in_alarm(edge):
    return edge.status()["streams"]["alarm"]["own"]


def desired_of_own_devices_alone(fleet, edge):
    client = MqttClient(edge.mqtt_port, "listener")
    client.subscribe("landfall/+/twin/desired")
    hub = fleet.hub
    hub.cli("device", "add", "far", "--node", "another-ship", "--dir", hub.dir)
    hub.cli("device", "add", "valve", "--node", "ship", "--dir", hub.dir)
    wait_for("the devices aboard", lambda: edge.cli("device", "show", "valve", "--dir", edge.dir, check=False).returncode == 0, 30)
    for device in ("far", "valve"):
        hub.cli("twin", "define", device, "opening", "type=int", "--dir", hub.dir)
    hub.cli("twin", "set", "far", "opening=1", "--dir", hub.dir)
    hub.cli("twin", "set", "valve", "opening=40", "--dir", hub.dir)
    payload, before = hear(client, "landfall/valve/twin/desired")
    expect("what is desired", json.loads(payload), {"opening": 40})
    expect("what was said before it", before, [])
    wait_for("the other device's twin, which is known aboard",
             lambda: edge.cli("twin", "show", "far", "--dir", edge.dir, check=False).returncode == 0, 30)
    hub.cli("twin", "set", "valve", "opening=41", "--dir", hub.dir)
    expect("after the other's is known", hear(client, "landfall/valve/twin/desired")[1], [])
    hub.cli("device", "hand-over", "valve", "another-ship", "--dir", hub.dir)
    expect("a device that was handed over", hear(client, "landfall/valve/twin/desired")[0], b"")
    hub.cli("device", "hand-over", "valve", "ship", "--dir", hub.dir)
    expect("one that came back", json.loads(hear(client, "landfall/valve/twin/desired")[0]), {"opening": 41})
    client.close()


def late_subscriber(edge, name):
    wait_for("the broker to listen", edge.mqtt_answers, 30, [edge.process])
    client = MqttClient(edge.mqtt_port, name)
    client.subscribe("landfall/valve/twin/desired")
    expect(f"what {name} hears", json.loads(hear(client, "landfall/valve/twin/desired")[0]), {"opening": 41})
    client.close()


def brokers_that_forgot(edge):
    late_subscriber(edge, "late")
    kept = edge.dir / "mqtt"
    def forget():
        found = list(kept.glob("*.db"))
        for file in found:
            file.unlink()
        return found
    wait_for("the broker's own store of retained messages", lambda: list(kept.glob("*.db")), 30)
    edge.stop()
    if not forget():
        raise Failure(f"{kept} holds no retained messages: this proves nothing")
    edge.start().ready()
    late_subscriber(edge, "after-a-stop")
    wait_for("the broker's own store of retained messages", lambda: list(kept.glob("*.db")), 30)
    before = edge.broker_pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    forget()
    wait_for("another broker", lambda: edge.broker_pids() and edge.broker_pids() != before, 30, [edge.process])
    late_subscriber(edge, "after-a-kill")


def alarms(fleet, edge):
    device = MqttClient(edge.mqtt_port, "valve-controller")
    device.subscribe("landfall/valve/twin/error")
    topic = "landfall/valve/alarm/leak"
    device.publish(topic, json.dumps({"active": True, "severity": "critical", "text": "water"}), qos=1)
    raised = alarm_at(edge)  # power: it is durable once it is acknowledged
    expect("aboard", raised and (raised["active"], raised["severity"], raised["text"]), (True, "critical", "water"))
    wait_for("the alarm ashore", lambda: (alarm_at(fleet.hub) or {}).get("active"), 30)
    fleet.hub.cli("alarm", "ack", "valve", "leak", "--as", "office", "--dir", fleet.hub.dir)
    wait_for("the ack aboard", lambda: alarm_at(edge)["acknowledged"], 30)

    before = events_in_alarm(edge)
    for wrong in ({"active": "yes"}, {"active": True, "severity": "odd"}):
        device.publish(topic, json.dumps(wrong), qos=1)
        problem = json.loads(hear(device, "landfall/valve/twin/error")[0])
        expect("what is wrong", (problem["status"], problem["instance"]), (400, topic))
    expect("events after what was wrong", events_in_alarm(edge), before)
    device.publish(topic, "water again", qos=1)
    expect("events after a text", events_in_alarm(edge), before + 1)
    expect("occurrences after a text", len(alarm_at(edge)["occurrences"]), 1)
    device.close()

    # Once, whatever is killed: the raise of a life that ended is not raised again by the next one.
    for round in range(2):
        device = MqttClient(edge.mqtt_port, f"valve-{round}")
        device.publish(topic, json.dumps({"active": False}), qos=1)
        device.publish(topic, json.dumps({"active": True}), qos=1)
        device.close()
        edge.kill9()
        edge.start().ready()
    found = alarm_at(edge)
    expect("occurrences", (found["active"], len(found["occurrences"])), (True, 2))  # the acknowledged one is gone
    wait_for("the same ashore", lambda: alarm_at(fleet.hub)["version"] == found["version"], 30)


def commands(fleet, edge):
    device = MqttClient(edge.mqtt_port, "valve-commands")
    device.subscribe("landfall/valve/command")
    issued = json.loads(fleet.hub.cli("command", "issue", "valve", "close", '{"slowly":true}', "--json",
                                      "--dir", fleet.hub.dir).stdout)
    heard = json.loads(hear(device, "landfall/valve/command")[0])
    expect("the command", (heard["id"], heard["name"], heard["arguments"]), (issued["id"], "close", {"slowly": True}))
    device.publish(f"landfall/valve/command/{issued['id']}/result", '{"succeeded":true,"result":"closed"}', qos=1)
    def shown():
        return json.loads(fleet.hub.cli("command", "show", issued["id"], "--json", "--dir", fleet.hub.dir).stdout)
    wait_for("its result ashore", lambda: shown()["state"] == "succeeded", 30)
    expect("its result", (shown()["result"], shown()["from_device"]), ("closed", True))
    device.close()


def reports_of_an_absence(fleet, edge):
    hub, count = fleet.hub, 300
    hub.cli("twin", "define", "valve", "rpm", "type=int", "history=latest", "--dir", hub.dir)
    hub.cli("twin", "define", "valve", "hours", "type=int", "--dir", hub.dir)
    def defined():
        twin = json.loads(edge.cli("twin", "show", "valve", "--json", "--dir", edge.dir).stdout)
        return "hours" in twin["properties"] and twin["properties"].get("rpm", {}).get("history") == "latest"
    wait_for("the definitions aboard", defined, 30)
    edge.wait("an empty backlog", lambda status: status["log"]["backlog"] == 0)
    edge.hold()
    before = edge.status()["streams"]["reported"]["own"]
    device = MqttClient(edge.mqtt_port, "valve-sensor")
    for name in ("rpm", "hours"):
        for value in range(count):
            device.publish("landfall/valve/twin/reported", json.dumps({name: value}), qos=1)
    device.close()
    wait_for("the reports in the log", lambda: edge.status()["streams"]["reported"]["own"] == before + 2 * count, 60)
    edge.cli("link", "release", "--dir", edge.dir)
    def ashore():
        properties = json.loads(hub.cli("twin", "show", "valve", "--json", "--dir", hub.dir).stdout)["properties"]
        return {name: properties[name].get("reported", {}).get("value") for name in ("rpm", "hours")}
    wait_for("the last of each ashore", lambda: ashore() == {"rpm": count - 1, "hours": count - 1}, 60)
    # Superseded reports of rpm went without their values; aboard they are kept, and of hours everywhere.
    def values(node, name):
        shown = node.cli("log", "show", "--stream", "reported", "--limit", "2000", "--json", "--dir", node.dir).stdout.splitlines()
        changes = [change for line in shown for change in (json.loads(line)["payload"] or {}).get("changes", [])]
        return [change.get("value") for change in changes if change["path"] == f"/p/{name}"]
    for name, node, kept in (("rpm", edge, count), ("hours", edge, count), ("hours", hub, count), ("rpm", hub, 1)):
        expect(f"{name} at {node.name}", len([value for value in values(node, name) if value is not None]), kept)
    expect("reports of rpm ashore", len(values(hub, "rpm")), count)
    expect("voids sent", edge.status()["peers"][0]["voids_sent"], count - 1)


def run(fleet):
    fleet.start_hub()
    edge = fleet.add_edge("ship")
    edge.wait("the link", lambda status: status["link"]["connected"])
    desired_of_own_devices_alone(fleet, edge)
    brokers_that_forgot(edge)
    alarms(fleet, edge)
    commands(fleet, edge)
    reports_of_an_absence(fleet, edge)


if __name__ == "__main__":
    sys.exit(run_flow(__doc__, "topics", run,
                      "own topics: desired, brokers that forgot, alarms, commands, reports: as promised"))
