"""Tokens whose signature was already verified, so that the next request with the same token need not do it again.

Only what was accepted is kept; whoever asks must check again all that can change: expiry, key, policy.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from watchword import forking
from watchword.protocol.access_token import AccessToken
from watchword.protocol.jose import MAX_TOKEN_SIZE, PublicKey
from watchword.protocol.kept_keys import Held
from watchword.resource.caller import Caller
from watchword.resource.revocation import LATEST, Standing

CAPACITY: Final = 10_000
"""Tokens; some 2 KiB each."""


@dataclass(frozen=True, slots=True)
class Verified:
    """An accepted token, the key that signed it, and whom it speaks for.

    ``held`` is the published set in which the key was last found. From ``begins`` and before ``ends`` the token is valid and
    that set is fresh. ``stamp`` is that of what was known of revocations.
    """

    token: AccessToken
    key: PublicKey
    caller: Caller
    held: Held | None = None
    begins: datetime = LATEST
    ends: datetime = LATEST
    stamp: int = 0

    def with_standing(self, standing: Standing) -> Verified:
        """Return the same, known not to be revoked for as long as that says."""
        caller = self.caller
        if standing.scopes is not None and not caller.scopes <= standing.scopes:
            caller = replace(caller, scopes=caller.scopes & standing.scopes)
        begins, ends = max(self.begins, standing.begins), min(self.ends, standing.ends)
        return Verified(self.token, self.key, caller, self.held, begins, ends, standing.stamp)


class VerifiedCache:
    """A bounded cache, the least recently used token leaving first. The token itself is not kept: its SHA-256 is the key.

    ``namespace`` stands before the token in the hash, so that one verifier's entry is never another's. Thread-safe.
    """

    def __init__(self, namespace: str, *, capacity: int = CAPACITY) -> None:
        self._begin = hashlib.sha256(hashlib.sha256(namespace.encode()).digest()).copy
        self._capacity = capacity
        self._entries: OrderedDict[bytes, Verified] = OrderedDict()
        self._lock = threading.Lock()
        forking.register(self)

    def renew_after_fork(self) -> None:
        """Keep the entries, which hold in the child as well, and replace the lock."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def digest(self, token: str) -> bytes:
        """Return the key under which this token's entry is kept. What is longer than any token is not hashed to its end."""
        if len(token) > MAX_TOKEN_SIZE:
            token = token[: MAX_TOKEN_SIZE + 1]
        hasher = self._begin()
        hasher.update(token.encode("utf-8", "surrogatepass"))
        return hasher.digest()

    def get(self, digest: bytes) -> Verified | None:
        """Return what was kept, whether or not it still holds."""
        found = self._entries.get(digest)
        if found is not None:
            try:  # noqa: SIM105 -- ``suppress`` takes a tenth of what a remembered token costs
                self._entries.move_to_end(digest)
            except KeyError:  # it has left meanwhile
                pass
        return found

    def put(self, digest: bytes, verified: Verified) -> None:
        """Keep an accepted token; the least recently used one leaves when there is no room."""
        with self._lock:
            self._entries[digest] = verified
            self._entries.move_to_end(digest)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)

    def drop(self, digest: bytes) -> None:
        """Forget a token that holds no longer."""
        with self._lock:
            self._entries.pop(digest, None)
