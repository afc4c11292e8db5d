"""The management listener: liveness, a readiness that means it, metrics."""

import asyncio
from collections.abc import Mapping

import pytest

from watchword.asgi.messages import Message
from watchword.asgi.probes import Check, Describe, build_probes
from watchword.errors import StoreUnavailable


async def fine() -> None:
    pass


async def broken() -> None:
    raise StoreUnavailable("store.full", detail="private")


async def nodes() -> Mapping[str, str]:
    return {"nodes": "2", "upkeep": "host:8020"}


async def nobody_knows() -> Mapping[str, str]:
    raise StoreUnavailable("store.full")


def ask(
    path: str,
    *,
    checks: Mapping[str, Check] | None = None,
    query: str = "",
    method: str = "GET",
    describe: Describe | None = None,
) -> tuple[int, str]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    app = build_probes(checks or {"store": fine}, lambda: (b"a_metric 1\n", "text/plain; version=1.0.0"), describe)
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode()}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], sent[1]["body"].decode()


def test_the_process_is_alive_whatever_its_parts_say() -> None:
    assert ask("/livez", checks={"store": broken}) == (200, "ok\n")


def test_ready_means_that_every_part_can_do_its_work() -> None:
    assert ask("/readyz") == (200, "ready\n")
    assert ask("/readyz", checks={"store": broken, "signer": fine}) == (503, "not ready\n")


def test_the_parts_are_named_when_asked_and_nothing_private_is_told() -> None:
    answer = ask("/readyz", checks={"store": broken, "signer": fine}, query="verbose")
    assert answer == (503, "store: store.full\nsigner: ok\nnot ready\n")


def test_more_is_told_when_asked_and_nothing_hangs_on_it() -> None:
    answer = ask("/readyz", describe=nodes, query="verbose")
    assert answer == (200, "store: ok\nnodes: 2\nupkeep: host:8020\nready\n")
    assert ask("/readyz", describe=nodes) == (200, "ready\n")
    assert ask("/readyz", describe=nobody_knows, query="verbose") == (200, "store: ok\nready\n")


def test_metrics_are_served() -> None:
    assert ask("/metrics") == (200, "a_metric 1\n")


@pytest.mark.parametrize("path", ["/", "/admin/v1/agents", "/livez/", "/oauth/token"])
def test_nothing_else_is_served(path: str) -> None:
    assert ask(path)[0] == 404


def test_probes_are_read_only() -> None:
    assert ask("/livez", method="POST")[0] == 405
