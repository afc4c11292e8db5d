"""An application that is built when it is first asked."""

from __future__ import annotations

import asyncio

import pytest

from watchword.asgi.late import LateApp
from watchword.asgi.messages import App, Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "answer", "number": scope["number"]})


async def ask(application: App, number: int) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        sent.append(message)

    await application({"type": "http", "number": number}, receive, send)
    return sent


async def test_it_is_built_once_for_all_who_ask_at_the_same_time() -> None:
    built: list[int] = []

    def build() -> App:
        built.append(1)
        return answer

    late = LateApp(build)
    assert built == []
    answers = await asyncio.gather(*(ask(late, number) for number in range(20)))
    assert answers == [[{"type": "answer", "number": number}] for number in range(20)]
    assert built == [1]


async def test_what_could_not_be_built_is_tried_again() -> None:
    failures = [OSError("first")]

    def build() -> App:
        if failures:
            raise failures.pop()
        return answer

    late = LateApp(build)
    with pytest.raises(OSError, match="first"):
        await ask(late, 1)
    assert await ask(late, 2) == [{"type": "answer", "number": 2}]


async def test_one_who_leaves_stops_nobody_else() -> None:
    may_build = asyncio.Event()
    loop = asyncio.get_running_loop()

    def build() -> App:
        asyncio.run_coroutine_threadsafe(may_build.wait(), loop).result()
        return answer

    late = LateApp(build)
    leaving, staying = (asyncio.create_task(ask(late, number)) for number in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    may_build.set()
    assert await staying == [{"type": "answer", "number": 1}]
