"""A store whose N-th call fails: what then comes out of a whole operation must be right, or say that nothing was done."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

from watchword.errors import StoreUnavailable
from watchword.ports.store import Store


class FailingStore:
    """Every coroutine of the store behind it, whatever the port will have, counted and at one place made to fail.

    ``calls`` are the names of what was called since ``arm`` or ``disarm``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._nth = 0
        self._error: Exception = StoreUnavailable("store.injected")
        self._is_late = False
        self.calls: list[str] = []

    def arm(self, nth: int, *, error: Exception | None = None, is_late: bool = False) -> None:
        """Let the ``nth`` call from now raise: before it does anything, or ``is_late``, after it has done it."""
        self._nth, self._is_late, self.calls = nth, is_late, []
        self._error = error or StoreUnavailable("store.injected", detail="told to fail")

    def disarm(self) -> None:
        """Let nothing fail."""
        self._nth, self.calls = 0, []

    @property
    def has_fired(self) -> bool:
        """Whether the call that was to fail has been made."""
        return 0 < self._nth <= len(self.calls)

    @property
    def failed(self) -> str:
        """The name of the call that has failed; empty if none has."""
        return self.calls[self._nth - 1] if self.has_fired else ""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the store has
        attribute = getattr(self._store, name)
        return self._guard(name, attribute) if inspect.iscoroutinefunction(attribute) else attribute

    def _guard(self, name: str, function: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def call(*values: object, **named: object) -> object:
            self.calls.append(name)
            is_to_fail = len(self.calls) == self._nth
            if is_to_fail and not self._is_late:
                raise self._error
            answer = await function(*values, **named)
            if is_to_fail:
                raise self._error
            return answer

        return call


def failing(store: Store) -> Store:
    """Return the store behind a ``FailingStore``, as the port that it is."""
    return cast("Store", FailingStore(store))


def every_call(store: Store, *, error: Exception | None = None, is_late: bool = False) -> Iterator[int]:
    """Count from 1, each time arming the store (from ``failing``) for that call, until a round passes in which none fails.

    The last round is the one that goes well. Raises ``AssertionError`` when that is the first already: nothing was tried.
    """
    armed = cast("FailingStore", store)
    for nth in range(1, 1000):
        armed.arm(nth, error=error, is_late=is_late)
        yield nth
        if not armed.has_fired:
            if nth == 1:
                raise AssertionError("the operation makes no call of the store")
            armed.disarm()
            return
    raise AssertionError("the operation never ends")
