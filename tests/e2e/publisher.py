"""An MQTT 5 publisher of the tests' own: it knows what was acknowledged to it, whatever dies at the other end.

Publishes lines in order on one connection at QoS 1. After a lost connection it connects again and sends what was not
acknowledged once more, in order, before it goes on, as any MQTT client does.
"""
import collections
import select
import socket
import struct
import time

CONNACK, PUBLISH, PUBACK, DISCONNECT = 2, 3, 4, 14


def _text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def _varint(value):
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


class ConnectionLost(Exception):
    pass


class Publisher:
    def __init__(self, port, client_id, window=100):
        self.port, self.client_id, self.window_wanted = port, client_id, window
        self.losses = []  # how many messages were in flight each time the connection was lost
        self.refused = []  # reason codes >= 0x80 of PUBACKs
        self._socket = None

    def _connect(self, seconds):
        end = time.monotonic() + seconds
        while True:
            try:
                self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=5)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._buffer = b""
                body = _text("MQTT") + bytes([5, 0x02]) + struct.pack(">H", 60) + b"\0" + _text(self.client_id)
                self._socket.sendall(b"\x10" + _varint(len(body)) + body)
                packet = None
                while packet is None:
                    packet = self._next_packet()
                    if packet is None:
                        self._receive()
                kind, payload = packet
                if kind != CONNACK or payload[1] != 0:
                    raise ConnectionLost(f"connection refused: {payload.hex()}")
                self.window = min(self.window_wanted, self._receive_maximum(payload))
                return
            except (OSError, ConnectionLost):
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    @staticmethod
    def _receive_maximum(connack):
        length, at = _read_varint(connack, 2)
        end = at + length
        sizes = {0x11: 4, 0x21: 2, 0x22: 2, 0x13: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
        while at < end:
            name = connack[at]
            if name == 0x21:
                return struct.unpack_from(">H", connack, at + 1)[0]
            at += 1 + (sizes[name] if name in sizes else 2 + struct.unpack_from(">H", connack, at + 1)[0])
        return 65535

    def _receive(self):
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionLost("closed by the broker")
        self._buffer += data

    def _next_packet(self):
        if len(self._buffer) < 2:
            return None
        try:
            length, at = _read_varint(self._buffer, 1)
        except IndexError:
            return None
        if len(self._buffer) < at + length:
            return None
        kind, payload = self._buffer[0] >> 4, self._buffer[at:at + length]
        self._buffer = self._buffer[at + length:]
        return kind, payload

    @staticmethod
    def _publish_packet(packet_id, topic, payload, properties, again):
        listed = b"".join(b"\x26" + _text(k) + _text(v) for k, v in properties)
        body = _text(topic) + struct.pack(">H", packet_id) + _varint(len(listed)) + listed + payload
        return bytes([0x32 | (0x08 if again else 0)]) + _varint(len(body)) + body

    def publish(self, messages, on_acknowledged=lambda count: None, seconds=600):
        """`messages`: a list of (topic, payload bytes, [(user property, value)]). Returns once all are acknowledged.
        on_acknowledged(count) is called as the count rises, and may kill and start processes."""
        end = time.monotonic() + seconds
        waiting = collections.deque()  # in flight: [index, packet id, sent before]
        done = next_index = 0
        packet_id = 0
        while done < len(messages):
            try:
                if self._socket is None:
                    self._connect(60)
                    out = b""
                    again, waiting = waiting, collections.deque()
                    for index, old_id, _ in again:
                        out += self._publish_packet(old_id, *messages[index], again=True)
                        waiting.append([index, old_id, True])
                    self._send(out)
                out = b""
                while next_index < len(messages) and len(waiting) < self.window:
                    packet_id = packet_id % 65535 + 1
                    out += self._publish_packet(packet_id, *messages[next_index], again=False)
                    waiting.append([next_index, packet_id, False])
                    next_index += 1
                self._send(out)
                if not select.select([self._socket], [], [], 5)[0]:
                    if time.monotonic() > end:
                        raise TimeoutError(f"{done} of {len(messages)} acknowledged within {seconds} s")
                    continue
                self._receive()
                before = done
                while (packet := self._next_packet()) is not None:
                    kind, payload = packet
                    if kind == DISCONNECT:
                        raise ConnectionLost("disconnected by the broker")
                    if kind != PUBACK:
                        continue
                    acknowledged = struct.unpack_from(">H", payload)[0]
                    if len(payload) > 2 and payload[2] >= 0x80:
                        self.refused.append(payload[2])
                    position = next((i for i, entry in enumerate(waiting) if entry[1] == acknowledged), None)
                    if position is not None:
                        del waiting[position]
                        done += 1
                if done > before:
                    on_acknowledged(done)
            except (OSError, ConnectionLost) as lost:
                if isinstance(lost, TimeoutError):
                    raise
                self.losses.append(len(waiting))
                self.close()
                if time.monotonic() > end:
                    raise TimeoutError(f"{done} of {len(messages)} acknowledged within {seconds} s") from lost

    def _send(self, data):
        if data:
            self._socket.settimeout(30)
            self._socket.sendall(data)

    def close(self):
        if self._socket:
            self._socket.close()
            self._socket = None
