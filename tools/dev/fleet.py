"""Starts and stops real Landfall processes on this machine: hub, edges with their Mosquitto, Kafka.

Used by the demo and by tests/e2e. Nothing here waits for a length of time: every wait names a condition and has a
deadline. Every process dies with the one that started it, and is stopped by its own pid.
"""
import ctypes
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]


class Failure(Exception):
    """What was awaited did not happen; the text says what and where to look."""


def wait_for(what, condition, seconds=30.0, alive=()):
    """Returns the first true value of condition(). Ends early if one of the processes `alive` has ended."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        for process in alive:
            if not process.running():
                raise Failure(f"{process.name} ended with {process.exit_code()} while waiting for {what}\n{process.tail()}")
        if time.monotonic() > end:
            tails = "".join(process.tail() for process in alive)
            raise Failure(f"{what}: not within {seconds:g} s\n{tails}")
        time.sleep(0.01)


def free_port():
    """Below the range that the kernel hands out for outgoing connections."""
    for _ in range(200):
        port = random.randint(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failure("no free port")


def _die_with_parent():
    # PR_SET_PDEATHSIG: a test that is killed leaves nothing behind.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """One child process with its output in a file."""

    def __init__(self, name, argv, log):
        self.name, self.log = name, pathlib.Path(log)
        with open(self.log, "ab") as out:
            self._child = subprocess.Popen(
                [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self._child.pid

    def running(self):
        return self._child.poll() is None

    def exit_code(self):
        return self._child.poll()

    def kill9(self):
        self._child.kill()
        self._child.wait()

    def stop(self, seconds=20):
        """SIGTERM, then SIGKILL for one that does not end. Returns the exit code."""
        if self.running():
            self._child.terminate()
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill9()
                raise Failure(f"{self.name} did not end within {seconds} s of SIGTERM\n{self.tail()}") from None
        return self.exit_code()

    def tail(self, lines=15):
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "".join(f"  {self.name}: {line}\n" for line in text)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def edit_config(file, values):
    """Sets keys of a landfall.toml. `values`: {"section": {"key": value}}."""
    lines, section = [], None
    wanted = {(s, k): v for s, keys in values.items() for k, v in keys.items()}
    for line in file.read_text().splitlines():
        header = re.match(r"\[(.+)\]\s*$", line)
        if header:
            section = header.group(1)
        key = re.match(r"([A-Za-z_]+)\s*=", line)
        if key and (section, key.group(1)) in wanted:
            line = f"{key.group(1)} = {json.dumps(wanted.pop((section, key.group(1))))}"
        lines.append(line)
    if wanted:
        raise Failure(f"{file} has no key {sorted(wanted)}")
    file.write_text("\n".join(lines) + "\n")


class Node:
    """A hub or an edge: its folder, its process, its status."""

    def __init__(self, fleet, name):
        self.fleet, self.name, self.process = fleet, name, None
        self.dir = fleet.dir / name
        self.role = "hub"

    def cli(self, *arguments, check=True, timeout=120):
        done = subprocess.run([str(self.fleet.landfall), *map(str, arguments)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise Failure(f"landfall {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self):
        if self.process and self.process.running():
            raise Failure(f"{self.name} runs already")
        self.process = Process(self.name, [self.fleet.landfall, self.role, "run", "--dir", self.dir],
                               self.fleet.dir / f"{self.name}.log")
        self.fleet.processes.append(self.process)
        return self

    def ready(self, seconds=60):
        wait_for(f"{self.name} to answer", lambda: self.status(None), seconds, [self.process])
        return self

    def status(self, default=Failure):
        """The node's /v1/status, or `default` where it does not answer."""
        connection = UnixConnection(str(self.dir / "landfall.sock"), timeout=5)
        try:
            connection.request("GET", "/v1/status")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                return json.loads(body)
            problem = f"{answer.status} {body!r}"
        except (OSError, http.client.HTTPException) as error:
            problem = repr(error)
        finally:
            connection.close()
        if default is Failure:
            raise Failure(f"{self.name} does not answer: {problem}")
        return default

    def stop(self):
        return self.process.stop() if self.process else None

    def kill9(self):
        self.process.kill9()

    def wait(self, what, condition, seconds=60):
        """Waits until condition(status) is true; returns that status."""
        def probe():
            status = self.status(None)
            return status if status is not None and condition(status) else None
        return wait_for(f"{self.name}: {what}", probe, seconds, [self.process])

    def log_command(self, verb, timeout=300):
        return json.loads(self.cli("log", verb, "--dir", self.dir, "--json", timeout=timeout).stdout)


