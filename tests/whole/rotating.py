"""Traffic that notices a rotation: steady logins at every node, and verifiers that use each living token again and again."""

from __future__ import annotations

import secrets
import threading
import time
import tomllib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import httpx2

from tests.processes import PLAIN, Agent
from tests.whole.server_process import Serving, until
from tests.whole.test_nodes import Nodes
from watchword.errors import WatchwordError
from watchword.protocol.jose import parse_compact
from watchword.resource import Verifier

LOGINS_PER_SECOND = 25
"""At each node."""
LIFE = 0.9
"""Seconds for which a token, which lives for one, is used."""
FIRST_SIGHT = 0.2
"""The share of verifications for which nothing of the token is remembered: its signature is checked."""


@contextmanager
def admin_api(nodes: Nodes) -> Iterator[httpx2.Client]:
    """Give the admin API of the first node to its operator."""
    (file,) = nodes.folder.rglob("profiles/*.toml")
    bearer = {"Authorization": f"Bearer {tomllib.loads(file.read_text())['token']}"}
    with httpx2.Client(verify=PLAIN, base_url=f"{nodes.issuer}/admin/v1", headers=bearer, timeout=30) as http:
        yield http


@dataclass
class Living:
    """The tokens that may be used now, of all nodes."""

    tokens: deque[tuple[float, str]] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, token: str) -> None:
        with self.lock:
            self.tokens.append((time.monotonic(), token))

    def choose(self) -> str | None:
        with self.lock:
            while self.tokens and time.monotonic() - self.tokens[0][0] > LIFE:
                self.tokens.popleft()
            return secrets.choice(self.tokens)[1] if self.tokens else None


class Traffic:
    """A client of one node, and an API that has the key set from there and is shown the tokens of all of them.

    The verifiers are as applications have them, with the key set's cache; one remembers tokens, the other none.
    """

    def __init__(self, node: Serving, agent: Agent, issuer: str, living: Living, *, rate: float) -> None:
        host, port = node.address
        self.place = f"http://{host}:{port}"
        self.remembering, self.forgetful = (
            Verifier(
                issuer=issuer,
                audience="my-api",
                jwks_uri=f"{self.place}/.well-known/jwks.json",
                cached_tokens=capacity,
            )
            for capacity in (8192, 0)
        )
        self.kids: list[tuple[str, str]] = []
        self.wrong: Counter[str] = Counter()
        self.issued = self.cached = self.first_sight = 0
        self._agent, self._living, self._rate = agent, living, rate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._log_in, self._use)]

    @property
    def verified(self) -> int:
        return self.cached + self.first_sight

    @property
    def changes(self) -> int:
        """How often another key has signed than before."""
        return sum(one != other for one, other in pairwise(self.kids))

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _log_in(self) -> None:
        form = {"grant_type": "client_credentials", "scope": "read:data"}
        with httpx2.Client(verify=PLAIN, auth=(self._agent.client_id, self._agent.client_secret)) as http:
            for _ in self._paced(LOGINS_PER_SECOND):
                answer = http.post(f"{self.place}/oauth/token", data=form)
                if answer.status_code != 200:
                    self.wrong[f"{answer.status_code} {answer.text}"] += 1
                    continue
                self.issued += 1
                token = str(answer.json()["access_token"])
                self._note(token)
                self._living.add(token)

    def _note(self, token: str) -> None:
        header = parse_compact(token, typ="at+jwt").header
        signed = (str(header["kid"]), str(header["alg"]))
        if not self.kids or self.kids[-1] != signed:
            self.kids.append(signed)

    def _use(self) -> None:
        for number in self._paced(self._rate):
            token = self._living.choose()
            if token is None:
                continue
            is_first_sight = number % round(1 / FIRST_SIGHT) == 0
            try:
                (self.forgetful if is_first_sight else self.remembering).verify_token_sync(token, "read:data")
            except WatchwordError as error:
                self.wrong[error.reason] += 1
                continue
            if is_first_sight:
                self.first_sight += 1
            else:
                self.cached += 1

    def _paced(self, rate: float) -> Iterator[int]:
        """Give numbers at this rate until the end; what was missed while the machine was busy is made good."""
        began, number = time.monotonic(), 0
        while not self._stop.is_set():
            due = int((time.monotonic() - began) * rate)
            while number < due and not self._stop.is_set():
                yield number
                number += 1
            time.sleep(0.01)


@dataclass(frozen=True)
class Tally:
    """What came of it."""

    seconds: float
    traffic: tuple[Traffic, ...]

    @property
    def wrong(self) -> Counter[str]:
        return sum((one.wrong for one in self.traffic), Counter())

    @property
    def rate(self) -> float:
        """Verifications per second."""
        return sum(one.verified for one in self.traffic) / self.seconds

    def __str__(self) -> str:
        cached, first_sight, issued = (
            sum(getattr(one, name) for one in self.traffic) for name in ("cached", "first_sight", "issued")
        )
        changes = min(one.changes for one in self.traffic)
        return (
            f"{changes} changes of the key that signs in {self.seconds:.0f} s at {len(self.traffic)} nodes: "
            f"{issued:,} tokens issued ({issued / self.seconds:.0f}/s), {cached + first_sight:,} verifications "
            f"({self.rate:,.0f}/s; {first_sight:,} of them at first sight), {self.wrong.total()} failures"
        )


@contextmanager
def traffic_at(nodes: list[Serving], agent: Agent, issuer: str, *, rate: float) -> Iterator[Callable[[], Tally]]:
    """Have traffic at these nodes until the block ends, ``rate`` verifications each second at all of them together."""
    living = Living()
    with ExitStack() as stack:
        traffic = tuple(
            stack.enter_context(Traffic(node, agent, issuer, living, rate=rate / len(nodes))) for node in nodes
        )
        until(lambda: living.choose() is not None, "a token")
        began = time.monotonic()
        yield lambda: Tally(time.monotonic() - began, traffic)
