"""Nonces for DPoP proofs that nobody has to remember: the moment they were made, under a key that only their makers have.

RFC 9449 §8 and §9. Whoever has the key and the purpose reads them: every node of a server, also after a restart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from watchword.errors import UseDpopNonce
from watchword.protocol.base64url import b64url_decode, b64url_encode
from watchword.protocol.client_secret import find_match

LIFETIME: Final = timedelta(minutes=5)
"""How long a nonce may be used."""

_TIME_BYTES: Final = 8
_MAC_BYTES: Final = 16
_TEXT_SIZE: Final = 32
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Nonces:
    """Makes and reads the nonces of one purpose. ``key`` is secret, of 32 octets; ``purpose`` names who gives them to whom.

    ``skew`` is how far the clocks of those who share the key may differ.
    """

    key: bytes = field(repr=False)
    purpose: str
    skew: timedelta = timedelta(0)

    def make(self, now: datetime) -> str:
        """Return a new nonce: 32 characters, which nobody can foresee."""
        time = ((now - _EPOCH) // _MICROSECOND).to_bytes(_TIME_BYTES, "big")
        return b64url_encode(time + self._mac(time)).decode("ascii")

    def check(self, nonce: str | None, now: datetime) -> datetime:
        """Return the moment after which whoever repeats this nonce must have learned it.

        Raises:
            UseDpopNonce: dpop.nonce_missing, dpop.nonce_unknown (not made with this key for this purpose), dpop.nonce_stale.
        """
        if nonce is None:
            raise self.demand("dpop.nonce_missing", now)
        made_at = self._read(nonce)
        if made_at is None:
            raise self.demand("dpop.nonce_unknown", now)
        if not -self.skew <= now - made_at <= LIFETIME:
            raise self.demand("dpop.nonce_stale", now)
        return made_at - self.skew

    def demand(self, reason: str, now: datetime, *, detail: str = "") -> UseDpopNonce:
        """Return the refusal that brings a nonce for the next attempt."""
        return UseDpopNonce(reason, nonce=self.make(now), detail=detail)

    def _read(self, nonce: str) -> datetime | None:
        if len(nonce) != _TEXT_SIZE or not nonce.isascii():
            return None
        try:
            octets = b64url_decode(nonce.encode("ascii"))
        except ValueError:
            return None
        time, mac = octets[:_TIME_BYTES], octets[_TIME_BYTES:]
        if find_match(mac, [self._mac(time)]) is None:
            return None
        return _EPOCH + int.from_bytes(time, "big") * _MICROSECOND

    def _mac(self, time: bytes) -> bytes:
        """Keyed BLAKE2b, a MAC by itself (RFC 7693 §1); an HMAC by OpenSSL takes ten times as long."""
        return hashlib.blake2b(time + self.purpose.encode(), key=self.key, digest_size=_MAC_BYTES).digest()
