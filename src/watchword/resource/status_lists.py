"""Revocations from status lists: no connection is kept, any cache may stand between, and no login is needed. Draft 21, §8.3.

    verifier = Verifier(issuer=issuer, audience="my-api", revocation=StatusLists(issuer=issuer))

A revocation arrives when the list that is held is over: after the ``ttl`` that the issuer gives it, 10 s unless set otherwise.
While no new list can be had, the last one counts until it expires; then the API cannot say, and nobody is let in.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from watchword import forking
from watchword.clock import Clock, system_clock
from watchword.errors import InvalidToken, VerifierUnavailable, WatchwordError
from watchword.ports.http import HttpRequest, Transport
from watchword.protocol import names
from watchword.protocol.access_token import DEFAULT_LEEWAY, AccessToken
from watchword.protocol.algorithms import ALGORITHMS
from watchword.protocol.status_list import (
    InvalidStatusList,
    StatusList,
    check_status_list,
    parse_status,
    parse_status_list,
)
from watchword.resource.issuer_keys import IssuerKeys
from watchword.resource.jwks_cache import JwksCache
from watchword.resource.revocation import ALWAYS, Standing
from watchword.resource.steps import Steps, run_blocking
from watchword.resource.verifier_settings import check_jwks_uri

MOST_LISTS: Final = 64
"""Lists that are held: 64 million tokens, in 8 MiB."""

_TTL: Final = timedelta(seconds=60)  # of a list that names none
_PAUSE: Final = timedelta(seconds=1)  # after a list that could not be had
_ACCEPT: Final = {"accept": "application/statuslist+jwt", "accept-encoding": "identity"}
_log = logging.getLogger("watchword.resource")


@dataclass(frozen=True, slots=True)
class _Held:
    """The list of one address as it was had last, if it ever was, and when it is asked for again."""

    found: StatusList | None
    ask_at: datetime
    failure: str = ""


class StatusLists:
    """The status lists of one issuer, fetched as tokens name them. Thread-safe; verifiers of one issuer may share it.

    A token without ``status`` is refused, since nobody could say whether it was revoked, unless ``demands_status`` is false.

    Raises:
        BadSettings: verifier.jwks_uri.
    """

    stamp: Final = 0

    def __init__(
        self,
        *,
        issuer: str,
        demands_status: bool = True,
        jwks_uri: str | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.issuer: Final = issuer
        self._demands_status = demands_status
        self._transport = transport
        self._clock = clock
        self._keys = JwksCache(IssuerKeys(issuer, check_jwks_uri(jwks_uri)), transport=transport, clock=clock)
        self._prefix = f"{issuer}{names.PATH_STATUS}/"
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._flights: dict[str, Future[None]] = {}
        self._lock = threading.RLock()
        forking.register(self)

    def confirm(self, token: str, checked: AccessToken, kid: str) -> Steps[Standing]:  # noqa: ARG002 -- the protocol's shape
        """Return until when a token stands, if its bit says so.

        Raises:
            InvalidToken: token.revoked; token.status: it has no place in a list of its issuer.
            VerifierUnavailable: status.*: no list can be had.
        """
        place = self._place_of(checked)
        if place is None:
            return ALWAYS
        uri, index = place
        if self._is_due(uri):
            yield self._take_off(uri)
        return self._judge(uri, index)

    def _place_of(self, checked: AccessToken) -> tuple[str, int] | None:
        claim = checked.claims.get(names.STATUS)
        try:
            reference = None if claim is None else parse_status(claim)
        except InvalidStatusList as error:
            raise InvalidToken("token.status", detail=error.reason) from error
        if reference is None:
            if self._demands_status:
                raise InvalidToken("token.status", detail="it has none: is status_list on at the issuer?")
            return None
        number = reference.uri.removeprefix(self._prefix)
        if number == reference.uri or not (number.isascii() and number.isdigit()):
            raise InvalidToken("token.status", detail="its list is not one of its issuer's")
        return reference.uri, reference.index

    def _is_due(self, uri: str) -> bool:
        held = self._held.get(uri)
        return held is None or self._clock() >= held.ask_at

    def _judge(self, uri: str, index: int) -> Standing:
        now, held = self._clock(), self._held.get(uri)
        found = None if held is None else held.found
        if held is None or found is None or (found.expires_at is not None and now >= found.expires_at):
            raise VerifierUnavailable("status.unavailable", detail=held.failure if held is not None else "not held")
        try:
            status = found.status(index)
        except InvalidStatusList as error:
            raise InvalidToken("token.status", detail=error.reason) from error
        if status != 0:
            raise InvalidToken("token.revoked", detail=f"status {status}")
        return Standing(ends=held.ask_at)

    def _take_off(self, uri: str) -> Future[None]:
        """Return the fetch to wait for; one of a list is in the air at a time, in a thread of its own."""
        with self._lock:
            flight = self._flights.get(uri)
            if flight is not None:
                return flight
            flight = Future()
            flight.set_running_or_notify_cancel()
            if not self._is_due(uri):  # it has landed since somebody looked
                flight.set_result(None)
                return flight
            self._flights[uri] = flight
            thread = threading.Thread(target=self._fly, args=(uri, flight), name="watchword-status", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                del self._flights[uri]
                self._keep(uri, self._failed(uri, "status.thread"))
                flight.set_result(None)
            return flight

    def _fly(self, uri: str, flight: Future[None]) -> None:
        """Fetch and keep. Every flight lands, whatever happens, or somebody would wait for ever."""
        held = self._failed(uri, "status.fault")
        try:
            held = self._fetch(uri)
        except WatchwordError as error:
            held = self._failed(uri, error.reason)
        finally:
            with self._lock:
                self._keep(uri, held)
                self._flights.pop(uri, None)
            flight.set_result(None)

    def _fetch(self, uri: str) -> _Held:
        began = self._clock()
        response = self._reach().send(HttpRequest(method="GET", url=uri, headers=_ACCEPT))
        if response.status != 200:
            raise InvalidStatusList("status.http", detail=f"{uri} answered {response.status}")
        try:
            unverified = parse_status_list(response.body.decode("ascii").strip())
        except UnicodeDecodeError:
            raise InvalidStatusList("status.form") from None
        kid, algorithm = str(unverified.header[names.KID]), str(unverified.header[names.ALG])
        key = run_blocking(self._keys.find(kid, algorithm))
        if key is None:
            raise InvalidStatusList("status.kid")
        found = check_status_list(
            unverified,
            key=key,
            issuer=self.issuer,
            uri=uri,
            algorithms=frozenset(ALGORITHMS),
            now=self._clock(),
            leeway=DEFAULT_LEEWAY,
        )
        known = self._held.get(uri)
        if known is not None and known.found is not None and found.issued_at < known.found.issued_at:
            raise InvalidStatusList("status.older", detail="a list that is older than the one held")
        return _Held(found, began + (found.ttl or _TTL))

    def _failed(self, uri: str, reason: str) -> _Held:
        known = self._held.get(uri)
        _log.warning("the status list %s cannot be had (%s)", uri, reason)
        return _Held(known.found if known is not None else None, self._clock() + _PAUSE, reason)

    def _keep(self, uri: str, held: _Held) -> None:
        self._held[uri] = held
        self._held.move_to_end(uri)
        while len(self._held) > MOST_LISTS:
            self._held.popitem(last=False)

    def _reach(self) -> Transport:
        if self._transport is None:
            from watchword.adapters.outbound import default_transport

            self._transport = default_transport()
        return self._transport

    def renew_after_fork(self) -> None:
        """Forget the flights of the parent process, whose threads do not exist here, and replace the lock."""
        self._lock = threading.RLock()
        self._flights = {}
