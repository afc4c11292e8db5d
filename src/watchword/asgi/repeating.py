"""A connection that gives an answer again which is the same for everybody, without reading the request a second time.

The request is known by all of its bytes: the same bytes, at the same place of a connection, are the same request, and were judged
when they first came. Anything else on the connection, before, behind or in the middle, has it read as ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchword.asgi.connection import Connection, Reception
from watchword.asgi.shared_answers import Recording, SharedAnswers, is_nobodys
from watchword.asgi.shedding import Refusal, nothing


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A request whose answer may be kept, and the version of what is answered when it came."""

    request: bytes
    version: int | None
    recording: Recording


@dataclass(slots=True, kw_only=True)
class RepeatingReception(Reception):
    """What all connections of one listener share: these answers, too, and what tells which requests are refused unread."""

    answers: SharedAnswers
    refusal: Refusal = nothing

    def connection(self) -> RepeatingConnection:
        """Return the protocol of a new connection."""
        return RepeatingConnection(self)

    def renew_date(self, date: str) -> None:
        """Say this date on every answer from now on, and none that says another."""
        Reception.renew_date(self, date)  # no ``super()``: slots make another class of this one
        self.answers.clear()


class RepeatingConnection(Connection):
    """Looks among the answers that its listener shares before it reads."""

    def __init__(self, reception: RepeatingReception) -> None:
        super().__init__(reception)
        self._answers = reception.answers
        self._shed = reception.refusal
        self.asked_in = 0
        self._asked = b""
        self._candidate: _Candidate | None = None

    def data_received(self, data: bytes) -> None:
        """Answer at once what was answered before, or cannot be answered; read everything else."""
        if not self._is_at_rest():
            super().data_received(data)
            return
        answer = self._answers.find(data) or self._shed(data, self)
        if answer:
            self.transport.write(answer)
            self._wait_for(self._bounds.keep_alive_timeout)
            return
        self._asked = data if self._answers.may_keep(data) else b""
        super().data_received(data)
        self._asked = b""

    def _is_at_rest(self) -> bool:
        """Say whether the next byte begins a request, which nothing stands in the way of."""
        latest = self._latest
        return (latest is None or (latest.response_complete and not latest.more_body)) and not (
            self._is_in_head or self._is_deaf or self._held or self._reception.is_draining or self.flow.write_paused
        )

    def on_headers_complete(self) -> None:
        """The head is there: if it is all there is, note what will be answered."""
        super().on_headers_complete()
        if self._asked and is_nobodys(self.headers):
            recording = Recording(self._exit.write, self._exit.is_closing, self._exit.close)
            self.cycle.transport = recording  # type: ignore[assignment]  # what a response uses of a transport
            self._candidate = _Candidate(self._asked, self._answers.version(), recording)

    def on_response_complete(self) -> None:
        """Keep the answer, if it may be."""
        candidate, self._candidate = self._candidate, None
        if candidate is not None and (answer := candidate.recording.answer()):
            self._answers.keep(candidate.request, answer, candidate.version)
        super().on_response_complete()
