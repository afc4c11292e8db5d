"""An issuer in memory with a revocation feed: every connection is held by the test, which says what comes on it."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta

from tests.resource.issuers import Issuer
from watchword.ports.http import HttpRequest, HttpResponse, TransportError
from watchword.protocol import names
from watchword.protocol.jose import PrivateKey
from watchword.protocol.revocation import Revocation, RevocationKind
from watchword.protocol.security_event import FeedEvent, build_header, build_security_event
from watchword.resource import RevocationFeed, Verifier
from watchword.testing import forge

WAIT = 10
HOUR = timedelta(hours=1)


class Connection:
    """One connection of a feed: what the test puts on it is what the API reads."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": "text/event-stream"}
        self.is_closed = False
        self._pieces: queue.Queue[bytes | Exception] = queue.Queue()

    def read(self) -> bytes:
        piece = self._pieces.get(timeout=WAIT * 3)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        self.is_closed = True
        self._pieces.put(TransportError("http.connect"))

    def put(self, *pieces: bytes | Exception) -> None:
        for piece in pieces:
            self._pieces.put(piece)


class FeedIssuer(Issuer):
    """``calls`` are the connections as they come; ``refuse`` answers the next of them with a status instead."""

    def __init__(self, clock=None) -> None:
        super().__init__(clock)
        self.calls: queue.Queue[Connection] = queue.Queue()
        self.refuse: list[tuple[int, dict[str, str]] | Exception] = []
        self.generation = 1

    def stream(self, request: HttpRequest, *, patience: timedelta) -> Connection:
        connection = Connection(request)
        if self.refuse:
            refusal = self.refuse.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            connection.status, connection.headers = refusal
            return connection
        self.calls.put(connection)
        return connection

    def call(self) -> Connection:
        """Return the next connection that is made."""
        return self.calls.get(timeout=WAIT)

    def event(
        self,
        after: int,
        sequence: int,
        *revocations: Revocation,
        key: PrivateKey | None = None,
        header: Mapping[str, str] | None = None,
        claims: Mapping[str, object] | None = None,
        age: timedelta = timedelta(0),
        generation: int | None = None,
        snapshot: bool = False,
        complete: bool = False,
    ) -> bytes:
        key = key or self.signing_key
        said = FeedEvent(
            generation=self.generation if generation is None else generation,
            after=after,
            sequence=sequence,
            issued_at=self.clock() - age,
            revocations=revocations,
            is_snapshot=snapshot,
            is_complete=complete,
        )
        members = build_security_event(said, issuer=self.url, audience=self.url + names.PATH_EVENTS, jti="a", txn="b")
        named = build_header(algorithm=key.algorithm, kid=str(key.public_jwk["kid"]))
        token = forge.sign(key, {**named, **(header or {})}, {**members, **(claims or {})})
        return f"id: {said.generation}-{sequence}\nevent: revocations\ndata: {token}\n\n".encode()

    def snapshot(self, sequence: int = 0, *revocations: Revocation, **settings: object) -> bytes:
        return self.event(0, sequence, *revocations, snapshot=True, complete=True, **settings)  # type: ignore[arg-type]  -- handed on

    def revocation(self, kind: RevocationKind, target: str, sequence: int) -> Revocation:
        now = self.clock()
        return Revocation(
            kind=kind, target=target, cutoff=now, created_at=now, expires_at=now + HOUR, sequence=sequence
        )

    def feed(self, **settings: object) -> RevocationFeed:
        return RevocationFeed(**{"login": FeedLogin(self), "transport": self, "clock": self.clock, **settings})  # type: ignore[arg-type]  -- settings of any kind

    def watched(self, feed: RevocationFeed, **settings: object) -> Verifier:
        return self.verifier(revocation=feed, **settings)


class FeedLogin:
    """The API's own login: another token after each that was refused."""

    def __init__(self, issuer: Issuer, *, lifetime: timedelta = timedelta(seconds=600)) -> None:
        self.issuer = issuer.url
        self.tokens = 0
        self.asked: list[tuple[str, str, str | None, str | None]] = []
        self.invalidated: list[str] = []
        self.nonce = ""
        self._issuer, self._lifetime = issuer, lifetime

    def headers(
        self, method: str, url: str, *, scope: str | None = None, resource: str | None = None
    ) -> dict[str, str]:
        self.asked.append((method, url, scope, resource))
        self.tokens += 1
        token = self._issuer.token(lifetime=self._lifetime, jti=str(self.tokens))
        return {"authorization": f"DPoP {token}", "dpop": f"proof {self.nonce}"}

    def heed(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        had, self.nonce = self.nonce, headers.get("dpop-nonce", self.nonce)
        return status == 401 and had != self.nonce

    def invalidate(self, token: str) -> None:
        self.invalidated.append(token)

    def transport(self) -> Issuer:
        return self._issuer


def wait_for(what, seconds: float = WAIT):
    """Return what this returns as soon as that is something."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)
    return found


def counted(feed: RevocationFeed, *names_: str) -> Iterable[int]:
    return [feed.status().counts.get(name, 0) for name in names_]


def answer(status: int, **headers: str) -> HttpResponse:
    return HttpResponse(status=status, headers=headers, body=b"")
