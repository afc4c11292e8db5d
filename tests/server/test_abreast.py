"""Requests that came together take a step together."""

from __future__ import annotations

import asyncio

from watchword.server.abreast import abreast


async def _walk(name: str, seen: list[str]) -> None:
    for step in ("identify", "sign"):
        seen.append(f"{name} {step}")
        await abreast()


def test_a_step_is_taken_by_all_before_the_next_one_by_any() -> None:
    seen: list[str] = []

    async def together() -> None:
        await asyncio.gather(_walk("a", seen), _walk("b", seen))

    asyncio.run(together())
    assert seen == ["a identify", "b identify", "a sign", "b sign"]


def test_one_alone_waits_for_nobody() -> None:
    seen: list[str] = []
    asyncio.run(_walk("a", seen))
    assert seen == ["a identify", "a sign"]
