"""Sends cases over real sockets, keep-alive and pipelined, and judges what comes back.

What must never happen is a ``Finding``: a status of 500 or above (503 too, unless it is allowed), no answer in time, an answer
that holds a token or a secret, a page, JSON that is none. What is slow is reported, not judged.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from watchword.testing.fuzz import Case

_LIMIT: Final = 4_000_000
_GRACE: Final = 0.1
"""Seconds that the answer to a request of unknown length is waited for before our half of the connection is closed."""
_BODY_LIMIT: Final = 60_000
"""A server may close on a longer body before it has read it; the answer can be lost with the rest of the connection."""
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_TOKEN: Final = re.compile(rb'"access_token"\s*:|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{20,}')


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not happen, and the request that made it happen."""

    kind: str
    case: Case
    answer: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        recipe = ", ".join(self.case.recipe)
        return f"{self.kind}: case {self.case.number} ({recipe})\n  sent {self.case.raw[:600]!r}\n  got {self.answer[:600]!r}"


@dataclass(slots=True)
class Report:
    """What came of a run. ``slowest`` holds seconds and case, longest first; ``closed`` counts connections ended unanswered."""

    sent: int = 0
    closed: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: list[tuple[float, Case]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def note_time(self, seconds: float, case: Case) -> None:
        """Remember one of the slowest ten."""
        if len(self.slowest) < 10 or seconds > self.slowest[-1][0]:
            self.slowest = sorted([*self.slowest, (seconds, case)], key=lambda pair: -pair[0])[:10]


class Driver:
    """Sends to one address until the cases run out or too much has been found."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        secrets: Sequence[bytes] = (),
        deadline: float = 15.0,
        may_be_unavailable: bool = False,
    ) -> None:
        """``secrets`` may stand in no answer. ``deadline``: seconds after which no answer counts as none.

        ``may_be_unavailable`` allows 503: where nothing is wrong with the server's surroundings, it tells of a bug.
        """
        self._address = host, port
        self._secrets = tuple(secrets)
        self._deadline = deadline
        self._may_be_unavailable = may_be_unavailable
        self.report = Report()

    async def run(self, cases: Iterator[Case], *, connections: int = 8, depth: int = 16) -> Report:
        """Send all of ``cases`` over so many connections, so many requests ahead on each."""
        began = time.monotonic()
        await asyncio.gather(*(self._work(cases, depth) for _ in range(connections)))
        self.report.seconds += time.monotonic() - began
        return self.report

    async def _work(self, cases: Iterator[Case], depth: int) -> None:
        connection: _Connection | None = None
        waiting: deque[Case] = deque()
        while len(self.report.findings) < 20:
            while len(waiting) < depth and (case := next(cases, None)) is not None:
                self.report.sent += 1
                if case.is_framed:
                    waiting.append(case)
                else:
                    await self._send_wild(case)
            if not waiting:
                break
            connection = await self._exchange(connection, waiting)
        if connection is not None:
            connection.close()

    async def _exchange(self, connection: _Connection | None, waiting: deque[Case]) -> _Connection | None:
        """Send what waits, take answers until all are there or the connection ends; what is unanswered stays waiting."""
        is_fresh = connection is None
        connection = connection or await _Connection.open(*self._address)
        batch = list(waiting) if not is_fresh else [waiting[0]]
        connection.send(b"".join(case.raw for case in batch))
        began = time.monotonic()
        for case in batch:
            try:
                answer = await asyncio.wait_for(connection.receive(is_head=case.is_head), self._deadline)
            except TimeoutError:
                self.report.findings.append(Finding("hang", waiting.popleft()))
                answer = None
            except (OSError, asyncio.IncompleteReadError):
                self._note_close(waiting, is_fresh=is_fresh)
                answer = None
            if answer is None:
                connection.close()
                return None
            waiting.popleft()
            now = time.monotonic()
            self.report.note_time(now - began, case)
            self._judge(case, answer)
            began, is_fresh = now, False
        return connection

    def _note_close(self, waiting: deque[Case], *, is_fresh: bool) -> None:
        """A connection may end between answers. A new one with a single small request on it must give its answer."""
        if is_fresh:
            case = waiting.popleft()
            if len(case.raw) > _BODY_LIMIT:
                self.report.closed += 1
            else:
                self.report.findings.append(Finding("no answer", case))

    async def _send_wild(self, case: Case) -> None:
        """Send bytes of which nobody can say where they end; then end our half, and the server must end its own."""
        connection = await _Connection.open(*self._address)
        try:
            connection.send(case.raw)
            received = await connection.receive_all(grace=_GRACE, deadline=self._deadline)
        except TimeoutError:
            self.report.findings.append(Finding("hang", case))
            return
        finally:
            connection.close()
        if not _STATUS.search(received):
            self.report.closed += 1
        for status in _STATUS.findall(received):
            self._count(case, int(status), received)
        self._search(case, received)

    def _judge(self, case: Case, answer: bytes) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        self._count(case, int(head.split(b" ", 2)[1]), answer)
        self._search(case, answer)
        media_type = _header(head, b"content-type")
        if b"html" in media_type:
            self.report.findings.append(Finding("page", case, answer))
        if media_type.endswith(b"json") and body:
            try:
                json.loads(body)
            except ValueError:
                self.report.findings.append(Finding("not JSON", case, answer))

    def _count(self, case: Case, status: int, answer: bytes) -> None:
        self.report.statuses[status] += 1
        if status >= 500 and not (status == 503 and self._may_be_unavailable):
            self.report.findings.append(Finding("status", case, answer))

    def _search(self, case: Case, answer: bytes) -> None:
        if _TOKEN.search(answer):
            self.report.findings.append(Finding("token", case, answer))
        if any(secret in answer for secret in self._secrets):
            self.report.findings.append(Finding("secret", case, answer))


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> _Connection:
        return cls(*await asyncio.open_connection(host, port, limit=_LIMIT))

    def send(self, octets: bytes) -> None:
        self._writer.write(octets)

    def close(self) -> None:
        self._writer.transport.abort()

    async def receive(self, *, is_head: bool) -> bytes:
        """Return one whole answer; interim ones are passed over."""
        while True:
            head = await self._reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
        if is_head or status in (204, 304):
            return head
        if _header(head, b"transfer-encoding") == b"chunked":
            return head + await self._receive_chunks()
        return head + await self._reader.readexactly(int(_header(head, b"content-length") or b"0"))

    async def _receive_chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:size]
        await self._reader.readexactly(2)
        return body

    async def receive_all(self, *, grace: float, deadline: float) -> bytes:
        """Return what comes until the server ends the connection. Ends our half once nothing more comes for ``grace``."""
        received = b""
        try:
            while chunk := await asyncio.wait_for(self._reader.read(65_536), grace):
                received += chunk
        except TimeoutError:
            pass
        except OSError:
            return received
        else:
            return received
        try:
            self._writer.write_eof()
            return received + await asyncio.wait_for(self._reader.read(), deadline)
        except TimeoutError:
            raise
        except OSError:
            return received


def _header(head: bytes, name: bytes) -> bytes:
    match = re.search(rb"\r\n" + name + rb":[ \t]*([^\r\n]*)", head, re.IGNORECASE)
    return match[1].strip().lower() if match else b""
