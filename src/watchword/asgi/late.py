"""An application that is built when it is first asked: what is heavy and seldom used costs neither start nor memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from watchword.asgi.messages import App, Receive, Scope, Send


class LateApp:
    """An ASGI application. It is built on a thread, so requests for others are answered meanwhile."""

    def __init__(self, build: Callable[[], App]) -> None:
        self._build = build
        self._building: asyncio.Task[App] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. If building failed, the next request tries again."""
        if self._building is None or (self._building.done() and self._building.exception() is not None):
            self._building = asyncio.create_task(asyncio.to_thread(self._build))
        application = await asyncio.shield(self._building)
        await application(scope, receive, send)
