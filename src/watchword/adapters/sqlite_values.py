"""Values as the columns of the SQLite store hold them: times and durations in whole microseconds, lists and maps as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias, cast

import apsw

Row: TypeAlias = "Sequence[apsw.SQLiteValue]"
Values: TypeAlias = "tuple[apsw.SQLiteValue, ...]"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def time_value(moment: datetime | None) -> int | None:
    """Return microseconds since 1970; the moment must be aware."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def moment(value: apsw.SQLiteValue) -> datetime:
    """Return the moment of a column that is never empty."""
    return _EPOCH + timedelta(microseconds=cast("int", value))


def optional_moment(value: apsw.SQLiteValue) -> datetime | None:
    """Return the moment of a column that may be empty."""
    return None if value is None else moment(value)


def duration_value(duration: timedelta | None) -> int | None:
    """Return microseconds."""
    return None if duration is None else duration // _MICROSECOND


def duration(value: apsw.SQLiteValue) -> timedelta:
    """Return the duration of a column that is never empty."""
    return timedelta(microseconds=cast("int", value))


def list_value(items: Sequence[str]) -> str:
    """Return a JSON array."""
    return json.dumps(list(items), separators=(",", ":"))


@lru_cache(maxsize=4096)
def text_list(text: str) -> tuple[str, ...]:
    """Return the texts of a JSON array."""
    return tuple(json.loads(text))


def map_value(members: Mapping[str, object]) -> str:
    """Return a JSON object."""
    return json.dumps(dict(members), separators=(",", ":"))


def text_map(text: str) -> dict[str, str]:
    """Return the members of a JSON object that are all texts."""
    return cast("dict[str, str]", json.loads(text)) if text != "{}" else {}


def object_map(text: str) -> dict[str, object]:
    """Return the members of a JSON object."""
    return cast("dict[str, object]", json.loads(text)) if text != "{}" else {}
