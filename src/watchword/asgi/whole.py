"""A complete answer in one piece: what our own listeners offer to applications beside ASGI's two messages.

ASGI §HTTP, "extensions". uvicorn's way through ``send`` looks at every header twice and writes to the socket twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

Headers = Sequence[tuple[bytes, bytes]]


async def send_whole(cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> None:
    """Send the answer of this cycle, and nothing after it. Names of headers are in lower case."""
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    if (b"connection", b"close") in headers:
        cycle.keep_alive = False
    elif not cycle.keep_alive:
        headers = (*headers, (b"connection", b"close"))
    data = render(status, (*cycle.default_headers, *headers), body)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(data)
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def render(status: int, headers: Headers, body: bytes) -> bytes:
    """Return the bytes of an answer.

    Raises:
        RuntimeError: a header would break out of its line. No value that we send comes from a request; this makes sure.
    """
    head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])
    if head.count(b"\n") != len(headers) + 1 or head.count(b"\r") != len(headers) + 1 or b"\0" in head:
        raise RuntimeError("a header breaks out of its line")
    return head + b"\r\n" + body
