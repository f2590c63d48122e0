"""A link with a rate: carries TCP connections to a port of this machine at so many bytes per second, each way."""
import socket
import threading
import time

CUT = 2048  # bytes carried at a time: an alarm waits for one cut, not for a full buffer
BUFFER = 16384  # what the link itself may hold


class SlowLink:
    def __init__(self, target_port, bytes_per_second):
        self.target_port, self.rate = target_port, bytes_per_second
        self.carried = 0  # bytes, both ways
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            near, _ = self._listener.accept()
            far = socket.socket()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            try:
                far.connect(("127.0.0.1", self.target_port))
            except OSError:
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source, sink):
        free_at = time.monotonic()
        try:
            while data := source.recv(CUT):
                # The line is busy for as long as these bytes take.
                free_at = max(free_at, time.monotonic()) + len(data) / self.rate
                time.sleep(max(0.0, free_at - time.monotonic()))
                sink.sendall(data)
                self.carried += len(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
