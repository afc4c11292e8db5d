"""A guard before whoever holds the keys outside of this process: they may be slow, away, or wrong, and then nothing is signed.

Nothing waits for long and nobody waits in a long line; after several failures in a row they are asked once a second by one
caller, and everybody else is told at once. What they sign with a key for the first time is verified.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from watchword.errors import CustodyUnavailable, NoSigningKey
from watchword.ports.keys import Signer, SigningKey
from watchword.protocol.algorithms import WrongSignature
from watchword.protocol.jose import InvalidKey, import_public_jwk

Result = TypeVar("Result")

_MOST_PROVED: Final = 256


class Witness(Protocol):
    """Who counts what the custodies do."""

    def signed(self, custody: str, algorithm: str, seconds: float) -> None:
        """Hear of one signature."""
        ...

    def custody_failed(self, custody: str, reason: str) -> None:
        """Hear of one that there was not."""
        ...

    def show_custody(self, custody: str, *, is_open: bool) -> None:
        """Hear whether callers are turned away without asking."""
        ...


class _Nobody:
    def signed(self, custody: str, algorithm: str, seconds: float) -> None:
        pass

    def custody_failed(self, custody: str, reason: str) -> None:
        pass

    def show_custody(self, custody: str, *, is_open: bool) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardNumbers:
    """``timeout`` of one signature, ``making`` of a new key: an RSA key takes a while to find. ``waiting``: callers at one time.

    After ``failures`` in a row the others are turned away for ``pause``, which ends with one that is let through to see.
    """

    timeout: timedelta = timedelta(seconds=3)
    making: timedelta = timedelta(seconds=60)
    waiting: int = 256
    failures: int = 5
    pause: timedelta = timedelta(seconds=1)


class Guard:
    """Implements ``ports.keys.Signer`` around another one. One of them belongs to one event loop."""

    def __init__(
        self,
        custody: str,
        signer: Signer,
        numbers: GuardNumbers = GuardNumbers(),
        *,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.custody = custody
        self.witness: Witness = _Nobody()
        self._signer = signer
        self._numbers = numbers
        self._steady = steady
        self._waiting = 0
        self._failures = 0
        self._closed_until = 0.0
        self._is_open = False
        self._probes = False
        self._proved: dict[str, SigningKey] = {}

    @property
    def is_open(self) -> bool:
        """Whether callers are turned away without asking, but for one now and then."""
        return self._is_open

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key there, and see that it signs.

        Raises:
            NoSigningKey: keys.altered: what it signs its public half does not verify; and those of the signer.
            CustodyUnavailable: custody.busy, custody.open, custody.timeout, and those of the signer.
        """
        making = self._numbers.making.total_seconds()
        key = await self._ask(lambda: self._signer.generate(algorithm, now=now), making)
        await self.sign(key, b"a key that was made just now")
        return key

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Sign there. The first signature of each key is verified.

        Raises:
            NoSigningKey: keys.altered, and those of the signer.
            CustodyUnavailable: custody.busy, custody.open, custody.timeout, and those of the signer.
        """
        begun = self._steady()
        signature = await self._ask(lambda: self._signer.sign(key, message), self._numbers.timeout.total_seconds())
        proved = self._proved.get(key.kid)
        if proved is not key and (proved is None or not _is_same(proved, key)):
            _check(key, message, signature)
            if len(self._proved) >= _MOST_PROVED:
                self._proved.clear()
        self._proved[key.kid] = key
        self.witness.signed(self.custody, key.algorithm, self._steady() - begun)
        return signature

    async def _ask(self, ask: Callable[[], Awaitable[Result]], seconds: float) -> Result:
        self._admit()
        is_probe, self._probes = self._is_open, self._is_open
        self._waiting += 1
        failed: str | None = "bug"
        try:
            async with asyncio.timeout(seconds):
                result = await ask()
            failed = None
        except TimeoutError as error:
            failed = "custody.timeout"
            detail = f"{self.custody} has not answered within {seconds:g} seconds"
            raise CustodyUnavailable(failed, detail=detail) from error
        except asyncio.CancelledError:
            failed = "cancelled"
            raise
        except CustodyUnavailable as error:
            failed = error.reason
            raise
        except NoSigningKey as error:
            failed = None  # an answer: of this key, not of who holds it
            self.witness.custody_failed(self.custody, error.reason)
            raise
        finally:
            self._waiting -= 1
            self._note(failed, is_probe=is_probe)
        return result

    def _admit(self) -> None:
        if self._is_open and (self._probes or self._steady() < self._closed_until):
            detail = f"{self.custody} has failed {self._failures} times in a row, and is not asked for a moment"
            raise self._turned_away("custody.open", detail)
        if self._waiting >= self._numbers.waiting:
            raise self._turned_away("custody.busy", f"{self._waiting} wait for {self.custody} already")

    def _turned_away(self, reason: str, detail: str) -> CustodyUnavailable:
        self.witness.custody_failed(self.custody, reason)
        return CustodyUnavailable(reason, detail=detail)

    def _note(self, failed: str | None, *, is_probe: bool) -> None:
        """Count how it ended. Who left before there was an answer tells nothing; the next may look instead."""
        if is_probe:
            self._probes = False
        if failed == "cancelled":
            return
        if failed is None:
            self._failures = 0
            if self._is_open:
                self._is_open = False
                self.witness.show_custody(self.custody, is_open=False)
            return
        self.witness.custody_failed(self.custody, failed)
        self._failures += 1
        if self._failures >= self._numbers.failures:
            self._closed_until = self._steady() + self._numbers.pause.total_seconds()
            if not self._is_open:
                self._is_open = True
                self.witness.show_custody(self.custody, is_open=True)


def _is_same(one: SigningKey, other: SigningKey) -> bool:
    return (one.algorithm, one.public_jwk, one.sealed) == (other.algorithm, other.public_jwk, other.sealed)


def _check(key: SigningKey, message: bytes, signature: bytes) -> None:
    """Return if this is the key that the record speaks of, and its signature one of JWS."""
    try:
        import_public_jwk(key.public_jwk, algorithm=key.algorithm).verify(signature, message)
    except (InvalidKey, WrongSignature) as error:
        detail = f"what key {key.kid} signs does not verify with its public half: it was altered, or is another's"
        raise NoSigningKey("keys.altered", detail=detail) from error
