"""The management listener: ``/livez``, ``/readyz`` and ``/metrics``. Loopback by default; it holds no secret."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from watchword.asgi.messages import App, Receive, Response, Scope, Send, send_response
from watchword.errors import WatchwordError

Check = Callable[[], Awaitable[None]]
Describe = Callable[[], Awaitable[Mapping[str, str]]]
TEXT = ((b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"))


def build_probes(
    checks: Mapping[str, Check], render_metrics: Callable[[], tuple[bytes, str]], describe: Describe | None = None
) -> App:
    """Return the ASGI application. ``checks`` raise when the part they name cannot do its work now.

    ``describe`` has more for who asks for all; nothing hangs on it.
    """

    async def respond(scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return Response(405, b"", ((b"allow", b"GET, HEAD"), *TEXT))
        match scope["path"]:
            case "/livez":
                return Response(200, b"ok\n", TEXT)
            case "/readyz":
                return await _readiness(checks, describe, verbose=b"verbose" in scope.get("query_string", b""))
            case "/metrics":
                body, media_type = render_metrics()
                return Response(200, body, ((b"content-type", media_type.encode()), (b"cache-control", b"no-store")))
            case _:
                return Response(404, b"not found\n", TEXT)

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send_response(scope, send, await respond(scope))

    return application


async def _readiness(checks: Mapping[str, Check], describe: Describe | None, *, verbose: bool) -> Response:
    results = {name: await _outcome(check) for name, check in checks.items()}
    is_ready = all(result == "ok" for result in results.values())
    told = {**results, **(await _more(describe) if verbose and describe else {})}
    lines = [f"{name}: {text}" for name, text in told.items()] if verbose else []
    lines.append("ready" if is_ready else "not ready")
    return Response(200 if is_ready else 503, "\n".join([*lines, ""]).encode(), TEXT)


async def _more(describe: Describe) -> Mapping[str, str]:
    try:
        return await describe()
    except WatchwordError:  # the checks have said so
        return {}


async def _outcome(check: Check) -> str:
    try:
        await check()
    except WatchwordError as error:
        return error.reason
    return "ok"
