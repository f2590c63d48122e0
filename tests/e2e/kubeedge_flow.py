#!/usr/bin/env python3
"""Mappers written for KubeEdge run unchanged against a real edge, its Mosquitto and a real hub.

Property. Devices are imported ashore from KubeEdge's objects and reach the edge that runs them. There a client of each
form of topic finds them, reads what is desired, reports, and hears result, document and delta until it agrees; what is
wrong is answered on the right topic; a late subscriber hears what is desired; an override aboard reaches the hub, also
over a link that was held. A killed edge costs no mapper its subscription, and no report that was acknowledged is lost.

    kubeedge_flow.py --build DIR [--keep]
"""
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "tools/dev"))
sys.dont_write_bytecode = True

from fleet import Failure, UnixConnection, wait_for  # noqa: E402
from flow import run_flow  # noqa: E402
from mqtt_client import MqttClient  # noqa: E402

DEVICES = """
apiVersion: devices.kubeedge.io/v1alpha2
kind: DeviceModel
metadata: {name: counter-model, namespace: default}
spec:
  properties:
  - {name: status, description: counter status, type: {string: {accessMode: ReadWrite, defaultValue: ''}}}
---
apiVersion: devices.kubeedge.io/v1alpha2
kind: Device
metadata: {name: counter, labels: {description: counter}}
spec:
  deviceModelRef: {name: counter-model}
  nodeSelector: {nodeSelectorTerms: [{matchExpressions: [{key: '', operator: In, values: [ship]}]}]}
status:
  twins:
  - {propertyName: status, desired: {metadata: {type: string}, value: 'OFF'}}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: pump-model, namespace: plant}
spec:
  properties:
  - {name: speed, type: INT, accessMode: ReadWrite, minimum: "0", maximum: "100"}
  - {name: temperature, type: FLOAT, accessMode: ReadOnly}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: pump, namespace: plant}
spec:
  deviceModelRef: {name: pump-model}
  nodeName: ship
  protocol: {protocolName: modbus, configData: {slaveID: 1}}
  properties:
  - {name: speed, desired: {value: "30"}}
  - {name: temperature}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: elsewhere}
spec: {nodeName: another-ship}
"""


class Mapper:
    """A client, and what it hears by topic."""

    def __init__(self, edge, client_id, *filters):
        self.client = MqttClient(edge.mqtt_port, client_id)
        for one in filters:
            self.client.subscribe(one)

    def say(self, topic, body, qos=0):
        self.client.publish(topic, body if isinstance(body, str) else json.dumps(body), qos)

    def hear(self, topic, condition=lambda body: True, seconds=20):
        """The next message of the topic that fulfils the condition; what comes before it is dropped."""
        end = time.monotonic() + seconds
        seen = []
        while time.monotonic() < end:
            self.client.read(0.2)
            while self.client.messages:
                got, payload = self.client.messages.pop(0)
                seen.append((got, payload))
                if got == topic and condition(json.loads(payload)):
                    return json.loads(payload)
        raise Failure(f"{topic}: not heard within {seconds} s, but {seen[-5:]}")

    def topics_until(self, topic, seconds=20):
        """The topics of all that comes before a message of the topic, and that one's."""
        end = time.monotonic() + seconds
        topics = []
        while time.monotonic() < end:
            self.client.read(0.2)
            while self.client.messages:
                topics.append(self.client.messages.pop(0)[0])
                if topics[-1] == topic:
                    return topics
        raise Failure(f"{topic}: not heard within {seconds} s, but {topics}")


def expect(what, got, wanted):
    if got != wanted:
        raise Failure(f"{what}: {got!r} instead of {wanted!r}")


def of(device, suffix):
    return f"$hw/events/device/{device}/{suffix}"


def twin_at(node, device):
    connection = UnixConnection(str(node.dir / "landfall.sock"), timeout=5)
    try:
        connection.request("GET", "/v1/twins/" + device.replace("/", "%2F"))
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


