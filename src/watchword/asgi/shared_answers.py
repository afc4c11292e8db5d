"""Answers that are the same for everybody, kept for a moment under the very bytes of the request: a shared cache. RFC 9111.

Which answers these are, the application says as it does to every cache: ``Cache-Control: public``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from watchword.errors import StoreUnavailable

MAX_ANSWERS: Final = 64
MAX_REQUEST: Final = 2048
"""Bytes of a request that is kept."""
MAX_ANSWER: Final = 32_768
"""Bytes of an answer that is kept, with its head. Together with the others: 2 MiB for each listener."""

_END: Final = b"\r\n\r\n"
_STATUSES: Final = (b"HTTP/1.1 200 ", b"HTTP/1.1 304 ")
_FOR_ALL: Final = b"\r\ncache-control: public, "
_NEVER: Final = frozenset(
    {
        b"authorization",
        b"cookie",
        b"content-length",
        b"expect",
        b"proxy-authorization",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of requests that are not kept: with a secret, with a body, or with a dialogue of their own."""


class SharedAnswers:
    """Holds answers while ``version`` returns the same number: a change of what they tell shows at the next request.

    ``version`` is asked at every use, and may raise ``StoreUnavailable``: nothing is answered from here then. ``clear`` is to be
    called when the ``Date`` in the answers is over.
    """

    def __init__(self, version: Callable[[], int]) -> None:
        self._version = version
        self._kept_version: int | None = None
        self._kept: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, request: bytes) -> bytes | None:
        """Return the answer to exactly this request, if it still holds."""
        answer = self._kept.get(request)
        if answer is not None and self.version() != self._kept_version:
            self.clear()
            return None
        return answer

    def version(self) -> int | None:
        """Return the version of what would be answered now; nothing if it cannot be told."""
        try:
            return self._version()
        except StoreUnavailable:
            return None

    def may_keep(self, request: bytes) -> bool:
        """Say whether these bytes look like one whole request that could be kept, and there is room."""
        return (
            len(request) <= MAX_REQUEST
            and len(self._kept) < MAX_ANSWERS
            and request.startswith((b"GET ", b"HEAD "))
            and request.find(_END) == len(request) - len(_END)
        )

    def keep(self, request: bytes, answer: bytes, version: int | None) -> None:
        """Keep an answer that was begun when the version was this."""
        if version is None or version != self.version():
            return
        if version != self._kept_version:
            self.clear()
            self._kept_version = version
        if len(self._kept) < MAX_ANSWERS:
            self._kept[request] = answer

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


class Recording:
    """What a response sees of its transport while its bytes may be kept. What is not for all, or too large, is let go at once."""

    __slots__ = ("_is_over", "_parts", "_size", "_write", "close", "is_closing")

    def __init__(
        self, write: Callable[[bytes], None], is_closing: Callable[[], bool], close: Callable[[], None]
    ) -> None:
        self._write = write
        self.is_closing = is_closing
        self.close = close
        self._parts: list[bytes] = []
        self._size = 0
        self._is_over = False

    def write(self, data: bytes) -> None:
        """Send, and keep a copy."""
        self._write(data)
        if self._is_over:
            return
        self._size += len(data)
        if self._size > MAX_ANSWER or not (self._parts or is_for_all(data)):
            self._is_over = True
            self._parts.clear()
            return
        self._parts.append(data)

    def answer(self) -> bytes:
        """Return what was sent, if it may be kept; else nothing."""
        return b"".join(self._parts)


def is_for_all(head: bytes) -> bool:
    """Say whether the head of an answer allows a shared cache to keep it, and leaves the connection open."""
    lines = head[: head.find(_END) + 2].lower()
    return head.startswith(_STATUSES) and _FOR_ALL in lines and b"\r\nconnection:" not in lines


def is_nobodys(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Say whether a request has no secret and no body."""
    return _NEVER.isdisjoint(name for name, _ in headers)
