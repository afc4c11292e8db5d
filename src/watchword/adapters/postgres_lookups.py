"""What every token asks for, asked for many at once: questions that come while one is being answered are the next one's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from watchword.adapters.postgres_pulse import BEAT_SECONDS
from watchword.errors import StoreUnavailable

T = TypeVar("T")

_MOST: Final = 512
PATIENCE: Final = 0.5  # seconds that a question waits for its answer


@dataclass(slots=True, eq=False)
class _Question(Generic[T]):
    answer: asyncio.Future[T | None]
    since: float = field(default_factory=time.monotonic)


class Lookups(Generic[T]):
    """Finds by key. An answer is never older than its question: one that is under way answers nobody who came later.

    Whoever has waited too long is refused; the database may go on with what it was asked.
    """

    def __init__(self, ask: Callable[[list[str]], Awaitable[Mapping[str, T]]]) -> None:
        """``ask`` is given distinct keys, and leaves out those that name nothing."""
        self._ask = ask
        self._waiting: dict[str, _Question[T]] = {}
        self._taken: dict[str, _Question[T]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, key: str) -> T | None:
        """Return what the key names, or nothing.

        Raises:
            StoreUnavailable
        """
        question = self._waiting.get(key)
        if question is None:
            question = self._waiting[key] = _Question(asyncio.get_running_loop().create_future())
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="watchword-lookups")
        return await asyncio.shield(question.answer)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            taken = dict(list(self._waiting.items())[:_MOST])
            for key in taken:
                del self._waiting[key]
            self._taken = taken
            timer = loop.call_later(BEAT_SECONDS, self._hurry, taken)
            try:
                found = await self._ask(list(taken))
            except StoreUnavailable as error:
                self._fail(taken, error)
            except (ValueError, TypeError):
                await self._one_by_one(taken)
            else:
                for key, question in taken.items():
                    _settle(question.answer, found.get(key))
            finally:
                self._taken = {}
                timer.cancel()

    def _hurry(self, taken: Mapping[str, _Question[T]]) -> None:
        """Refuse whoever has waited too long, for this answer or for its turn, until the answer is there."""
        if self._taken is not taken:
            return
        latest = time.monotonic() - PATIENCE
        for key, question in [*taken.items(), *self._waiting.items()]:
            if question.since <= latest:
                _refuse(question.answer, StoreUnavailable("store.busy", detail="the database takes too long to answer"))
                if self._waiting.get(key) is question:
                    del self._waiting[key]
        asyncio.get_running_loop().call_later(BEAT_SECONDS, self._hurry, taken)

    async def _one_by_one(self, taken: Mapping[str, _Question[T]]) -> None:
        """A question that cannot even be asked, or an answer that cannot be read, is one of them: the others have theirs."""
        for key, question in taken.items():
            try:
                found = await self._ask([key])
            except StoreUnavailable as unavailable:
                _refuse(question.answer, unavailable)
            except UnicodeEncodeError as impossible:
                _refuse(question.answer, impossible)
            except (ValueError, TypeError) as damage:
                detail = f"a row cannot be read ({damage}): restore a backup"
                _refuse(question.answer, StoreUnavailable("store.damaged", detail=detail))
            else:
                _settle(question.answer, found.get(key))

    def _fail(self, taken: Mapping[str, _Question[T]], error: StoreUnavailable) -> None:
        for question in taken.values():
            _refuse(question.answer, StoreUnavailable(error.reason, detail=error.detail))


def _settle(answer: asyncio.Future[T | None], found: T | None) -> None:
    if not answer.done():
        answer.set_result(found)


def _refuse(answer: asyncio.Future[T | None], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # nobody may be waiting any more
