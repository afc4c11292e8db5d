"""An issuer's published keys, kept: fresh without waiting, fetched once for all, and never older than a bound.

Safe for any number of threads and event loops. One fetch is in the air at a time, in a thread of its own, so that
nobody's cancellation ends it and every kind of caller can wait for it.

- Fresh: no request is made. Stale: the set still serves while one fetch runs beside, for ``GRACE``; then who asks waits for it,
  so that a key that was taken back is refused when ``max-age`` and ``GRACE`` are over, however long nobody had asked.
- A ``kid`` that is not in the set: one fetch per ``COOL_DOWN``, whatever number of kids; in between, it is unknown.
- A failed fetch changes nothing but the log, and is not repeated for ``RETRY_DELAY``. The last good set serves until it
  is ``MAX_STALE`` old: an outage of an hour is survived, and a key withdrawn unseen does not live for ever.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from watchword import forking
from watchword.clock import Clock
from watchword.errors import VerifierUnavailable, WatchwordError
from watchword.ports.http import Transport
from watchword.protocol.jose import PublicKey
from watchword.protocol.jwks import KeySet
from watchword.protocol.kept_keys import COOL_DOWN, Held, KeptKeys
from watchword.resource.issuer_keys import FetchedKeys, IssuerKeys
from watchword.resource.steps import Steps

MAX_STALE: Final = timedelta(hours=2)
GRACE: Final = timedelta(minutes=1)

_log = logging.getLogger("watchword.resource")


@dataclass(frozen=True, slots=True)
class KeysStatus:
    """How a verifier's keys stand: for health pages and alerts. ``failure`` is the reason of the last fetch, if it failed."""

    fetched_at: datetime | None
    usable_until: datetime | None
    failure: str


class JwksCache:
    """The keys of one issuer. ``held`` is the set that was fetched last; whether it may be used now, ``current`` says."""

    def __init__(
        self,
        source: IssuerKeys,
        *,
        transport: Transport | None,
        clock: Clock,
        max_stale: timedelta = MAX_STALE,
        cool_down: timedelta = COOL_DOWN,
    ) -> None:
        self._source = source
        self._transport = transport
        self._clock = clock
        self._max_stale = max_stale
        self._cool_down = cool_down
        self._kept = KeptKeys()
        self._lock = threading.RLock()
        self._flight: Future[None] | None = None
        forking.register(self)

    @property
    def held(self) -> Held | None:
        """The set that was fetched last; whether it may be used now, ``current`` says."""
        return self._kept.held

    def current(self, now: datetime) -> Held | None:
        """Return the set if it may be used now, at once; begins a fetch where that is due. Nothing: wait with ``find``."""
        held = self.held
        if held is not None and held.is_fresh(now):
            return held
        with self._lock:
            if self._flight is None and self._kept.is_due(now):
                self._take_off()
            if self._flight is not None and self._is_overdue(now):
                return None
            return self._kept.usable(now)

    def _is_overdue(self, now: datetime) -> bool:
        """Say whether the set is too old to be used beside a fetch. In an outage it is not: then nobody waits."""
        held = self._kept.held
        return held is not None and not self._kept.failure and now >= held.fresh_until + GRACE

    def at_hand(self, kid: str, algorithm: str, now: datetime) -> PublicKey | None:
        """Return the published key if it is in a fresh set: begins nothing. Nothing: look for it with ``find``."""
        held = self.held
        return held.keys.find(kid, algorithm) if held is not None and held.is_fresh(now) else None

    def usable(self) -> Steps[KeySet]:
        """Return the set, waiting for a fetch only where there is none to use.

        Raises:
            VerifierUnavailable: the reason of the failed fetch.
        """
        held = self.current(self._clock())
        if held is None:
            flight = self._flight
            if flight is not None:
                yield flight
            held = self.current(self._clock())
        if held is None:
            raise VerifierUnavailable(self._kept.failure or "keys.none", detail=self._source.issuer)
        return held.keys

    def find(self, kid: str, algorithm: str) -> Steps[PublicKey | None]:
        """Return the published key, or nothing once the issuer has been asked as often as it may be.

        Raises:
            VerifierUnavailable: there is no set to look in.
        """
        before = self.held
        keys = yield from self.usable()
        key = keys.find(kid, algorithm)
        if key is not None:
            return key
        flight = self._ask_again(has_waited=self.held is not before)
        if flight is not None:
            yield flight
        keys = yield from self.usable()  # another set, where one has landed meanwhile
        return keys.find(kid, algorithm)

    def status(self) -> KeysStatus:
        """Return how the keys stand, without asking for anything."""
        kept = self._kept
        if kept.held is None:
            return KeysStatus(None, None, kept.failure)
        return KeysStatus(kept.held.fetched_at, kept.held.usable_until, kept.failure)

    def _ask_again(self, *, has_waited: bool) -> Future[None] | None:
        """Return the fetch to wait for on behalf of an unknown ``kid``, or nothing: the answer is already as new as it may be.

        A fetch that this very request has waited for, or one that is in the air, counts as the one of this cool-down.
        """
        now = self._clock()
        with self._lock:
            if self._flight is None and not self._kept.may_ask(now, self._cool_down):
                return None
            self._kept = self._kept.with_question(now)
            if has_waited:
                return None
            return self._flight or self._take_off()

    def _take_off(self) -> Future[None]:
        """Begin a fetch. The lock is held."""
        flight: Future[None] = Future()
        flight.set_running_or_notify_cancel()
        self._flight = flight
        thread = threading.Thread(target=self._fly, args=(flight,), name="watchword-jwks", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            self._flight = None
            flight.set_result(None)
            self._note_failure("keys.thread", self._clock())
        return flight

    def _fly(self, flight: Future[None]) -> None:
        """Fetch and keep. Every flight lands, whatever happens, or somebody would wait for ever."""
        try:
            began = self._clock()
            fetched = self._fetch()
            if isinstance(fetched, FetchedKeys):
                self._keep(fetched, began)
            else:
                self._note_failure(fetched, began)
        finally:
            with self._lock:
                if self._flight is flight:
                    self._flight = None
            flight.set_result(None)

    def _fetch(self) -> FetchedKeys | str:
        """Return the keys, or the reason why there are none."""
        try:
            return self._source.fetch(self._reach().send)
        except WatchwordError as error:
            return error.reason
        except Exception:  # noqa: BLE001 -- a defect, told to the log; there is no caller to raise it to
            _log.exception("the keys of %s cannot be fetched", self._source.issuer)
            return "keys.fault"

    def _keep(self, fetched: FetchedKeys, began: datetime) -> None:
        had_failed = bool(self._kept.failure)
        with self._lock:
            self._kept = self._kept.with_keys(fetched.keys, fetched.freshness, began=began, max_stale=self._max_stale)
        if had_failed:
            _log.info("the keys of %s can be fetched again", self._source.issuer)

    def _note_failure(self, reason: str, began: datetime) -> None:
        with self._lock:
            self._kept = self._kept.with_failure(reason, began=began)
        until = (
            f"the last good set serves until {self.held.usable_until:%Y-%m-%dT%H:%M:%SZ}"
            if self.held
            else "there are none"
        )
        _log.warning("the keys of %s cannot be fetched (%s): %s", self._source.issuer, reason, until)

    def _reach(self) -> Transport:
        if self._transport is None:
            from watchword.adapters.outbound import default_transport

            self._transport = default_transport()
        return self._transport

    def renew_after_fork(self) -> None:
        """Forget the flight of the parent process, whose thread does not exist here, and replace the lock."""
        self._lock = threading.RLock()
        self._flight = None
