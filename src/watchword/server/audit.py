"""The trail of one request: opened before anything is looked at, closed with exactly one durable event."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import cast

from watchword.clock import Clock
from watchword.errors import Conflict, Fault, OAuthError, RateLimited
from watchword.ports.audit import AuditEvent, Outcome
from watchword.ports.store import Basis, Change, Store
from watchword.protocol.client_secret import redact
from watchword.server.entry import Request

MAX_CLAIMED = 256
"""Characters kept of a value that a caller claims."""

Observer = Callable[[AuditEvent, float], None]
"""Told of every event after it is durable, with the seconds since its trail was opened. Must not raise."""


def claimed(value: str | None) -> str:
    """Return an unproven value fit for the record: redacted, and cut with a marker when it is long."""
    if not value:
        return ""
    text = redact(value)
    return text if len(text) <= MAX_CLAIMED else f"{text[:MAX_CLAIMED]}...[{len(text)} characters]"


class Trail:
    """``async with``: what happens inside ends in one event, whatever it is.

    A refusal (``OAuthError``) becomes ``denied``, anything else that escapes ``failed``. The event, and the changes that
    belong to it, are durable before the block is left; when they cannot be, ``StoreUnavailable`` is raised instead, and
    ``Superseded`` when nothing was recorded because the basis has changed: the request begins anew. Of a flood
    refused by a limit, the limit says which refusals have an event (``server/limits.py``).
    """

    def __init__(
        self, store: Store, clock: Clock, observers: tuple[Observer, ...], request: Request, action: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._observers = observers
        self._opened: datetime = request.received_at
        self._changes: tuple[Change, ...] = ()
        self._basis: Basis | None = None
        self._undo: Callable[[], None] | None = None
        self._facts: dict[str, object] = {
            "id": secrets.token_hex(16),
            "time": request.received_at,
            "action": action,
            "outcome": Outcome.FAILED,
            "reason": "internal",
            "actor": "anonymous",
            "request_id": request.id,
            "peer": request.peer.address,
        }

    def note(self, **facts: object) -> None:
        """Add to the event. Values that a caller claims go through ``claimed`` first."""
        self._facts.update(facts)

    def succeed(
        self,
        reason: str,
        *changes: Change,
        basis: Basis | None = None,
        undo: Callable[[], None] | None = None,
        **facts: object,
    ) -> None:
        """Say how it went well, what is to be stored with the event, what it was decided on, and what to do if that is not
        stored."""
        self._changes, self._basis, self._undo = changes, basis, undo
        self.note(outcome=Outcome.SUCCESS, reason=reason, **facts)

    async def __aenter__(self) -> Trail:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if isinstance(error, RateLimited):
            if not error.is_recorded:
                return
            if error.unrecorded:
                self._add_detail("unrecorded", str(error.unrecorded))
        if isinstance(error, OAuthError):
            self._end(Outcome.DENIED, error.reason, error.detail)
        elif isinstance(error, Fault):
            self._end(Outcome.FAILED, error.reason, error.detail)
        elif error is not None:
            self._end(Outcome.FAILED, "internal", type(error).__name__)
        event = AuditEvent(**self._facts)  # type: ignore[arg-type]  # the event's own fields, checked by its constructor
        try:
            await self._store.commit(event, self._changes, basis=self._basis)
        except (Fault, Conflict) as failure:
            self._take_back()
            raise failure from error
        seconds = (self._clock() - self._opened).total_seconds()
        for observe in self._observers:
            observe(event, seconds)

    def _end(self, outcome: Outcome, reason: str, detail: str) -> None:
        self._take_back()
        self._changes, self._basis = (), None
        self.note(outcome=outcome, reason=reason)
        if detail:
            self._add_detail("detail", claimed(detail))

    def _take_back(self) -> None:
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    def _add_detail(self, name: str, value: str) -> None:
        details = cast("Mapping[str, str]", self._facts.get("details", {}))
        self.note(details={**details, name: value})


class Audit:
    """Opens trails."""

    def __init__(self, store: Store, clock: Clock, observers: tuple[Observer, ...] = ()) -> None:
        self._store = store
        self._clock = clock
        self._observers = observers

    def trail(self, request: Request, action: str) -> Trail:
        """Open the trail of a request."""
        return Trail(self._store, self._clock, self._observers, request, action)
