"""Times as people write and read them: ``30d`` in, ``in 9 min`` out."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from watchword.cli.exits import usage

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LONGEST: Final = timedelta(days=36_500)


def parse_duration(text: str) -> timedelta:
    """Return a duration written as ``600`` (seconds), ``90m``, ``12h``, ``30d`` or ``2w``; more than nothing.

    Raises:
        CommandError: usage.
    """
    match = re.fullmatch(r"([0-9]{1,12})([smhdw]?)", text.strip())
    seconds = int(match[1]) * _UNITS[match[2] or "s"] if match else 0
    if not 0 < seconds <= _LONGEST.total_seconds():
        raise usage(f"{text!r} is not a duration: write a number and a unit, as in 90m, 12h or 30d.")
    return timedelta(seconds=seconds)


def parse_moment(text: str, *, now: datetime) -> datetime:
    """Return the moment written in RFC 3339 (``2027-01-31T12:00:00Z``), or as a duration from ``now``.

    Raises:
        CommandError: usage; a moment without an offset is refused, for it means something else on every machine.
    """
    if re.fullmatch(r"[0-9]+[smhdw]", text.strip()):
        return now + parse_duration(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise usage(f"{text!r} is not a time: write 30d, 12h or 90m from now, or RFC 3339 as in 2027-01-31T12:00:00Z.")
    return moment.astimezone(UTC)


def parse_past(text: str, *, now: datetime) -> datetime:
    """Return the moment written in RFC 3339, or as a duration before ``now``.

    Raises:
        CommandError: usage.
    """
    if re.fullmatch(r"[0-9]+[smhdw]", text.strip()):
        return now - parse_duration(text)
    return parse_moment(text, now=now)


def to_wire(moment: datetime) -> str:
    """Return RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def in_words(moment: datetime, *, now: datetime) -> str:
    """Return how far a moment is from ``now``: ``in 9 min 50 s``, ``3 h 2 min ago``."""
    seconds = round((moment - now).total_seconds())
    if seconds == 0:
        return "now"
    length = _length(abs(seconds))
    return f"in {length}" if seconds > 0 else f"{length} ago"


def _length(seconds: int) -> str:
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
