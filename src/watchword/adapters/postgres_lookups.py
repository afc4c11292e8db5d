"""What every token asks for, asked for many at once: questions that come while one is being answered are the next one's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeVar

from watchword.errors import StoreUnavailable

T = TypeVar("T")

_MOST: Final = 512


class Lookups(Generic[T]):
    """Finds by key. An answer is never older than its question: one that is under way answers nobody who came later."""

    def __init__(self, ask: Callable[[list[str]], Awaitable[Mapping[str, T]]]) -> None:
        """``ask`` is given distinct keys, and leaves out those that name nothing."""
        self._ask = ask
        self._waiting: dict[str, asyncio.Future[T | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, key: str) -> T | None:
        """Return what the key names, or nothing.

        Raises:
            StoreUnavailable
        """
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="watchword-lookups")
        return await asyncio.shield(answer)

    async def _run(self) -> None:
        while self._waiting:
            taken = dict(list(self._waiting.items())[:_MOST])
            for key in taken:
                del self._waiting[key]
            try:
                found = await self._ask(list(taken))
            except StoreUnavailable as error:
                self._fail(taken, error)
            except (ValueError, TypeError):
                await self._one_by_one(taken)
            else:
                for key, answer in taken.items():
                    _settle(answer, found.get(key))

    async def _one_by_one(self, taken: Mapping[str, asyncio.Future[T | None]]) -> None:
        """A question that cannot even be asked, or an answer that cannot be read, is one of them: the others have theirs."""
        for key, answer in taken.items():
            try:
                found = await self._ask([key])
            except StoreUnavailable as unavailable:
                _refuse(answer, unavailable)
            except UnicodeEncodeError as impossible:
                _refuse(answer, impossible)
            except (ValueError, TypeError) as damage:
                detail = f"a row cannot be read ({damage}): restore a backup"
                _refuse(answer, StoreUnavailable("store.damaged", detail=detail))
            else:
                _settle(answer, found.get(key))

    def _fail(self, taken: Mapping[str, asyncio.Future[T | None]], error: StoreUnavailable) -> None:
        for answer in taken.values():
            _refuse(answer, StoreUnavailable(error.reason, detail=error.detail))


def _settle(answer: asyncio.Future[T | None], found: T | None) -> None:
    if not answer.done():
        answer.set_result(found)


def _refuse(answer: asyncio.Future[T | None], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # nobody may be waiting any more
