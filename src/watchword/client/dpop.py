"""One login's proofs: a new one for every request, with the last nonce of whoever it is for. RFC 9449 §4, §8, §9.

What a token endpoint says last in ``DPoP-Nonce`` and what an API says are kept apart, each by its own origin.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from watchword import forking
from watchword.client.dpop_key import DPoPKey
from watchword.ports.http import HttpResponse
from watchword.protocol import names
from watchword.protocol.challenge import Challenge, InvalidChallenge, parse_challenges
from watchword.protocol.strict_json import parse_object

USE_NONCE: Final = "use_dpop_nonce"
MAX_ORIGINS: Final = 256
_NONCE: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,256}")


class NonceBook:
    """The last nonce of each origin, as many as there is room for. Thread-safe."""

    def __init__(self) -> None:
        self._nonces: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()
        forking.register(self)

    def renew_after_fork(self) -> None:
        """Keep the nonces, which are not bound to a process, and replace the lock."""
        self._lock = threading.Lock()

    def find(self, origin: str) -> str | None:
        """Return what this origin said last."""
        return self._nonces.get(origin)

    def learn(self, origin: str, headers: Mapping[str, str]) -> None:
        """Keep the nonce of an answer, if it has exactly one that is a nonce. RFC 9449 §8.1."""
        nonce = headers.get(names.DPOP_NONCE_HEADER)
        if nonce is None or _NONCE.fullmatch(nonce) is None:
            return
        with self._lock:
            self._nonces[origin] = nonce
            self._nonces.move_to_end(origin)
            while len(self._nonces) > MAX_ORIGINS:
                self._nonces.popitem(last=False)


class Proofs:
    """Makes one login's proofs. ``now`` is the time as the server has it."""

    def __init__(self, key: DPoPKey, now: Callable[[], datetime]) -> None:
        self.key: Final = key
        self.of_servers: Final = NonceBook()
        self.of_resources: Final = NonceBook()
        self._now = now

    def for_server(self, method: str, url: str) -> str:
        """Return a proof for a request to the authorization server."""
        return self._make(method, url, self.of_servers, None)

    def for_resource(self, method: str, url: str, token: str) -> str:
        """Return a proof for a request to an API, that goes with this token."""
        return self._make(method, url, self.of_resources, token)

    def _make(self, method: str, url: str, book: NonceBook, token: str | None) -> str:
        return self.key.prove(
            method=method,
            url=url,
            jti=secrets.token_urlsafe(16),
            issued_at=self._now(),
            token=token,
            nonce=book.find(origin_of(url)),
        )


def origin_of(url: str) -> str:
    """Return scheme and authority of a URL that was checked before: what stands before the first slash of its path."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}"


def demands_nonce(response: HttpResponse) -> bool:
    """Say whether a token endpoint wants a proof with the nonce it has just given. RFC 9449 §8."""
    if response.status != 400 or names.DPOP_NONCE_HEADER not in response.headers:
        return False
    try:
        return parse_object(response.body).get(names.ERROR) == USE_NONCE
    except ValueError:
        return False


def challenges_nonce(status: int, challenges: str | None) -> bool:
    """Say whether an API wants a proof with the nonce it has just given. RFC 9449 §9."""
    found = _challenges(status, challenges)
    return any(one.scheme == names.DPOP.lower() and one.parameters.get("error") == USE_NONCE for one in found)


def knows_bearer_alone(status: int, challenges: str | None) -> bool:
    """Say whether an API refuses a bound token because it takes none: it asks for ``Bearer``, and not for ``DPoP``."""
    schemes = {one.scheme for one in _challenges(status, challenges)}
    return names.BEARER.lower() in schemes and names.DPOP.lower() not in schemes


def _challenges(status: int, challenges: str | None) -> list[Challenge]:
    if status != 401 or challenges is None:
        return []
    try:
        return parse_challenges(challenges)
    except InvalidChallenge:
        return []