class Edge(Node):
    def __init__(self, fleet, name):
        super().__init__(fleet, name)
        self.role, self.mqtt_port = "edge", free_port()

    def hold(self):
        self.cli("link", "hold", "--dir", self.dir)
        self.wait("link held", lambda s: s["link"]["held"] and not s["link"]["connected"])

    def release(self):
        self.cli("link", "release", "--dir", self.dir)

    def broker_pids(self):
        """Mosquitto processes that run on this edge's folder."""
        pids = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    command = pathlib.Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if command[0].endswith(b"mosquitto") and any(os.fsencode(self.dir) in a for a in command[1:]):
                    pids.append(int(entry))
        return pids

    def mqtt_answers(self):
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.mqtt_port)) == 0


class Fleet:
    """One hub and its edges in one temporary folder; with kafka=True the hub's log is a real broker's."""

    def __init__(self, build, folder, kafka=False):
        self.build, self.dir = pathlib.Path(build).resolve(), pathlib.Path(folder).resolve()
        self.landfall = next((p for p in (self.build / "tools/landfall/landfall", self.build / "tools/landfall",
                                          self.build / "bin/landfall") if p.is_file()), None)
        if not self.landfall:
            raise Failure(f"no landfall program in {self.build}: build it first")
        self.processes, self.edges = [], []
        self.kafka_dir = self.dir / "kafka" if kafka else None
        self.bootstrap = None
        self.hub = Node(self, "hub")
        self.hub_port = free_port()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_all()

    def start_kafka(self):
        self.kafka_dir.mkdir(parents=True, exist_ok=True)
        with open(self.dir / "kafka.log", "w") as log:
            subprocess.run([str(TOP / "tools/dev/kafka/broker.sh"), "start", "--dir", str(self.kafka_dir), "--owner", str(os.getpid())],
                           check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.bootstrap = (self.kafka_dir / "bootstrap").read_text().strip()

    def start_hub(self, dialled_port=None):
        """Edges dial `dialled_port`, for a link in between; by default the hub itself."""
        if self.kafka_dir:
            self.start_kafka()
        address = f"127.0.0.1:{self.hub_port}"
        kafka = ["--kafka", self.bootstrap] if self.bootstrap else []
        self.hub.cli("hub", "init", "--dir", self.hub.dir, "--listen", address,
                     "--advertise", f"127.0.0.1:{dialled_port or self.hub_port}", *kafka)
        return self.hub.start().ready()

    def add_edge(self, name="ship", **config):
        """Enrols and starts an edge; `config` are sections of its landfall.toml."""
        edge = Edge(self, name)
        invite = self.dir / f"{name}.invite"
        self.hub.cli("hub", "invite", name, "--dir", self.hub.dir, "--out", invite)
        edge.cli("edge", "init", "--dir", edge.dir, "--invite", invite, "--name", name, "--mqtt-port", edge.mqtt_port,
                 "--websocket-port", free_port())
        plugin = next(self.build.rglob("liblandfall_mosquitto.so"), None)
        settings = {"mqtt": {"plugin": str(plugin)} if plugin else {}} | config
        edit_config(edge.dir / "landfall.toml", settings)
        self.edges.append(edge)
        edge.start().ready()
        wait_for(f"{name}: its broker to listen", edge.mqtt_answers, 30, [edge.process])
        return edge

    def stop_all(self):
        """Whatever happened before: nothing of ours runs afterwards."""
        for process in reversed(self.processes):
            try:
                process.stop()
            except Failure as failure:
                print(failure, file=sys.stderr)
        for edge in self.edges:
            for pid in edge.broker_pids():
                os.kill(pid, signal.SIGKILL)
        if self.kafka_dir and self.kafka_dir.exists():
            subprocess.run([str(TOP / "tools/dev/kafka/broker.sh"), "stop", "--dir", str(self.kafka_dir)], check=False,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def read_topic(self, topic):
        """All records of a topic as a read_committed reader sees them: dicts with key, value, headers, partition, offset.
        Read by kcat, which is not ours."""
        done = subprocess.run(["kcat", "-C", "-q", "-e", "-o", "beginning", "-J", "-b", self.bootstrap, "-t", topic,
                               "-X", "isolation.level=read_committed"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
        if done.returncode != 0:
            raise Failure(f"kcat {topic}: {done.stderr.decode(errors='replace')}")
        records = []
        for line in done.stdout.splitlines():
            raw = json.loads(line.decode(errors="replace"), strict=False)  # landfall-payload is no text
            pairs = raw.get("headers") or []
            records.append({"key": raw.get("key"), "value": raw.get("payload"), "partition": raw["partition"],
                            "offset": raw["offset"], "headers": dict(zip(pairs[::2], pairs[1::2]))})
        return records


def need(program):
    if not shutil.which(program):
        raise Failure(f"{program} is not installed: run tools/dev/deps.sh --tests --kafka")
