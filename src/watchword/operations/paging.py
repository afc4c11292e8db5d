"""One page of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from watchword.errors import Invalid

MAX_PAGE: Final = 500
DEFAULT_PAGE: Final = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and whether more follow."""

    items: tuple[T, ...]
    has_more: bool


def check_limit(limit: int) -> int:
    """Return a page size of 1 to 500.

    Raises:
        Invalid: page.limit
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid("page.limit", detail=f"A page has 1 to {MAX_PAGE} items.")
    return limit


def cut(rows: Sequence[T], limit: int) -> Page[T]:
    """Return the page of what was read with a limit of one more."""
    return Page(tuple(rows[:limit]), len(rows) > limit)