def property_at(node, device, name, side):
    twin = twin_at(node, device) or {}
    return twin.get("properties", {}).get(name, {}).get(side, {}).get("value")


def counter_demo(fleet, edge):
    """As kubeedge-counter-demo: documents only, one level, type "Updated"."""
    demo = Mapper(edge, "counter-demo", of("counter", "twin/update/document"))
    def status(body):
        return body["twin"]["status"]["current"]["expected"]["value"]  # unguarded, as the demo reads it
    expect("what was desired before the demo came", status(demo.hear(of("counter", "twin/update/document"))), "OFF")
    fleet.hub.cli("twin", "set", "counter", "status=ON", "--dir", fleet.hub.dir)
    demo.hear(of("counter", "twin/update/document"), lambda body: status(body) == "ON")
    demo.say(of("counter", "twin/update"),
             {"event_id": "", "timestamp": 0, "twin": {"status": {"actual": {"value": "ON"}, "metadata": {"type": "Updated"}}}})
    document = demo.hear(of("counter", "twin/update/document"))
    expect("the document of its report", document["twin"]["status"]["current"]["actual"]["value"], "ON")
    wait_for("the report ashore", lambda: property_at(fleet.hub, "counter", "status", "reported") == "ON", 30)
    demo.client.close()


def pump_mapper(fleet, edge, device, client_id):
    """As mappers-go: deltas are its orders."""
    mapper = Mapper(edge, client_id, of(device, "twin/update/delta"), of(device, "twin/update/result"),
                    of(device, "twin/get/result"), of(device, "state/update/result"))
    wanted = str(property_at(edge, "plant/pump", "speed", "desired"))
    expect("orders at the start", mapper.hear(of(device, "twin/update/delta"))["delta"], {"speed": wanted})
    mapper.say(of(device, "twin/get"), {"event_id": "g1", "timestamp": 1})
    got = mapper.hear(of(device, "twin/get/result"))
    expect("twin/get", (got["event_id"], got["twin"]["speed"]["expected"]["value"]), ("g1", wanted))

    def report(name, value, kind, event_id):
        mapper.say(of(device, "twin/update"), {"event_id": event_id, "timestamp": 1, "twin": {
            name: {"actual": {"value": value, "metadata": {"timestamp": 1}}, "metadata": {"type": kind}}}})
        return mapper.hear(of(device, "twin/update/result"), lambda body: body["event_id"] == event_id)

    expect("a report", report("temperature", "23.50", "float", "r1")["twin"]["temperature"]["actual"]["value"], "23.50")
    expect("orders after it", mapper.hear(of(device, "twin/update/delta"))["delta"], {"speed": wanted})
    report("speed", wanted, "int", "r2")
    report("temperature", "24", "float", "r3")
    mapper.say(of(device, "twin/get"), {"event_id": "g2", "timestamp": 1})
    expect("what a mapper hears that agrees", mapper.topics_until(of(device, "twin/get/result")),
           [of(device, "twin/get/result")])

    # What is wrong.
    expect("a value of another type", report("speed", "fast", "int", "e1")["code"], 400)
    mapper.say(of(device, "twin/update"), '{"event_id":"e2","twin":{"speed":{"actual":{"value":3}}}}')
    expect("a number", mapper.hear(of(device, "twin/update/result"), lambda body: body["event_id"] == "e2")["code"], 400)
    mapper.say(of(device, "twin/update"), "{")
    expect("no JSON", mapper.hear(of(device, "twin/update/result"), lambda body: body["event_id"] == "")["code"], 400)

    mapper.say(of(device, "state/update"), {"event_id": "", "timestamp": 1, "state": "OK"})
    expect("its state", mapper.hear(of(device, "state/update/result"))["device"]["state"], "OK")
    return mapper


