"""A small MQTT 3.1.1 client of the tests' own, as the published mappers are clients: clean session, QoS as asked for."""
import select
import socket
import struct
import time

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9


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


class MqttClient:
    def __init__(self, port, client_id, seconds=10):
        self.messages = []  # (topic, payload) in the order of arrival, until taken
        self._buffer, self._packets, self._next_id = b"", [], 0
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self._send(0x10, _text("MQTT") + bytes([4, 2]) + struct.pack(">H", 60) + _text(client_id))
        if self._wait_for(CONNACK, seconds)[1] != 0:
            raise ConnectionError(f"{client_id}: refused")

    def close(self):
        self._socket.close()

    def subscribe(self, topic, seconds=10):
        self._next_id += 1
        self._send(0x82, struct.pack(">H", self._next_id) + _text(topic) + b"\1")
        if self._wait_for(SUBACK, seconds)[2] > 2:
            raise ConnectionError(f"{topic}: subscription refused")

    def publish(self, topic, payload, qos=0, seconds=10):
        """With QoS 1, returns once it is acknowledged."""
        data = payload if isinstance(payload, bytes) else payload.encode()
        if qos == 0:
            return self._send(0x30, _text(topic) + data)
        self._next_id += 1
        self._send(0x32, _text(topic) + struct.pack(">H", self._next_id) + data)
        self._wait_for(PUBACK, seconds)

    def read(self, seconds):
        """Takes in what comes within the time; returns early at the first message."""
        end = time.monotonic() + seconds
        before = len(self.messages)
        while len(self.messages) == before and time.monotonic() < end:
            self._receive(max(0.0, end - time.monotonic()))

    def _send(self, first, body):
        self._socket.sendall(bytes([first]) + _varint(len(body)) + body)

    def _wait_for(self, kind, seconds):
        end = time.monotonic() + seconds
        while True:
            for packet in self._packets:
                if packet[0] == kind:
                    self._packets.remove(packet)
                    return packet[1]
            if time.monotonic() > end:
                raise TimeoutError(f"no packet of type {kind} within {seconds} s")
            self._receive(end - time.monotonic())

    def _receive(self, seconds):
        if not select.select([self._socket], [], [], max(0.0, seconds))[0]:
            return
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("closed by the broker")
        self._buffer += data
        while (packet := self._next_packet()) is not None:
            first, body = packet
            if first >> 4 != PUBLISH:
                self._packets.append((first >> 4, body))
                continue
            size = struct.unpack_from(">H", body)[0]
            topic, at = body[2:2 + size].decode(), 2 + size
            if first & 6:
                self._send(0x40, body[at:at + 2])
                at += 2
            self.messages.append((topic, body[at:]))

    def _next_packet(self):
        length = shift = 0
        for at in range(1, min(5, len(self._buffer))):
            length |= (self._buffer[at] & 0x7F) << shift
            shift += 7
            if not self._buffer[at] & 0x80:
                break
        else:
            return None
        if len(self._buffer) < at + 1 + length:
            return None
        packet = self._buffer[0], self._buffer[at + 1:at + 1 + length]
        self._buffer = self._buffer[at + 1 + length:]
        return packet
