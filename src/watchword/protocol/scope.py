"""Scopes: RFC 6749 §3.3. Compared exactly; ``*`` and ``:`` are characters like any other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from watchword.errors import InvalidScope

MAX_SCOPES: Final = 100
"""Names in one request."""

MAX_NAME: Final = 256
"""Characters of one name."""

_NAME = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,256}")


def parse_scope(text: str) -> tuple[str, ...]:
    """Return the names in a ``scope`` parameter, in the order they were sent: each once, one space between them.

    Raises:
        InvalidScope: scope.too_many, scope.syntax, scope.duplicate.
    """
    if text.count(" ") >= MAX_SCOPES:
        raise InvalidScope("scope.too_many", facts={"limit": str(MAX_SCOPES)})
    return _check_all(text.split(" "))


@lru_cache(maxsize=1024)  # bounded in bytes, too: what is refused is not kept
def check_scope_name(text: str) -> str:
    """Return the name if it can be a scope.

    Raises:
        InvalidScope: scope.syntax.
    """
    if _NAME.fullmatch(text) is None:
        raise InvalidScope("scope.syntax")
    return text


def build_scope(scopes: Iterable[str]) -> str:
    """Return the value of a ``scope`` parameter, member or claim; empty for no scopes.

    Raises:
        InvalidScope: scope.syntax, scope.duplicate.
    """
    return " ".join(_check_all(scopes))


def _check_all(names: Iterable[str]) -> tuple[str, ...]:
    checked = tuple(map(check_scope_name, names))
    if len(set(checked)) != len(checked):
        raise InvalidScope("scope.duplicate")
    return checked
