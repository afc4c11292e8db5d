"""A server on loopback that answers with raw bytes, so that every kind of breakage can be served."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

Answer = Callable[[socket.socket, threading.Event], None]


class HostileServer:
    """Reads one request after another from each connection and lets ``answers[path]`` do what it likes with the socket."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.answers: dict[str, Answer] = {}
        self.stopping = threading.Event()
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.2)
        try:
            if self._tls:
                connection.settimeout(5)
                connection = self._tls.wrap_socket(connection, server_side=True)
                connection.settimeout(0.2)
            while request := self._read_request(connection):
                self.requests.append(request)
                path = request.split(b" ", 2)[1].decode()
                self.answers[path](connection, self.stopping)
        except OSError:
            pass
        finally:
            connection.close()

    def _read_request(self, connection: socket.socket) -> bytes:
        data = b""
        while not self.stopping.is_set():
            try:
                chunk = connection.recv(65536)
            except TimeoutError:
                continue
            if not chunk:
                return b""
            data += chunk
            head, found, body = data.partition(b"\r\n\r\n")
            if found:
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                if len(body) >= length:
                    return data
        return b""


@contextlib.contextmanager
def hostile_server(tls: ssl.SSLContext | None = None) -> Iterator[HostileServer]:
    server = HostileServer(tls)
    try:
        yield server
    finally:
        server.close()


def raw(*chunks: bytes, close: bool = False) -> Answer:
    def answer(connection: socket.socket, stopping: threading.Event) -> None:
        for chunk in chunks:
            connection.sendall(chunk)
        if close:
            connection.shutdown(socket.SHUT_RDWR)

    return answer


def ok(body: bytes, *headers: bytes) -> Answer:
    lines = [b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *headers, b"", body]
    return raw(b"\r\n".join(lines))


def drip(head: bytes, byte: bytes = b"x", seconds: float = 0.02) -> Answer:
    """Send ``head``, then one byte after another until the client or the test has gone."""

    def answer(connection: socket.socket, stopping: threading.Event) -> None:
        connection.sendall(head)
        while not stopping.wait(seconds):
            connection.sendall(byte)

    return answer


def flood(head: bytes, size: int) -> Answer:
    def answer(connection: socket.socket, stopping: threading.Event) -> None:
        connection.sendall(head)
        sent = 0
        while sent < size and not stopping.is_set():
            connection.sendall(b"x" * 65536)
            sent += 65536

    return answer
