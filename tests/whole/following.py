"""A follower of the revocation feed over real HTTP: it reads until it is told to stop, and goes on wherever it was cut off."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse

from watchword.protocol import names
from watchword.protocol.jwks import KeySet, parse_jwks
from watchword.protocol.security_event import FeedEvent, check_security_event, parse_security_event
from watchword.testing.process import FORM, AgentSecret

SECONDS = 30
_ALGORITHMS = frozenset(names.SIGNING_ALGORITHMS)


class Follower:
    """``with``: reads as a verifier does. ``seen`` is when each target was first told; ``beats`` when each sign of life came."""

    def __init__(self, issuer: str, connect: Callable[[], HTTPConnection], api: AgentSecret) -> None:
        self._issuer = issuer
        self._connect = connect
        self._api = api
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._token = ""
        self.held = (0, 0)
        self.seen: dict[str, float] = {}
        self.beats: list[float] = []
        self.snapshots = self.connections = 0
        self.wrong: list[str] = []
        self.is_there = threading.Event()

    def __enter__(self) -> Follower:
        self._thread.start()
        assert self.is_there.wait(SECONDS), self.wrong
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.wrong == []

    def await_all(self, targets: list[str]) -> None:
        deadline = time.monotonic() + SECONDS
        while not set(targets) <= self.seen.keys():
            assert time.monotonic() < deadline, sorted(set(targets) - self.seen.keys())
            time.sleep(0.01)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self._read_on()
            except (OSError, HTTPException):
                time.sleep(0.05)
            except AssertionError as error:
                self.wrong.append(str(error))
                return

    def _read_on(self) -> None:
        if not self._token:
            headers = {"Authorization": self._api.basic, "Content-Type": FORM}
            self._token = str(
                self._ask("POST", names.PATH_TOKEN, b"grant_type=client_credentials", headers)["access_token"]
            )
        keys = parse_jwks(self._ask("GET", names.PATH_JWKS))
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "text/event-stream"}
        if self.held != (0, 0):
            headers["Last-Event-ID"] = "{}-{}".format(*self.held)
        with closing(self._connect()) as connection:
            connection.request("GET", names.PATH_EVENTS, headers=headers)
            with connection.getresponse() as answer:
                self._listen(answer, keys)

    def _listen(self, answer: HTTPResponse, keys: KeySet) -> None:
        if answer.status == 503:
            raise HTTPException
        assert answer.status == 200, answer.read()
        self.connections += 1
        while not self._stop.is_set() and (line := answer.readline()):
            if line.startswith(b"data: "):
                self._take(line[6:].decode().strip(), keys)

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, object]:
        with closing(self._connect()) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
        if answer.status == 503:
            raise HTTPException
        assert answer.status == 200, text
        answered: dict[str, object] = json.loads(text)
        return answered

    def _take(self, text: str, keys: KeySet) -> None:
        unverified = parse_security_event(text)
        key = keys.find(str(unverified.header["kid"]), str(unverified.header["alg"]))
        assert key is not None
        audience = self._issuer + names.PATH_EVENTS
        event = check_security_event(
            unverified, key=key, issuer=self._issuer, audience=audience, algorithms=_ALGORITHMS
        )
        self._apply(event)

    def _apply(self, event: FeedEvent) -> None:
        generation, position = self.held
        if event.is_snapshot and event.after == 0:
            self.snapshots += 1
        else:
            assert event.generation == generation, (event, self.held)
            assert event.after <= position <= event.sequence, (event, self.held)
        now = time.monotonic()
        if event.after == event.sequence:
            self.beats.append(now)
        for one in event.revocations:
            self.seen.setdefault(one.target, now)
        self.held = (event.generation, event.sequence)
        if not event.is_snapshot or event.is_complete:
            self.is_there.set()
