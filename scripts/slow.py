"""What slow connections cost the others: the times of good clients without them, with them, and without them again."""

from __future__ import annotations

import argparse
import itertools
import resource
import socket
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from watchword.testing.process import AgentSecret, ServerProcess

GOOD_CLIENTS = 4
PERIOD = 2.0
"""Seconds in which each slow connection sends one byte; their turns are spread over it."""


class Slow:
    """So many connections, of which each sends one byte of a header every few seconds, and is opened anew when it is closed."""

    def __init__(self, server: ServerProcess, number: int) -> None:
        self._place = (server.host, server.port)
        self._connections = [self._open() for _ in range(number)]
        self._is_over = threading.Event()
        self.closed = 0
        self._thread = threading.Thread(target=self._dribble)

    def _open(self) -> socket.socket:
        connection = socket.create_connection(self._place)
        connection.setblocking(False)
        connection.send(b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nX: ")
        return connection

    def __enter__(self) -> Slow:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        for connection in self._connections:
            connection.close()

    def _dribble(self) -> None:
        pause = PERIOD / len(self._connections)
        for number in itertools.cycle(range(len(self._connections))):
            if self._is_over.wait(pause):
                return
            if not self._is_alive(self._connections[number]):
                self._connections[number].close()
                self.closed += 1
                self._connections[number] = self._open()

    def _is_alive(self, connection: socket.socket) -> bool:
        """Send a byte; whatever the server says is its farewell."""
        try:
            connection.send(b"a")
            connection.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def ask(server: ServerProcess, agent: AgentSecret, requests: int) -> list[float]:
    """Return the milliseconds of each request of all good clients."""

    def work(_number: int) -> list[float]:
        connection, times = server.connect(), []
        for _ in range(requests // GOOD_CLIENTS):
            began = time.perf_counter()
            status, answer = server.token(agent, connection)
            times.append((time.perf_counter() - began) * 1000)
            if status != 200:
                raise AssertionError(answer)
        connection.close()
        return times

    with ThreadPoolExecutor(GOOD_CLIENTS) as pool:
        return [each for times in pool.map(work, range(GOOD_CLIENTS)) for each in times]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, chosen.slow + 500), hard))
    options = ("--workers", str(chosen.workers))
    with tempfile.TemporaryDirectory() as folder, ServerProcess(Path(folder), options=options) as server:
        agent = server.create_agent("good")
        ask(server, agent, chosen.requests // 4)
        before = show("without", ask(server, agent, chosen.requests))
        with Slow(server, chosen.slow) as slow:
            beside = show(f"beside {chosen.slow} slow ones", ask(server, agent, chosen.requests))
        print(f"{slow.closed} slow connections were closed by the server meanwhile, and opened anew")
        after = show("without again", ask(server, agent, chosen.requests))
    print(f"p99 beside slow connections: {beside / statistics.mean((before, after)):.2f} times that without")
    return 0


def show(name: str, times: list[float]) -> float:
    ordered = sorted(times)
    p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    print(f"{name:<24} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   {len(times)} requests", flush=True)
    return p99


if __name__ == "__main__":
    sys.exit(main())
