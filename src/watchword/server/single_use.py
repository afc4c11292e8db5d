"""What works once, claimed for one request: deciding the request anew is no second use."""

from __future__ import annotations

from datetime import datetime

from watchword.ports.replay import Replay, Verdict, build_claim
from watchword.server.entry import Request


class SingleUse:
    """Claims what a request presents, after its signature was verified and all else was found right."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    async def claim(
        self, request: Request, namespace: str, identifier: str, *, since: datetime, until: datetime
    ) -> Verdict:
        """Claim an id for this request; see ``Replay.claim``. Only ``FIRST`` is a yes.

        Raises:
            ReplayUnavailable
        """
        key = build_claim(namespace, identifier, since, until).key.hex()
        if key in request.claims:
            return Verdict.FIRST
        verdict = await self._replay.claim(namespace, identifier, since=since, until=until)
        if verdict is Verdict.FIRST:
            request.claims.add(key)
        return verdict
