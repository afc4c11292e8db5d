"""What a connection and its answers see of a transport: one that wants nothing after its end, and is closed politely."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl


class Transport:
    """A transport of which nothing is wanted any more after its end.

    An application may still be at work for a client that has gone, or that has sent something after its request which ended the
    connection. Its answer is for nobody; uvloop would raise into it, as if it were at fault.
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def write(self, data: bytes) -> None:
        """Send, if there is still somebody."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Read no further, if there is still somebody."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, if there is still somebody."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- all else is the transport's own
        return getattr(self._transport, name)


class Exit:
    """The transport as a response sees it: closing it is the connection's business."""

    __slots__ = ("_leave", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, leave: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self._leave = leave

    def close(self) -> None:
        """Close in the way of the connection."""
        self._leave()


class Flow(FlowControl):
    """Does not read on while there is enough to do."""

    is_full = False

    def resume_reading(self) -> None:
        """Read on, if there is room."""
        if not self.is_full:
            super().resume_reading()
