"""Reads a revocation feed in a thread: connects, connects again, and with a new token before the old one ends."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from concurrent.futures import Future, InvalidStateError
from contextlib import closing, suppress
from datetime import timedelta
from typing import Final

from watchword import forking
from watchword.clock import Clock
from watchword.errors import WatchwordError
from watchword.protocol.jose import PublicKey
from watchword.protocol.names import SIGNING_ALGORITHMS
from watchword.protocol.security_event import InvalidSecurityEvent, check_security_event, parse_security_event
from watchword.resource.feed_line import FeedAddress, FeedConnection
from watchword.resource.feed_state import FeedRejected, FeedState, Line
from watchword.resource.jwks_cache import JwksCache
from watchword.resource.steps import run_blocking

FIRST_WAIT: Final = 5.0
"""Seconds for which the first who ask wait for the snapshot, at most."""

SHORTEST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 2.0
"""Seconds between attempts to connect: twice as many after each, half of it by chance."""

RENEW_AGAIN: Final = timedelta(seconds=10)
"""When to try again for a connection that is to take over."""

_ALGORITHMS: Final = frozenset(SIGNING_ALGORITHMS)
_log = logging.getLogger("watchword.resource")


class FeedReader:
    """Keeps ``state`` up to date from when it is started until it is closed. Every thread has a number; the last one to have
    received an event is in charge, and those before it end: so a connection takes over from another without a gap.
    """

    def __init__(self, address: FeedAddress, keys: JwksCache, clock: Clock) -> None:
        self.state: Final = FeedState()
        self.counts: Final[Counter[str]] = Counter()
        self.failure = ""
        self._address = address
        self._keys = keys
        self._clock = clock
        self._reset()
        forking.register(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._in_charge = 0
        self._newest = 0
        self._first: Future[None] | None = None
        self._open: set[FeedConnection] = set()
        self._from_start = False

    def renew_after_fork(self) -> None:
        """Leave threads and connections to the parent process. What is held ages until it is read on here."""
        self._reset()

    def start(self) -> Future[None]:
        """Begin to read, if that was not done; return what is set when the feed has been heard, or has failed once."""
        with self._lock:
            if self._first is None:
                first: Future[None] = Future()
                self._first = first
                first.set_running_or_notify_cancel()
                self._newest = self._in_charge = 1
                self._spawn(1)
                alarm = threading.Timer(FIRST_WAIT, _land, (first,))
                alarm.daemon = True
                alarm.start()
            return self._first

    def close(self) -> None:
        """Stop reading. What is held stays, and ages."""
        self._closing.set()
        with self._lock:
            for connection in self._open:
                connection.close()

    def _spawn(self, number: int) -> None:
        threading.Thread(target=self._run, args=(number,), name="watchword-revocations", daemon=True).start()

    def _run(self, number: int) -> None:
        pause = SHORTEST_PAUSE
        while not self._closing.is_set():
            before = self.counts["accepted"]
            reason = self._try(number)
            if self._in_charge != number or self._closing.is_set():
                self._newest = self._in_charge
                return
            if reason:
                self._note(reason)
            self._land_first()
            pause = SHORTEST_PAUSE if self.counts["accepted"] > before else min(2 * pause, LONGEST_PAUSE)
            self._closing.wait(pause * (0.5 + random.random() / 2))  # noqa: S311 -- spreads reconnections: no secret

    def _try(self, number: int) -> str:
        """Read until the connection ends; return why."""
        try:
            start = None if self._from_start else self.state.position
            with closing(self._address.dial(start, self._clock())) as connection:
                self.counts["connected"] += 1
                self._read(connection, Line(start), number)
        except FeedRejected as error:
            self._from_start = error.reason in ("feed.generation", "feed.gap")
            return error.reason
        except WatchwordError as error:
            return error.reason
        except Exception:  # noqa: BLE001 -- a defect, told to the log; there is no caller to raise it to
            _log.exception("the revocation feed of %s cannot be read", self._address.login.issuer)
            return "feed.fault"
        return "" if self._in_charge != number else "feed.ended"

    def _read(self, connection: FeedConnection, line: Line, number: int) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            for token in connection.tokens():
                if self._in_charge > number or self._closing.is_set():
                    return
                self._take(token, line)
                self._from_start = False
                self._in_charge = max(self._in_charge, number)
                self._renew(connection, number)
        finally:
            with self._lock:
                self._open.discard(connection)

    def _renew(self, connection: FeedConnection, number: int) -> None:
        """Have another connection made when this one's token comes to its end; this one goes on until that is heard."""
        now = self._clock()
        if now >= connection.renew_at and self._newest == number:
            connection.renew_at = now + RENEW_AGAIN
            self._newest = number + 1
            self._spawn(number + 1)

    def _take(self, token: str, line: Line) -> None:
        """Believe one event, or drop it, count it, and with it the connection it came on."""
        try:
            unverified = parse_security_event(token)
            kid, algorithm = str(unverified.header["kid"]), str(unverified.header["alg"])
            event = check_security_event(
                unverified,
                key=self._find_key(kid, algorithm),
                issuer=self._address.login.issuer,
                audience=self._address.audience,
                algorithms=_ALGORITHMS,
            )
            with self._lock:
                self.state.take(event, kid=kid, line=line, now=self._clock())
        except (FeedRejected, InvalidSecurityEvent) as error:
            self.counts[f"dropped {error.reason}"] += 1
            raise
        self.counts["accepted"] += 1
        self.counts["revocations"] += len(event.revocations)
        if not line.is_snapshot:
            self._note("")
            self._land_first()

    def _find_key(self, kid: str, algorithm: str) -> PublicKey:
        key = run_blocking(self._keys.find(kid, algorithm))
        if key is None:
            raise FeedRejected("feed.unknown_key", detail=kid)
        return key

    def _note(self, reason: str) -> None:
        had, self.failure = self.failure, reason
        if reason and reason != had:
            _log.warning("the revocation feed of %s is broken (%s)", self._address.login.issuer, reason)
        elif had and not reason:
            _log.info("the revocation feed of %s is heard again", self._address.login.issuer)

    def _land_first(self) -> None:
        if self._first is not None and not self._first.done():
            _land(self._first)


def _land(flight: Future[None]) -> None:
    with suppress(InvalidStateError):  # somebody else was faster
        flight.set_result(None)