def unknown_devices(edge):
    client = Mapper(edge, "lost", of("nobody", "twin/update/result"), of("a/b", "twin/get/result"),
                    of("elsewhere", "twin/update/result"))
    for device, topic, answer in (("nobody", "twin/update", "twin/update/result"), ("a/b", "twin/get", "twin/get/result"),
                                  ("elsewhere", "twin/update", "twin/update/result")):
        client.say(of(device, topic), {"event_id": "x", "timestamp": 1, "twin": {}})
        expect(device, client.hear(of(device, answer))["code"], 404)
    client.client.close()


def membership(edge):
    node = "$hw/events/node/ship/membership/"
    client = Mapper(edge, "exec", node + "get/result")
    client.say(node + "get", {"event_id": "m", "timestamp": 1})
    devices = client.hear(node + "get/result")["devices"]
    expect("the list of devices", [device["id"] for device in devices], ["counter", "plant/pump"])
    client.client.close()


def overrides(fleet, edge, mapper):
    """Aboard and ashore, while the link is held; then the edge dies while a report is on its way."""
    edge.hold()
    mapper.say(of("pump", "twin/update"), {"event_id": "o1", "twin": {"speed": {"expected": {"value": "40"}}}})
    mapper.hear(of("pump", "twin/update/result"), lambda body: body["event_id"] == "o1")
    expect("the override's order", mapper.hear(of("pump", "twin/update/delta"))["delta"], {"speed": "40"})
    edge.release()
    wait_for("the override ashore", lambda: property_at(fleet.hub, "plant/pump", "speed", "desired") == 40, 60)
    fleet.hub.cli("twin", "set", "plant/pump", "speed=50", "--dir", fleet.hub.dir)
    mapper.hear(of("pump", "twin/update/delta"), lambda body: body["delta"] == {"speed": "50"}, 60)

    brokers = edge.broker_pids()
    edge.kill9()
    mapper.say(of("pump", "twin/update"), {"event_id": "k1", "twin": {"speed": {"actual": {"value": "50"}}}}, qos=1)
    edge.start()
    edge.ready()
    mapper.hear(of("pump", "twin/update/result"), lambda body: body["event_id"] == "k1", 60)
    expect("the broker", edge.broker_pids(), brokers)
    wait_for("the report ashore", lambda: property_at(fleet.hub, "plant/pump", "speed", "reported") == 50, 60)


def run(fleet):
    fleet.start_hub()
    edge = fleet.add_edge("ship")
    edge.wait("the link", lambda status: status["link"]["connected"])
    watcher = Mapper(edge, "watcher", "$hw/events/node/ship/membership/updated")
    text = fleet.dir / "devices.yaml"
    text.write_text(DEVICES)
    fleet.hub.cli("device", "import", text, "--dir", fleet.hub.dir)
    added = {watcher.hear("$hw/events/node/ship/membership/updated")["added_devices"][0]["id"] for _ in range(2)}
    expect("devices that came", added, {"counter", "plant/pump"})
    wait_for("desired values aboard", lambda: property_at(edge, "counter", "status", "desired") == "OFF" and
             property_at(edge, "plant/pump", "speed", "desired") == 30, 30)

    membership(edge)
    counter_demo(fleet, edge)
    pump_mapper(fleet, edge, "plant/pump", "mapper-of-two-levels").client.close()
    fleet.hub.cli("twin", "set", "plant/pump", "speed=31", "--dir", fleet.hub.dir)
    wait_for("the new speed aboard", lambda: property_at(edge, "plant/pump", "speed", "desired") == 31, 30)
    mapper = pump_mapper(fleet, edge, "pump", "mapper-of-one-level")
    unknown_devices(edge)
    overrides(fleet, edge, mapper)


if __name__ == "__main__":
    sys.exit(run_flow(__doc__, "kubeedge", run,
                      "KubeEdge's flow: both forms, import, errors, overrides, a killed edge: as promised"))
