"""Load that does not wait for answers: ``python -m bench.open_loop``. Its order is JSON on stdin; on stdout is what came of it.

A request is due at its moment, whatever became of those before it, and its latency is counted from that moment. It goes out on a
connection that waits for nothing; when there is none, it is late, and that counts too.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

_WAIT = 0.001
_GRACE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """``rate`` requests a second for some ``seconds``, taken in turn, on so many connections.

    What is due in the first ``settling`` seconds is told by itself: the server has not noticed yet.
    """

    port: int
    requests: Sequence[str]
    rate: float
    seconds: float
    connections: int
    settling: float = 0.0

    def to_json(self) -> str:
        """Return what ``main`` reads."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Result:
    """Milliseconds by status, and how many refusals said when to come again. ``unanswered`` were never answered."""

    offered: float = 0.0
    accepted: list[float] = field(default_factory=list)
    accepted_at_first: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    told_when: int = 0
    other: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0


class Load:
    """One thread, its connections in one poll."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._requests = [text.encode("latin-1") for text in order.requests]
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._due: dict[int, float] = {}
        self._free: deque[int] = deque()
        self._settled = 0.0
        self.result = Result()
        for _ in range(order.connections):
            self._connect()

    def _connect(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._order.port), 20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        number = connection.fileno()
        self._sockets[number] = connection
        self._poll.register(number, select.EPOLLIN)
        self._free.append(number)

    def run(self) -> Result:
        """Send until the time is over, then wait for what is under way."""
        rate, total = self._order.rate, int(self._order.rate * self._order.seconds)
        began, sent, last = time.perf_counter(), 0, 0.0
        until = began + self._order.seconds + _GRACE
        self._settled = began + self._order.settling
        while sent < total or self._due:
            now = time.perf_counter()
            if now > until:
                break
            due = min(total, int((now - began) * rate) + 1)
            while sent < due and self._free:
                self._send(sent, began + sent / rate)
                sent, last = sent + 1, now
            self._receive(0 if sent < due and self._free else _WAIT)
        self.result.offered = sent / max(last - began, self._order.seconds)
        self.result.unanswered = len(self._due) + total - sent
        return self.result

    def _send(self, number: int, due: float) -> None:
        at = self._free.popleft()
        self._sockets[at].send(self._requests[number % len(self._requests)])
        self._due[at] = due

    def _receive(self, wait: float) -> None:
        ready = self._poll.poll(wait)
        now = time.perf_counter()
        for at, _ in ready:
            answer = self._sockets[at].recv(65_536)
            if not answer and at not in self._due:
                raise RuntimeError("the server has closed a connection that was waiting")
            self._take(answer, self._due.pop(at, now), now)
            if not answer or b"\r\nconnection: close\r\n" in answer:
                self._poll.unregister(at)
                self._sockets.pop(at).close()
                self._connect()
            else:
                self._free.append(at)

    def _take(self, answer: bytes, due: float, now: float) -> None:
        status, took = answer[9:12], (now - due) * 1000
        if status == b"200":
            accepted = self.result.accepted if due >= self._settled else self.result.accepted_at_first
            accepted.append(took)
        elif status == b"503":
            self.result.refused.append(took)
            self.result.told_when += b"\r\nretry-after: " in answer
        else:
            name = status.decode("ascii", "replace")
            self.result.other[name] = self.result.other.get(name, 0) + 1


def main() -> None:
    """Do one order."""
    result = Load(Order(**json.load(sys.stdin))).run()
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
