"""A signer that does what a service may do to its callers: answer late, never, that it cannot now, or that it will not."""

from __future__ import annotations

import asyncio
from datetime import datetime

from watchword.errors import CustodyUnavailable, NoSigningKey
from watchword.ports.keys import Signer, SigningKey


class FaultySigner:
    """Implements ``ports.keys.Signer`` with another one, unless ``fault`` says otherwise. ``asked`` counts the calls.

    ``hang``: no answer ever; ``slow``: after ``seconds``; ``throttled`` and ``down``: not now; ``denied`` and ``gone``: not
    this key; ``wrong``: a signature that is none.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.fault = ""
        self.seconds = 0.0
        self.asked = 0

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key, or not."""
        await self._meet()
        return await self._signer.generate(algorithm, now=now)

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Sign, or not."""
        await self._meet()
        return bytes(64) if self.fault == "wrong" else await self._signer.sign(key, message)

    async def _meet(self) -> None:
        self.asked += 1
        match self.fault:
            case "hang":
                await asyncio.Event().wait()
            case "slow":
                await asyncio.sleep(self.seconds)
            case "throttled" | "down":
                raise CustodyUnavailable(f"custody.{self.fault}")
            case "denied" | "gone":
                raise NoSigningKey(f"keys.{self.fault}")
            case _:
                pass
